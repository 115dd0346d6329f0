import type * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import type { Policy } from './policy-set.ts'

/** The part of a request that scopes are compared with. */
export interface ScopeOfRequest {
  /** Undefined where it is not known; then none is left out for it. */
  readonly principal: cedar.TypeAndId | undefined
  readonly action: cedar.TypeAndId
  readonly resource: cedar.TypeAndId
}

interface Scoped {
  readonly number: number
  readonly policy: Policy
}

const key = (uid: cedar.TypeAndId): string => `${uid.type}::${JSON.stringify(uid.id)}`

/**
 * Finds the policies whose scope could match a request. A policy is left out only when its scope cannot match: it names
 * another action by `==`, another principal or resource by `==`, or another entity type by `is`. Anything
 * through `in` is kept, since only the entity graph decides it.
 *
 * Leaving out is sound because Cedar evaluates each policy by itself: one whose scope is false contributes neither a
 * decision nor an error.
 */
export class PolicySlicer {
  /** Policies bound to one resource by `==`, and the others, each by action where one is named. */
  readonly #byResource = new Map<string, Scoped[]>()
  readonly #byAction = new Map<string, Scoped[]>()
  readonly #general: Scoped[] = []

  constructor(policies: readonly Policy[]) {
    policies.forEach((policy, number) => {
      const scoped = { number, policy }
      const resource = equalTo(policy.json.resource)
      if (resource !== undefined) return push(this.#byResource, key(resource), scoped)
      const actions = actionsOf(policy.json.action)
      if (actions === undefined) this.#general.push(scoped)
      else for (const action of actions) push(this.#byAction, key(action), scoped)
    })
  }

  /** In the order of the set. */
  slice(request: ScopeOfRequest): readonly Policy[] {
    const candidates = [...(this.#byResource.get(key(request.resource)) ?? []), ...(this.#byAction.get(key(request.action)) ?? []), ...this.#general]
    return candidates
      .filter(({ policy }) => couldMatch(policy.json, request))
      .sort((a, b) => a.number - b.number)
      .map(({ policy }) => policy)
  }
}

function push(map: Map<string, Scoped[]>, at: string, scoped: Scoped): void {
  const list = map.get(at)
  if (list === undefined) map.set(at, [scoped])
  else list.push(scoped)
}

function couldMatch(policy: cedar.PolicyJson, request: ScopeOfRequest): boolean {
  return couldBe(policy.principal, request.principal) && couldBe(policy.resource, request.resource) && couldAct(policy.action, request.action)
}

function couldBe(constraint: cedar.PrincipalConstraint | cedar.ResourceConstraint, uid: cedar.TypeAndId | undefined): boolean {
  if (uid === undefined) return true
  switch (constraint.op) {
    case 'All':
    case 'in':
      return true
    case '==': {
      const wanted = equalTo(constraint)
      return wanted === undefined || (wanted.type === uid.type && wanted.id === uid.id)
    }
    case 'is':
      return constraint.entity_type === uid.type
  }
}

function couldAct(constraint: cedar.ActionConstraint, action: cedar.TypeAndId): boolean {
  const actions = actionsOf(constraint)
  return actions === undefined || actions.some((a) => a.type === action.type && a.id === action.id)
}

/** The only actions that a scope can match, or undefined when that cannot be told without the action hierarchy. */
function actionsOf(constraint: cedar.ActionConstraint): readonly cedar.TypeAndId[] | undefined {
  return constraint.op === '==' && 'entity' in constraint ? [plain(constraint.entity)] : undefined
}

function equalTo(constraint: cedar.PrincipalConstraint | cedar.ResourceConstraint): cedar.TypeAndId | undefined {
  return constraint.op === '==' && 'entity' in constraint ? plain(constraint.entity) : undefined
}

function plain(uid: cedar.EntityUidJson): cedar.TypeAndId {
  return '__entity' in uid ? uid.__entity : uid
}
