import * as fs from 'node:fs'
import * as path from 'node:path'
import { type Criterion, DIMENSIONS, gap, grade, type Grade, MEASURES, type Measure, type Measured, parseModel } from '@sealwrit/assessor'
import { Denied, type JsonObject, parseStrict } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'

const bytes = fs.readFileSync(path.resolve(import.meta.dirname, '../maturity.json'))
const model = parseModel(parseStrict(bytes))
const raw = (): { version: string; levels: string[]; criteria: JsonObject[] } => JSON.parse(bytes.toString()) as never
/** Numbers that meet everything up to `level`. */
const meeting = (level: number): Map<Measure, Measured> => {
  const out = new Map<Measure, Measured>()
  for (const criterion of model.criteria) {
    if (criterion.level > level) continue
    const known = out.get(criterion.measure)?.value
    const value = criterion.at_least === undefined ? Math.min(criterion.at_most as number, known ?? Number.POSITIVE_INFINITY) : Math.max(criterion.at_least, known ?? 0)
    out.set(criterion.measure, { value, proof: [] })
  }
  return out
}
const levelsOf = ({ dimensions }: Grade): number[] => dimensions.map(({ level }) => level)

describe('the maturity model', () => {
  it('asks for something at each level of each dimension, by measures that are known', () => {
    expect(model.levels).toEqual(['open', 'observed', 'policy-aware', 'governed', 'cryptographically governed', 'federated and continuously assured'])
    for (const dimension of DIMENSIONS) expect(new Set(model.criteria.filter((one) => one.dimension === dimension).map(({ level }) => level))).toEqual(new Set([1, 2, 3, 4, 5]))
  })

  it('no later level asks for less of what an earlier one asked for', () => {
    const bound = (criterion: Criterion): number => criterion.at_least ?? -(criterion.at_most as number)
    for (const one of model.criteria) for (const other of model.criteria) if (one.dimension === other.dimension && one.measure === other.measure && one.level < other.level) expect(bound(other), other.id).toBeGreaterThanOrEqual(bound(one))
  })

  it.each<[string, (model: ReturnType<typeof raw>) => void]>([
    ['an unknown measure', (m) => (m.criteria[0] = { ...m.criteria[0], measure: 'trust_me' })],
    ['an unknown dimension', (m) => (m.criteria[0] = { ...m.criteria[0], dimension: 'vibes' })],
    ['no bound', (m) => delete (m.criteria[0] as { at_least?: number }).at_least],
    ['two bounds', (m) => (m.criteria[0] = { ...m.criteria[0], at_most: 1 })],
    ['level 0', (m) => (m.criteria[0] = { ...m.criteria[0], level: 0 })],
    ['an id twice', (m) => m.criteria.push(m.criteria[0] as JsonObject)],
    ['nothing for a level', (m) => (m.criteria = m.criteria.filter(({ dimension, level }) => dimension !== 'lineage_traceability' || level !== 4))],
    ['an unknown member', (m) => (m.criteria[0] = { ...m.criteria[0], weight: 2 })],
    ['five levels', (m) => m.levels.pop()],
  ])('of another form is refused: %s', (_name, change) => {
    const changed = raw()
    change(changed)
    expect(() => parseModel(changed as unknown as JsonObject)).toThrow(Denied)
  })
})

describe('a grade', () => {
  it.each([0, 1, 2, 3, 4, 5])('is exactly %i where everything up to it is shown, and nothing more', (level) => {
    const graded = grade(model, meeting(level))
    expect(graded.level).toBe(level)
    if (level > 0) expect(Math.min(...levelsOf(graded))).toBe(level)
  })

  it('is the least of its dimensions', () => {
    const measured = meeting(4)
    measured.delete('stop_ms')
    const graded = grade(model, measured)
    expect([graded.level, Math.max(...levelsOf(graded))]).toEqual([3, 4])
    expect(gap(graded).map(({ criterion }) => criterion.measure)).toContain('stop_ms')
  })

  it('of evidence that does not verify is 0 in everything, with the reason', () => {
    const graded = grade(model, meeting(5), ['the root of the log is another one'])
    expect([graded.level, ...levelsOf(graded)]).toEqual([0, 0, 0, 0, 0, 0, 0, 0])
    expect(graded.invalid).toEqual(['the root of the log is another one'])
  })

  it('of nothing is 0, with every first step', () => {
    expect(gap(grade(model, new Map())).length).toBeGreaterThanOrEqual(DIMENSIONS.length)
  })

  it('is never raised by taking anything away, nor by a number that is none', () => {
    const values = fc.dictionary(fc.constantFrom(...MEASURES), fc.oneof(fc.double({ min: 0, max: 1, noNaN: true }), fc.integer({ min: 0, max: 5_000 })), { maxKeys: MEASURES.length })
    fc.assert(fc.property(values, fc.constantFrom(...MEASURES), fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY), (given, without, broken) => {
      const all = new Map(Object.entries(given).map(([name, value]) => [name as Measure, { value, proof: [] }]))
      const [before, less, worse] = [grade(model, all), new Map(all), new Map(all)]
      less.delete(without)
      if (worse.has(without)) worse.set(without, { value: broken, proof: [] })
      for (const after of [grade(model, less), grade(model, worse)]) {
        levelsOf(after).forEach((level, i) => expect(level).toBeLessThanOrEqual(levelsOf(before)[i] as number))
        expect(after.level).toBeLessThanOrEqual(before.level)
      }
    }), { numRuns: 300 })
  })
})
