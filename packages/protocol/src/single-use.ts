import { TOKEN_BYTES } from './digest.ts'
import { toBase64Url } from './encoding.ts'
import type { Clock, Rng } from './ports.ts'

/**
 * Random values that are good once and for a while. They live in memory only, so after a crash none is outstanding and whatever
 * answers an old one is refused. INVARIANT: I2 rests on `take` removing what it finds, in the same synchronous step.
 */
export class SingleUse {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #lifeMs: number
  readonly #most: number
  /** Oldest first: all live equally long. */
  readonly #deadlines = new Map<string, number>()

  /** @param most values that may be outstanding at once */
  constructor(clock: Clock, rng: Rng, lifeMs: number, most: number) {
    this.#clock = clock
    this.#rng = rng
    this.#lifeMs = lifeMs
    this.#most = most
  }

  /** Draws a value; undefined when as many as may be wait already. */
  draw(): string | undefined {
    const now = this.#clock.monotonicMs()
    for (const [value, deadline] of this.#deadlines) {
      if (now < deadline) break
      this.#deadlines.delete(value)
    }
    if (this.#deadlines.size >= this.#most) return undefined
    const value = toBase64Url(this.#rng.bytes(TOKEN_BYTES))
    if (this.#deadlines.has(value)) return undefined // a repeated draw means the Rng is broken
    this.#deadlines.set(value, now + this.#lifeMs)
    return value
  }

  /** Removes `value`; true when it was outstanding and its time has not passed. */
  take(value: string): boolean {
    const deadline = this.#deadlines.get(value)
    return this.#deadlines.delete(value) && deadline !== undefined && this.#clock.monotonicMs() < deadline
  }
}
