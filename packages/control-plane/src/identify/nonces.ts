import { type Clock, Denied, type Rng, SingleUse } from '@sealwrit/protocol'

/** Nonces that may wait for their proof at once. */
export const MAX_NONCES = 65_536
/** How long a nonce is good, in milliseconds. */
export const NONCE_LIFE_MS = 30_000

/** Nonces that this plane gave out and that are good once: what signs one was signed now and for this plane, whatever the clocks say. */
export class Nonces {
  readonly #given: SingleUse

  constructor(clock: Clock, rng: Rng) {
    this.#given = new SingleUse(clock, rng, NONCE_LIFE_MS, MAX_NONCES)
  }

  /** @throws {Denied} `overloaded` */
  give(): string {
    const nonce = this.#given.draw()
    if (nonce === undefined) throw new Denied('overloaded', 'too many nonces wait for their proof')
    return nonce
  }

  /** @throws {Denied} `proof_of_possession_failed` for one that was not given, or is used or too old */
  take(nonce: string): void {
    if (!this.#given.take(nonce)) throw new Denied('proof_of_possession_failed', 'the nonce is not one that this plane gave, or it was used')
  }
}
