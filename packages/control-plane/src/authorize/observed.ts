import { type Artifact, type AuthorizeRequest, type DenialCode, isObservable, type IssueRequest, OBSERVED_TERMS, type ObservedCode } from '@sealwrit/protocol'
import type { Decision } from '../decide/decide.ts'
import type { LogState } from '../log/state.ts'
import type { Caller } from './authorize.ts'

/** What policy said no with to a request that may be observed; the rest of what the state says is for the caller to judge. */
export interface Observation {
  /** Refusals of policy that are found only at a place in the log, the first of them first. */
  readonly noted: ObservedCode[]
}

/**
 * Whether a request may run although policy denies it: the plane was started to observe, the log says so at this very place, and the
 * gate asks for it. Nothing that rests on another permit, is carried, or waited for an approval.
 */
export function observing(request: AuthorizeRequest | IssueRequest, { observes, parent, foreign }: Caller, { standing }: LogState): Observation | undefined {
  const isPlain = 'observe' in request && request.observe === true && request.hold === undefined && request.delegates === undefined && parent === undefined && foreign === undefined
  return isPlain && observes === true && standing.isObserving ? { noted: [] } : undefined
}

/** The denial of policy itself that keeps a request from running; undefined where there is none, or it is only observed. */
export function barredByPolicy(decision: Decision, observation: Observation | undefined): DenialCode | undefined {
  if (decision.kind !== 'deny') return undefined
  return observation !== undefined && isObservable(decision.code) ? undefined : decision.code
}

/** What the permit is marked with; undefined where policy permits it. */
export function observedCode(decision: Decision, isApproved: boolean, observation: Observation | undefined): ObservedCode | undefined {
  if (observation === undefined) return undefined
  if (decision.kind === 'deny') return isObservable(decision.code) ? decision.code : undefined
  return decision.kind === 'hold' && !isApproved ? 'approval_required' : observation.noted[0]
}

/** Terms of an observed permit: those of the policies, where they have some. Nothing is counted against a budget. */
export function observedTerms(decision: Decision): Pick<Artifact, 'constraints' | 'risk' | 'assurance'> {
  const assurance = 'A1'
  if (decision.kind === 'deny') return { ...OBSERVED_TERMS, assurance }
  const { constraints, risk } = decision.kind === 'hold' ? decision.permit : decision
  const { budgets: _, ...rest } = constraints
  return { constraints: rest, risk, assurance }
}
