import * as fs from 'node:fs'
import * as path from 'node:path'
import { expect } from 'vitest'

/** One figure of SCOREBOARD.md, as a test measured it. */
export interface Score {
  /** `S1` … `S34`. */
  readonly id: string
  /** What was counted, in one short phrase. */
  readonly figure: string
  /** Independent trials. */
  readonly n: number
  readonly violations: number
  readonly seed?: number
  /** Trials whose fault really took hold, where a fault can miss. */
  readonly faultsLanded?: number
  /** Why the run says nothing: its fault could not be made to land. */
  readonly voided?: string
  readonly seconds?: number
  readonly notes?: string
}

/** The seed of every campaign; `SEALWRIT_SEED` chooses another. */
export const SEED: number = Number(process.env['SEALWRIT_SEED'] ?? 20_261_123)
export const IS_SOAK: boolean = process.env['SEALWRIT_SOAK'] === '1'

/**
 * How many trials to run: few with every change, the target in a soak, and the share `SEALWRIT_SOAK_SCALE` of the target
 * where a soak must fit into less time; never fewer than with every change.
 */
export function sized(each: number, target: number): number {
  if (!IS_SOAK) return each
  const scale = Number(process.env['SEALWRIT_SOAK_SCALE'] ?? '1')
  if (!(scale > 0 && scale <= 1)) throw new TypeError('SEALWRIT_SOAK_SCALE is above 0 and at most 1')
  return Math.max(each, Math.round(target * scale))
}

/** Writes one figure down where `SEALWRIT_SCOREBOARD` names a file; call it before the assertion, so that violations are told too. */
export function score(figure: Score): void {
  const file = process.env['SEALWRIT_SCOREBOARD']
  if (file === undefined) return
  const test = path.relative(path.resolve(import.meta.dirname, '../..'), expect.getState().testPath ?? '')
  fs.appendFileSync(file, `${JSON.stringify({ ...figure, test })}\n`)
}

/** Reproducible numbers below `n`. */
export function seeded(seed: number): (n: number) => number {
  let state = seed >>> 0
  return (n) => {
    // mulberry32: every bit of the state reaches every bit of the result
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * n)
  }
}

/** Whether what a test needs must be there: then its absence is a failure and no void run. */
export function isRequired(what: string): boolean {
  return (process.env['SEALWRIT_TEST_REQUIRE'] ?? '').split(',').includes(what)
}
