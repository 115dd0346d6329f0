import fc from 'fast-check'
import { parse } from 'smol-toml'
import { describe, expect, it } from 'vitest'
import { ConfigError, edited, MAX_CONFIG_DEPTH, type Value } from '../src/clients/document.ts'
import { readJsonc } from '../src/clients/jsonc.ts'
import { scanToml } from '../src/clients/toml-scan.ts'

const plainly = (value: Value): unknown => (value instanceof Map ? Object.fromEntries([...value].map(([name, member]) => [name, plainly(member as Value)])) : Array.isArray(value) ? value.map((item) => plainly(item as Value)) : value)
const refused = (text: string): string => {
  try {
    readJsonc(text)
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
  return 'taken'
}

describe('JSON with comments', () => {
  it('reads every JSON text as JSON does', () => {
    fc.assert(fc.property(fc.json(), fc.constantFrom(0, 2), (text, indent) => {
      const value = JSON.parse(text) as unknown
      fc.pre(!JSON.stringify(value).includes('\\ud') && !text.includes('__proto__'))
      expect(plainly(readJsonc(JSON.stringify(value, null, indent)).value)).toEqual(JSON.parse(JSON.stringify(value)))
    }))
  })
  it('takes comments and last commas where editors do, and says where values stand', () => {
    const text = '// a\n{ /* b */ "x": [1, /* c */ "}",], // d\n "y": {},\n}\n'
    const { members } = readJsonc(text)
    expect(members.map(({ name, node }) => [name, text.slice(node.start, node.end)])).toEqual([['x', '[1, /* c */ "}",]'], ['y', '{}']])
  })
  it('ATK-098: refuses what readers disagree about, and names the line', () => {
    expect(refused('{"mcpServers": {},\n "mcpServers": {}}')).toBe('line 2: `mcpServers` is there twice')
    expect(refused('{"a": 1, "\\u0061": 2}')).toContain('twice')
    for (const text of ['', '{', '{"a"}', '{"a":}', '{,}', '[,]', '[1 2]', '{"a":1}x', '{a:1}', "{'a':1}", '{"a":01}', '{"a":+1}', '{"a":NaN}', '"\n"', '"\\x41"', '"\\ud800"', '/*', '{"a":1,,}', '\ufeff{}']) expect(refused(text), JSON.stringify(text)).toMatch(/^line \d+: /)
  })
  it.each([[MAX_CONFIG_DEPTH - 1, 'taken'], [MAX_CONFIG_DEPTH, 'taken'], [MAX_CONFIG_DEPTH + 1, 'line 1: it is nested too deeply']])('nests %i levels: %s', (depth, expected) => {
    expect(refused('['.repeat(depth) + '1' + ']'.repeat(depth))).toBe(expected)
  })
})

describe('TOML', () => {
  const text = 'a = 1 # one\nb."c d" = [ # list\n  "]", \'#\', """x\n]""", { y = "}" },\n]\n[t."u"] # table\ne = "\\"# no"\nf = 2020-01-01 00:00:00\n[[z]]\n'
  it('says where statements stand, whatever stands in their values', () => {
    expect(() => parse(text)).not.toThrow()
    expect(scanToml(text).map(({ table, key, isArray, valueStart, end }) => [table.join('/'), key?.join('/'), isArray, text.slice(valueStart, end)])).toEqual([
      ['', 'a', false, '1'],
      ['', 'b/c d', false, '[ # list\n  "]", \'#\', """x\n]""", { y = "}" },\n]'],
      ['t/u', undefined, false, ''],
      ['t/u', 'e', false, '"\\"# no"'],
      ['t/u', 'f', false, '2020-01-01 00:00:00'],
      ['z', undefined, true, ''],
    ])
  })
  it('every value that it passes can be cut out and read alone', () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.string().map((one) => JSON.stringify(one).replaceAll('\u007f', '')), fc.integer().map(String), fc.array(fc.string().filter((one) => one.isWellFormed()).map((one) => JSON.stringify(one).replaceAll('\u007f', ''))).map((all) => `[\n${all.join(', # ]\n')}\n]`)), { maxLength: 8 }), (values) => {
      const whole = values.map((value, i) => `k${i} = ${value} # "`).join('\n')
      expect(scanToml(whole).map(({ valueStart, end }) => whole.slice(valueStart, end))).toEqual(values)
    }))
  })
})

describe('edits', () => {
  it('never overlap', () => {
    expect(edited('abcd', [{ start: 2, end: 3, text: 'X' }, { start: 0, end: 1, text: '' }])).toBe('bXd')
    expect(() => edited('abcd', [{ start: 0, end: 2, text: '' }, { start: 1, end: 3, text: '' }])).toThrow(TypeError)
  })
})
