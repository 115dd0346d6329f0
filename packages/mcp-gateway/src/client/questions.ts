import { Denied, type JsonObject } from '@sealwrit/protocol'
import type { RequestId } from '../messages.ts'
import type { Reply } from './seat.ts'

/** Questions that may wait for one client at once. */
export const MAX_QUESTIONS = 16

/** What one client is asked: an answer is matched to what was asked of this very client, and to nothing else (ATK-095, ATK-101). */
export class Questions {
  readonly #waiting = new Map<RequestId, { readonly resolve: (reply: Reply) => void; readonly reject: (denied: Denied) => void; readonly stop: () => void }>()
  #nextId = 1

  /**
   * @param send carries one message to the client
   * @throws {Denied} `overloaded`, or why `signal` fired; the client is told to stop then
   */
  ask(method: string, params: JsonObject, signal: AbortSignal, send: (message: JsonObject) => void): Promise<Reply> {
    if (this.#waiting.size >= MAX_QUESTIONS) return Promise.reject(new Denied('overloaded', 'too many questions wait for the client'))
    if (signal.aborted) return Promise.reject(reasonOf(signal))
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        if (!this.#waiting.delete(id)) return
        send({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: id, reason: 'ended by the gate' } })
        reject(reasonOf(signal))
      }
      signal.addEventListener('abort', onAbort, { once: true })
      this.#waiting.set(id, { resolve, reject, stop: () => signal.removeEventListener('abort', onAbort) })
      send({ jsonrpc: '2.0', id, method, params })
    })
  }

  /** Takes an answer; false when it answers nothing that was asked. */
  answer(id: RequestId | null, reply: Reply): boolean {
    const question = id === null ? undefined : this.#waiting.get(id)
    if (question === undefined) return false
    this.#waiting.delete(id as RequestId)
    question.stop()
    question.resolve(reply)
    return true
  }

  /** The client is gone. */
  close(): void {
    for (const { stop, reject } of this.#waiting.values()) {
      stop()
      reject(new Denied('unavailable', 'the client is gone'))
    }
    this.#waiting.clear()
  }
}

function reasonOf(signal: AbortSignal): Denied {
  return signal.reason instanceof Denied ? signal.reason : new Denied('unavailable', 'not waited for any more')
}
