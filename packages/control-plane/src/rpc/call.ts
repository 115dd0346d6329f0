import { Denied, type JsonValue } from '@sealwrit/protocol'
import type { Plane } from '../plane.ts'
import type { MethodName, PlaneMethods } from './api.ts'
import { METHODS } from './methods.ts'
import type { Peer } from './peer.ts'
import { verifyRole } from './roles.ts'

/**
 * Runs a method for whoever asks: the one way in, from the socket and over HTTP.
 * @throws {Denied} `method_unknown`; `identity_unknown` where the person may not do that; else what the method refuses with
 */
export function call<M extends MethodName>(plane: Plane, name: M, params: PlaneMethods[M]['params'], peer: Peer): Promise<PlaneMethods[M]['result']>
export function call(plane: Plane, name: string, params: JsonValue, peer: Peer): Promise<unknown>
export async function call(plane: Plane, name: string, params: unknown, peer: Peer): Promise<unknown> {
  const method = Object.hasOwn(METHODS, name) ? METHODS[name as MethodName] : undefined
  if (method === undefined) throw new Denied('method_unknown')
  verifyRole(name, peer.person)
  return method(plane, params as JsonValue, peer)
}
