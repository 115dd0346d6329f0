import { isBelow, LEAST_ASSURANCE } from '@sealwrit/protocol'
import { argumentTypes } from '../decide/schema.ts'
import type { Obligations } from '../decide/obligations.ts'
import type { Policy, PolicySet } from '../decide/policy-set.ts'
import { conditionsOf, covers } from './scope.ts'

/** `loosens`: more may be permitted; `tightens`: less; `unclear`: only a replay over recorded requests can tell. */
export type Direction = 'loosens' | 'tightens' | 'unclear'

export interface PolicyDifference {
  readonly id: string
  readonly change: 'added' | 'removed' | 'changed'
  readonly effect: 'permit' | 'forbid'
  readonly hints: readonly { readonly what: string; readonly direction: Direction }[]
}

export interface SetDifference {
  readonly policies: readonly PolicyDifference[]
  readonly schema: readonly string[]
  /** The protected rules differ. */
  readonly isRebased: boolean
}

/** What differs between two sets, policy by policy. Hints are read from the texts: they say where to look, and prove nothing. */
export function diffPolicySets(before: PolicySet, after: PolicySet): SetDifference {
  const [old, now] = [before, after].map(({ policies }) => new Map(policies.map((policy) => [policy.id, policy]))) as [Map<string, Policy>, Map<string, Policy>]
  const ids = [...new Set([...old.keys(), ...now.keys()])].sort()
  const policies = ids.flatMap((id) => differenceOf(id, old.get(id), now.get(id)) ?? [])
  return { policies, schema: schemaDifference(before, after), isRebased: before.base !== after.base }
}

function differenceOf(id: string, before: Policy | undefined, after: Policy | undefined): PolicyDifference | undefined {
  if (before !== undefined && after !== undefined) {
    const hints = before.text === after.text ? [] : hintsOf(before, after)
    return before.text === after.text || hints.length === 0 ? undefined : { id, change: 'changed', effect: after.json.effect, hints }
  }
  const policy = (after ?? before) as Policy
  const { effect } = policy.json
  const isAdded = after !== undefined
  const direction: Direction = (effect === 'permit') === isAdded ? 'loosens' : 'tightens'
  return { id, change: isAdded ? 'added' : 'removed', effect, hints: [{ what: `${effect} ${isAdded ? 'added' : 'removed'}`, direction }] }
}

type Hint = PolicyDifference['hints'][number]

/** None where only spaces or comments differ. */
function hintsOf(before: Policy, after: Policy): readonly Hint[] {
  const hints: Hint[] = []
  const { effect } = after.json
  if (before.json.effect !== effect) hints.push({ what: `${before.json.effect} became ${effect}`, direction: effect === 'permit' ? 'loosens' : 'tightens' })
  const wider: Direction = effect === 'permit' ? 'loosens' : 'tightens'
  const narrower: Direction = effect === 'permit' ? 'tightens' : 'loosens'
  const [grows, shrinks] = [covers(after, before), covers(before, after)]
  if (!(grows && shrinks)) hints.push(grows ? { what: 'scope widened', direction: wider } : shrinks ? { what: 'scope narrowed', direction: narrower } : { what: 'scope changed', direction: 'unclear' })
  const [old, now] = [conditionsOf(before), conditionsOf(after)]
  const [gone, come] = [old.filter((one) => !now.includes(one)).length, now.filter((one) => !old.includes(one)).length]
  if (gone > 0 && come === 0) hints.push({ what: 'condition removed', direction: wider })
  else if (come > 0 && gone === 0) hints.push({ what: 'condition added', direction: narrower })
  else if (come > 0) hints.push({ what: 'condition changed', direction: 'unclear' })
  return [...hints, ...obligationHints(before.obligations, after.obligations)]
}

const RISK_ORDER = ['low', 'medium', 'high', 'critical']

function obligationHints(before: Obligations, after: Obligations): Hint[] {
  const hints: Hint[] = []
  const changed = (name: string, old: unknown, now: unknown, direction: Direction): void => {
    if (JSON.stringify(old) !== JSON.stringify(now)) hints.push({ what: `@${name} ${old === undefined ? 'added' : now === undefined ? 'removed' : 'changed'}`, direction })
  }
  changed('approval', before.approval, after.approval, after.approval === undefined ? 'loosens' : before.approval === undefined ? 'tightens' : 'unclear')
  const longer = (old: number | undefined, now: number | undefined): Direction => ((now ?? Number.POSITIVE_INFINITY) > (old ?? Number.POSITIVE_INFINITY) ? 'loosens' : 'tightens')
  changed('lease', before.leaseSeconds, after.leaseSeconds, longer(before.leaseSeconds, after.leaseSeconds))
  changed('max_runtime', before.maxRuntimeSeconds, after.maxRuntimeSeconds, longer(before.maxRuntimeSeconds, after.maxRuntimeSeconds))
  const rank = ({ risk }: Obligations): number => RISK_ORDER.indexOf(risk ?? 'low')
  changed('risk', before.risk, after.risk, rank(after) < rank(before) ? 'loosens' : 'tightens')
  changed('assurance', before.assurance, after.assurance, isBelow(after.assurance ?? LEAST_ASSURANCE, before.assurance ?? LEAST_ASSURANCE) ? 'loosens' : 'tightens')
  changed('budget', before.budget, after.budget, after.budget === undefined ? 'loosens' : before.budget === undefined ? 'tightens' : 'unclear')
  const paths = ({ redact }: Obligations): string | undefined => (redact.length === 0 ? undefined : redact.map((path) => path.join('.')).sort().join(' '))
  changed('redact', paths(before), paths(after), 'unclear')
  return hints
}

function schemaDifference(before: PolicySet, after: PolicySet): string[] {
  if (before.schema === after.schema) return []
  const [old, now] = [argumentTypes(before.schema), argumentTypes(after.schema)]
  const out = [...new Set([...old.keys(), ...now.keys()])].sort().flatMap((name) => {
    const [was, is] = [old.get(name), now.get(name)]
    if (was === is) return []
    return was === undefined ? `argument ${name} (${is}) reaches policies` : is === undefined ? `argument ${name} no longer reaches policies` : `argument ${name} is a ${is}, was a ${was}: other types are denied`
  })
  return out.length > 0 ? out : ['its text differs']
}
