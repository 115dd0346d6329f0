import { Denied, type JsonValue } from '@sealwrit/protocol'
import type { Plane } from '../plane.ts'
import { METHODS } from './methods.ts'
import type { Peer } from './peer.ts'
import { verifyRole } from './roles.ts'

/**
 * Runs a method for whoever asks: the one way in, from the socket and over HTTP.
 * @throws {Denied} `method_unknown`; `identity_unknown` where the person may not do that; else what the method refuses with
 */
export async function call(plane: Plane, name: string, params: JsonValue, peer: Peer): Promise<unknown> {
  const method = Object.hasOwn(METHODS, name) ? METHODS[name] : undefined
  if (method === undefined) throw new Denied('method_unknown')
  verifyRole(name, peer.person)
  return method(plane, params, peer)
}
