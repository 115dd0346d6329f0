import { createHmac, timingSafeEqual } from 'node:crypto'
import { canonicalText, Denied, type Digest, isObject, type JsonObject, type JsonValue, type Rng } from '@sealwrit/protocol'
import type { Reply } from '../client/seat.ts'
import { type Revision, SESSIONS } from '../revision.ts'

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

/** Methods whose answers may ask for input first, so that a retry brings some. @see MCP 2026-07-28, basic/patterns/mrtr "Supported Requests" */
const TAKES_INPUT: ReadonlySet<string> = new Set(['tools/call', 'resources/read', 'prompts/get'])
/** Methods that a server of sessions may refuse until pages were opened. */
const TAKES_PAGES: ReadonlySet<string> = new Set([...TAKES_INPUT, 'tasks/result'])
/** The error that says so. @see MCP 2025-11-25, client/elicitation "URL Elicitation Required Error" */
const PAGES_REQUIRED = -32042

/** What an answer asks of the client: input in the current revision, pages to be opened in the older one. */
export interface Wanted {
  readonly input?: InputRequired
  readonly pages?: InputRequired
}

/**
 * What `reply` asks the client for, beside or in place of a result: the other direction, whatever it is wrapped in.
 * @throws {Denied} `type_mismatch` for an answer of a type that is not known, or that this method does not have; as {@link inputRequired}
 */
export function wantedIn(reply: Reply, method: string, client: Revision): Wanted {
  if ('error' in reply) {
    if (reply.error['code'] !== PAGES_REQUIRED) return {}
    if (client !== SESSIONS || !TAKES_PAGES.has(method)) throw new Denied('type_mismatch', 'an error that asks for something, where nothing may be asked for')
    return { pages: pagesRequired(reply.error) }
  }
  const input = TAKES_INPUT.has(method) ? inputRequired(reply) : undefined
  if (input !== undefined) return { input }
  const type = reply.result['resultType']
  if (type !== undefined && type !== 'complete') throw new Denied('type_mismatch', 'an unknown type of result')
  return {}
}

/** Each page is an elicitation, as if the server had asked for it. @throws {Denied} `request_malformed`, `limit_exceeded` */
function pagesRequired({ data }: { readonly data?: JsonValue }): InputRequired {
  const elicitations = isObject(data) ? data['elicitations'] : undefined
  if (!Array.isArray(elicitations) || elicitations.length === 0 || !elicitations.every(isObject)) throw new Denied('request_malformed', 'elicitations of another form')
  if (elicitations.length > MAX_INPUT_REQUESTS) throw new Denied('limit_exceeded', 'input that is asked for')
  return { requests: elicitations.map((params: JsonObject, i: number) => [`${i}`, 'elicitation/create', params] as const), state: undefined }
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
  readonly #key: Uint8Array

  constructor(rng: Rng) {
    this.#key = rng.bytes(32)
  }

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
