import { type Action, besideArguments } from '../action.ts'
import { Denied } from '../denial.ts'
import { canonicalText } from '../json/canonicalize.ts'
import { Fields } from '../json/fields.ts'
import { isObject, type JsonObject, type JsonValue } from '../json/value.ts'

/** Arguments that one grant may bound, and values of one list. */
export const MAX_GRANT_ARGUMENTS = 64
export const MAX_ONE_OF = 256
const MAX_PREFIX = 4_096

/** What one top-level argument may be. */
export type ArgumentBound =
  | { readonly equals: JsonValue }
  | { readonly one_of: readonly JsonValue[] }
  /** A path below this folder, which ends in a slash. */
  | { readonly prefix: string }
  /** An integer from `min` to `max`, both included. */
  | { readonly range: { readonly min: number; readonly max: number } }

/** By name; a request fits with exactly these arguments. */
export type GrantArguments = Readonly<Record<string, ArgumentBound>>

/** @throws {Denied} `request_malformed` */
export function parseGrantArguments(value: JsonValue): GrantArguments {
  if (!isObject(value) || Object.keys(value).length > MAX_GRANT_ARGUMENTS) throw new Denied('request_malformed', 'grant: arguments')
  for (const [name, bound] of Object.entries(value)) {
    const fields = new Fields(bound, 'request_malformed', 'grant')
    if (fields.has('equals')) fields.value('equals')
    else if (fields.has('one_of')) {
      const list = fields.value('one_of')
      if (!Array.isArray(list) || list.length === 0 || list.length > MAX_ONE_OF) throw new Denied('request_malformed', `grant: one_of of ${name}`)
    } else if (fields.has('prefix')) {
      const prefix = fields.text('prefix', MAX_PREFIX)
      if (!prefix.endsWith('/') || hasTricks(prefix)) throw new Denied('request_malformed', 'grant: a prefix is a folder, ends in a slash and has no empty, `.` or `..` part')
    } else readRange(fields.object('range'))
    fields.end()
  }
  return value as unknown as GrantArguments
}

function readRange(fields: Fields): void {
  const [min, max] = [fields.value('min'), fields.value('max')]
  fields.end()
  if (!Number.isSafeInteger(min) || !Number.isSafeInteger(max) || (min as number) > (max as number)) throw new Denied('request_malformed', 'grant: a range is two integers, the smaller first')
}

/**
 * Whether a request is covered: every argument is bounded, every bound has its argument, and each fits. What carries more than
 * arguments is not: no bound speaks of the answers in a retry.
 */
export function fitsGrant(bounds: GrantArguments, action: Action): boolean {
  if (Object.keys(besideArguments(action)).length > 0) return false
  const args = action.arguments as JsonObject
  const names = Object.keys(args)
  return names.length === Object.keys(bounds).length && names.every((name) => Object.hasOwn(bounds, name) && fits(bounds[name] as ArgumentBound, args[name] as JsonValue))
}

function fits(bound: ArgumentBound, value: JsonValue): boolean {
  if ('equals' in bound) return same(bound.equals, value)
  if ('one_of' in bound) return bound.one_of.some((one) => same(one, value))
  if ('prefix' in bound) return typeof value === 'string' && value.length > bound.prefix.length && value.startsWith(bound.prefix) && !hasTricks(value)
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= bound.range.min && value <= bound.range.max
}

/** Whether every request that `inner` covers is covered by `outer`: the same arguments, each bound within the other one's. */
export function isGrantWithin(inner: GrantArguments, outer: GrantArguments): boolean {
  const names = Object.keys(inner)
  return names.length === Object.keys(outer).length && names.every((name) => Object.hasOwn(outer, name) && isBoundWithin(inner[name] as ArgumentBound, outer[name] as ArgumentBound))
}

function isBoundWithin(inner: ArgumentBound, outer: ArgumentBound): boolean {
  if ('equals' in inner) return fits(outer, inner.equals)
  if ('one_of' in inner) return inner.one_of.every((one) => fits(outer, one))
  // There is no end of paths below a folder: no list holds them.
  if ('prefix' in inner) return 'prefix' in outer && inner.prefix.startsWith(outer.prefix)
  const { min, max } = inner.range
  if ('range' in outer) return min >= outer.range.min && max <= outer.range.max
  return max - min < MAX_ONE_OF && Array.from({ length: max - min + 1 }, (_, i) => min + i).every((one) => fits(outer, one))
}

function same(a: JsonValue, b: JsonValue): boolean {
  return canonicalText(a) === canonicalText(b)
}

/** Parts that some reader of paths resolves, decodes or ends at: with them a path is not below what it begins with. */
function hasTricks(path: string): boolean {
  if (/[\\%\p{Cc}]/u.test(path)) return true
  const parts = path.replace(/^[a-z][a-z0-9+.-]*:\/\//, '').replace(/\/$/, '').split('/')
  return parts.some((part, i) => part === '.' || part === '..' || (part === '' && i > 0))
}
