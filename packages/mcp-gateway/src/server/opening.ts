import { Denied, isObject, type JsonObject, type JsonValue, quoted } from '@sealwrit/protocol'
import { isSupported, UnsupportedRevision } from '../client/facts.ts'
import type { ClientFacts, Reply } from '../client/seat.ts'
import { type Revision, REVISIONS, SERVER_META, SESSIONS, STATELESS, UNSUPPORTED_VERSION } from '../revision.ts'
import type { Upstream } from './upstream.ts'

/** Time that a server has to answer `server/discover`, which older ones may leave unanswered, in milliseconds. */
export const PROBE_MS = 10_000
/** Times that a server is asked to begin. */
const MAX_ATTEMPTS = 2

/** What a server says of itself; unverified. */
export interface ServerFacts {
  readonly revision: Revision
  readonly capabilities: JsonObject
  /** As it was answered: with `initialize`, or `server/discover`. */
  readonly answer: JsonObject
  readonly info: JsonObject
}

/**
 * Finds out which revision the server speaks: the client's first, so that two of one era meet without a bridge.
 * @param capabilities of the client that a server of each revision is told of
 * @throws {Denied} `unavailable` where it speaks neither, {@link UnsupportedRevision} where it answers with an older one
 * @see MCP 2026-07-28, basic/versioning "Backward Compatibility"
 */
export async function openServer(upstream: Upstream, client: ClientFacts, capabilities: Readonly<Record<Revision, JsonObject>>): Promise<ServerFacts> {
  let [revision, refused]: [Revision | undefined, string] = [client.revision, '']
  for (let i = 0; i < MAX_ATTEMPTS && revision !== undefined; i++) {
    const opened = await attempt(upstream, revision, client, capabilities[revision])
    if ('facts' in opened) return opened.facts
    refused += `${refused === '' ? '' : '; '}${quoted(opened.refused)}`
    // A server that says which revisions it supports is asked in one of those, be it the same once more.
    revision = opened.supported === undefined ? (revision === STATELESS ? SESSIONS : STATELESS) : REVISIONS.find((one) => isSupported(opened.supported, one))
  }
  throw new Denied('unavailable', `the server speaks neither ${STATELESS} nor ${SESSIONS} (${refused})`)
}

type Attempt = { readonly facts: ServerFacts } | { readonly refused: string; readonly supported?: JsonValue }

async function attempt(upstream: Upstream, revision: Revision, client: ClientFacts, capabilities: JsonObject): Promise<Attempt> {
  const method = revision === STATELESS ? 'server/discover' : 'initialize'
  const params: JsonObject = revision === STATELESS ? {} : { protocolVersion: SESSIONS, capabilities, clientInfo: { name: client.name, version: client.version } }
  let reply: Reply
  try {
    reply = await upstream.request(method, params, { client, capabilities, ...(revision === STATELESS ? { signal: AbortSignal.timeout(PROBE_MS) } : {}) }, revision)
  } catch (error) {
    return { refused: error instanceof Denied ? error.message : 'no answer' }
  }
  if ('error' in reply) {
    const { code, message, data } = reply.error
    const supported = code === UNSUPPORTED_VERSION && isObject(data) ? data['supported'] : undefined
    return { refused: typeof message === 'string' ? message : `${method} was refused`, ...(supported === undefined ? {} : { supported }) }
  }
  // Whatever else a server answers to a method that it may not know: it does not say that it speaks this revision.
  if (revision === STATELESS && !isSupported(reply.result['supportedVersions'], STATELESS)) return { refused: `it does not say that it speaks ${STATELESS}` }
  const facts = revision === STATELESS ? discovered(reply.result) : initialized(reply.result)
  upstream.speak(revision)
  return { facts }
}

function discovered(answer: JsonObject): ServerFacts {
  const meta = answer['_meta']
  const info = isObject(meta) && isObject(meta[SERVER_META]) ? meta[SERVER_META] : {}
  return { revision: STATELESS, capabilities: objectOf(answer['capabilities']), answer, info }
}

function initialized(answer: JsonObject): ServerFacts {
  if (answer['protocolVersion'] !== SESSIONS) throw new UnsupportedRevision(answer['protocolVersion'], -32602)
  return { revision: SESSIONS, capabilities: objectOf(answer['capabilities']), answer, info: objectOf(answer['serverInfo']) }
}

const objectOf = (value: unknown): JsonObject => (isObject(value as JsonObject) ? (value as JsonObject) : {})
