import { canonicalText, Denied, type JsonObject, LineReader } from '@sealwrit/protocol'
import { BadMessage, MAX_CLIENT_LINE, type Message, parseClientMessage, type RequestId } from '../messages.ts'
import { namedRevision, SESSIONS, STATELESS } from '../revision.ts'
import { answerLine, deniedAnswer, errorLine } from './answers.ts'
import { factsOfInitialize, factsOfMeta, UNNAMED, UnsupportedRevision } from './facts.ts'
import { Questions } from './questions.ts'
import type { Answer, Asked, ClientFacts, ClientPort, Reply, Seat } from './seat.ts'
import { UsedIds } from './used-ids.ts'

/** Unacceptable lines of a client after which the connection is closed. */
export const MAX_BAD_LINES = 1_000
/** Requests of one client that may be under way at once. */
export const MAX_UNDER_WAY = 1_024

export interface LineFrontOptions {
  /** Writes one line to the client. */
  readonly write: (line: string) => void
  /** Records what was refused before any seat saw it. */
  readonly refused: (denied: Denied) => void
  /** The client is to be left: it, or its seat, is done. */
  readonly ended: (reason: string) => void
}

/** A client that speaks in lines: each is read once, strictly. Both revisions go over the same lines, each request in its own. */
export class LineFront implements ClientPort {
  readonly #options: LineFrontOptions
  readonly #seat: Seat
  readonly #lines: LineReader
  readonly #usedIds = new UsedIds()
  readonly #inFlight = new Map<RequestId, AbortController>()
  readonly #questions = new Questions()
  #session: ClientFacts | undefined
  #bad = 0
  #closed = false

  constructor(options: LineFrontOptions, openSeat: (port: ClientPort) => Seat) {
    this.#options = options
    this.#lines = new LineReader(MAX_CLIENT_LINE, (line) => this.#line(line), (denied) => this.#badLine(new BadMessage(denied.code, denied.message)))
    this.#seat = openSeat(this)
  }

  /** Bytes from the client. */
  data(chunk: Uint8Array): void {
    if (!this.#closed) this.#lines.push(chunk)
  }

  /** The client is gone. */
  close(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#leave(reason)
    this.#seat.close(reason)
  }

  // ---- from the client

  #line(line: Uint8Array): void {
    if (this.#closed || line.length === 0 || (line.length === 1 && line[0] === 13)) return
    let message: Message
    try {
      message = parseClientMessage(line)
      if (message.kind === 'request') this.#takeId(message.id)
    } catch (error) {
      return this.#badLine(error instanceof BadMessage ? error : new BadMessage('unavailable', 'unforeseen'))
    }
    switch (message.kind) {
      case 'request':
        if (this.#inFlight.size >= MAX_UNDER_WAY) {
          this.#options.write(errorLine(message.id, 'overloaded'))
          return this.#options.refused(new Denied('overloaded', 'too many requests are under way'))
        }
        void this.#request(message.id, message.method, message.params)
        return
      case 'notification':
        return this.#notification(message.method, message.params)
      case 'result':
      case 'error':
        if (!this.#questions.answer(message.id, message.kind === 'result' ? { result: message.result } : { error: message.error })) this.#badLine(new BadMessage('method_unknown', 'an answer to nothing'), false) // ATK-095
    }
  }

  /** @throws {BadMessage} `request_malformed` for an id that was used before, `overloaded` when no more can be remembered */
  #takeId(id: RequestId): void {
    const taken = this.#usedIds.take(id)
    if (taken === 'used') throw new BadMessage('request_malformed', 'the id was used before', this.#inFlight.has(id) ? null : id)
    if (taken === 'full') throw new BadMessage('overloaded', 'too many scattered ids', id)
  }

  async #request(id: RequestId, method: string, params: JsonObject): Promise<void> {
    const controller = new AbortController()
    this.#inFlight.set(id, controller)
    const answer = await this.#answer(id, method, params, controller.signal)
    this.#inFlight.delete(id)
    if (!controller.signal.aborted) this.#options.write(answerLine(id, answer)) // a cancelled request gets no answer
  }

  async #answer(id: RequestId, method: string, params: JsonObject, signal: AbortSignal): Promise<Answer> {
    let client: ClientFacts
    try {
      client = this.#facts(method, params)
    } catch (error) {
      const denied = error instanceof Denied ? error : new Denied('unavailable')
      this.#options.refused(denied)
      return denied instanceof UnsupportedRevision ? denied.answer() : deniedAnswer(denied, method, namedRevision(params) === undefined ? SESSIONS : STATELESS)
    }
    const asked: Asked = { id, method, params, client, signal, notify: (named, told) => signal.aborted || this.notify(named, told), ask: (named, told, ended) => this.ask(named, told, ended) }
    const answer = await this.#seat.request(asked)
    if (method === 'initialize' && answer.member === 'result') this.#session = client
    return answer
  }

  /** @throws {Denied} `request_malformed` */
  #facts(method: string, params: JsonObject): ClientFacts {
    if (namedRevision(params) !== undefined || method === 'server/discover') return factsOfMeta(params)
    if (method === 'initialize') return factsOfInitialize(params)
    if (this.#session !== undefined) return this.#session
    if (method === 'ping') return NOBODY
    throw new Denied('request_malformed', 'not initialized')
  }

  #notification(method: string, params: JsonObject): void {
    if (method === 'notifications/cancelled') {
      const id = params['requestId']
      if (typeof id === 'string' || typeof id === 'number') this.#inFlight.get(id)?.abort(new Denied('unavailable', 'cancelled'))
      return
    }
    this.#seat.notification(method, params)
  }

  /** Answers and records a refusal of something that could not be judged as a request. */
  #badLine(bad: BadMessage, answer = true): void {
    if (answer) this.#options.write(errorLine(bad.id, bad.code))
    this.#options.refused(bad)
    if (++this.#bad > MAX_BAD_LINES) {
      this.close('too many unacceptable lines')
      this.#options.ended('too many unacceptable lines')
    }
  }

  // ---- to the client

  notify(method: string, params: JsonObject): void {
    if (!this.#closed) this.#options.write(canonicalText({ jsonrpc: '2.0', method, params }))
  }

  /** @throws {Denied} `overloaded`, or why `signal` fired */
  ask(method: string, params: JsonObject, signal: AbortSignal): Promise<Reply> {
    if (this.#closed) return Promise.reject(new Denied('unavailable', 'the client is gone'))
    return this.#questions.ask(method, params, signal, (message) => this.#options.write(canonicalText(message)))
  }

  ended(reason: string): void {
    if (this.#closed) return
    this.#closed = true
    this.#leave(reason)
    this.#options.ended(reason)
  }

  #leave(reason: string): void {
    for (const controller of this.#inFlight.values()) controller.abort(new Denied('unavailable', reason))
    this.#questions.close()
  }
}

/** Whoever pings before it says who it is. */
const NOBODY: ClientFacts = { revision: SESSIONS, name: UNNAMED, version: '', capabilities: {} }
