import type { Gate, GateRequest, ReceiptOrder } from '@sealwrit/gate'
import { type Action, actionDigest, type Agent, Denied, type Facts, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import { answerOf, deniedAnswer, refusal, resultAnswer } from './client/answers.ts'
import { LOG_LEVELS, UnsupportedRevision } from './client/facts.ts'
import type { Answer, Asked, ClientFacts, ClientPort, Reply, Seat } from './client/seat.ts'
import { toAction, withoutInputs } from './govern/action.ts'
import { bridged, opened } from './govern/bridge.ts'
import { Executing } from './govern/execute.ts'
import { MAX_ROUNDS, StateSeal, type Wanted, wantedIn } from './govern/inputs.ts'
import { Listening } from './govern/listening.ts'
import { LISTS } from './govern/lists.ts'
import { Reach } from './govern/reach.ts'
import { Reverse } from './govern/reverse.ts'
import { readFilter } from './govern/subscriptions.ts'
import { takesTasks, Tasks } from './govern/tasks.ts'
import { BadMessage } from './messages.ts'
import { askingFor, type Preset, progressTokenOf } from './meta/asking.ts'
import { identityBy } from './meta/identity.ts'
import { HEADER_MISMATCH, LOG_LEVEL_META, SESSIONS, STATELESS } from './revision.ts'
import type { OpenLink } from './server/link.ts'
import { openServer, type ServerFacts } from './server/opening.ts'
import { type Sending, unreadable, Upstream } from './server/upstream.ts'
import { HeaderMismatch, mirroredOf } from './tools/mirrored.ts'
import { type RegistryPorts, ToolRegistry } from './tools/registry.ts'
import { ValidationThread } from './tools/schema/thread.ts'
import { metaOf } from './tracing.ts'

/** Unacceptable messages of a server after which it is ended. */
export const MAX_BAD_MESSAGES = 1_000

export interface GatewayOptions extends Preset {
  readonly gate: Gate
  /** The registered server, `mcp://<name>`. */
  readonly target: string
  /** Connects to that server. */
  readonly open: OpenLink
  /** The agent's name where something vouches for it; else what the client calls itself counts, unverified. */
  readonly agent: string | undefined
  /** Who sits here, opaque: what was given to one is good for no other. */
  readonly principal?: string
  /** Looks at where the arguments of a call lead. */
  readonly facts: (args: JsonObject) => Facts
  readonly receiptOrder: ReceiptOrder
  /** Longest result, in bytes of its canonical form. */
  readonly maxResultBytes?: number
  /** Binds what servers give along to its request; one for all seats of a process, so that a stateless client may come back at any. */
  readonly stateSeal?: StateSeal
  /** Tells the plane what the server lists, and answers with what is pinned; the gate itself does, where nothing is given. */
  readonly recordTools?: RegistryPorts['record']
}

/**
 * One client at one server. It forwards only messages that it built itself from what it judged: unknown ones are refused, and
 * everything with an effect goes through {@link enforce}, in either direction.
 */
export class McpGateway implements Seat {
  readonly #options: GatewayOptions
  readonly #port: ClientPort
  readonly #upstream: Upstream
  readonly #tools: ToolRegistry
  readonly #validation: ValidationThread
  readonly #reach: Reach
  readonly #reverse: Reverse
  readonly #executing: Executing
  readonly #listening: Listening
  readonly #stateSeal: StateSeal
  #opening: Promise<ServerFacts> | undefined
  /** The session that `initialize` began. */
  #session: ClientFacts | undefined
  /** Asserts who that client is, as its transport did last. */
  #identify: Asked['identify']
  #isReady = false
  /** What the server was told that the client with the session offers. */
  #offered: JsonObject = {}
  #logLevel: string | undefined
  readonly #tasks = new Tasks()
  readonly #over = new AbortController()
  #badMessages = 0

  constructor(options: GatewayOptions, port: ClientPort) {
    this.#options = options
    this.#port = port
    const { gate, target } = options
    this.#stateSeal = options.stateSeal ?? new StateSeal(options.gate.ports.rng)
    const agentOf = (client: ClientFacts): Agent => this.#agent(client)
    this.#reach = new Reach(options, agentOf)
    this.#reverse = new Reverse(options, port, this.#reach, agentOf)
    const { clock, crypto } = gate.ports
    this.#validation = new ValidationThread(clock)
    this.#tools = new ToolRegistry({ sha256: crypto.sha256, clock, target, thread: this.#validation, showsUnpinned: gate.observes, record: options.recordTools ?? ((tools) => gate.recordTools(target, tools)), refused: (denied, scope) => void gate.reporter.denial(denied, { scope }).catch(() => undefined) })
    this.#upstream = new Upstream(options.open, {
      notification: (method, params) => this.#announced(method, params),
      asked: (method, params, signal, related) => this.#reverse.askedByServer(method, params, this.#session === undefined ? undefined : { client: this.#session, identify: this.#identify }, this.#offered, signal, related),
      bad: (bad) => this.#badServer(bad),
      late: (code, scope) => void gate.reporter.denial(new Denied(code, 'a late result was dropped'), scope === undefined ? {} : { scope }).catch(() => undefined),
      closed: (reason) => this.#ended(reason),
    })
    this.#listening = new Listening(options, port, this.#upstream, this.#over.signal)
    this.#executing = new Executing(options, this.#upstream, this.#tasks, (reason) => this.#kill(reason))
  }

  async request(asked: Asked): Promise<Answer> {
    const { method, client, params } = asked
    try {
      if (client.revision === SESSIONS) this.#identify = asked.identify
      return await this.#answer({ ...asked, ...this.#judged(() => identityBy(params)) })
    } catch (error) {
      if (error instanceof UnsupportedRevision) return error.answer()
      if (error instanceof HeaderMismatch) return refusal(error.code, {}, HEADER_MISMATCH)
      return deniedAnswer(error instanceof Denied ? error : new Denied('unavailable'), method, client.revision, { hasOutputSchema: this.#tools.hasOutputSchema(params['name']) })
    }
  }

  notification(method: string, _params: JsonObject): void {
    if (method === 'notifications/initialized') return this.#clientReady()
    if (method === 'notifications/roots/list_changed') {
      if (isObject(this.#offered['roots'])) this.#upstream.notify(method, {})
      return
    }
    this.#refused(new Denied('method_unknown', 'a notification that is not governed'))
  }

  close(reason: string): void {
    this.#over.abort(new Denied('unavailable', reason))
    this.#validation.close()
    this.#upstream.close(reason)
  }

  #ended(reason: string): void {
    this.#over.abort(new Denied('unavailable', reason))
    this.#validation.close()
    this.#port.ended(reason)
  }

  // ---- client → server

  /** @throws {Denied} */
  async #answer(asked: Asked): Promise<Answer> {
    const { method, client } = asked
    const isStateless = client.revision === STATELESS
    if (!isStateless) {
      if (method === 'ping') return resultAnswer({})
      if (method === 'initialize') return this.#initialize(asked)
      if (this.#session === undefined) throw this.#refused(new Denied('request_malformed', 'not initialized'))
      if (method === 'logging/setLevel') return this.#setLogLevel(asked)
      if (method === 'resources/unsubscribe') return this.#judged(() => this.#listening.unsubscribe(asked.params['uri']))
    }
    if (isStateless && method === 'server/discover') return resultAnswer(opened(STATELESS, await this.#open(asked)))
    if (isStateless && method === 'subscriptions/listen') {
      const wanted = this.#judged(() => readFilter(asked.params))
      await this.#open(asked)
      return this.#listening.listen(wanted, asked, (action) => this.#request(action, asked))
    }
    if (isStateless && method === 'resources/subscribe') throw this.#refused(new Denied('method_unknown', 'this revision has subscriptions/listen'))
    if (LISTS.has(method)) return this.#list(asked)
    return this.#governed(asked)
  }

  /** @throws {Denied} for a second initialization */
  async #initialize(asked: Asked): Promise<Answer> {
    const { client } = asked
    if (this.#session !== undefined) throw this.#refused(new Denied('request_malformed', 'initialized already'))
    this.#session = client
    try {
      return resultAnswer(opened(SESSIONS, await this.#open(asked)))
    } catch (error) {
      this.#session = undefined
      throw error
    }
  }

  /** The server's word on itself; it is asked once. @throws {Denied} `unavailable`, {@link UnsupportedRevision} */
  async #open(asked: Asked): Promise<ServerFacts> {
    this.#opening ??= this.#openServer(asked)
    try {
      return await this.#opening
    } catch (error) {
      this.#opening = undefined
      if (error instanceof UnsupportedRevision) {
        this.#refused(error)
        setImmediate(() => this.#kill('the server speaks another revision')) // once the client was told
      }
      throw error
    }
  }

  async #openServer(asked: Asked): Promise<ServerFacts> {
    const { client } = asked
    const offered = await this.#reach.offered(asked)
    // A stateless client cannot be asked by a server with sessions: that one is not told that it could.
    const inSession = client.revision === SESSIONS ? offered : {}
    const server = await openServer(this.#upstream, client, { [STATELESS]: offered, [SESSIONS]: inSession })
    this.#offered = inSession
    if (server.revision === SESSIONS && client.revision === STATELESS) this.#upstream.notify('notifications/initialized', {})
    this.#listening.opened(server, client, () => this.#tools.invalidate())
    return server
  }

  /** Once in a session, however often it is said. */
  #clientReady(): void {
    if (this.#session === undefined || this.#isReady) return
    this.#isReady = true
    void this.#opening?.then((server) => {
      if (server.revision === SESSIONS) this.#upstream.notify('notifications/initialized', {})
      this.#listening.begin()
    }, () => undefined)
  }

  async #list(asked: Asked): Promise<Answer> {
    const { method, params, client } = asked
    const { cursor } = params as { cursor?: JsonValue }
    if (cursor !== undefined && (typeof cursor !== 'string' || cursor.length > 1_024)) throw this.#refused(new Denied('request_malformed', 'cursor'))
    const server = await this.#open(asked)
    const before = { isFirst: cursor === undefined, changes: this.#tools.changes }
    const reply = await this.#upstream.request(method, cursor === undefined ? {} : { cursor }, await this.#sending(asked))
    const { refused } = this.#read(reply, asked)
    if (refused !== undefined) return answerOf({ error: unreadable(refused) })
    const pinned = 'result' in reply && method === 'tools/list' ? await this.#tools.shown(reply.result, before, (m, p) => this.#ask(m, p, asked)) : undefined
    const shown: Reply = 'result' in reply ? { result: await this.#reach.shown(pinned ?? reply.result, asked) } : reply
    return answerOf(bridged(shown, method, client.revision, server))
  }

  async #setLogLevel(asked: Asked): Promise<Answer> {
    const { level } = asked.params as { level?: JsonValue }
    if (typeof level !== 'string' || !LOG_LEVELS.includes(level)) throw this.#refused(new Denied('request_malformed', 'level'))
    const server = await this.#open(asked)
    this.#logLevel = level
    if (server.revision === STATELESS) return resultAnswer({})
    const reply = await this.#upstream.request('logging/setLevel', { level }, await this.#sending(asked))
    const { refused } = this.#read(reply, asked)
    if (refused !== undefined) return answerOf({ error: unreadable(refused) })
    return 'error' in reply ? answerOf(reply) : resultAnswer({})
  }

  // ---- what has an effect

  async #governed(asked: Asked): Promise<Answer> {
    const { client, method } = asked
    const { target, gate } = this.#options
    const server = await this.#open(asked)
    const digest = (action: Action): ReturnType<typeof actionDigest> => actionDigest(action, gate.ports.crypto.sha256)
    let action: Action
    try {
      action = await toAction(method, asked.params, {
        target,
        mirrored: asked.mirrored,
        definitionOf: (name) => this.#tools.definitionOf(name, (m, p) => this.#ask(m, p, asked)),
        openState: (base, sealed) => this.#stateSeal.open(this.#principal, digest(base), sealed),
      })
    } catch (error) {
      throw this.#refused(error instanceof Denied ? error : new Denied('unavailable'))
    }
    this.#judged(() => this.#verifyTask(action, server))
    if (action.type === 'mcp.resource_subscribe') return this.#listening.subscribe(action, asked, this.#request(action, asked))
    const base = withoutInputs(action)
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const executed = await this.#executing.execute(this.#request(action, asked), asked, server, { ...(await this.#sending(asked)), ...this.#routed(action) })
      const { reply } = executed
      const { input: needed, pages, refused } = this.#read(reply, asked)
      if (refused !== undefined) return answerOf({ error: unreadable(refused) })
      if (pages !== undefined) await this.#reverse.permitInput(pages, asked)
      if (needed === undefined) {
        const shown = bridged(method === 'tasks/list' && 'result' in reply ? { result: this.#tasks.shown(reply.result) } : reply, method, client.revision, server)
        return shown === reply ? executed.answer : answerOf(shown)
      }
      if (client.revision === STATELESS) {
        await this.#reverse.permitInput(needed, asked)
        const { result } = reply as { result: JsonObject }
        return resultAnswer({ ...result, ...(needed.state === undefined ? {} : { requestState: this.#stateSeal.seal(this.#principal, digest(base), needed.state) }) })
      }
      // A client with a session is asked by this gateway, and the request is made again, under a permit of its own.
      action = { ...base, input_responses: await this.#reverse.collectInput(needed, asked), ...(needed.state === undefined ? {} : { request_state: needed.state }) } as Action
    }
    throw this.#refused(new Denied('limit_exceeded', 'the server asks for input again and again'))
  }

  /** A task is asked for only of a server that has them, and asked about only by whose call began it. @throws {Denied} */
  #verifyTask(action: Action, server: ServerFacts): void {
    if (action.type === 'mcp.tool_call' && action.task !== undefined && !takesTasks(server.capabilities)) throw new Denied('request_malformed', 'the server has no tasks')
    if (action.type !== 'mcp.task') return
    if (!isObject(server.capabilities['tasks'])) throw new Denied('method_unknown', 'the server has no tasks')
    if (action.name !== 'tasks/list' && !this.#tasks.has((action.arguments as JsonObject)['taskId'])) throw new Denied('subject_mismatch', 'a task of somebody else')
  }

  /** What an answer asks for must be known: anything else is recorded, and not passed on. */
  #read(reply: Reply, { method, client }: Asked): Wanted & { readonly refused?: Denied } {
    try {
      return wantedIn(reply, method, client.revision)
    } catch (error) {
      return { refused: this.#refused(error instanceof Denied ? error : new Denied('unavailable')) }
    }
  }

  // ---- server → client

  /** What a server tells that belongs to no request. */
  #announced(method: string, params: JsonObject): void {
    if (method === 'notifications/tools/list_changed') this.#tools.invalidate()
    if (this.#listening.announce(method, params)) return
    if (method === 'notifications/message') {
      if (this.#session !== undefined) this.#port.notify(method, params)
      return // a stateless client that asked for messages gets those of its own requests
    }
    if (method === 'notifications/tasks/status' && this.#tasks.has(params['taskId'])) return this.#port.notify(method, params)
    this.#badServer(new BadMessage('method_unknown', 'a notification that is not governed'))
  }

  /** What a server tells about one request. */
  #told(asked: Asked, method: string, params: JsonObject): void {
    if (method === 'notifications/progress') return asked.notify(method, params)
    if (method === 'notifications/message') {
      if (asked.client.revision === SESSIONS || metaOf(asked.params)?.[LOG_LEVEL_META] !== undefined) asked.notify(method, params)
      return
    }
    this.#announced(method, params)
  }

  #badServer(bad: BadMessage): void {
    this.#refused(bad)
    if (++this.#badMessages > MAX_BAD_MESSAGES) this.#kill('too many unacceptable messages of the server')
  }

  #kill(reason: string): void {
    this.#upstream.kill(reason)
    this.#ended(reason)
  }

  // ---- parts

  /** @throws {Denied} `request_malformed`, recorded */
  #request(action: Action, asked: Asked): GateRequest {
    const { facts } = this.#options
    return { ...this.#judged(() => askingFor(action, this.#agent(asked.client), asked, this.#options)), facts: () => facts(action.arguments as JsonObject) }
  }

  /** What a link may mirror of `action` in its framing: taken from what was judged. */
  #routed(action: Action): Pick<Sending, 'route'> {
    switch (action.type) {
      case 'mcp.tool_call':
        return { route: { name: action.name, mirrored: mirroredOf(this.#tools.mirroredBy(action.name), action.arguments) } }
      case 'mcp.resource_read':
        return { route: { name: action.arguments.uri } }
      case 'mcp.prompt_get':
        return { route: { name: action.name } }
      default:
        return {}
    }
  }

  async #sending(asked: Asked): Promise<Sending> {
    const { client, params } = asked
    const level = metaOf(params)?.[LOG_LEVEL_META]
    return {
      client,
      capabilities: await this.#reach.offered(asked),
      asked,
      progress: progressTokenOf(params),
      logLevel: client.revision === SESSIONS ? this.#logLevel : typeof level === 'string' ? level : undefined,
      notified: (method, told) => this.#told(asked, method, told),
    }
  }

  #agent({ name }: ClientFacts): Agent {
    const { agent } = this.#options
    return agent === undefined ? { name, verified: false } : { name: agent, verified: true }
  }

  get #principal(): string {
    return `${this.#options.principal ?? ''}\n${this.#options.target}`
  }

  async #ask(method: string, params: JsonObject, asked: Asked): Promise<JsonObject> {
    const reply = await this.#upstream.request(method, params, { client: asked.client, capabilities: {} })
    if ('error' in reply) throw new Denied('tool_not_pinned', 'the server does not list its tools')
    return reply.result
  }

  #judged<T>(read: () => T): T {
    try {
      return read()
    } catch (error) {
      throw this.#refused(error instanceof Denied ? error : new Denied('unavailable'))
    }
  }

  /** Records a refusal that the gate decided by itself, before any permit. */
  #refused<T extends Denied>(denied: T): T {
    void this.#options.gate.reporter.denial(denied, {}).catch(() => undefined)
    return denied
  }
}
