import SwaggerParser from '@apidevtools/swagger-parser'
import { MAX_REFUSED_PER_ADDRESS, type Route, ROUTES } from '@sealwrit/control-plane'
import { canonicalText, DENIALS, digestOf, isDenialCode, type JsonObject, parseCheckpointText, parseNote, rootDigest, type SealedEntry, utf8 } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type * as z from 'zod'
import { TestApprover } from './support/approver.ts'
import { Served, TOKEN } from './support/http.ts'
import { TestAgent } from './support/identity.ts'
import { PASSWORD } from './support/people.ts'
import { issueRequest } from './support/push.ts'
import { PERMIT_ALL, policySet, Rig, SCHEMA, sha256, TestGate, toolCall } from './support/rig.ts'

const POLICIES = `${PERMIT_ALL}\n@approval("group:secops")\npermit (principal, action == Action::"mcp.tool_call", resource) when { resource.name == "write_file" };`
let rig: Rig
let served: Served
beforeAll(async () => {
  rig = await Rig.open('api', policySet(POLICIES))
  served = await Served.open(rig.plane, { version: '1.2.3' }, async () => ({ contentType: 'text/plain; version=0.0.4', text: 'up 1\n' }))
})
afterAll(async () => {
  await served.close()
  await rig.remove()
})

const routeOf = (name: string): Route => ROUTES.find(({ method, url }) => `${method} ${url}` === name) as Route
const isTaken = (schema: z.ZodType, value: unknown): string => {
  const result = schema.safeParse(value)
  return result.success ? 'taken' : JSON.stringify(result.error.issues)
}

/** Asks for a route as it stands in the table, and holds the answer to its schema. */
async function works<T = JsonObject>(name: string, url: string, body?: unknown): Promise<T> {
  const answer = await served.ask(name.split(' ')[0] as string, url, body)
  expect(answer.status, `${name}: ${answer.text}`).toBe(200)
  const route = routeOf(name)
  asked.add(name)
  if (route.contentType !== undefined) {
    expect(answer.headers['content-type']).toContain(route.contentType)
    return answer.text as T
  }
  const value = JSON.parse(answer.text) as T
  expect(isTaken(route.answer, value), name).toBe('taken')
  return value
}
const asked = new Set<string>()

describe('the HTTP API', () => {
  it('answers every route with what its schema says', async () => {
    const gate = new TestGate(rig)
    await works('POST /v1/nonces', '/v1/nonces', {})
    await works('POST /v1/gates', '/v1/gates', gate.enrolment())
    await works('POST /v1/tools', '/v1/tools', { session: gate.session, target: 'mcp://fs', tools: ['read_file', 'write_file'].map((one) => ({ name: one, digest: `sha256:${'a'.repeat(64)}` })) })
    const tools = ['read_file', 'write_file'].map((one) => ({ name: one, digest: `sha256:${'a'.repeat(64)}` }))
    await works('POST /v1/tools/pin', '/v1/tools/pin', { target: 'mcp://fs', tools })
    await works('GET /v1/tools', '/v1/tools?limit=1&state=pinned&target=mcp%3A%2F%2Ffs')
    const definition = canonicalText({ name: 'new', description: 'says \u202e', inputSchema: { type: 'object' } })
    const seen = [{ name: 'new', digest: digestOf(utf8(definition), sha256), definition }]
    await works('POST /v1/tools', '/v1/tools', { session: gate.session, target: 'mcp://fs', tools: seen })
    await works('POST /v1/tools/pin', '/v1/tools/pin', { target: 'mcp://fs', tools: [{ name: 'new', digest: seen[0]?.digest }] })
    await works('GET /v1/tools/definition', '/v1/tools/definition?target=mcp%3A%2F%2Ffs&name=new')
    await works('POST /v1/tools/unpin', '/v1/tools/unpin', { target: 'mcp://fs', tools: [{ name: 'new' }] })
    await works('GET /v1/gates', '/v1/gates')
    const { permit, leaf } = await gate.permit()
    await works('POST /v1/authorize', `/v1/authorize?newest=${rig.plane.log.size}`, gate.request())
    await works('POST /v1/leases/renew', '/v1/leases/renew', { session: gate.session, nonce: rig.token(), jtis: [permit.jti] })
    await works('POST /v1/receipts', '/v1/receipts', { session: gate.session, receipt: gate.receiptFor(permit.jti, leaf) })
    await works('GET /v1/executions', '/v1/executions?decision=permit&limit=5')
    await works('GET /v1/evidence/:id', `/v1/evidence/${permit.jti}`)
    await works('GET /v1/executions/:id', `/v1/executions/${permit.jti}`)
    await works('GET /v1/lineage/:id', `/v1/lineage/${permit.jti}?limit=10`)
    const issued = await works<{ sealed: SealedEntry }>('POST /v1/authorize', '/v1/authorize', issueRequest(gate))
    await works('POST /v1/redeem', '/v1/redeem', { session: gate.session, artifact: issued.sealed, challenge: rig.token() })
    await works('POST /v1/authorize', '/v1/authorize', gate.request(toolCall('unheard_of')))

    const agent = new TestAgent('coder')
    await works('POST /v1/agents', '/v1/agents', { agent: 'coder', key: agent.key })
    const second = new TestAgent('coder').key
    await works('POST /v1/agents/:agent/keys', '/v1/agents/coder/keys', { key: second, expires: Math.floor(rig.clock.wallMs() / 1_000) + 60 })
    await works('GET /v1/agents', '/v1/agents')
    await works('DELETE /v1/agents/:agent/keys/:key', `/v1/agents/coder/keys/${second}`)
    await works('DELETE /v1/agents/:agent', '/v1/agents/coder')

    const approver = new TestApprover('ada')
    const { person } = await works<{ person: string }>('POST /v1/approvers', '/v1/approvers', { name: 'ada', groups: ['secops'], key: approver.publicKey })
    approver.person = person
    const held = await works<{ hold: string }>('POST /v1/authorize', '/v1/authorize', gate.request(toolCall('write_file')))
    await works('GET /v1/approvals', '/v1/approvals?all=true')
    await works('GET /v1/approvals/:hold', `/v1/approvals/${held.hold}`)
    await works('POST /v1/approvals', '/v1/approvals', await approver.request(rig.plane, held.hold))
    await works('GET /v1/approvers', '/v1/approvers')
    await works('DELETE /v1/approvers/:who', `/v1/approvers/${person}?key=${approver.publicKey}`)

    await works('POST /v1/people', '/v1/people', { name: 'ann', role: 'viewer', password: PASSWORD })
    await works('POST /v1/people/:who/role', '/v1/people/ann/role', { role: 'operator' })
    await works('POST /v1/people/:who/password', '/v1/people/ann/password', { password: PASSWORD })
    await works('GET /v1/people', '/v1/people?limit=1')
    await works('POST /v1/session', '/v1/session', { name: 'ann', password: PASSWORD })
    await works('GET /v1/session', '/v1/session')
    await works('DELETE /v1/session', '/v1/session')
    await works('GET /v1/session/issuers', '/v1/session/issuers')
    await works('GET /v1/tenants', '/v1/tenants')
    await works('DELETE /v1/people/:who', '/v1/people/ann')
    const { seq } = await works<{ seq: number }>('POST /v1/kills', '/v1/kills', { selector: 'agent:evil' })
    await works('GET /v1/effects/:seq', `/v1/effects/${seq}`)
    await works('GET /v1/kills', '/v1/kills')
    await works('POST /v1/kills/lift', '/v1/kills/lift', { selector: 'agent:evil' })
    await works('POST /v1/revocations', '/v1/revocations', { selector: 'agent:evil' })
    await works('GET /v1/revocations', '/v1/revocations')

    await works('POST /v1/decide', '/v1/decide', { action: toolCall(), agent: { name: 'x', verified: false } })
    const { digest } = await works<{ digest: string }>('GET /v1/policies', '/v1/policies')
    await works('GET /v1/policies/:digest', `/v1/policies/${digest}`)
    await works('POST /v1/policies', '/v1/policies', { files: { 'a.cedar': 'not cedar', 'schema.cedarschema': SCHEMA } })
    await works('POST /v1/policies', '/v1/policies', { files: { 'a.cedar': 'forbid (principal, action, resource);', 'schema.cedarschema': SCHEMA } })
    await works('POST /v1/policies/rollback', '/v1/policies/rollback', {})
    await works('GET /v1/profiles', '/v1/profiles')
    await works('GET /v1/policies/epochs', '/v1/policies/epochs?limit=1')

    const [subject, action, resource] = [{ type: 'agent', id: 'x' }, { name: 'mcp.tool_call' }, { type: 'tool', id: 'mcp://fs/read_file' }]
    await works('POST /access/v1/evaluation', '/access/v1/evaluation', { subject, action, resource })
    await works('POST /access/v1/evaluations', '/access/v1/evaluations', { subject, action, evaluations: [{ resource }, { resource: { type: 'disk', id: 'x' } }] })
    await works('POST /access/v1/search/subject', '/access/v1/search/subject', { subject: { type: 'agent' }, action, resource })
    await works('POST /access/v1/search/resource', '/access/v1/search/resource', { subject, action, resource: { type: 'tool' } })
    await works('POST /access/v1/search/action', '/access/v1/search/action', { subject, resource })
    await works('GET /.well-known/authzen-configuration', '/.well-known/authzen-configuration')

    const { size, note } = rig.plane.log.checkpoint
    const { root } = parseCheckpointText(parseNote(note).text)
    await works('POST /v1/assessment', '/v1/assessment', { model: 'maturity/1', at: 1, level: 0, dimensions: { one: 0 }, measures: { entries: 1_000_000 }, size, root: rootDigest({ size, root }) })
    await works('GET /v1/assessment', '/v1/assessment')

    for (const url of ['/', '/healthz', '/readyz', '/v1/status', '/metrics']) await works(`GET ${url}`, url)
    await works('GET /.well-known/jwks.json', '/.well-known/jwks.json')
    await works('GET /t/:tenant/checkpoint', '/t/default/checkpoint')
    await works('GET /t/:tenant/tile/*', `/t/default/tile/0/000.p/${rig.plane.log.size}`)
    // A stream that does not end, what needs a gate that was cut off, a session or an issuer: each has tests of its own.
    const apart = ['GET /v1/events', 'POST /v1/denials', 'POST /v1/session/password', 'POST /v1/session/issuers', 'GET /v1/session/callback']
    expect(ROUTES.map(({ method, url }) => `${method} ${url}`).filter((name) => !asked.has(name) && !apart.includes(name))).toEqual([])
  })

  it('is described by an OpenAPI document that keeps to version 3.1, names every route and every status of a denial', async () => {
    const answer = await served.ask('GET', '/openapi.json', undefined, { authorization: '' })
    const document = JSON.parse(answer.text) as { openapi: string; info: JsonObject; paths: Record<string, Record<string, { security?: object[]; responses: JsonObject; requestBody?: { content: object } }>>; components: { schemas: Record<string, JsonObject> } }
    await SwaggerParser.validate(JSON.parse(answer.text) as never)
    expect([document.openapi, document.info['version']]).toEqual(['3.1.0', '1.2.3'])
    const statuses = [...new Set(Object.values(DENIALS).map(({ http }) => String(http))), '200'].sort()
    for (const { method, url, needs, body } of ROUTES) {
      const described = document.paths[url.replaceAll(/:(\w+)/g, '{$1}').replace('*', '{*}')]?.[method.toLowerCase()]
      expect(Object.keys(described?.responses ?? {}).sort(), `${method} ${url}`).toEqual(statuses)
      expect(described?.security !== undefined, url).toBe(needs !== undefined)
      expect(Object.keys(described?.requestBody?.content ?? {})).toEqual(body === undefined ? [] : ['application/json'])
    }
    expect((document.components.schemas['Problem']?.['properties'] as { code: { enum: string[] } }).code.enum.every(isDenialCode)).toBe(true)
    expect(Object.keys(document.components.schemas).filter((name) => name.endsWith('Input'))).toEqual([])
    expect(JSON.stringify(document)).not.toContain('__PLACEHOLDER__')
  })

  it('shows it on a page that runs no inline script, loads nothing from elsewhere, and needs no token', async () => {
    const page = await served.ask('GET', '/docs/', undefined, { authorization: '' })
    expect(page.headers['content-security-policy']).toBe("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
    const loaded = [...page.text.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, at]) => at as string)
    expect(loaded.length).toBeGreaterThan(4)
    for (const at of loaded) expect([at, (await served.ask('GET', new URL(at, 'http://x/docs/').pathname, undefined, { authorization: '' })).status]).toEqual([expect.stringMatching(/^\.\//), 200])
    expect(page.text).not.toMatch(/<script[^>]*>\s*[^<\s]/)
    expect(JSON.parse((await served.ask('GET', '/docs/json')).text)).toEqual(JSON.parse((await served.ask('GET', '/openapi.json')).text))
    expect((await served.ask('GET', '/docs/static/../../package.json', undefined, { authorization: '' })).status).toBe(404)
    expect((await served.ask('GET', '/docs', undefined, { host: 'evil.test' })).status).toBe(403)
  })

  it('ATK-122: refuses an unknown member by name, in body, query and path of every route', async () => {
    const refused = async (method: string, url: string, body?: unknown): Promise<JsonObject> => {
      const answer = await served.ask(method, url, body)
      expect(answer.status, `${method} ${url}: ${answer.text}`).toBe(400)
      return JSON.parse(answer.text) as JsonObject
    }
    for (const { method, url, body, query } of ROUTES) {
      if (url === '/v1/session/callback') continue // RFC 6749 section 4.1.2: what else an issuer adds is not looked at
      const at = url.replace(':agent', 'coder').replace(':digest', `sha256:${'a'.repeat(64)}`).replace(':hold', rig.token()).replace(':key', 'x').replace(':who', 'ada').replace(':seq', '1').replace(':id', '1').replace(':tenant', 'default').replace('*', '0/000')
      if (body !== undefined) expect(await refused(method, at, { surplus: 1 })).toMatchObject({ code: 'request_malformed', errors: expect.arrayContaining([{ pointer: '/surplus', detail: 'unknown member `surplus`' }]) })
      if (query !== undefined && body === undefined) expect(await refused(method, `${at}?surplus=1`)).toMatchObject({ errors: expect.arrayContaining([{ pointer: '/query/surplus', detail: 'unknown member `surplus`' }]) })
    }
  })
  it('ATK-123: names members and never repeats values, and a name only cut and escaped', async () => {
    const answer = await served.ask('POST', '/v1/agents', { agent: 'secret value ‮', key: 7, ['\u001b[31m'.padEnd(200, 'x')]: 'hunter2' })
    const { errors } = JSON.parse(answer.text) as { errors: { pointer: string; detail: string }[] }
    expect(answer.text).not.toMatch(/secret|hunter2|\u001b/)
    expect(errors.map(({ pointer }) => pointer.slice(0, 12))).toEqual(['/\\u{1b}[31mx', '/agent', '/key'])
    expect(errors.every(({ pointer, detail }) => pointer.length < 100 && detail.length < 120)).toBe(true)
    const many = await served.json<{ errors: object[] }>('POST', '/v1/agents', Object.fromEntries(Array.from({ length: 1_000 }, (_, i) => [`m${i}`, i])))
    expect(many.errors).toHaveLength(8)
  })

  it.each<[string, string, unknown, Record<string, string>, string, string]>([
    ['POST', '/v1/agents', 'agent=coder', { 'content-type': 'application/x-www-form-urlencoded' }, '', 'the content type of a body is application/json'],
    ['PUT', '/v1/agents', undefined, {}, '', 'no such route; /openapi.json lists them'],
    ['GET', '/v1/executions/AAAAAAAAAAAAAAAAAAAAAA', undefined, {}, '/path/id', 'nothing here has this name'],
    ['GET', '/v1/evidence/999999', undefined, {}, '/path/id', 'nothing here has this name'],
    ['GET', `/v1/policies/sha256:${'0'.repeat(64)}`, undefined, {}, '/path/digest', 'nothing here has this name'],
  ])('%s %s says what is wrong, where nobody could guess it', async (method, url, body, headers, pointer, detail) => {
    expect(JSON.parse((await served.ask(method, url, body, headers)).text)).toMatchObject({ errors: [{ pointer, detail }] })
  })

  it('lists page by page, by cursor and limit alone', async () => {
    const all = (await served.json<{ tools: JsonObject[] }>('GET', '/v1/tools?limit=1000')).tools
    const first = await served.json<{ tools: JsonObject[]; next: string }>('GET', '/v1/tools?limit=1')
    const rest = await served.json<{ tools: JsonObject[]; next?: string }>('GET', `/v1/tools?limit=1000&cursor=${first.next}`)
    expect([...first.tools, ...rest.tools]).toEqual(all)
    expect('next' in rest).toBe(false)
    for (const limit of ['0', '1001', '-1', '1.5', '1e2', ' 1', '']) expect([limit, (await served.ask('GET', `/v1/tools?limit=${encodeURIComponent(limit)}`)).status]).toEqual([limit, 400])
    for (const cursor of ['x', '', '-1', '01', '1'.repeat(300)]) expect([cursor, (await served.ask('GET', `/v1/tools?cursor=${cursor}`)).status]).toEqual([cursor, 400])
    expect((await served.ask('GET', '/v1/tools?limit=1&limit=2')).status).toBe(400)
  })
})

describe('rates over HTTP', () => {
  it('ATK-085: are counted before anything is parsed, for an address and for a caller, and say when to come back', async () => {
    const limited = await Served.open(rig.plane, { limits: { perAddress: 6, perCaller: 3 } })
    const statuses: number[] = []
    for (let i = 0; i < 8; i++) statuses.push((await limited.ask('GET', '/v1/status', undefined, i < 4 ? {} : { authorization: '' })).status)
    expect(statuses).toEqual([200, 200, 200, 429, 401, 401, 429, 429])
    const last = await limited.ask('POST', '/v1/authorize', 'not JSON')
    expect([last.status, (JSON.parse(last.text) as JsonObject)['code']]).toEqual([429, 'overloaded'])
    expect(Number(last.headers['retry-after'])).toBeGreaterThan(0)
    await limited.close()
  })
  it('ATK-122: guesses of a token are slowed down, and whoever has it goes on', async () => {
    const limited = await Served.open(rig.plane)
    const guess = async (i: number): Promise<number> => (await limited.ask('GET', '/v1/status', undefined, { authorization: `Bearer ${i}` })).status
    for (let i = 0; i < MAX_REFUSED_PER_ADDRESS; i++) expect(await guess(i)).toBe(401)
    expect(await guess(MAX_REFUSED_PER_ADDRESS)).toBe(429)
    expect((await limited.ask('GET', '/v1/status', undefined, { authorization: `Bearer ${TOKEN}` })).status).toBe(200)
    await limited.close()
  })
})
