import { Denied } from '../denial.ts'
import type { Fields } from '../json/fields.ts'

/** What a number has to be for something to hold: at least this, or at most that. */
export interface Bound {
  readonly at_least?: number
  readonly at_most?: number
}

/** Reads the one bound of a rule. @throws {Denied} `request_malformed` for none, two, or one that is no number from 0 on */
export function readBound(fields: Fields): Bound {
  const bound = { ...one(fields, 'at_least'), ...one(fields, 'at_most') }
  if (Object.keys(bound).length !== 1) throw new Denied('request_malformed', 'a rule has one bound: at_least or at_most')
  return bound
}

function one(fields: Fields, name: 'at_least' | 'at_most'): Bound {
  const value = fields.optional(name, (member) => fields.value(member))
  if (value === undefined) return {}
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw new Denied('request_malformed', `${name} is a number from 0 on`)
  return { [name]: value }
}

/** Whether `value` is on the right side. What nobody told, or is no number, is not. */
export function isWithin({ at_least: least, at_most: most }: Bound, value: number | undefined): boolean {
  if (value === undefined || !Number.isFinite(value)) return false
  return (least === undefined || value >= least) && (most === undefined || value <= most)
}
