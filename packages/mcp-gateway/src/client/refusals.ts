import { type Clock, Denied } from '@sealwrit/protocol'

/** Refusals of one listener that are recorded in a minute, one by one. */
export const MAX_REFUSALS = 600
const WINDOW_MS = 60_000

/** Records refusals, and keeps whoever causes very many from filling the log: the first one too many is recorded as `overloaded`. */
export class Refusals {
  readonly #clock: Clock
  readonly #record: (denied: Denied) => void
  #sinceMs: number
  #count = 0

  constructor(clock: Clock, record: (denied: Denied) => void) {
    this.#clock = clock
    this.#record = record
    this.#sinceMs = clock.monotonicMs()
  }

  take(denied: Denied): void {
    const now = this.#clock.monotonicMs()
    if (now - this.#sinceMs >= WINDOW_MS) {
      this.#sinceMs = now
      this.#count = 0
    }
    if (++this.#count > MAX_REFUSALS + 1) return
    this.#record(this.#count > MAX_REFUSALS ? new Denied('overloaded', 'too many refusals in a minute') : denied)
  }
}
