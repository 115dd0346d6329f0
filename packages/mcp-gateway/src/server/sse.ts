import { Denied } from '@sealwrit/protocol'
import { Bytes } from '../bytes.ts'

const [LF, CR, COLON, SPACE] = [10, 13, 58, 32]
const BOM = [0xef, 0xbb, 0xbf]
/** Longest event id that is taken, in bytes: it goes into a header when the stream is resumed. */
export const MAX_EVENT_ID = 1_024
/** What the name of a field may add to the data of a line. */
const FIELD_BYTES = 16

export interface SseEvents {
  /** The data of one `message` event. */
  data(bytes: Uint8Array): void
  /** The stream can be resumed after the event with this id; undefined where the server took its id back, or gave one that no header can carry. */
  id(id: string | undefined): void
  /** How long to wait before the stream is resumed, as the server asks, in milliseconds. */
  retry(ms: number): void
}

/**
 * Reads a stream of server-sent events, byte for byte as its specification has it: CR, LF or CRLF end a line, a BOM at the start,
 * comments and unknown fields are skipped, data lines are joined by LF, an event that the stream cuts off is none. Data stay bytes: what
 * they are is for their reader to judge. At most one event is held, and no more of it than `maxData`.
 * @see HTML, "9.2.5 Parsing an event stream"
 */
export class SseReader {
  readonly #events: SseEvents
  readonly #maxData: number
  readonly #line: Bytes
  #data: Bytes | Uint8Array | undefined
  #type = ''
  #id: string | undefined | null = null
  #started = 0
  #afterCr = false

  constructor(maxData: number, events: SseEvents) {
    this.#maxData = maxData
    this.#line = new Bytes(maxData + FIELD_BYTES)
    this.#events = events
  }

  /** @throws {Denied} `limit_exceeded` for a line or an event that is too long */
  push(chunk: Uint8Array): void {
    let at = this.#skipBom(chunk)
    while (at < chunk.length) {
      if (this.#afterCr) {
        this.#afterCr = false
        if (chunk[at] === LF && ++at === chunk.length) return
      }
      const end = endOfLine(chunk, at)
      if (!this.#line.append(chunk.subarray(at, end < 0 ? chunk.length : end))) throw new Denied('limit_exceeded', 'a line of an event stream')
      if (end < 0) return
      this.#afterCr = chunk[end] === CR
      at = end + 1
      this.#take(this.#line.take())
    }
  }

  /** The first bytes of the stream, which may arrive one by one. */
  #skipBom(chunk: Uint8Array): number {
    let at = 0
    while (this.#started < BOM.length && at < chunk.length) {
      if (chunk[at] !== BOM[this.#started]) {
        // It was none: what looked like its beginning belongs to the first line.
        this.#line.append(Uint8Array.from(BOM.slice(0, this.#started)))
        this.#started = BOM.length
        break
      }
      this.#started++
      at++
    }
    return at
  }

  #take(line: Uint8Array): void {
    if (line.length === 0) return this.#dispatch()
    const colon = line.indexOf(COLON)
    if (colon === 0) return // a comment
    const name = ascii(colon < 0 ? line : line.subarray(0, colon))
    const from = colon < 0 ? line.length : colon + (line[colon + 1] === SPACE ? 2 : 1)
    const value = line.subarray(from)
    if (name === 'data') return this.#append(value)
    if (name === 'event') this.#type = value.length > MAX_EVENT_ID ? 'unknown' : ascii(value)
    else if (name === 'id' && !value.includes(0)) this.#id = value.length > 0 && value.length <= MAX_EVENT_ID && value.every(isVisible) ? ascii(value) : undefined
    else if (name === 'retry' && value.length > 0 && value.length < 10 && value.every(isDigit)) this.#events.retry(Number(ascii(value)))
  }

  /** One line of data is kept as it is; only of several a new piece is made. */
  #append(value: Uint8Array): void {
    if (this.#data === undefined) {
      if (value.length > this.#maxData) tooLong()
      this.#data = value
      return
    }
    if (this.#data instanceof Uint8Array) {
      const joined = new Bytes(this.#maxData)
      joined.append(this.#data)
      this.#data = joined
    }
    if (!this.#data.append(NEWLINE) || !this.#data.append(value)) tooLong()
  }

  #dispatch(): void {
    const [data, type, id] = [this.#data, this.#type, this.#id]
    this.#data = undefined
    this.#type = ''
    this.#id = null
    if (data !== undefined && data.length > 0 && (type === '' || type === 'message')) this.#events.data(data instanceof Bytes ? data.take() : data)
    // After the data: who resumes from this id has them.
    if (id !== null) this.#events.id(id)
  }
}

const NEWLINE = Uint8Array.of(LF)

function tooLong(): never {
  throw new Denied('limit_exceeded', 'an event of an event stream')
}

function endOfLine(bytes: Uint8Array, from: number): number {
  const lf = bytes.indexOf(LF, from)
  const cr = bytes.subarray(from, lf < 0 ? bytes.length : lf).indexOf(CR)
  return cr < 0 ? lf : from + cr
}

function ascii(bytes: Uint8Array): string {
  return bytes.length > MAX_EVENT_ID ? '' : String.fromCharCode(...bytes)
}

function isVisible(byte: number): boolean {
  return byte >= 0x20 && byte <= 0x7e
}

function isDigit(byte: number): boolean {
  return byte >= 48 && byte <= 57
}
