import { nodeClock, nodeCryptography, nodeKeyLoader, nodeRng } from '@sealwrit/control-plane'
import { subjectId } from '@sealwrit/protocol'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { nodePostForm } from '../src/adapters/token-post.ts'
import { TOKEN_HEADER } from '../src/http/access.ts'
import { IssuerLogins, LOGIN_LIFE_MS, type LoginIssuerConfig, MAX_LOGINS } from '../src/identify/login.ts'
import { FakeClock, seededRng } from '@sealwrit/gate/testing'
import { signingPair } from './support/identity.ts'
import { TestIssuer } from './support/issuer.ts'
import { outcome, Rig } from './support/rig.ts'
import { type Answer, listen, type Listening } from './support/tenants.ts'

let rig: Rig
let issuer: TestIssuer
let other: TestIssuer
let server: Listening
const config = (of: TestIssuer, change: Partial<LoginIssuerConfig> = {}): LoginIssuerConfig => ({
  issuer: of.url, client_id: of.client, client_secret: of.secret, authorization_endpoint: `${of.url}/authorize`, token_endpoint: `${of.url}/token`, jwks_uri: `${of.url}/jwks`,
  algorithms: ['ES256'], role_claim: 'groups', roles: { staff: 'viewer', ops: 'operator', bosses: 'admin' }, name_claim: 'email', ...change,
})
const PORTS = { clock: nodeClock, rng: nodeRng, sha256: nodeCryptography.sha256 }

beforeAll(async () => {
  rig = await Rig.open('issuer')
  issuer = await TestIssuer.start()
  other = await TestIssuer.start()
  server = await listen([rig], new IssuerLogins([config(issuer), config(other)], nodeKeyLoader, nodePostForm, PORTS))
})
afterAll(async () => {
  await server.close()
  await issuer.stop()
  await other.stop()
  await rig.remove()
})
beforeEach(() => {
  issuer.tamper = (claims) => claims
  issuer.answer = undefined
  issuer.signer = issuer.pair
  issuer.sendsIss = true
  issuer.claims = { sub: 'subject-1', email: 'ann@example.test', groups: ['staff', 'ops'] }
})

/** As far as the issuer: what the browser comes back with, and the cookie that it holds. */
async function sentBack(from: TestIssuer = issuer): Promise<{ path: string; cookie: string }> {
  const begun = await server.ask('POST', '/v1/session/issuers', { headers: { origin: server.url }, body: { issuer: from.url } })
  expect(begun.status, begun.text).toBe(200)
  const set = begun.headers['set-cookie']?.[0] ?? ''
  expect(set).toMatch(/^sealwrit_login=[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=600$/)
  const there = await fetch(begun.body['url'] as string, { redirect: 'manual' })
  expect(there.status).toBe(302)
  const back = new URL(there.headers.get('location') as string)
  expect(back.origin).toBe(server.url)
  return { path: `${back.pathname}${back.search}`, cookie: set.split(';', 1)[0] as string }
}
async function back(change: (given: { path: string; cookie: string }) => { path: string; cookie?: string } = (given) => given): Promise<Answer> {
  const { path, cookie } = change(await sentBack())
  return server.ask('GET', path, { headers: { ...(cookie === undefined ? {} : { cookie }), 'sec-fetch-site': 'cross-site' } })
}
const sessionIn = (answer: Answer): { cookie: string; token: string } => ({
  cookie: (answer.headers['set-cookie'] ?? []).find((one) => one.startsWith('sealwrit_session='))?.split(';', 1)[0] ?? '',
  token: new URL(answer.headers.location ?? '', server.url).hash.replace('#token=', ''),
})

describe('login at an issuer', () => {
  it('comes back with a session of the role that the claim gives, logged by the issuer’s word under the subject of its tokens', async () => {
    const answer = await back()
    expect([answer.status, answer.text]).toEqual([303, ''])
    expect(answer.headers['cache-control']).toBe('no-store')
    const { cookie, token } = sessionIn(answer)
    const id = subjectId('oidc', issuer.url, 'subject-1', rig.plane.log.origin, nodeCryptography.sha256)
    expect((await server.ask('GET', '/v1/session', { headers: { cookie } })).body).toEqual({ tenant: 'default', person: id, role: 'operator' })
    expect((await server.ask('POST', '/v1/kills', { headers: { cookie, origin: server.url, [TOKEN_HEADER]: token }, body: { selector: 'agent:x' } })).status).toBe(200)
    const entries = await rig.plane.log.readRun(rig.plane.log.size - 2, 2)
    expect(entries.map(({ entry }) => entry)).toMatchObject([{ kind: 'key', purpose: 'person', event: 'added', person: id, role: 'operator', login: 'oidc', by: expect.stringMatching(/^issuer:[A-Za-z0-9_-]{22}$/) }, { kind: 'kill', by: id }])
    for (const { text } of entries) expect(text).not.toMatch(/ann|subject-1/)
    expect((await rig.plane.accounts.list({ cursor: undefined, limit: 10 })).people).toMatchObject([{ person: id, name: 'ann@example.test', login: 'oidc' }])
    const asked = issuer.asked.at(-1) as URLSearchParams
    expect([asked.get('code_challenge_method'), asked.get('state')?.length, asked.get('nonce')?.length, asked.get('redirect_uri')]).toEqual(['S256', 43, 43, `${server.url}/v1/session/callback`])
  })
  it('logs another role where the claim gives one, and ends the sessions of before', async () => {
    const { cookie } = sessionIn(await back())
    issuer.claims = { ...issuer.claims, groups: 'bosses' }
    const { size } = rig.plane.log
    const raised = sessionIn(await back())
    expect((await rig.plane.log.read(size)).entry).toMatchObject({ event: 'role', role: 'admin' })
    expect((await server.ask('GET', '/v1/session', { headers: { cookie } })).code).toBe('401 identity_invalid')
    expect((await server.ask('GET', '/v1/session', { headers: { cookie: raised.cookie } })).body).toMatchObject({ role: 'admin' })
    expect((await back()).status).toBe(303)
    expect(rig.plane.log.size).toBe(size + 1) // the same again says nothing new
  })
  it('who was removed here stays out, whatever the issuer says', async () => {
    issuer.claims = { ...issuer.claims, sub: 'gone' }
    const { cookie } = sessionIn(await back())
    const { body } = await server.ask('GET', '/v1/session', { headers: { cookie } })
    await rig.plane.accounts.remove(body['person'] as string, rig.plane.sub)
    expect((await server.ask('GET', '/v1/session', { headers: { cookie } })).code).toBe('401 identity_invalid')
    expect((await back()).code).toBe('401 identity_invalid')
    issuer.claims = { ...issuer.claims, sub: 'subject-2' }
    expect(await outcome(rig.plane.accounts.changeRole(subjectId('oidc', issuer.url, 'subject-1', rig.plane.log.origin, nodeCryptography.sha256), 'admin', rig.plane.sub))).toBe('request_malformed')
  })
  it.each<[string, (given: { path: string; cookie: string }) => { path: string; cookie?: string }]>([
    ['no cookie: another browser', ({ path }) => ({ path })],
    ['the cookie of another login', ({ path }) => ({ path, cookie: `sealwrit_login=${'A'.repeat(43)}` })],
    ['another state', ({ path, cookie }) => ({ path: path.replace(/state=[^&]+/, `state=${'A'.repeat(43)}`), cookie })],
    ['no state', ({ path, cookie }) => ({ path: path.replace(/&state=[^&]+/, ''), cookie })],
    ['another code', ({ path, cookie }) => ({ path: path.replace(/code=[^&]+/, 'code=00'), cookie })],
    ['no code', ({ path, cookie }) => ({ path: path.replace(/code=[^&]+&/, ''), cookie })],
    ['the name of another issuer', ({ path, cookie }) => ({ path: path.replace(/iss=[^&]+/, `iss=${encodeURIComponent(other.url)}`), cookie })],
    ['no issuer, where there are several', ({ path, cookie }) => ({ path: path.replace(/&iss=[^&]+/, ''), cookie })],
  ])('that comes back with %s begins no session', async (_what, change) => {
    const { size } = rig.plane.log
    const answer = await back(change)
    expect([401, 503]).toContain(answer.status)
    expect(answer.headers['set-cookie']).toBeUndefined()
    expect(rig.plane.log.size).toBe(size)
  })
  it('comes back once: the same answer again finds nothing', async () => {
    const given = await sentBack()
    expect((await server.ask('GET', given.path, { headers: { cookie: given.cookie } })).status).toBe(303)
    expect((await server.ask('GET', given.path, { headers: { cookie: given.cookie } })).code).toBe('401 identity_invalid')
  })
  it.each<[string, (claims: Record<string, unknown>) => Record<string, unknown>]>([
    ['another nonce', (claims) => ({ ...claims, nonce: 'A'.repeat(43) })],
    ['no nonce', ({ nonce: _nonce, ...claims }) => claims],
    ['another audience', (claims) => ({ ...claims, aud: 'somebody-else' })],
    ['two audiences', (claims) => ({ ...claims, aud: ['sealwrit', 'somebody-else'] })],
    ['another issuer', (claims) => ({ ...claims, iss: other.url })],
    ['an end that is over', (claims) => ({ ...claims, exp: 1 })],
    ['no end', ({ exp: _exp, ...claims }) => claims],
    ['no subject', ({ sub: _sub, ...claims }) => claims],
    ['no name', ({ email: _email, ...claims }) => claims],
    ['no group that has a role', (claims) => ({ ...claims, groups: ['guests'] })],
    ['a group that objects inherit', (claims) => ({ ...claims, groups: ['constructor', '__proto__'] })],
    ['groups in another shape', (claims) => ({ ...claims, groups: { ops: true } })],
    ['no groups', ({ groups: _groups, ...claims }) => claims],
  ])('whose ID token has %s begins no session', async (_what, tamper) => {
    issuer.tamper = tamper
    const { size } = rig.plane.log
    const answer = await back()
    expect([answer.code, answer.headers['set-cookie']]).toEqual(['401 identity_invalid', undefined])
    expect(rig.plane.log.size).toBe(size)
  })
  it('whose ID token somebody else signed begins no session', async () => {
    issuer.signer = { ...signingPair('ES256', 'issuer-key') }
    expect((await back()).code).toBe('401 identity_invalid')
    issuer.signer = signingPair('RS256', 'issuer-key')
    expect((await back()).code).toBe('401 identity_invalid')
  })
  it.each<[string, TestIssuer['answer']]>([
    ['no JSON', { status: 200, body: '<html>' }],
    ['a member twice', { status: 200, body: '{"id_token":"a","id_token":"b"}' }],
    ['an error', { status: 500, body: '{}' }],
    ['a way to somewhere else', { status: 302, body: '', headers: { location: 'http://127.0.0.1:1/' } }],
    ['more than it may', { status: 200, body: `{"id_token":"${'a'.repeat(70_000)}"}` }],
  ])('is unavailable where the token endpoint answers %s', async (_what, answer) => {
    issuer.answer = answer
    expect((await back()).code).toBe('503 unavailable')
  })
  it('is refused at issuers that are not configured, and says the same as for anything else', async () => {
    for (const body of [{ issuer: 'https://evil.test' }, { issuer: issuer.url, tenant: 'nowhere' }]) expect((await server.ask('POST', '/v1/session/issuers', { body })).code).toBe('401 identity_invalid')
    expect((await server.ask('GET', '/v1/session/issuers')).body).toEqual({ issuers: [issuer.url, other.url] })
    expect((await server.ask('GET', '/v1/session/issuers?tenant=nowhere')).body).toEqual({ issuers: [] })
  })
  it('a public client sends no secret, and PKCE holds it alone; one issuer need not name itself', async () => {
    const alone = await TestIssuer.start()
    alone.secret = undefined
    alone.sendsIss = false
    const { client_secret: _secret, ...open } = config(alone)
    const logins = new IssuerLogins([open], nodeKeyLoader, nodePostForm, PORTS)
    const { url, secret } = logins.begin(alone.url, 'http://127.0.0.1:1/x')
    const returned = new URL((await fetch(url, { redirect: 'manual' })).headers.get('location') as string).searchParams
    expect(await logins.finish({ state: returned.get('state') as string, code: returned.get('code') as string }, secret)).toEqual({ iss: alone.url, sub: 'subject-1', name: 'ann@example.test', role: 'operator' })
    await alone.stop()
  })
  it('waits as long as it says, and as many may be under way as it says', async () => {
    const clock = new FakeClock()
    const logins = new IssuerLogins([config(issuer)], nodeKeyLoader, nodePostForm, { clock, rng: seededRng('x'), sha256: nodeCryptography.sha256 })
    const stateOf = (url: string): string => new URL(url).searchParams.get('state') as string
    const { url, secret } = logins.begin(issuer.url, 'http://127.0.0.1:1/x')
    clock.advance(LOGIN_LIFE_MS)
    expect(await outcome(logins.finish({ state: stateOf(url), code: 'x', iss: issuer.url }, secret))).toBe('identity_invalid')
    for (let i = 0; i < MAX_LOGINS; i++) logins.begin(issuer.url, 'http://127.0.0.1:1/x')
    expect(() => logins.begin(issuer.url, 'http://127.0.0.1:1/x')).toThrow(/overloaded|too many/)
    clock.advance(LOGIN_LIFE_MS)
    expect(logins.begin(issuer.url, 'http://127.0.0.1:1/x').seconds).toBe(600)
  })
})
