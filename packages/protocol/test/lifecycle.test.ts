import { CHECKS, type DenialCode, DENIALS, type Entry, isEnding, isLegal, LIFE_CYCLE, lifecycleOf, type LifeCycle, OUTCOMES, STAGES, type Standing, Standings } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { NOW, receiptClaims } from './support/fixture.ts'
import { corruption, deny, expiry, gateDenial, lease, legalHistories, permit, receipt, redemption } from './support/histories.ts'

const RUNS = process.env['SEALWRIT_SOAK'] === '1' ? 50_000 : 2_000
const entries = (...bodies: object[]): readonly Entry[] => bodies.map((body, seq) => ({ v: 1, seq, time: NOW * 1_000 + seq, tenant: 'default', ...body }) as unknown as Entry)
const of = (...bodies: object[]): LifeCycle => lifecycleOf(entries(...bodies))
const states = ({ stages }: LifeCycle): string => stages.map(({ state }) => ({ passed: '+', 'failed here': 'x', 'not reached': '.', 'not shown': '?' })[state]).join('')
const all = Object.keys(LIFE_CYCLE) as Standing[]

describe('the life cycle', () => {
  it('is closed: everything that may follow is in the table, and what is not in it is illegal', () => {
    expect(all.flatMap((from) => LIFE_CYCLE[from].filter((to) => !all.includes(to)))).toEqual([])
    expect(all.filter((standing) => isEnding(standing)).sort()).toEqual(['denied', 'expired', 'lost', 'released', ...OUTCOMES].sort())
    for (const from of all) for (const to of all) expect(isLegal(from, to)).toBe(LIFE_CYCLE[from].includes(to))
    // From where everything begins every other standing can be reached, and no way runs in a circle.
    const reach = (from: Standing, seen: readonly Standing[]): readonly Standing[] => {
      expect(seen).not.toContain(from)
      return [from, ...LIFE_CYCLE[from].flatMap((to) => reach(to, [...seen, from]))]
    }
    expect(new Set(reach('requested', []))).toEqual(new Set(all))
  })

  it.each([...legalHistories()].map((one) => [one.title, one] as const))('%s: stands where it should, and nothing contradicts it', (_title, { entries: given, standing }) => {
    const cycle = lifecycleOf(given)
    expect(cycle).toMatchObject({ contradicted: [], standing, isEnded: isEnding(standing as Standing) })
    expect(cycle.stages.map(({ stage }) => stage)).toEqual(STAGES)
    const told = new Standings()
    expect(given.flatMap((entry) => told.take(entry))).toEqual([])
    // What was passed is proved by an entry; nothing is passed before what it rests on was reached.
    for (const { state, seq } of cycle.stages) expect(seq !== undefined).toBe(state === 'passed' || state === 'failed here' || (state === 'not shown' && seq !== undefined))
    expect(states(cycle)).toMatch(/^[+?]*x?\.*[+?]*$/)
  })

  it('draws each ending as what was reached', () => {
    expect(states(of(permit('challenge')))).toBe('+++++.....')
    expect(states(of(permit('redeem')))).toBe('+++++.....')
    expect(states(of(permit('redeem'), redemption))).toBe('++++++....')
    expect(states(of(permit('redeem'), expiry('expired')))).toBe('+++++....+')
    expect(states(of(permit('challenge'), expiry('indeterminate')))).toBe('+++++????+')
    expect(states(of(permit('redeem'), redemption, expiry('indeterminate')))).toBe('++++++???+')
    for (const [observed, shown] of Object.entries({ policy_denied: '+++x++++++', policy_no_match: '+++x++++++', tool_not_pinned: '++x+++++++', approval_required: '++++x+++++', budget_exceeded: '++++x+++++' })) expect(states(of({ ...permit('challenge'), observed }, receipt('completed', undefined, { assurance: 'A1' }))), observed).toBe(shown)
    const by = Object.fromEntries(OUTCOMES.map((outcome) => [outcome, states(of(permit('challenge'), receipt(outcome)))]))
    expect(by).toEqual({ completed: '++++++++++', failed: '++++++x+++', terminated: '++++++x+++', not_started: '+++++x.+++', indeterminate: '++++++?+++' })
  })

  it('says which entry proves a stage, when it was, by which checks, and what failed', () => {
    const { stages } = of(permit('redeem'), redemption, receipt('completed'))
    const at = Object.fromEntries(stages.map(({ stage, seq, time }) => [stage, [seq, time === undefined ? undefined : time - NOW * 1_000]]))
    expect(at).toEqual({ request: [0, undefined], identify: [0, undefined], attest: [0, undefined], evaluate: [0, 0], authorize: [0, 0], admit: [1, 1], execute: [2, 0], record: [2, 5], report: [2, 2], close: [2, 2] })
    expect(stages[5]).toMatchObject({ stage: 'admit', checks: CHECKS })
    expect(of(permit('challenge'), receipt('not_started')).stages[5]).toMatchObject({ state: 'failed here', checks: ['conditions'], detail: 'action_mismatch' })
    expect(of(permit('challenge'), receipt('terminated')).stages[6]).toMatchObject({ state: 'failed here', detail: 'terminated: killed' })
    expect(of(permit('challenge'), expiry('indeterminate'), receipt('completed', 1)).stages[9]).toMatchObject({ state: 'passed', seq: 2, detail: 'completed, in place of #1' })
  })

  it(`I3: any single step skipped, exchanged, doubled or taken from elsewhere is contradicted (${RUNS} corruptions of every legal history)`, () => {
    fc.assert(fc.property(corruption, ({ entries: broken }) => lifecycleOf(broken).contradicted.length > 0), { numRuns: RUNS, seed: 20_261_125 })
  })

  it('what stands in the wrong order is contradicted, also where the list is in the right one', () => {
    const [first, second] = entries(permit('challenge'), receipt('completed')) as [Entry, Entry]
    expect(lifecycleOf([{ ...first, seq: 5 }, { ...second, seq: 4 }]).contradicted).toEqual([{ seq: 4, reason: 'the entry stands before one that it follows' }])
  })

  it.each(CHECKS)('I1: something ran though the check `%s` had not passed: contradicted, unless it was only observed', (check) => {
    const checks = { ...(receiptClaims()['checks'] as object), [check]: 'missing' } as never
    for (const outcome of OUTCOMES) {
      const found = of(permit('challenge'), receipt(outcome, undefined, { checks })).contradicted
      expect(found.length, outcome).toBe(outcome === 'not_started' ? 0 : 1)
      expect(of(permit('challenge'), receipt(outcome, undefined, { checks, assurance: 'A1' })).contradicted).toEqual([])
    }
  })

  it('a receipt that cannot be read, a renewal after the ending, and nothing at all are contradicted', () => {
    expect(of(permit('challenge'), { ...receipt('completed'), receipt: 'x.y.z' }).contradicted).toEqual([{ seq: 1, reason: 'the receipt cannot be read' }])
    expect(of(permit('challenge'), receipt('completed'), lease).contradicted).toEqual([{ seq: 2, reason: 'a renewal of what is completed' }])
    expect(of().contradicted).toEqual([{ reason: 'nothing is shown of it' }])
  })
})

describe('I9: a denial stops at the stage of its check', () => {
  const STOPS: Partial<Record<DenialCode, string>> = { request_malformed: 'request', method_unknown: 'request', limit_exceeded: 'request', arguments_not_canonical: 'request' }
  const BY_CHECK = { identity: 'identify', environment: 'attest', policy: 'evaluate', authorization: 'authorize', cryptography: 'authorize', state: 'authorize', lineage: 'authorize', conditions: 'authorize' } as const

  it.each(Object.keys(DENIALS) as DenialCode[])('%s', (code) => {
    const stop = STOPS[code] ?? BY_CHECK[DENIALS[code].check]
    const cycle = of(deny(code))
    const at = STAGES.indexOf(stop as never)
    expect(cycle).toMatchObject({ standing: 'denied', isEnded: true, contradicted: [] })
    expect(states(cycle)).toBe(`${'+'.repeat(at)}x${'.'.repeat(9 - at)}`)
    expect(cycle.stages[at]).toMatchObject({ seq: 0, time: NOW * 1_000, detail: code })
    // Without a policy state no policy was asked: nothing later than the evaluation is claimed.
    const unasked = of(deny(code, { policy: undefined }))
    expect(states(unasked).indexOf('x')).toBe(Math.min(at, 3))
    expect(states(unasked)).toMatch(/^[+?]*x\.*$/)
  })

  it('what a gate refused stops before anything was issued, and at the gate where it had an artifact in its hands', () => {
    expect(states(of(gateDenial('method_unknown')))).toBe('x.........')
    expect(states(of(gateDenial('state_stale')))).toBe('+??x......')
    const checks = { ...(receiptClaims()['checks'] as object), authorization: 'fail' } as never
    expect(states(of(gateDenial('challenge_mismatch', checks)))).toBe('+????x....')
  })

  it('a hold that was rejected, or that nobody approved in time, stops where it waited', () => {
    const cycle = [...legalHistories()].filter(({ title }) => /^held, (rejected|expired)$/.test(title)).map(({ entries: given }) => lifecycleOf(given))
    expect(cycle.map(states)).toEqual(['++++x.....', '++++x.....'])
    expect(cycle.map(({ stages }) => stages[4]?.detail)).toEqual(['approval_rejected', 'approval_expired'])
  })
})
