import { type Bound, Denied, Fields, type JsonValue, readBound } from '@sealwrit/protocol'
import { isMeasure, type Measure } from './measure.ts'

/** What is graded, each for itself; a deployment is as mature as the least of them. */
export const DIMENSIONS = ['runtime_governance', 'deterministic_policy', 'fail_closed_execution', 'cryptographic_verification', 'authorization_control', 'tamper_evident_audit', 'lineage_traceability'] as const
export type Dimension = (typeof DIMENSIONS)[number]
export const MAX_LEVEL = 5
const MAX_CRITERIA = 200

/** One point of the model: met when its measure was shown, and is on the right side of its bound. */
export interface Criterion extends Bound {
  readonly id: string
  readonly dimension: Dimension
  /** The level that cannot be reached without it. */
  readonly level: number
  readonly measure: Measure
  /** What holds when it is met: a sentence without its full stop. */
  readonly says: string
  /** What to do where it is not. */
  readonly step: string
}

/** The maturity model as data. @see spec/maturity.md */
export interface Model {
  readonly version: string
  /** Names of the levels, from 0. */
  readonly levels: readonly string[]
  readonly criteria: readonly Criterion[]
}

/** @throws {Denied} `request_malformed` for a model of another form */
export function parseModel(value: JsonValue): Model {
  const fields = new Fields(value, 'request_malformed', 'maturity model')
  const version = fields.text('version', 64)
  const levels = fields.strings('levels', MAX_LEVEL + 1)
  const list = fields.value('criteria')
  fields.end()
  if (levels.length !== MAX_LEVEL + 1 || !Array.isArray(list) || list.length > MAX_CRITERIA) throw new Denied('request_malformed', 'maturity model: levels or criteria')
  const criteria = list.map(readCriterion)
  if (new Set(criteria.map(({ id }) => id)).size !== criteria.length) throw new Denied('request_malformed', 'maturity model: an id twice')
  for (const dimension of DIMENSIONS) {
    for (let level = 1; level <= MAX_LEVEL; level++) {
      if (!criteria.some((one) => one.dimension === dimension && one.level === level)) throw new Denied('request_malformed', `maturity model: nothing is asked for level ${level} of ${dimension}`)
    }
  }
  return { version, levels, criteria }
}

function readCriterion(value: JsonValue): Criterion {
  const fields = new Fields(value, 'request_malformed', 'criterion')
  const measure = fields.value('measure')
  if (!isMeasure(measure)) throw new Denied('request_malformed', 'criterion: an unknown measure')
  const bound = readBound(fields)
  const criterion: Criterion = { id: fields.text('id', 64), dimension: fields.oneOf('dimension', DIMENSIONS), level: fields.integer('level', MAX_LEVEL), measure, ...bound, says: fields.text('says', 200), step: fields.text('step', 300) }
  fields.end()
  if (criterion.level < 1) throw new Denied('request_malformed', 'criterion: level')
  return criterion
}
