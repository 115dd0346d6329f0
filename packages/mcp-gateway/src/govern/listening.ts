import { type Effect, enforce, type GateRequest } from '@sealwrit/gate'
import { type Action, Denied, isObject, type JsonObject, type JsonValue, type VerifiedArtifact } from '@sealwrit/protocol'
import { resultAnswer } from '../client/answers.ts'
import type { Answer, Asked, ClientFacts, ClientPort } from '../client/seat.ts'
import type { GatewayOptions } from '../gateway.ts'
import { SESSIONS, STATELESS } from '../revision.ts'
import type { ServerFacts } from '../server/opening.ts'
import type { Upstream } from '../server/upstream.ts'
import { acknowledge, ALL_LISTS, type Filter, onStream, Subscriptions } from './subscriptions.ts'

type Subscribing = Action & { readonly type: 'mcp.resource_subscribe' }

/** What one client hears of: changes of lists, and of resources that it was permitted to hear of. */
export class Listening {
  readonly #options: Pick<GatewayOptions, 'gate' | 'receiptOrder' | 'target'>
  readonly #port: ClientPort
  readonly #upstream: Upstream
  readonly #over: AbortSignal
  readonly #resources = new Map<string, AbortController>()
  #subscriptions: Subscriptions | undefined

  /** @param over fires when the client or the server is gone */
  constructor(options: Pick<GatewayOptions, 'gate' | 'receiptOrder' | 'target'>, port: ClientPort, upstream: Upstream, over: AbortSignal) {
    this.#options = options
    this.#port = port
    this.#upstream = upstream
    this.#over = over
  }

  /** The server is known now. `toolsChanged` is told when its tools change. */
  opened(server: ServerFacts, client: ClientFacts, toolsChanged: () => void): void {
    const subscriptions = new Subscriptions(this.#upstream, server, { client, capabilities: {} })
    this.#subscriptions = subscriptions
    const { tools } = server.capabilities
    if (server.revision === STATELESS && isObject(tools) && tools['listChanged'] === true) subscriptions.watch({ toolsListChanged: true }, toolsChanged, this.#over).catch(() => undefined)
  }

  /** The client has begun its session: it hears of lists from now on. */
  begin(): void {
    this.#subscriptions?.watch(ALL_LISTS, (method, params) => this.#port.notify(method, params), this.#over).catch(() => undefined)
  }

  /** What a server with sessions announces. @returns false for anything else */
  announce(method: string, params: JsonObject): boolean {
    return this.#subscriptions?.announce(method, params) === true
  }

  /**
   * A stream of what a stateless client wants to hear of; each resource of it is permitted for itself, and the stream ends when one
   * of its permits is revoked or killed.
   * @param request makes the request for a permit
   * @throws {Denied} `overloaded`, `unavailable`
   */
  async listen(wanted: Filter, asked: Asked, request: (action: Action) => GateRequest): Promise<Answer> {
    const permitted: string[] = []
    const forbidden = new AbortController()
    const watches: (() => void)[] = []
    for (const uri of wanted.resourceSubscriptions ?? []) {
      const action: Action = { type: 'mcp.resource_subscribe', target: this.#options.target, name: 'resources/subscribe', arguments: { uri } }
      await this.#enforced(request(action), async ({ permit }) => {
        watches.push(this.#options.gate.leases.watch(permit, () => forbidden.abort(new Denied('revoked'))))
      }).then(() => permitted.push(uri), () => undefined) // refused and recorded: it is not agreed to
    }
    const filter = wanted.resourceSubscriptions === undefined ? wanted : { ...wanted, resourceSubscriptions: permitted }
    try {
      const { agreed, ended } = await this.#watch(filter, onStream(asked), AbortSignal.any([asked.signal, forbidden.signal]))
      acknowledge(asked, agreed)
      await ended
    } finally {
      for (const over of watches) over()
    }
    return resultAnswer({ resultType: 'complete' })
  }

  /** @throws {Denied} `method_unknown` in the current revision, and as {@link enforce} */
  async subscribe(action: Subscribing, asked: Asked, request: GateRequest): Promise<Answer> {
    if (asked.client.revision !== SESSIONS) throw new Denied('method_unknown')
    const { uri } = action.arguments
    await this.#enforced(request, async ({ permit }) => {
      this.#end(uri)
      const ends = new AbortController()
      this.#resources.set(uri, ends)
      const unwatch = this.#options.gate.leases.watch(permit, () => ends.abort(new Denied('revoked')))
      const over = (): void => {
        unwatch()
        if (this.#resources.get(uri) === ends) this.#end(uri)
      }
      try {
        const { agreed, ended } = await this.#watch({ resourceSubscriptions: [uri] }, (method, params) => this.#port.notify(method, params), ends.signal)
        if (agreed.resourceSubscriptions?.includes(uri) !== true) throw new Denied('unavailable', 'the server does not agree to it')
        void ended.finally(over)
      } catch (error) {
        over()
        throw error
      }
    })
    return resultAnswer({})
  }

  /** @throws {Denied} `request_malformed` */
  unsubscribe(uri: JsonValue | undefined): Answer {
    if (typeof uri !== 'string') throw new Denied('request_malformed', 'uri')
    this.#end(uri)
    return resultAnswer({})
  }

  #end(uri: string): void {
    this.#resources.get(uri)?.abort(new Denied('unavailable', 'ended'))
    this.#resources.delete(uri)
  }

  #watch(filter: Filter, deliver: (method: string, params: JsonObject) => void, signal: AbortSignal): ReturnType<Subscriptions['watch']> {
    if (this.#subscriptions === undefined) return Promise.reject(new Denied('unavailable', 'the server is not known yet'))
    return this.#subscriptions.watch(filter, deliver, AbortSignal.any([signal, this.#over]))
  }

  async #enforced(request: GateRequest, effect: (artifact: VerifiedArtifact) => Promise<void>): Promise<void> {
    const { gate, receiptOrder } = this.#options
    const { outcome } = await enforce(gate, request, async (artifact): Promise<Effect<true>> => {
      await effect(artifact)
      return { outcome: 'completed', resultBytes: new Uint8Array(0), value: true }
    }, receiptOrder)
    if (outcome === 'failed') throw new Denied('unavailable', 'it was permitted, and did not succeed')
  }
}
