import { spawnSync } from 'node:child_process'
import { checkDepth, decide, loadPolicySet, MAX_BRACKETS, MAX_CHAINED, MAX_STEPS, PolicyEngine, PolicyError, SCHEMA_FILE, type DecisionInput } from '@sealwrit/control-plane'
import type { JsonObject } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PERMIT_ALL, policySet, SCHEMA, sha256, toolCall } from './support/rig.ts'

const input = (args: JsonObject = { path: '/srv/a' }): DecisionInput => ({ action: toolCall('read_file', args), agent: { name: 'tester', verified: true }, sub: 'user:1', environment: { level: 'software' }, facts: { paths: 'inside' } })
const when = (condition: string): string => `permit (principal, action, resource) when { ${condition} };`
const loads = (text: string, schema = SCHEMA): string => {
  try {
    loadPolicySet({ 'test.cedar': text, [SCHEMA_FILE]: schema }, sha256)
    return 'loaded'
  } catch (error) {
    if (error instanceof PolicyError) return error.message
    throw error
  }
}
const works = (): boolean => decide(input(), { engine: new PolicyEngine(policySet(PERMIT_ALL)), epoch: 1 }).kind === 'permit'

/** Texts of one shape, as deep as asked. */
const SHAPES: readonly (readonly [string, (n: number) => string])[] = [
  ['brackets', (n) => when(`${'('.repeat(n)}context.environment.level == "x"${')'.repeat(n)}`)],
  ['negated brackets', (n) => when(`${'!('.repeat(n)}principal.verified${')'.repeat(n)}`)],
  ['sets', (n) => when(`${'['.repeat(n)}1${']'.repeat(n)} == [1]`)],
  ['records', (n) => when(`${'{a: '.repeat(n)}1${'}'.repeat(n)} == {a: 1}`)],
  ['calls', (n) => when(`${'["a"].contains('.repeat(n)}"a"${')'.repeat(n)}`)],
  ['and', (n) => when(Array.from({ length: n + 1 }, () => 'principal.verified').join(' && '))],
  ['or', (n) => when(Array.from({ length: n + 1 }, () => 'principal.verified').join(' || '))],
  ['plus', (n) => when(`${Array.from({ length: n + 1 }, () => 'context.lineage.depth').join(' + ')} == 1`)],
  ['if', (n) => when(`${'if principal.verified then '.repeat(n)}true ${'else false '.repeat(n)}`)],
  ['members', (n) => when(`context${'.a'.repeat(n)} == 1`)],
]

describe('the text of a policy', () => {
  it.each(SHAPES)('ATK-059: too deep by %s is refused before the engine walks it, and the engine goes on working', (_name, shape) => {
    for (const n of [300, 5_000, 100_000]) {
      expect(loads(shape(n))).toMatch(/^test\.cedar: (a policy: more than|more than)/)
      expect(works()).toBe(true)
    }
  })
  it('ATK-059: without that look, the engine would have been left broken for every later decision', () => {
    const script = `
      const cedar = await import('@cedar-policy/cedar-wasm/nodejs')
      const text = process.argv[1]
      try { cedar.policyToJson(text) } catch {}
      try { console.log(cedar.policyToJson('permit (principal, action, resource);').type) } catch { console.log('broken') }`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script, SHAPES[5]?.[1](5_000) ?? ''], { encoding: 'utf8', cwd: import.meta.dirname })
    expect(stdout.trim()).toBe('broken')
  })
  it('as deep as it may be in every way at once still works', () => {
    const inner = `${'if principal.verified then '.repeat(31)}${Array.from({ length: MAX_CHAINED + 1 }, () => 'principal.verified').join(' && ')} ${'else false '.repeat(31)}`
    const text = when(`${'('.repeat(MAX_BRACKETS - 2)}${inner}${')'.repeat(MAX_BRACKETS - 2)}`)
    expect(loads(text)).toBe('loaded')
    expect(decide(input(), { engine: new PolicyEngine(policySet(text)), epoch: 1 }).kind).toBe('permit')
    expect(works()).toBe(true)
  })
  it('looks at brackets and operators as the language does: not in strings, not in comments, anew for each policy', () => {
    const noise = `// ${'('.repeat(500)} && && \n`
    expect(loads(when(`context.facts.paths == "${'(&&'.repeat(200)}\\"${'['.repeat(200)}"`))).toBe('loaded')
    expect(loads(`${noise}${PERMIT_ALL}`)).toBe('loaded')
    const many = Array.from({ length: 50 }, (_, i) => `@id("p${i}") ${when(Array.from({ length: 100 }, () => 'principal.verified').join(' && '))}`).join('\n')
    expect(loads(many)).toBe('loaded')
  })
  it('takes one pass, whatever the text (200 random ones, and megabytes of quotes)', () => {
    fc.assert(fc.property(fc.array(fc.constantFrom('"', '\\', '(', ')', '//', '\n', 'if', '&&', ';', '.', 'x'), { maxLength: 200 }), (parts) => {
      try {
        checkDepth(parts.join(''), 'it')
      } catch (error) {
        expect((error as Error).message).toMatch(/^it: more than/)
      }
    }), { seed: 20261125, numRuns: 200 })
    const from = performance.now()
    for (const hostile of ['"'.repeat(2_000_001), '\\"'.repeat(1_000_000), '"\\'.repeat(1_000_000), '/'.repeat(2_000_000)]) checkDepth(hostile, 'it')
    expect(performance.now() - from).toBeLessThan(5_000)
  })
  it.each<[string, string, RegExp]>([
    ['a pattern that is too long', when(`context.facts.paths like "${'a'.repeat(257)}"`), /a `like` pattern of more than 256 characters/],
    ['a pattern with too many wildcards', when(`context.facts.paths like "${'*a'.repeat(9)}"`), /a `like` pattern with more than 8 wildcards/],
    ['a set that is too large', when(`[${Array.from({ length: 10_001 }, (_, i) => `"${i}"`).join(',')}].contains(context.facts.paths)`), /a set of more than 10000|more than 65536 characters/],
    ['more text than one may have', when(`context.facts.paths == "${'a'.repeat(65_536)}"`), /more than 65536 characters/],
  ])('ATK-059: with %s does not load', (_name, text, message) => expect(loads(text)).toMatch(message))
  it('ATK-059: a schema that is too deep or too long does not load, and the engine goes on working', () => {
    expect(loads(PERMIT_ALL, SCHEMA.replace('paths?: Set<String>', `paths?: ${'Set<'.repeat(500)}String${'>'.repeat(500)}`))).toMatch(/more than 32 brackets/)
    expect(loads(PERMIT_ALL, `${SCHEMA}${'// x\n'.repeat(60_000)}`)).toMatch(/more than 262144 characters/)
    expect(works()).toBe(true)
  })
})

describe('the cost of a decision', () => {
  const likes = (policies: number): string => Array.from({ length: policies }, (_, i) => `@id("p${i}") ${when(Array.from({ length: 16 }, (__, j) => `!(context.args has path && context.args.path like "*${'a'.repeat(240)}${i}-${j}")`).join(' && '))}`).join('\n')

  it('ATK-059: is bounded before it begins: what could take longer is `policy_timeout`, the same policies decide on short arguments', () => {
    const engine = new PolicyEngine(policySet(likes(20)))
    const from = performance.now()
    expect(decide(input({ path: 'a'.repeat(8_192) }), { engine, epoch: 1 })).toMatchObject({ kind: 'deny', code: 'policy_timeout', policy: { determining: [] } })
    expect(performance.now() - from).toBeLessThan(1_000)
    expect(decide(input({ path: 'a'.repeat(100) }), { engine, epoch: 1 }).kind).toBe('permit')
  })
  it('ATK-059: at the bound takes the time that the bound stands for (measured)', () => {
    const longest = Math.floor(MAX_STEPS / (24 * 16 * 246))
    const engine = new PolicyEngine(policySet(likes(24)), { keepAnswers: false })
    const path = 'a'.repeat(Math.min(8_192, longest - 200))
    decide(input({ path: 'x' }), { engine, epoch: 1 })
    const from = performance.now()
    expect(decide(input({ path }), { engine, epoch: 1 })).toMatchObject({ kind: 'permit' })
    const ms = performance.now() - from
    console.log(`worst case of patterns at the bound: ${ms.toFixed(0)} ms for ${24 * 16} patterns of 246 characters against ${path.length}`)
    expect(ms).toBeLessThan(3_000)
  })
  it('ATK-059: sets of strings count too', () => {
    const compare = Array.from({ length: 60 }, () => 'context.args has paths && context.args.paths == context.args.paths').join(' && ')
    const engine = new PolicyEngine(policySet(Array.from({ length: 8 }, (_, i) => `@id("p${i}") ${when(compare)}`).join('\n')), { keepAnswers: false })
    const paths = Array.from({ length: 1_000 }, (_, i) => `${'v'.repeat(800)}${i}`)
    expect(decide(input({ paths }), { engine, epoch: 1 })).toMatchObject({ code: 'policy_timeout' })
    const from = performance.now()
    expect(decide(input({ paths: paths.slice(0, 30) }), { engine, epoch: 1 }).kind).toBe('permit')
    expect(performance.now() - from).toBeLessThan(3_000)
  })
})

describe('engines', () => {
  it('ATK-060: any number of them at once answer each for their own set (100 sets, 3 rounds)', () => {
    const engines = Array.from({ length: 100 }, (_, i) => new PolicyEngine(policySet(`@id("p${i}") permit (principal, action, resource) when { context.args has path && context.args.path == "/${i}" };`), { keepAnswers: i % 2 === 0 }))
    for (let round = 0; round < 3; round++) {
      for (const [i, engine] of engines.entries()) {
        expect(decide(input({ path: `/${i}` }), { engine, epoch: 1 }).policy.determining).toEqual([`test/p${i}`])
        expect(decide(input({ path: `/${i + 1}-${round}` }), { engine, epoch: 1 })).toMatchObject({ code: 'policy_no_match' })
      }
    }
  })
})
