import { Denied, type DenialCode } from '../denial.ts'
import type { Artifact, Risk } from './artifact.ts'

/** What policy says no with, and an observing plane records and lets run. Everything that is not policy denies there too. */
export const OBSERVED_CODES = ['policy_denied', 'policy_no_match', 'tool_not_pinned', 'approval_required', 'budget_exceeded'] as const
export type ObservedCode = (typeof OBSERVED_CODES)[number]

/** What policies that deny cannot say: how long it may run, and how risky it is. */
export const OBSERVED_TERMS: { readonly constraints: Artifact['constraints']; readonly risk: Risk } = Object.freeze({ constraints: Object.freeze({ lease_seconds: 10, max_runtime_seconds: 300, obligations: [] }), risk: 'low' })

export function isObservable(code: DenialCode): code is ObservedCode {
  return (OBSERVED_CODES as readonly DenialCode[]).includes(code)
}

/**
 * What was only observed is never governed, and nothing rests on it: no approval, no budget, nothing below it or above it, and nobody
 * carries it.
 * @throws {Denied} `artifact_malformed`
 */
export function verifyObservedForm({ observed, assurance, use, depth, par, delegates, approvals, constraints }: Artifact): void {
  if (observed === undefined) return
  const isPlain = assurance === 'A1' && use === 'challenge' && depth === 0 && par === undefined && delegates === undefined && approvals.length === 0 && constraints.budgets === undefined && constraints.obligations.length === 0
  if (!isPlain) throw new Denied('artifact_malformed', 'an observed permit with what only a governed one has')
}

/** @throws {Denied} `obligation_unknown` at a gate that enforces: what policy denies does not run there, whoever issued it */
export function verifyObserves({ observed }: Pick<Artifact, 'observed'>, observes: true | undefined): void {
  if (observed !== undefined && observes !== true) throw new Denied('obligation_unknown', `the permit is only observed (${observed}), and this gate enforces`)
}
