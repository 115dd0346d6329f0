import { Denied, Fields, isObject, type JsonObject, type JsonValue, quoted } from '@sealwrit/protocol'
import { CAPABILITIES_META, CLIENT_META, isRevision, LOG_LEVEL_META, namedRevision, REVISIONS, type Revision, SESSIONS, STATELESS, UNSUPPORTED_VERSION, VERSION_META } from '../revision.ts'
import type { Answer, ClientFacts } from './seat.ts'
import { errorAnswer } from './answers.ts'

/** Longest name and version that a client may say of itself, in UTF-16 units. */
const MAX_CLIENT_TEXT = 128
/** What a client is called that does not say. */
export const UNNAMED = 'unnamed'

/** The levels of log messages. @see MCP 2025-11-25, server/utilities/logging */
export const LOG_LEVELS: readonly string[] = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency']

/**
 * What a client says of itself with `initialize`.
 * @throws {Denied} `request_malformed` where it is not said as the revision asks
 * @throws {UnsupportedRevision} for any revision but that of sessions: the current one has no `initialize`
 */
export function factsOfInitialize(params: JsonObject): ClientFacts {
  const asked = params['protocolVersion']
  if (asked !== SESSIONS) throw new UnsupportedRevision(asked, -32602)
  const info = new Fields(params['clientInfo'], 'request_malformed', 'clientInfo')
  const name = info.text('name', MAX_CLIENT_TEXT)
  const version = info.string('version', MAX_CLIENT_TEXT)
  return { revision: SESSIONS, name, version, capabilities: capabilitiesOf(params['capabilities']) }
}

/**
 * What a client says of itself with each request of the stateless revision.
 * @throws {Denied} `request_malformed` where a member that every request carries is missing or of another form
 * @throws {UnsupportedRevision} for a revision that is not stateless or not known
 */
export function factsOfMeta(params: JsonObject): ClientFacts {
  const named = namedRevision(params)
  if (named === undefined) throw new Denied('request_malformed', `_meta has no ${VERSION_META}`)
  if (named !== STATELESS) throw new UnsupportedRevision(named, UNSUPPORTED_VERSION)
  const meta = params['_meta'] as JsonObject
  const info = meta[CLIENT_META]
  let [name, version] = [UNNAMED, '']
  if (info !== undefined) {
    const fields = new Fields(info, 'request_malformed', CLIENT_META)
    name = fields.text('name', MAX_CLIENT_TEXT)
    version = fields.string('version', MAX_CLIENT_TEXT)
  }
  if (!isObject(meta[CAPABILITIES_META])) throw new Denied('request_malformed', `_meta has no ${CAPABILITIES_META}`)
  const level = meta[LOG_LEVEL_META]
  if (level !== undefined && !LOG_LEVELS.includes(level as string)) throw new Denied('request_malformed', 'an unknown log level')
  return { revision: STATELESS, name, version, capabilities: meta[CAPABILITIES_META] as JsonObject }
}

/** A peer asks for, or answers with, a revision that is not spoken. */
export class UnsupportedRevision extends Denied {
  readonly requested: string
  readonly rpc: number
  constructor(requested: JsonValue | undefined, rpc: number) {
    super('request_malformed', 'another revision of MCP')
    this.requested = typeof requested === 'string' ? requested.slice(0, 32) : 'none'
    this.rpc = rpc
  }

  /** What the client is answered, in the form of the revision that it may know. */
  answer(): Answer {
    const supported: readonly Revision[] = this.rpc === UNSUPPORTED_VERSION ? REVISIONS : [SESSIONS]
    return errorAnswer(this.rpc, `unsupported protocol version ${quoted(this.requested)}: this gateway speaks ${REVISIONS.join(' and ')}`, { code: 'request_malformed', hint: `use ${REVISIONS.join(' or ')}`, requested: this.requested, supported: [...supported] })
  }
}

export function isSupported(versions: JsonValue | undefined, revision: Revision): boolean {
  return Array.isArray(versions) && versions.some((version: JsonValue) => isRevision(version) && version === revision)
}

function capabilitiesOf(value: JsonValue | undefined): JsonObject {
  if (value === undefined) return {}
  if (!isObject(value)) throw new Denied('request_malformed', 'capabilities is not an object')
  return value
}
