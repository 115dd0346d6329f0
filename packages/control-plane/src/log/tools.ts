import { type Action, type DenialCode, type Digest, toolKey, type ToolStanding } from '@sealwrit/protocol'
import type { LogState } from './state.ts'

/** Tools recorded; beyond it new ones are `overloaded`. */
export const MAX_RECORDED_TOOLS = 100_000

/** Why a tool call may not be: nobody pinned the tool, or another definition of it. */
export function toolRefusal(action: Action, { tools }: LogState): Extract<DenialCode, 'tool_not_pinned' | 'tool_changed'> | undefined {
  if (action.type !== 'mcp.tool_call') return undefined
  const pinned = usable(tools.get(toolKey(action)))
  if (pinned === undefined) return 'tool_not_pinned'
  return pinned === action.tool_digest ? undefined : 'tool_changed'
}

/** The definition under which a tool may be called; undefined while it is quarantined. */
export function usable(tool: ToolStanding | undefined): Digest | undefined {
  return tool?.pinned?.digest ?? (tool?.unpinned === undefined ? tool?.seen.keys().next().value : undefined)
}
