import { type Action, Denied, Fields, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import type { Definition } from '../tools/definition.ts'
import { verifyMirrored } from '../tools/mirrored.ts'

/** Longest URI of a resource, and longest name, in UTF-16 units. */
const MAX_URI = 2_048
const MAX_TOOL_NAME = 256

/** What an action is made from beside its parameters. */
export interface Judging {
  readonly target: string
  /** A tool's definition as it is now. */
  readonly definitionOf: (name: string) => Promise<Definition>
  /** What the client's transport mirrored of its arguments. */
  readonly mirrored: ReadonlyMap<string, string> | undefined
  /** Opens the state that came back with a retry of `action`. */
  readonly openState: (action: Action, sealed: string) => string
}

/**
 * Builds the action that a request asks for, from what a strict decoder took of it; nothing else of the request is used again.
 * @throws {Denied} `method_unknown`, `request_malformed`, `tool_not_pinned`, `action_mismatch` for a state of another request
 * @throws {HeaderMismatch} where headers say something else of the arguments
 * @throws {InvalidArguments} where they do not fit the tool's own schema
 */
export async function toAction(method: string, params: JsonObject, judging: Judging): Promise<Action> {
  const { target } = judging
  const fields = new Fields(params, 'request_malformed', method)
  fields.optional('_meta', (name) => fields.value(name)) // a progress token, and what the plane is told, are taken from it; nothing of it is forwarded
  switch (method) {
    case 'tools/call': {
      const name = fields.text('name', MAX_TOOL_NAME)
      const base = { type: 'mcp.tool_call', target, name, arguments: readArguments(fields) } as const
      const task = fields.optional('task', (member) => readObject(fields, member))
      const inputs = readInputs(fields)
      fields.end()
      const definition = await judging.definitionOf(name)
      const { digest } = definition
      if (judging.mirrored !== undefined) verifyMirrored(definition.mirrored, base.arguments, judging.mirrored)
      await definition.validate(base.arguments)
      return withInputs({ ...base, tool_digest: digest, ...(task === undefined ? {} : { task }) } as Action, inputs, judging)
    }
    case 'resources/read': {
      const uri = fields.text('uri', MAX_URI)
      const inputs = readInputs(fields)
      fields.end()
      return withInputs({ type: 'mcp.resource_read', target, name: 'resources/read', arguments: { uri } }, inputs, judging)
    }
    case 'prompts/get': {
      const action: Action = { type: 'mcp.prompt_get', target, name: fields.text('name', MAX_TOOL_NAME), arguments: readArguments(fields) }
      const inputs = readInputs(fields)
      fields.end()
      return withInputs(action, inputs, judging)
    }
    case 'completion/complete': {
      const [ref, argument] = [readObject(fields, 'ref'), readObject(fields, 'argument')]
      const context = fields.optional('context', (name) => readObject(fields, name))
      fields.end()
      return { type: 'mcp.completion', target, name: 'completion/complete', arguments: { ref, argument, ...(context === undefined ? {} : { context }) } }
    }
    case 'resources/subscribe': {
      const uri = fields.text('uri', MAX_URI)
      fields.end()
      return { type: 'mcp.resource_subscribe', target, name: 'resources/subscribe', arguments: { uri } }
    }
    case 'tasks/get':
    case 'tasks/result':
    case 'tasks/list':
    case 'tasks/cancel':
    case 'tasks/update': {
      const { _meta: _, ...args } = params as Record<string, JsonValue>
      return { type: 'mcp.task', target, name: method, arguments: args }
    }
    default:
      throw new Denied('method_unknown')
  }
}

/** What a server asks a client for, in the other direction. @throws {Denied} `method_unknown` */
export function toReverseAction(method: string, params: JsonObject, target: string): Action {
  switch (method) {
    case 'sampling/createMessage':
      return { type: 'mcp.sampling', target, name: method, arguments: params }
    case 'elicitation/create':
      return { type: 'mcp.elicitation', target, name: method, arguments: params }
    case 'roots/list':
      return { type: 'mcp.roots', target, name: method, arguments: params }
    default:
      throw new Denied('method_unknown', 'a request by the server')
  }
}

/** The request that performs `action`, from its canonical form. */
export function toRequest(action: Action): { readonly method: string; readonly params: JsonObject } {
  switch (action.type) {
    case 'mcp.tool_call':
      return { method: 'tools/call', params: { name: action.name, arguments: action.arguments, ...(action.task === undefined ? {} : { task: action.task }), ...inputsOf(action) } }
    case 'mcp.resource_read':
      return { method: 'resources/read', params: { uri: action.arguments.uri, ...inputsOf(action) } }
    case 'mcp.prompt_get':
      return { method: 'prompts/get', params: { name: action.name, arguments: action.arguments, ...inputsOf(action) } }
    case 'mcp.completion':
    case 'mcp.resource_subscribe':
    case 'mcp.task':
    case 'mcp.sampling':
    case 'mcp.elicitation':
    case 'mcp.roots':
      return { method: action.name, params: action.arguments as JsonObject }
  }
}

interface Inputs {
  readonly input_responses?: JsonObject
  readonly request_state?: string
}

function inputsOf({ input_responses, request_state }: Inputs): JsonObject {
  return { ...(input_responses === undefined ? {} : { inputResponses: input_responses }), ...(request_state === undefined ? {} : { requestState: request_state }) }
}

function readInputs(fields: Fields): Inputs {
  const responses = fields.optional('inputResponses', (name) => readObject(fields, name))
  const state = fields.optional('requestState', (name) => fields.string(name, 65_536))
  return { ...(responses === undefined ? {} : { input_responses: responses }), ...(state === undefined ? {} : { request_state: state }) }
}

/** The request itself, without what a retry of it brings: what a state is given for. */
export function withoutInputs(action: Action): Action {
  const { input_responses: _responses, request_state: _state, ...rest } = action as Action & Inputs
  return rest as Action
}

function withInputs<T extends Action>(action: T, { input_responses, request_state }: Inputs, { openState }: Judging): T {
  return {
    ...action,
    ...(input_responses === undefined ? {} : { input_responses }),
    ...(request_state === undefined ? {} : { request_state: openState(action, request_state) }),
  }
}

function readArguments(fields: Fields): JsonObject {
  return fields.optional('arguments', (name) => readObject(fields, name)) ?? {}
}

function readObject(fields: Fields, name: string): JsonObject {
  const value = fields.value(name)
  if (!isObject(value)) throw new Denied('request_malformed', `${name} is not an object`)
  return value
}
