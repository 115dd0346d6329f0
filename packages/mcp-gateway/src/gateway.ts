import { enforce, type Effect, type Gate, type GateRequest, type Identify, type Placed, PlaneDenied, type ReceiptOrder } from '@sealwrit/gate'
import { type Action, type Agent, canonicalize, canonicalText, Denied, type Facts, Fields, isObject, type JsonObject, type JsonValue, LineReader, scopeOf, type VerifiedArtifact } from '@sealwrit/protocol'
import { carriedBy, foreignBy } from './carried.ts'
import { heldBy } from './held.ts'
import { identityBy } from './identity.ts'
import { declaredBy } from './intent.ts'
import { parentMeta, placedBy } from './lineage.ts'
import { BadMessage, deniedResult, errorLine, MAX_CLIENT_LINE, MAX_SERVER_LINE, type Message, parseClientMessage, parseServerMessage, type RequestId, REVISION } from './messages.ts'
import { ToolRegistry } from './tools.ts'
import { ExecutionSpan, metaOf } from './tracing.ts'
import { Upstream, type UpstreamAnswer } from './upstream.ts'
import { UsedIds } from './used-ids.ts'

/** Unacceptable lines of one side after which the connection is closed. */
export const MAX_BAD_MESSAGES = 1_000
/** Time that a server has to stop after it was told to cancel, before it is ended, in milliseconds: an answer never says whether it did. */
export const CANCEL_GRACE_MS = 1_000

export interface GatewayOptions extends Placed {
  readonly gate: Gate
  /** The registered server, `mcp://<name>`. */
  readonly target: string
  /** The agent's name where the operator gave one; else what the client calls itself counts, unverified. */
  readonly agent: string | undefined
  /** The purpose of what declares none itself. */
  readonly intent?: string | undefined
  /** Asserts who asks, for the one agent that uses this gateway; what a client says of itself in a request goes first. */
  readonly identify?: Identify | undefined
  /** What another plane permitted of an action, for the one agent that uses this gateway; what a client presents with a request goes first. */
  readonly foreignOf?: ((action: Action) => JsonValue | undefined) | undefined
  /** Looks at where the arguments of a call lead. */
  readonly facts: (args: JsonObject) => Facts
  readonly receiptOrder: ReceiptOrder
  /** How long a held call waits for its approval before it is answered, in milliseconds; 0 where it is not given. */
  readonly holdWaitMs?: number
  /** Writes one line. */
  readonly toClient: (line: string) => void
  readonly toServer: (line: string) => void
  /** Ends server and connection. */
  readonly close: (reason: string) => void
  /** Ends the server at once: it runs what may not run any more. */
  readonly kill: (reason: string) => void
}

/** Lists that pass through, judged by kind: they have no effect, and only a cursor goes along. */
const LISTS: ReadonlySet<string> = new Set(['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list'])
/** Announcements that pass through from the server, without content. */
const ANNOUNCEMENTS: ReadonlySet<string> = new Set([
  'notifications/tools/list_changed',
  'notifications/resources/list_changed',
  'notifications/prompts/list_changed',
])

/**
 * The stdio gateway: reads each line once, strictly, and forwards only messages that it built itself from what it judged.
 * Unknown messages are refused; everything with an effect goes through {@link enforce}.
 */
export class McpGateway {
  readonly #options: GatewayOptions
  readonly #upstream: Upstream
  readonly #tools: ToolRegistry
  readonly #usedIds = new UsedIds()
  readonly #inFlight = new Map<RequestId, AbortController>()
  readonly #clientLines: LineReader
  readonly #serverLines: LineReader
  #agent: Agent | undefined
  #badMessages = 0
  #closed = false

  constructor(options: GatewayOptions) {
    this.#options = options
    this.#upstream = new Upstream(options.toServer)
    this.#tools = new ToolRegistry(options.gate.ports.crypto.sha256, (tools) => options.gate.recordTools(options.target, tools))
    this.#clientLines = new LineReader(MAX_CLIENT_LINE, (line) => this.#fromClient(line), (denied) => this.#badClient(new BadMessage(denied.code, denied.message)))
    this.#serverLines = new LineReader(MAX_SERVER_LINE, (line) => this.#fromServer(line))
  }

  /** Bytes from the client. */
  clientData(chunk: Uint8Array): void {
    if (!this.#closed) this.#clientLines.push(chunk)
  }

  /** Bytes from the server. Whatever cannot be judged ends it: nothing is passed on raw. */
  serverData(chunk: Uint8Array): void {
    if (this.#closed) return
    try {
      this.#serverLines.push(chunk)
    } catch (error) {
      this.#close(error instanceof Denied ? `server: ${error.message}` : 'server: bad line')
    }
  }

  serverClosed(): void {
    this.#upstream.close()
  }

  #close(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#upstream.close()
    this.#options.close(reason)
  }

  // ---- client → server

  #fromClient(line: Uint8Array): void {
    if (line.length === 0 || (line.length === 1 && line[0] === 13)) return
    let message: Message
    try {
      message = parseClientMessage(line)
      if (message.kind === 'request') this.#takeId(message.id)
    } catch (error) {
      this.#badClient(error instanceof BadMessage ? error : new BadMessage('unavailable', 'unforeseen'))
      return
    }
    switch (message.kind) {
      case 'request':
        void this.#request(message.id, message.method, message.params)
        return
      case 'notification':
        return this.#clientNotification(message.method, message.params)
      case 'result':
      case 'error':
        // The gateway asks a client nothing, so this answers nothing (ATK-095).
        return this.#badClient(new BadMessage('method_unknown', 'an answer to nothing'), false)
    }
  }

  /** @throws {BadMessage} `request_malformed` for an id that was used before, `overloaded` when no more can be remembered */
  #takeId(id: RequestId): void {
    const taken = this.#usedIds.take(id)
    if (taken === 'used') throw new BadMessage('request_malformed', 'the id was used before', this.#inFlight.has(id) ? null : id)
    if (taken === 'full') throw new BadMessage('overloaded', 'too many scattered ids', id)
  }

  /** Answers and records a refusal of something that could not be judged as a request. */
  #badClient(bad: BadMessage, answer = true): void {
    if (answer) this.#options.toClient(errorLine(bad.id, bad.code))
    void this.#options.gate.reporter.denial(bad, {}).catch(() => undefined)
    if (++this.#badMessages > MAX_BAD_MESSAGES) this.#close('too many unacceptable messages')
  }

  async #request(id: RequestId, method: string, params: JsonObject): Promise<void> {
    const controller = new AbortController()
    this.#inFlight.set(id, controller)
    try {
      const answer = await this.#answer(method, params, controller.signal)
      if (controller.signal.aborted) return // a cancelled request gets no answer
      this.#options.toClient(`{"id":${JSON.stringify(id)},"jsonrpc":"2.0",${answerMember(answer)}}`)
    } catch (error) {
      const denied = error instanceof Denied ? error : new Denied('unavailable')
      if (!controller.signal.aborted) this.#options.toClient(deniedLine(id, method, denied, this.#tools.hasOutputSchema(params['name'])))
    } finally {
      this.#inFlight.delete(id)
    }
  }

  /** @throws {Denied} */
  async #answer(method: string, params: JsonObject, signal: AbortSignal): Promise<UpstreamAnswer> {
    if (method === 'ping') return { result: {} }
    if (method === 'initialize') return this.#initialize(params)
    if (this.#agent === undefined) throw this.#refused(new Denied('request_malformed', 'not initialized'))
    if (LISTS.has(method)) return this.#list(method, params)
    const action = await this.#toAction(method, params)
    const identity = this.#judged(() => identityBy(params))
    const carried = carriedBy(method, params)
    const declared = this.#judged(() => declaredBy(params, this.#options.intent, 'carried' in carried))
    return this.#govern({ action, agent: this.#agent, wait: { ms: this.#options.holdWaitMs ?? 0, signal }, ...carried, ...declared, foreign: this.#options.foreignOf?.(action), ...foreignBy(params), ...this.#judged(() => ({ ...heldBy(params), ...placedBy(params, this.#options) })), identify: this.#options.identify, ...identity }, metaOf(params), signal)
  }

  /** The governed path. The server gets the canonical action that was judged, never the line that asked for it. */
  async #govern(asked: Omit<GateRequest, 'facts'>, meta: JsonObject | undefined, cancelled: AbortSignal): Promise<UpstreamAnswer> {
    const { action } = asked
    const { gate, facts, receiptOrder } = this.#options
    const { method, params } = toRequest(action)
    const progressToken = progressTokenOf(meta)
    const span = new ExecutionSpan(scopeOf(action), meta)
    let hasRun = false
    const run = async (artifact: VerifiedArtifact, _action: Action, expired: AbortSignal): Promise<Effect<UpstreamAnswer>> => {
      hasRun = true
      expired.addEventListener('abort', () => setTimeout(() => this.#options.kill('a call was ended, and nothing but its end shows that a program stopped'), CANCEL_GRACE_MS).unref(), { once: true })
      const sent = this.#upstream.request(method, params, { progressToken, signal: AbortSignal.any([expired, cancelled]), meta: parentMeta(artifact) })
      span.permitted(artifact)
      const answer = await sent
      const isError = 'error' in answer || answer.result['isError'] === true
      const value = 'error' in answer ? answer.error : answer.result
      return { outcome: isError ? 'failed' : 'completed', ...(isError ? { cause: 'tool_error' as const } : {}), resultBytes: canonicalize(value), value: answer }
    }
    const request = { ...asked, facts: () => facts(action.arguments as JsonObject), trace: span }
    const executed = await enforce(gate, request, run, receiptOrder).catch((error: unknown) => {
      span.refused(error instanceof Denied ? error : new Denied('unavailable'), hasRun)
      throw error
    })
    span.completed(executed)
    if (executed.value === undefined) throw new Denied('unavailable', 'the server did not answer')
    return executed.value
  }

  /** @throws {Denied} `method_unknown`, `request_malformed`, `tool_not_pinned` */
  async #toAction(method: string, params: JsonObject): Promise<Action> {
    const { target } = this.#options
    try {
      const fields = new Fields(params, 'request_malformed', method)
      fields.optional('_meta', (name) => fields.value(name)) // a progress token and a carried artifact are taken from it; nothing of it is forwarded
      let action: Action
      if (method === 'tools/call') {
        const name = fields.text('name', 256)
        const args = readArguments(fields)
        fields.end()
        action = { type: 'mcp.tool_call', target, name, arguments: args, tool_digest: await this.#tools.digestOf(name, (m, p) => this.#ask(m, p)) }
      } else if (method === 'resources/read') {
        action = { type: 'mcp.resource_read', target, name: 'resources/read', arguments: { uri: fields.text('uri', 2_048) } }
        fields.end()
      } else if (method === 'prompts/get') {
        action = { type: 'mcp.prompt_get', target, name: fields.text('name', 256), arguments: readArguments(fields) }
        fields.end()
      } else {
        throw new Denied('method_unknown')
      }
      return action
    } catch (error) {
      throw this.#refused(error instanceof Denied ? error : new Denied('unavailable'))
    }
  }

  #judged<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      throw this.#refused(error instanceof Denied ? error : new Denied('unavailable'))
    }
  }

  /** Records a refusal that the gate decided by itself, before any permit. */
  #refused(denied: Denied): Denied {
    void this.#options.gate.reporter.denial(denied, {}).catch(() => undefined)
    return denied
  }

  async #ask(method: string, params: JsonObject): Promise<JsonObject> {
    const answer = await this.#upstream.request(method, params)
    if ('error' in answer) throw new Denied('tool_not_pinned', 'the server does not list its tools')
    return answer.result
  }

  async #list(method: string, params: JsonObject): Promise<UpstreamAnswer> {
    const { cursor } = params as { cursor?: JsonValue }
    if (cursor !== undefined && (typeof cursor !== 'string' || cursor.length > 1_024)) throw this.#refused(new Denied('request_malformed', 'cursor'))
    const answer = await this.#upstream.request(method, cursor === undefined ? {} : { cursor })
    return 'result' in answer && method === 'tools/list' ? { result: this.#tools.observe(answer.result) } : answer
  }

  /** @throws {Denied} for another revision, or a second initialization */
  async #initialize(params: JsonObject): Promise<UpstreamAnswer> {
    const asked = params['protocolVersion']
    if (asked !== REVISION) {
      this.#refused(new Denied('request_malformed', 'another revision of MCP'))
      return { error: revisionError(asked) }
    }
    if (this.#agent !== undefined) throw this.#refused(new Denied('request_malformed', 'initialized already'))
    const client = new Fields(params['clientInfo'], 'request_malformed', 'clientInfo')
    const name = client.text('name', 128)
    const version = client.string('version', 128)
    this.#agent = this.#options.agent === undefined ? { name, verified: false } : { name: this.#options.agent, verified: true }
    // Roots, sampling and elicitation are not offered on: a server cannot ask for what it was not told of (ATK-094).
    const answer = await this.#upstream.request('initialize', { protocolVersion: REVISION, capabilities: {}, clientInfo: { name, version } })
    if ('error' in answer) {
      this.#agent = undefined
      return answer
    }
    if (answer.result['protocolVersion'] !== REVISION) {
      this.#close('the server speaks another revision')
      return { error: revisionError(answer.result['protocolVersion']) }
    }
    return { result: { ...answer.result, capabilities: offered(answer.result['capabilities']) } }
  }

  #clientNotification(method: string, params: JsonObject): void {
    if (method === 'notifications/initialized') return this.#upstream.notify(method, {})
    if (method === 'notifications/cancelled') {
      const id = params['requestId']
      if (typeof id === 'string' || typeof id === 'number') this.#inFlight.get(id)?.abort(new Denied('unavailable', 'cancelled'))
      return
    }
    if (method === 'notifications/roots/list_changed') return // roots were not offered; nothing to pass on
    this.#badClient(new BadMessage('method_unknown', 'a notification that is not governed'), false)
  }

  // ---- server → client

  #fromServer(line: Uint8Array): void {
    if (line.length === 0 || (line.length === 1 && line[0] === 13)) return
    let message: Message
    try {
      message = parseServerMessage(line)
    } catch (error) {
      const bad = error instanceof BadMessage ? error : new BadMessage('unavailable', 'unforeseen')
      // An answer that cannot be read still ends its request; other noise is counted and dropped.
      if (bad.id === null || !this.#upstream.answer(bad.id, { error: rpcFailure(bad) })) this.#badServer(bad)
      return
    }
    switch (message.kind) {
      case 'result':
        if (!this.#upstream.answer(message.id, { result: message.result })) this.#badServer(new BadMessage('method_unknown', 'an answer to nothing'))
        return
      case 'error':
        if (!this.#upstream.answer(message.id, { error: message.error })) this.#badServer(new BadMessage('method_unknown', 'an answer to nothing'))
        return
      case 'request':
        if (message.method === 'ping') return this.#options.toServer(canonicalText({ jsonrpc: '2.0', id: message.id, result: {} }))
        this.#options.toServer(errorLine(message.id, 'method_unknown'))
        return this.#badServer(new BadMessage('method_unknown', 'a request by the server'))
      case 'notification':
        return this.#serverNotification(message.method, message.params)
    }
  }

  #badServer(bad: BadMessage): void {
    void this.#options.gate.reporter.denial(bad, {}).catch(() => undefined)
    if (++this.#badMessages > MAX_BAD_MESSAGES) this.#close('too many unacceptable messages')
  }

  #serverNotification(method: string, params: JsonObject): void {
    const pass = (passed: JsonObject): void => this.#options.toClient(canonicalText({ jsonrpc: '2.0', method, params: passed }))
    if (ANNOUNCEMENTS.has(method)) {
      if (method === 'notifications/tools/list_changed') this.#tools.invalidate()
      return pass({})
    }
    if (method === 'notifications/message') return pass(params)
    if (method === 'notifications/progress') {
      const token = this.#upstream.progressTokenOf(params['progressToken'])
      if (token !== undefined) return pass({ ...params, progressToken: token })
    }
    this.#badServer(new BadMessage('method_unknown', 'a notification that is not governed'))
  }
}

/** The request that performs `action`, from its canonical form. */
function toRequest(action: Action): { method: string; params: JsonObject } {
  switch (action.type) {
    case 'mcp.tool_call':
      return { method: 'tools/call', params: { name: action.name, arguments: action.arguments } }
    case 'mcp.resource_read':
      return { method: 'resources/read', params: { uri: action.arguments.uri } }
    case 'mcp.prompt_get':
      return { method: 'prompts/get', params: { name: action.name, arguments: action.arguments } }
    case 'mcp.completion':
    case 'mcp.resource_subscribe':
    case 'mcp.task':
    case 'mcp.sampling':
    case 'mcp.elicitation':
    case 'mcp.roots':
      return { method: action.name, params: action.arguments as JsonObject }
  }
}

function readArguments(fields: Fields): JsonObject {
  const args = fields.optional('arguments', (name) => fields.value(name)) ?? {}
  if (!isObject(args)) throw new Denied('request_malformed', 'arguments is not an object')
  return args
}

function progressTokenOf(meta: JsonObject | undefined): RequestId | undefined {
  const token = meta?.['progressToken']
  return typeof token === 'string' || (typeof token === 'number' && Number.isSafeInteger(token)) ? token : undefined
}

/** The server's capabilities that this gateway carries; the others are not offered to the client. */
function offered(capabilities: JsonValue | undefined): JsonObject {
  const out: Record<string, JsonValue> = {}
  if (!isObject(capabilities)) return out
  for (const name of ['tools', 'resources', 'prompts'] as const) {
    const capability = capabilities[name]
    if (isObject(capability)) out[name] = capability['listChanged'] === true ? { listChanged: true } : {}
  }
  return out
}

function revisionError(asked: JsonValue | undefined): JsonObject {
  const requested = typeof asked === 'string' ? asked.slice(0, 32) : 'none'
  return { code: -32602, message: `unsupported protocol version: this gateway speaks ${REVISION}`, data: { code: 'request_malformed', hint: `use ${REVISION}`, requested, supported: [REVISION] } }
}

function answerMember(answer: UpstreamAnswer): string {
  return 'error' in answer ? `"error":${canonicalText(answer.error)}` : `"result":${canonicalText(answer.result)}`
}

function rpcFailure(bad: BadMessage): JsonObject {
  return { code: -32603, message: `the server's answer was refused: ${bad.message}`, data: { code: bad.code, hint: bad.hint } }
}

function deniedLine(id: RequestId, method: string, denied: Denied, hasOutputSchema: boolean): string {
  const extra: JsonObject = denied instanceof PlaneDenied ? { record: denied.seq, ...(denied.hold === undefined ? {} : { hold: denied.hold }) } : {}
  if (method !== 'tools/call' || denied.code === 'request_malformed') return errorLine(id, denied.code, extra)
  return `{"id":${JSON.stringify(id)},"jsonrpc":"2.0","result":${canonicalText(deniedResult(denied.code, extra, hasOutputSchema))}}`
}
