import * as fs from 'node:fs'
import * as path from 'node:path'
import { compare, coverage, DIMENSIONS, grade, measurementsOf, type Measurements, parseFrameworks, parseModel, parseReport, reportOf } from '@sealwrit/assessor'
import { Denied, type JsonObject, parseStrict } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'

const read = (name: string): JsonObject => parseStrict(fs.readFileSync(path.resolve(import.meta.dirname, '..', name))) as JsonObject
const model = parseModel(read('maturity.json'))
const about = { origin: 'plane.test/default', tenant: 'default', size: 12, root: `sha256:${'a'.repeat(64)}` as const, at: 1_000 }
const measured: Measurements = new Map([['entries', { value: 12, proof: [] }], ['executions', { value: 2, proof: [6, 9] }], ['observed_share', { value: 0.25, proof: [6] }]])
const report = reportOf(about, grade(model, measured), measured)
const raw = (): JsonObject & { measures: Record<string, unknown>; dimensions: Record<string, unknown> } => JSON.parse(JSON.stringify(report)) as never

describe('a report', () => {
  it('is read back as it was, and gives the same grade again from its own numbers', () => {
    const again = parseReport(raw())
    expect(again).toEqual(report)
    expect(reportOf(about, grade(model, measurementsOf(again), again.invalid), measurementsOf(again))).toEqual(report)
  })

  it('whose numbers or levels were changed does not come out again', () => {
    const lifted = parseReport({ ...raw(), level: 5 } as unknown as JsonObject)
    expect(grade(model, measurementsOf(lifted)).level).not.toBe(lifted.level)
  })

  it.each<[string, (report: ReturnType<typeof raw>) => void]>([
    ['a level beyond the highest', (r) => Object.assign(r, { level: 6 })],
    ['a dimension of another name', (r) => Object.assign(r.dimensions, { vibes: 5 })],
    ['a dimension less', (r) => delete r.dimensions[DIMENSIONS[0]]],
    ['a measure that is not known', (r) => Object.assign(r.measures, { trust: { value: 1, proof: [] } })],
    ['a number that is none', (r) => Object.assign(r.measures, { entries: { value: '12', proof: [] } })],
    ['a number below nothing', (r) => Object.assign(r.measures, { entries: { value: -1, proof: [] } })],
    ['a proof that is no entry', (r) => Object.assign(r.measures, { entries: { value: 1, proof: [-1] } })],
    ['a root that is no digest', (r) => Object.assign(r, { root: 'x' })],
    ['a member more', (r) => Object.assign(r, { note: 'we are mature' })],
  ])('with %s is refused', (_name, change) => {
    const changed = raw()
    change(changed)
    expect(() => parseReport(changed)).toThrow(Denied)
  })

  it('is compared by levels and by the numbers that they rest on', () => {
    const more: Measurements = new Map([...measured, ['executions', { value: 3, proof: [] }], ['denials', { value: 1, proof: [] }]])
    const later = reportOf({ ...about, at: 2_000 }, grade(model, more), more)
    const { measures } = compare(report, later)
    expect(measures).toEqual([{ what: 'executions', before: 2, after: 3 }, { what: 'denials', before: undefined, after: 1 }])
    expect(compare(report, report)).toEqual({ levels: [], measures: [] })
  })
})

describe('what frameworks ask for', () => {
  const items = parseFrameworks(read('frameworks.json'), model)

  it('names points that the model has, and says of each what is not covered', () => {
    expect(new Set(items.map(({ framework }) => framework)).size).toBe(5)
    for (const item of items) expect(item.not_covered.length, item.reference).toBeGreaterThan(10)
  })

  it('is met by measured evidence only', () => {
    expect(coverage(items, grade(model, new Map())).every(({ met }) => met === 0)).toBe(true)
    const [article12] = coverage(items, grade(model, measured))
    expect(article12).toMatchObject({ reference: 'Article 12', met: 1 })
    expect(coverage(items, grade(model, measured, ['the root is another one'])).every(({ met }) => met === 0)).toBe(true)
  })

  it('with a point that the model does not have is refused', () => {
    expect(() => parseFrameworks({ version: 'x', items: [{ framework: 'f', reference: 'r', about: 'a', points: ['nothing.9.of_the_kind'], not_covered: 'everything' }] }, model)).toThrow(Denied)
  })
})
