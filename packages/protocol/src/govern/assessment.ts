import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { Fields } from '../json/fields.ts'
import { isObject, type JsonObject } from '../json/value.ts'
import { present } from '../json/present.ts'
import { readBy } from '../log/entries.ts'

export const MAX_MATURITY = 5
/** Dimensions and measures of one assessment. */
export const MAX_DIMENSIONS = 16
export const MAX_MEASURES = 128
/** A measure of 1 as an assessment holds it: leaves have whole numbers. */
export const MEASURE_UNIT = 1_000_000
/** How far the clock of an assessor may be ahead of the log's, in milliseconds. */
export const MAX_ASSESSOR_SKEW_MS = 30_000
const NAME = /^[a-z][a-z0-9_]{0,39}$/

/** A grade of the entries before it, with the numbers that it was computed from. @see spec/maturity.md */
export interface AssessmentEntry {
  readonly kind: 'assessment'
  /** Version of the model. */
  readonly model: string
  /** The tree that was assessed. */
  readonly size: number
  readonly root: Digest
  /** When, milliseconds since 1970. */
  readonly at: number
  /** The least of the dimensions. */
  readonly level: number
  readonly dimensions: Readonly<Record<string, number>>
  /** In millionths. */
  readonly measures: Readonly<Record<string, number>>
  readonly by?: string
}

export function readAssessment(fields: Fields): AssessmentEntry {
  const entry = present<AssessmentEntry>({
    kind: 'assessment',
    model: fields.text('model', 64),
    size: fields.integer('size'),
    root: fields.digest('root'),
    at: fields.integer('at'),
    level: fields.integer('level', MAX_MATURITY),
    dimensions: readNumbers(fields, 'dimensions', MAX_DIMENSIONS, MAX_MATURITY),
    measures: readNumbers(fields, 'measures', MAX_MEASURES, Number.MAX_SAFE_INTEGER),
    by: readBy(fields),
  })
  if (Object.keys(entry.dimensions).length === 0 || Math.min(...Object.values(entry.dimensions)) !== entry.level) throw new Denied('artifact_malformed', 'assessment: the level is not the least of its dimensions')
  return entry
}

function readNumbers(fields: Fields, name: string, most: number, highest: number): Readonly<Record<string, number>> {
  const value = fields.value(name)
  const entries = isObject(value) ? Object.entries(value as JsonObject) : []
  if (!isObject(value) || entries.length > most || !entries.every(([key, number]) => NAME.test(key) && typeof number === 'number' && Number.isSafeInteger(number) && number >= 0 && number <= highest)) throw new Denied('artifact_malformed', `assessment: ${name}`)
  return value as unknown as Readonly<Record<string, number>>
}

/**
 * Whether an assessment can stand at its place: it is of entries before it, and was made before it.
 * @throws {Denied} `request_malformed`
 */
export function verifyAssessment({ size, at }: Pick<AssessmentEntry, 'size' | 'at'>, seq: number, timeMs: number): void {
  if (size > seq || size === 0) throw new Denied('request_malformed', 'an assessment is of entries before it')
  if (at > timeMs + MAX_ASSESSOR_SKEW_MS) throw new Denied('request_malformed', 'an assessment that was not made yet')
}
