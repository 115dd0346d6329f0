import { Denied, isAtLeast, type Role, ROLES } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { call } from '../src/rpc/call.ts'
import { METHODS } from '../src/rpc/methods.ts'
import type { Peer } from '../src/rpc/peer.ts'
import { ROLE_FOR, verifyRole } from '../src/rpc/roles.ts'
import { openRigs } from './support/rig.ts'

const rigs = openRigs()
/** What HTTP serves beside the methods. */
const BESIDE = ['events', 'metrics', 'session']
const denied = (run: () => unknown): string => {
  try {
    run()
    return 'ok'
  } catch (error) {
    return error instanceof Denied ? error.code : 'thrown'
  }
}

describe('roles', () => {
  it('has a row for every method, and for nothing else', () => {
    expect(Object.keys(ROLE_FOR).sort()).toEqual([...Object.keys(METHODS), ...BESIDE].sort())
  })
  it('lets each role do what those before it may, and nothing that is not in the table', () => {
    for (const method of Object.keys(ROLE_FOR)) {
      const allowed = ROLES.map((role) => denied(() => verifyRole(method, { id: 'person:x', role })))
      expect(allowed, method).toEqual(ROLES.map((role) => (isAtLeast(role, ROLE_FOR[method] as Role) ? 'ok' : 'identity_unknown')))
    }
    for (const name of ['toString', '__proto__', 'constructor', 'nothing', '']) expect(denied(() => verifyRole(name, { id: 'person:x', role: 'admin' })), name).toBe('identity_unknown')
  })
  it('refuses a method to a role that is too low before it reads what is asked, at every method', async () => {
    const rig = await rigs()
    const before = rig.plane.log.size
    for (const method of Object.keys(METHODS)) {
      for (const role of ROLES) {
        if (isAtLeast(role, ROLE_FOR[method] as Role)) continue
        const peer: Peer = { person: { id: 'person:x', role }, shown: { size: 0 }, session: undefined }
        expect(await call(rig.plane, method, 'no object', peer).then(() => 'ok', (error: Denied) => error.code), `${method} ${role}`).toBe('identity_unknown')
      }
    }
    expect(rig.plane.log.size).toBe(before)
  })
  it('records whoever stops something by their own id, and two operators are two people', async () => {
    const rig = await rigs()
    const as = (id: string): Peer => ({ person: { id, role: 'operator' }, shown: { size: 0 }, session: undefined })
    await call(rig.plane, 'kill', { selector: 'agent:coder' }, as('person:a'))
    await call(rig.plane, 'revoke', { selector: 'agent:old' }, as('person:b'))
    const entries = await rig.plane.log.readRun(rig.plane.log.size - 2, 2)
    expect(entries.map(({ entry }) => (entry as { by?: string }).by)).toEqual(['person:a', 'person:b'])
  })
})
