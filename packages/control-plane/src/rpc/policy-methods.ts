import { Fields, type JsonValue } from '@sealwrit/protocol'
import { epochsOf, parseActivation, standingOf } from '../govern/activation.ts'
import { readPage } from '../page.ts'
import type { Plane } from '../plane.ts'
import type { MethodName, Methods } from './api.ts'
import { type Peer, refuseGates } from './peer.ts'

/** What the socket serves of the life cycle of policies; HTTP serves the first. @see spec/policy.md */
export const POLICY_METHODS: Methods<Exclude<Extract<MethodName, `policies.${string}` | 'profiles.facts'>, 'policies.text'>> = Object.freeze({
  'policies.activate': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    return plane.activate(parseActivation(params), peer.person.id)
  },
  'policies.rollback': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'policies.rollback')
    const epoch = fields.optional('epoch', (name) => fields.integer(name))
    const flag = (name: string): boolean => fields.optional(name, () => fields.boolean(name)) ?? false
    const [urgent, rebase] = [flag('urgent'), flag('rebase')]
    fields.end()
    return plane.policies.rollback(epoch, urgent, rebase, peer.person.id)
  },
  'policies.withdraw': async (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'policies.withdraw')
    const what = fields.oneOf('what', ['staged', 'shadow'] as const)
    fields.end()
    return (await plane.policies.withdraw(what, peer.person.id)) ?? { outcome: 'unchanged', digest: '', epoch: plane.log.state.epoch, seq: plane.log.state.standing.sinceSeq }
  },
  'profiles.facts': async (plane: Plane, params: JsonValue) => {
    new Fields(params, 'request_malformed', 'profiles.facts').end()
    return (await plane.policies.profileFacts()) ?? { profiles: [], plane: {}, policy: {} }
  },
  'policies.status': async (plane: Plane, params: JsonValue) => {
    new Fields(params, 'request_malformed', 'policies.status').end()
    await plane.log.latest()
    const { void: denied } = await plane.policies.active()
    return { ...standingOf(plane.log.state), ...(denied === undefined ? {} : { void: denied }) }
  },
  'policies.epochs': (plane: Plane, params: JsonValue) => {
    const fields = new Fields(params, 'request_malformed', 'policies.epochs')
    const asked = readPage(fields)
    fields.end()
    return epochsOf(plane.log.state, asked)
  },
  'policies.requests': (plane: Plane, params: JsonValue) => {
    const fields = new Fields(params, 'request_malformed', 'policies.requests')
    const since = fields.text('since', 32)
    fields.end()
    return plane.requests(since)
  },
})
