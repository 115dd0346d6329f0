import { ENVIRONMENT_LEVELS, type EnvironmentLevel, Fields, isObject, type JsonObject, type JsonValue, parseAction, parseFacts, parseLevelAndFacts, readIntent, present, canonicalText } from '@sealwrit/protocol'
import { decide } from './decide.ts'
import type { PolicyEngine } from './engine.ts'
import type { DecisionInput } from './mapping.ts'
import { readIdentity, readLineage } from './replay.ts'
import { verdict } from './shadow.ts'

/** Cases of one policy set. */
export const MAX_CASES = 10_000

/** A request and what must be decided about it. Only what is expected is compared. */
export interface PolicyCase {
  readonly name: string
  readonly input: DecisionInput
  readonly expect: string
  readonly determining?: readonly string[]
  readonly risk?: string
  readonly obligations?: JsonObject
}

export interface CaseResult {
  readonly name: string
  /** What was expected and not found, one sentence each; none where it passed. */
  readonly failures: readonly string[]
  /** What was decided, whatever was expected. */
  readonly got: JsonObject
}

/** Of a tool call whose definition does not matter to policies. */
const ANY_TOOL = `sha256:${'0'.repeat(64)}`

/** Reads a list of cases. @param where names the file in messages @throws {Denied} `request_malformed` */
export function parseCases(value: JsonValue, where: string): readonly PolicyCase[] {
  if (!Array.isArray(value) || value.length > MAX_CASES) new Fields(undefined, 'request_malformed', `${where}: a list of at most ${MAX_CASES} cases`)
  return (value as readonly JsonValue[]).map((one, i) => parseCase(one, `${where}: case ${i + 1}`))
}

function parseCase(value: JsonValue, where: string): PolicyCase {
  const fields = new Fields(value, 'request_malformed', where)
  const given = fields.value('action')
  const action = isObject(given) && given['type'] === 'mcp.tool_call' && !('tool_digest' in given) ? { ...given, tool_digest: ANY_TOOL } : given
  const one = present<PolicyCase>({
    name: fields.text('name'),
    expect: fields.text('expect'),
    input: {
      action: parseAction(action),
      agent: { name: fields.optional('agent', (name) => fields.text(name)) ?? 'anyone', verified: fields.optional('verified', (name) => fields.boolean(name)) ?? false },
      sub: fields.optional('user', (name) => fields.text(name)) ?? 'user:test',
      environment: fields.optional('environment', () => readEnvironment(fields)) ?? { level: 'software' },
      intent: fields.optional('intent', (name) => readIntent(fields, name)),
      facts: fields.optional('facts', (name) => parseFacts(fields.object(name))) ?? { paths: 'none' },
      identity: fields.optional('identity', (name) => readIdentity(fields.object(name))),
      lineage: fields.optional('lineage', (name) => readLineage(fields.object(name))),
    },
    determining: fields.optional('determining', (name) => fields.strings(name, 1_000)),
    risk: fields.optional('risk', (name) => fields.text(name)),
    obligations: fields.optional('obligations', (name) => {
      const obligations = fields.value(name)
      if (!isObject(obligations)) fields.object(name)
      return obligations as JsonObject
    }),
  })
  fields.end()
  return one
}

/** A level alone, or a level with facts. */
function readEnvironment(fields: Fields): DecisionInput['environment'] {
  return isObject(fields.peek('environment')) ? parseLevelAndFacts(fields.object('environment')) : { level: fields.oneOf<EnvironmentLevel>('environment', ENVIRONMENT_LEVELS) }
}

export function runCases(cases: readonly PolicyCase[], engine: PolicyEngine): readonly CaseResult[] {
  return cases.map((one) => runCase(one, engine))
}

function runCase({ name, input, ...wanted }: PolicyCase, engine: PolicyEngine): CaseResult {
  const decision = decide(input, { engine, epoch: 0 })
  const got = { ...verdict(decision), ...(decision.errors.length === 0 ? {} : { errors: decision.errors }) } as JsonObject
  const answer = decision.kind === 'deny' ? decision.code : decision.kind
  const { determining } = decision.policy
  const by = determining.length === 0 ? 'no policy matched' : `decided by ${determining.join(', ')}`
  const failures: string[] = []
  const compare = (what: string, expected: JsonValue | undefined, found: JsonValue | undefined, because = ''): void => {
    if (expected === undefined || (found !== undefined && canonicalText(expected) === canonicalText(found))) return
    failures.push(`${what}: expected ${shown(expected)}, got ${found === undefined ? 'none' : shown(found)}${because}`)
  }
  compare('decision', wanted.expect, answer, ` (${by}${decision.errors.length === 0 ? '' : `; ${decision.errors.join('; ')}`})`)
  compare('determining', wanted.determining === undefined ? undefined : [...wanted.determining].sort(), [...determining].sort())
  compare('risk', wanted.risk, got['risk'] as JsonValue | undefined)
  const obligations = (got['obligations'] ?? {}) as JsonObject
  for (const [member, expected] of Object.entries(wanted.obligations ?? {})) compare(`obligation ${member}`, expected, obligations[member])
  return { name, failures, got }
}

const shown = (value: JsonValue): string => (typeof value === 'string' ? value : JSON.stringify(value))
