import { canonicalText, type JsonObject } from '@sealwrit/protocol'

// What may reach either side is told here from the specification, and from what the plane permitted; nothing of the gateway's own
// serialisation is used.

const LEVELS = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']
const REASONS = ['ended by the gate', 'no answer in time']
const isObject = (value: unknown): value is JsonObject => typeof value === 'object' && value !== null && !Array.isArray(value)
const only = (value: unknown, ...names: readonly string[]): boolean => isObject(value) && Object.keys(value).every((name) => names.includes(name))
const isText = (value: unknown, max: number): boolean => typeof value === 'string' && value.length <= max

/** The request that performs a permitted action, by its specification. */
function performed(action: JsonObject): JsonObject {
  const { type, name, arguments: args, input_responses: inputResponses, request_state: requestState, task } = action as Record<string, JsonObject>
  const inputs = { ...(inputResponses === undefined ? {} : { inputResponses }), ...(requestState === undefined ? {} : { requestState }) }
  switch (type as unknown) {
    case 'mcp.tool_call':
      return { method: 'tools/call', params: { name: name as JsonObject, arguments: args as JsonObject, ...(task === undefined ? {} : { task }), ...inputs } }
    case 'mcp.prompt_get':
      return { method: 'prompts/get', params: { name: name as JsonObject, arguments: args as JsonObject, ...inputs } }
    case 'mcp.resource_read':
      return { method: 'resources/read', params: { ...args, ...inputs } }
    default:
      return { method: name as JsonObject, params: args as JsonObject }
  }
}

/** Requests that no policy judges, with all that may be in them. */
const UNGOVERNED: Readonly<Record<string, (params: JsonObject) => boolean>> = {
  initialize: (params) => only(params, 'protocolVersion', 'capabilities', 'clientInfo') && params['protocolVersion'] === '2025-11-25' && only(params['clientInfo'], 'name', 'version') && only(params['capabilities'], 'sampling', 'elicitation', 'roots'),
  'server/discover': (params) => only(params),
  'tools/list': (params) => only(params, 'cursor') && isText(params['cursor'] ?? '', 1_024),
  'resources/list': (params) => only(params, 'cursor') && isText(params['cursor'] ?? '', 1_024),
  'resources/templates/list': (params) => only(params, 'cursor') && isText(params['cursor'] ?? '', 1_024),
  'prompts/list': (params) => only(params, 'cursor') && isText(params['cursor'] ?? '', 1_024),
  'logging/setLevel': (params) => only(params, 'level') && LEVELS.includes(params['level'] as string),
  'resources/unsubscribe': (params) => only(params, 'uri') && isText(params['uri'], 2_048),
  'subscriptions/listen': (params) => only(params, 'notifications'),
}
const NOTIFICATIONS: Readonly<Record<string, (params: JsonObject | undefined) => boolean>> = {
  'notifications/initialized': (params) => params === undefined || only(params),
  'notifications/roots/list_changed': (params) => params === undefined || only(params),
  'notifications/cancelled': (params) => only(params, 'requestId', 'reason') && REASONS.includes(params?.['reason'] as string),
}
/** What may stand in the `_meta` of a request to a server. */
function isMeta(meta: JsonObject | undefined, id: number): boolean {
  if (meta === undefined) return true
  if (!only(meta, 'progressToken', 'io.modelcontextprotocol/protocolVersion', 'io.modelcontextprotocol/clientInfo', 'io.modelcontextprotocol/clientCapabilities', 'io.modelcontextprotocol/logLevel')) return false
  const info = meta['io.modelcontextprotocol/clientInfo']
  return (meta['progressToken'] ?? id) === id && (meta['io.modelcontextprotocol/protocolVersion'] ?? '2026-07-28') === '2026-07-28' && (info === undefined || (only(info, 'name', 'version') && isText((info as JsonObject)['name'], 128) && isText((info as JsonObject)['version'], 128))) &&
    only(meta['io.modelcontextprotocol/clientCapabilities'] ?? {}, 'sampling', 'elicitation', 'roots') && LEVELS.includes((meta['io.modelcontextprotocol/logLevel'] ?? 'info') as string)
}

/** Judges every line that a server got. */
export class ServerJudge {
  readonly #permitted = new Map<string, number>()
  readonly #isOneLink: boolean
  #lastId = 0
  arrived = 0

  /** @param isOneLink whether all comes over one connection, on which ids only grow */
  constructor(isOneLink = true) {
    this.#isOneLink = isOneLink
  }

  permit(action: JsonObject): void {
    const text = canonicalText(performed(action))
    this.#permitted.set(text, (this.#permitted.get(text) ?? 0) + 1)
  }

  /** What is wrong with a line; undefined where it is the canonical form of something permitted, or of a message without effect. */
  fault(line: string): string | undefined {
    const value = JSON.parse(line) as JsonObject
    if (canonicalText(value) !== line) return 'not canonical'
    if (value['jsonrpc'] !== '2.0') return 'no JSON-RPC'
    const { id, method, params } = value as { id?: number; method?: string; params?: JsonObject }
    if (method === undefined) return only(value, 'jsonrpc', 'id', 'result') || only(value, 'jsonrpc', 'id', 'error') ? undefined : 'an answer with more in it'
    if (!only(value, 'jsonrpc', 'id', 'method', 'params')) return 'a member too many'
    if (id === undefined) return NOTIFICATIONS[method]?.(params) === true ? undefined : 'a notification that nobody permitted'
    if (!Number.isSafeInteger(id) || id < 1 || (this.#isOneLink && id <= this.#lastId)) return 'an id that is not the gateway’s own next one'
    this.#lastId = id
    const { _meta: meta, ...rest } = params ?? {}
    if (!isMeta(meta as JsonObject | undefined, id)) return 'a member of _meta that nobody permitted'
    if (Object.hasOwn(UNGOVERNED, method)) return UNGOVERNED[method]?.(rest) === true ? undefined : 'more than the method has'
    const asked = canonicalText({ method, params: rest })
    const left = this.#permitted.get(asked) ?? 0
    if (left === 0) return 'a request that nobody permitted, or one time too often'
    this.#permitted.set(asked, left - 1)
    this.arrived++
    return undefined
  }
}

/** Notifications that a client may be told, and requests that it may be asked once they are permitted. */
const TOLD = ['notifications/message', 'notifications/progress', 'notifications/tools/list_changed', 'notifications/resources/list_changed', 'notifications/prompts/list_changed', 'notifications/resources/updated', 'notifications/subscriptions/acknowledged', 'notifications/cancelled', 'notifications/tasks/status', 'ping']

/** Judges every message that a client got: an answer to what it asked, with what the server said or a refusal, and nothing else. */
export class ClientJudge {
  readonly #asked = new Set<string>()
  readonly #said = new Set<string>()
  readonly #questions = new Map<string, number>()
  #rest = Buffer.alloc(0)
  answered = 0

  asks(id: unknown): void {
    this.#asked.add(JSON.stringify(id))
  }
  /** Keeps the contents of a server's results, as far as its lines are JSON at all. */
  serverSaid(bytes: Buffer): void {
    const lines = Buffer.concat([this.#rest, bytes]).toString('latin1').split('\n')
    this.#rest = Buffer.from(lines.pop() as string, 'latin1')
    for (const raw of lines) {
      const line = Buffer.from(raw, 'latin1').toString('utf8')
      try {
        const { result } = JSON.parse(line) as { result?: unknown }
        if (isObject(result)) for (const text of texts(result)) this.#said.add(text)
      } catch {
        // no JSON: nothing that could be passed on
      }
    }
  }
  permit(action: JsonObject): void {
    const text = canonicalText(performed(action))
    this.#questions.set(text, (this.#questions.get(text) ?? 0) + 1)
  }

  fault(value: JsonObject): string | undefined {
    const { method, params } = value as { method?: string; params?: JsonObject }
    if (method !== undefined) {
      if (TOLD.includes(method)) return undefined
      const asked = canonicalText({ method, params: params ?? {} })
      const left = this.#questions.get(asked) ?? 0
      this.#questions.set(asked, left - 1)
      return left > 0 ? undefined : 'a question that nobody permitted'
    }
    if (isObject(value['error'])) return undefined
    if (!this.#asked.delete(JSON.stringify(value['id']))) return 'an answer to nothing, or one more'
    this.answered++
    const result = value['result'] as JsonObject
    if (JSON.stringify(result).includes('sealwrit/denial')) return undefined
    return texts(result).every((text) => this.#said.has(text)) ? undefined : 'a result that the server did not say'
  }
}

/** The texts of what a call came to. */
function texts(result: JsonObject): string[] {
  const { content, contents } = result as { content?: unknown; contents?: unknown }
  return [content, contents].flatMap((list) => (Array.isArray(list) ? list.map((item) => canonicalText(item as JsonObject)) : []))
}
