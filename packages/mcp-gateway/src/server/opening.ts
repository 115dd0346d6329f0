import { Denied, isObject, type JsonObject, quoted } from '@sealwrit/protocol'
import { isSupported, UnsupportedRevision } from '../client/facts.ts'
import type { ClientFacts, Reply } from '../client/seat.ts'
import { type Revision, SERVER_META, SESSIONS, STATELESS } from '../revision.ts'
import type { Upstream } from './upstream.ts'

/** Time that a server has to answer `server/discover`, which older ones may leave unanswered, in milliseconds. */
export const PROBE_MS = 10_000

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
 * @param capabilities of the client that the server is told of
 * @throws {Denied} `unavailable` where it speaks neither, {@link UnsupportedRevision} where it answers with an older one
 * @see MCP 2026-07-28, basic/versioning "Backward Compatibility"
 */
export async function openServer(upstream: Upstream, client: ClientFacts, capabilities: JsonObject): Promise<ServerFacts> {
  const first = client.revision
  const opened = await attempt(upstream, first, client, capabilities)
  if ('facts' in opened) return opened.facts
  const other = first === STATELESS ? SESSIONS : STATELESS
  const second = await attempt(upstream, other, client, capabilities)
  if ('facts' in second) return second.facts
  throw new Denied('unavailable', `the server speaks neither ${STATELESS} nor ${SESSIONS} (${quoted(opened.refused)}; ${quoted(second.refused)})`)
}

type Attempt = { readonly facts: ServerFacts } | { readonly refused: string }

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
    const { message } = reply.error
    return { refused: typeof message === 'string' ? message : `${method} was refused` }
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
