import { isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'

/** The revisions of MCP that are spoken: the current one carries no sessions, the other one begins with `initialize`. */
export const STATELESS = '2026-07-28'
export const SESSIONS = '2025-11-25'
export type Revision = typeof STATELESS | typeof SESSIONS
/** Newest first, as they are told to a peer that asks for another one. */
export const REVISIONS: readonly Revision[] = [STATELESS, SESSIONS]

/** Members of `_meta` that every request of the stateless revision carries. @see MCP 2026-07-28, basic, "_meta" */
export const VERSION_META = 'io.modelcontextprotocol/protocolVersion'
export const CLIENT_META = 'io.modelcontextprotocol/clientInfo'
export const CAPABILITIES_META = 'io.modelcontextprotocol/clientCapabilities'
export const LOG_LEVEL_META = 'io.modelcontextprotocol/logLevel'
export const SUBSCRIPTION_META = 'io.modelcontextprotocol/subscriptionId'
export const SERVER_META = 'io.modelcontextprotocol/serverInfo'

/** JSON-RPC codes that the stateless revision defines. @see MCP 2026-07-28, basic, "Error Codes" */
export const HEADER_MISMATCH = -32020
export const MISSING_CAPABILITY = -32021
export const UNSUPPORTED_VERSION = -32022

/** The revision that a request names in its `_meta`: any text, or undefined where it names none (then it is of the older era). */
export function namedRevision(params: JsonObject): JsonValue | undefined {
  const meta = params['_meta']
  return isObject(meta) ? meta[VERSION_META] : undefined
}

export function isRevision(value: JsonValue | undefined): value is Revision {
  return value === STATELESS || value === SESSIONS
}
