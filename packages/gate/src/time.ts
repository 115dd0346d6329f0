import { type Clock, Denied, MAX_SKEW_SECONDS } from '@sealwrit/protocol'

/**
 * The gate's wall clock with a memory: it never answers a smaller time than before, and refuses to answer at all while
 * the clock stands further back than the stated skew (ATK-046).
 */
export class GateTime {
  readonly #clock: Clock
  #highMs: number

  constructor(clock: Clock, highMs: number) {
    this.#clock = clock
    this.#highMs = highMs
  }

  /** Milliseconds since 1970. @throws {Denied} `clock_rollback` */
  nowMs(): number {
    const wall = Math.floor(this.#clock.wallMs())
    if (wall < this.#highMs - MAX_SKEW_SECONDS * 1_000) throw new Denied('clock_rollback', 'this clock stood later before')
    if (wall > this.#highMs) this.#highMs = wall
    return this.#highMs
  }

  get highMs(): number {
    return this.#highMs
  }
}
