import * as fs from 'node:fs'
import * as path from 'node:path'
import canonicalizePublished from 'canonicalize'
import fc from 'fast-check'
import { canonicalize as jsonCanonicalize } from 'json-canonicalize'
import { canonicalize, canonicalText, copyPlain, fromHex, fromUtf8, isDenialCode, type JsonValue, parseStrict, readNumber, utf8, writeNumber } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { score, sized } from '../../../test/support/scoreboard.ts'
import { outcome } from './support/outcome.ts'

const vectors = path.resolve(import.meta.dirname, '../../../spec/vectors')
const SEED = 20_261_123
const RUNS = sized(100_000, 1_000_000)

interface Vector {
  readonly name: string
  readonly utf8?: string
  readonly hex?: string
  readonly repeat?: [string, number, string]
  readonly list?: number
  readonly canonical?: string
  readonly expect: string
}

function bytesOf({ utf8: text, hex, repeat, list }: Vector): Uint8Array {
  if (hex !== undefined) return fromHex(hex)
  if (repeat !== undefined) return utf8(repeat[0] === '[' ? repeat[0].repeat(repeat[1]) + repeat[2].repeat(repeat[1]) : repeat[0].repeat(repeat[1]) + repeat[2])
  if (list !== undefined) return utf8(`[${Array.from({ length: list }, () => '0').join(',')}]`)
  return utf8(text ?? '')
}

describe('the strict parser', () => {
  const cases = JSON.parse(fs.readFileSync(path.join(vectors, 'json.json'), 'utf8')) as Vector[]
  it.each(cases)('ATK-011, ATK-017, ATK-018, ATK-021: $name → $expect', (vector) => {
    if (vector.expect !== 'ok' && !isDenialCode(vector.expect)) throw new Error(`unknown expect value: ${vector.expect}`)
    const bytes = bytesOf(vector)
    expect(outcome(() => parseStrict(bytes))).toBe(vector.expect)
    if (vector.canonical !== undefined) expect(canonicalText(parseStrict(bytes))).toBe(vector.canonical)
  })

  it('ATK-020: keeps __proto__ an own member and pollutes nothing', () => {
    const value = parseStrict(utf8('{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}')) as Record<string, JsonValue>
    expect(Object.keys(value)).toEqual(['__proto__', 'constructor'])
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it('ATK-021: refuses depth 10^6 and 10^6 members in bounded memory', () => {
    const before = process.memoryUsage().rss
    for (const text of ['['.repeat(1_000_000), '{"a":'.repeat(150_000), `[${'0,'.repeat(500_000)}0]`]) expect(outcome(() => parseStrict(utf8(text)))).toBe('limit_exceeded')
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1_048_576)
  })

  it('accepts what JSON.parse accepts, and only that, save what it refuses on purpose', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const ours = outcome(() => parseStrict(utf8(text)))
        if (ours === 'ok') expect(canonicalText(parseStrict(utf8(text)))).toBe(canonicalText(copyPlain(JSON.parse(text))))
        else expect(['arguments_not_canonical', 'request_malformed', 'encoding_invalid']).toContain(ours)
      }),
      { numRuns: 5_000, seed: SEED },
    )
  })

  it('throws nothing but denials on arbitrary bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => void outcome(() => parseStrict(bytes))), { numRuns: 20_000, seed: SEED })
    fc.assert(fc.property(fc.string({ unit: fc.constantFrom(...Array.from('{}[]",:0123456789.eE+-\\utrfnals \n')) }), (text) => void outcome(() => parseStrict(utf8(text)))), { numRuns: 20_000, seed: SEED })
  })
})

/** Integers that would be printed without an exponent and are beyond ±2^53−1: refused both ways. */
const isUnsafe = (value: number): boolean => Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21

describe('the canonicaliser', () => {
  it.each(['arrays', 'french', 'structures', 'unicode', 'weird'])('gives the published bytes of %s, twice', (name) => {
    const output = fs.readFileSync(path.join(vectors, 'jcs/output', `${name}.json`))
    const once = canonicalize(parseStrict(fs.readFileSync(path.join(vectors, 'jcs/input', `${name}.json`))))
    expect(Buffer.from(once).equals(output)).toBe(true)
    expect(Buffer.from(canonicalize(parseStrict(once))).equals(output)).toBe(true)
  })

  it('gives the published numbers of `values`, which the strict parser refuses for one that would be rounded', () => {
    const input = fs.readFileSync(path.join(vectors, 'jcs/input/values.json'))
    expect(outcome(() => parseStrict(input))).toBe('arguments_not_canonical')
    const loose = JSON.parse(input.toString()) as { numbers: number[] }
    const output = fs.readFileSync(path.join(vectors, 'jcs/output/values.json'), 'utf8')
    expect(output).toContain(`[${loose.numbers.map(writeNumber).join(',')}]`)
    expect(canonicalText(loose as never)).toBe(output)
  })

  it(`ATK-016: agrees with two published implementations on ${RUNS / 10} values`, () => {
    const value = fc.jsonValue({ maxDepth: 4, noUnicodeString: false })
    fc.assert(
      fc.property(value, (given) => {
        const ours = outcome(() => canonicalize(copyPlain(given)))
        if (ours !== 'ok') return
        const text = fromUtf8(canonicalize(copyPlain(given)))
        expect(text).toBe(canonicalizePublished(given))
        expect(text).toBe(jsonCanonicalize(given))
        expect(fromUtf8(canonicalize(parseStrict(utf8(text))))).toBe(text)
      }),
      { numRuns: RUNS / 10, seed: SEED },
    )
    score({ id: 'S7', figure: 'canonical JSON that differs from two published implementations, on accepted input', n: RUNS / 10, violations: 0, seed: SEED, faultsLanded: RUNS / 10 })
  })

  it(`ATK-017: ${RUNS} doubles survive writing and reading`, () => {
    const view = new DataView(new ArrayBuffer(8))
    let state = BigInt(SEED)
    for (let i = 0; i < RUNS; i++) {
      state = (state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n) & 0xffff_ffff_ffff_ffffn
      view.setBigUint64(0, state)
      const value = view.getFloat64(0)
      if (!Number.isFinite(value) || Object.is(value, -0) || isUnsafe(value)) continue
      const text = writeNumber(value)
      if (readNumber(text) !== value || text !== JSON.stringify(value)) expect(text).toBe(value)
    }
  })

  it('ATK-019: sorts astral names before U+E000 to U+FFFF in every order of insertion', () => {
    const names = ['\u{10000}', '\ue000', '\uffff', 'z', '\u{1f602}']
    const expected = canonicalText(Object.fromEntries(names.map((n) => [n, 1])))
    fc.assert(fc.property(fc.shuffledSubarray(names, { minLength: names.length }), (order) => canonicalText(Object.fromEntries(order.map((n) => [n, 1]))) === expected), { seed: SEED })
    expect(expected.indexOf('\u{10000}')).toBeLessThan(expected.indexOf('\ue000'))
  })
})

describe('live values of a caller', () => {
  let reads = 0
  const getter = Object.defineProperty({}, 'path', { enumerable: true, get: () => `/tmp/${reads++}` })
  const sparse = Array.from({ length: 2 })
  Reflect.deleteProperty(sparse, 0)
  it.each<[string, unknown]>([
    ['a getter', getter], ['a proxy of an accessor', new Proxy(getter, {})], ['an object with toJSON of its class', new Date(0)], ['a BigInt', { a: 1n }], ['undefined', { a: undefined }],
    ['a sparse array', sparse], ['a symbol member', { [Symbol('a')]: 1 }], ['a function', { a: () => 1 }], ['a Map', new Map()], ['an array with a member', Object.assign([1], { extra: 1 })],
    ['a hidden member', Object.defineProperty({}, 'a', { value: 1, enumerable: false })],
  ])('ATK-022: refuses %s', (_name, value) => {
    expect(outcome(() => copyPlain(value))).toBe('arguments_not_canonical')
    expect(reads).toBe(0)
  })

  it('ATK-023: copies once and freezes, so that a later change changes nothing', () => {
    const live = { path: ['a'], deep: { x: 1 } }
    const copy = copyPlain(live) as { path: string[]; deep: { x: number } }
    live.path[0] = 'b'
    live.deep.x = 2
    expect(copy).toEqual({ path: ['a'], deep: { x: 1 } })
    expect(() => {
      copy.path[0] = 'c'
    }).toThrow(TypeError)
  })

  it('refuses −0, NaN and infinities at the canonicaliser', () => {
    for (const value of [-0, Number.NaN, Number.POSITIVE_INFINITY]) expect(outcome(() => canonicalText(value))).toBe('arguments_not_canonical')
  })
})
