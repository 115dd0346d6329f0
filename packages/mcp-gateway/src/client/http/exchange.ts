import type { ServerResponse } from 'node:http'
import type { Clock, JsonObject } from '@sealwrit/protocol'
import { canonicalText } from '@sealwrit/protocol'
import type { RequestId } from '../../messages.ts'
import { answerLine } from '../answers.ts'
import type { Answer } from '../seat.ts'
import type { EventStream } from './stream.ts'

/** An answer that takes longer is awaited on a stream, which can say that it is alive, in milliseconds. */
export const STREAM_AFTER_MS = 15_000

/** The response to one request: JSON, or a stream as soon as something has to be said before the answer. */
export class Exchange {
  readonly #res: ServerResponse
  readonly #stream: EventStream
  readonly #headers: () => Readonly<Record<string, string>>
  readonly #onStream: () => void
  #cancel: () => void
  #state: 'waiting' | 'streaming' | 'done' = 'waiting'

  /** @param onStream the stream began: from now on it may be asked for */
  constructor(res: ServerResponse, stream: EventStream, clock: Clock, headers: () => Readonly<Record<string, string>>, onStream: () => void = () => undefined) {
    this.#res = res
    this.#stream = stream
    this.#headers = headers
    this.#onStream = onStream
    this.#cancel = clock.after(STREAM_AFTER_MS, () => this.#begin())
  }

  /** Says something that belongs to this request, before its answer. */
  send(message: JsonObject): void {
    if (this.#state === 'done') return
    this.#begin()
    this.#stream.send(canonicalText(message))
  }

  answer(id: RequestId, answer: Answer, status: number): void {
    if (this.#state === 'done') return
    const text = answerLine(id, answer)
    if (this.#state === 'streaming') {
      this.#stream.send(text)
      return this.end()
    }
    this.#over()
    sendJson(this.#res, status, text, this.#headers())
  }

  /** No answer comes: the client took its request back. */
  end(): void {
    if (this.#state === 'done') return
    this.#begin()
    this.#over()
    this.#stream.end()
  }

  #begin(): void {
    if (this.#state !== 'waiting') return
    this.#state = 'streaming'
    this.#cancel()
    if (!this.#res.destroyed) this.#stream.attach(this.#res)
    this.#onStream()
  }

  #over(): void {
    this.#state = 'done'
    this.#cancel()
  }
}

/** Answers with JSON. */
export function sendJson(res: ServerResponse, status: number, text: string, headers: Readonly<Record<string, string>> = {}): void {
  if (res.destroyed || res.headersSent) return
  res.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text), 'cache-control': 'no-store', 'x-content-type-options': 'nosniff', ...headers }).end(text)
}
