import { Denied } from '@sealwrit/protocol'
import type { PlanePorts } from '../ports.ts'

/** Time between two writings of the mark, milliseconds; a crash loses this much of it. */
const INTERVAL_MS = 1_000

/** Keeps the newest signed checkpoint outside the store. */
export class HighWaterMark {
  readonly #ports: PlanePorts
  #writtenMs = Number.NEGATIVE_INFINITY
  #note = ''
  #failure: Denied | undefined

  constructor(ports: PlanePorts) {
    this.#ports = ports
  }

  read(): string | undefined {
    return this.#ports.highWater.read()
  }

  isAt(note: string): boolean {
    return note === this.#note
  }

  /** Why it could not be written: until it can, whoever goes on could be rolled back unnoticed. */
  get failure(): Denied | undefined {
    return this.#failure
  }

  /** Raises the mark to `note`, where that was not done a moment ago, or failed. */
  raise(note: string, atOnce = false): void {
    const now = this.#ports.clock.monotonicMs()
    if (note === '' || note === this.#note || (!atOnce && this.#failure === undefined && now - this.#writtenMs < INTERVAL_MS)) return
    try {
      this.#ports.highWater.write(note)
      this.#note = note
      this.#writtenMs = now
      this.#failure = undefined
    } catch (error) {
      this.#failure = new Denied('evidence_unavailable', `the high-water mark cannot be written: ${error instanceof Error ? error.message : 'unknown error'}`)
    }
  }
}
