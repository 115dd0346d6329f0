import { Denied } from '../denial.ts'
import { JSON_LIMITS, type JsonValue } from './value.ts'

/**
 * Copies a caller's live value once, from own enumerable data properties only, and freezes the copy: what was judged is
 * what runs (ATK-022, ATK-023).
 *
 * @throws {Denied} `arguments_not_canonical` for getters, symbols, class instances, sparse arrays, `undefined`, BigInt,
 *   functions and anything else that is not plain JSON · `limit_exceeded` beyond {@link JSON_LIMITS}
 */
export function copyPlain(value: unknown): JsonValue {
  let membersLeft = JSON_LIMITS.maxMembers
  const copy = (from: unknown, depth: number): JsonValue => {
    if (from === null || typeof from === 'string' || typeof from === 'boolean' || typeof from === 'number') return from
    if (typeof from !== 'object') throw new Denied('arguments_not_canonical', `a ${typeof from} is not JSON`)
    if (depth >= JSON_LIMITS.maxDepth) throw new Denied('limit_exceeded', 'nested too deep')
    const isArray = Array.isArray(from)
    const prototype: unknown = Object.getPrototypeOf(from)
    if (isArray ? prototype !== Array.prototype : prototype !== Object.prototype && prototype !== null) {
      throw new Denied('arguments_not_canonical', 'only plain objects and arrays')
    }
    const descriptors = Object.getOwnPropertyDescriptors(from) as Record<PropertyKey, PropertyDescriptor>
    const out: JsonValue[] | Record<string, JsonValue> = isArray ? [] : (Object.create(null) as Record<string, JsonValue>)
    for (const key of Reflect.ownKeys(descriptors)) {
      if (isArray && key === 'length') continue
      const descriptor = descriptors[key] as PropertyDescriptor
      if (typeof key === 'symbol' || !('value' in descriptor) || descriptor.enumerable !== true) {
        throw new Denied('arguments_not_canonical', 'only own enumerable data properties')
      }
      if (--membersLeft < 0) throw new Denied('limit_exceeded', 'too many members')
      const member = copy(descriptor.value, depth + 1)
      if (!Array.isArray(out)) (out as Record<string, JsonValue>)[key] = member
      else if (key === String(out.length)) out.push(member)
      else throw new Denied('arguments_not_canonical', 'sparse array')
    }
    if (Array.isArray(out) && out.length !== (from as unknown[]).length) throw new Denied('arguments_not_canonical', 'sparse array')
    return Object.freeze(out) as JsonValue
  }
  return copy(value, 0)
}
