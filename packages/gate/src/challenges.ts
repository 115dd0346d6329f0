import { type Clock, type Rng, toBase64Url, TOKEN_BYTES } from '@sealwrit/protocol'

/** Challenges that may be outstanding at once: one for each execution that waits for its answer. */
export const MAX_OUTSTANDING = 4_096

/**
 * The outstanding challenges of a gate. They live in memory only, so after a crash none is outstanding and every old
 * artifact is refused. INVARIANT: I2 rests on `take` removing what it finds, in the same synchronous step.
 */
export class Challenges {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #deadlines = new Map<string, number>()

  constructor(clock: Clock, rng: Rng) {
    this.#clock = clock
    this.#rng = rng
  }

  /** Draws a challenge that is good for `lifeMs`; undefined when {@link MAX_OUTSTANDING} wait already. */
  draw(lifeMs: number): string | undefined {
    if (this.#deadlines.size >= MAX_OUTSTANDING) this.#sweep()
    if (this.#deadlines.size >= MAX_OUTSTANDING) return undefined
    const challenge = toBase64Url(this.#rng.bytes(TOKEN_BYTES))
    if (this.#deadlines.has(challenge)) return undefined // a repeated draw means the Rng is broken
    this.#deadlines.set(challenge, this.#clock.monotonicMs() + lifeMs)
    return challenge
  }

  /** Removes `challenge`; true when it was outstanding and its deadline has not passed. */
  take(challenge: string): boolean {
    const deadline = this.#deadlines.get(challenge)
    return this.#deadlines.delete(challenge) && deadline !== undefined && this.#clock.monotonicMs() < deadline
  }

  get outstanding(): number {
    return this.#deadlines.size
  }

  #sweep(): void {
    const now = this.#clock.monotonicMs()
    for (const [challenge, deadline] of this.#deadlines) if (deadline <= now) this.#deadlines.delete(challenge)
  }
}
