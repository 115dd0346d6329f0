import type * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import type { Policy } from '../decide/policy-set.ts'

type Constraint = cedar.PrincipalConstraint | cedar.ResourceConstraint

/** Whether everything that the scope of `b` matches is matched by that of `a` too. False also where that cannot be told from the texts. */
export function covers(a: Policy, b: Policy): boolean {
  return coversEntity(a.json.principal, b.json.principal) && coversEntity(a.json.resource, b.json.resource) && coversAction(a.json.action, b.json.action)
}

function coversEntity(a: Constraint, b: Constraint): boolean {
  if (a.op === 'All') return true
  if (same(a, b)) return true
  const [theirs, type] = [uid(b), b.op === 'is' ? b.entity_type : uid(b)?.type]
  switch (a.op) {
    case '==':
      return false
    case 'in':
      return b.op !== 'All' && theirs !== undefined && same(theirs, uid(a)) // an entity is in itself
    case 'is':
      return !('in' in a && a.in !== undefined) && (b.op === '==' || b.op === 'is') && type === a.entity_type
  }
}

function uid(constraint: Constraint): cedar.TypeAndId | undefined {
  if (constraint.op === '==' || constraint.op === 'in') return 'entity' in constraint ? plain(constraint.entity) : undefined
  return undefined
}

function coversAction(a: cedar.ActionConstraint, b: cedar.ActionConstraint): boolean {
  if (a.op === 'All') return true
  if (b.op === 'All') return false
  const [mine, theirs] = [actions(a), actions(b)]
  if (a.op === '==' && b.op === 'in') return false // an action group may hold more than itself
  return theirs.every((one) => mine.some((other) => same(one, other)))
}

function actions(constraint: cedar.ActionConstraint): readonly cedar.TypeAndId[] {
  if (constraint.op === 'All') return []
  if ('entities' in constraint) return constraint.entities.map(plain)
  return 'entity' in constraint ? [plain(constraint.entity)] : []
}

const plain = (entity: cedar.EntityUidJson): cedar.TypeAndId => ('__entity' in entity ? entity.__entity : entity)
const same = (a: unknown, b: unknown): boolean => JSON.stringify(a) === JSON.stringify(b)

/** The conditions of a policy as texts that can be compared. */
export function conditionsOf(policy: Policy): readonly string[] {
  return policy.json.conditions.map((condition) => JSON.stringify(condition)).sort()
}
