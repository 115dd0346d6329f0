import type { Scope } from '@sealwrit/protocol'
import { resourceOf } from './mapping.ts'
import { type Entity, FALSE, known, type Outcome, outcomeOf, SOME_BOOLEAN, SOME_VALUE, type Supposition, TRUE } from './partial.ts'
import type { PolicySet } from './policy-set.ts'
import { appliesTo, type Applies } from './schema.ts'
import type { PolicySlicer } from './slice.ts'

/** Steps that one question may cost, of about 50 ns each; what would need more is shown. */
export const MAX_PERMISSIBLE_STEPS = 400_000
/** Answers kept of one policy set. */
export const MAX_PERMISSIBLE_KEPT = 16_384

/** What is known of who will ask; what is not given may be anything. */
export interface Supposed {
  /** The agent's name. */
  readonly name?: string | undefined
  readonly verified?: boolean | undefined
  /** The principal. */
  readonly sub?: string | undefined
}

/**
 * Says of what could be asked for whether some request for it could be permitted. It errs towards yes: a no is certain, whatever the arguments,
 * the facts and the rest of the context will be. So it may hide what nobody could be permitted, and decides nothing.
 */
export class Permissible {
  readonly #set: PolicySet
  readonly #slicer: PolicySlicer
  readonly #applies: ReadonlyMap<string, Applies>
  /** Least recently used first. */
  readonly #answers = new Map<string, boolean>()

  constructor(set: PolicySet, slicer: PolicySlicer) {
    this.#set = set
    this.#slicer = slicer
    this.#applies = appliesTo(set.schema)
  }

  /** In the order of `scopes`. */
  of(scopes: readonly Scope[], who: Supposed): boolean[] {
    const budget = { left: MAX_PERMISSIBLE_STEPS }
    return scopes.map((scope) => {
      const key = JSON.stringify([who.name ?? null, who.verified ?? null, who.sub ?? null, scope.type, scope.target, scope.name])
      const kept = this.#answers.get(key)
      if (kept !== undefined) this.#answers.delete(key)
      const answer = kept ?? (budget.left <= 0 || this.#could(scope, who, budget))
      if (budget.left > 0) this.#keep(key, answer) // one that was given up is not kept
      return answer
    })
  }

  #keep(key: string, answer: boolean): void {
    if (this.#answers.size >= MAX_PERMISSIBLE_KEPT) this.#answers.delete(this.#answers.keys().next().value as string)
    this.#answers.set(key, answer)
  }

  #could(scope: Scope, who: Supposed, budget: { left: number }): boolean {
    const [server, resource] = [{ type: 'Server', id: scope.target }, resourceOf(scope)]
    const action = this.#applies.get(scope.type)
    // The engine refuses a request that the schema does not have.
    if (action?.principals.has(AGENT) !== true || !action.resources.has(resource.type)) return false
    const principal: Entity = { type: AGENT, id: who.name }
    const supposed: Supposition = {
      principal,
      principalAttributes: { user: who.sub === undefined ? SOME_VALUE : known({ type: 'User', id: who.sub }), verified: who.verified === undefined ? SOME_BOOLEAN : known(who.verified) } satisfies Record<string, Outcome>,
      action: { type: 'Action', id: scope.type },
      isGrouped: action.isGrouped,
      resource,
      resourceAttributes: { name: known(scope.name), server: known(server) },
      server,
    }
    budget.left -= this.#set.policies.length / STEPS_TO_SLICE
    let isPermitted = false
    for (const { json } of this.#slicer.slice({ principal: who.name === undefined ? undefined : { type: AGENT, id: who.name }, action: { type: 'Action', id: scope.type }, resource })) {
      budget.left--
      const can = outcomeOf(json, supposed, budget)
      if (budget.left <= 0) return true
      // It applies, or it is an error, which denies too.
      if (json.effect === 'forbid' && (can & FALSE) === 0) return false
      isPermitted ||= json.effect === 'permit' && (can & TRUE) !== 0
    }
    return isPermitted
  }
}

const AGENT = 'Agent'
/** Policies that are left out in about the time of one step. */
const STEPS_TO_SLICE = 4
