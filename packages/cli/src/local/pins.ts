import type { Gate } from '@sealwrit/gate'
import type { GatewayOptions } from '@sealwrit/mcp-gateway'
import type { SeenTool } from '@sealwrit/protocol'
import { plain } from '../output.ts'
import { selfLine } from '../self.ts'
import { allOf, askPlane } from './client.ts'
import type { PlaneFolder } from './folder.ts'

type RecordTools = NonNullable<GatewayOptions['recordTools']>

export interface PinOptions {
  readonly folder: PlaneFolder
  readonly target: string
  /** Whether who starts this gateway pins what the server lists first. */
  readonly isPinning: boolean
  readonly tell: (text: string) => void
}

/**
 * Tells the plane what a server lists, and whoever started the gateway what waits for them. With `--pin` they pin it here, over their own
 * connection to the plane, while nothing of this server was ever pinned: what the server adds or changes later waits like everything else.
 */
export function recordingTools(gate: Gate, { folder, target, isPinning, tell }: PinOptions): RecordTools {
  let told = ''
  return async (tools) => {
    const pinned = await gate.recordTools(target, tools)
    const waiting = tools.filter(({ name, digest }) => pinned.get(name) !== digest)
    if (waiting.length === 0) return pinned
    if (isPinning && pinned.size === 0 && (await pinFirst(folder, target, waiting))) {
      tell(`pinned ${names(waiting)} of ${target}`)
      return gate.recordTools(target, tools)
    }
    const text = `${waiting.length} ${waiting.length === 1 ? 'tool' : 'tools'} of ${target} wait to be pinned: ${selfLine('tool', 'pin', target.replace(/^mcp:\/\//, ''))}`
    if (text !== told) tell(text)
    told = text
    return pinned
  }
}

/** @returns whether it was the first time: a pin that somebody took away is not given again */
async function pinFirst(folder: PlaneFolder, target: string, tools: readonly SeenTool[]): Promise<boolean> {
  const known = await allOf(folder, 'tools.list', { target })
  if (known.some(({ state }) => state !== 'seen')) return false
  await askPlane(folder, 'tools.pin', { target, tools: tools.map(({ name, digest }) => ({ name, digest })) })
  return true
}

/** Names that are shown of what was pinned. */
const MAX_NAMES = 12

function names(tools: readonly SeenTool[]): string {
  const listed = tools.slice(0, MAX_NAMES).map(({ name }) => plain(name)).join(', ')
  return tools.length > MAX_NAMES ? `${listed} and ${tools.length - MAX_NAMES} more` : listed
}
