import { type Action, type DenialCode, toolKey } from '@sealwrit/protocol'
import type { LogState } from './state.ts'

/** Tools recorded; beyond it new ones are `overloaded`. */
export const MAX_RECORDED_TOOLS = 100_000

/** Why a tool call may not be: nobody pinned the tool, or another definition of it. */
export function toolRefusal(action: Action, { tools }: LogState): Extract<DenialCode, 'tool_not_pinned' | 'tool_changed'> | undefined {
  if (action.type !== 'mcp.tool_call') return undefined
  const pinned = tools.get(toolKey(action))?.pinned?.digest
  if (pinned === undefined) return 'tool_not_pinned'
  return pinned === action.tool_digest ? undefined : 'tool_changed'
}

