import { Denied, type Clock } from '@sealwrit/protocol'
import type { HighWater } from '../ports.ts'

/** Time between two writings of the high-water mark, milliseconds; a crash loses this much of it. */
export const MARK_INTERVAL_MS = 1_000

/** Remembers the newest signed checkpoint outside the store. */
export class Mark {
  readonly #highWater: HighWater
  readonly #clock: Clock
  #writtenMs = Number.NEGATIVE_INFINITY
  #newest = ''
  #failure: Denied | undefined

  constructor(highWater: HighWater, clock: Clock) {
    this.#highWater = highWater
    this.#clock = clock
  }

  /** What was written last. */
  get newest(): string {
    return this.#newest
  }
  /** Why the last attempt failed: until one succeeds, whoever goes on could be rolled back unnoticed. */
  get failure(): Denied | undefined {
    return this.#failure
  }

  /** Writes `note` down where that was not done for `afterMs`, and at once where the last attempt failed. */
  write(note: string, afterMs: number): void {
    const now = this.#clock.monotonicMs()
    if (note === '' || note === this.#newest) return
    if (this.#failure === undefined && now - this.#writtenMs < afterMs) return
    try {
      this.#highWater.write(note)
      this.#newest = note
      this.#writtenMs = now
      this.#failure = undefined
    } catch (error) {
      this.#failure = new Denied('evidence_unavailable', `the high-water mark cannot be written: ${error instanceof Error ? error.message : 'unknown error'}`)
    }
  }
}
