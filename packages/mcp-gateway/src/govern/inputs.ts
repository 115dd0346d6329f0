import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { canonicalText, Denied, type Digest, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import type { Reply } from '../client/seat.ts'

/** Inputs that a server may ask for in one answer. */
export const MAX_INPUT_REQUESTS = 16
/** Answers in a row that ask for more input, where this gateway collects it. */
export const MAX_ROUNDS = 8
/** Longest state that a server may give along, in UTF-16 units. */
export const MAX_REQUEST_STATE = 60_000

/** An answer that asks for input before it goes on. @see MCP 2026-07-28, basic/patterns/mrtr */
export interface InputRequired {
  readonly requests: readonly (readonly [key: string, method: string, params: JsonObject])[]
  readonly state: string | undefined
}

/**
 * Reads what a server asks for before it goes on; undefined for any other answer.
 * @throws {Denied} `request_malformed` for another form, `limit_exceeded` for too much
 */
export function inputRequired(reply: Reply): InputRequired | undefined {
  if ('error' in reply || reply.result['resultType'] !== 'input_required') return undefined
  const { inputRequests = {}, requestState: state } = reply.result as { inputRequests?: JsonValue; requestState?: JsonValue }
  if (!isObject(inputRequests)) throw new Denied('request_malformed', 'inputRequests is not an object')
  if (state !== undefined && typeof state !== 'string') throw new Denied('request_malformed', 'requestState is not a string')
  const entries = Object.entries(inputRequests)
  if (entries.length > MAX_INPUT_REQUESTS || (state?.length ?? 0) > MAX_REQUEST_STATE) throw new Denied('limit_exceeded', 'input that is asked for')
  if (entries.length === 0 && state === undefined) throw new Denied('request_malformed', 'neither inputRequests nor requestState')
  const requests = entries.map(([key, request]) => {
    const { method, params = {} } = isObject(request) ? (request as { method?: JsonValue; params?: JsonValue }) : {}
    if (typeof method !== 'string' || !isObject(params)) throw new Denied('request_malformed', 'an input request of another form')
    return [key, method, params] as const
  })
  return { requests, state }
}

/** A state that was given with another request, to somebody else, by an earlier process, or by nobody. @see MCP 2026-07-28, basic/patterns/mrtr */
export class ForeignState extends Denied {
  constructor() {
    super('action_mismatch', 'the state was given for another request')
  }
}

/**
 * Binds the state that a server gives along to the request that it was given for, and to who asked: what comes back with another
 * request, from somebody else, or altered is refused. The key lives as long as this process, so what was given before is refused too.
 */
export class StateSeal {
  readonly #key = randomBytes(32)

  /** @param action digest of the request without its inputs */
  seal(principal: string, action: Digest, state: string): string {
    return `${this.#mac(principal, action, state)}.${state}`
  }

  /** @throws {ForeignState} */
  open(principal: string, action: Digest, sealed: string): string {
    const at = sealed.indexOf('.')
    const state = sealed.slice(at + 1)
    const [given, expected] = [Buffer.from(sealed.slice(0, Math.max(0, at))), Buffer.from(this.#mac(principal, action, state))]
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) throw new ForeignState()
    return state
  }

  #mac(principal: string, action: Digest, state: string): string {
    return createHmac('sha256', this.#key).update(canonicalText([principal, action, state])).digest('base64url')
  }
}
