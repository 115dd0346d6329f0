import { type Action, type ActionType, type Agent, Denied, type Facts, Fields, isAgentName, isObject, type JsonObject, type JsonValue, parseAction, parseFacts, quoted, TASK_METHODS, toolKey } from '@sealwrit/protocol'
import type { LogState } from '../../log/state.ts'
import { MalformedMember } from '../problem.ts'

/** The tool that nobody recorded: what is asked about it is answered by what the log says of tools. */
const NO_TOOL = `sha256:${'0'.repeat(64)}`

/** An AuthZEN entity; which members it has is the schema's business. */
export interface Entity {
  readonly type?: string
  readonly id?: string
  readonly name?: string
  readonly properties?: JsonObject
}
/** The four things that an evaluation is about. */
export interface Tuple {
  readonly subject?: Entity
  readonly action?: Entity
  readonly resource?: Entity
  readonly context?: JsonObject
}

/** What is decided about, and which members of the request nobody looks at. */
export interface Asked {
  readonly action: Action
  readonly agent: Agent
  readonly facts: Facts
  readonly ignored: readonly string[]
}

/**
 * Maps an AuthZEN request to an action of ours, member by member. What has no meaning here is named in `ignored`; a kind of subject,
 * action or resource that is not known is refused by name.
 * @throws {MalformedMember}
 * @see spec/authzen.md
 */
export function readTuple({ subject, action, resource, context = {} }: Tuple, state: LogState): Asked {
  if (subject === undefined) throw new MalformedMember('/subject', 'missing')
  if (action === undefined) throw new MalformedMember('/action', 'missing')
  if (resource === undefined) throw new MalformedMember('/resource', 'missing')
  const [subjects, actions, resources] = [subject.properties ?? {}, action.properties ?? {}, resource.properties ?? {}]
  return {
    action: actionOf(action.name ?? '', actions['arguments'], resource, state),
    agent: agentOf(subject, state),
    facts: context['facts'] === undefined ? { paths: 'none' } : member('/context/facts', () => parseFacts(new Fields(context['facts'], 'request_malformed', 'facts'))),
    ignored: [...others('subject/properties', subjects, 'verified'), ...others('action/properties', actions, 'arguments'), ...others('resource/properties', resources, 'tool_digest'), ...others('context', context, 'facts')],
  }
}

const others = (at: string, members: JsonObject, known: string): string[] => Object.keys(members).filter((name) => name !== known).map((name) => `/${at}/${quoted(name).slice(1, -1)}`)

function agentOf({ type, id = '', properties }: Entity, state: LogState): Agent {
  if (type !== 'agent') throw new MalformedMember('/subject/type', `unknown subject type ${quoted(type ?? '')}; this plane decides about \`agent\``)
  if (!isAgentName(id)) throw new MalformedMember('/subject/id', 'not the name of an agent')
  const verified = properties?.['verified'] ?? state.agents.has(id)
  if (typeof verified !== 'boolean') throw new MalformedMember('/subject/properties/verified', 'not true or false')
  return { name: id, verified }
}

function actionOf(name: string, given: JsonValue | undefined, resource: Entity, state: LogState): Action {
  const args = given ?? {}
  if (!isObject(args)) throw new MalformedMember('/action/properties/arguments', 'not an object')
  const { action: wanted, target, what } = resourceOf(resource)
  if (!KNOWN.includes(name)) throw new MalformedMember('/action/name', `unknown action ${quoted(name)}; one of ${KNOWN.join(', ')}`)
  if (name !== wanted) throw new MalformedMember('/resource/type', `no resource of ${name}`)
  const shape: Record<string, JsonValue> = { type: name, target, name: what, arguments: args }
  if (name === 'mcp.tool_call') shape['tool_digest'] = resource.properties?.['tool_digest'] ?? state.tools.get(toolKey({ target, name: what }))?.pinned?.digest ?? NO_TOOL
  shape['arguments'] = { ...UNTOLD[wanted], ...args }
  return member('/resource', () => parseAction(shape))
}

/** Endpoints that are one for a server, by what stands behind it in their ids. */
const ENDPOINTS: ReadonlyMap<string, ActionType> = new Map<string, ActionType>([
  ['resources', 'mcp.resource_read'],
  ['completion/complete', 'mcp.completion'],
  ['resources/subscribe', 'mcp.resource_subscribe'],
  ...TASK_METHODS.map((name) => [name, 'mcp.task'] as const),
  ['sampling/createMessage', 'mcp.sampling'],
  ['elicitation/create', 'mcp.elicitation'],
  ['roots/list', 'mcp.roots'],
])
const KNOWN: readonly string[] = [...new Set(['mcp.tool_call', 'mcp.resource_read', 'mcp.prompt_get', ...ENDPOINTS.values()])]
/** What stands for arguments that an action cannot be without and a question need not tell. */
const UNTOLD: Readonly<Partial<Record<ActionType, JsonObject>>> = { 'mcp.resource_read': { uri: 'unknown:' }, 'mcp.resource_subscribe': { uri: 'unknown:' }, 'mcp.completion': { ref: {}, argument: {} } }

/** The only action that a resource can be asked about. @throws {MalformedMember} */
export function actionFor(resource: Entity): ActionType {
  return resourceOf(resource).action
}

function resourceOf({ type, id = '' }: Entity): { readonly action: ActionType; readonly target: string; readonly what: string } {
  const [, target = '', rest = ''] = /^(mcp:\/\/[^/]+)\/(.+)$/s.exec(id) ?? []
  if (type === 'tool') {
    if (rest === '') throw new MalformedMember('/resource/id', 'not a tool, as in `mcp://fs/read_file`')
    return { action: 'mcp.tool_call', target, what: rest }
  }
  if (type !== 'endpoint') throw new MalformedMember('/resource/type', `unknown resource type ${quoted(type ?? '')}; \`tool\` or \`endpoint\``)
  const action = ENDPOINTS.get(rest)
  if (action !== undefined) return { action, target, what: rest === 'resources' ? 'resources/read' : rest }
  if (!rest.startsWith('prompts/') || rest === 'prompts/') throw new MalformedMember('/resource/id', 'not an endpoint, as in `mcp://fs/resources`, `mcp://fs/tasks/cancel` or `mcp://fs/prompts/NAME`')
  return { action: 'mcp.prompt_get', target, what: rest.slice('prompts/'.length) }
}

function member<T>(pointer: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof Denied && error.code === 'request_malformed') throw new MalformedMember(pointer, 'not in the form that is asked for')
    throw error
  }
}
