import type { PlanePorts } from '../ports.ts'

/** Time between two writings of the mark, milliseconds; a crash loses this much of it. */
const INTERVAL_MS = 1_000

/** Keeps the newest signed checkpoint outside the store. */
export class HighWaterMark {
  readonly #ports: PlanePorts
  #writtenMs = Number.NEGATIVE_INFINITY
  #note = ''

  constructor(ports: PlanePorts) {
    this.#ports = ports
  }

  read(): string | undefined {
    return this.#ports.highWater.read()
  }

  isAt(note: string): boolean {
    return note === this.#note
  }

  /** Raises the mark to `note`, where that was not done a moment ago. @throws what the file system throws */
  raise(note: string, atOnce = false): void {
    const now = this.#ports.clock.monotonicMs()
    if (note === '' || note === this.#note || (!atOnce && now - this.#writtenMs < INTERVAL_MS)) return
    this.#ports.highWater.write(note)
    this.#note = note
    this.#writtenMs = now
  }
}
