import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { decide, type Decision, type DecisionInput, loadPolicySet, PolicyEngine, PolicyError, PolicySlicer, toCedar } from '@sealwrit/control-plane'
import type { Action, JsonObject } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { score } from '../../../test/support/scoreboard.ts'
import { PERMIT_ALL, policySet, SCHEMA, sha256, toolCall } from './support/rig.ts'

const input = (change: Partial<DecisionInput> = {}): DecisionInput => ({ action: toolCall(), agent: { name: 'tester', verified: true }, sub: 'user:1', environment: { level: 'software' }, facts: { paths: 'inside' }, ...change })
const decided = (text: string, change: Partial<DecisionInput> = {}): Decision => decide(input(change), { engine: new PolicyEngine(policySet(text)), epoch: 1 })
const answer = (text: string, change: Partial<DecisionInput> = {}): string => {
  const decision = decided(text, change)
  return decision.kind === 'deny' ? decision.code : decision.kind
}
const loadError = (files: Record<string, string>): string => {
  try {
    loadPolicySet(files, sha256)
    return 'loaded'
  } catch (error) {
    if (error instanceof PolicyError) return error.message
    throw error
  }
}

describe('a policy set', () => {
  it.each<[string, string, RegExp]>([
    ['a syntax error', 'permit (principal, action, resource', /^test\.cedar: /],
    ['a type error against the schema', 'permit (principal, action, resource) when { context.args.path == 1 };', /test\/0/],
    ['an attribute that is not declared', 'permit (principal, action, resource) when { context.weather == "fine" };', /weather/],
    ['an optional attribute read without `has`', 'permit (principal, action, resource) when { context.args.path == "x" };', /path/],
    ['an action that is not declared', 'permit (principal, action == Action::"mcp.tool_cal", resource);', /mcp\.tool_cal/],
    ['a policy that can never apply (a warning)', 'permit (principal, action == Action::"mcp.prompt_get", resource is Tool);', /test\/0/],
    ['a template', 'permit (principal == ?principal, action, resource);', /templates are not supported/],
    ['an unknown annotation', '@sandbocks("net:none") permit (principal, action, resource);', /unknown annotation @sandbocks/],
    ['an obligation that no gate enforces yet', '@sandbox("net:none") permit (principal, action, resource);', /@sandbox is not enforced/],
    ['a lease that is not a duration', '@lease("soon") permit (principal, action, resource);', /@lease takes a duration/],
    ['a lease of two days', '@lease("48h") permit (principal, action, resource);', /@lease takes a duration/],
    ...['', 'A0', 'A2', 'A6', 'a4', 'A4 A5', ' A4'].map((level): [string, string, RegExp] => [`an assurance of "${level}"`, `@assurance("${level}") permit (principal, action, resource);`, /@assurance is one of A3, A4, A5/]),
    ['a risk that nobody knows', '@risk("extreme") permit (principal, action, resource);', /@risk is one of/],
    ['one id twice', `@id("a") ${PERMIT_ALL} @id("a") ${PERMIT_ALL}`, /two policies have the id `test\/a`/],
    ['no policy at all', '// nothing', /nothing could ever be permitted/],
  ])('with %s does not load, and the message says where', (_name, text, message) => {
    expect(loadError({ 'test.cedar': text, 'schema.cedarschema': SCHEMA })).toMatch(message)
  })
  it('without a schema, or with a broken one, does not load', () => {
    expect(loadError({ 'test.cedar': PERMIT_ALL })).toContain('schema.cedarschema')
    expect(loadError({ 'test.cedar': PERMIT_ALL, 'schema.cedarschema': 'entity {' })).toMatch(/^schema\.cedarschema: /)
  })
  it('ATK-055: has another digest when any byte of any file differs, and cannot be changed', () => {
    const digests = new Set([policySet(PERMIT_ALL), policySet(`${PERMIT_ALL} `), policySet(PERMIT_ALL, `${SCHEMA} `)].map((set) => set.digest))
    expect(digests.size).toBe(3)
    expect(Object.isFrozen(policySet(PERMIT_ALL).files)).toBe(true)
  })
})

describe('a decision', () => {
  it.each<[string, string, string, Partial<DecisionInput>]>([
    ['nothing matches', 'permit (principal == Agent::"other", action, resource);', 'policy_no_match', {}],
    ['a policy forbids', `${PERMIT_ALL} forbid (principal, action, resource);`, 'policy_denied', {}],
    ['a policy permits', PERMIT_ALL, 'permit', {}],
    ['a policy demands approval', '@approval("group:secops quorum:2") permit (principal, action, resource);', 'hold', {}],
  ])('when %s', (_name, text, expected, change) => expect(answer(text, change)).toBe(expected))

  it.each<[string, string, Partial<DecisionInput>]>([
    ['integer overflow in a forbid', 'forbid (principal, action, resource) when { context.args has count && context.args.count + 9223372036854775807 > 0 };', { action: toolCall('read_file', { count: 1 }) }],
    ['integer overflow in a permit', 'permit (principal, action, resource) when { context.args has count && context.args.count * 9223372036854775807 > 0 };', { action: toolCall('read_file', { count: 2 }) }],
    ['a list for a string', 'forbid (principal, action, resource) when { context.args has path && context.args.path like "/etc/*" };', { action: toolCall('read_file', { path: ['/etc/shadow'] }) }],
    ['a string for a set', PERMIT_ALL, { action: toolCall('read_file', { paths: '/etc/shadow' }) }],
    ['a number for a flag', PERMIT_ALL, { action: toolCall('read_file', { force: 1 }) }],
    ['a fraction for an integer', PERMIT_ALL, { action: toolCall('read_file', { count: 1.5 }) }],
    ['null for a string', PERMIT_ALL, { action: toolCall('read_file', { path: null }) }],
    ['a string longer than policy looks at', PERMIT_ALL, { action: toolCall('read_file', { path: 'x'.repeat(8_193) }) }],
  ])('ATK-058: %s is policy_error, though a permit beside it matches', (_name, text, change) => {
    expect(answer(`${PERMIT_ALL} ${text}`, change)).toBe('policy_error')
    expect(answer(PERMIT_ALL)).toBe('permit') // the control: the permit alone does match
  })
  it('ATK-058: the bare engine would have permitted what an erring forbid should have stopped', () => {
    const text = `${PERMIT_ALL} forbid (principal, action, resource) when { context.lineage.depth + 9223372036854775807 + 1 > 0 };`
    const set = policySet(text)
    const request = toCedar(input(), new PolicyEngine(set).argumentTypes)
    const bare = cedar.isAuthorized({ ...request, policies: { staticPolicies: Object.fromEntries(set.policies.map((p) => [p.id, p.text])) } } as never)
    expect(bare).toMatchObject({ type: 'success', response: { decision: 'allow' } })
    expect(answer(text)).toBe('policy_error')
  })

  it('takes the strictest of what several permits demand', () => {
    const decision = decided(`@lease("1m") @risk("low") ${PERMIT_ALL} @max_runtime("20s") @risk("high") ${PERMIT_ALL} @lease("1h") ${PERMIT_ALL}`)
    expect(decision).toMatchObject({ kind: 'permit', risk: 'high', constraints: { lease_seconds: 20, max_runtime_seconds: 20 } })
  })
  it('names the policies that determined it by our ids, and what they saw', () => {
    const decision = decided(`@id("mine") ${PERMIT_ALL} permit (principal == Agent::"other", action, resource);`)
    expect(decision.policy.determining).toEqual(['test/mine'])
    expect(decision.inputs).toMatchObject({ context: { args: { path: '/srv/q3.txt' }, facts: { paths: 'inside' } }, principal: { id: 'tester' } })
  })
  it('ATK-020: `__proto__` and arguments that the schema does not name never reach policy', () => {
    const args = JSON.parse('{"__proto__":{"path":"/etc"},"constructor":{"x":1},"undeclared":{"deep":[1]},"path":"/srv"}') as JsonObject
    expect(decided(PERMIT_ALL, { action: toolCall('read_file', args) }).inputs).toMatchObject({ context: { args: { path: '/srv' } } })
    expect(({} as { path?: string }).path).toBeUndefined()
  })
  it.each(['context.args has path', 'context has args.path', 'context has args', 'context has args.path && context.args.path == "/srv"', '[context.args] == [context.args] && context has args.path', 'context has args && context.args has path'])('is asked for anew where what `%s` reads differs', (condition) => {
    const requests = [{ path: '/srv' }, {}, { path: '/etc' }, { count: 1 }].map((args) => input({ action: toolCall('read_file', args as JsonObject) }))
    const set = policySet(`permit (principal, action, resource) when { ${condition} };`)
    const kinds = (engine: PolicyEngine): string[] => requests.map((one) => decide(one, { engine, epoch: 1 }).kind)
    expect(kinds(new PolicyEngine(set))).toEqual(kinds(new PolicyEngine(set, { keepAnswers: false })))
  })
  it('ATK-061: ids that only look alike are other ids', () => {
    const text = 'permit (principal == Agent::"tester", action, resource == Tool::"mcp://fs/read_file");'
    expect(answer(text)).toBe('permit')
    for (const name of ['Tester', 'tester ', 'teste', 'tеster', 'tester\u200b']) expect(answer(text, { agent: { name, verified: true } }), name).toBe('policy_no_match')
    for (const name of ['Read_file', 'read_file/', 'read_file\u0000']) expect(answer(text, { action: toolCall(name) }), name).toBe('policy_no_match')
  })
})

/** Policies over small alphabets, so that scopes meet requests often. */
const scopedPolicy = fc.record({
  effect: fc.constantFrom('permit', 'permit', 'forbid'),
  principal: fc.constantFrom('principal', 'principal == Agent::"a"', 'principal == Agent::"b"', 'principal is Agent', 'principal in Agent::"a"', 'principal is Agent in Agent::"b"'),
  action: fc.constantFrom('action', 'action == Action::"mcp.tool_call"', 'action in [Action::"mcp.tool_call", Action::"mcp.prompt_get"]', 'action == Action::"mcp.resource_read"'),
  resource: fc.constantFrom('resource', 'resource == Tool::"mcp://fs/x"', 'resource == Tool::"mcp://fs/y"', 'resource is Tool', 'resource is Endpoint', 'resource in Server::"mcp://fs"', 'resource is Tool in Server::"mcp://db"'),
  condition: fc.constantFrom('', ' when { context.args has path && context.args.path == "p" }', ' unless { context.facts.paths == "inside" }', ' when { context.args has count && context.args.count + 9223372036854775807 > 0 }', ' when { context.args has force && context.args.force }', ' when { context.args == {path: "p"} }'),
}).map(({ effect, principal, action, resource, condition }) => `${effect} (${principal}, ${action}, ${resource})${condition};`)
const request = fc.record({
  agent: fc.constantFrom('a', 'b', 'c'),
  target: fc.constantFrom('mcp://fs', 'mcp://db'),
  name: fc.constantFrom('x', 'y', 'z'),
  args: fc.record({ path: fc.constantFrom('p', 'q'), count: fc.constantFrom(-1, 0, 1), force: fc.boolean() }, { requiredKeys: [] }),
  type: fc.constantFrom('mcp.tool_call' as const, 'mcp.prompt_get' as const),
  paths: fc.constantFrom('inside' as const, 'outside' as const),
}).map(({ agent, target, name, args, type, paths }) => input({
  agent: { name: agent, verified: true }, facts: { paths },
  action: type === 'mcp.tool_call' ? toolCall(name, args as JsonObject, { target }) : { type, target, name, arguments: args as JsonObject },
}))

/** Only policies that load: strict validation refuses what can never apply. */
const loads = new Map<string, boolean>()
function load(texts: readonly string[]): ReturnType<typeof policySet> | undefined {
  for (const text of texts) if (!loads.has(text)) loads.set(text, loadError({ 'test.cedar': text, 'schema.cedarschema': SCHEMA }) === 'loaded')
  const good = texts.filter((text) => loads.get(text) === true)
  return good.length === 0 ? undefined : policySet(good.join('\n'))
}

describe('slicing', () => {
  it('S8: gives the same decision, reasons and errors as the whole set in the bare engine (2,500 pairs, seed 20261123)', () => {
    let pairs = 0
    let erred = 0
    fc.assert(fc.property(fc.array(scopedPolicy, { minLength: 1, maxLength: 12 }), fc.array(request, { minLength: 10, maxLength: 10 }), (texts, requests) => {
      const set = load(texts)
      if (set === undefined) return
      const engine = new PolicyEngine(set, { keepAnswers: false })
      const slicer = new PolicySlicer(set.policies)
      const staticPolicies = Object.fromEntries(set.policies.map((p) => [p.id, p.text]))
      for (const one of requests) {
        const asked = toCedar(one, engine.argumentTypes)
        const mine = engine.evaluate(asked)
        const bare = cedar.isAuthorized({ ...asked, schema: SCHEMA, validateRequest: true, policies: { staticPolicies } } as never)
        if (bare.type === 'failure') throw new Error(JSON.stringify(bare.errors))
        const { decision, diagnostics } = bare.response
        pairs++
        expect(new Set(mine.determining.map((p) => p.id))).toEqual(new Set(diagnostics.reason))
        expect(mine.errors).toHaveLength(diagnostics.errors.length)
        if (diagnostics.errors.length > 0) {
          erred++
          expect(mine.decision).toBe('policy_error')
        } else {
          expect(mine.decision === 'permit').toBe(decision === 'allow')
        }
        expect(slicer.slice(asked).length).toBeLessThanOrEqual(set.policies.length)
      }
    }), { seed: 20261123, numRuns: 250 })
    expect(pairs).toBeGreaterThan(2_000)
    expect(erred).toBeGreaterThan(50)
    score({ id: 'S8', figure: 'decisions that differ from those of the bare Cedar engine', n: pairs, violations: 0, seed: 20_261_123, faultsLanded: pairs, notes: `${erred} with an erring policy, which deny` })
    console.log(`decisions against the bare engine: 0 disagreements in ${pairs} pairs, ${erred} of them with an erring policy, which deny (seed 20261123)`)
  })

  it('a kept answer is the answer that a fresh evaluation gives', () => {
    fc.assert(fc.property(fc.array(scopedPolicy, { minLength: 1, maxLength: 8 }), fc.array(request, { minLength: 12, maxLength: 12 }), (texts, requests) => {
      const set = load(texts)
      if (set === undefined) return
      const keeping = new PolicyEngine(set)
      const fresh = new PolicyEngine(set, { keepAnswers: false })
      for (const one of [...requests, ...requests]) {
        const asked = toCedar(one, keeping.argumentTypes)
        const [kept, evaluated] = [keeping.evaluate(asked), fresh.evaluate(asked)]
        expect(kept).toEqual(evaluated)
      }
    }), { seed: 20261123, numRuns: 60 })
  })
  it('ATK-060: two sets in use at once never answer for each other', () => {
    const [open, closed] = [new PolicyEngine(policySet(PERMIT_ALL)), new PolicyEngine(policySet('permit (principal == Agent::"nobody", action, resource);'))]
    for (let i = 0; i < 700; i++) {
      const asked = toCedar(input({ action: toolCall(`tool-${i}`) }), open.argumentTypes) // more resources than slices are kept
      expect([open.evaluate(asked).decision, closed.evaluate(asked).decision]).toEqual(['permit', 'policy_no_match'])
    }
  })
})

describe('an action of MCP', () => {
  const ALL = ['mcp.completion', 'mcp.resource_subscribe', 'mcp.task', 'mcp.sampling', 'mcp.elicitation', 'mcp.roots'] as const
  const OF: { readonly [T in (typeof ALL)[number]]: Action } = {
    'mcp.completion': { type: 'mcp.completion', target: 'mcp://fs', name: 'completion/complete', arguments: { ref: {}, argument: {} } },
    'mcp.resource_subscribe': { type: 'mcp.resource_subscribe', target: 'mcp://fs', name: 'resources/subscribe', arguments: { uri: 'file:///a' } },
    'mcp.task': { type: 'mcp.task', target: 'mcp://fs', name: 'tasks/cancel', arguments: {} },
    'mcp.sampling': { type: 'mcp.sampling', target: 'mcp://fs', name: 'sampling/createMessage', arguments: {} },
    'mcp.elicitation': { type: 'mcp.elicitation', target: 'mcp://fs', name: 'elicitation/create', arguments: {} },
    'mcp.roots': { type: 'mcp.roots', target: 'mcp://fs', name: 'roots/list', arguments: {} },
  }
  const with_ = (text: string, schema: string, action: Action): string => {
    const decision = decide(input({ action }), { engine: new PolicyEngine(policySet(text, schema)), epoch: 1 })
    return decision.kind === 'deny' ? decision.code : decision.kind
  }
  const CALL = SCHEMA.replace('facts: {', 'call: { input: Bool, task: Bool }, facts: {')
  const WHOLE = CALL.replace('"mcp.prompt_get" appliesTo', `"mcp.prompt_get", ${ALL.map((type) => `"${type}"`).join(', ')} appliesTo`)
  const RETRY = toolCall('read_file', { path: '/srv/a' }, { input_responses: { go: {} } })

  it.each(ALL)('of type %s is denied by a set whose schema does not declare it, whatever its policies permit', (type) => {
    expect(with_(PERMIT_ALL, SCHEMA, OF[type])).toBe('policy_error')
    expect(with_(PERMIT_ALL, WHOLE, OF[type])).toBe('permit')
  })
  it.each(ALL)('of type %s is one endpoint of its server', (type) => {
    const id = `mcp://fs/${OF[type].name}`
    expect(with_(`permit (principal, action == Action::"${type}", resource == Endpoint::"${id}");`, WHOLE, OF[type])).toBe('permit')
    expect(with_(`permit (principal, action == Action::"${type}", resource == Endpoint::"${id}x");`, WHOLE, OF[type])).toBe('policy_no_match')
    expect(with_(`permit (principal, action, resource in Server::"mcp://fs");`, WHOLE, OF[type])).toBe('permit')
    expect(with_(`permit (principal, action, resource in Server::"mcp://db");`, WHOLE, OF[type])).toBe('policy_no_match')
    expect(with_(`permit (principal, action, resource) when { resource.name == "${OF[type].name}" };`, WHOLE, OF[type])).toBe('permit')
  })
  it('that is a retry, or a task, is told from one that is not, where the schema declares it', () => {
    const noInput = 'permit (principal, action, resource) unless { context.call.input };'
    const noTask = 'permit (principal, action, resource) unless { context.call.task };'
    const answers = (text: string): string[] => [toolCall(), RETRY, toolCall('x', {}, { request_state: '' }), toolCall('x', {}, { task: {} })].map((action) => with_(text, CALL, action))
    expect(answers(noInput)).toEqual(['permit', 'policy_no_match', 'policy_no_match', 'permit'])
    expect(answers(noTask)).toEqual(['permit', 'permit', 'permit', 'policy_no_match'])
    expect(answers(PERMIT_ALL)).toEqual(['permit', 'permit', 'permit', 'permit'])
  })
  it('is asked of the engine anew when only its being a retry differs', () => {
    const engine = new PolicyEngine(policySet('permit (principal, action, resource) unless { context.call.input };', CALL))
    const kind = (action: Action): string => decide(input({ action }), { engine, epoch: 1 }).kind
    expect([kind(toolCall('x', {})), kind(toolCall('x', {}, { input_responses: {} })), kind(toolCall('x', {}))]).toEqual(['permit', 'deny', 'permit'])
  })
  it.each(['call: Bool', 'call: { input: Bool }', 'call: { input: Bool, task: String }', 'call: { input: Bool, task?: Bool }', 'call: { input: Bool, task: Bool, more: Bool }'])('is not told by a schema with `%s`, which does not load', (declared) => {
    expect(loadError({ 'test.cedar': PERMIT_ALL, 'schema.cedarschema': SCHEMA.replace('facts: {', `${declared}, facts: {`) })).toContain('context.call must be declared as call: { input: Bool, task: Bool }')
  })
})
