import type { JsonObject } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { fromHeader, toHeader } from '../../src/mirror.ts'
import { MAX_MIRRORED, mirroredIn, mirroredOf, verifyMirrored } from '../../src/tools/mirrored.ts'

describe('a value in a header', () => {
  it.each([
    ['us-west1', 'us-west1'],
    ['Hello, 世界', '=?base64?SGVsbG8sIOS4lueVjA==?='],
    [' padded ', '=?base64?IHBhZGRlZCA=?='],
    ['line1\nline2', '=?base64?bGluZTEKbGluZTI=?='],
    ['=?base64?literal?=', '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?='],
    ['', ''],
  ])('is %j as the specification has it', (value, header) => {
    expect(toHeader(value)).toBe(header)
    expect(fromHeader(header)).toBe(value)
  })

  it('comes back as it was, and is always a header value', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), (value) => {
        const header = toHeader(value)
        expect(header).toMatch(/^[\t -~]*$/)
        expect(header.trim()).toBe(header)
        expect(fromHeader(header)).toBe(value)
      }),
    )
  })

  it.each(['=?base64?QQ?=', '=?base64?QR==?=', '=?base64?Q Q=?=', '=?base64?/w==?=', 'caf\xe9', 'a\x00b', '=?base64?7aCA?='])('refuses %j: it is no value, or has another spelling', (header) => {
    expect(fromHeader(header)).toBeUndefined()
  })

  it('takes what only looks encoded as it is', () => {
    for (const header of ['=?base64?=', '=?BASE64?QQ==?=', '=?base64?QQ==']) expect(fromHeader(header)).toBe(header)
  })
})

const region = { type: 'string', 'x-mcp-header': 'Region' }

describe('arguments that headers mirror', () => {
  it('are found where properties alone lead to them', () => {
    expect(mirroredIn({ type: 'object', properties: { region, to: { type: 'object', properties: { dry: { type: ['boolean', 'null'], 'x-mcp-header': 'Dry' } } }, 'x-mcp-header': { type: 'string' } } })).toEqual([
      { name: 'Region', path: ['region'] },
      { name: 'Dry', path: ['to', 'dry'] },
    ])
    expect(mirroredIn(undefined)).toEqual([])
    expect(mirroredIn({ type: 'object', properties: { a: { type: 'string', enum: [{ 'x-mcp-header': 'a' }] } } })).toEqual([])
  })

  it.each<[string, JsonObject]>([
    ['at the root', { 'x-mcp-header': 'A', type: 'string' }],
    ['in items', { properties: { list: { type: 'array', items: region } } }],
    ['in anyOf', { anyOf: [{ properties: { region } }] }],
    ['in $defs', { $defs: { region } }],
    ['on an object', { properties: { a: { type: 'object', 'x-mcp-header': 'A' } } }],
    ['on a number', { properties: { a: { type: 'number', 'x-mcp-header': 'A' } } }],
    ['on no type', { properties: { a: { 'x-mcp-header': 'A' } } }],
    ['with an empty name', { properties: { a: { type: 'string', 'x-mcp-header': '' } } }],
    ['with a line end in the name', { properties: { a: { type: 'string', 'x-mcp-header': 'A\r\nB: c' } } }],
    ['with a name that is no text', { properties: { a: { type: 'string', 'x-mcp-header': 7 } } }],
    ['twice, in another case', { properties: { a: region, b: { type: 'string', 'x-mcp-header': 'REGION' } } }],
    ['too often', { properties: Object.fromEntries(Array.from({ length: MAX_MIRRORED + 1 }, (_, i) => [`p${i}`, { type: 'string', 'x-mcp-header': `P${i}` }])) }],
  ])('make a definition invalid %s', (_where, schema) => {
    expect(mirroredIn(schema)).toBeUndefined()
  })

  const mirrored = mirroredIn({ properties: { region, n: { type: 'integer', 'x-mcp-header': 'N' }, dry: { type: 'boolean', 'x-mcp-header': 'Dry' } } }) ?? []

  it('are written as the specification has it', () => {
    expect([...mirroredOf(mirrored, { region: ' a', n: -7, dry: false })]).toEqual([['Region', ' a'], ['N', '-7'], ['Dry', 'false']])
    expect([...mirroredOf(mirrored, { region: null, other: 1 })]).toEqual([])
  })

  it.each<[string, JsonObject, Record<string, string>]>([
    ['all there', { region: 'Süd', n: 42, dry: true }, { region: '=?base64?U8O8ZA==?=', n: '42.0', dry: 'true' }],
    ['none there', {}, { other: 'x' }],
    ['a null has none', { region: null }, {}],
  ])('agree: %s', (_what, args, shown) => {
    verifyMirrored(mirrored, args, new Map(Object.entries(shown)))
  })

  it.each<[string, JsonObject, Record<string, string>]>([
    ['another value', { region: 'a' }, { region: 'b' }],
    ['another case', { region: 'a' }, { region: 'A' }],
    ['left out', { region: 'a' }, {}],
    ['of an argument that is not there', {}, { region: 'a' }],
    ['of a null', { region: null }, { region: 'null' }],
    ['not encoded as it says', { region: 'a' }, { region: '=?base64?YR==?=' }],
    ['another number', { n: 42 }, { n: '42.5' }],
    ['no number', { n: 42 }, { n: '4e1' }],
    ['another truth', { dry: true }, { dry: 'TRUE' }],
  ])('disagree: %s (ATK-103)', (_what, args, shown) => {
    expect(() => verifyMirrored(mirrored, args, new Map(Object.entries(shown)))).toThrow('header')
  })
})
