import { isAtLeast, type Role, ROLES, verifyBundle } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/control-plane'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { MAX_SESSIONS_OF_ONE, SESSION_IDLE_MS } from '../src/govern/sessions.ts'
import { call } from '../src/rpc/call.ts'
import { PASSWORD, person } from './support/people.ts'
import { outcome, Rig } from './support/rig.ts'

/** What should be true of one name. */
interface Model {
  id: string
  role: Role | undefined
  password: string
}
interface Held {
  readonly name: string
  readonly secret: string
  ends: boolean
}
type Step =
  | { readonly do: 'add' | 'role'; readonly name: string; readonly role: Role }
  | { readonly do: 'password' | 'remove' | 'login' | 'wrong' | 'logout' | 'restart' | 'idle'; readonly name: string }
  | { readonly do: 'act'; readonly name: string; readonly method: 'kill' | 'agents.list' | 'people.add' }

const names = fc.constantFrom('ann', 'bob')
const steps: fc.Arbitrary<readonly Step[]> = fc.array(
  fc.oneof(
    fc.record({ do: fc.constantFrom('add', 'role'), name: names, role: fc.constantFrom(...ROLES) }),
    fc.record({ do: fc.constantFrom('password', 'remove', 'login', 'login', 'login', 'wrong', 'logout', 'restart', 'idle'), name: names }),
    fc.record({ do: fc.constant('act'), name: names, method: fc.constantFrom('kill', 'agents.list', 'people.add') }),
  ) as fc.Arbitrary<Step>,
  { minLength: 5, maxLength: 30 },
)
const NEEDS = { kill: 'operator', 'agents.list': 'viewer', 'people.add': 'admin' } as const

describe('people and their sessions, whatever happens in whatever order', () => {
  it('are what the log says: a session is of who logged in, as what they are now, until anything about them changes', { timeout: 120_000 }, async () => {
    await fc.assert(
      fc.asyncProperty(steps, async (all) => {
        const rig = await Rig.open('states')
        try {
          const known = new Map<string, Model>()
          const held: Held[] = []
          const endAll = (name?: string): void => held.forEach((one) => (one.ends ||= name === undefined || one.name === name))
          const makesRoom = (name: string): void => {
            const own = held.filter((one) => one.name === name && !one.ends)
            if (own.length >= MAX_SESSIONS_OF_ONE) (own[0] as Held).ends = true
          }
          let made = 0
          for (const step of all) {
            const { accounts, sub } = rig.plane
            const model = known.get(step.name)
            const isThere = model?.role !== undefined
            switch (step.do) {
              case 'add':
                expect(await outcome(person(rig, step.name, step.role))).toBe(isThere ? 'request_malformed' : 'ok')
                if (!isThere) known.set(step.name, { id: [...rig.plane.log.state.people.keys()].at(-1) as string, role: step.role, password: PASSWORD })
                break
              case 'role':
                expect(await outcome(accounts.changeRole(step.name, step.role, sub))).toBe(isThere ? 'ok' : 'identity_unknown')
                if (isThere) known.set(step.name, { ...(model as Model), role: step.role })
                if (isThere) endAll(step.name)
                break
              case 'password':
                expect(await outcome(accounts.setPassword(step.name, `${PASSWORD} ${made}`, sub))).toBe(isThere ? 'ok' : 'identity_unknown')
                if (isThere) known.set(step.name, { ...(model as Model), password: `${PASSWORD} ${made++}` })
                if (isThere) endAll(step.name)
                break
              case 'remove':
                expect(await outcome(accounts.remove(step.name, sub))).toBe(isThere ? 'ok' : 'identity_unknown')
                if (isThere) known.set(step.name, { ...(model as Model), role: undefined })
                if (isThere) endAll(step.name)
                break
              case 'login': {
                rig.clock.advance(1)
                if (!isThere) break // tries of a name that is not there count, and that is tried elsewhere
                const begun = await accounts.login(step.name, model.password)
                expect([begun.id, begun.role]).toEqual([model.id, model.role])
                makesRoom(step.name)
                held.push({ name: step.name, secret: begun.secret, ends: false })
                break
              }
              case 'wrong':
                if (!isThere) break
                expect(await outcome(accounts.login(step.name, 'wrong wrong wrong'))).toBe('identity_invalid')
                expect(await outcome(accounts.login(step.name, model.password).then(({ secret }) => accounts.logout(secret)))).toBe('ok')
                makesRoom(step.name)
                break
              case 'logout': {
                const one = held.find(({ name, ends }) => name === step.name && !ends)
                if (one === undefined) break
                accounts.logout(one.secret)
                one.ends = true
                break
              }
              case 'restart':
                await rig.restart()
                endAll()
                break
              case 'idle':
                rig.clock.advance(SESSION_IDLE_MS)
                endAll()
                break
              case 'act': {
                const one = held.find(({ name, ends }) => name === step.name && !ends)
                const who = one === undefined ? undefined : rig.plane.accounts.signedIn(one.secret, true)
                if (who === undefined) break
                const params = { kill: { selector: `agent:${made++}` }, 'agents.list': {}, 'people.add': { name: `new${made++}`, role: 'viewer', password: PASSWORD } }[step.method]
                const answer = await outcome(call(rig.plane, step.method, params as never, { person: who, shown: { size: 0 }, session: undefined }))
                expect(answer).toBe(isAtLeast(who.role, NEEDS[step.method]) ? 'ok' : 'identity_unknown')
                break
              }
            }
            for (const { name, secret, ends } of held) {
              const model_ = known.get(name) as Model
              expect(rig.plane.accounts.signedIn(secret, false), `${step.do} ${name}`).toEqual(ends ? undefined : { id: model_.id, role: model_.role })
            }
          }
          const report = verifyBundle(await rig.plane.reader.evidence('all'), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [] })
          expect(report.verdict, JSON.stringify(report.findings)).toBe('established')
        } finally {
          await rig.remove()
        }
      }),
      { numRuns: Number(process.env['SEALWRIT_RUNS'] ?? 25), seed: 20_261_125 },
    )
  })
})
