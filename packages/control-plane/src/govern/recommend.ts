import type * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { type JsonObject, type JsonValue, type Sha256 } from '@sealwrit/protocol'
import { parseCases, runCases } from '../decide/cases.ts'
import { decide } from '../decide/decide.ts'
import { PolicyEngine } from '../decide/engine.ts'
import { type ArgumentTypes, type CedarRequest, type DecisionInput, PURPOSE, toCedar } from '../decide/mapping.ts'
import { loadPolicySet, PolicyError, SCHEMA_FILE } from '../decide/policy-set.ts'
import { argumentTypes, seenBy } from '../decide/schema.ts'

/** Policies of one draft. */
export const MAX_DRAFTED = 1_000
/** The file that a draft is meant for. */
export const DRAFT_FILE = 'recommended.cedar'

export interface Recommendation {
  readonly text: string
  /** Cases as a `*.test.yaml` holds them. */
  readonly cases: readonly JsonObject[]
  readonly policies: number
  /** Requests that no policy may name, as by hidden characters in the name of a tool. */
  readonly skipped: number
}

interface Group {
  readonly input: DecisionInput
  readonly request: CedarRequest
  count: number
}

/**
 * Drafts policies that permit what `inputs` asked for and nothing beyond what policies can tell apart: exact agent, action and
 * resource, the same path facts, environment and set of declared arguments; with `exact`, the same values too. The draft is
 * loaded and its cases are run before it is returned.
 * @throws {PolicyError} when there is nothing to draft, too much, or the draft does not hold what it promises
 */
export function recommendPolicies(inputs: readonly DecisionInput[], schema: string, exact: boolean, sha256: Sha256): Recommendation {
  const types = argumentTypes(schema)
  const sees = seenBy(schema)
  const groups = new Map<string, Group>()
  for (const input of inputs) {
    const request = toCedar({ ...input, intent: undefined }, types, sees)
    const key = JSON.stringify(conditionsFor(input, request, types, exact).concat(scopeFor(request)))
    const known = groups.get(key)
    if (known !== undefined) known.count++
    else if (groups.size >= MAX_DRAFTED) throw new PolicyError(`more than ${MAX_DRAFTED} policies would be needed; narrow it with --agent or --since, or leave out --exact`)
    else groups.set(key, { input, request, count: 1 })
  }
  if (groups.size === 0) throw new PolicyError('no recorded request matches: nothing to recommend')
  const nameable = [...groups.values()].filter((group) => isNameable(draft(group, 1, types, exact), schema, sha256))
  if (nameable.length === 0) throw new PolicyError('what was asked for has names that no policy may hold')
  const text = nameable.map((group, i) => draft(group, i + 1, types, exact)).join('\n')
  const cases = nameable.flatMap((group, i) => casesFor(group, i + 1))
  const engine = new PolicyEngine(loadPolicySet({ [DRAFT_FILE]: text, [SCHEMA_FILE]: schema }, sha256))
  const skipped = [...groups.values()].filter((group) => !nameable.includes(group)).reduce((sum, group) => sum + group.count, 0)
  const refused = inputs.filter((input) => decide(input, { engine, epoch: 0 }).kind !== 'permit').length - skipped
  const failed = runCases(parseCases(cases as unknown as JsonValue, 'draft'), engine).filter(({ failures }) => failures.length > 0)
  if (refused > 0 || failed.length > 0) throw new PolicyError(`the draft does not hold: ${refused} recorded requests are refused, ${failed.length} of its cases fail (${failed[0]?.name ?? ''}: ${failed[0]?.failures.join('; ') ?? ''})`)
  return { text, cases, policies: nameable.length, skipped }
}

/** One name with hidden characters must not keep the others from being drafted. */
function isNameable(text: string, schema: string, sha256: Sha256): boolean {
  try {
    loadPolicySet({ [DRAFT_FILE]: text, [SCHEMA_FILE]: schema }, sha256)
    return true
  } catch (error) {
    if (error instanceof PolicyError) return false
    throw error
  }
}

function scopeFor({ principal, action, resource }: CedarRequest): string[] {
  return [`principal == ${uid(principal)}`, `action == ${uid(action)}`, `resource == ${uid(resource)}`]
}

function conditionsFor(input: DecisionInput, { context }: CedarRequest, types: ArgumentTypes, exact: boolean): string[] {
  const args = context['args'] as Record<string, cedar.CedarValueJson>
  const call = context['call'] as Record<string, cedar.CedarValueJson> | undefined
  const declared = [...types.keys()].sort().flatMap((name) => {
    const at = `context.args has ${literal(name)}`
    const value = args[name]
    if (value === undefined) return `!(${at})`
    const member = `context.args[${literal(name)}]`
    if (!exact) return at
    return Array.isArray(value) && value.length === 0 ? `${at} && ${member}.isEmpty()` : `${at} && ${member} == ${cedarValue(value)}`
  })
  return [
    input.agent.verified ? 'principal.verified' : '!principal.verified',
    `context.environment.level == ${literal(input.environment.level)}`,
    `context.facts.paths == ${literal(input.facts.paths)}`,
    ...(input.intent === undefined ? [] : [`context has intent && context.intent == ${uid({ type: PURPOSE, id: input.intent })}`]),
    ...Object.entries(call ?? {}).map(([name, value]) => `${value === true ? '' : '!'}context.call.${name}`),
    ...declared,
  ]
}

function draft({ input, request, count }: Group, number: number, types: ArgumentTypes, exact: boolean): string {
  return [
    `// Asked for ${count} ${count === 1 ? 'time' : 'times'}.`,
    `@id("recommended-${number}")`,
    `permit (\n  ${scopeFor(request).join(',\n  ')}\n)`,
    `when {\n  ${conditionsFor(input, request, types, exact).join(' &&\n  ')}\n};`,
    '',
  ].join('\n')
}

function casesFor({ input }: Group, number: number): JsonObject[] {
  const { action, agent, facts, environment, intent } = input
  const { tool_digest: _, ...asked } = action as unknown as JsonObject
  const one = { agent: agent.name, verified: agent.verified, environment: environment.level, facts: { paths: facts.paths } as JsonObject, ...(intent === undefined ? {} : { intent }) }
  const name = `recommended-${number}`
  return [
    { name: `${name}: what was asked is permitted`, ...one, action: asked, expect: 'permit', determining: [`recommended/${name}`] },
    { name: `${name}: no other agent`, ...one, agent: `not-${agent.name}`.slice(0, 128), action: asked, expect: 'policy_no_match' },
    { name: `${name}: no other target`, ...one, action: { ...asked, target: `${action.target}-other` }, expect: 'policy_no_match' },
  ]
}

const uid = ({ type, id }: cedar.TypeAndId): string => `${type}::${literal(id)}`

function cedarValue(value: cedar.CedarValueJson): string {
  if (Array.isArray(value)) return `[${value.map(cedarValue).join(', ')}]`
  return typeof value === 'string' ? literal(value) : JSON.stringify(value)
}

/** A string as Cedar reads it: what is no plain ASCII is escaped, so that no stranger's text ends it (I7). */
function literal(text: string): string {
  let out = ''
  for (const c of text) {
    const code = c.codePointAt(0) as number
    out += c === '"' || c === '\\' ? `\\${c}` : code >= 0x20 && code < 0x7f ? c : `\\u{${code.toString(16)}}`
  }
  return `"${out}"`
}
