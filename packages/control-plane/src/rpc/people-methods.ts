import { Denied, Fields, type JsonValue, ROLES } from '@sealwrit/protocol'
import { MAX_PASSWORD_TEXT } from '../govern/accounts.ts'
import { readPage } from '../page.ts'
import type { Plane } from '../plane.ts'
import type { MethodName, Methods } from './api.ts'
import { type Peer, refuseGates } from './peer.ts'

/** Who may use the plane, and as what. @see spec/people.md */
export const PEOPLE_METHODS: Methods<Extract<MethodName, `people.${string}`>> = Object.freeze({
  'people.list': (plane: Plane, params: JsonValue) => {
    const fields = new Fields(params, 'request_malformed', 'people.list')
    const page = readPage(fields)
    fields.end()
    return plane.accounts.list(page)
  },
  'people.add': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'people.add')
    const person = { name: fields.text('name', 64), role: fields.oneOf('role', ROLES), password: fields.text('password', MAX_PASSWORD_TEXT) }
    fields.end()
    return plane.accounts.add(person, peer.person.id)
  },
  'people.role': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'people.role')
    const [who, role] = [fields.text('who', 128), fields.oneOf('role', ROLES)]
    fields.end()
    return plane.accounts.changeRole(who, role, peer.person.id)
  },
  'people.remove': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'people.remove')
    const who = fields.text('who', 128)
    fields.end()
    return plane.accounts.remove(who, peer.person.id)
  },
  'people.password': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'people.password')
    const [who, password] = [fields.text('who', 128), fields.text('password', MAX_PASSWORD_TEXT)]
    fields.end()
    return plane.accounts.setPassword(who, password, peer.person.id)
  },
  'people.own_password': (plane: Plane, params: JsonValue, peer: Peer) => {
    refuseGates(peer)
    const fields = new Fields(params, 'request_malformed', 'people.own_password')
    const [current, password] = [fields.text('current', MAX_PASSWORD_TEXT), fields.text('password', MAX_PASSWORD_TEXT)]
    fields.end()
    if (peer.person.id === plane.sub) throw new Denied('identity_unknown', 'the owner of the plane has no password')
    return plane.accounts.changeOwnPassword(peer.person.id, current, password)
  },
})
