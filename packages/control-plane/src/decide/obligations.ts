import {
  type AssuranceLevel, type Budget, BUDGET_SCOPES, ENVIRONMENT_LEVELS, type EnvironmentFact, type EnvironmentFacts, type EnvironmentLevel, isEnvironmentFact, isGroup, MAX_BUDGET_COUNT, MAX_BUDGET_SECONDS, MAX_GROUPS,
  MAX_QUORUM, quoted, RISKS, type Risk,
} from '@sealwrit/protocol'

/** What `@approval("group:secops quorum:2 timeout:10m")` demands: distinct persons, each in one of the groups. */
export interface ApprovalObligation {
  readonly groups: readonly string[]
  readonly quorum: number
  readonly timeoutSeconds: number
}

/** What `@environment("level:signed fact:git_commit")` demands: at least that level, and that these facts are told. */
export interface EnvironmentObligation {
  readonly level: EnvironmentLevel
  readonly facts: readonly EnvironmentFact[]
}

/** What a policy demands of an execution that it permits. */
export interface Obligations {
  /** A permit with it is a hold. */
  readonly approval: ApprovalObligation | undefined
  readonly environment: EnvironmentObligation | undefined
  readonly leaseSeconds: number | undefined
  readonly maxRuntimeSeconds: number | undefined
  readonly risk: Risk | undefined
  /** What an execution must reach; of several the highest. */
  readonly assurance: AssuranceLevel | undefined
  /** How many permits it may determine in a time. */
  readonly budget: Omit<Budget, 'policy'> | undefined
  /** Members of the arguments that the plane keeps nowhere, each as the names on the way to it. */
  readonly redact: readonly (readonly string[])[]
}

const DOCUMENTATION = new Set(['id', 'description', 'hint', 'reason'])
/** Known to the design, enforced by no gate of this version: a policy that carries one must not be half obeyed. */
const LATER = new Set(['sandbox'])

/**
 * Reads the annotations of one policy.
 * @throws {Error} for an unknown annotation or value, and for an obligation that no gate enforces yet
 */
export function parseAnnotations(annotations: Readonly<Record<string, string | null>>): Obligations {
  let approval: ApprovalObligation | undefined
  let environment: EnvironmentObligation | undefined
  let leaseSeconds: number | undefined
  let maxRuntimeSeconds: number | undefined
  let risk: Risk | undefined
  let assurance: AssuranceLevel | undefined
  let budget: Obligations['budget']
  let redact: readonly (readonly string[])[] = []
  for (const [name, given] of Object.entries(annotations)) {
    const value = given ?? ''
    if (DOCUMENTATION.has(name)) continue
    if (LATER.has(name)) throw new Error(`@${name} is not enforced by any gate of this version, and a policy is never half obeyed; remove it`)
    else if (name === 'approval') approval = readApproval(value)
    else if (name === 'environment') environment = readEnvironment(value)
    else if (name === 'lease') leaseSeconds = seconds(name, value)
    else if (name === 'max_runtime') maxRuntimeSeconds = seconds(name, value)
    else if (name === 'redact') redact = redactions(value)
    else if (name === 'assurance') assurance = readAssurance(value)
    else if (name === 'budget') budget = readBudget(value)
    else if (name === 'risk') {
      risk = RISKS.find((r) => r === value)
      if (risk === undefined) throw new Error(`@risk is one of ${RISKS.join(', ')}`)
    } else throw new Error(`unknown annotation @${name}`)
  }
  return { approval, environment, leaseSeconds, maxRuntimeSeconds, risk, assurance, budget, redact }
}

/** Below these there is nothing to demand: a gate runs nothing that reaches less. */
const DEMANDABLE = ['A3', 'A4', 'A5'] as const

function readAssurance(value: string): AssuranceLevel {
  const level = DEMANDABLE.find((one) => one === value)
  if (level === undefined) throw new Error(`@assurance is one of ${DEMANDABLE.join(', ')}, not ${quoted(value)}`)
  return level
}

/** `100/1h`, or `100/1h per:agent`: of a principal, who is always known, unless another is named. */
function readBudget(value: string): Obligations['budget'] {
  const [, count = '', time = '', scope = 'principal'] = /^([1-9]\d{0,4})\/(\d{1,7}[smhd])(?: per:([a-z]{1,9}))?$/.exec(value) ?? []
  const per = BUDGET_SCOPES.find((known) => known === scope)
  if (count === '' || Number(count) > MAX_BUDGET_COUNT || per === undefined) throw new Error(`@budget takes a count up to ${MAX_BUDGET_COUNT} and a time, and whom it counts together, such as "100/1h" or "20/1m per:agent" (${BUDGET_SCOPES.join(', ')}), not ${quoted(value)}`)
  return { count: Number(count), seconds: seconds('budget', time, MAX_BUDGET_SECONDS), per }
}

/** Members that one policy may have redacted, and names on the way to one. */
const MAX_REDACTIONS = 32
const MAX_REDACTED_DEPTH = 8

/** `args.password args.login.token input_responses request_state`: what is named is left out of everything that the plane keeps. */
function redactions(value: string): readonly (readonly string[])[] {
  const paths = value.split(' ').map((text) => text.split('.'))
  const isPath = ([first, ...rest]: readonly string[]): boolean => rest.length === 0 ? first === 'input_responses' || first === 'request_state' : first === 'args' && rest.length <= MAX_REDACTED_DEPTH && rest.every((name) => /^[\w-]{1,128}$/.test(name))
  if (paths.length > MAX_REDACTIONS || !paths.every(isPath)) throw new Error(`@redact takes arguments such as "args.password args.login.token", input_responses and request_state, not ${quoted(value)}`)
  return paths
}

/** A hold that nobody approved is refused after this long, in seconds, when its policy says nothing else. */
export const DEFAULT_TIMEOUT_SECONDS = 600

function readApproval(value: string): ApprovalObligation {
  const groups: string[] = []
  let quorum: number | undefined
  let timeoutSeconds: number | undefined
  for (const part of value.split(' ')) {
    const at = part.indexOf(':')
    const [name, text] = [part.slice(0, at), part.slice(at + 1)]
    if (name === 'group' && isGroup(text) && !groups.includes(text) && groups.length < MAX_GROUPS) groups.push(text)
    else if (name === 'quorum' && quorum === undefined && /^[1-9]\d?$/.test(text) && Number(text) <= MAX_QUORUM) quorum = Number(text)
    else if (name === 'timeout' && timeoutSeconds === undefined) timeoutSeconds = seconds('approval timeout', text)
    else throw new Error(`@approval takes "group:NAME… quorum:N timeout:DURATION", each part once but groups, not ${quoted(part)}`)
  }
  if (groups.length === 0) throw new Error('@approval names no group')
  return { groups, quorum: quorum ?? 1, timeoutSeconds: timeoutSeconds ?? DEFAULT_TIMEOUT_SECONDS }
}

function readEnvironment(value: string): EnvironmentObligation {
  let level: EnvironmentLevel | undefined
  const facts: EnvironmentFact[] = []
  for (const part of value.split(' ')) {
    const at = part.indexOf(':')
    const [name, text] = [part.slice(0, at), part.slice(at + 1)]
    const found = ENVIRONMENT_LEVELS.find((one) => one === text)
    if (name === 'level' && level === undefined && found !== undefined && found !== 'none') level = found
    else if (name === 'fact' && isEnvironmentFact(text) && !facts.includes(text)) facts.push(text)
    else throw new Error(`@environment takes "level:software|signed|hardware fact:NAME…", each part once, not ${quoted(part)}`)
  }
  return { level: level ?? 'software', facts }
}

/** What of a demand the environment lacks: a level that is weaker, facts that are not told. */
export function unattested(demand: EnvironmentObligation | undefined, { level, ...facts }: { readonly level: EnvironmentLevel } & EnvironmentFacts): readonly string[] {
  if (demand === undefined) return []
  const isWeaker = ENVIRONMENT_LEVELS.indexOf(level) < ENVIRONMENT_LEVELS.indexOf(demand.level)
  return [...(isWeaker ? [`level ${demand.level}`] : []), ...demand.facts.filter((fact) => facts[fact] === undefined)]
}

/**
 * What several policies demand at once: whoever is in a group of each, as many as the highest quorum, in the shortest time. That
 * satisfies every one of them; undefined where nobody could.
 */
export function combined(demands: readonly ApprovalObligation[]): ApprovalObligation | undefined {
  const [first, ...others] = demands
  if (first === undefined) return undefined
  const groups = first.groups.filter((group) => others.every((other) => other.groups.includes(group)))
  if (groups.length === 0) return undefined
  return { groups, quorum: Math.max(...demands.map(({ quorum }) => quorum)), timeoutSeconds: Math.min(...demands.map(({ timeoutSeconds }) => timeoutSeconds)) }
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 }
const MAX_SECONDS = 86_400

function seconds(name: string, value: string, most: number = MAX_SECONDS): number {
  const count = Number(value.slice(0, -1))
  const unit = UNITS[value.slice(-1)]
  if (unit === undefined || value.length > 7 || !Number.isInteger(count) || count <= 0 || count * unit > most) {
    throw new Error(`@${name} takes a duration such as "30s", "5m" or "1h", not ${quoted(value)}`)
  }
  return count * unit
}
