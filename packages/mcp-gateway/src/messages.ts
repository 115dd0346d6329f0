import { type DenialCode, Denied, isObject, type JsonLimits, type JsonObject, type JsonValue, MAX_BYTES, MAX_DEPTH, MAX_MEMBERS, parseStrict } from '@sealwrit/protocol'

/** Longest line from a client, in bytes. */
export const MAX_CLIENT_LINE: number = MAX_BYTES
/** Longest line from a server, in bytes: results may be larger than requests. */
export const MAX_SERVER_LINE = 16_777_216
const CLIENT_LIMITS: JsonLimits = Object.freeze({ maxBytes: MAX_CLIENT_LINE, maxDepth: MAX_DEPTH, maxMembers: MAX_MEMBERS })
const SERVER_LIMITS: JsonLimits = Object.freeze({ maxBytes: MAX_SERVER_LINE, maxDepth: MAX_DEPTH, maxMembers: 200_000 })

export type RequestId = string | number
/** Longest string id, in UTF-16 units. */
const MAX_ID = 256

export type Message =
  | { readonly kind: 'request'; readonly id: RequestId; readonly method: string; readonly params: JsonObject }
  | { readonly kind: 'notification'; readonly method: string; readonly params: JsonObject }
  | { readonly kind: 'result'; readonly id: RequestId; readonly result: JsonObject }
  | { readonly kind: 'error'; readonly id: RequestId | null; readonly error: JsonObject }

/** A line that is no acceptable message; the id is the one that could be read, so that the answer finds its asker. */
export class BadMessage extends Denied {
  readonly id: RequestId | null
  constructor(code: DenialCode, detail: string, id: RequestId | null = null) {
    super(code, detail)
    this.id = id
  }
}

/** @throws {BadMessage} `request_malformed`, or what the strict parser refuses with */
export function parseClientMessage(line: Uint8Array): Message {
  return parseMessage(line, CLIENT_LIMITS)
}
/** @throws {BadMessage} as {@link parseClientMessage} */
export function parseServerMessage(line: Uint8Array): Message {
  return parseMessage(line, SERVER_LIMITS)
}

function parseMessage(line: Uint8Array, limits: JsonLimits): Message {
  let value: JsonValue
  try {
    value = parseStrict(line, limits)
  } catch (error) {
    throw error instanceof Denied ? new BadMessage(error.code, error.message) : error
  }
  // A batch would let one line carry several messages; the revision has none.
  if (!isObject(value)) throw new BadMessage('request_malformed', Array.isArray(value) ? 'a batch' : 'not an object')
  const members = Object.keys(value)
  const id = value['id']
  const known = isId(id) ? id : null
  const bad = (detail: string): never => {
    throw new BadMessage('request_malformed', detail, known)
  }
  if (value['jsonrpc'] !== '2.0') bad('jsonrpc is not 2.0')
  const { method } = value as { method?: JsonValue }
  if (method !== undefined) {
    if (typeof method !== 'string' || method === '') bad('method')
    const params = value['params'] ?? EMPTY
    if (!isObject(params)) return bad('params is not an object')
    const expected = 2 + ('id' in value ? 1 : 0) + ('params' in value ? 1 : 0)
    if (members.length !== expected) bad('unknown member')
    if (!('id' in value)) return { kind: 'notification', method: method as string, params }
    if (known === null) return bad('id is neither a string nor an integer')
    return { kind: 'request', id: known, method: method as string, params }
  }
  if (members.length !== 3) bad('neither a request nor an answer')
  const { result, error } = value as { result?: JsonValue; error?: JsonValue }
  if (isObject(result) && known !== null) return { kind: 'result', id: known, result }
  if (isObject(error) && (known !== null || id === null)) return { kind: 'error', id: known, error }
  return bad('neither a request nor an answer')
}

const EMPTY: JsonObject = Object.freeze(Object.create(null) as Record<string, JsonValue>)

function isId(id: JsonValue | undefined): id is RequestId {
  return (typeof id === 'string' && id.length <= MAX_ID) || (typeof id === 'number' && Number.isSafeInteger(id))
}
