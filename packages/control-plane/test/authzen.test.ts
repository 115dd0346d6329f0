import type { JsonObject } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Served } from './support/http.ts'
import { TestAgent } from './support/identity.ts'
import { pinTools, policySet, Rig } from './support/rig.ts'

/*
 * Pairs of the specification, "Authorization API 1.0" of the OpenID AuthZEN working group: the examples of its sections on the Access Evaluation
 * API, the Access Evaluations API with its three semantics and its default values, and the three search APIs. Who, what and which are ours, one
 * for one: alice is the agent `alice`, `can_read` is the action `mcp.tool_call`, and documents 1, 2 and 3 are tools of those names, of which alice
 * may call the first and the third.
 * https://openid.net/specs/authorization-api-1_0.html
 */
const POLICIES = `
@id("readers") permit (principal == Agent::"alice", action == Action::"mcp.tool_call", resource) when { ["1", "3"].contains(resource.name) };
@id("verified-only") permit (principal, action == Action::"mcp.tool_call", resource) when { resource.name == "4" && principal.verified };
@id("inside") permit (principal, action == Action::"mcp.tool_call", resource) when { resource.name == "5" && context.facts.paths == "inside" };
@id("by-path") permit (principal, action == Action::"mcp.tool_call", resource) when { resource.name == "6" && context.args has path && context.args.path == "/srv/ok" };
@id("asked") @approval("group:secops") permit (principal, action == Action::"mcp.tool_call", resource) when { resource.name == "7" };
@id("prompts") permit (principal == Agent::"alice", action == Action::"mcp.prompt_get", resource);
@id("resources") permit (principal == Agent::"alice", action == Action::"mcp.resource_read", resource);
`
const alice = { type: 'agent', id: 'alice' }
const read = { name: 'mcp.tool_call' }
const document = (n: number | string): { type: string; id: string } => ({ type: 'tool', id: `mcp://docs/${n}` })

let rig: Rig
let served: Served
beforeAll(async () => {
  rig = await Rig.open('authzen', policySet(POLICIES))
  const gate = await rig.gate([])
  await pinTools(rig.plane, gate, ['1', '2', '3', '4', '5', '6', '7'], 'mcp://docs')
  for (const agent of ['alice', 'bob']) await rig.plane.registry.changeAgent({ agent, event: 'added', key: new TestAgent(agent).key })
  served = await Served.open(rig.plane)
})
afterAll(async () => {
  await served.close()
  await rig.remove()
})

const ask = <T = JsonObject>(path: string, body: unknown): Promise<T> => served.json<T>('POST', `/access/v1/${path}`, body)
interface Evaluation {
  readonly decision: boolean
  readonly context: JsonObject
}
const evaluate = (change: object): Promise<Evaluation> => ask<Evaluation>('evaluation', { subject: alice, action: read, resource: document(1), ...change })
const evaluateAll = async (request: object): Promise<readonly Evaluation[]> => (await ask<{ evaluations: Evaluation[] }>('evaluations', request)).evaluations

describe('AuthZEN 1.0: evaluation', () => {
  it('answers a decision with its reasons, and logs and issues nothing', async () => {
    const before = rig.plane.log.size
    expect(await evaluate({})).toEqual({ decision: true, context: { decision: 'permit', policies: ['test/readers'], epoch: 1 } })
    expect(await evaluate({ resource: document(2) })).toEqual({ decision: false, context: { decision: 'deny', code: 'policy_no_match', policies: [], epoch: 1 } })
    expect(rig.plane.log.size).toBe(before)
  })
  it('maps every part of the request, and names what nobody looks at', async () => {
    const yes = async (change: object): Promise<boolean> => (await evaluate(change)).decision
    expect(await yes({ subject: { type: 'agent', id: 'bob' }, resource: document(4) })).toBe(true) // registered, so verified
    expect(await yes({ subject: { type: 'agent', id: 'bob', properties: { verified: false } }, resource: document(4) })).toBe(false)
    expect(await yes({ subject: { type: 'agent', id: 'nobody' }, resource: document(4) })).toBe(false)
    expect(await yes({ resource: document(5) })).toBe(false)
    expect(await yes({ resource: document(5), context: { facts: { paths: 'inside' } } })).toBe(true)
    expect(await yes({ resource: document(6), action: { ...read, properties: { arguments: { path: '/srv/ok' } } } })).toBe(true)
    expect(await yes({ resource: document(6), action: { ...read, properties: { arguments: { path: '/srv/other' } } } })).toBe(false)
    expect(await yes({ action: { name: 'mcp.prompt_get' }, resource: { type: 'endpoint', id: 'mcp://docs/prompts/greet' } })).toBe(true)
    expect(await yes({ action: { name: 'mcp.resource_read' }, resource: { type: 'endpoint', id: 'mcp://docs/resources' } })).toBe(true)
    // What the schema of the set does not declare is no question that cannot be asked: it is denied.
    for (const [name, method] of [['completion', 'completion/complete'], ['resource_subscribe', 'resources/subscribe'], ['task', 'tasks/cancel'], ['sampling', 'sampling/createMessage'], ['elicitation', 'elicitation/create'], ['roots', 'roots/list']]) {
      expect(await evaluate({ action: { name: `mcp.${name}` }, resource: { type: 'endpoint', id: `mcp://docs/${method}` } }), name).toMatchObject({ decision: false, context: { code: 'policy_error' } })
    }
    expect((await evaluate({ context: { time: '1985-10-26T01:22-07:00' }, subject: { ...alice, properties: { department: 'Sales' } } })).context['ignored']).toEqual(['/subject/properties/department', '/context/time'])
  })
  it('says no where a gate would: a hold, a tool that nobody recorded or that changed, a kill', async () => {
    expect(await evaluate({ resource: document(7) })).toMatchObject({ decision: false, context: { decision: 'hold', code: 'approval_required' } })
    await rig.plane.activate({ files: { 'a.cedar': 'permit (principal, action, resource);', 'schema.cedarschema': (await rig.plane.reader.policies(rig.plane.log.state.policyDigest as string)).files['schema.cedarschema'] as string }, tests: [], how: { mode: 'enforce', urgent: false, confirm: false, rebase: false } })
    expect(await evaluate({ resource: document('unheard') })).toMatchObject({ decision: false, context: { code: 'tool_not_pinned' } })
    expect(await evaluate({ resource: { ...document(1), properties: { tool_digest: `sha256:${'b'.repeat(64)}` } } })).toMatchObject({ decision: false, context: { code: 'tool_changed' } })
    await rig.plane.stops.kill('agent:alice', rig.plane.sub)
    expect(await evaluate({})).toMatchObject({ decision: false, context: { code: 'killed' } })
    await rig.plane.stops.lift('agent:alice', rig.plane.sub)
    await rig.plane.policies.rollback(1, false, false, rig.plane.sub)
    expect((await evaluate({})).decision).toBe(true)
  })
  it.each<[string, object, string, string]>([
    ['a subject of another kind', { subject: { type: 'user', id: 'alice@acmecorp.com' } }, '/subject/type', 'unknown subject type `user`; this plane decides about `agent`'],
    ['a resource of another kind', { resource: { type: 'account', id: '123' } }, '/resource/type', 'unknown resource type `account`; `tool` or `endpoint`'],
    ['another action', { action: { name: 'can_read' } }, '/action/name', 'unknown action `can_read`; one of mcp.tool_call, mcp.resource_read, mcp.prompt_get, mcp.completion, mcp.resource_subscribe, mcp.task, mcp.sampling, mcp.elicitation, mcp.roots'],
    ['an action that its resource does not have', { action: { name: 'mcp.prompt_get' } }, '/resource/type', 'no resource of mcp.prompt_get'],
    ['a further member', { surplus: 1 }, '/surplus', 'unknown member `surplus`'],
    ['no subject', { subject: undefined }, '/subject', 'missing, or not object'],
    ['a tool that is none', { resource: { type: 'tool', id: 'read_file' } }, '/resource/id', 'not a tool, as in `mcp://fs/read_file`'],
    ['verified that is no truth', { subject: { ...alice, properties: { verified: 'yes' } } }, '/subject/properties/verified', 'not true or false'],
    ['arguments that are no object', { action: { ...read, properties: { arguments: [] } } }, '/action/properties/arguments', 'not an object'],
  ])('refuses %s by name', async (_what, change, pointer, detail) => {
    const answer = await served.ask('POST', '/access/v1/evaluation', { subject: alice, action: read, resource: document(1), ...change })
    expect([answer.status, (JSON.parse(answer.text) as { errors: object[] }).errors]).toEqual([400, [{ pointer, detail }]])
  })
  it('gives the request identifier back, also with a refusal, and asks for the token', async () => {
    const id = { 'x-request-id': 'bfe9eb29-ab87-4ca3-be83-a1d5d8305716' }
    for (const body of [{ subject: alice, action: read, resource: document(1) }, {}]) expect((await served.ask('POST', '/access/v1/evaluation', body, id)).headers['x-request-id']).toBe(id['x-request-id'])
    expect((await served.ask('POST', '/access/v1/evaluation', {}, { authorization: '' })).status).toBe(401)
  })
})

describe('AuthZEN 1.0: evaluations', () => {
  const three = { subject: alice, action: read, evaluations: [1, 2, 3].map((n) => ({ resource: document(n) })) }
  const decisions = async (semantic: string | undefined): Promise<boolean[]> => (await evaluateAll({ ...three, ...(semantic === undefined ? {} : { options: { evaluations_semantic: semantic } }) })).map(({ decision }) => decision)
  it.each<[string | undefined, boolean[]]>([
    [undefined, [true, false, true]],
    ['execute_all', [true, false, true]],
    ['deny_on_first_deny', [true, false]],
    ['permit_on_first_permit', [true]],
  ])('%s answers as the specification shows', async (semantic, expected) => {
    expect(await decisions(semantic)).toEqual(expected)
  })
  it('says why it stopped, and takes no semantic that it does not know', async () => {
    expect((await evaluateAll({ ...three, options: { evaluations_semantic: 'deny_on_first_deny' } })).at(-1)?.context['reason']).toBe('deny_on_first_deny')
    expect((await served.ask('POST', '/access/v1/evaluations', { ...three, options: { evaluations_semantic: 'execute_some' } })).status).toBe(400)
    expect((await served.ask('POST', '/access/v1/evaluations', { ...three, options: { another_option: 'value' } })).status).toBe(200)
  })
  it('takes the whole default for what one of them leaves out, and its own before it', async () => {
    const found = await evaluateAll({
      subject: alice, action: read, resource: document(2), context: { facts: { paths: 'inside' } },
      evaluations: [{}, { resource: document(3) }, { resource: document(5) }, { resource: document(5), context: { other: 1 } }, { subject: { type: 'agent', id: 'bob' }, resource: document(1) }, { action: { name: 'mcp.prompt_get' }, resource: { type: 'endpoint', id: 'mcp://docs/prompts/x' } }],
    })
    expect(found.map(({ decision }) => decision)).toEqual([false, true, true, false, false, true])
  })
  it('is a single evaluation where there is no list, or an empty one', async () => {
    for (const more of [{}, { evaluations: [] }]) expect(await ask('evaluations', { subject: alice, action: read, resource: document(1), ...more })).toMatchObject({ decision: true })
    expect((await served.ask('POST', '/access/v1/evaluations', { subject: alice })).status).toBe(400)
  })
  it('says in its place what is wrong with one, and goes on with the others', async () => {
    const found = await evaluateAll({ action: read, evaluations: [{ subject: alice, resource: document(1) }, { subject: { type: 'user', id: 'x' }, resource: document(1) }, { resource: document(1) }, { subject: alice, resource: document(3) }] })
    expect(found.map(({ decision }) => decision)).toEqual([true, false, false, true])
    expect(found[1]?.context).toEqual({ error: { status: 400, message: '/subject/type: unknown subject type `user`; this plane decides about `agent`' } })
    expect(found[2]?.context).toEqual({ error: { status: 400, message: '/subject: missing' } })
  })
  it('takes a hundred of them and not one more', async () => {
    const many = (n: number): object => ({ subject: alice, action: read, resource: document(1), evaluations: Array.from({ length: n }, () => ({})) })
    expect(await evaluateAll(many(100))).toHaveLength(100)
    expect((await served.ask('POST', '/access/v1/evaluations', many(101))).status).toBe(400)
  })
})

describe('AuthZEN 1.0: search', () => {
  interface Results {
    readonly results: readonly { type?: string; id?: string; name?: string }[]
    readonly page: { readonly next_token: string; readonly count: number }
  }
  it('finds the agents, tools and actions for which an evaluation says yes, and no others', async () => {
    const subjects = await ask<Results>('search/subject', { subject: { type: 'agent' }, action: read, resource: document(1) })
    expect(subjects).toEqual({ results: [alice], page: { next_token: '', count: 1 } })
    expect((await ask<Results>('search/subject', { subject: { type: 'agent' }, action: read, resource: document(4) })).results.map(({ id }) => id)).toEqual(['alice', 'bob'])
    const resources = await ask<Results>('search/resource', { subject: alice, action: read, resource: { type: 'tool' } })
    expect(resources.results).toEqual([document(1), document(3), document(4)])
    for (const resource of resources.results) expect((await evaluate({ resource })).decision).toBe(true)
    expect((await ask<Results>('search/action', { subject: alice, resource: document(1) })).results).toEqual([read])
    expect((await ask<Results>('search/action', { subject: alice, resource: document(2) })).results).toEqual([])
    expect((await ask<Results>('search/action', { subject: alice, resource: { type: 'endpoint', id: 'mcp://docs/prompts/x' } })).results).toEqual([{ name: 'mcp.prompt_get' }])
  })
  it('goes on from a token until it is empty', async () => {
    const found: unknown[] = []
    for (let token = ''; ; ) {
      const { results, page } = await ask<Results>('search/resource', { subject: alice, action: read, resource: { type: 'tool', id: 'ignored' }, page: { limit: 1, token } })
      expect(results.length).toBeLessThanOrEqual(1)
      found.push(...results)
      token = page.next_token
      if (token === '') break
    }
    expect(found).toEqual([document(1), document(3), document(4)])
    expect((await ask<Results>('search/resource', { subject: alice, action: read, resource: { type: 'tool' }, page: { limit: 0 } })).results).toEqual([])
    expect((await served.ask('POST', '/access/v1/search/resource', { subject: alice, action: read, resource: { type: 'tool' }, page: { token: 'zz' } })).status).toBe(400)
  })
  it('refuses what cannot be enumerated', async () => {
    expect((await served.ask('POST', '/access/v1/search/subject', { subject: { type: 'user' }, action: read, resource: document(1) })).status).toBe(400)
    expect((await served.ask('POST', '/access/v1/search/resource', { subject: alice, action: { name: 'mcp.prompt_get' }, resource: { type: 'endpoint' } })).status).toBe(400)
  })
})

describe('AuthZEN 1.0: metadata', () => {
  it('names the very address that was asked, and every endpoint that answers', async () => {
    const answer = await served.ask('GET', '/.well-known/authzen-configuration', undefined, { authorization: '' })
    const metadata = JSON.parse(answer.text) as Record<string, string>
    const at = `http://127.0.0.1:${served.port}`
    expect(metadata).toEqual({
      policy_decision_point: at, access_evaluation_endpoint: `${at}/access/v1/evaluation`, access_evaluations_endpoint: `${at}/access/v1/evaluations`,
      search_subject_endpoint: `${at}/access/v1/search/subject`, search_resource_endpoint: `${at}/access/v1/search/resource`, search_action_endpoint: `${at}/access/v1/search/action`,
    })
    for (const [name, url] of Object.entries(metadata)) if (name !== 'policy_decision_point') expect([name, (await served.ask('POST', new URL(url).pathname, {})).status]).toEqual([name, 400])
    expect((await served.ask('GET', '/.well-known/authzen-configuration', undefined, { host: 'evil.test' })).status).toBe(403)
  })
})
