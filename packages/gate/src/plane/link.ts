import { type Clock, Denied, type JsonValue, MAX_WIRE_LINE, parseRpcReply } from '@sealwrit/protocol'
import type { Connection, Net } from '../ports.ts'

/** A request that has no answer by then is `unavailable`. */
export const ANSWER_DEADLINE_MS = 2_000
/** Requests that may wait for their answer at once. */
export const MAX_WAITING = 8_192

interface Waiting {
  readonly resolve: (value: JsonValue) => void
  readonly reject: (error: unknown) => void
  readonly cancel: () => void
}

/**
 * One connection to the plane: numbered requests out, answers in. Any doubt about an answer ends the connection, so that
 * a confused peer is never half believed.
 */
export class PlaneLink {
  readonly #connection: Connection
  readonly #clock: Clock
  readonly #waiting = new Map<number, Waiting>()
  readonly #onClosed: () => void
  readonly #onEvent: (event: JsonValue) => void
  #nextId = 1
  #open = true

  private constructor(connection: Connection, clock: Clock, onClosed: () => void, onEvent: (event: JsonValue) => void) {
    this.#connection = connection
    this.#clock = clock
    this.#onClosed = onClosed
    this.#onEvent = onEvent
  }

  /** @throws {Denied} `unavailable` when nothing answers at `path` */
  static async connect(path: string, net: Net, clock: Clock, onClosed: () => void, onEvent: (event: JsonValue) => void): Promise<PlaneLink> {
    let link: PlaneLink | undefined
    try {
      const connection = await net.connect(path, MAX_WIRE_LINE, {
        line: (bytes) => link?.receive(bytes),
        closed: () => link?.fail('the connection to the plane ended'),
      })
      link = new PlaneLink(connection, clock, onClosed, onEvent)
      return link
    } catch {
      throw new Denied('unavailable', 'no plane answers on its socket')
    }
  }

  get isOpen(): boolean {
    return this.#open
  }

  /**
   * @param read runs in the turn in which the answer arrives; what it throws is what the caller gets
   * @throws {Denied} what the plane refused with, or `unavailable` without a proper answer in time. A request that ran out
   *   of time ends the connection: an answer that is dropped would be a checkpoint that is missed
   */
  request<T>(method: string, params: JsonValue, read: (value: JsonValue) => T): Promise<T> {
    if (!this.#open) return Promise.reject(new Denied('unavailable', 'the connection to the plane ended'))
    if (this.#waiting.size >= MAX_WAITING) return Promise.reject(new Denied('overloaded', 'too many requests wait for the plane'))
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(ANSWER_DEADLINE_MS, () => {
        this.fail(`no answer within ${ANSWER_DEADLINE_MS} ms`)
      })
      const settle = (value: JsonValue): void => {
        try {
          resolve(read(value))
        } catch (error) {
          reject(error)
        }
      }
      this.#waiting.set(id, { resolve: settle, reject, cancel })
      this.#connection.send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))
    })
  }

  receive(line: Uint8Array): void {
    let reply: ReturnType<typeof parseRpcReply>
    try {
      reply = parseRpcReply(line)
    } catch {
      this.fail('the plane answered nonsense')
      return
    }
    if ('event' in reply) return this.#onEvent(reply.event)
    const waiting = this.#waiting.get(reply.id)
    if (waiting === undefined) return // answered too late, or never asked: nothing is done with it
    this.#waiting.delete(reply.id)
    waiting.cancel()
    if (reply.result instanceof Denied) waiting.reject(reply.result)
    else waiting.resolve(reply.result)
  }

  fail(reason: string): void {
    if (!this.#open) return
    this.#open = false
    this.#connection.close()
    for (const waiting of this.#waiting.values()) {
      waiting.cancel()
      waiting.reject(new Denied('unavailable', reason))
    }
    this.#waiting.clear()
    this.#onClosed()
  }

  close(): void {
    this.fail('closed by this gate')
  }
}
