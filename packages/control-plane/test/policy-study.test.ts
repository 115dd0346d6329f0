import { analyzePolicies, compareVerdicts, decide, type DecisionInput, diffPolicySets, loadPolicySet, parseCases, parsePolicySet, PolicyEngine, PolicyError, type PolicySet, recommendPolicies, RequestReplay, runCases, SCHEMA_FILE, verdict, type Finding } from '@sealwrit/control-plane'
import { Denied, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PERMIT_ALL, policySet, SCHEMA, sha256, toolCall } from './support/rig.ts'

const input = (change: Partial<DecisionInput> = {}): DecisionInput => ({ action: toolCall(), agent: { name: 'tester', verified: true }, sub: 'user:1', environment: { level: 'software' }, facts: { paths: 'inside' }, ...change })
const parsed = (text: string): PolicySet => parsePolicySet({ 'test.cedar': text, [SCHEMA_FILE]: SCHEMA }, sha256)

describe('tests of a policy set', () => {
  const engine = new PolicyEngine(policySet(`@id("read") @risk("high") @max_runtime("10s") permit (principal, action, resource) when { context.environment.level == "software" };
    @id("held") @approval("group:secops quorum:2") permit (principal, action == Action::"mcp.prompt_get", resource);
    @id("no") forbid (principal == Agent::"mallory", action, resource);`))
  const run = (more: Record<string, JsonValue>): readonly string[] => runCases(parseCases([{ name: 'x', action: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: {} }, ...more }], 't'), engine)[0]?.failures ?? []

  it('pass where everything that is expected holds', () => {
    expect(run({ expect: 'permit', determining: ['test/read'], risk: 'high', obligations: { max_runtime_seconds: 10, lease_seconds: 10 } })).toEqual([])
    expect(run({ expect: 'policy_no_match', environment: 'none' })).toEqual([])
    expect(run({ expect: 'policy_denied', agent: 'mallory', determining: ['test/no'] })).toEqual([])
  })
  it.each<[Record<string, JsonValue>, string]>([
    [{ expect: 'policy_denied' }, 'decision: expected policy_denied, got permit (decided by test/read)'],
    [{ expect: 'permit', environment: 'none' }, 'decision: expected permit, got policy_no_match (no policy matched)'],
    [{ expect: 'permit', determining: ['test/other'] }, 'determining: expected ["test/other"], got ["test/read"]'],
    [{ expect: 'permit', risk: 'low' }, 'risk: expected low, got high'],
    [{ expect: 'permit', obligations: { max_runtime_seconds: 11 } }, 'obligation max_runtime_seconds: expected 11, got 10'],
    [{ expect: 'permit', obligations: { approval: 'x' } }, 'obligation approval: expected x, got none'],
  ])('fail with what was decided instead: %j', (more, failure) => expect(run(more)).toEqual([failure]))
  it.each<[JsonValue]>([['no list'], [[{ name: 'x' }]], [[{ name: 'x', action: {}, expect: 'permit' }]], [[{ name: 'x', action: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'r', arguments: {} }, expect: 'permit', extra: 1 }]]])('refuse a case that cannot be read: %j', (cases) => {
    expect(() => parseCases(cases, 't')).toThrow(Denied)
  })
})

const policyText = fc.record({
  effect: fc.constantFrom('permit', 'permit', 'forbid'),
  notes: fc.constantFrom('', '@risk("high") ', '@max_runtime("9s") ', '@approval("group:a quorum:1") '),
  principal: fc.constantFrom('principal', 'principal == Agent::"a"', 'principal == Agent::"b"'),
  resource: fc.constantFrom('resource', 'resource == Tool::"mcp://fs/x"', 'resource is Tool', 'resource in Server::"mcp://fs"'),
  condition: fc.constantFrom('', ' when { context.facts.paths == "inside" }', ' unless { context.args has path && context.args.path like "/etc/*" }', ' when { context.args has count && context.args.count > 1 }'),
}).map(({ effect, notes, principal, resource, condition }) => `${effect === 'forbid' ? '' : notes}${effect} (${principal}, action, ${resource})${condition};`)
const setArbitrary = fc.array(policyText, { minLength: 1, maxLength: 6 }).map((texts) => texts.map((text, i) => `@id("p${i}") ${text}`).join('\n'))
const requestArbitrary = fc.record({ agent: fc.constantFrom('a', 'b'), name: fc.constantFrom('x', 'y'), path: fc.constantFrom('/srv', '/etc/x'), count: fc.constantFrom(0, 2), paths: fc.constantFrom('inside' as const, 'outside' as const) })
  .map(({ agent, name, path, count, paths }) => input({ agent: { name: agent, verified: true }, facts: { paths }, action: toolCall(name, { path, count }) }))

describe('replay over recorded requests', () => {
  it('says exactly what evaluating both sets one by one says (1,000 pairs, seed 20261125)', { timeout: 120_000 }, async () => {
    const kinds = new Map<string, number>()
    let pairs = 0
    await fc.assert(fc.asyncProperty(setArbitrary, setArbitrary, fc.array(requestArbitrary, { minLength: 10, maxLength: 10 }), async (one, other, requests) => {
      const [before, after] = [policySet(one), policySet(other)]
      const [old, now] = [new PolicyEngine(before, { keepAnswers: false }), new PolicyEngine(after, { keepAnswers: false })]
      const replay = new RequestReplay(new PolicyEngine(after), async (digest) => (digest === before.digest ? before.files : undefined), sha256)
      for (const request of requests) {
        const [was, is] = [decide(request, { engine: old, epoch: 0 }), decide(request, { engine: now, epoch: 0 })]
        const entry = { kind: was.kind, seq: 0, sub: request.sub, act: { sub: `agent:${request.agent.name}`, verified: true }, policy: { digest: before.digest } }
        const got = await replay.verdicts({ entry, action: request.action as unknown as JsonValue, inputs: was.inputs })
        expect(got).toEqual({ before: verdict(was), after: verdict(is) })
        const change = compareVerdicts(verdict(was), verdict(is))
        kinds.set(change?.kind ?? 'same', (kinds.get(change?.kind ?? 'same') ?? 0) + 1)
        expect(change?.kind === 'newly_permitted').toBe(was.kind !== 'permit' && is.kind === 'permit')
        expect(change?.kind === 'newly_denied').toBe(was.kind !== 'deny' && is.kind === 'deny')
        pairs++
      }
    }), { seed: 20261125, numRuns: 100 })
    expect(pairs).toBe(1_000)
    expect([...kinds.keys()].sort()).toEqual(['changed_obligations', 'changed_reason', 'newly_denied', 'newly_held', 'newly_permitted', 'same'])
    console.log(`replay agrees with both sets evaluated one by one: ${pairs} pairs (${[...kinds].map(([kind, n]) => `${kind} ${n}`).join(', ')})`)
  })
  it('says of what was erased, or decided by a set that is not kept, that it cannot be replayed', async () => {
    const replay = new RequestReplay(new PolicyEngine(policySet(PERMIT_ALL)), async () => undefined, sha256)
    const entry = { kind: 'permit', seq: 0, sub: 'user:1', act: { sub: 'agent:a', verified: true }, policy: { digest: 'sha256:x' } }
    expect(await replay.verdicts({ entry })).toBeUndefined()
    expect(await replay.verdicts({ entry, action: toolCall() as unknown as JsonValue, inputs: {} })).toBeUndefined()
  })
})

describe('the difference of two sets', () => {
  const A = '@id("r") permit (principal == Agent::"a", action == Action::"mcp.tool_call", resource is Tool) when { context.facts.paths == "inside" };'
  const hints = (before: string, after: string): string[] => diffPolicySets(policySet(before), policySet(after)).policies.flatMap(({ id, change, hints: of }) => of.map(({ what, direction }) => `${change} ${id}: ${what}, ${direction}`))
  it.each<[string, string, string, string[]]>([
    ['a permit that is added', A, `${A} @id("s") ${PERMIT_ALL}`, ['added test/s: permit added, loosens']],
    ['a forbid that is removed', `${A} @id("f") forbid (principal, action, resource);`, A, ['removed test/f: forbid removed, loosens']],
    ['a wider scope', A, A.replace('principal == Agent::"a"', 'principal'), ['changed test/r: scope widened, loosens']],
    ['a narrower scope', A, A.replace('resource is Tool', 'resource == Tool::"mcp://fs/x"'), ['changed test/r: scope narrowed, tightens']],
    ['another scope', A, A.replace('Agent::"a"', 'Agent::"b"'), ['changed test/r: scope changed, unclear']],
    ['a condition that is removed', A, A.replace(/ when .*\}/, ''), ['changed test/r: condition removed, loosens']],
    ['another condition', A, A.replace('inside', 'none'), ['changed test/r: condition changed, unclear']],
    ['a permit that became a forbid', A, A.replace('permit', 'forbid'), ['changed test/r: permit became forbid, tightens']],
    ['a longer lease', `@lease("10s") ${A}`, `@lease("1m") ${A}`, ['changed test/r: @lease changed, loosens']],
    ['an assurance that is demanded', A, `@assurance("A4") ${A}`, ['changed test/r: @assurance added, tightens']],
    ['an assurance that is lower', `@assurance("A5") ${A}`, `@assurance("A4") ${A}`, ['changed test/r: @assurance changed, loosens']],
    ['an approval that is gone', `@approval("group:a quorum:1") ${A}`, A, ['changed test/r: @approval removed, loosens']],
    ['spaces and comments alone', A, `${A.replace(', ', ',\n  ')} // why`, []],
  ])('tells %s', (_name, before, after, expected) => expect(hints(before, after)).toEqual(expected))
  it('tells what the schema lets reach policies, and that protected rules differ', () => {
    const other = loadPolicySet({ 'test.cedar': A, 'base/x.cedar': 'forbid (principal == Agent::"x", action, resource);', [SCHEMA_FILE]: SCHEMA.replace('count?: Long', 'count?: String, size?: Long') }, sha256)
    expect(diffPolicySets(policySet(A), other)).toMatchObject({ isRebased: true, schema: ['argument count is a String, was a Long: other types are denied', 'argument size (Long) reaches policies'] })
  })
})

describe('what can be told without a solver', () => {
  const P = 'permit (principal == Agent::"a", action == Action::"mcp.tool_call", resource is Tool)'
  const found = (text: string, used?: ReadonlyMap<string, number>): string[] => analyzePolicies(parsed(text), used).map(({ kind, policy, because }: Finding) => [kind, policy, because].filter((part) => part !== undefined).join(' '))
  it.each<[string, string, string[]]>([
    ['nothing about policies that are fine', `@id("a") ${P} when { context.facts.paths == "inside" };`, []],
    ['a scope that the schema excludes', '@id("a") permit (principal, action == Action::"mcp.prompt_get", resource is Tool);', ['unreachable test/a']],
    ['a condition that is never true', `@id("a") ${P} when { false };`, ['unreachable test/a']],
    ['a permit that a forbid without conditions covers', `@id("a") ${P} when { context.facts.paths == "inside" }; @id("f") forbid (principal, action, resource is Tool);`, ['shadowed test/a test/f']],
    ['a permit that a forbid with the same condition covers', `@id("a") ${P} when { context.facts.paths == "none" }; @id("f") forbid (principal, action, resource) when { context.facts.paths == "none" };`, ['shadowed test/a test/f']],
    ['not: a forbid with another condition', `@id("a") ${P} when { context.facts.paths == "none" }; @id("f") forbid (principal, action, resource) when { context.facts.paths == "inside" };`, []],
    ['not: a forbid of a narrower scope', `@id("a") ${P}; @id("f") forbid (principal == Agent::"a", action, resource == Tool::"mcp://fs/x");`, []],
    ['a duplicate', `@id("a") ${P}; @id("b") ${P};`, ['duplicate test/b test/a']],
    ['a permit that a wider one makes redundant', `@id("a") ${P}; @id("w") permit (principal, action, resource is Tool);`, ['redundant test/a test/w']],
    ['not redundant: one that demands assurance', `@id("a") @assurance("A4") ${P}; @id("w") permit (principal, action, resource is Tool);`, []],
    ['not redundant: one that demands something, since the strictest demand holds', `@id("a") @lease("9s") ${P}; @id("w") permit (principal, action, resource is Tool);`, []],
    ['an optional attribute without `has`', `@id("a") forbid (principal, action, resource) when { context.args.path == "x" };`, ['may_error test/a']],
    ['arithmetic that can overflow', '@id("a") forbid (principal, action, resource) when { context.lineage.depth + 1 > 3 };', ['may_error test/a']],
    ['not: arithmetic on literals alone', '@id("a") forbid (principal, action, resource) when { context.lineage.depth > 3 + 1 };', []],
    ['a text that is parsed', `@id("a") ${P} when { ip(context.facts.paths).isLoopback() };`, ['invalid test/a', 'may_error test/a']],
  ])('tells %s', (_name, text, expected) => expect(found(text)).toEqual(expected))
  it('tells which determined none of the recorded requests', () => {
    expect(found(`@id("a") ${P}; @id("b") permit (principal == Agent::"b", action, resource);`, new Map([['test/a', 3]]))).toEqual(['unused test/b'])
  })
  it('never says of a policy that is needed that it is shadowed or redundant (300 sets, seed 20261125)', { timeout: 60_000 }, () => {
    let told = 0
    fc.assert(fc.property(setArbitrary, fc.array(requestArbitrary, { minLength: 6, maxLength: 6 }), (text, requests) => {
      const set = policySet(text)
      for (const { kind, policy } of analyzePolicies(set)) {
        if (kind !== 'shadowed' && kind !== 'redundant' && kind !== 'duplicate') continue
        told++
        const rest = set.policies.filter(({ id }) => id !== policy)
        if (rest.length === 0) continue
        const without = new PolicyEngine(loadPolicySet({ 'test.cedar': rest.map((one) => one.text).join('\n'), [SCHEMA_FILE]: SCHEMA }, sha256))
        const engine = new PolicyEngine(set)
        for (const request of requests) expect(decide(request, { engine: without, epoch: 0 }).kind).toBe(decide(request, { engine, epoch: 0 }).kind)
      }
    }), { seed: 20261125, numRuns: 300 })
    expect(told).toBeGreaterThan(50)
  })
})

describe('a recommendation', () => {
  const seen = [input({ action: toolCall('x', { path: '/srv/a', count: 1 }) }), input({ action: toolCall('x', { path: '/srv/b', count: 1 }) }), input({ action: toolCall('y', {}), facts: { paths: 'none' } })]
  it('permits what was asked and nothing that policies can tell from it', () => {
    const { text, policies, cases } = recommendPolicies(seen, SCHEMA, false, sha256)
    expect([policies, cases.length]).toEqual([2, 6])
    const engine = new PolicyEngine(loadPolicySet({ 'recommended.cedar': text, [SCHEMA_FILE]: SCHEMA }, sha256))
    const answer = (one: DecisionInput): string => decide(one, { engine, epoch: 0 }).kind
    for (const one of seen) expect(answer(one)).toBe('permit')
    const first = seen[0] as DecisionInput
    const wider: DecisionInput[] = [
      { ...first, agent: { name: 'other', verified: true } }, { ...first, agent: { ...first.agent, verified: false } }, { ...first, facts: { paths: 'outside' } }, { ...first, environment: { level: 'none' } },
      { ...first, action: toolCall('z', first.action.arguments as JsonObject) }, { ...first, action: toolCall('x', first.action.arguments as JsonObject, { target: 'mcp://db' }) },
      { ...first, action: toolCall('x', { path: '/srv/a', count: 1, force: true }) }, { ...first, action: toolCall('x', { path: '/srv/a' }) },
      { ...first, action: { type: 'mcp.prompt_get', target: 'mcp://fs', name: 'x', arguments: { path: '/srv/a', count: 1 } } },
    ]
    expect(wider.map(answer)).toEqual(wider.map(() => 'deny'))
  })
  it('with exact values permits these alone', () => {
    const { text, policies } = recommendPolicies(seen, SCHEMA, true, sha256)
    expect(policies).toBe(3)
    const engine = new PolicyEngine(loadPolicySet({ 'recommended.cedar': text, [SCHEMA_FILE]: SCHEMA }, sha256))
    for (const one of seen) expect(decide(one, { engine, epoch: 0 }).kind).toBe('permit')
    expect(decide(input({ action: toolCall('x', { path: '/srv/c', count: 1 }) }), { engine, epoch: 0 }).kind).toBe('deny')
  })
  it('I7: names and values of a stranger stay data (200 random ones, seed 20261125)', { timeout: 60_000 }, () => {
    const hostile = fc.oneof(fc.string({ unit: 'grapheme-ascii', minLength: 1, maxLength: 20 }), fc.constantFrom('"); permit (principal, action, resource); //', '\\', '\n', '*/', '\u202e"', "'; --", '\u0000', '@id("x")'))
    let hidden = 0
    fc.assert(fc.property(hostile, hostile, hostile, (agent, name, path) => {
      const one = input({ agent: { name: agent, verified: true }, action: toolCall(name, { path }) })
      const { text, policies, skipped } = recommendPolicies([one, input()], SCHEMA, true, sha256)
      const set = loadPolicySet({ 'recommended.cedar': text, [SCHEMA_FILE]: SCHEMA }, sha256)
      expect(policies + skipped).toBe(2)
      expect(set.policies.length).toBe(policies)
      if (skipped > 0) hidden++
      else expect(decide(one, { engine: new PolicyEngine(set), epoch: 0 }).kind).toBe('permit')
      expect(decide(input({ action: toolCall('another') }), { engine: new PolicyEngine(set), epoch: 0 }).kind).toBe('deny')
    }), { seed: 20261125, numRuns: 200 })
    expect(hidden).toBeLessThan(120)
  })
  it('says when there is nothing to recommend', () => expect(() => recommendPolicies([], SCHEMA, false, sha256)).toThrow(PolicyError))
})
