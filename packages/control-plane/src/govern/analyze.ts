import { findingsOf, type Policy, type PolicySet } from '../decide/policy-set.ts'
import { conditionsOf, covers } from './scope.ts'

/** What can be told about policies without a solver. */
export interface Finding {
  readonly kind: 'invalid' | 'unreachable' | 'shadowed' | 'duplicate' | 'redundant' | 'may_error' | 'unused'
  /** Absent where it concerns the set. */
  readonly policy?: string
  readonly explanation: string
  /** The other policy that makes it so. */
  readonly because?: string
}

/** Policies that are compared with each other. Beyond it each is looked at by itself. */
const MAX_COMPARED = 2_000

/**
 * Finds what can be told from the texts: every finding is certain, and what is not found may still be there.
 * @param used how many recorded requests each policy determined; undefined where none were looked at
 */
export function analyzePolicies(set: PolicySet, used?: ReadonlyMap<string, number>): readonly Finding[] {
  const findings: Finding[] = findingsOf(set).map(validation)
  const compared = set.policies.slice(0, MAX_COMPARED)
  const conditions = new Map(compared.map((policy) => [policy.id, conditionsOf(policy)]))
  for (const [i, policy] of compared.entries()) {
    const other = compared.slice(0, i).find((one) => one.json.effect === policy.json.effect && covers(one, policy) && covers(policy, one) && equal(conditions.get(one.id), conditions.get(policy.id)) && JSON.stringify(one.obligations) === JSON.stringify(policy.obligations))
    if (other !== undefined) findings.push({ kind: 'duplicate', policy: policy.id, because: other.id, explanation: `it has the effect, scope, conditions and obligations of ${other.id}` })
    else findings.push(...overruled(policy, compared, conditions))
  }
  for (const policy of set.policies) findings.push(...errors(policy))
  if (used !== undefined) for (const { id } of set.policies) if ((used.get(id) ?? 0) === 0) findings.push({ kind: 'unused', policy: id, explanation: 'it determined none of the recorded requests' })
  return findings.filter(({ kind, policy }, i) => policy === undefined || findings.findIndex((one) => one.kind === kind && one.policy === policy) === i) // one policy, one finding of a kind
}

function validation({ id, message }: { id: string | undefined; message: string }): Finding {
  const about = id === undefined ? {} : { policy: id }
  if (/unable to find an applicable action|policy is impossible/i.test(message)) return { kind: 'unreachable', ...about, explanation: `no request can match it: ${message}` }
  if (/optional attribute/i.test(message)) return { kind: 'may_error', ...about, explanation: `it reads an attribute that may be absent without asking \`has\` first: ${message}` }
  return { kind: 'invalid', ...about, explanation: message }
}

/** A policy that another one leaves nothing to decide. */
function overruled(policy: Policy, all: readonly Policy[], conditions: ReadonlyMap<string, readonly string[]>): Finding[] {
  const mine = conditions.get(policy.id) ?? []
  // One whose conditions are all among those of this policy holds wherever this one does.
  const holdsWhere = (one: Policy): boolean => one.id !== policy.id && covers(one, policy) && (conditions.get(one.id) ?? []).every((condition) => mine.includes(condition))
  if (policy.json.effect === 'permit') {
    const forbid = all.find((one) => one.json.effect === 'forbid' && holdsWhere(one))
    if (forbid !== undefined) return [{ kind: 'shadowed', policy: policy.id, because: forbid.id, explanation: `${forbid.id} forbids everything that it permits` }]
  }
  const wider = all.find((one) => one.json.effect === policy.json.effect && holdsWhere(one) && !(covers(policy, one) && equal(conditions.get(one.id), mine)) && (policy.json.effect === 'forbid' || demandsNothing(policy)))
  return wider === undefined ? [] : [{ kind: 'redundant', policy: policy.id, because: wider.id, explanation: `${wider.id} ${policy.json.effect}s everything that it does` }]
}

/** A permit that demands something is never redundant: the strictest demand of all that match holds. */
function demandsNothing({ obligations: { approval, environment, leaseSeconds, maxRuntimeSeconds, risk, assurance, budget, redact } }: Policy): boolean {
  return approval === undefined && environment === undefined && leaseSeconds === undefined && maxRuntimeSeconds === undefined && risk === undefined && assurance === undefined && budget === undefined && redact.length === 0
}

const ARITHMETIC = new Set(['+', '-', '*', 'neg'])
const PARSERS = new Set(['ip', 'decimal', 'datetime', 'duration'])

/** What can fail at run time in a policy that strict validation accepts. */
function errors(policy: Policy): Finding[] {
  const causes = new Set<string>()
  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit)
    if (typeof node !== 'object' || node === null) return
    for (const [name, member] of Object.entries(node)) {
      if (ARITHMETIC.has(name) && isComputed(member)) causes.add('arithmetic beyond 2^63 is an error')
      if (PARSERS.has(name) && isComputed(member)) causes.add(`${name}() of a text that is none is an error`)
      visit(member)
    }
  }
  visit(policy.json.conditions)
  return [...causes].map((cause) => ({ kind: 'may_error', policy: policy.id, explanation: `${cause}, and any error denies every request that this policy's scope matches` }))
}

/** Whether anything but literals is in it. */
function isComputed(node: unknown): boolean {
  if (Array.isArray(node)) return node.some(isComputed)
  if (typeof node !== 'object' || node === null) return false
  return 'Var' in node || Object.values(node).some(isComputed)
}

const equal = (a: readonly string[] | undefined, b: readonly string[] | undefined): boolean => (a ?? []).join('\n') === (b ?? []).join('\n')
