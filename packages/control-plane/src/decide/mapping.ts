import type * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { type Action, type Agent, besideArguments, Denied, type EnvironmentFact, type EnvironmentFacts, type EnvironmentLevel, type Facts, type JsonObject, type JsonValue, quoted, type Scope } from '@sealwrit/protocol'

/** Where a request stands, as policies see it. */
export interface Lineage {
  readonly depth: number
  /** `jti` of the root, and who asks it to do this with what; below a root. */
  readonly root?: string
  readonly parent?: { readonly agent: string; readonly tool: string }
  /** What others are to be able to do below it. */
  readonly delegates?: { readonly depth: number; readonly uses: number; readonly seconds: number; readonly scopes: readonly string[] }
}

/** Everything that a decision looks at. */
export interface DecisionInput {
  readonly action: Action
  readonly agent: Agent
  /** The principal, an opaque id. */
  readonly sub: string
  /** Where it would run, as far as it is told. */
  readonly environment: { readonly level: EnvironmentLevel } & EnvironmentFacts
  readonly facts: Facts
  /** Where it stands in its lineage, and what it wants to delegate; absent for a root that delegates nothing. */
  readonly lineage?: Lineage | undefined
  /** Another plane that has a part in it: it was delegated from there, or is to be delegated there. */
  readonly federation?: { readonly direction: 'from' | 'to'; readonly origin: string } | undefined
  /** The purpose that was declared. */
  readonly intent?: string | undefined
  /** Who vouches for agent or principal, where something was asserted and verified. */
  readonly identity?: { readonly form: string; readonly issuer: string; readonly claims: readonly string[] } | undefined
}

/** One Cedar request. */
export interface CedarRequest {
  readonly principal: cedar.TypeAndId
  readonly action: cedar.TypeAndId
  readonly resource: cedar.TypeAndId
  readonly context: cedar.Context
  readonly entities: cedar.Entities
}

/** Tool arguments that policies may read, by the type the schema gives them; others do not reach policy. */
export type ArgumentTypes = ReadonlyMap<string, 'String' | 'Long' | 'Boolean' | 'StringSet'>

/** What the schema lets policies see beside what all of them see; sets of policies from before it was there go on as they are. */
export interface Sees {
  readonly identity: boolean
  readonly federation: boolean
  /** More of `context.lineage` than its depth. */
  readonly lineage: boolean
  /** Whether a call carries more than its arguments, as `context.call`. */
  readonly call: boolean
  readonly environment: ReadonlySet<EnvironmentFact>
  /** Registered purposes; none where the schema declares no `context.intent`. */
  readonly purposes: ReadonlySet<string>
}
const SEES_NOTHING: Sees = { identity: false, federation: false, lineage: false, call: false, environment: new Set(), purposes: new Set() }

/** Longest string that reaches policy, in UTF-16 units: evaluation cost is bounded by what it looks at. */
export const MAX_POLICY_STRING = 8_192
const MAX_POLICY_SET = 1_000

/**
 * Maps an action to Cedar. The principal is the agent, its user an attribute; the resource is what the action names.
 * @throws {Denied} `policy_error` for an argument of another type than the schema declares, so that a policy on it can
 *   never be side-stepped by sending a list for a string
 */
export function toCedar(input: DecisionInput, types: ArgumentTypes, sees: Sees = SEES_NOTHING): CedarRequest {
  const { action, agent } = input
  const server: cedar.TypeAndId = { type: 'Server', id: action.target }
  const principal: cedar.TypeAndId = { type: 'Agent', id: agent.name }
  const resource = resourceOf(action)
  return {
    principal,
    action: { type: 'Action', id: action.type },
    resource,
    context: {
      args: readArguments(action.arguments as JsonObject, types),
      environment: readEnvironment(input.environment, sees),
      facts: { paths: input.facts.paths },
      lineage: sees.lineage ? copied(input.lineage) : { depth: input.lineage?.depth ?? 0 },
      ...(sees.call ? { call: callOf(action) } : {}),
      ...(input.intent === undefined ? {} : { intent: { __entity: { type: PURPOSE, id: readPurpose(input.intent, sees) } } }),
      // Only where there is one, and where the schema knows it.
      ...(input.federation === undefined || !sees.federation ? {} : { federation: { ...input.federation } }),
      ...(input.identity === undefined || !sees.identity ? {} : { identity: { ...input.identity, claims: [...input.identity.claims] } }),
    },
    // User and server have no attributes: being named is enough for `==` and `in`, and each entity costs its passage to Cedar.
    entities: [
      { uid: principal, attrs: { user: { __entity: { type: 'User', id: input.sub } }, verified: agent.verified }, parents: [] },
      { uid: resource, attrs: { name: action.name, server: { __entity: server } }, parents: [server] },
    ],
  }
}

/** The members of `context.call`: whether it brings answers to what the server asked for, and whether it is to run as a task. */
export const CALL_MEMBERS = ['input', 'task'] as const

function callOf(action: Action): Record<(typeof CALL_MEMBERS)[number], boolean> {
  const { input_responses, request_state, task } = besideArguments(action)
  return { input: input_responses !== undefined || request_state !== undefined, task: task !== undefined }
}

/** The entity type whose ids are the registered purposes. */
export const PURPOSE = 'Purpose'

/** @throws {Denied} `request_malformed` for a purpose that nobody registered: no policy could tell it from any other */
function readPurpose(intent: string, { purposes }: Sees): string {
  if (!purposes.has(intent)) throw new Denied('request_malformed', `${quoted(intent)} is no registered purpose${purposes.size === 0 ? '; this policy set registers none' : ` (${[...purposes].slice(0, 8).join(', ')})`}`)
  return intent
}

function readEnvironment({ level, ...facts }: DecisionInput['environment'], sees: Sees): cedar.Context {
  const out: cedar.Context = { level }
  for (const name of sees.environment) {
    const value = facts[name]
    if (value !== undefined) out[name] = value
  }
  return out
}

function copied(lineage: Lineage = { depth: 0 }): cedar.CedarValueJson {
  const { delegates, parent, ...rest } = lineage
  return { ...rest, ...(parent === undefined ? {} : { parent: { ...parent } }), ...(delegates === undefined ? {} : { delegates: { ...delegates, scopes: [...delegates.scopes] } }) }
}

/** What an action names, by what a leaf may say of it. */
export function resourceOf(action: Scope): cedar.TypeAndId {
  switch (action.type) {
    case 'mcp.tool_call':
      return { type: 'Tool', id: `${action.target}/${action.name}` }
    case 'mcp.resource_read':
      return { type: 'Endpoint', id: `${action.target}/resources` }
    case 'mcp.prompt_get':
      return { type: 'Endpoint', id: `${action.target}/prompts/${action.name}` }
    case 'mcp.completion':
    case 'mcp.resource_subscribe':
    case 'mcp.task':
    case 'mcp.sampling':
    case 'mcp.elicitation':
    case 'mcp.roots':
    case 'process.exec':
    case 'http.request':
    case 'function.call':
    case 'deploy.admit':
      return { type: 'Endpoint', id: `${action.target}/${action.name}` }
  }
}

function readArguments(args: JsonObject, types: ArgumentTypes): cedar.Context {
  const out: cedar.Context = {}
  for (const [name, type] of types) {
    if (Object.hasOwn(args, name)) out[name] = readArgument(name, args[name] as JsonValue, type) // nothing that an object has by itself
  }
  return out
}

function readArgument(name: string, value: JsonValue, type: string): cedar.CedarValueJson {
  const wrong = (): never => {
    throw new Denied('policy_error', `argument ${name} is not of the type that the schema declares`)
  }
  switch (type) {
    case 'String':
      // Numbers that Cedar cannot hold reach policy as strings.
      if (typeof value === 'number') return String(value)
      return typeof value === 'string' && value.length <= MAX_POLICY_STRING ? value : wrong()
    case 'Long':
      return typeof value === 'number' && Number.isSafeInteger(value) ? value : wrong()
    case 'Boolean':
      return typeof value === 'boolean' ? value : wrong()
    case 'StringSet': {
      if (!Array.isArray(value) || value.length > MAX_POLICY_SET) return wrong()
      return value.map((item: JsonValue) => (typeof item === 'string' && item.length <= MAX_POLICY_STRING ? item : wrong()))
    }
    default:
      return wrong()
  }
}
