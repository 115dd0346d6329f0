import { type Action, type Agent, Denied, type Facts, Fields, isAgentName, isObject, type JsonObject, type JsonValue, parseAction, parseFacts, quoted } from '@sealwrit/protocol'
import { type LogState, toolKey } from '../../log/state.ts'
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
  const { target, what } = resourceOf(resource)
  const wanted = actionFor(resource)
  if (!KNOWN.includes(name)) throw new MalformedMember('/action/name', `unknown action ${quoted(name)}; one of ${KNOWN.join(', ')}`)
  if (name !== wanted) throw new MalformedMember('/resource/type', `no resource of ${name}`)
  const shape: Record<string, JsonValue> = { type: name, target, name: what, arguments: args }
  if (name === 'mcp.tool_call') shape['tool_digest'] = resource.properties?.['tool_digest'] ?? state.tools.get(toolKey(target, what)) ?? NO_TOOL
  if (name === 'mcp.resource_read' && args['uri'] === undefined) shape['arguments'] = { uri: 'unknown:' }
  return member('/resource', () => parseAction(shape))
}

const KNOWN: readonly string[] = ['mcp.tool_call', 'mcp.resource_read', 'mcp.prompt_get']

/** The only action that a resource can be asked about. @throws {MalformedMember} */
export function actionFor(resource: Entity): string {
  if (resource.type === 'tool') return 'mcp.tool_call'
  return resourceOf(resource).what === 'resources/read' ? 'mcp.resource_read' : 'mcp.prompt_get'
}

function resourceOf({ type, id = '' }: Entity): { readonly target: string; readonly what: string } {
  const [, target = '', rest = ''] = /^(mcp:\/\/[^/]+)\/(.+)$/s.exec(id) ?? []
  if (type === 'tool') {
    if (rest === '') throw new MalformedMember('/resource/id', 'not a tool, as in `mcp://fs/read_file`')
    return { target, what: rest }
  }
  if (type !== 'endpoint') throw new MalformedMember('/resource/type', `unknown resource type ${quoted(type ?? '')}; \`tool\` or \`endpoint\``)
  if (rest === 'resources') return { target, what: 'resources/read' }
  if (!rest.startsWith('prompts/') || rest === 'prompts/') throw new MalformedMember('/resource/id', 'not an endpoint, as in `mcp://fs/resources` or `mcp://fs/prompts/NAME`')
  return { target, what: rest.slice('prompts/'.length) }
}

function member<T>(pointer: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof Denied && error.code === 'request_malformed') throw new MalformedMember(pointer, 'not in the form that is asked for')
    throw error
  }
}
