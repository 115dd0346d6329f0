import type { ServerResponse } from 'node:http'
import { type Clock, Denied, type JsonObject } from '@sealwrit/protocol'
import type { RequestId } from '../../messages.ts'
import { HEADER_MISMATCH, MISSING_CAPABILITY, STATELESS, UNSUPPORTED_VERSION } from '../../revision.ts'
import { deniedAnswer } from '../answers.ts'
import { factsOfMeta } from '../facts.ts'
import type { Answer, Asked, ClientFacts, ClientPort, OpenSeat, Seat } from '../seat.ts'
import { Exchange } from './exchange.ts'
import { MAX_UNDER_WAY } from './session.ts'
import { EventStream } from './stream.ts'
import type { Visitor } from './visitor.ts'

/** Principals that have a seat at once. */
export const MAX_SEATS = 256
/** A seat that nobody uses is given up after this time, in milliseconds. */
export const SEAT_IDLE_MS = 600_000
const SWEEP_MS = 60_000

interface Taken {
  readonly seat: Seat
  underWay: number
  lastUsedMs: number
}

/**
 * Requests that stand alone. A principal has one seat, so that its requests share what was learned of the server, and nobody else has
 * any of it: nothing that a server lets be cached crosses principals (ATK-104).
 */
export class Stateless {
  readonly #seats = new Map<string, Taken>()
  readonly #openSeat: OpenSeat
  readonly #clock: Clock
  readonly #lost: (reason: string) => void
  #cancelSweep: () => void = () => undefined
  #open = true

  constructor(openSeat: OpenSeat, clock: Clock, lost: (reason: string) => void) {
    this.#lost = lost
    this.#openSeat = openSeat
    this.#clock = clock
    this.#sweep()
  }

  get size(): number {
    return this.#seats.size
  }

  /**
   * One request, and its answer. When the client closes the response it took the request back.
   * @throws {Denied} where a request does not say what each has to say, or too many are under way
   */
  async request(id: RequestId, method: string, params: JsonObject, mirrored: ReadonlyMap<string, string>, visitor: Visitor, res: ServerResponse): Promise<void> {
    const client: ClientFacts = factsOfMeta(params)
    const taken = this.#take(visitor)
    const controller = new AbortController()
    const exchange = new Exchange(res, new EventStream(this.#clock, undefined, NO_HEADERS), this.#clock, NO_HEADERS)
    const onClose = (): void => controller.abort(new Denied('unavailable', 'the client closed the response'))
    res.once('close', onClose)
    if (res.destroyed) onClose()
    taken.underWay++
    const asked: Asked = { id, method, params, client, mirrored, signal: controller.signal, identify: visitor.identify, notify: (named, told) => exchange.send({ jsonrpc: '2.0', method: named, params: told }) }
    const answer = await taken.seat.request(asked).catch((error: unknown) => deniedAnswer(error instanceof Denied ? error : new Denied('unavailable'), method, STATELESS))
    taken.underWay--
    taken.lastUsedMs = this.#clock.monotonicMs()
    res.off('close', onClose)
    exchange.answer(id, answer, statusOf(answer))
  }

  notification(method: string, params: JsonObject, visitor: Visitor): void {
    // There a request is taken back by closing its response; who asked is not to be guessed from an id.
    if (method !== 'notifications/cancelled') this.#take(visitor).seat.notification(method, params)
  }

  close(reason: string): void {
    this.#open = false
    this.#cancelSweep()
    for (const principal of this.#seats.keys()) this.#leave(principal, reason)
  }

  /** @throws {Denied} `overloaded` */
  #take({ principal, agent }: Visitor): Taken {
    const found = this.#seats.get(principal)
    if (found !== undefined) {
      if (found.underWay >= MAX_UNDER_WAY) throw new Denied('overloaded', 'too many requests are under way')
      found.lastUsedMs = this.#clock.monotonicMs()
      return found
    }
    if (!this.#open || (this.#seats.size >= MAX_SEATS && !this.#leaveOldest())) throw new Denied('overloaded', 'too many callers')
    const port: ClientPort = {
      notify: () => undefined, // what a client is told, it is told on the response to a request
      ask: () => Promise.reject(new Denied('method_unknown', 'a client of this revision is asked nothing but in a result')),
      ended: (reason) => {
        if (this.#seats.get(principal) !== taken) return
        this.#seats.delete(principal)
        this.#lost(reason)
      },
    }
    const taken: Taken = { seat: this.#openSeat({ principal, agent }, port), underWay: 0, lastUsedMs: this.#clock.monotonicMs() }
    this.#seats.set(principal, taken)
    return taken
  }

  #leaveOldest(): boolean {
    let oldest: [string, Taken] | undefined
    for (const seat of this.#seats) if (seat[1].underWay === 0 && (oldest === undefined || seat[1].lastUsedMs < oldest[1].lastUsedMs)) oldest = seat
    if (oldest !== undefined) this.#leave(oldest[0], 'others need its place')
    return oldest !== undefined
  }

  #leave(principal: string, reason: string): void {
    const taken = this.#seats.get(principal)
    this.#seats.delete(principal)
    taken?.seat.close(reason)
  }

  #sweep(): void {
    this.#cancelSweep = this.#clock.after(SWEEP_MS, () => {
      const before = this.#clock.monotonicMs() - SEAT_IDLE_MS
      for (const [principal, { underWay, lastUsedMs }] of this.#seats) if (underWay === 0 && lastUsedMs < before) this.#leave(principal, 'not used for too long')
      this.#sweep()
    })
  }
}

const NO_HEADERS = (): Readonly<Record<string, string>> => ({})

/** @see MCP 2026-07-28, basic/transports/streamable-http */
export function statusOf({ code }: Answer): number {
  if (code === -32601) return 404
  return code === HEADER_MISMATCH || code === MISSING_CAPABILITY || code === UNSUPPORTED_VERSION ? 400 : 200
}
