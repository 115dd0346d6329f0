import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { pathToFileURL } from 'node:url'
import { nodeClock } from '@sealwrit/gate'
import { Denied, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { compileSchema } from '../src/tools/schema/compile.ts'
import { MAX_APPLIED } from '../src/tools/schema/cost.ts'
import { MAX_SCHEMA_DEPTH, MAX_SCHEMA_SIZE, MAX_SUBSCHEMAS } from '../src/tools/schema/read.ts'
import { MAX_WAITING_VALIDATIONS, THREAD_IDLE_MS, ValidationThread } from '../src/tools/schema/thread.ts'

const thread = new ValidationThread(nodeClock)
afterAll(() => thread.close())
const said = (error: unknown): string => (error instanceof Denied ? `${error.code}: ${error.message.slice(error.message.indexOf(': ') + 2)}` : `threw ${String(error)}`)
const code = (text: string): string => text.slice(0, text.indexOf(':'))
const compiles = (schema: unknown): string => {
  try {
    compileSchema(schema as JsonObject, thread)
    return 'compiled'
  } catch (error) {
    return said(error)
  }
}
/** Milliseconds that this thread has worked since: others work on this machine too. */
function cpu(): () => number {
  const from = process.threadCpuUsage()
  return () => {
    const { user, system } = process.threadCpuUsage(from)
    return (user + system) / 1_000
  }
}
/** Generous beside the few milliseconds that it is; the thread has more. */
const MAX_HELD_MS = 200
/** `fits`, or what is said instead; `thread` is named where the gateway did not wait for it. */
async function judged(schema: unknown, args: unknown): Promise<string> {
  try {
    const waits = compileSchema(schema as JsonObject, thread).validate(args as JsonObject)
    await waits
    return waits === undefined ? 'fits' : 'fits, in the thread'
  } catch (error) {
    return said(error)
  }
}
const object = (properties: object, more: object = {}): object => ({ type: 'object', properties, ...more })

describe('arguments against the schema of their tool', () => {
  it.each<[string, unknown, unknown, string]>([
    ['a plain call', object({ path: { type: 'string' } }, { required: ['path'], additionalProperties: false }), { path: '/srv/a' }, 'fits'],
    ['another type', object({ path: { type: 'string' } }), { path: 7 }, 'request_malformed: argument `/path`: type'],
    ['what is missing', object({}, { required: ['path'] }), {}, 'request_malformed: argument `#`: required `path`'],
    ['what may not be there', object({}, { additionalProperties: false }), { secret: 'hunter2' }, 'request_malformed: argument `/secret`: additionalProperties'],
    ['a property that is false', object({ a: false }), { a: 'hunter2' }, 'request_malformed: argument `/a`: properties'],
    ['far inside', object({ a: { type: 'array', items: object({ b: { enum: ['x'] } }) } }), { a: [{ b: 'x' }, { b: 'hunter2' }] }, 'request_malformed: argument `/a/1/b`: enum'],
    ['no branch', object({ a: { anyOf: [{ type: 'string' }, { type: 'number' }] } }), { a: true }, 'request_malformed: argument `/a`: anyOf'],
    ['two branches', object({ a: { oneOf: [{ type: 'number' }, { minimum: 0 }] } }), { a: 1 }, 'request_malformed: argument `/a`: oneOf'],
    ['by a reference', object({ a: { $ref: '#/$defs/p' } }, { $defs: { p: { type: 'string', maxLength: 2 } } }), { a: 'abc' }, 'request_malformed: argument `/a`: maxLength'],
    ['a tree', { ...object({ kids: { type: 'array', items: { $ref: '#' } }, name: { type: 'string' } }) }, { name: 'a', kids: [{ name: 'b', kids: [{ name: 7 }] }] }, 'request_malformed: argument `/kids/0/kids/0/name`: type'],
    ['a pattern', object({ a: { pattern: '^x' } }), { a: 'xy' }, 'fits, in the thread'],
    ['a pattern that it is not', object({ a: { pattern: '^x' } }), { a: 'hunter2' }, 'request_malformed: argument `/a`: pattern'],
    ['a pattern that is one without `u` only', object({ a: { pattern: '^\\d\\-\\d$' } }), { a: '1-2' }, 'fits, in the thread'],
    ['and what it is not', object({ a: { pattern: '^\\d\\-\\d$' } }), { a: '1+2' }, 'request_malformed: argument `/a`: pattern'],
    ['no pattern at all', object({ a: { pattern: '(' } }), { a: 'x' }, 'limit_exceeded: input schema: a pattern that is no regular expression'],
    ['names by pattern', { patternProperties: { '^n': { type: 'number' } } }, { n1: 'x' }, 'request_malformed: argument `/n1`: type'],
    ['a format, which annotates', object({ url: { type: 'string', format: 'uri' } }), { url: 'no such thing' }, 'fits'],
    ['draft-07: what stands beside a reference says nothing', { $schema: 'http://json-schema.org/draft-07/schema#', ...object({ a: { $ref: '#/definitions/p', maxLength: 1 } }), definitions: { p: { type: 'string' } } }, { a: 'abc' }, 'fits'],
    ['2020-12: it counts', { $schema: 'https://json-schema.org/draft/2020-12/schema', ...object({ a: { $ref: '#/$defs/p', maxLength: 1 } }), $defs: { p: { type: 'string' } } }, { a: 'abc' }, 'request_malformed: argument `/a`: maxLength'],
    ['draft-07: dependencies', { $schema: 'http://json-schema.org/draft-07/schema', dependencies: { a: ['b'] } }, { a: 1 }, 'request_malformed: argument `#`: dependencies'],
    ['2020-12: tuples', object({ a: { prefixItems: [{ type: 'number' }], items: false } }), { a: [1, 2] }, 'request_malformed: argument `/a/1`: items'],
    ['an argument named __proto__', { additionalProperties: { type: 'string' } }, JSON.parse('{"__proto__": 1}'), 'request_malformed: argument `/__proto__`: type'],
    ['a property named constructor', object({}, { required: ['constructor'] }), {}, 'request_malformed: argument `#`: required `constructor`'],
    ['a schema that is empty', {}, { anything: [1, { goes: null }] }, 'fits'],
  ])('%s', async (_what, schema, args, expected) => {
    expect(await judged(schema, args)).toBe(expected)
  })
  it('I8: nothing of a value is in what is said, and a name only as text', async () => {
    const hostile = 'hunter2\u202e\u001b[2J'
    for (const schema of [object({ a: { const: 'x' } }), object({ a: { type: 'number' } }), object({ a: { maxLength: 1 } }), object({ a: { pattern: '^x$' } }), object({ a: { not: {} } })]) expect(await judged(schema, { a: hostile })).not.toContain('hunter2')
    const named = await judged({ additionalProperties: false }, { ['\u001b[2Jevil'.repeat(50)]: 1 })
    expect(named).not.toContain('\u001b')
    expect(named.length).toBeLessThan(600)
  })
  it('an author cannot reach the validator by members of its own', async () => {
    const schema = JSON.parse('{"type":"object","__absolute_ref__":"x","__proto__":{"type":"number"},"properties":{"a":{"$ref":"#/$defs/n","__absolute_ref__":"https://github.com/cfworker#/$defs/any","$defs":{}}},"$defs":{"n":{"type":"number"},"any":true}}') as JsonObject
    expect(await judged(schema, { a: 'x' })).toBe('request_malformed: argument `/a`: type')
    expect(JSON.stringify(schema)).toContain('__absolute_ref__') // and its own object is left alone
  })
})

describe('the thread', () => {
  const built = path.resolve(import.meta.dirname, '../dist/tools/schema/compile.js')
  it.each([
    ['of the sources', path.resolve(import.meta.dirname, '../src/tools/schema/compile.ts'), true],
    ['of built files', built, fs.existsSync(built)],
  ])('%s starts, validates, and keeps no process alive', { timeout: 30_000 }, (_what, file, isThere) => {
    if (!isThere) return
    const code = `
      const [{ compileSchema }, { ValidationThread }, { nodeClock }] = await Promise.all([import(process.argv[1]), import(process.argv[1].replace('compile', 'thread')), import('@sealwrit/gate')])
      const { validate } = compileSchema({ properties: { a: { pattern: '^x' } } }, new ValidationThread(nodeClock))
      await validate({ a: 'xy' })
      await validate({ a: 'no' }).catch(({ code, message }) => console.log(code, message.includes('/a')))`
    const { stdout, stderr, status } = spawnSync(process.execPath, [...(file.endsWith('.ts') ? ['--conditions=@sealwrit/source'] : []), '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', code, pathToFileURL(file).href], { cwd: path.resolve(import.meta.dirname, '..'), encoding: 'utf8', timeout: 20_000 })
    expect([stdout, stderr, status]).toEqual(['request_malformed true\n', '', 0])
  })
  it('ends when nobody needs it, and is started again', async () => {
    const timers = new Set<{ readonly ms: number; readonly run: () => void }>()
    const own = new ValidationThread({ ...nodeClock, after: (ms, run) => {
      const timer = { ms, run }
      timers.add(timer)
      const cancel = nodeClock.after(ms, run)
      return () => {
        timers.delete(timer)
        cancel()
      }
    } })
    const { validate } = compileSchema(object({ a: { pattern: '^x' } }) as JsonObject, own)
    for (let round = 0; round < 2; round++) {
      await validate({ a: 'xy' })
      const [rest, ...more] = [...timers].filter(({ ms }) => ms === THREAD_IDLE_MS)
      expect(more).toEqual([])
      rest?.run()
      timers.delete(rest as never)
      await expect(validate({ a: 'no' })).rejects.toMatchObject({ code: 'request_malformed' })
    }
    own.close()
    expect([...timers]).toEqual([])
  })
})

describe('ATK-105: a schema that is a bomb', () => {
  const nested = (levels: number): object => (levels === 0 ? {} : { not: nested(levels - 1) })
  const chain = (length: number, at: (next: object) => object): object => ({ $ref: '#/$defs/0', $defs: Object.fromEntries(Array.from({ length: length + 1 }, (_, i) => [String(i), i === length ? {} : at({ $ref: `#/$defs/${i + 1}` })])) })
  it.each<[string, unknown, string]>([
    ['a reference into the network', object({ a: { $ref: 'https://attacker.example/x.json' } }), 'a `$ref` to what is not in it'],
    ['a reference to a file', object({ a: { $ref: 'file:///etc/passwd' } }), 'a `$ref` to what is not in it'],
    ['a reference to the dialect', object({ a: { $ref: 'https://json-schema.org/draft/2020-12/schema' } }), 'a `$ref` to what is not in it'],
    ['a reference to nothing', object({ a: { $ref: '#/$defs/x' } }), 'a `$ref` to what is not in it'],
    ['a reference into an annotation', object({ a: { $ref: '#/examples/0' } }, { examples: [{}] }), 'a `$ref` to what is not in it'],
    ['a reference to itself', { $ref: '#' }, 'a reference that comes back to itself'],
    ['two that refer to each other', { $ref: '#/$defs/a', $defs: { a: { allOf: [{ $ref: '#/$defs/b' }] }, b: { if: {}, then: { $ref: '#/$defs/a' } } } }, 'a reference that comes back to itself'],
    ['one that comes back by dependencies', { $defs: { a: { dependentSchemas: { x: { $ref: '#/$defs/a' } } } } }, 'a reference that comes back to itself'],
    ['a dynamic reference', object({ a: { $dynamicRef: '#x' } }), '$dynamicRef is not read here'],
    ['another base inside', object({ a: { $id: 'https://x.example/' } }), 'a `$id` inside'],
    ['an address that is none', { $id: 'https://[' }, 'an address that is none, or two subschemas with one'],
    ['another dialect', { $schema: 'http://json-schema.org/draft-04/schema#' }, 'dialect `http://json-schema.org/draft-04/schema#`; 2020-12 and draft-07 are read'],
    ['a dialect of its own', { $schema: 'https://attacker.example/meta' }, 'dialect `https://attacker.example/meta`; 2020-12 and draft-07 are read'],
    ['no schema in the place of one', object({ a: 'string' }), 'a subschema that is neither an object nor a truth'],
    ['a keyword that is none', object({ a: { required: true } }), 'required is not as JSON Schema has it'],
    ['a minimum of the older kind', object({ a: { exclusiveMinimum: true } }), 'exclusiveMinimum is not as JSON Schema has it'],
    ['a multiple of nothing', object({ a: { multipleOf: 0 } }), 'multipleOf is not as JSON Schema has it'],
  ])('%s is refused', (_what, schema, message) => {
    expect(compiles(schema)).toBe(`limit_exceeded: input schema: ${message}`)
  })
  it.each<[string, (n: number) => unknown, number]>([
    ['subschemas', (n) => object(Object.fromEntries(Array.from({ length: n - 1 }, (_, i) => [`p${i}`, true]))), MAX_SUBSCHEMAS],
    ['levels', nested, MAX_SCHEMA_DEPTH],
    ['characters', (n) => ({ required: ['x'.repeat(n - 1)] }), MAX_SCHEMA_SIZE],
    ['characters of values', (n) => ({ const: { a: 'x'.repeat(n - 3) } }), MAX_SCHEMA_SIZE],
    ['references behind each other', (n) => chain(n - 2, (next) => next), MAX_APPLIED],
  ])('as many %s as there may be, one less and one more', (_what, of, max) => {
    expect([-1, 0, 1].map((more) => code(`${compiles(of(max + more))}:`))).toEqual(['compiled', 'compiled', 'limit_exceeded'])
  })
  /** Whatever the thread says of it in the end, nobody else waits. */
  async function isEnded(schema: unknown, args: unknown): Promise<string> {
    const ms = cpu()
    const answer = await judged(schema, args)
    expect(ms(), 'milliseconds that were worked here').toBeLessThan(MAX_HELD_MS)
    return answer
  }
  it.each<[string, unknown, unknown]>([
    ['a catastrophic pattern', object({ a: { pattern: '^(a+)+$' } }), { a: `${'a'.repeat(40)}!` }],
    ['one that looks harmless', object({ a: { pattern: '(x+x+)+y' } }), { a: 'x'.repeat(40) }],
    ['one over names', { patternProperties: { '^(a|a)*$': {} } }, { [`${'a'.repeat(40)}!`]: 1 }],
    ['one without `u`', object({ a: { pattern: '^(\\-|\\-)*$' } }), { a: `${'-'.repeat(40)}!` }],
    ['branches of branches of branches', chain(40, (next) => ({ anyOf: [next, next] })), {}],
    ['all of all of all', { ...chain(30, (next) => ({ allOf: [next, next, { type: 'object' }] })) }, { a: 1 }],
    ['members of members by two ways', object({ a: { allOf: [{ $ref: '#' }, { $ref: '#' }] } }), Array.from({ length: 40 }).reduce<JsonValue>((inner) => ({ a: inner }), {})],
    ['items by two ways', { $defs: { n: { items: { anyOf: [{ $ref: '#/$defs/n' }, { $ref: '#/$defs/n' }] } } }, properties: { a: { $ref: '#/$defs/n' } } }, { a: Array.from({ length: 45 }).reduce<JsonValue>((inner) => [inner], [[]]) }],
  ])('%s ends with `limit_exceeded`, and holds nobody up', { timeout: 20_000 }, async (_what, schema, args) => {
    expect(code(await isEnded(schema, args))).toBe('limit_exceeded')
    expect(await judged(object({ a: { pattern: '^x' } }), { a: 'xy' }), 'and the next one is validated').toBe('fits, in the thread')
  })
  it('items that must differ are not compared where others wait', async () => {
    const schema = object({ a: { uniqueItems: true } })
    expect(await judged(schema, { a: [1, 2, 3] })).toBe('fits')
    const many = Array.from({ length: 3_000 }, (_, i) => ({ of: 'the same size', but: [i] }))
    expect(await isEnded(schema, { a: many })).toMatch(/^(limit_exceeded|fits, in the thread)/)
  })
  it('many texts against many rules are validated in the thread', async () => {
    const schema = object({ a: { items: { allOf: Array.from({ length: 500 }, (_, i) => ({ maxLength: 1_000 + i })) } } })
    expect(await isEnded(schema, { a: Array.from({ length: 100 }, () => 'x'.repeat(900)) })).toMatch(/^(limit_exceeded|fits, in the thread)/)
  })
  it('what waits is bounded, and is told so', async () => {
    const own = new ValidationThread(nodeClock)
    const slow = compileSchema(object({ a: { pattern: '^(a+)+$' } }) as JsonObject, own)
    const all = Array.from({ length: MAX_WAITING_VALIDATIONS + 3 }, () => Promise.resolve(slow.validate({ a: `${'a'.repeat(40)}!` })).then(() => 'fits', said))
    const codes = (await Promise.all(all)).map((text) => code(text))
    expect(codes.slice(-2)).toEqual(['overloaded', 'overloaded'])
    expect(codes[0]).toBe('limit_exceeded')
    expect(new Set(codes)).toEqual(new Set(['limit_exceeded', 'overloaded']))
    const last = slow.validate({ a: 'b' }) as Promise<void>
    own.close()
    await expect(last).rejects.toMatchObject({ code: 'unavailable' })
    await expect(slow.validate({ a: 'b' })).rejects.toMatchObject({ code: 'unavailable' })
  }, 20_000)

  // Any schema, with references to anywhere: compiling and validating end soon, with one of the codes, and never hold the loop.
  const { schema: anySchema } = fc.letrec<{ schema: unknown }>((tie) => {
    const one = tie('schema')
    const list = fc.array(one, { minLength: 1, maxLength: 3 })
    const map = fc.dictionary(fc.constantFrom('a', 'b', '__proto__'), one, { maxKeys: 3 })
    return {
      schema: fc.oneof({ maxDepth: 4 }, { weight: 4, arbitrary: fc.constantFrom(true, {}, { type: 'object' }, { type: 'array' }, { maxLength: 3 }) }, { weight: 1, arbitrary: fc.constantFrom({ properties: { a: { $ref: '#' } } }, { items: { $ref: '#/$defs/y' } }, { additionalProperties: { $ref: '#/$defs/x' } }, { $ref: '#/$defs/y' }, { pattern: '^(a|a)*$' }) },
        { weight: 4, arbitrary: fc.record({ anyOf: list, allOf: list, oneOf: list, not: one, if: one, then: one, else: one, properties: map, patternProperties: fc.dictionary(fc.constantFrom('(a+)+', '.'), one, { maxKeys: 2 }), additionalProperties: one, items: one, prefixItems: list, contains: one, unevaluatedProperties: one, propertyNames: one, dependentSchemas: map, uniqueItems: fc.boolean(), enum: fc.constantFrom(['a'], [{}, [1]]) }, { requiredKeys: [] }) }),
    }
  })
  const args = fc.letrec<{ value: JsonValue }>((tie) => ({ value: fc.oneof({ maxDepth: 6 }, fc.constantFrom<JsonValue>('a', `${'a'.repeat(40)}!`, 1, null), fc.array(tie('value'), { maxLength: 4 }), fc.dictionary(fc.constantFrom('a', 'b', '__proto__'), tie('value'), { maxKeys: 3 })) })).value
  it('of any kind is refused, or every call of it is judged in time', { timeout: 300_000 }, async () => {
    const seen = new Map<string, number>()
    let longest = 0
    await fc.assert(fc.asyncProperty(anySchema, anySchema, anySchema, fc.array(args, { minLength: 3, maxLength: 3 }), async (root, x, y, values) => {
      const schema = { properties: { v: root }, $defs: { x, y } }
      const compiling = cpu()
      const compiled = compiles(schema)
      expect(compiling()).toBeLessThan(MAX_HELD_MS)
      expect(compiled === 'compiled' || compiled.startsWith('limit_exceeded: input schema: ')).toBe(true)
      if (compiled !== 'compiled') return
      for (const v of values) {
        let waits: void | Promise<void>
        let answer = 'fits'
        try {
          const ready = compileSchema(schema as JsonObject, thread)
          const held = cpu()
          waits = ready.validate({ v })
          longest = Math.max(longest, held())
          expect(longest).toBeLessThan(MAX_HELD_MS)
          await waits
        } catch (error) {
          if (!(error instanceof Denied)) throw error
          answer = error.code
        }
        expect(['fits', 'request_malformed', 'limit_exceeded']).toContain(answer)
        seen.set(answer, (seen.get(answer) ?? 0) + 1)
      }
    }), { numRuns: process.env['SEALWRIT_SOAK'] === '1' ? 20_000 : 100, seed: 20261125, endOnFailure: true })
    console.log(`schemas of any kind: ${[...seen].map(([answer, count]) => `${answer} ${count}`).join(', ')}; the loop was held for ${longest.toFixed(1)} ms at the most`)
    expect([...seen.keys()].sort()).toEqual(expect.arrayContaining(['fits', 'request_malformed']))
  })
  it('a plain call is judged at once, and costs little', () => {
    const validator = compileSchema(object({ path: { type: 'string' }, head: { type: 'number' }, tail: { type: 'number' } }, { required: ['path'] }) as JsonObject, thread)
    const call = { path: '/srv/reports/q3.txt', head: 3 }
    const times: number[] = []
    for (let round = 0; round < 20; round++) {
      const from = performance.now()
      for (let i = 0; i < 500; i++) expect(validator.validate(call)).toBeUndefined()
      times.push((performance.now() - from) * 2)
    }
    expect(Math.min(...times), 'microseconds').toBeLessThan(200) // generous: others work here too; expect() is in it
  })
})
