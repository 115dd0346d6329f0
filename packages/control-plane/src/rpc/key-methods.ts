import { Fields, type JsonValue } from '@sealwrit/protocol'
import { MAX_OVERLAP_MS, OVERLAP_MS } from '../govern/keys.ts'
import type { Plane } from '../plane.ts'
import type { MethodName, Methods } from './api.ts'
import { type Peer, refuseGates } from './peer.ts'

/** What the socket serves of keys. @see spec/keys.md */
export const KEY_METHODS: Methods<Extract<MethodName, `keys.${string}`>> = Object.freeze({
  'keys.list': async (plane: Plane, params: JsonValue) => {
    new Fields(params, 'request_malformed', 'keys.list').end()
    await plane.log.latest()
    return { origin: plane.log.origin, keys: plane.keys.list(), gates: [...plane.log.state.revokedGates].map(([gate, { from, seqs }]) => ({ gate, from, seq: seqs.at(-1) })) }
  },
  'keys.rotate': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'keys.rotate')
    const overlapMs = fields.optional('overlap_ms', (name) => fields.integer(name, MAX_OVERLAP_MS)) ?? OVERLAP_MS
    fields.end()
    return plane.keys.rotate(overlapMs)
  },
  'keys.revoke': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'keys.revoke')
    const purpose = fields.oneOf('purpose', ['log', 'gate'] as const)
    const id = fields.text('id', 64)
    const from = fields.optional('from', (name) => fields.integer(name))
    fields.end()
    return purpose === 'log' ? plane.keys.revokeLogKey(id, from, peer.person.id) : plane.keys.revokeGate(id, from, peer.person.id)
  },
})
