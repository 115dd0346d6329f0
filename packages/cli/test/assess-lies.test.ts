import { type JsonObject, tilePath } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { openRigs, outcome, type Rig, TestGate } from '../../control-plane/test/support/rig.ts'
import { type Assessed, assessedOf } from '../src/assess/deployment.ts'
import { maturityModel } from '../src/assess/model.ts'
import { inUnits, recompute } from '../src/assess/recompute.ts'

const opened = openRigs()
/** A real plane, and a gate whose receipts say what it likes. */
async function told(...receipts: readonly JsonObject[]): Promise<Rig> {
  const rig = await opened()
  const gate = await rig.gate()
  for (const claims of receipts) await ran(gate, claims)
  return rig
}
async function ran(gate: TestGate, claims: JsonObject): Promise<void> {
  const { permit, leaf } = await gate.permit()
  await gate.report(gate.receiptFor(permit.jti, leaf, claims))
}
const assessed = ({ plane, clock, key, tenant }: Rig, behindMs = 0): Promise<Assessed> =>
  assessedOf({ source: { checkpoint: async () => (await plane.log.evidenced()).note, tile: (tile) => plane.reader.tile(tilePath(tile)) }, tenant, key: () => key, overtaken: () => Promise.resolve(undefined), probe: () => Promise.resolve([]) }, maturityModel(), clock.wallMs() - behindMs, true)
const shown = async (rig: Rig): Promise<Record<string, readonly [number, number]>> => {
  const { measures } = (await assessed(rig)).report
  return Object.fromEntries((['covered_share', 'receipt_gaps', 'lifecycle_violations'] as const).map((name) => [name, [measures[name]?.value ?? -1, measures[name]?.proof.length ?? 0]]))
}

describe('an assessor', () => {
  it('whose clock was set back shows nothing: what is old would be of the last days', async () => {
    const rig = await told({})
    expect((await assessed(rig, 30_000)).report.invalid).toEqual([])
    const { report } = await assessed(rig, 86_400_000)
    expect([report.level, report.invalid]).toEqual([0, [expect.stringMatching(/^entry \d+ was written after the time/)]])
  })

  it('rounds nothing up to all, and nothing down to none', () => {
    expect([0, 1e-9, 1 - 1e-9, 1, 3.5].map(inUnits)).toEqual([0, 1, 999_999, 1_000_000, 3_500_000])
  })

  it('of a model that is not at hand is not said to have come out again', async () => {
    const rig = await told({})
    const { report: { measures: _measures, invalid: _invalid, origin: _origin, tenant: _tenant, ...report } } = await assessed(rig)
    const dimensions = Object.fromEntries(Object.keys(report.dimensions).map((name) => [name, 5]))
    await rig.plane.assessments.record({ ...report, model: 'maturity/0', level: 5, dimensions, measures: {} }, 'user:admin')
    const texts = await rig.store.entries(0, 1_000)
    const verified = { verdict: 'verified', findings: [], established: [], notShown: [] } as unknown as Parameters<typeof recompute>[0]
    const { established, notShown } = await recompute(verified, async function* () { yield* texts }, maturityModel())
    expect([established, notShown[0]]).toEqual([[], 'the levels of assessments by a model that is not at hand'])
  })
})

describe('a gate that signs what is not, at a real plane', () => {
  it('used a number twice, which a plane of before took: level 0, with the gate, its session and the entry', async () => {
    const rig = await opened()
    const liar = await rig.gate()
    for (const claims of [{}, {}]) await ran(liar, claims)
    expect(await outcome(ran(liar, { sequence: 1 }))).toBe('artifact_malformed')
    rig.plane.log.state.numbers.refusal = () => undefined // as it was
    await ran(liar, { sequence: 1 })
    const { report, graded } = await assessed(rig)
    expect(report.invalid).toEqual([expect.stringMatching(/^entry \d+: gate [\w-]{43} used number 1 of its session [\w-]{22} twice$/)])
    expect([graded.level, new Set(Object.values(report.dimensions))]).toEqual([0, new Set([0])])
    expect(report.measures.log_verified?.value).toBe(0)
    const [, seq, gate] = /^entry (\d+): gate (\S+) /.exec(report.invalid[0] ?? '') ?? []
    await rig.plane.keys.revokeGate(gate ?? '', Number(seq), 'user:admin')
    expect((await assessed(rig)).report.invalid).toEqual([])
  })

  it('skipped numbers: what is missing is counted at the gate, and the entry before which it is', async () => {
    expect(await shown(await told({}, {}, { sequence: 5 }))).toEqual({ covered_share: [0.5, 1], receipt_gaps: [3, 1], lifecycle_violations: [0, 0] })
  })

  it('went back: what was late is not missing', async () => {
    expect(await shown(await told({ sequence: 2 }, { sequence: 0 }, { sequence: 1 }))).toEqual({ covered_share: [1, 0], receipt_gaps: [0, 0], lifecycle_violations: [0, 0] })
  })

  it('began behind the end of its permit: no step of a life, and below level 3', async () => {
    const began = await told({}, { started: 4_000_000_000_000, finished: 4_000_000_000_000 })
    expect(await shown(began)).toEqual({ covered_share: [1, 0], receipt_gaps: [0, 0], lifecycle_violations: [1, 1] })
    const { graded } = await assessed(began)
    expect(graded.dimensions[0]?.points.find(({ criterion }) => criterion.measure === 'lifecycle_violations')).toMatchObject({ isMet: false, measured: { value: 1 } })
  })

  it('one of two: the one that accounts for less counts, however little it did', async () => {
    const rig = await told(...Array.from({ length: 9 }, () => ({})))
    const other = new TestGate(rig)
    await other.enrol()
    await ran(other, {})
    await ran(other, { sequence: 3 })
    expect(await shown(rig)).toMatchObject({ covered_share: [0.5, 1] })
  })

  it('is told no second ending: the plane takes none', async () => {
    const rig = await opened()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    await gate.report(gate.receiptFor(permit.jti, leaf))
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('artifact_spent')
    expect(await shown(rig)).toMatchObject({ lifecycle_violations: [0, 0] })
  })
})
