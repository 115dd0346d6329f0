/** Bytes that grow at their end up to a limit, in one piece of memory: what is taken is not copied once more. */
export class Bytes {
  readonly #maxBytes: number
  #held: Uint8Array | undefined
  #length = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  get length(): number {
    return this.#length
  }

  /** Makes room beforehand where the length is known. */
  expect(count: number): void {
    if (count > 0 && count <= this.#maxBytes) this.#reserve(count)
  }

  /** False, and nothing taken, where it would grow beyond its limit. */
  append(piece: Uint8Array): boolean {
    const length = this.#length + piece.length
    if (length > this.#maxBytes) return false
    if (piece.length === 0) return true
    this.#reserve(length).set(piece, this.#length)
    this.#length = length
    return true
  }

  /** All that was appended; it begins anew. */
  take(): Uint8Array {
    const taken = this.#held?.subarray(0, this.#length) ?? EMPTY
    this.#held = undefined
    this.#length = 0
    return taken
  }

  #reserve(length: number): Uint8Array {
    if (this.#held !== undefined && this.#held.length >= length) return this.#held
    const grown = new Uint8Array(Math.min(this.#maxBytes, Math.max(length, 2 * (this.#held?.length ?? 0), SMALLEST)))
    if (this.#held !== undefined) grown.set(this.#held.subarray(0, this.#length))
    this.#held = grown
    return grown
  }
}

const EMPTY = new Uint8Array(0)
const SMALLEST = 256
