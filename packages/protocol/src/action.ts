import type { Sha256 } from './crypto.ts'
import { Denied } from './denial.ts'
import { type Digest, digestOf } from './digest.ts'
import { canonicalize } from './json/canonicalize.ts'
import { Fields } from './json/fields.ts'
import { isObject, type JsonObject, type JsonValue } from './json/value.ts'

/** Every type of action that can be governed; FORMATS lists them, and this version gates the three of MCP. */
export const ACTION_TYPES = [
  'mcp.tool_call',
  'mcp.resource_read',
  'mcp.prompt_get',
  'process.exec',
  'http.request',
  'function.call',
  'deploy.admit',
] as const
export type ActionType = (typeof ACTION_TYPES)[number]

/** Longest name of a tool, prompt or function, and longest URI of a resource, in UTF-16 units. */
export const MAX_NAME = 2_048

/** A call of a tool that an MCP server offers; `tool_digest` binds the definition that was recorded. */
export interface ToolCall {
  readonly type: 'mcp.tool_call'
  /** The registered server, `mcp://<name>`. */
  readonly target: string
  readonly name: string
  readonly arguments: JsonObject
  readonly tool_digest: Digest
}
/** A read of one resource; its URI is data, so it is in `arguments`, and `name` says only what kind of request it is. */
export interface ResourceRead {
  readonly type: 'mcp.resource_read'
  readonly target: string
  readonly name: 'resources/read'
  readonly arguments: { readonly uri: string }
}
export interface PromptGet {
  readonly type: 'mcp.prompt_get'
  readonly target: string
  readonly name: string
  readonly arguments: JsonObject
}

/** The typed description of what would run. Later action types join this union. */
export type Action = ToolCall | ResourceRead | PromptGet

/** What a leaf may say of an action in clear: registered names only, never data. */
export interface Scope {
  readonly type: ActionType
  readonly name: string
  readonly target: string
}

export function scopeOf(action: Action): Scope {
  return { type: action.type, name: action.name, target: action.target }
}

/**
 * Rebuilds `value` as a closed, typed action.
 * @throws {Denied} `request_malformed` for a missing, mistyped or unknown member, or a type that is not gated here
 */
export function parseAction(value: JsonValue): Action {
  const fields = new Fields(value, 'request_malformed', 'action')
  const type = fields.oneOf('type', ACTION_TYPES)
  const target = fields.text('target')
  const name = fields.text('name', MAX_NAME)
  const args = fields.value('arguments')
  if (!isObject(args)) throw new Denied('request_malformed', 'action: member arguments is not an object')
  let action: Action
  switch (type) {
    case 'mcp.tool_call':
      action = { type, target, name, arguments: args, tool_digest: fields.digest('tool_digest') }
      break
    case 'mcp.resource_read': {
      if (name !== 'resources/read') throw new Denied('request_malformed', 'action: name of a resource read')
      const uri = new Fields(args, 'request_malformed', 'action.arguments')
      action = { type, target, name, arguments: { uri: uri.text('uri', MAX_NAME) } }
      uri.end()
      break
    }
    case 'mcp.prompt_get':
      action = { type, target, name, arguments: args }
      break
    case 'process.exec':
    case 'http.request':
    case 'function.call':
    case 'deploy.admit':
      throw new Denied('request_malformed', `no gate for ${type} in this version`)
  }
  fields.end()
  return action
}

/** The canonical bytes of an action: what is hashed, judged and executed. */
export function actionBytes(action: Action): Uint8Array {
  return canonicalize(action as unknown as JsonObject)
}

/** SHA-256 of the canonical bytes of `action`. */
export function actionDigest(action: Action, sha256: Sha256): Digest {
  return digestOf(actionBytes(action), sha256)
}
