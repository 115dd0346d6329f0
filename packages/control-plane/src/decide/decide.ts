import { type AssuranceLevel, type Budget, type DenialCode, Denied, type Digest, highest, type JsonObject, MAX_BUDGETS, type Risk, isObject } from '@sealwrit/protocol'
import type { Answer, PolicyEngine, Redactions } from './engine.ts'
import { type CedarRequest, type DecisionInput, toCedar } from './mapping.ts'
import { type ApprovalObligation, combined, unattested } from './obligations.ts'

/** An execution may run this long when no policy says otherwise, in seconds. */
export const DEFAULT_MAX_RUNTIME_SECONDS = 300
/** And this long without being renewed: what a gate that is cut off goes on with at the most. */
export const DEFAULT_LEASE_SECONDS = 10

/** The active policy set with its epoch: one immutable snapshot a decision (ATK-060). */
export interface ActivePolicy {
  readonly engine: PolicyEngine
  readonly epoch: number
  /** Why nothing is permitted under this set any more: it is older than it may be, or lacks the rules that the operator demands. */
  readonly void?: 'policy_stale' | 'policy_missing' | undefined
}

interface Decided {
  readonly input: DecisionInput
  readonly policy: { readonly digest: Digest; readonly epoch: number; readonly determining: readonly string[] }
  /** What the policies saw, for replay. */
  readonly inputs: JsonObject
  readonly errors: readonly string[]
  /** Members of the arguments that nothing may keep. */
  readonly redact: Redactions
  /** What a set in shadow mode would have decided; it governs nothing. */
  readonly shadow?: JsonObject
}

declare const decided: unique symbol
/** The only thing that `authorize` accepts. */
export interface Permit extends Decided {
  readonly [decided]: 'permit'
  readonly kind: 'permit'
  readonly constraints: { readonly lease_seconds: number; readonly max_runtime_seconds: number; readonly obligations: readonly string[]; readonly budgets?: readonly Budget[] }
  readonly risk: Risk
  /** What its execution must reach. */
  readonly assurance: AssuranceLevel
}
export interface Deny extends Decided {
  readonly kind: 'deny'
  readonly code: DenialCode
}
export interface Hold extends Decided {
  readonly kind: 'hold'
  readonly approval: ApprovalObligation
  /** What it becomes once it is approved. */
  readonly permit: Permit
}
export type Decision = Permit | Deny | Hold

/** Decides whether policy permits `input`. Expected outcomes are data: a denial is returned, never thrown. */
export function decide(input: DecisionInput, active: ActivePolicy): Decision {
  let request: CedarRequest
  let answer: Answer
  try {
    request = toCedar(input, active.engine.argumentTypes, active.engine.sees)
    answer = active.engine.evaluate(request)
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    return { kind: 'deny', code: error.code, ...base(input, active, [], {}, { errors: [error.message], redact: active.engine.redactions }) }
  }
  const determining = answer.determining.map(({ id }) => id)
  const common = base(input, active, determining, request as unknown as JsonObject, answer)
  if (answer.decision !== 'permit') return { kind: 'deny', code: answer.decision, ...common }
  if (active.void !== undefined) return { kind: 'deny', code: active.void, ...common }
  const obligations = answer.determining.map((policy) => policy.obligations)
  const lacking = [...new Set(obligations.flatMap((o) => unattested(o.environment, input.environment)))]
  if (lacking.length > 0) return { kind: 'deny', code: 'environment_unattested', ...common, errors: [`the policies that permit it demand of the environment: ${lacking.join(', ')}`] }
  // Several policies may permit at once: the strictest of their demands holds.
  const least = (stated: readonly (number | undefined)[], otherwise: number): number => {
    const seconds = stated.filter((one) => one !== undefined)
    return seconds.length === 0 ? otherwise : Math.min(...seconds)
  }
  const runtime = least(obligations.map((o) => o.maxRuntimeSeconds), DEFAULT_MAX_RUNTIME_SECONDS)
  const lease = Math.min(runtime, least(obligations.map((o) => o.leaseSeconds), DEFAULT_LEASE_SECONDS))
  const budgets = answer.determining.flatMap(({ id, obligations: { budget } }): Budget[] => (budget === undefined ? [] : [{ policy: id, ...budget }]))
  if (budgets.length > MAX_BUDGETS) return { kind: 'deny', code: 'policy_error', ...common, errors: [`more than ${MAX_BUDGETS} policies with a budget permit it at once`] }
  const permit = {
    kind: 'permit',
    constraints: { lease_seconds: lease, max_runtime_seconds: runtime, obligations: [], ...(budgets.length === 0 ? {} : { budgets }) },
    risk: highestRisk(obligations.flatMap((o) => o.risk ?? [])),
    assurance: highest(obligations.flatMap((o) => o.assurance ?? [])),
    ...common,
  } as unknown as Permit
  const demands = obligations.flatMap((o) => o.approval ?? [])
  if (demands.length === 0) return permit
  const approval = combined(demands)
  if (approval === undefined) return { kind: 'deny', code: 'policy_error', ...common, errors: ['policies demand approval by groups that have none in common'] }
  return { kind: 'hold', approval, permit, ...common }
}

/**
 * Whether the policies were told that another plane has a part in it. A set from before they could be says nothing of other planes,
 * whatever it permits.
 */
export function knewOfFederation({ input, inputs }: Decision): boolean {
  const { context } = inputs
  return input.federation === undefined || (isObject(context) && context['federation'] !== undefined)
}

function base(input: DecisionInput, active: ActivePolicy, determining: readonly string[], inputs: JsonObject, { errors, redact }: Pick<Answer, 'errors' | 'redact'>): Decided {
  return { input, policy: { digest: active.engine.set.digest, epoch: active.epoch, determining }, inputs, errors, redact }
}

const ORDER: readonly Risk[] = ['critical', 'high', 'medium', 'low']
function highestRisk(risks: readonly Risk[]): Risk {
  return ORDER.find((risk) => risks.includes(risk)) ?? 'low'
}
