import { enforce, type GateRequest } from '@sealwrit/gate'
import { type Agent, canonicalize, Denied, type JsonObject, type JsonValue, rpcError } from '@sealwrit/protocol'
import { Refusals } from '../client/refusals.ts'
import type { Asked, ClientFacts, ClientPort, Reply } from '../client/seat.ts'
import type { GatewayOptions } from '../gateway.ts'
import { STATELESS } from '../revision.ts'
import { toReverseAction } from './action.ts'
import type { InputRequired } from './inputs.ts'
import type { Reach } from './reach.ts'

/** Which capability of a client each request of a server is about. */
const CAPABILITY: Readonly<Record<string, string>> = { 'sampling/createMessage': 'sampling', 'elicitation/create': 'elicitation', 'roots/list': 'roots' }

type Options = Pick<GatewayOptions, 'gate' | 'target' | 'facts' | 'receiptOrder' | 'identify'>
/** For whom a server asks. */
type Questioned = Pick<GateRequest, 'agent' | 'identify'>

/**
 * The other direction: what a server asks of a client is an action of its own, which runs at the client. Without a permit the
 * client never hears of it.
 */
export class Reverse {
  readonly #options: Options
  readonly #port: ClientPort
  readonly #reach: Reach
  readonly #agentOf: (client: ClientFacts) => Agent
  /** A server can ask as often as it likes: it does not fill the log. */
  readonly #refusals: Refusals

  constructor(options: Options, port: ClientPort, reach: Reach, agentOf: (client: ClientFacts) => Agent) {
    this.#options = options
    this.#port = port
    this.#reach = reach
    this.#agentOf = agentOf
    const { gate } = options
    this.#refusals = new Refusals(gate.ports.clock, (denied) => void gate.reporter.denial(denied, {}).catch(() => undefined))
  }

  /** Permits every part of what a server needs to be handed to a stateless client. @throws {Denied} */
  async permitInput({ requests }: InputRequired, asked: Asked): Promise<void> {
    const offered = await this.#reach.offered(asked)
    for (const [, method, params] of requests) await this.#ask(method, params, offered, this.#questioned(asked), async () => ({ result: {} }))
  }

  /** Asks a client with a session for what a stateless server needs. @throws {Denied} */
  async collectInput({ requests }: InputRequired, asked: Asked): Promise<JsonObject> {
    const responses: Record<string, JsonValue> = {}
    const offered = await this.#reach.offered(asked)
    for (const [key, method, params] of requests) {
      const reply = await this.#ask(method, params, offered, this.#questioned(asked), (signal) => this.#askClient(asked, method, params, signal))
      if ('error' in reply) throw new Denied('unavailable', 'the client did not give the input')
      responses[key] = reply.result
    }
    return responses
  }

  /**
   * A request by a server with sessions.
   * @param session the client that it may ask, who that is by its transport's word, and `offered` the capabilities that the server was told of
   * @returns the client's answer, or the refusal as the server reads it
   */
  async askedByServer(method: string, params: JsonObject, session: Pick<Asked, 'client' | 'identify'> | undefined, offered: JsonObject, cancelled: AbortSignal, related: Asked | undefined): Promise<Reply> {
    try {
      if (session === undefined || related?.client.revision === STATELESS) throw this.#refused()
      const who = this.#questioned(related ?? session)
      return await this.#ask(method, params, offered, who, (signal) => this.#askClient(related, method, params, AbortSignal.any([signal, cancelled])))
    } catch (error) {
      return refusedReply(error instanceof Denied ? error : new Denied('unavailable'))
    }
  }

  #askClient(related: Asked | undefined, method: string, params: JsonObject, signal: AbortSignal): Promise<Reply> {
    return related?.ask === undefined ? this.#port.ask(method, params, signal) : related.ask(method, params, signal)
  }

  #questioned({ client, identify }: Pick<Asked, 'client' | 'identify'>): Questioned {
    return { agent: this.#agentOf(client), identify: identify ?? this.#options.identify }
  }

  #refused(): Denied {
    const denied = new Denied('method_unknown', 'a request by the server')
    this.#refusals.take(denied)
    return denied
  }

  /**
   * @param perform has the client do it
   * @throws {Denied} `method_unknown` for what the client does not offer, and as {@link enforce}
   */
  async #ask(method: string, params: JsonObject, offered: JsonObject, who: Questioned, perform: (signal: AbortSignal) => Promise<Reply>): Promise<Reply> {
    const { gate, target, facts, receiptOrder } = this.#options
    const capability = Object.hasOwn(CAPABILITY, method) ? CAPABILITY[method] : undefined
    if (capability === undefined || !Object.hasOwn(offered, capability)) throw this.#refused()
    const action = toReverseAction(method, params, target)
    const { value } = await enforce(gate, { ...who, action, facts: () => facts({}) }, async (_artifact, _action, signal) => {
      const reply = await perform(signal)
      const isError = 'error' in reply
      return { outcome: isError ? 'failed' : 'completed', ...(isError ? { cause: 'tool_error' as const } : {}), resultBytes: canonicalize(isError ? reply.error : reply.result), value: reply }
    }, receiptOrder)
    if (value === undefined) throw new Denied('unavailable', 'the client did not answer')
    return value
  }
}

/** A refusal as the server that asked reads it: that it may not ask that, and nothing of why. */
function refusedReply(denied: Denied): Reply {
  return { error: rpcError(denied.check === 'policy' ? 'method_unknown' : denied.code) }
}
