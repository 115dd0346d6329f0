import { Denied, type Digest, isLegal } from '@sealwrit/protocol'
import type { Written } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { PlaneClock } from '../ports.ts'

/** How often permits without an ending are looked for, in milliseconds. */
const INTERVAL_MS = 5_000

/**
 * Ends permits that nothing else ended in time. `indeterminate` after start window, lease and margin: the effect may have
 * happened, nobody knows, and nothing is retried; a late receipt may resolve it. `expired` for a carried permit that nobody
 * redeemed while it could be started: nothing ran.
 * @returns how many were ended
 */
export async function endOverdue(log: Sequencer, nowMs: number): Promise<number> {
  const overdue: [jti: string, leafHash: Digest][] = []
  for (const [jti, { deadlineMs, leafHash }] of log.state.open) if (deadlineMs <= nowMs) overdue.push([jti, leafHash]) // no copy of all that is open
  const ended = overdue.map(([jti, leafHash]) =>
    log.submit((state): Written => {
      const permit = state.open.get(jti)
      if (permit === undefined || permit.deadlineMs > nowMs) throw new Denied('artifact_spent', 'a receipt or a redemption came meanwhile')
      return { body: { kind: 'expiry', jti, leaf_hash: leafHash, outcome: isLegal(permit.standing, 'expired') ? 'expired' : 'indeterminate' }, bodies: [] }
    }),
  )
  return (await Promise.allSettled(ended)).filter(({ status }) => status === 'fulfilled').length
}

/** Looks for overdue permits until the result is called. */
export function watchEndings(log: Sequencer, clock: PlaneClock): () => void {
  let cancel = (): void => undefined
  let stopped = false
  const again = (): void => {
    if (!stopped) cancel = clock.after(INTERVAL_MS, () => void endOverdue(log, clock.wallMs()).finally(again))
  }
  again()
  return () => {
    stopped = true
    cancel()
  }
}
