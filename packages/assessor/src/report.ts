import { Denied, type Digest, Fields, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import { type Dimension, DIMENSIONS, MAX_LEVEL } from './criteria.ts'
import type { Grade } from './grade.ts'
import { isMeasure, type Measure, type Measured, type Measurements } from './measure.ts'

/** Longest list of reasons. */
const MAX_REASONS = 100
/** The last time that there is a date for. */
const MAX_TIME_MS = 8_640_000_000_000_000

/** A grade with what it is about and what it was computed from: everything that another needs to compute it again. */
export interface Report {
  readonly model: string
  readonly origin: string
  readonly tenant: string
  /** The tree that was assessed. */
  readonly size: number
  readonly root: Digest
  /** When, milliseconds since 1970. */
  readonly at: number
  readonly level: number
  readonly dimensions: Readonly<Record<Dimension, number>>
  readonly measures: Readonly<Partial<Record<Measure, Measured>>>
  readonly invalid: readonly string[]
}

/** What a report is about. */
export type About = Pick<Report, 'origin' | 'tenant' | 'size' | 'root' | 'at'>

export function reportOf(about: About, { model, level, dimensions, invalid }: Grade, measurements: Measurements): Report {
  const levels = Object.fromEntries(dimensions.map((one) => [one.dimension, one.level])) as Record<Dimension, number>
  return { ...about, model, level, dimensions: levels, measures: Object.fromEntries(measurements), invalid }
}

export function measurementsOf({ measures }: Report): Measurements {
  return new Map(Object.entries(measures) as [Measure, Measured][])
}

/** Reads a report back. @throws {Denied} `request_malformed` */
export function parseReport(value: JsonValue): Report {
  const fields = new Fields(value, 'request_malformed', 'report')
  const levels = fields.object('dimensions')
  const dimensions = Object.fromEntries(DIMENSIONS.map((name) => [name, levels.integer(name, MAX_LEVEL)])) as Record<Dimension, number>
  levels.end()
  const measures = fields.value('measures')
  if (!isObject(measures)) throw new Denied('request_malformed', 'report: measures')
  const report: Report = {
    model: fields.text('model', 64),
    origin: fields.text('origin', 256),
    tenant: fields.text('tenant', 63),
    size: fields.integer('size'),
    root: fields.digest('root'),
    at: fields.integer('at', MAX_TIME_MS),
    level: fields.integer('level', MAX_LEVEL),
    dimensions,
    measures: readMeasures(measures),
    invalid: fields.strings('invalid', MAX_REASONS),
  }
  fields.end()
  return report
}

function readMeasures(measures: JsonObject): Partial<Record<Measure, Measured>> {
  return Object.fromEntries(
    Object.entries(measures).map(([name, value]) => {
      if (!isMeasure(name)) throw new Denied('request_malformed', `report: no measure is called ${name}`)
      const fields = new Fields(value, 'request_malformed', name)
      const number = fields.value('value')
      const proof = fields.value('proof')
      fields.end()
      if (typeof number !== 'number' || number < 0 || !Array.isArray(proof) || !proof.every((seq) => typeof seq === 'number' && Number.isSafeInteger(seq) && seq >= 0)) throw new Denied('request_malformed', `report: ${name}`)
      return [name, { value: number, proof: proof as readonly number[] }]
    }),
  )
}

/** How one point, or level, stood in an older report and stands now. */
export interface Change {
  readonly what: string
  readonly before: number | undefined
  readonly after: number | undefined
}

/** What changed from one report to another: levels first, then the numbers that they rest on. */
export function compare(before: Report, after: Report): { readonly levels: readonly Change[]; readonly measures: readonly Change[] } {
  const levels = [{ what: 'level', before: before.level as number | undefined, after: after.level as number | undefined }, ...DIMENSIONS.map((what) => ({ what, before: before.dimensions[what], after: after.dimensions[what] }))]
  const names = [...new Set([...Object.keys(before.measures), ...Object.keys(after.measures)])] as Measure[]
  const measures = names.map((what) => ({ what, before: before.measures[what]?.value, after: after.measures[what]?.value }))
  const changed = (one: Change): boolean => one.before !== one.after
  return { levels: levels.filter(changed), measures: measures.filter(changed) }
}
