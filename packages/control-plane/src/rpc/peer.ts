import { Denied } from '@sealwrit/protocol'
import type { Shown } from '../log/shown.ts'
import type { Plane } from '../plane.ts'
import type { Person } from './roles.ts'

/** What one connection, or one HTTP request, is to the plane. */
export interface Peer {
  /** Who asks: over the socket whoever owns it. */
  readonly person: Person
  /** The newest checkpoint that was shown to it. */
  readonly shown: Shown
  /** The session it opened; over a socket it can speak for no other. */
  session: string | undefined
  /** Tells this peer of events from here on; absent where there is no connection to tell them on. */
  readonly listen?: (gate: string) => void
}

/** A gate asks for permits; it neither issues nor approves, registers, stops or changes what is decided. @throws {Denied} `identity_invalid` */
export function refuseGates(peer: Peer): void {
  if (peer.session !== undefined) throw new Denied('identity_invalid', 'this connection is that of a gate')
}

/** The gate that a request may speak for. Over a socket only for the session that it opened itself (ATK-049). */
export async function speaker(plane: Plane, session: string, peer: Peer): Promise<string> {
  if (peer.session !== session) throw new Denied('identity_invalid', 'this connection did not open that session')
  return plane.gateOf(session)
}
