import { type Outcome, OUTCOMES } from '../receipt/receipt.ts'

/**
 * Where an execution stands, by what the log says and nothing else. `carried`: issued, and nobody spent it yet; `lost`: the
 * plane's own `indeterminate`; `released`: a hold that became a permit.
 */
export type Standing = 'requested' | 'held' | 'denied' | 'released' | 'issued' | 'carried' | 'admitted' | 'lost' | 'expired' | Outcome

const NONE: readonly Standing[] = Object.freeze([])
/** What may follow what; what is not here is illegal. @see spec/lifecycle.md */
export const LIFE_CYCLE: Readonly<Record<Standing, readonly Standing[]>> = Object.freeze({
  requested: ['held', 'denied', 'issued', 'carried'],
  held: ['denied', 'released'],
  issued: [...OUTCOMES, 'lost'],
  carried: ['admitted', 'expired'],
  admitted: [...OUTCOMES, 'lost'],
  lost: OUTCOMES, // a late receipt replaces it, and only it
  denied: NONE, released: NONE, expired: NONE, completed: NONE, failed: NONE, terminated: NONE, not_started: NONE, indeterminate: NONE,
})

export function isLegal(from: Standing, to: Standing): boolean {
  return LIFE_CYCLE[from].includes(to)
}

/** Whether nothing is due any more. What the plane called `lost` has its ending, though a late receipt may replace it. */
export function isEnding(standing: Standing): boolean {
  return standing === 'lost' || LIFE_CYCLE[standing].length === 0
}
