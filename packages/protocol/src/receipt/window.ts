import { MAX_SKEW_SECONDS } from '../artifact/artifact.ts'
import type { DenialCode } from '../denial.ts'

/** How far the clocks of a gate and a plane may be apart. */
const SKEW_MS = MAX_SKEW_SECONDS * 1_000

/** What forbids that something began at `startedMs` under a permit from `nbfMs` to before `expMs`; undefined where nothing does, or nothing began. */
export function startRefusal(startedMs: number | undefined, nbfMs: number, expMs: number): DenialCode | undefined {
  if (startedMs === undefined) return undefined
  if (startedMs >= expMs + SKEW_MS) return 'artifact_expired'
  return startedMs < nbfMs - SKEW_MS ? 'artifact_not_yet_valid' : undefined
}
