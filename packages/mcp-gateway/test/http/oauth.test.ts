import { FakeClock } from '@sealwrit/gate/testing'
import { Denied, type DenialCode } from '@sealwrit/protocol'
import { oauth } from '@sealwrit/mcp-gateway/client-http'
import { describe, expect, it } from 'vitest'
import { BEARER_AGE_MS, MAX_BEARERS, MAX_VERIFYING } from '../../src/client/http/oauth.ts'
import { aloneBody, codeIn, type Fronted, fronted, OK } from './front.ts'
import { until } from './server.ts'

const ISSUER = 'https://login.example.com'
const RESOURCE = 'https://mcp.example.com/mcp'
const METADATA = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'

/** A gateway whose plane knows tokens by what they are called: `sub`, `sub@issuer`, `sub:scope`, or the code that it refuses with. */
async function protectedBy(options: { scopes?: readonly string[]; clock?: FakeClock; verify?: (token: string) => Promise<never> } = {}): Promise<{ at: Fronted; verified: string[]; clock: FakeClock }> {
  const verified: string[] = []
  const clock = options.clock ?? new FakeClock()
  const { authorize, documents } = oauth({
    issuers: [ISSUER],
    resource: RESOURCE,
    scopes: options.scopes ?? [],
    clock,
    verify: options.verify ?? (async (token, resource) => {
      verified.push(`${token} for ${resource}`)
      if (/_/.test(token)) throw new Denied(token as DenialCode, 'as the plane says')
      const [sub = '', scope = ''] = token.split('~')
      return { iss: token.startsWith('elsewhere') ? 'https://evil.example' : ISSUER, sub: `oidc:${sub}`, scopes: scope.split('.'), until: clock.wallMs() + 90_000, ...(sub === 'coder' ? { agent: 'coder' } : {}) }
    }),
  })
  const at = await fronted(() => OK, { authorize, documents })
  return { at, verified, clock }
}
const as = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` })

describe('a protected resource', () => {
  it('says who issues tokens for it, to anybody who may ask from there (RFC 9728)', async () => {
    const { at } = await protectedBy({ scopes: ['tools:call', 'tools:read'] })
    for (const path of ['/.well-known/oauth-protected-resource', '/.well-known/oauth-protected-resource/mcp']) {
      const reply = await at.send('GET', undefined, { authorization: undefined }, path)
      expect([reply.status, reply.json]).toEqual([200, { resource: RESOURCE, authorization_servers: [ISSUER], bearer_methods_supported: ['header'], scopes_supported: ['tools:call', 'tools:read'] }])
      expect((await at.send('POST', '{}', {}, path)).status).toBe(405)
      expect((await at.send('GET', undefined, { host: 'evil.example' }, path)).status).toBe(403)
    }
  })

  it.each<[string, string | undefined, number, DenialCode, string]>([
    ['no token', undefined, 401, 'identity_missing', `Bearer resource_metadata="${METADATA}", scope="call"`],
    ['a token that is none', 'Bearer "quoted"', 401, 'identity_missing', `Bearer resource_metadata="${METADATA}", scope="call"`],
    ['a token that does not verify', 'Bearer identity_invalid', 401, 'identity_invalid', `Bearer error="invalid_token", resource_metadata="${METADATA}", scope="call"`],
    ['a token of another resource', 'Bearer audience_mismatch', 401, 'audience_mismatch', `Bearer error="invalid_token", resource_metadata="${METADATA}", scope="call"`],
    ['a token of an issuer that the plane knows and this resource does not name', 'Bearer elsewhere~call', 401, 'identity_invalid', `Bearer error="invalid_token", resource_metadata="${METADATA}", scope="call"`],
    ['a token for too little', 'Bearer ann~read', 403, 'identity_unknown', `Bearer error="insufficient_scope", resource_metadata="${METADATA}", scope="call"`],
  ])('answers %s as the specification has it', async (_what, authorization, status, code, challenge) => {
    const { at } = await protectedBy({ scopes: ['call'] })
    for (const reply of [await at.alone('tools/call', { name: 'a' }, { authorization }), await at.send('GET', undefined, { authorization, 'mcp-session-id': 'x' }), await at.send('DELETE', undefined, { authorization })]) {
      expect([reply.status, codeIn(reply), reply.headers['www-authenticate']]).toEqual([status, code, challenge])
    }
    expect([at.codes, at.seats]).toEqual([[code, code, code], []])
  })

  it.each<[string, 'GET' | 'POST']>([['of a session', 'GET'], ['of a stateless client', 'POST']])('ends a stream %s that only tells with the token it was asked for with', async (_what, method) => {
    const clock = new FakeClock()
    const { authorize, documents } = oauth({ issuers: [ISSUER], resource: RESOURCE, scopes: [], clock, verify: async () => ({ iss: ISSUER, sub: 'oidc:ann', scopes: [], until: clock.wallMs() + 90_000 }) })
    const at = await fronted((asked) => (asked.method === 'subscriptions/listen' ? new Promise((resolve) => {
      asked.notify('notifications/subscriptions/acknowledged', {})
      asked.signal.addEventListener('abort', () => resolve(OK))
    }) : OK), { authorize, documents, clock })
    let [begun, over] = [false, false]
    const session = method === 'GET' ? await at.session('ann') : undefined
    const headers = session === undefined ? { 'content-type': 'application/json', 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' } : { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }
    at.open(method, { accept: session === undefined ? 'application/json, text/event-stream' : 'text/event-stream', ...headers, ...as('ann') }, '/mcp', () => undefined, (res) => {
      res.on('data', () => (begun = true))
      res.once('close', () => (over = true))
    }).end(session === undefined ? aloneBody('subscriptions/listen', { notifications: {} }) : undefined)
    await until(() => begun)
    clock.advance(89_999)
    expect(over).toBe(false)
    clock.advance(1)
    await until(() => over)
    if (session === undefined) expect(at.seats[0]?.asked[0]?.signal.aborted).toBe(true)
  })

  it('does not blame the client when the plane is not there', async () => {
    const { at } = await protectedBy({ verify: () => Promise.reject(new Denied('unavailable', 'no plane')) })
    const reply = await at.alone('tools/list', {}, as('ann'))
    expect([reply.status, reply.headers['retry-after'], reply.headers['www-authenticate']]).toEqual([503, '1', undefined])
  })

  it('takes no token from an address', async () => {
    const { at } = await protectedBy()
    expect((await at.send('POST', '{}', { authorization: undefined }, '/mcp?access_token=ann')).status).toBe(404)
  })

  it('carries the token on to the plane with each request, and to nobody else; the agent is who the token names', async () => {
    const { at } = await protectedBy()
    await at.alone('tools/list', {}, as('coder'))
    await at.alone('tools/list', {}, as('ann'))
    expect(at.seats.map(({ guest }) => guest)).toEqual([{ principal: 'oidc:coder coder', agent: 'coder' }, { principal: 'oidc:ann', agent: undefined }])
    expect(await at.seats[1]?.asked[0]?.identify?.({} as never)).toEqual({ form: 'oidc', token: 'ann', audience: RESOURCE })
    const { identify: _, signal: _signal, ...seen } = at.seats[1]?.asked[0] ?? {}
    expect(JSON.stringify([seen, at.denials])).not.toContain('Bearer')
  })

  it('remembers a token for a minute, and never beyond its end', async () => {
    const { at, verified, clock } = await protectedBy()
    const ask = async (): Promise<number> => (await at.alone('tools/list', {}, as('ann'))).status
    expect([await ask(), await ask(), verified.length]).toEqual([200, 200, 1])
    clock.advance(BEARER_AGE_MS - 1)
    expect([await ask(), verified.length]).toEqual([200, 1])
    clock.advance(1)
    expect([await ask(), verified.length]).toEqual([200, 2])
    clock.jump(90_000) // its end came sooner than the minute
    expect([await ask(), verified.length]).toEqual([200, 3])
  })

  it('remembers as many as it says, and no refusal', async () => {
    const { at, verified } = await protectedBy()
    for (let i = 0; i < 2; i++) await at.alone('tools/list', {}, as('identity_invalid'))
    expect(verified).toHaveLength(2)
    const { authorize } = oauth({ issuers: [ISSUER], resource: RESOURCE, scopes: [], clock: new FakeClock(), verify: async (token) => (verified.push(token), { iss: ISSUER, sub: token, scopes: [], until: Number.MAX_SAFE_INTEGER }) })
    for (let i = 0; i <= MAX_BEARERS; i++) await authorize(`Bearer t${i}`)
    const before = verified.length
    await authorize(`Bearer t${MAX_BEARERS}`)
    expect(verified.length).toBe(before)
    await authorize('Bearer t0')
    expect(verified.length).toBe(before + 1)
  })

  it('has the plane verify so many at once and no more', async () => {
    let waiting = 0
    const { authorize } = oauth({ issuers: [ISSUER], resource: RESOURCE, scopes: [], clock: new FakeClock(), verify: () => new Promise(() => waiting++) })
    for (let i = 0; i < MAX_VERIFYING; i++) void authorize(`Bearer t${i}`)
    await until(() => waiting === MAX_VERIFYING)
    await expect(authorize('Bearer one-more')).rejects.toMatchObject({ code: 'overloaded' })
  })

  it.each<[string, Partial<Parameters<typeof oauth>[0]>]>([
    ['over plain http elsewhere', { resource: 'http://mcp.example.com/mcp' }],
    ['with a fragment', { resource: 'https://mcp.example.com/mcp#x' }],
    ['that is no address', { resource: 'mcp.example.com' }],
    ['without an issuer', { issuers: [] }],
    ['with an issuer that is none', { issuers: ['javascript:alert(1)'] }],
    ['with a scope that breaks out', { scopes: ['a" , x="'] }],
    ['with two scopes in one', { scopes: ['a b'] }],
  ])('cannot be one %s (ATK-098)', (_what, wrong) => {
    expect(() => oauth({ issuers: [ISSUER], resource: RESOURCE, scopes: [], clock: new FakeClock(), verify: () => Promise.reject(new Error('never')), ...wrong })).toThrow(TypeError)
  })
})
