import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { type DenialCode, JSON_LIMITS } from '@sealwrit/protocol'
import { MAX_STEPS, stepsOf, sumOf, type Weight } from './bounds.ts'
import { type CedarRequest, type ArgumentTypes, MAX_POLICY_STRING, type Sees } from './mapping.ts'
import { Permissible } from './permissible.ts'
import type { Policy, PolicySet } from './policy-set.ts'
import { type Reads, readsOf } from './reads.ts'
import { argumentTypes } from './schema.ts'
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
  /** Members of the arguments that nothing may keep: of every policy whose scope could match, whatever it said. */
  readonly redact: Redactions
}

/** Each as the names on the way to it. */
export type Redactions = readonly (readonly string[])[]

interface Slice {
  readonly name: string
  readonly policies: readonly Policy[]
  readonly byId: ReadonlyMap<string, Policy>
  readonly reads: Reads
  readonly redact: Redactions
  readonly weight: Weight
}

/**
 * Engines that hold parsed texts at the same time. Cedar keys them by name and parses over what has the name already, so each
 * name has one owner; whoever lost it parses anew before it is asked again. Evaluation is synchronous: nothing comes in between.
 */
const MAX_OWNERS = 8
const owners: (PolicyEngine | undefined)[] = Array.from({ length: MAX_OWNERS })
/** Least recently used first. */
const slots: number[] = Array.from({ length: MAX_OWNERS }, (_, i) => i)

/**
 * Evaluates requests against one immutable policy set: scopes are sliced before Cedar is asked, slices are parsed once,
 * and an answer is kept for requests that are equal in everything that the policies of their slice read.
 */
export class PolicyEngine {
  readonly set: PolicySet
  readonly argumentTypes: ArgumentTypes
  readonly sees: Sees
  readonly #slicer: PolicySlicer
  #slot = -1
  readonly #all: Redactions
  readonly #slices = new Map<string, Slice>()
  readonly #freeNames: string[] = []
  readonly #answers = new Map<string, Answer>()
  readonly #keepAnswers: boolean
  #names = 0
  #permissible: Permissible | undefined

  /** @param options.keepAnswers false evaluates every request anew; for measuring */
  constructor(set: PolicySet, options: { readonly keepAnswers: boolean } = { keepAnswers: true }) {
    this.set = set
    this.argumentTypes = argumentTypes(set.schema)
    this.sees = set.sees
    this.#slicer = new PolicySlicer(set.policies)
    this.#keepAnswers = options.keepAnswers
    this.#all = set.policies.flatMap(({ obligations }) => obligations.redact)
  }

  /** What must be redacted where nobody knows which policies would have been asked. */
  get redactions(): Redactions {
    return this.#all
  }

  /** Takes the name that was not used for the longest time, and forgets what was parsed under the former one. */
  #own(): void {
    if (owners[this.#slot] === this) {
      if (slots.at(-1) !== this.#slot) slots.push(...slots.splice(slots.indexOf(this.#slot), 1))
      return
    }
    this.#slot = slots.shift() as number
    slots.push(this.#slot)
    owners[this.#slot] = this
    this.#slices.clear()
    this.#freeNames.length = 0
    this.#names = 0
    const parsed = cedar.preparseSchema(this.#schemaName, this.set.schema)
    if (parsed.type === 'failure') throw new Error('the schema was validated and cannot be parsed')
  }

  /** What could be permitted under this set at all. */
  get permissible(): Permissible {
    return (this.#permissible ??= new Permissible(this.set, this.#slicer))
  }

  get #schemaName(): string {
    return `schema-${this.#slot}`
  }

  evaluate(request: CedarRequest): Answer {
    this.#own()
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
    const { redact } = slice
    if (isTooMuch(slice.weight, request)) return { decision: 'policy_timeout', determining: [], errors: ['these policies could take longer for these arguments than a decision may'], redact }
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
      return { decision: 'policy_error', determining: [], errors: [error instanceof Error ? error.message : 'Cedar threw'], redact }
    }
    if (answer.type === 'failure') return { decision: 'policy_error', determining: [], errors: answer.errors.map((e) => e.message), redact }
    const { decision, diagnostics } = answer.response
    const reasons = new Set(diagnostics.reason)
    const determining = slice.policies.filter(({ id }) => reasons.has(id))
    // Cedar skips a policy that errs, so an erring forbid would let a permit win: any error denies (ATK-058).
    if (diagnostics.errors.length > 0) {
      return { decision: 'policy_error', determining, errors: diagnostics.errors.map((e) => `${e.policyId}: ${e.error.message}`), redact }
    }
    if (decision === 'allow') return { decision: 'permit', determining, errors: [], redact }
    return { decision: determining.length > 0 ? 'policy_denied' : 'policy_no_match', determining, errors: [], redact }
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
    const slice = { name: this.#takeName(), policies, byId: new Map(policies.map((p) => [p.id, p])), reads: readsOf(policies), redact: policies.flatMap(({ obligations }) => obligations.redact), weight: sumOf(policies.map(({ weight }) => weight)) }
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

/** Whether an evaluation could go beyond what one may cost. The lengths are looked at only where the weight leaves a doubt. */
function isTooMuch(weight: Weight, request: CedarRequest): boolean {
  if (stepsOf(weight, MAX_POLICY_STRING, JSON_LIMITS.maxBytes) <= MAX_STEPS) return false
  let [longest, inSets] = [0, 0]
  const { delegates } = request.context['lineage'] as { delegates?: cedar.Context }
  for (const value of [...Object.values(request.context['args'] as cedar.Context), delegates?.['scopes']]) {
    if (typeof value === 'string') longest = Math.max(longest, value.length)
    if (!Array.isArray(value)) continue
    for (const item of value as readonly string[]) { // the mapping lets no other sets through
      longest = Math.max(longest, item.length)
      inSets += item.length + 1
    }
  }
  return stepsOf(weight, longest, inSets) > MAX_STEPS
}
