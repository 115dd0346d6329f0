import { Denied } from '@sealwrit/protocol'
import type { Sequencer, Written } from '../log/sequencer.ts'
import type { PlaneClock } from '../ports.ts'

/** How often permits without an ending are looked for, in milliseconds. */
const INTERVAL_MS = 5_000

/**
 * Writes `indeterminate` for permits whose start window, lease and margin passed without a receipt: the effect may have
 * happened, nobody knows, and nothing is retried. A late receipt may resolve it.
 * @returns how many were ended
 */
export async function endOverdue(log: Sequencer, nowMs: number): Promise<number> {
  const overdue = [...log.state.open].filter(([, permit]) => permit.deadlineMs <= nowMs)
  const ended = overdue.map(([jti, { leafHash }]) =>
    log.submit((state): Written => {
      if (!state.open.has(jti)) throw new Denied('artifact_spent', 'a receipt came meanwhile')
      return { body: { kind: 'expiry', jti, leaf_hash: leafHash, outcome: 'indeterminate' }, bodies: [] }
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
