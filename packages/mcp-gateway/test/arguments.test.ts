import type { JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Bench, codeOf, honest, TOOL } from './support/bench.ts'

const benchWith = (inputSchema: JsonObject): Promise<Bench> => new Bench({ script: honest(() => [{ ...TOOL, inputSchema }]) }).initialize()

describe('arguments of a call', () => {
  const SCHEMA = { type: 'object', properties: { path: { type: 'string' }, depth: { type: 'integer', minimum: 0 } }, required: ['path'], additionalProperties: false }

  it('that fit the schema of their tool go on', async () => {
    const bench = await benchWith(SCHEMA)
    expect(codeOf(await bench.call('read_file', { path: '/x', depth: 1 }))).toBe('ran')
  })

  it('null is as one that is left out, where the tool knows it and does not require it; the server gets what was said', async () => {
    const bench = await benchWith(SCHEMA)
    expect(codeOf(await bench.call('read_file', { path: '/x', depth: null }))).toBe('ran')
    expect(bench.calls()[0]).toContain('"arguments":{"depth":null,"path":"/x"}')
    expect(codeOf(await bench.call('read_file', { path: null }))).toBe('request_malformed')
    expect(codeOf(await bench.call('read_file', { path: '/x', secret: null }))).toBe('request_malformed')
    expect(bench.calls()).toHaveLength(1)
  })

  it.each<[string, JsonObject, string]>([
    ['one is missing', {}, 'path'],
    ['one is of another type', { path: ['/x'] }, 'path'],
    ['one is out of bounds', { path: '/x', depth: -1 }, 'depth'],
    ['one is not known', { path: '/x', secret: 'do not tell' }, 'secret'],
  ])('that do not, since %s, are refused before any policy is asked, and whoever chose them reads why', async (_name, args, about) => {
    const bench = await benchWith(SCHEMA)
    const answer = await bench.call('read_file', args)
    expect(codeOf(answer)).toBe('request_malformed')
    expect(answer['result']).toMatchObject({ isError: true })
    expect(JSON.stringify(answer)).toContain(about)
    expect(JSON.stringify(answer)).not.toContain('do not tell')
    await bench.settle()
    expect(bench.calls()).toEqual([])
    expect(bench.plane.entries.some(({ kind }) => kind === 'permit')).toBe(false)
    expect(bench.denials()).toEqual(['request_malformed'])
  })

  it.each<[string, JsonObject, JsonObject]>([
    ['a reference over the network', { $ref: 'https://example.com/schema.json' }, {}],
    ['a reference in a circle', { $ref: '#/$defs/a', $defs: { a: { $ref: '#/$defs/a' } } }, {}],
    ['a pattern that takes for ever', { properties: { path: { type: 'string', pattern: '^(a+)+$' } } }, { path: `${'a'.repeat(40)}b` }],
  ])('ATK-105: %s ends the call with limit_exceeded, and honest tools go on', async (_name, inputSchema, args) => {
    const bench = await new Bench({ script: honest(() => [{ ...TOOL, name: 'bomb', inputSchema }, TOOL]) }).initialize()
    const [bomb, call] = await Promise.all([bench.call('bomb', args), bench.call()])
    expect([codeOf(bomb), codeOf(call)]).toEqual(['limit_exceeded', 'ran'])
    expect(bench.calls()).toHaveLength(1)
  })
})
