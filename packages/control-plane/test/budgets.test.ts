import * as fc from 'fast-check'
import { type Body, type Budget, Budgets, type DecisionEntry, MAX_BUDGET_COUNT, parseStrictText } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { parseAnnotations } from '../src/decide/obligations.ts'
import { DecisionReplay } from '../src/decide/replay.ts'
import { parseActivation } from '../src/govern/activation.ts'
import { openRigs, policySet, type Rig, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const rigs = openRigs()
const opened = async (annotations: string): Promise<{ rig: Rig; gate: TestGate; asks: (agent?: string, name?: string) => Promise<string> }> => {
  const rig = await rigs()
  rig.policies = policySet(`${annotations} permit (principal, action, resource);`)
  await rig.restart()
  await rig.plane.activate(parseActivation({ files: rig.policies.files }))
  const gate = await rig.gate()
  return { rig, gate, asks: async (agent = 'tester', name = 'read_file') => told(await gate.authorize(gate.request(toolCall(name), { agent: { name: agent, verified: true } }))) }
}

describe('a budget', () => {
  it('permits as many as it says in any window of its time, and then refuses', async () => {
    const { rig, asks } = await opened('@budget("3/1m")')
    expect([await asks(), await asks()]).toEqual(['permit', 'permit'])
    rig.clock.advance(30_000)
    expect([await asks(), await asks()]).toEqual(['permit', 'budget_exceeded'])
    rig.clock.advance(29_999)
    expect(await asks(), 'one millisecond before the first two leave the window').toBe('budget_exceeded')
    rig.clock.advance(1)
    expect([await asks(), await asks(), await asks()]).toEqual(['permit', 'permit', 'budget_exceeded'])
  })

  it('is of a principal unless it names another, whatever an agent calls itself', async () => {
    const { asks } = await opened('@budget("1/1h")')
    expect([await asks('one'), await asks('two')]).toEqual(['permit', 'budget_exceeded'])
    const each = await opened('@budget("1/1h per:agent")')
    expect([await each.asks('one'), await each.asks('two'), await each.asks('one')]).toEqual(['permit', 'permit', 'budget_exceeded'])
    const all = await opened('@budget("1/1h per:tenant")')
    expect([await all.asks('one'), await all.asks('two')]).toEqual(['permit', 'budget_exceeded'])
  })

  it('is never overspent by requests at the same moment', async () => {
    const { asks } = await opened('@budget("10/1h")')
    const answers = await Promise.all(Array.from({ length: 50 }, () => asks()))
    expect(answers.filter((one) => one === 'permit')).toHaveLength(10)
    expect(answers.filter((one) => one === 'budget_exceeded')).toHaveLength(40)
  })

  it('is remembered by a plane that starts again, and by one whose write failed', async () => {
    const { rig, gate, asks } = await opened('@budget("2/1h")')
    expect(await asks()).toBe('permit')
    rig.fault = { persisted: false, recoverable: true }
    await expect(asks()).rejects.toThrow()
    rig.fault = undefined
    await rig.restart()
    await gate.enrol()
    expect([await asks(), await asks()]).toEqual(['permit', 'budget_exceeded'])
  })

  it('is in the permit, so that a verifier counts too; of several that permit at once each counts', async () => {
    const { rig, gate } = await opened('@budget("5/1h")')
    rig.policies = policySet('@budget("5/1h") permit (principal, action, resource); @budget("1/1m per:agent") permit (principal, action, resource) when { context.args has path };')
    expect(await rig.plane.activate(parseActivation({ files: rig.policies.files }))).toMatchObject({ outcome: 'activated' })
    const { permit } = await gate.permit()
    expect(permit.constraints.budgets).toEqual([{ policy: 'test/0', count: 5, seconds: 3_600, per: 'principal' }, { policy: 'test/1', count: 1, seconds: 60, per: 'agent' }])
    const reply = await gate.authorize()
    expect(told(reply)).toBe('budget_exceeded')
    const { entry } = await rig.plane.log.read(reply.decision === 'deny' ? reply.seq : -1)
    expect(entry).toMatchObject({ kind: 'deny', code: 'budget_exceeded', policy: { determining: ['test/0', 'test/1'] } })
  })

  it('asks nobody to approve what could not be permitted', async () => {
    const { asks } = await opened('@budget("1/1h") @approval("group:ops")')
    expect(await asks()).toBe('hold')
    const spent = await opened('@budget("1/1h")')
    expect(await spent.asks()).toBe('permit')
    spent.rig.policies = policySet('@budget("1/1h") @approval("group:ops") permit (principal, action, resource);')
    await spent.rig.plane.activate(parseActivation({ files: spent.rig.policies.files }))
    expect(await spent.asks()).toBe('budget_exceeded')
  })
})

describe('what the state refuses', () => {
  it('replays as what policy permits: a budget that is spent, a kill, a revocation', async () => {
    const { rig, gate } = await opened('@budget("1/1h")')
    const replay = new DecisionReplay(sha256)
    const { files, digest } = rig.policies
    replay.policies({ digest, files })
    const refused = async (code: string): Promise<void> => {
      const reply = await gate.authorize()
      if (reply.decision !== 'deny') throw new TypeError('not refused')
      const { entry } = await rig.plane.log.read(reply.seq)
      const bodies = await rig.store.bodies(reply.seq)
      expect(entry).toMatchObject({ kind: 'deny', code })
      const read = bodies.map(({ text, ...body }) => ({ ...body, ...(text === undefined ? {} : { body: parseStrictText(text) }) }))
      expect(replay.decision(entry as DecisionEntry, read as Body[])).toBe(true)
    }
    await gate.permit()
    await refused('budget_exceeded')
    await rig.plane.stops.kill('agent:tester', rig.plane.sub)
    await refused('budget_exceeded') // the first reason is told
    rig.clock.advance(3_600_000)
    await gate.enrol()
    await refused('killed')
    await rig.plane.stops.revoke('agent:tester', rig.plane.sub)
    await refused('revoked')
  })
})

describe('@budget', () => {
  it.each([
    ['100/1h', { count: 100, seconds: 3_600, per: 'principal' }], ['1/1s per:agent', { count: 1, seconds: 1, per: 'agent' }], [`${MAX_BUDGET_COUNT}/31d per:tenant`, { count: MAX_BUDGET_COUNT, seconds: 2_678_400, per: 'tenant' }], ['5/1m per:principal', { count: 5, seconds: 60, per: 'principal' }],
  ])('reads %s', (text, budget) => expect(parseAnnotations({ budget: text }).budget).toEqual(budget))

  it.each(['', '100', '0/1h', '-1/1h', `${MAX_BUDGET_COUNT + 1}/1h`, '1/0s', '1/32d', '1/1w', '1/1h per:user', '1/1h per:', '1/1h  per:agent', ' 1/1h', '1/1h\n', '01/1h', '1.5/1h', '1e3/1h', '1/1h per:agent per:agent'])('refuses to load %j', (text) => {
    expect(() => parseAnnotations({ budget: text })).toThrow(/budget/)
  })
})

describe('what is counted', () => {
  const budget = fc.record({ policy: fc.constantFrom('a', 'b'), count: fc.integer({ min: 1, max: 4 }), seconds: fc.integer({ min: 1, max: 5 }), per: fc.constantFrom('agent', 'principal', 'tenant') }) as fc.Arbitrary<Budget>
  const step = fc.record({ budgets: fc.uniqueArray(budget, { minLength: 1, maxLength: 2, selector: ({ policy }) => policy }), sub: fc.constantFrom('u', 'v'), agent: fc.constantFrom('x', 'y'), afterMs: fc.integer({ min: 0, max: 3_000 }), isTakenBack: fc.boolean() })

  it('is what a count over the whole history gives, also after steps that were taken back', () => {
    fc.assert(fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      let undo: (() => void)[] = []
      const budgets = new Budgets({
        set: (map, key, value) => {
          const [had, old] = [map.has(key), map.get(key)]
          undo.push(() => (had ? map.set(key, old as never) : map.delete(key)))
          map.set(key, value)
        },
        delete: (map, key) => {
          const old = map.get(key)
          undo.push(() => map.set(key, old as never))
          map.delete(key)
        },
      })
      const history: { budget: Budget; sub: string; agent: string; timeMs: number }[] = []
      let timeMs = 0
      for (const { budgets: named, sub, agent, afterMs, isTakenBack } of steps) {
        timeMs += afterMs
        const who = { sub, act: { sub: agent } }
        const counted = (one: Budget): number => history.filter(({ budget: other, ...by }) => other.policy === one.policy && other.seconds === one.seconds && other.per === one.per && by.timeMs > timeMs - one.seconds * 1_000 && (one.per === 'tenant' || (one.per === 'agent' ? by.agent === agent : by.sub === sub))).length
        expect(budgets.exceeded(named, who, timeMs)).toEqual(named.find((one) => counted(one) >= one.count))
        undo = []
        budgets.spend(named, who, timeMs)
        if (isTakenBack) for (const back of undo.reverse()) back()
        else for (const one of named) history.push({ budget: one, sub, agent, timeMs })
      }
      expect(budgets.held).toBeGreaterThanOrEqual(0)
      budgets.spend([{ policy: 'z', count: 1, seconds: 1, per: 'tenant' }], { sub: 'u', act: { sub: 'x' } }, timeMs + 10_000)
      budgets.spend([{ policy: 'z', count: 1, seconds: 1, per: 'tenant' }], { sub: 'u', act: { sub: 'x' } }, timeMs + 20_000)
      expect(budgets.held, 'what no window reaches is forgotten').toBe(1)
    }), { numRuns: 300 })
  })
})
