import { Denied, MAX_SKEW_SECONDS } from '@sealwrit/protocol'
import type { PlanePorts } from '../ports.ts'

const SKEW_MS: number = MAX_SKEW_SECONDS * 1_000

/** Gives entries their times, and refuses a clock that would poison the log (ATK-046). */
export class ClockGuard {
  readonly #ports: PlanePorts
  /** What the store's clock said at the start, or this machine's own where the store has none; and the machine's uptime then. */
  readonly #atStart: number
  readonly #bootAtStart: number

  private constructor(ports: PlanePorts, atStart: number) {
    this.#ports = ports
    this.#atStart = atStart
    this.#bootAtStart = ports.clock.bootMs()
  }

  static async open(ports: PlanePorts): Promise<ClockGuard> {
    return new ClockGuard(ports, (await ports.store.clockMs()) ?? ports.clock.wallMs())
  }

  /**
   * max(previous, local clock), milliseconds.
   * @throws {Denied} `clock_rollback` when this clock stands back too far, or has jumped ahead
   */
  after(previousMs: number): number {
    const { clock, formerLogKey } = this.#ports
    const wall = Math.floor(clock.wallMs())
    if (formerLogKey !== undefined) return wall // an operator re-anchors: this clock is the one that counts from here on
    if (wall < previousMs - SKEW_MS) throw new Denied('clock_rollback', 'this clock stands before the last entry')
    if (wall - previousMs > SKEW_MS) {
      const expected = this.#atStart + (clock.bootMs() - this.#bootAtStart)
      if (wall - expected > SKEW_MS) throw new Denied('clock_rollback', 'this clock stands ahead of the store, or jumped ahead of the machine; correct it, or restart the plane to accept a jump')
    }
    return Math.max(previousMs, wall)
  }
}
