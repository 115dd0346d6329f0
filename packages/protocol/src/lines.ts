import { Denied } from './denial.ts'

const NEWLINE = 10

/**
 * Cuts a byte stream into lines, holding at most `maxBytes` of an unfinished one. A longer line is thrown away up to its
 * end and told once to `onTooLong`; where there is no such listener, {@link LineReader.push} throws instead.
 */
export class LineReader {
  readonly #maxBytes: number
  readonly #onLine: (line: Uint8Array) => void
  readonly #onTooLong: ((denied: Denied) => void) | undefined
  #held: Uint8Array[] = []
  #heldBytes = 0
  #skipping = false

  constructor(maxBytes: number, onLine: (line: Uint8Array) => void, onTooLong?: (denied: Denied) => void) {
    this.#maxBytes = maxBytes
    this.#onLine = onLine
    this.#onTooLong = onTooLong
  }

  /** @throws {Denied} `limit_exceeded` for a line that is too long, where nobody listens for it */
  push(chunk: Uint8Array): void {
    let start = 0
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start)
      const piece = end < 0 ? chunk.subarray(start) : chunk.subarray(start, end)
      if (!this.#skipping && this.#heldBytes + piece.length > this.#maxBytes) this.#tooLong()
      if (end < 0) {
        if (piece.length > 0 && !this.#skipping) this.#hold(piece)
        return
      }
      if (this.#skipping) this.#skipping = false
      else this.#onLine(this.#take(piece))
      start = end + 1
    }
  }

  /** Bytes of an unfinished line that are held. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  #tooLong(): void {
    this.#held = []
    this.#heldBytes = 0
    this.#skipping = true
    const denied = new Denied('limit_exceeded', `a line of more than ${this.#maxBytes} bytes`)
    if (this.#onTooLong === undefined) throw denied
    this.#onTooLong(denied)
  }

  /** Copies: the chunk's memory belongs to the stream, and a small piece must not keep a large chunk alive. */
  #hold(piece: Uint8Array): void {
    this.#held.push(new Uint8Array(piece))
    this.#heldBytes += piece.length
  }

  #take(last: Uint8Array): Uint8Array {
    if (this.#held.length === 0) return last
    const line = new Uint8Array(this.#heldBytes + last.length)
    let at = 0
    for (const part of this.#held) {
      line.set(part, at)
      at += part.length
    }
    line.set(last, at)
    this.#held = []
    this.#heldBytes = 0
    return line
  }
}
