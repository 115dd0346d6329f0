import type { GateRequest, Identify, Placed } from '@sealwrit/gate'
import type { Action, Agent, JsonObject, JsonValue } from '@sealwrit/protocol'
import type { Asked } from '../client/seat.ts'
import { carriedBy, foreignBy } from './carried.ts'
import { heldBy } from './held.ts'
import { declaredBy } from './intent.ts'
import { placedBy } from './lineage.ts'

/** What the operator gave for whoever uses this gateway; what a client says in a request of its own goes first. */
export interface Preset extends Placed {
  /** The purpose of what declares none itself. */
  readonly intent?: string | undefined
  /** Asserts who asks. */
  readonly identify?: Identify | undefined
  /** What another plane permitted of an action. */
  readonly foreignOf?: ((action: Action) => JsonValue | undefined) | undefined
  /** How long a held call waits for its approval before it is answered, in milliseconds; 0 where it is not given. */
  readonly holdWaitMs?: number
}

/**
 * What the plane is asked about `action`, from a request's `_meta` and the operator's presets. Nothing of it is forwarded.
 * @throws {Denied} `request_malformed`
 */
export function askingFor(action: Action, agent: Agent, asked: Asked, preset: Preset): Omit<GateRequest, 'facts'> {
  const { params, method, signal } = asked
  const carried = carriedBy(method, params)
  return {
    action,
    agent,
    wait: { ms: preset.holdWaitMs ?? 0, signal },
    ...carried,
    ...declaredBy(params, preset.intent, 'carried' in carried),
    foreign: preset.foreignOf?.(action),
    ...foreignBy(params),
    ...heldBy(params),
    ...placedBy(params, preset),
    identify: asked.identify ?? preset.identify,
  }
}

/** The client's own token for progress on a request, where it gave one. */
export function progressTokenOf(params: JsonObject): string | number | undefined {
  const token = (params['_meta'] as JsonObject | undefined)?.['progressToken']
  return typeof token === 'string' || (typeof token === 'number' && Number.isSafeInteger(token)) ? token : undefined
}
