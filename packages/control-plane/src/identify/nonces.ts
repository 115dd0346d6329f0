import { type Clock, Denied, type Rng, toBase64Url, TOKEN_BYTES } from '@sealwrit/protocol'

/** Nonces that may wait for their proof at once. */
export const MAX_NONCES = 65_536
/** How long a nonce is good, in milliseconds. */
export const NONCE_LIFE_MS = 30_000

/**
 * Nonces that this plane gave out and that are good once: what signs one was signed now and for this plane, whatever the clocks
 * say. They live in memory: after a restart none is good.
 */
export class Nonces {
  readonly #clock: Clock
  readonly #rng: Rng
  /** When each was given, oldest first. */
  readonly #given = new Map<string, number>()

  constructor(clock: Clock, rng: Rng) {
    this.#clock = clock
    this.#rng = rng
  }

  /** @throws {Denied} `overloaded` */
  give(): string {
    const now = this.#clock.monotonicMs()
    for (const [nonce, givenMs] of this.#given) {
      if (now - givenMs < NONCE_LIFE_MS) break
      this.#given.delete(nonce)
    }
    if (this.#given.size >= MAX_NONCES) throw new Denied('overloaded', 'too many nonces wait for their proof')
    const nonce = toBase64Url(this.#rng.bytes(TOKEN_BYTES))
    this.#given.set(nonce, now)
    return nonce
  }

  /** Takes a nonce back in the step that finds it. @throws {Denied} `proof_of_possession_failed` for one that was not given, or is used or too old */
  take(nonce: string): void {
    const givenMs = this.#given.get(nonce)
    this.#given.delete(nonce)
    if (givenMs === undefined || this.#clock.monotonicMs() - givenMs >= NONCE_LIFE_MS) throw new Denied('proof_of_possession_failed', 'the nonce is not one that this plane gave, or it was used')
  }
}
