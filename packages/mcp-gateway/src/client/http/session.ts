import type { ServerResponse } from 'node:http'
import { type Clock, canonicalText, Denied, type JsonObject, type Rng, toBase64Url, TOKEN_BYTES } from '@sealwrit/protocol'
import type { RequestId } from '../../messages.ts'
import { deniedAnswer } from '../answers.ts'
import { Questions } from '../questions.ts'
import type { Answer, Asked, ClientFacts, ClientPort, OpenSeat, Reply, Seat } from '../seat.ts'
import { UsedIds } from '../used-ids.ts'
import { Exchange } from './exchange.ts'
import { EventStream } from './stream.ts'
import type { Visitor } from './visitor.ts'

/** Requests of one client that may be under way at once. */
export const MAX_UNDER_WAY = 256
/** Streams of one session that can be asked for again. */
export const MAX_STREAMS = 8
/** The header that names a session. */
export const SESSION_HEADER = 'mcp-session-id'

export interface SessionPorts {
  readonly clock: Clock
  readonly rng: Rng
  /** A server, or what leads to it, ended a seat. */
  readonly lost: (reason: string) => void
}

/**
 * One client of the revision with sessions: its seat, its streams, and what it was asked. The id is drawn here and never taken from a
 * client; it is good for the principal that it was given to, and for nobody else (ATK-099, ATK-101).
 */
export class Session implements ClientPort {
  readonly id: string
  readonly principal: string
  lastUsedMs: number
  readonly #ports: SessionPorts
  readonly #onEnd: (session: Session) => void
  readonly #seat: Seat
  readonly #usedIds = new UsedIds()
  readonly #underWay = new Map<RequestId, { readonly controller: AbortController; readonly exchange: Exchange }>()
  readonly #questions = new Questions()
  readonly #own: EventStream
  /** Streams that began, oldest first. */
  readonly #streams = new Map<string, EventStream>()
  #client: ClientFacts | undefined
  #ended = false

  constructor(visitor: Visitor, openSeat: OpenSeat, ports: SessionPorts, onEnd: (session: Session) => void) {
    this.#ports = ports
    this.#onEnd = onEnd
    this.principal = visitor.principal
    this.id = this.#draw()
    this.lastUsedMs = ports.clock.monotonicMs()
    this.#own = this.#newStream()
    this.#seat = openSeat({ principal: visitor.principal, agent: visitor.agent }, this)
  }

  /** Whether somebody waits for something of it. */
  get isBusy(): boolean {
    return this.#underWay.size > 0 || this.#own.isAttached
  }

  /** The first request. The session is over where it is refused. */
  async initialize(id: RequestId, params: JsonObject, client: ClientFacts, visitor: Visitor, res: ServerResponse): Promise<void> {
    const answer = await this.#request(id, 'initialize', params, client, visitor, res)
    if (answer?.member === 'result') this.#client = client
    else this.end('not initialized')
  }

  /** @throws {Denied} `request_malformed` for an id that was used, `overloaded` */
  async request(id: RequestId, method: string, params: JsonObject, visitor: Visitor, res: ServerResponse): Promise<void> {
    if (this.#client === undefined) throw new Denied('request_malformed', 'not initialized')
    await this.#request(id, method, params, this.#client, visitor, res)
  }

  notification(method: string, params: JsonObject): void {
    if (method !== 'notifications/cancelled') return this.#seat.notification(method, params)
    const id = params['requestId']
    const found = typeof id === 'string' || typeof id === 'number' ? this.#underWay.get(id) : undefined
    found?.controller.abort(new Denied('unavailable', 'cancelled'))
    found?.exchange.end()
  }

  /** False for an answer to nothing that this session was asked. */
  answer(id: RequestId | null, reply: Reply): boolean {
    return this.#questions.answer(id, reply)
  }

  /** Goes on with the stream of what belongs to no request, or with the one that `lastEventId` is of. @returns false where there is none */
  listen(res: ServerResponse, lastEventId: string | undefined): boolean {
    if (lastEventId === undefined) {
      this.#own.attach(res)
      return true
    }
    const [, token, seq] = /^([\w-]{22})\.([0-9]{1,15})$/.exec(lastEventId) ?? []
    const stream = token === undefined ? undefined : token === this.#own.token ? this.#own : this.#streams.get(token)
    return stream?.resume(res, Number(seq)) ?? false
  }

  end(reason: string): void {
    if (this.#ended) return
    this.#seat.close(reason)
    this.#over(reason)
  }

  // ---- what the seat says of no request

  notify(method: string, params: JsonObject): void {
    this.#own.send(canonicalText({ jsonrpc: '2.0', method, params }))
  }

  ask(method: string, params: JsonObject, signal: AbortSignal): Promise<Reply> {
    if (!this.#own.isAttached) return Promise.reject(new Denied('unavailable', 'the client does not listen'))
    return this.#questions.ask(method, params, signal, (message) => this.#own.send(canonicalText(message)))
  }

  ended(reason: string): void {
    if (this.#ended) return
    this.#ports.lost(reason)
    this.#over(reason)
  }

  #over(reason: string): void {
    if (this.#ended) return
    this.#ended = true
    for (const { controller } of this.#underWay.values()) controller.abort(new Denied('unavailable', reason))
    this.#questions.close()
    this.#own.end() // what is under way still gets its answer
    this.#onEnd(this)
  }

  // ---- one request

  async #request(id: RequestId, method: string, params: JsonObject, client: ClientFacts, visitor: Visitor, res: ServerResponse): Promise<Answer | undefined> {
    this.#take(id)
    const controller = new AbortController()
    const stream = this.#newStream()
    const exchange = new Exchange(res, stream, this.#ports.clock, () => ({ [SESSION_HEADER]: this.id }), () => this.#remember(stream))
    this.#underWay.set(id, { controller, exchange })
    const asked: Asked = {
      id, method, params, client, signal: controller.signal, identify: visitor.identify,
      notify: (named, told) => exchange.send({ jsonrpc: '2.0', method: named, params: told }),
      ask: (named, told, signal) => this.#questions.ask(named, told, signal, (message) => exchange.send(message)),
    }
    const answer = await this.#seat.request(asked).catch((error: unknown) => deniedAnswer(error instanceof Denied ? error : new Denied('unavailable'), method, client.revision))
    this.#underWay.delete(id)
    this.lastUsedMs = this.#ports.clock.monotonicMs()
    if (!controller.signal.aborted || this.#ended) exchange.answer(id, answer, 200)
    return answer
  }

  #take(id: RequestId): void {
    this.lastUsedMs = this.#ports.clock.monotonicMs()
    if (this.#underWay.size >= MAX_UNDER_WAY) throw new Denied('overloaded', 'too many requests are under way')
    const taken = this.#usedIds.take(id)
    if (taken === 'used') throw new Denied('request_malformed', 'the id was used before')
    if (taken === 'full') throw new Denied('overloaded', 'too many scattered ids')
  }

  #newStream(): EventStream {
    return new EventStream(this.#ports.clock, this.#draw(), () => ({ [SESSION_HEADER]: this.id }))
  }

  #remember(stream: EventStream): void {
    this.#streams.set(stream.token as string, stream)
    // What nobody waits on goes first; one that is in use goes on, and can be asked for no more.
    while (this.#streams.size > MAX_STREAMS) this.#streams.delete(this.#streams.keys().next().value as string)
  }

  #draw(): string {
    return toBase64Url(this.#ports.rng.bytes(TOKEN_BYTES))
  }
}
