import { generateKeyPairSync, sign } from 'node:crypto'
import { Gate, nodeClock, nodeCryptography } from '@sealwrit/gate'
import { MemoryFloor, seededRng, SimulatedPlane } from '@sealwrit/gate/testing'
import { type ClientPort, LineFront, LineLink, McpGateway, type OpenLink, type Seat } from '@sealwrit/mcp-gateway'
import { NO_WITNESSES, WitnessQuorum, canonicalize, type Clock, commitment, type DenialCode, digestOf, fromBase64Url, type JsonObject, type Scope } from '@sealwrit/protocol'

export const TOOL = { name: 'read_file', description: 'reads', inputSchema: { type: 'object' } }

/** How the server behaves: gets each message and may send lines of its own. */
export type ServerScript = (message: { id?: number; method?: string; params?: JsonObject; result?: unknown; error?: unknown }, send: (line: string) => void) => void

/** An honest server with the given tools. */
export function honest(tools: () => readonly JsonObject[] = () => [TOOL]): ServerScript {
  return ({ id, method, params }, send) => {
    if (id === undefined || method === undefined) return
    const results: Record<string, unknown> = {
      initialize: { protocolVersion: '2025-11-25', capabilities: { tools: { listChanged: true }, resources: { subscribe: true }, prompts: {}, completions: {}, logging: {} }, serverInfo: { name: 'server', version: '1' } },
      'tools/list': { tools: tools() },
      'tools/call': { content: [{ type: 'text', text: `called ${JSON.stringify(params?.['name'])}` }] },
      'resources/read': { contents: [] },
      'prompts/get': { messages: [] },
    }
    send(JSON.stringify({ jsonrpc: '2.0', id, result: results[method] ?? {} }))
  }
}

/** What every request of the stateless revision carries. */
export const meta = (capabilities: JsonObject = {}): JsonObject => ({ 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': { name: 'client', version: '1' }, 'io.modelcontextprotocol/clientCapabilities': capabilities })

/** An honest server of the stateless revision; `answers` are further results by method. */
export function stateless(answers: (method: string, params: JsonObject) => object | undefined = () => undefined, tools: readonly JsonObject[] = [TOOL]): ServerScript {
  return ({ id, method, params = {} }, send) => {
    if (id === undefined || method === undefined) return
    const cached = { ttlMs: 60_000, cacheScope: 'public' }
    const results: Record<string, unknown> = {
      'server/discover': { supportedVersions: ['2026-07-28'], capabilities: { tools: {}, resources: { subscribe: true }, prompts: {} }, instructions: 'be kind', ...cached, _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'server', version: '1' } } },
      'tools/list': { tools, ...cached },
      'tools/call': { content: [{ type: 'text', text: `called ${JSON.stringify(params['name'])}` }] },
      'resources/read': { contents: [], ...cached },
      'prompts/get': { messages: [] },
    }
    const result = answers(method, params) ?? results[method]
    if (result === undefined) return send(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'Method not found' } }))
    send(JSON.stringify({ jsonrpc: '2.0', id, result: { resultType: 'complete', ...result } }))
  }
}

export interface BenchOptions {
  readonly script?: ServerScript
  readonly decide?: (action: JsonObject, hold: string | undefined) => 'permit' | 'hold' | DenialCode
  /** What could be permitted at all; everything where it is not given. */
  readonly permissible?: (scope: Scope) => boolean
  readonly plane?: SimulatedPlane
  /** Who pins: everything at once, or whoever is told to. */
  readonly pins?: 'at once' | 'when told'
  readonly clock?: Clock
  readonly agent?: string
  readonly holdWaitMs?: number
  readonly intent?: string
  readonly target?: string
  readonly maxResultBytes?: number
  /** Instead of lines to the scripted server. */
  readonly open?: OpenLink
  /** Instead of the gate's own signature. */
  readonly sign?: (message: Uint8Array) => Uint8Array
}

/** A gate and a scripted server behind it, which records every line that it gets. */
export class Governed {
  readonly plane: SimulatedPlane
  readonly gate: Gate
  /** Every line that the server got: the canary. */
  readonly received: string[] = []
  closedFor: string | undefined
  server: LineLink | undefined
  readonly openSeat: (port: ClientPort) => McpGateway

  constructor(options: BenchOptions = {}) {
    const script = options.script ?? honest()
    this.plane = options.plane ?? new SimulatedPlane({ clock: nodeClock, rng: seededRng('bench'), crypto: nodeCryptography, ...(options.decide === undefined ? {} : { decide: options.decide }), ...(options.permissible === undefined ? {} : { permissible: options.permissible }), ...(options.pins === undefined ? {} : { pins: options.pins }) })
    const keys = generateKeyPairSync('ed25519')
    const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
    const commit = commitment('environment', salt, digestOf(canonicalize({}), nodeCryptography.sha256), nodeCryptography.sha256)
    this.gate = new Gate(
      { socketPaths: ['/simulated'], logKey: this.plane.key, witnesses: new WitnessQuorum(NO_WITNESSES), tenant: 'default', environment: { level: 'software', salt, document: {}, commit, measure: () => commit }, capabilities: () => false },
      { clock: options.clock ?? nodeClock, rng: seededRng(`gate${Math.floor(performance.now() * 1_000)}`), crypto: nodeCryptography, net: this.plane, floor: new MemoryFloor(), sign: options.sign ?? ((m) => sign(null, m, keys.privateKey)), publicKey: fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string) },
    )
    const open: OpenLink = options.open ?? ((events) => {
      const link: LineLink = new LineLink(events, (line) => {
        this.received.push(line)
        script(JSON.parse(line) as never, (out) => setImmediate(() => link.data(Buffer.from(`${out}\n`))))
      }, (reason) => {
        this.closedFor = reason
        setImmediate(() => events.closed(reason))
      })
      this.server = link
      return link
    })
    const { holdWaitMs, maxResultBytes } = options
    const seat = { gate: this.gate, target: options.target ?? 'mcp://fs', open, agent: options.agent ?? 'tester', intent: options.intent, facts: () => ({ paths: 'inside' }) as const, receiptOrder: 'before_reply' as const, ...(holdWaitMs === undefined ? {} : { holdWaitMs }), ...(maxResultBytes === undefined ? {} : { maxResultBytes }) }
    this.openSeat = (port) => new McpGateway(seat, port)
  }
}

/** A raw client before a gateway, or before several. */
export class Bench {
  readonly servers: readonly Governed[]
  readonly front: LineFront
  /** Every message that the client got. */
  readonly answers: JsonObject[] = []
  #ended: string | undefined
  #nextId = 1

  /** @param join makes one seat of several; without it there is one server */
  constructor(options: BenchOptions | readonly Governed[] = {}, join?: (port: ClientPort) => Seat) {
    this.servers = Array.isArray(options) ? (options as readonly Governed[]) : [new Governed(options as BenchOptions)]
    this.front = new LineFront(
      {
        write: (line) => void this.answers.push(JSON.parse(line) as JsonObject),
        refused: (denied) => void this.gate.reporter.denial(denied, {}).catch(() => undefined),
        ended: (reason) => {
          this.#ended ??= reason
        },
      },
      join ?? this.#first.openSeat,
    )
  }

  get #first(): Governed {
    return this.servers[0] as Governed
  }
  get plane(): SimulatedPlane {
    return this.#first.plane
  }
  get gate(): Gate {
    return this.#first.gate
  }
  get received(): string[] {
    return this.#first.received
  }
  get closedFor(): string | undefined {
    return this.#first.closedFor ?? this.#ended
  }

  fromServer(text: string | Uint8Array): void {
    this.#first.server?.data(typeof text === 'string' ? Buffer.from(text) : text)
  }
  /** Bytes as a client might send them. */
  raw(text: string | Uint8Array): void {
    this.front.data(typeof text === 'string' ? Buffer.from(text) : text)
  }

  async initialize(): Promise<this> {
    await Promise.all(this.servers.map(({ gate }) => gate.connect()))
    await this.request('initialize', { protocolVersion: '2025-11-25', capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {} }, clientInfo: { name: 'client', version: '1' } })
    this.raw('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    return this
  }

  async request(method: string, params: object, id: string | number = `r${this.#nextId++}`): Promise<JsonObject> {
    this.raw(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
    return this.answer(id)
  }
  /** A request of the stateless revision. */
  ask(method: string, params: JsonObject = {}, capabilities: JsonObject = {}): Promise<JsonObject> {
    return this.request(method, { ...params, _meta: { ...meta(capabilities), ...(params['_meta'] as JsonObject | undefined) } })
  }
  /** The newest message to the client with this method; waits for it. */
  async told(method: string): Promise<JsonObject> {
    for (let i = 0; i < 2_000; i++) {
      const found = this.answers.findLast((a) => a['method'] === method)
      if (found !== undefined) return found
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    throw new Error(`${method} was not told`)
  }
  call(name = 'read_file', args: object = { path: '/x' }): Promise<JsonObject> {
    return this.request('tools/call', { name, arguments: args })
  }

  /** The answer to request `id`; waits for it. */
  async answer(id: string | number | null): Promise<JsonObject> {
    for (let i = 0; i < 2_000; i++) {
      const found = this.answers.find((a) => a['id'] === id && !('method' in a))
      if (found !== undefined) return found
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    throw new Error(`no answer to ${String(id)}`)
  }

  /** Lets everything that is under way come to its end. */
  async settle(): Promise<void> {
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setTimeout(resolve, 1))
  }

  /** Calls that reached the server. */
  calls(): string[] {
    return this.received.filter((line) => /"method":"(tools\/call|resources\/read|prompts\/get)"/.test(line))
  }
  denials(): string[] {
    return this.plane.entries.flatMap((e) => (e.kind === 'deny' ? [e.code] : []))
  }
}

/** The denial code in an answer, or `ran`. */
export function codeOf(answer: JsonObject): string {
  const meta = (answer['result'] as { _meta?: { 'sealwrit/denial'?: { code: string } } } | undefined)?._meta
  const data = (answer['error'] as { data?: { code?: string } } | undefined)?.data
  return meta?.['sealwrit/denial']?.code ?? data?.code ?? ('error' in answer ? 'error' : 'ran')
}
