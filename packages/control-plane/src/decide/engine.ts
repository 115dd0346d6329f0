import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import type { DenialCode } from '@sealwrit/protocol'
import { type CedarRequest, type ArgumentTypes } from './mapping.ts'
import type { Policy, PolicySet } from './policy-set.ts'
import { type Reads, readsOf } from './reads.ts'
import { argumentTypes, declaresIdentity } from './schema.ts'
import { PolicySlicer } from './slice.ts'

/** Preparsed slices kept: Cedar never frees one, so names are reused. */
const MAX_SLICES = 512
/** Answers kept for requests that are the same in everything their policies read. */
const MAX_ANSWERS = 8_192
/** Longest key of a kept answer, in UTF-16 units. */
const MAX_KEY = 2_048

/** What Cedar said, with any doubt turned into a denial. */
export interface Answer {
  readonly decision: 'permit' | DenialCode
  /** The policies that determined it, in the order of the set. */
  readonly determining: readonly Policy[]
  /** Errors of evaluation; any of them denies. */
  readonly errors: readonly string[]
}

interface Slice {
  readonly name: string
  readonly policies: readonly Policy[]
  readonly byId: ReadonlyMap<string, Policy>
  readonly reads: Reads
}

let engines = 0

/**
 * Evaluates requests against one immutable policy set: scopes are sliced before Cedar is asked, slices are parsed once,
 * and an answer is kept for requests that are equal in everything that the policies of their slice read.
 */
export class PolicyEngine {
  readonly set: PolicySet
  readonly argumentTypes: ArgumentTypes
  /** Whether the schema declares `context.identity`. */
  readonly seesIdentity: boolean
  readonly #slicer: PolicySlicer
  readonly #schemaName: string
  readonly #slices = new Map<string, Slice>()
  readonly #freeNames: string[] = []
  readonly #answers = new Map<string, Answer>()
  readonly #keepAnswers: boolean
  #names = 0

  /** @param options.keepAnswers false evaluates every request anew; for measuring */
  constructor(set: PolicySet, options: { readonly keepAnswers: boolean } = { keepAnswers: true }) {
    this.set = set
    this.argumentTypes = argumentTypes(set.schema)
    this.seesIdentity = declaresIdentity(set.schema)
    this.#slicer = new PolicySlicer(set.policies)
    this.#keepAnswers = options.keepAnswers
    this.#schemaName = `schema-${engines++ % 8}`
    const parsed = cedar.preparseSchema(this.#schemaName, set.schema)
    if (parsed.type === 'failure') throw new Error('the schema was validated and cannot be parsed')
  }

  evaluate(request: CedarRequest): Answer {
    const slice = this.#slice(request)
    if (!this.#keepAnswers) return this.#ask(request, slice)
    const key = answerKey(request, slice.reads)
    if (key === undefined) return this.#ask(request, slice)
    const known = this.#answers.get(key)
    if (known !== undefined) return known
    const answer = this.#ask(request, slice)
    if (this.#answers.size >= MAX_ANSWERS) this.#answers.delete(this.#answers.keys().next().value as string)
    this.#answers.set(key, answer)
    return answer
  }

  #ask(request: CedarRequest, slice: Slice): Answer {
    let answer: cedar.AuthorizationAnswer
    try {
      const { principal, action, resource, context, entities } = request
      answer = cedar.statefulIsAuthorized({
        principal,
        action,
        resource,
        context,
        entities,
        preparsedSchemaName: this.#schemaName,
        validateRequest: true,
        preparsedPolicySetId: slice.name,
      })
    } catch (error) {
      return { decision: 'policy_error', determining: [], errors: [error instanceof Error ? error.message : 'Cedar threw'] }
    }
    if (answer.type === 'failure') return { decision: 'policy_error', determining: [], errors: answer.errors.map((e) => e.message) }
    const { decision, diagnostics } = answer.response
    const reasons = new Set(diagnostics.reason)
    const determining = slice.policies.filter(({ id }) => reasons.has(id))
    // Cedar skips a policy that errs, so an erring forbid would let a permit win: any error denies (ATK-058).
    if (diagnostics.errors.length > 0) {
      return { decision: 'policy_error', determining, errors: diagnostics.errors.map((e) => `${e.policyId}: ${e.error.message}`) }
    }
    if (decision === 'allow') return { decision: 'permit', determining, errors: [] }
    return { decision: determining.length > 0 ? 'policy_denied' : 'policy_no_match', determining, errors: [] }
  }

  #slice(request: CedarRequest): Slice {
    const key = JSON.stringify([request.principal, request.action, request.resource])
    const known = this.#slices.get(key)
    if (known !== undefined) {
      this.#slices.delete(key) // most recently used last
      this.#slices.set(key, known)
      return known
    }
    const policies = this.#slicer.slice(request)
    const slice = { name: this.#takeName(), policies, byId: new Map(policies.map((p) => [p.id, p])), reads: readsOf(policies) }
    const staticPolicies = Object.fromEntries(policies.map(({ id, text }) => [id, text]))
    const parsed = cedar.preparsePolicySet(slice.name, { staticPolicies })
    if (parsed.type === 'failure') throw new Error('policies were validated and cannot be parsed')
    this.#slices.set(key, slice)
    return slice
  }

  #takeName(): string {
    if (this.#slices.size >= MAX_SLICES) {
      const [oldest, slice] = this.#slices.entries().next().value as [string, Slice]
      this.#slices.delete(oldest)
      this.#freeNames.push(slice.name)
    }
    return this.#freeNames.pop() ?? `${this.#schemaName}-slice-${this.#names++}`
  }
}

/** The request as far as its policies read it; undefined when that is too long to keep. */
function answerKey(request: CedarRequest, reads: Reads): string | undefined {
  const { principal, action, resource, context, entities } = request
  const seen = reads.all ? context : { ...context, args: pick(context['args'] as cedar.Context, reads.args) }
  const key = JSON.stringify([principal, action, resource, seen, entities])
  return key.length > MAX_KEY ? undefined : key
}

function pick(args: cedar.Context, names: ReadonlySet<string>): cedar.Context {
  const out: cedar.Context = {}
  for (const name of names) if (args[name] !== undefined) out[name] = args[name]
  return out
}
