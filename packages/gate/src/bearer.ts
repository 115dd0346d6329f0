import { Fields, present } from '@sealwrit/protocol'
import type { Gate } from './gate.ts'

/** Scopes of a token that are looked at. */
const MAX_SCOPES = 64

/** Who an access token names, by the plane's word. */
export interface VerifiedBearer {
  readonly iss: string
  /** The opaque id of the principal. */
  readonly sub: string
  readonly agent?: string
  readonly scopes: readonly string[]
  /** When it ends, milliseconds since 1970. */
  readonly until: number
}

/**
 * Has the plane verify an access token that this gate was shown, for the resource that it serves. What it says is for telling callers
 * apart: each request carries the token on, and is judged by it once more.
 * @throws {Denied} `identity_invalid`, `audience_mismatch`, `unavailable`
 */
export async function verifyBearer(gate: Gate, token: string, audience: string): Promise<VerifiedBearer> {
  const link = await gate.connect()
  return link.request('identity.verify', { session: gate.session, token, audience }, (value) => {
    const fields = new Fields(value, 'request_malformed', 'identity')
    const verified = present<VerifiedBearer>({
      iss: fields.text('iss', 1_024),
      sub: fields.text('sub', 128),
      agent: fields.optional('agent', (name) => fields.text(name, 64)),
      scopes: fields.strings('scopes', MAX_SCOPES, 1_024),
      until: fields.integer('until'),
    })
    fields.end()
    return verified
  })
}
