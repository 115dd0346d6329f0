import type { Sha256 } from './crypto.ts'
import { Denied } from './denial.ts'
import { type Digest, digestOf } from './digest.ts'
import { canonicalize } from './json/canonicalize.ts'
import { Fields } from './json/fields.ts'
import { present } from './json/present.ts'
import { isObject, type JsonObject, type JsonValue } from './json/value.ts'

/** Every type of action that can be governed; this version gates those of MCP. The last three go from a server to an agent's client. */
export const ACTION_TYPES = [
  'mcp.tool_call',
  'mcp.resource_read',
  'mcp.prompt_get',
  'mcp.completion',
  'mcp.resource_subscribe',
  'mcp.task',
  'mcp.sampling',
  'mcp.elicitation',
  'mcp.roots',
  'process.exec',
  'http.request',
  'function.call',
  'deploy.admit',
] as const
export type ActionType = (typeof ACTION_TYPES)[number]

/** Longest name of a tool, prompt or function, and longest URI of a resource, in UTF-16 units. */
export const MAX_NAME = 2_048
/** Longest state that a server has a client carry from one request to its retry, in UTF-16 units. */
export const MAX_REQUEST_STATE = 65_536

/** The methods behind `mcp.task`. */
export const TASK_METHODS = ['tasks/get', 'tasks/result', 'tasks/list', 'tasks/cancel', 'tasks/update'] as const
export type TaskMethod = (typeof TASK_METHODS)[number]

/** What a request carries that is sent again with what the server asked for; the first one carries none of it. */
interface Retried {
  /** Answers to what the server asked for, by its names. */
  readonly input_responses?: JsonObject
  /** What the server gave the client to carry back. */
  readonly request_state?: string
}

/** A call of a tool that an MCP server offers; `tool_digest` binds the definition that was pinned. */
export interface ToolCall extends Retried {
  readonly type: 'mcp.tool_call'
  /** The registered server, `mcp://<name>`. */
  readonly target: string
  readonly name: string
  readonly arguments: JsonObject
  readonly tool_digest: Digest
  /** Asks that it runs as a task, whose result is fetched later. */
  readonly task?: JsonObject
}
/** A read of one resource; its URI is data, so it is in `arguments`, and `name` says only what kind of request it is. */
export interface ResourceRead extends Retried {
  readonly type: 'mcp.resource_read'
  readonly target: string
  readonly name: 'resources/read'
  readonly arguments: { readonly uri: string }
}
export interface PromptGet extends Retried {
  readonly type: 'mcp.prompt_get'
  readonly target: string
  readonly name: string
  readonly arguments: JsonObject
}

/** Asks a server how an argument of a prompt or resource template could go on: what was typed so far leaves the machine. */
export interface Completion {
  readonly type: 'mcp.completion'
  readonly target: string
  readonly name: 'completion/complete'
  readonly arguments: { readonly ref: JsonObject; readonly argument: JsonObject; readonly context?: JsonObject }
}
/** Has a server tell of every change of one resource. */
export interface ResourceSubscribe {
  readonly type: 'mcp.resource_subscribe'
  readonly target: string
  readonly name: 'resources/subscribe'
  readonly arguments: { readonly uri: string }
}
/** Looks at a task that runs at a server, or changes it. */
export interface Task {
  readonly type: 'mcp.task'
  readonly target: string
  readonly name: TaskMethod
  readonly arguments: JsonObject
}
/** What the server `target` asks of an agent's client: a completion by its model, */
export interface Sampling {
  readonly type: 'mcp.sampling'
  readonly target: string
  readonly name: 'sampling/createMessage'
  readonly arguments: JsonObject
}
/** an answer of its user, */
export interface Elicitation {
  readonly type: 'mcp.elicitation'
  readonly target: string
  readonly name: 'elicitation/create'
  readonly arguments: JsonObject
}
/** or the folders that it works in. */
export interface Roots {
  readonly type: 'mcp.roots'
  readonly target: string
  readonly name: 'roots/list'
  readonly arguments: JsonObject
}

/** The typed description of what would run. Later action types join this union. */
export type Action = ToolCall | ResourceRead | PromptGet | Completion | ResourceSubscribe | Task | Sampling | Elicitation | Roots

/** What a leaf may say of an action in clear: registered names only, never data. */
export interface Scope {
  readonly type: ActionType
  readonly name: string
  readonly target: string
}

export function scopeOf(action: Action): Scope {
  return { type: action.type, name: action.name, target: action.target }
}

/** What an action carries beside its arguments, each member as it is there. */
export function besideArguments(action: Action): JsonObject {
  const { input_responses, request_state, task } = action as Partial<ToolCall>
  return present<JsonObject>({ input_responses, request_state, task })
}

/**
 * Rebuilds `value` as a closed, typed action.
 * @throws {Denied} `request_malformed` for a missing, mistyped or unknown member, or a type that is not gated here
 */
export function parseAction(value: JsonValue): Action {
  const fields = new Fields(value, 'request_malformed', 'action')
  const action = readAction(fields)
  fields.end()
  return action
}

function readAction(fields: Fields): Action {
  const type = fields.oneOf('type', ACTION_TYPES)
  const target = fields.text('target')
  switch (type) {
    case 'mcp.tool_call':
      return present<ToolCall>({ type, target, name: fields.text('name', MAX_NAME), arguments: anObject('arguments', fields), tool_digest: fields.digest('tool_digest'), ...readRetried(fields), task: fields.optional('task', (name) => anObject(name, fields)) })
    case 'mcp.resource_read':
      return present<ResourceRead>({ type, target, name: fields.literal('name', 'resources/read'), arguments: readUri(fields), ...readRetried(fields) })
    case 'mcp.prompt_get':
      return present<PromptGet>({ type, target, name: fields.text('name', MAX_NAME), arguments: anObject('arguments', fields), ...readRetried(fields) })
    case 'mcp.completion':
      return { type, target, name: fields.literal('name', 'completion/complete'), arguments: readCompletion(fields.object('arguments')) }
    case 'mcp.resource_subscribe':
      return { type, target, name: fields.literal('name', 'resources/subscribe'), arguments: readUri(fields) }
    case 'mcp.task':
      return { type, target, name: fields.oneOf('name', TASK_METHODS), arguments: anObject('arguments', fields) }
    case 'mcp.sampling':
      return { type, target, name: fields.literal('name', 'sampling/createMessage'), arguments: anObject('arguments', fields) }
    case 'mcp.elicitation':
      return { type, target, name: fields.literal('name', 'elicitation/create'), arguments: anObject('arguments', fields) }
    case 'mcp.roots':
      return { type, target, name: fields.literal('name', 'roots/list'), arguments: anObject('arguments', fields) }
    case 'process.exec':
    case 'http.request':
    case 'function.call':
    case 'deploy.admit':
      throw new Denied('request_malformed', `no gate for ${type} in this version`)
  }
}

function anObject(name: string, fields: Fields): JsonObject {
  const value = fields.value(name)
  if (!isObject(value)) throw new Denied('request_malformed', `action: member ${name} is not an object`)
  return value
}

function readRetried(fields: Fields): { [Member in keyof Retried]: Retried[Member] | undefined } {
  return {
    input_responses: fields.optional('input_responses', (name) => anObject(name, fields)),
    request_state: fields.optional('request_state', (name) => fields.string(name, MAX_REQUEST_STATE)),
  }
}

function readUri(fields: Fields): { readonly uri: string } {
  const args = fields.object('arguments')
  const uri = args.text('uri', MAX_NAME)
  args.end()
  return { uri }
}

function readCompletion(args: Fields): Completion['arguments'] {
  const read = present<Completion['arguments']>({ ref: anObject('ref', args), argument: anObject('argument', args), context: args.optional('context', (name) => anObject(name, args)) })
  args.end()
  return read
}

/** The canonical bytes of an action: what is hashed, judged and executed. */
export function actionBytes(action: Action): Uint8Array {
  return canonicalize(action as unknown as JsonObject)
}

/** SHA-256 of the canonical bytes of `action`. */
export function actionDigest(action: Action, sha256: Sha256): Digest {
  return digestOf(actionBytes(action), sha256)
}
