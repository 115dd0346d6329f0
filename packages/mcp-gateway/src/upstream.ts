import { canonicalText, Denied, type JsonObject } from '@sealwrit/protocol'
import type { RequestId } from './messages.ts'

/** Requests to the server that may wait for an answer at once. */
export const MAX_IN_FLIGHT = 256
/** Time for a list, a ping or an initialization, in milliseconds; calls have the time of their permit. */
const ANSWER_MS = 60_000

export type UpstreamAnswer = { readonly result: JsonObject } | { readonly error: JsonObject }

interface Waiting {
  readonly resolve: (answer: UpstreamAnswer) => void
  readonly reject: (error: Denied) => void
  readonly progressToken: RequestId | undefined
  readonly stop: () => void
}

/** The gateway's own requests to the server, under ids of its own: nothing of the client's framing gets through. */
export class Upstream {
  readonly #send: (line: string) => void
  readonly #waiting = new Map<number, Waiting>()
  #nextId = 1
  #open = true

  constructor(send: (line: string) => void) {
    this.#send = send
  }

  /**
   * Sends one request. It is serialised here, from the value that was judged.
   * @param options.meta what the server is told beside it
   * @param options.signal when it fires, the server is told to cancel and the answer is no longer waited for
   * @throws {Denied} `overloaded`, `unavailable` (the server is gone or does not answer)
   */
  request(method: string, params: JsonObject, options: { progressToken?: RequestId | undefined; signal?: AbortSignal; meta?: JsonObject | undefined } = {}): Promise<UpstreamAnswer> {
    if (!this.#open) return Promise.reject(new Denied('unavailable', 'the server is gone'))
    if (this.#waiting.size >= MAX_IN_FLIGHT) return Promise.reject(new Denied('overloaded', 'too many calls wait for the server'))
    const id = this.#nextId++
    const { progressToken, signal, meta } = options
    const sent = progressToken === undefined && meta === undefined ? params : { ...params, _meta: { ...meta, ...(progressToken === undefined ? {} : { progressToken: id }) } }
    return new Promise((resolve, reject) => {
      const giveUp = (reason: string): void => {
        if (!this.#waiting.delete(id)) return
        timer?.close()
        this.notify('notifications/cancelled', { requestId: id, reason })
        reject(new Denied(signal?.reason instanceof Denied ? signal.reason.code : 'unavailable', reason))
      }
      const timer = signal === undefined ? setTimeout(() => giveUp('no answer in time'), ANSWER_MS) : undefined
      timer?.unref()
      const onAbort = (): void => giveUp('ended by the gate')
      signal?.addEventListener('abort', onAbort, { once: true })
      this.#waiting.set(id, {
        resolve,
        reject,
        progressToken,
        stop: () => {
          timer?.close()
          signal?.removeEventListener('abort', onAbort)
        },
      })
      this.#send(canonicalText({ jsonrpc: '2.0', id, method, params: sent }))
    })
  }

  notify(method: string, params: JsonObject): void {
    if (this.#open) this.#send(canonicalText({ jsonrpc: '2.0', method, params }))
  }

  /** Takes an answer of the server; false when it answers nothing that was asked. */
  answer(id: RequestId | null, answer: UpstreamAnswer): boolean {
    const waiting = typeof id === 'number' ? this.#waiting.get(id) : undefined
    if (waiting === undefined) return false
    this.#waiting.delete(id as number)
    waiting.stop()
    waiting.resolve(answer)
    return true
  }

  /** The client's own token for progress on request `id`, while that is in flight. */
  progressTokenOf(id: unknown): RequestId | undefined {
    return typeof id === 'number' ? this.#waiting.get(id)?.progressToken : undefined
  }

  /** The server is gone: whatever waits ends now. */
  close(): void {
    this.#open = false
    for (const waiting of this.#waiting.values()) {
      waiting.stop()
      waiting.reject(new Denied('unavailable', 'the server is gone'))
    }
    this.#waiting.clear()
  }
}
