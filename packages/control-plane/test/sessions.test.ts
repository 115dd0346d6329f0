import * as http from 'node:http'
import { isAtLeast, type Role, ROLES } from '@sealwrit/protocol'
import { ROUTES } from '@sealwrit/control-plane'
import { seededRng } from '@sealwrit/gate/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Access, TOKEN_HEADER } from '../src/http/access.ts'
import { Cookies } from '../src/http/cookies.ts'
import { ROLE_FOR } from '../src/rpc/roles.ts'
import { TestApprover } from './support/approver.ts'
import { PASSWORD, person } from './support/people.ts'
import { type Asked, listen, type Listening, sessionOf, TOKENS } from './support/tenants.ts'
import { issue } from './support/push.ts'
import { pinTools, policySet, Rig, TestGate } from './support/rig.ts'

let first: Rig
let second: Rig
let server: Listening
beforeAll(async () => {
  first = await Rig.open('first')
  second = await Rig.open('second', undefined, 'payments')
  server = await listen([first, second])
})
afterAll(async () => {
  await server.close()
  for (const rig of [first, second]) await rig.remove()
})

/** Logs in, and gives what a page of ours then sends. */
async function signedIn(role: Role, rig: Rig = first, name = `${role}-${Math.floor(rig.plane.log.size)}`): Promise<{ id: string; headers: Record<string, string>; cookie: string; token: string }> {
  const id = await person(rig, name, role)
  const answer = await server.ask('POST', '/v1/session', { body: { name, password: PASSWORD, tenant: rig.plane.log.tenant } })
  expect(answer.status, answer.text).toBe(200)
  const { cookie, token } = sessionOf(answer)
  return { id, cookie, token, headers: { cookie, origin: server.url, [TOKEN_HEADER]: token } }
}

describe('a session over HTTP', () => {
  it('begins with a password, says who one is, does what the role may, and ends at logout', async () => {
    const { id, headers } = await signedIn('operator')
    expect((await server.ask('GET', '/v1/session', { headers })).body).toEqual({ tenant: 'default', person: id, role: 'operator' })
    expect((await server.ask('POST', '/v1/kills', { headers, body: { selector: 'agent:x' } })).status).toBe(200)
    expect((await first.plane.log.read(first.plane.log.size - 1)).entry).toMatchObject({ kind: 'kill', by: id })
    expect((await server.ask('POST', '/v1/people', { headers, body: { name: 'eve', role: 'admin', password: PASSWORD } })).code).toBe('403 identity_unknown')
    const out = await server.ask('DELETE', '/v1/session', { headers })
    expect(out.headers['set-cookie']?.[0]).toMatch(/^sealwrit_session=; .*Max-Age=0$/)
    expect((await server.ask('GET', '/v1/session', { headers })).code).toBe('401 identity_invalid')
  })
  it('ATK-115: has a cookie that no script reads and no other site is sent, and is a new one with each login: the one before ends', async () => {
    const before = await signedIn('viewer', first, 'rotates')
    const again = await server.ask('POST', '/v1/session', { headers: { cookie: before.cookie, origin: server.url }, body: { name: 'rotates', password: PASSWORD } })
    expect(again.headers['set-cookie']?.[0]).toMatch(/^sealwrit_session=[A-Za-z0-9_-]{43}; Path=\/; HttpOnly; SameSite=Strict; Max-Age=28800$/)
    expect(again.headers['cache-control']).toBe('no-store')
    const { cookie } = sessionOf(again)
    expect(cookie).not.toBe(before.cookie)
    expect((await server.ask('GET', '/v1/session', { headers: { cookie: before.cookie } })).code).toBe('401 identity_invalid')
    expect((await server.ask('GET', '/v1/session', { headers: { cookie } })).status).toBe(200)
    // One that a stranger chose is never taken over.
    const chosen = `sealwrit_session=${'A'.repeat(43)}`
    const fixed = await server.ask('POST', '/v1/session', { headers: { cookie: chosen, origin: server.url }, body: { name: 'rotates', password: PASSWORD } })
    expect(sessionOf(fixed).cookie).not.toBe(chosen)
    expect((await server.ask('GET', '/v1/session', { headers: { cookie: chosen } })).code).toBe('401 identity_invalid')
  })
  it('over TLS has the __Host- name, and is Secure', () => {
    const cookies = new Cookies('https')
    expect(cookies.session('s', 1)).toBe('__Host-sealwrit_session=s; Path=/; HttpOnly; Secure; SameSite=Strict; Max-Age=1')
    const secret = 'B'.repeat(43)
    expect(cookies.sessionOf(`sealwrit_session=${secret}`)).toBeUndefined()
    expect(cookies.sessionOf(`a=1; __Host-sealwrit_session=${secret}`)).toBe(secret)
  })
  it.each([
    ['twice', (cookie: string) => `${cookie}; ${cookie.slice(0, -1)}x`],
    ['one letter less', (cookie: string) => cookie.slice(0, -1)],
    ['another name', (cookie: string) => `x${cookie}`],
    ['capital letters', (cookie: string) => cookie.toUpperCase()],
  ])('a cookie with %s is none', async (_what, change) => {
    const { cookie } = await signedIn('viewer')
    expect((await server.ask('GET', '/v1/session', { headers: { cookie: change(cookie) } })).code).toBe('401 identity_invalid')
  })
  it('a token that is there is the credential: no cookie beside it stands in for a wrong one', async () => {
    const { headers } = await signedIn('admin')
    expect((await server.ask('GET', '/v1/session', { headers: { ...headers, authorization: 'Bearer wrong' } })).code).toBe('401 identity_invalid')
    expect((await server.ask('GET', '/v1/session', { headers: { ...headers, authorization: `Bearer ${TOKENS[0]}` } })).body).toMatchObject({ role: 'admin', person: first.plane.sub })
  })
  it('ends with a change of role while a stream is open: the stream is cut', async () => {
    const { headers, id } = await signedIn('viewer')
    const ended = new Promise<string>((resolve, reject) => {
      const request = http.get(`${server.url}/v1/events`, { headers, agent: false }, (response) => response.on('data', () => undefined).on('close', () => resolve('cut')))
      request.on('error', reject)
    })
    await new Promise((resolve) => setTimeout(resolve, 200))
    await first.plane.accounts.changeRole(id, 'operator', first.plane.sub)
    expect(await Promise.race([ended, new Promise((resolve) => setTimeout(() => resolve('still open after 5 s'), 5_000))])).toBe('cut')
  })
  it('every route takes exactly the roles that the table names', async () => {
    const people = Object.fromEntries(await Promise.all(ROLES.map(async (role) => [role, (await signedIn(role)).headers])))
    for (const { method, url, needs } of ROUTES) {
      if (needs === undefined || method === 'DELETE') continue
      const path = url.replaceAll(/:[a-z]+/g, 'x').replace('*', 'x')
      if (path === '/v1/events') continue
      for (const role of ROLES) {
        // A body that is no JSON: whoever is let in gets as far as that, and changes nothing.
        const answer = await server.ask(method, path, { headers: { ...people[role], ...(method === 'POST' ? { 'content-type': 'application/json' } : {}) }, ...(method === 'POST' ? { raw: '{' } : {}) })
        expect(answer.code === '403 identity_unknown', `${method} ${url} as ${role}: ${answer.code}`).toBe(!isAtLeast(role, ROLE_FOR[needs] as Role))
      }
    }
  })
})

describe('approving with a session', () => {
  it('takes the role to bring a word, and the signature of a registered approver for it to be one', async () => {
    const rig = await Rig.open('approves', policySet('@approval("group:ops")\npermit (principal, action, resource);'))
    const at = await listen([rig])
    try {
      const approver = new TestApprover('bob')
      await approver.register(rig.plane, ['ops'])
      const gate = await rig.gate()
      const held = await gate.authorize()
      if (held.decision !== 'hold') throw new Error('not held')
      const body = await approver.request(rig.plane, held.hold)
      const as = async (role: Role): Promise<Record<string, string>> => {
        await person(rig, role, role)
        const { cookie, token } = sessionOf(await at.ask('POST', '/v1/session', { body: { name: role, password: PASSWORD } }))
        return { cookie, origin: at.url, [TOKEN_HEADER]: token }
      }
      expect((await at.ask('POST', '/v1/approvals', { headers: await as('viewer'), body })).code).toBe('403 identity_unknown')
      const headers = await as('approver')
      const forged = { ...body, signature: body.signature.slice(0, -4) + (body.signature.endsWith('AAAA') ? 'BBBB' : 'AAAA') }
      expect((await at.ask('POST', '/v1/approvals', { headers, body: forged })).status).toBeGreaterThanOrEqual(400)
      expect(rig.plane.log.state.approvals.holds.get(held.hold)?.given).toHaveLength(0)
      expect((await at.ask('POST', '/v1/approvals', { headers, body })).body).toMatchObject({ event: 'approved', approvals: 1 })
    } finally {
      await at.close()
      await rig.remove()
    }
  })
})

describe('ATK-126: a kill over HTTP', () => {
  it('takes a credential and the role for it, and each is logged by whoever asked', async () => {
    const people = Object.fromEntries(await Promise.all(ROLES.map(async (role) => [role, await signedIn(role)])))
    const wanted: Record<string, string | undefined> = { viewer: '403 identity_unknown', approver: '403 identity_unknown', operator: undefined, admin: undefined }
    for (const path of ['/v1/kills', '/v1/kills/lift', '/v1/revocations']) {
      expect((await server.ask('POST', path, { body: { selector: 'agent:dos' } })).code, path).toBe('401 identity_invalid')
      expect((await server.ask('POST', path, { headers: { authorization: 'Bearer wrong' }, body: { selector: 'agent:dos' } })).code, path).toBe('401 identity_invalid')
      for (const role of ROLES) {
        if (path === '/v1/kills/lift' && role === 'operator') await first.plane.stops.kill('agent:dos', first.plane.sub)
        const { size } = first.plane.log
        const { code } = await server.ask('POST', path, { headers: people[role]?.headers ?? {}, body: { selector: path === '/v1/kills/lift' ? 'agent:dos' : `agent:dos-${role}` } })
        if (path === '/v1/kills/lift' && role === 'admin') continue // lifted by the operator: there is nothing more to lift
        expect(code, `${path} ${role}`).toBe(wanted[role])
        if (wanted[role] === undefined) expect((await first.plane.log.read(size)).entry, `${path} ${role}`).toMatchObject({ by: people[role]?.id })
        else expect(first.plane.log.size).toBe(size)
      }
    }
  })
})

describe('ATK-113: a request that a page of somebody else makes a browser send', () => {
  const kill = (headers: Record<string, string>, more: Partial<Asked> = {}): Promise<string | number> => server.ask('POST', '/v1/kills', { headers, body: { selector: 'agent:csrf' }, ...more }).then(({ code, status }) => code ?? status)
  it.each<[string, (own: { cookie: string; token: string; headers: Record<string, string> }) => Record<string, string>]>([
    ['no origin', ({ headers: { origin: _origin, ...rest } }) => rest],
    ['the origin of another site', ({ headers }) => ({ ...headers, origin: 'http://evil.test' })],
    ['the origin of another port of this very host', ({ headers }) => ({ ...headers, origin: 'http://127.0.0.1:9' })],
    ['the origin of another name of this very plane', ({ headers }) => ({ ...headers, origin: server.url.replace('127.0.0.1', 'localhost') })],
    ['a null origin', ({ headers }) => ({ ...headers, origin: 'null' })],
    ['no token', ({ headers: { [TOKEN_HEADER]: _token, ...rest } }) => rest],
    ['a wrong token', ({ headers }) => ({ ...headers, [TOKEN_HEADER]: 'A'.repeat(43) })],
    ['its cookie for a token', ({ headers, cookie }) => ({ ...headers, [TOKEN_HEADER]: cookie.split('=')[1] as string })],
    ['a word of the browser that it is another site', ({ headers }) => ({ ...headers, 'sec-fetch-site': 'cross-site' })],
    ['a word of the browser that it is another port', ({ headers }) => ({ ...headers, 'sec-fetch-site': 'same-site' })],
  ])('with %s is refused, and nothing is killed', async (_what, change) => {
    const own = await signedIn('admin')
    const { size } = first.plane.log
    expect(await kill(change(own))).toBe('403 origin_forbidden')
    expect(first.plane.log.size).toBe(size)
    expect(await kill(own.headers)).toBe(200) // the same from our own page
    await first.plane.stops.lift('agent:csrf', first.plane.sub)
  })
  it('with the token of another session of the same person is refused', async () => {
    const own = await signedIn('admin', first, 'two')
    const other = sessionOf(await server.ask('POST', '/v1/session', { body: { name: 'two', password: PASSWORD } }))
    expect(await kill({ ...own.headers, [TOKEN_HEADER]: other.token })).toBe('403 origin_forbidden')
  })
  it.each(['text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data; boundary=x'])('with a body that a form sends (%s) is refused', async (type) => {
    const { headers } = await signedIn('admin')
    expect(await kill({ ...headers, 'content-type': type }, { raw: '{"selector":"agent:csrf"}' })).toBe('400 request_malformed')
    expect((await server.ask('POST', '/v1/session', { headers: { 'content-type': type }, raw: JSON.stringify({ name: 'x', password: PASSWORD }) })).code).toBe('400 request_malformed')
  })
  it('that only reads is not answered either, where the browser says that it comes from elsewhere', async () => {
    const { headers } = await signedIn('viewer')
    for (const from of ['cross-site', 'same-site']) expect((await server.ask('GET', '/v1/agents', { headers: { cookie: headers['cookie'] as string, 'sec-fetch-site': from } })).code).toBe('403 origin_forbidden')
    for (const from of ['same-origin', 'none']) expect((await server.ask('GET', '/v1/agents', { headers: { cookie: headers['cookie'] as string, 'sec-fetch-site': from } })).status).toBe(200)
  })
  it('that logs somebody in as the attacker comes from elsewhere, and is refused', async () => {
    await person(first, 'mallory', 'viewer')
    expect((await server.ask('POST', '/v1/session', { headers: { origin: 'http://evil.test' }, body: { name: 'mallory', password: PASSWORD } })).code).toBe('403 origin_forbidden')
  })
})

describe('ATK-115: headers of every route', () => {
  it('no page is framed, sniffed, referred or shared, whoever asks and whatever is answered', async () => {
    const { headers } = await signedIn('admin')
    for (const { method, url } of ROUTES) {
      const path = url.replaceAll(/:[a-z]+/g, 'x').replace('*', 'x')
      if (path === '/v1/events') continue
      for (const given of [{}, method === 'DELETE' ? {} : headers]) {
        const answer = await server.ask(method, path, { headers: given, ...(method === 'POST' ? { raw: '{', headers: { ...given, 'content-type': 'application/json' } } : {}) })
        const of = (name: string): string => String(answer.headers[name] ?? '')
        expect(of('content-security-policy'), url).toContain("frame-ancestors 'none'")
        expect(of('content-security-policy'), url).toContain("default-src 'none'")
        expect([of('x-content-type-options'), of('referrer-policy'), of('cross-origin-opener-policy'), of('cross-origin-resource-policy'), of('access-control-allow-origin')], url).toEqual(['nosniff', 'no-referrer', 'same-origin', 'same-origin', ''])
      }
    }
  })
})

describe('ATK-122: the time of a comparison', () => {
  it('says nothing of how much of a token or session was right: |t| < 4.5 in 10^5 samples', () => {
    const access = new Access([first, second].map(({ plane }, i) => ({ plane, token: TOKENS[i] as string, isLogPublic: false })), '127.0.0.1')
    const token = TOKENS[0] as string
    const wrong = { first: Buffer.from(`Bearer ~${token.slice(1)}`), last: Buffer.from(`Bearer ${token.slice(0, -1)}~`) }
    const times = { first: [] as number[], last: [] as number[] }
    const ask = (bytes: Buffer): number => {
      const authorization = bytes.toString('latin1') // a text of its own each time, as it comes from a connection
      const from = process.hrtime.bigint()
      try {
        access.admit({ method: 'GET', headers: { authorization }, localPort: 1 }, 'status')
      } catch {
        // refused, as it should be
      }
      return Number(process.hrtime.bigint() - from)
    }
    for (let i = 0; i < 5_000; i++) ask(wrong.first)
    const order = seededRng('order').bytes(100_000)
    for (const one of order) {
      const which = one % 2 === 0 ? 'first' : 'last'
      times[which].push(ask(wrong[which]))
    }
    // The slowest tenth is the machine's, not ours.
    const cropped = (list: number[]): number[] => [...list].sort((a, b) => a - b).slice(0, list.length * 0.9)
    const [a, b] = [cropped(times.first), cropped(times.last)]
    const mean = (list: number[]): number => list.reduce((sum, one) => sum + one, 0) / list.length
    const [ma, mb] = [mean(a), mean(b)]
    const spread = (list: number[], m: number): number => list.reduce((sum, one) => sum + (one - m) ** 2, 0) / (list.length - 1)
    const t = (ma - mb) / Math.sqrt(spread(a, ma) / a.length + spread(b, mb) / b.length)
    expect(Math.abs(t)).toBeLessThan(4.5)
  })
})

describe('ATK-061: two tenants at one address', () => {
  const bearer = (i: number): Record<string, string> => ({ authorization: `Bearer ${TOKENS[i]}` })
  it('the token names the tenant; at the other it is as good as none', async () => {
    for (const [i, tenant] of ['default', 'payments'].entries()) {
      expect((await server.ask('GET', '/v1/session', { headers: bearer(i) })).body).toMatchObject({ tenant, role: 'admin' })
      expect((await server.ask('GET', '/v1/tenants', { headers: bearer(i) })).body['tenants']).toMatchObject([{ tenant }])
    }
    expect((await server.ask('GET', `/t/payments/tile/entries/000.p/${second.plane.log.size}`, { headers: bearer(0) })).code).toBe('401 identity_invalid')
    expect((await server.ask('GET', `/t/payments/tile/entries/000.p/${second.plane.log.size}`, { headers: bearer(1) })).status).toBe(200)
  })
  it('a session of one is at the other unknown, and cannot be moved by naming a tenant', async () => {
    const { cookie, headers } = await signedIn('admin', second)
    expect((await server.ask('GET', '/v1/session', { headers: { cookie } })).body).toMatchObject({ tenant: 'payments' })
    expect((await server.ask('GET', `/t/default/tile/entries/000.p/1`, { headers: { cookie } })).code).toBe('401 identity_invalid')
    const { size } = first.plane.log
    expect((await server.ask('POST', '/v1/kills', { headers, body: { selector: 'all' } })).status).toBe(200)
    expect((await server.ask('POST', '/v1/kills', { headers, body: { selector: 'tenant:default' } })).code).toBe('403 tenant_mismatch')
    expect((await server.ask('POST', '/v1/kills?tenant=default', { headers, body: { selector: 'agent:x' } })).code === undefined || first.plane.log.size === size).toBe(true)
    expect(first.plane.log.size).toBe(size) // `all` is all of one tenant
    expect(first.plane.log.state.killed.has('all')).toBe(false)
    await second.plane.stops.lift('all', second.plane.sub)
  })
  it('equal names are different people with different passwords', async () => {
    await person(first, 'same', 'admin', `${PASSWORD} first`)
    const other = await person(second, 'same', 'viewer', `${PASSWORD} second`)
    const at = (tenant: string, which: string): Promise<unknown> => server.ask('POST', '/v1/session', { body: { name: 'same', password: `${PASSWORD} ${which}`, tenant } }).then(({ code, body }) => code ?? body)
    expect(await at('payments', 'second')).toMatchObject({ person: other, role: 'viewer' })
    expect(await at('payments', 'first')).toBe('401 identity_invalid')
    expect(await at('default', 'second')).toBe('401 identity_invalid')
    expect(await at('nowhere', 'first')).toBe('401 identity_invalid')
  })
  it.each(['payment', 'payments-', 'paymentsx', 'PAYMENTS', 'Payments', 'pаyments', 'payments%20', 'payments%00', '%70ayments2', 'payments%2f..%2fdefault', '..', ''])('%j is no name of a tenant that is there', async (name) => {
    for (const path of ['checkpoint', 'tile/0/000.p/1', 'tile/entries/000.p/1']) {
      const { status } = await server.ask('GET', `/t/${encodeURI(name)}/${path}`, { headers: bearer(1) })
      expect([400, 401, 404], `${name} ${path}: ${status}`).toContain(status)
    }
    expect((await server.ask('POST', '/v1/session', { body: { name: 'same', password: `${PASSWORD} second`, tenant: name } })).status).toBeGreaterThanOrEqual(400)
  })
  it('what was issued, enrolled or held at one is nothing at the other', async () => {
    const gate = new TestGate(first)
    await gate.enrol()
    const stranger = await server.ask('POST', '/v1/authorize', { headers: bearer(1), body: gate.request() })
    expect(stranger.code).toBe('403 identity_unknown')
    expect((await server.ask('POST', '/v1/gates', { headers: bearer(1), body: gate.enrolment() })).code).toBe('401 identity_invalid') // a nonce of the other plane
    await pinTools(first.plane, gate, ['read_file'])
    const there = await second.gate()
    const artifact = await issue(first.plane, gate)
    for (const session of [gate.session, there.session]) {
      const answer = await server.ask('POST', '/v1/redeem', { headers: bearer(1), body: { session, artifact: artifact.sealed, challenge: second.token() } })
      expect(answer.code, session).toBe(session === gate.session ? '403 identity_unknown' : '403 key_unknown')
      expect(answer.status).toBeGreaterThanOrEqual(400)
    }
    // An execution, and evidence of it, is known by its own tenant alone.
    expect((await server.ask('GET', `/v1/executions/${artifact.permit.jti}`, { headers: bearer(0) })).status).toBe(200)
    expect((await server.ask('GET', `/v1/executions/${artifact.permit.jti}`, { headers: bearer(1) })).code).toBe('400 request_malformed')
  })
  it('is not ready while one of them is not, and says which', async () => {
    const broken = await Rig.open('broken', undefined, 'broken')
    const both = await listen([first, broken])
    try {
      expect((await both.ask('GET', '/readyz')).status).toBe(200)
      const gate = await broken.gate()
      broken.fault = { persisted: false, recoverable: false }
      await gate.authorize().catch(() => undefined)
      const answer = await both.ask('GET', '/readyz')
      expect([answer.status, answer.body['tenant']]).toEqual([503, 'broken'])
    } finally {
      await both.close()
      await broken.remove()
    }
  })
  it('two of one name, or with one token, are not served', () => {
    const one = { plane: first.plane, token: 'a', isLogPublic: false }
    expect(() => new Access([one, one], 'x')).toThrow(TypeError)
    expect(() => new Access([one, { ...one, plane: second.plane }], 'x')).toThrow(TypeError)
    expect(() => new Access([], 'x')).toThrow(TypeError)
  })
})
