import { isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import type { Reply } from '../client/seat.ts'
import { type Revision, REVISIONS, SERVER_META, SESSIONS, STATELESS } from '../revision.ts'
import type { ServerFacts } from '../server/opening.ts'

/** Methods whose results may be kept by clients: what is filtered for one principal is for nobody else (ATK-104). */
const CACHEABLE: ReadonlySet<string> = new Set(['tools/list', 'resources/list', 'resources/templates/list', 'prompts/list', 'resources/read', 'server/discover'])
/** Code of a missing resource in the older revision, and what the current one has in its place. */
const NOT_FOUND = -32002
const INVALID_PARAMS = -32602

/** What a server of one revision answered, as a client of the same or another one reads it. Content is not touched. */
export function bridged(reply: Reply, method: string, client: Revision, server: ServerFacts): Reply {
  if ('error' in reply) return client === STATELESS && reply.error['code'] === NOT_FOUND ? { error: { ...reply.error, code: INVALID_PARAMS } } : reply
  if (client === SESSIONS) return server.revision === SESSIONS ? reply : { result: withoutStateless(reply.result) }
  const result = server.revision === STATELESS ? reply.result : { resultType: 'complete', ...reply.result, _meta: withServer(reply.result['_meta'], server) }
  if (!CACHEABLE.has(method)) return { result }
  return { result: { ttlMs: 0, ...result, cacheScope: 'private' } }
}

function withoutStateless(result: JsonObject): JsonObject {
  const { resultType: _type, ttlMs: _ttl, cacheScope: _scope, ...rest } = result as Record<string, JsonValue>
  return rest
}

function withServer(meta: JsonValue | undefined, { info }: ServerFacts): JsonObject {
  return { [SERVER_META]: info, ...(isObject(meta) ? meta : {}) }
}

/** What a client is told when it opens: the server's own words, the capabilities that are carried, the revisions that are spoken. */
export function opened(client: Revision, server: ServerFacts): JsonObject {
  const capabilities = offered(server.capabilities)
  const { instructions } = server.answer as { instructions?: JsonValue }
  const said = typeof instructions === 'string' ? { instructions } : {}
  if (client === SESSIONS) {
    return { serverInfo: named(server.info), ...said, protocolVersion: SESSIONS, capabilities: server.revision === SESSIONS ? withTasks(capabilities, server.capabilities) : capabilities }
  }
  return { ...said, _meta: { [SERVER_META]: server.info }, resultType: 'complete', supportedVersions: [...REVISIONS], capabilities, ttlMs: 0, cacheScope: 'private' }
}

/** An implementation always has a name and a version in the older revision. */
function named(info: JsonObject): JsonObject {
  return { name: 'server', version: '0', ...info }
}

/** The server's capabilities that this gateway carries; the others are not offered to the client. */
function offered(capabilities: JsonObject): JsonObject {
  const out: Record<string, JsonValue> = {}
  const take = (name: string, members: readonly string[]): void => {
    const capability = capabilities[name]
    if (isObject(capability)) out[name] = Object.fromEntries(members.flatMap((member) => (capability[member] === true ? [[member, true]] : [])))
  }
  take('tools', ['listChanged'])
  take('resources', ['listChanged', 'subscribe'])
  take('prompts', ['listChanged'])
  take('completions', [])
  take('logging', [])
  return out
}

/** Tasks are carried where both sides have sessions; the current revision has them as an extension, which is not carried. */
function withTasks(capabilities: JsonObject, server: JsonObject): JsonObject {
  const { tasks } = server as { tasks?: JsonValue }
  return isObject(tasks) ? { ...capabilities, tasks } : capabilities
}

/** What a client can be asked for, as far as it says so itself. */
const ASKABLE: Readonly<Record<string, readonly string[]>> = { roots: ['listChanged'], sampling: ['context', 'tools'], elicitation: ['form', 'url'] }

/** The client's capabilities that a server is told of, and nothing else that they hold: what it can then ask for is governed each time. */
export function askable(capabilities: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(ASKABLE).flatMap(([name, members]) => {
    const capability = capabilities[name]
    return isObject(capability) ? [[name, Object.fromEntries(members.flatMap((member) => (isObject(capability[member]) ? [[member, {}]] : capability[member] === true ? [[member, true]] : [])))]] : []
  })) as JsonObject
}
