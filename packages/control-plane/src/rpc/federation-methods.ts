import { Fields, type JsonValue, MAX_FOREIGN_ORIGIN } from '@sealwrit/protocol'
import type { Plane } from '../plane.ts'
import type { MethodName, Methods } from './api.ts'
import { type Peer, refuseGates } from './peer.ts'

/** What the socket serves of other planes. @see spec/federation.md */
export const FEDERATION_METHODS: Methods<Extract<MethodName, `federation.${string}`>> = Object.freeze({
  'federation.list': (plane: Plane, params: JsonValue) => {
    new Fields(params, 'request_malformed', 'federation.list').end()
    return plane.federation.list()
  },
  /** Seals an entry that was made for another plane anew, from the checkpoint that it knows. */
  'federation.seal': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'federation.seal')
    const [seq, known] = [fields.integer('seq'), fields.integer('known')]
    fields.end()
    return plane.federation.seal(seq, known)
  },
  'federation.vouch': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'federation.vouch')
    const [who, key] = [fields.text('who', 128), fields.optional('key', (name) => fields.text(name, 43))]
    const [audience, known] = [fields.text('audience', MAX_FOREIGN_ORIGIN), fields.integer('known')]
    fields.end()
    return plane.federation.vouch(who, key, audience, known)
  },
})
