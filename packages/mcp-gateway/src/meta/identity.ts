import type { Identify } from '@sealwrit/gate'
import { Fields, isObject, type JsonObject, parseIdentity } from '@sealwrit/protocol'

/** Member of the `_meta` of a request in which a client says who it is, as in `authorize`; see spec/identity.md. */
export const IDENTITY_META = 'sealwrit/identity'

/**
 * Who the client says it is with one request. It is for the plane to verify, and never forwarded. A client cannot know the challenge
 * that a proof of possession is bound to, so only tokens come this way; what else it sends is refused by the plane.
 * @throws {Denied} `request_malformed`
 */
export function identityBy(params: JsonObject): { readonly identify?: Identify } {
  const meta = params['_meta']
  const given = isObject(meta) ? meta[IDENTITY_META] : undefined
  if (given === undefined) return {}
  const identity = parseIdentity(new Fields(given, 'request_malformed', IDENTITY_META))
  return { identify: () => identity }
}
