import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import { createRequire } from 'node:module'
import * as os from 'node:os'
import * as path from 'node:path'
import { declareArguments, loadPolicySet, type PinnedSchema, PolicyEngine, PolicyError, type ProposedArguments, proposeArguments, SCHEMA_FILE, toCedar } from '@sealwrit/control-plane'
import type { JsonObject, JsonValue } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { SCHEMA, sha256, toolCall } from './support/rig.ts'

const STARTER = fs.readFileSync(path.resolve(import.meta.dirname, '../../cli/starter/schema.cedarschema'), 'utf8')
const tool = (name: string, properties: object, more: object = {}): PinnedSchema => ({ target: 'mcp://fs', name, inputSchema: { type: 'object', properties, ...more } as unknown as JsonValue })
/** What is proposed of one argument `a`, or why it is not. */
function of(schemas: readonly unknown[], schema = STARTER, more: object = {}): string {
  const { add, left, declared } = proposeArguments(schemas.map((one, i) => tool(`t${i}`, { a: one }, more)), schema)
  return add[0] === undefined ? (left[0]?.why ?? `declared: ${declared.join()}`) : `${add[0].type}${add[0].mayBeLong ? ', may be long' : ''}`
}

describe('arguments of pinned tools', () => {
  it.each<[unknown, string]>([
    [{ type: 'string' }, 'String, may be long'],
    [{ type: 'string', maxLength: 100 }, 'String'],
    [{ type: 'string', enum: ['a', 'b'] }, 'String'],
    [{ enum: ['a', 'b'] }, 'String'],
    [{ const: 'a' }, 'String'],
    [{ type: 'integer' }, 'Long'],
    [{ enum: [1, 2] }, 'Long'],
    [{ type: 'number' }, 'String'],
    [{ type: ['number', 'string'] }, 'String, may be long'],
    [{ type: 'boolean' }, 'Bool'],
    [{ type: 'array', items: { type: 'string' } }, 'Set<String>, may be long'],
    [{ $ref: '#/$defs/x' }, 'Long'],
    [{ anyOf: [{ type: 'string', maxLength: 1 }, { const: 'x' }] }, 'String'],
    [{ allOf: [{ $ref: '#/$defs/x' }] }, 'Long'],
    [{ type: ['string', 'null'] }, 'may be null'],
    [{ anyOf: [{ type: 'integer' }, { type: 'null' }] }, 'may be null'],
    [{ enum: ['a', null] }, 'may be null'],
    [{ type: ['string', 'integer'] }, 'one of String, Long'],
    [{ type: ['integer', 'number'] }, 'one of Long, String'],
    [{ type: 'object' }, 'no type that policies read'],
    [{ type: 'array', items: { type: 'number' } }, 'no type that policies read'],
    [{ type: 'array', items: { type: ['string', 'number'] } }, 'no type that policies read'],
    [{ type: 'array' }, 'no type that policies read'],
    [{}, 'any type'],
    [true, 'any type'],
    [{ $ref: '#/$defs/loop' }, 'no type that policies read'],
    [{ $ref: 'https://x.example/' }, 'any type'],
    [{ allOf: [{ type: 'string' }, { minLength: 1 }] }, 'any type'],
  ])('of %j: %s', (schema, expected) => {
    expect(of([schema], STARTER, { $defs: { x: { type: 'integer' }, loop: { $ref: '#/$defs/loop' } } })).toBe(expected)
  })
  it('on which tools do not agree are left out, with who says what', () => {
    expect(of([{ type: 'string' }, { type: 'integer' }, { type: 'string' }])).toBe('String in mcp://fs/t0, mcp://fs/t2; Long in mcp://fs/t1')
    expect(of([{ type: 'string' }, {}])).toBe('String in mcp://fs/t0; any type in mcp://fs/t1')
    expect(of(Array.from({ length: 8 }, (_, i) => ({ type: i === 0 ? 'integer' : 'string' })))).toContain('mcp://fs/t4 and 3 more')
  })
  it('that are declared already stay as they are', () => {
    const tools = [tool('x', { path: { type: 'string' }, paths: { type: 'array', items: { type: 'string' } }, uri: { type: 'integer' } })]
    expect(proposeArguments(tools, STARTER)).toEqual({ add: [], declared: ['path', 'paths'], left: [{ name: 'uri', why: 'declared as String; Long in mcp://fs/x' }] })
  })
  it('that only a branch names are seen too, and those of other names than a policy may hold are not', () => {
    const tools = [tool('x', {}, { anyOf: [{ properties: { b: { type: 'integer' } } }, { $ref: '#/$defs/m' }], $defs: { m: { properties: { b: { type: 'string' } } } } }), tool('y', { '__entity': { type: 'string' }, 'a b': { type: 'string' }, '\u202e': { type: 'string' }, 'in': { type: 'boolean' }, 'file-name': { type: 'integer' } })]
    const { add, left } = proposeArguments(tools, STARTER)
    expect(add.map(({ name, type }) => `${name}: ${type}`)).toEqual(['file-name: Long', 'in: Bool'])
    expect(left.map(({ name, why }) => `${name}: ${why}`)).toEqual(['__entity: no name for a policy', 'a b: no name for a policy', 'b: Long in mcp://fs/x; String in mcp://fs/x', '\u202e: no name for a policy'])
    expect(declareArguments(STARTER, add)).toContain('  "file-name"?: Long,\n  "in"?: Bool,\n')
    expect(proposeArguments(tools, STARTER, new Set(['in', 'gone']))).toMatchObject({ add: [{ name: 'in' }], left: [{ name: 'gone', why: 'no pinned tool has it' }] })
  })
  it('ATK-105: a schema that branches without end is said to be too much', () => {
    const bomb = { anyOf: Array.from({ length: 50 }, () => ({ $ref: '#' })), properties: { a: { anyOf: Array.from({ length: 50 }, () => ({ $ref: '#/properties/a' })) } } }
    expect(() => proposeArguments([{ target: 'mcp://fs', name: 'bomb', inputSchema: bomb }], STARTER)).toThrow('the schema of mcp://fs/bomb is too much to read')
  })
})

describe('a schema with arguments declared', () => {
  const add = [{ name: 'depth', type: 'Long' }, { name: 'dry_run', type: 'Bool' }] as const
  it('is the same text but for them', () => {
    const text = declareArguments(STARTER, add)
    expect(text).toBe(STARTER.replace('  uri?: String,\n};', '  uri?: String,\n  depth?: Long,\n  dry_run?: Bool,\n};'))
    expect(declareArguments(STARTER, [])).toBe(STARTER)
    expect(declareArguments(SCHEMA, add)).toBe(SCHEMA.replace('force?: Bool }', 'force?: Bool, depth?: Long, dry_run?: Bool }'))
  })
  it.each<[string, string]>([
    ['no comma at the end', 'type Arguments = {\n  path?: String\n};'],
    ['a comment at the end', 'type Arguments = {\n  path?: String // } and {\n};'],
    ['nothing in it', 'type Arguments = {};'],
    ['nothing but a comment', 'type Arguments = {\n  // type Arguments = { none yet }\n};'],
    ['all on one line', 'type Arguments={path?:String,};'],
    ['a brace behind the last one', 'type Arguments = {\n  path?: String };'],
    ['a quoted name', 'type Arguments = { "a}b"?: String };'],
    ['annotations and windows line ends', '@doc("type Arguments = {}")\ntype Arguments = {\r\n    path?: String,\r\n};'],
  ])('with %s before', (_what, type) => {
    const schema = STARTER.replace(/type Arguments = \{[^}]*\};/, () => type)
    expect(schema).not.toBe(STARTER)
    const text = declareArguments(schema, add)
    const files = { 'a.cedar': 'permit (principal, action, resource) when { context.args has depth && context.args.depth < 3 && context.args has dry_run && context.args.dry_run };', [SCHEMA_FILE]: text }
    expect(loadPolicySet(files, sha256).policies).toHaveLength(1)
    const kept = schema.split('\n').filter((line) => !text.split('\n').includes(line))
    expect(kept.length, 'lines that are not there any more').toBeLessThanOrEqual(1)
  })
  it.each<[string, string]>([
    ['two places', SCHEMA.replace('entity User;', 'entity User; type Other = { args: { x?: Long } };')],
    ['no arguments at all', SCHEMA.replace(/args: \{[^}]*\}, /, '')],
    ['no tool calls', SCHEMA.replaceAll('mcp.tool_call', 'mcp.other')],
  ])('is not made where there is %s', (_what, schema) => {
    expect(() => declareArguments(schema, add)).toThrow(PolicyError)
  })
  it('lets the same be declared whatever tools say: nothing but the proposed arguments is ever added (100 random servers, seed 20261125)', () => {
    const type = fc.constantFrom<JsonValue>({ type: 'string' }, { type: 'integer' }, { type: 'number' }, { type: 'boolean' }, { type: 'array', items: { type: 'string' } }, { type: 'object' }, {}, { type: ['string', 'null'] }, true)
    const name = fc.oneof(fc.constantFrom('path', 'in', 'depth', 'a-b', '__proto__', 'constructor', 'String', 'args', 'type', '"', '}; entity X; //'), fc.string({ maxLength: 8 }))
    fc.assert(fc.property(fc.array(fc.dictionary(name, type, { maxKeys: 6 }), { maxLength: 4 }), (servers) => {
      const tools = servers.map((properties, i) => tool(`t${i}`, properties))
      const found: ProposedArguments = proposeArguments(tools, STARTER)
      const set = loadPolicySet({ 'a.cedar': 'permit (principal, action, resource);', [SCHEMA_FILE]: declareArguments(STARTER, found.add) }, sha256)
      const { argumentTypes } = new PolicyEngine(set)
      expect([...argumentTypes.keys()].sort()).toEqual([...new Set(['path', 'paths', 'source', 'destination', 'uri', ...found.add.map((one) => one.name)])].sort())
      // A call that fits its tool is never denied for the type of an argument.
      const input = { agent: { name: 'a', verified: true }, sub: 'u', environment: { level: 'none' as const }, facts: { paths: 'none' as const } }
      const values: Readonly<Record<string, JsonValue>> = { string: 'x', integer: 1, number: 1.5, boolean: true, array: ['x'] }
      for (const properties of servers) {
        const args = Object.fromEntries(found.add.flatMap((one): [string, JsonValue][] => {
          const property = Object.hasOwn(properties, one.name) ? (properties[one.name] as { type?: string } | true) : undefined
          return property === undefined || property === true || typeof property.type !== 'string' ? [] : [[one.name, values[property.type] as JsonValue]]
        }))
        expect(() => toCedar({ ...input, action: toolCall('x', args as JsonObject) }, argumentTypes)).not.toThrow()
      }
    }), { numRuns: 100, seed: 20261125 })
  })
  it('of the real tools of server-filesystem: policies on what they take validate', { timeout: 60_000 }, () => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-arguments-'))
    try {
      const manifest = createRequire(import.meta.url).resolve('@modelcontextprotocol/server-filesystem/package.json')
      const server = path.join(path.dirname(manifest), 'dist/index.js')
      const lines = [{ id: 1, method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'x', version: '1' } } }, { method: 'notifications/initialized' }, { id: 2, method: 'tools/list' }]
      const { stdout } = spawnSync(process.execPath, [server, folder], { input: lines.map((one) => `${JSON.stringify({ jsonrpc: '2.0', ...one })}\n`).join(''), encoding: 'utf8', timeout: 30_000 })
      const listed = stdout.split('\n').filter((line) => line !== '').map((line) => JSON.parse(line) as { id?: number; result?: { tools: { name: string; inputSchema: JsonObject }[] } }).find(({ id }) => id === 2)?.result?.tools
      const tools = (listed ?? []).map(({ name, inputSchema }): PinnedSchema => ({ target: 'mcp://files', name, inputSchema }))
      expect(tools.length).toBeGreaterThan(10)
      const found = proposeArguments(tools, STARTER)
      expect(Object.fromEntries(found.add.map(({ name, type }) => [name, type]))).toEqual({ content: 'String', dryRun: 'Bool', excludePatterns: 'Set<String>', head: 'String', pattern: 'String', sortBy: 'String', tail: 'String' })
      expect(found.declared).toEqual(['destination', 'path', 'paths', 'source'])
      expect(found.left).toEqual([{ name: 'edits', why: 'no type that policies read' }])
      expect(found.add.find(({ name }) => name === 'content')?.mayBeLong).toBe(true)
      const policies = 'permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://files/edit_file") when { context.args has dryRun && context.args.dryRun };'
      expect(() => loadPolicySet({ 'a.cedar': policies, [SCHEMA_FILE]: STARTER }, sha256)).toThrow(/policy is impossible/)
      expect(loadPolicySet({ 'a.cedar': policies, [SCHEMA_FILE]: declareArguments(STARTER, found.add) }, sha256).policies).toHaveLength(1)
    } finally {
      fs.rmSync(folder, { recursive: true, force: true })
    }
  })
})
