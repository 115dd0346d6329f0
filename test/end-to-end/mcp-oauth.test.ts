import { type ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as http from 'node:http'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { jwkOf, signingPair, token } from '../../packages/control-plane/test/support/identity.ts'
import { HttpServerOf } from '../../packages/mcp-gateway/test/http/through.ts'
import { end, run, sealwrit, startPlane } from '../support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-oauth-')))
const dir = path.join(root, '.sealwrit')
const ISSUER = 'https://login.example.com'
const RESOURCE = 'https://mcp.example.com/mcp'
const METADATA = 'https://mcp.example.com/.well-known/oauth-protected-resource/mcp'
const ed = signingPair('EdDSA', 'ed')
/** Only who was identified by that issuer may call. */
const POLICY = `@id("of-the-issuer") permit (principal, action == Action::"mcp.tool_call", resource is Tool) when { context has identity && context.identity.issuer == "${ISSUER}" };\n`
const server = new HttpServerOf('2026-07-28', [{ name: 'read_file', description: 'reads', inputSchema: { type: 'object' } }])
let plane: Awaited<ReturnType<typeof startPlane>>
let gateway: ChildProcess
let port = 0
let told = ''

beforeAll(async () => {
  fs.writeFileSync(path.join(root, 'jwks.json'), JSON.stringify({ keys: [jwkOf(ed)] }))
  await end((await startPlane(dir)).child)
  fs.writeFileSync(path.join(dir, 'policies', 'test.cedar'), POLICY)
  fs.writeFileSync(path.join(root, 'sealwrit.yaml'), `policies: .sealwrit/policies\nidentity:\n  issuers:\n    - issuer: ${ISSUER}\n      audience: https://plane.example\n      resources: [${RESOURCE}]\n      algorithms: [EdDSA]\n      jwks_file: jwks.json\n`)
  plane = await startPlane(dir)
  const url = await server.server.listen()
  gateway = sealwrit(['mcp', '--pin', '--json', '--dir', dir, '--name', 'crm', '--url', url, '--listen', '127.0.0.1:0', '--oauth-issuer', ISSUER, '--resource', RESOURCE, '--scope', 'mcp:call'])
  for (const stream of [gateway.stdout, gateway.stderr]) stream?.on('data', (chunk: Buffer) => (told += chunk.toString()))
  while (!told.trimEnd().endsWith('}')) await new Promise((resolve) => setTimeout(resolve, 20))
  port = Number(new URL((JSON.parse(told) as { endpoint: string }).endpoint).port)
})
afterAll(async () => {
  await end(gateway)
  await end(plane.child)
  await server.server.close()
  fs.rmSync(root, { recursive: true, force: true })
})

const now = (): number => Math.floor(Date.now() / 1_000)
const access = (change: object = {}, header: object = { alg: 'EdDSA', kid: 'ed', typ: 'at+jwt' }): string => token(ed, { iss: ISSUER, sub: 'ann', aud: RESOURCE, iat: now(), exp: now() + 300, scope: 'mcp:call', client_id: 'c', ...change }, header)

interface Answer {
  readonly status: number
  readonly challenge: string | undefined
  readonly text: string
  readonly code: string | undefined
  readonly headers: http.IncomingHttpHeaders
}

function ask(method: string, at: string, headers: Record<string, string>, body?: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const req = http.request({ host: '127.0.0.1', port, path: at, method, headers: { host: 'mcp.example.com', accept: 'application/json, text/event-stream', ...headers } }, (res) => {
      let text = ''
      res.on('data', (chunk: Buffer) => (text += chunk.toString()))
      res.on('end', () => resolve({ status: res.statusCode ?? 0, challenge: res.headers['www-authenticate'], text, code: /"code":"([a-z_]+)"/.exec(text)?.[1], headers: res.headers }))
    })
    req.on('error', reject)
    req.end(body)
  })
}

function call(bearer: string | undefined, headers: Record<string, string> = {}): Promise<Answer> {
  const meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} }
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { _meta: meta, name: 'read_file', arguments: {} } })
  return ask('POST', '/mcp', { 'content-type': 'application/json', 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'read_file', ...(bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }), ...headers }, body)
}

async function entries(): Promise<{ kind: string; sub?: string; code?: string }[]> {
  const { stdout } = await run(['log', '--json', '--limit', '500', '--dir', dir])
  return [...stdout.matchAll(/"kind": ?"([a-z]+)"/g)].map(([, kind]) => ({ kind: kind as string }))
}

// One test for each heading of MCP's security guidance (docs, "Security Best Practices", and the specification's "Authorization Security Considerations").
describe('ATK-102: who asks over HTTP, by tokens of an issuer', () => {
  it('honest clients are let in, judged as who the token names, and told apart in the log', async () => {
    const answer = await call(access())
    expect([answer.status, answer.text.includes('called')]).toEqual([200, true])
    expect((await call(access({ sub: 'bob' }))).text).toContain('called')
    const { stdout } = await run(['log', '--json', '--limit', '200', '--dir', dir])
    expect(new Set(stdout.match(/oidc:[\w-]{22}/g) ?? []).size).toBe(2)
    expect(stdout).not.toContain('ann')
  })

  it('Confused Deputy Problem: it is no client of anybody’s authorization server, registers none, and redirects nobody', async () => {
    for (const at of ['/authorize', '/register', '/token', '/callback', '/consent', '/.well-known/oauth-authorization-server', '/.well-known/openid-configuration', '/mcp?code=x&state=y']) {
      for (const method of ['GET', 'POST']) {
        const answer = await ask(method, at, {}, method === 'POST' ? '{}' : undefined)
        expect([at, answer.status, answer.headers.location, answer.headers['set-cookie']]).toEqual([at, 404, undefined, undefined])
      }
    }
  })

  it('Token Passthrough: tokens of others are refused, and one for us reaches nobody behind us', async () => {
    const before = server.of('tools/call').length
    for (const wrong of [{ aud: 'https://api.example.com' }, { aud: ['https://api.example.com', RESOURCE] }, { aud: 'https://plane.example' }, { aud: undefined }]) {
      const answer = await call(access(wrong))
      expect([answer.status, answer.code, answer.challenge?.startsWith('Bearer error="invalid_token"')]).toEqual([401, 'audience_mismatch', true])
    }
    const good = access()
    await call(good)
    expect(server.of('tools/call')).toHaveLength(before + 1)
    for (const { headers, body } of server.server.got) expect([headers.authorization, body.includes(good), JSON.stringify(headers).includes(good)]).toEqual([undefined, false, false])
  })

  it('Server-Side Request Forgery: nothing in a token or a request makes it fetch anything', async () => {
    let asked = 0
    const trap = http.createServer((_req, res) => {
      asked++
      res.end('{}')
    })
    await new Promise<void>((resolve) => trap.listen(0, '127.0.0.1', resolve))
    const at = `http://127.0.0.1:${(trap.address() as { port: number }).port}`
    for (const header of [{ jku: at }, { x5u: at }, { jwk: { kty: 'OKP' } }]) expect((await call(access({}, { alg: 'EdDSA', kid: 'ed', typ: 'at+jwt', ...header }))).status).toBe(401)
    for (const iss of [at, 'http://169.254.169.254/latest/meta-data', 'http://10.0.0.1/']) expect((await call(access({ iss, jwks_uri: at }))).code).toBe('identity_invalid')
    await call(access(), { referer: at, link: `<${at}>; rel="authorization_server"`, 'x-forwarded-host': at })
    expect(asked).toBe(0)
    trap.close()
  })

  it('Session Hijacking: an id of a session opens nothing to another principal, nor to nobody', async () => {
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } }
    const json = { 'content-type': 'application/json' }
    const begun = await ask('POST', '/mcp', { ...json, authorization: `Bearer ${access()}` }, JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params }))
    const session = { 'mcp-session-id': begun.headers['mcp-session-id'] as string }
    expect(session['mcp-session-id']).toMatch(/^[\w-]{22}$/)
    const list = '{"jsonrpc":"2.0","id":2,"method":"tools/list"}'
    expect((await ask('POST', '/mcp', { ...json, ...session }, list)).status).toBe(401)
    for (const method of ['POST', 'GET', 'DELETE']) expect((await ask(method, '/mcp', { ...json, ...session, authorization: `Bearer ${access({ sub: 'mallory' })}` }, method === 'POST' ? list : undefined)).status).toBe(404)
    expect((await ask('POST', '/mcp', { ...json, ...session, authorization: `Bearer ${access({ iat: now() - 1 })}` }, list)).status).toBe(200) // another token of the same principal
  })

  it('Local MCP Server Compromise: a rebound name or a foreign page gets nowhere, whatever it knows', async () => {
    for (const headers of [{ host: 'evil.example' }, { origin: 'https://evil.example' }]) {
      const answer = await call(access(), headers)
      expect([answer.status, answer.code]).toEqual([403, 'origin_forbidden'])
    }
  })

  it('Scoped Authorization Receipts: what runs is authorized call by call, whatever the token is for', async () => {
    const before = (await entries()).filter(({ kind }) => kind === 'permit').length
    for (let i = 0; i < 3; i++) expect((await call(access({ scope: 'mcp:call admin *' }))).status).toBe(200)
    const after = await entries()
    expect(after.filter(({ kind }) => kind === 'permit').length - before).toBe(3)
    expect(after.filter(({ kind }) => kind === 'receipt').length).toBe(after.filter(({ kind }) => kind === 'permit').length)
  })

  it('Scope Minimization: it asks for what it needs and no more, and says what is missing', async () => {
    const answer = await call(access({ scope: 'mcp:read *' }))
    expect([answer.status, answer.challenge]).toEqual([403, `Bearer error="insufficient_scope", resource_metadata="${METADATA}", scope="mcp:call"`])
  })

  it('Token Audience Binding and Validation: its metadata names the one resource, and who issues tokens for it', async () => {
    const unknown = await call(undefined)
    expect([unknown.status, unknown.challenge]).toEqual([401, `Bearer resource_metadata="${METADATA}", scope="mcp:call"`])
    const answer = await ask('GET', new URL(METADATA).pathname, {})
    expect(JSON.parse(answer.text)).toEqual({ resource: RESOURCE, authorization_servers: [ISSUER], bearer_methods_supported: ['header'], scopes_supported: ['mcp:call'] })
  })

  it('Token Theft: no token is shown, logged or kept in a process’s title', async () => {
    const stolen = access({ sub: 'eve', exp: now() - 60 })
    expect((await call(stolen)).code).toBe('identity_invalid')
    const { stdout } = await run(['log', '--json', '--limit', '500', '--dir', dir])
    for (const text of [told, stdout, fs.readFileSync(`/proc/${gateway.pid}/cmdline`, 'utf8')]) expect(text).not.toContain(stolen.split('.')[1])
  })

  it.each([
    ['Communication Security: plain http to elsewhere', ['--resource', 'http://mcp.example.com/mcp', '--oauth-issuer', ISSUER]],
    ['Communication Security: an issuer over plain http', ['--resource', RESOURCE, '--oauth-issuer', 'http://login.example.com']],
    ['Open Redirection, Client ID Metadata Documents: an address that runs something', ['--resource', 'javascript:alert(1)', '--oauth-issuer', ISSUER]],
  ])('%s is not taken', async (_what, words) => {
    const { exit } = await run(['mcp', '--pin', '--dir', dir, '--name', 'crm2', '--url', 'https://x.example/mcp', '--listen', '127.0.0.1:0', ...words])
    expect(exit).toBe(2)
  })

  it('Mix-Up Attacks: a token of another issuer, or of none, is none', async () => {
    for (const iss of ['https://evil.example', `${ISSUER}/`, ISSUER.toUpperCase(), undefined]) expect((await call(access({ iss }))).code).toBe('identity_invalid')
  })

  it('Access Token Privilege Restriction: an ID token is no access token, and a type of something else is neither', async () => {
    for (const [claims, typ] of [[{ aud: 'https://plane.example' }, 'JWT'], [{}, 'logout+jwt'], [{}, 'secevent+jwt']] as const) expect((await call(access(claims, { alg: 'EdDSA', kid: 'ed', typ }))).status).toBe(401)
  })
})
