import type { ServerResponse } from 'node:http'
import type { Clock } from '@sealwrit/protocol'

/** Bytes that may wait for a client that does not read. */
export const MAX_UNREAD_BYTES = 33_554_432
/** Events, and units of them, that are kept of one stream for a client that comes back for them. */
export const MAX_KEPT_EVENTS = 256
export const MAX_KEPT_BYTES = 262_144
/** A comment goes out after this time without an event, so that nobody in between ends the connection, in milliseconds. */
export const KEEP_ALIVE_MS = 15_000

/**
 * One stream of events to a client. With a token its events have ids that nobody can guess, and it survives its connection: what was
 * sent is kept, bounded, until the client comes back for it.
 */
export class EventStream {
  readonly token: string | undefined
  readonly #clock: Clock
  readonly #headers: () => Readonly<Record<string, string>>
  #res: ServerResponse | undefined
  #cancelKeepAlive: (() => void) | undefined
  #kept: { readonly seq: number; readonly text: string }[] = []
  #keptBytes = 0
  #seq = 0
  /** The first event that can still be asked for. */
  #from = 1
  #ended = false

  constructor(clock: Clock, token: string | undefined, headers: () => Readonly<Record<string, string>>) {
    this.#clock = clock
    this.token = token
    this.#headers = headers
  }

  get isAttached(): boolean {
    return this.#res !== undefined
  }

  /** Goes on over `res`; over an earlier connection no more. */
  attach(res: ServerResponse): void {
    this.#res?.end()
    this.#res = res
    res.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no', ...this.#headers() })
    res.once('close', () => {
      if (this.#res !== res) return
      this.#res = undefined
      this.#cancelKeepAlive?.()
    })
    // An id before the first event: who loses the connection now can come back.
    if (this.token !== undefined) this.#write(`id: ${this.token}.${this.#seq}\ndata:\n\n`)
    else res.flushHeaders()
    this.#keepAlive()
  }

  /** @returns false where what came after that event is not kept any more */
  resume(res: ServerResponse, after: number): boolean {
    if (after > this.#seq || after + 1 < this.#from) return false
    const missed = this.#kept.filter(({ seq }) => seq > after)
    this.attach(res)
    for (const { seq, text } of missed) this.#write(this.#event(seq, text))
    if (this.#ended) this.#finish()
    return true
  }

  send(text: string): void {
    if (this.#ended) return
    const seq = ++this.#seq
    if (this.token !== undefined) this.#keep(seq, text)
    this.#write(this.#event(seq, text))
  }

  /** The last event was sent. */
  end(): void {
    this.#ended = true
    this.#finish()
  }

  #event(seq: number, text: string): string {
    return this.token === undefined ? `data: ${text}\n\n` : `id: ${this.token}.${seq}\ndata: ${text}\n\n`
  }

  #keep(seq: number, text: string): void {
    this.#kept.push({ seq, text })
    this.#keptBytes += text.length
    while (this.#kept.length > MAX_KEPT_EVENTS || this.#keptBytes > MAX_KEPT_BYTES) {
      this.#keptBytes -= (this.#kept.shift() as { text: string }).text.length
      this.#from = (this.#kept[0]?.seq ?? seq + 1)
    }
  }

  #write(text: string): void {
    const res = this.#res
    if (res === undefined) return
    if (res.writableLength > MAX_UNREAD_BYTES) {
      res.destroy() // it does not read; a stream with ids can be asked for again
      return
    }
    res.write(text)
  }

  #finish(): void {
    this.#cancelKeepAlive?.()
    this.#res?.end()
    this.#res = undefined
  }

  #keepAlive(): void {
    this.#cancelKeepAlive?.()
    this.#cancelKeepAlive = this.#clock.after(KEEP_ALIVE_MS, () => {
      this.#write(':\n\n')
      if (this.#res !== undefined) this.#keepAlive()
    })
  }
}
