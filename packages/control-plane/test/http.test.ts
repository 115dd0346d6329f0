import * as http from 'node:http'
import * as net from 'node:net'
import { ListenError, serveHttp } from '@sealwrit/control-plane'
import { gunzipSync } from 'node:zlib'
import { decodeEntries, decodeHashes, DENIALS, Frontier, type JsonObject, parseEntry, type RedeemReply, type SealedEntry, tilePath, tilesOf, verifyCheckpoint } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/control-plane'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { issueRequest } from './support/push.ts'
import { pinTools, Rig, sha256, TestGate } from './support/rig.ts'

const TOKEN = 'the-first-run-token'
let rig: Rig
let server: { url: string; close(): Promise<void> }
let port: number

beforeAll(async () => {
  rig = await Rig.open()
  port = await freePort()
  server = await serveHttp([{ plane: rig.plane, token: TOKEN, isLogPublic: false }], { host: '127.0.0.1', port })
})
afterAll(async () => {
  await server.close()
  await rig.remove()
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port: free } = probe.address() as net.AddressInfo
      probe.close(() => resolve(free))
    })
  })
}

interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
}
function ask(method: string, url: string, options: { headers?: Record<string, string>; body?: string | Buffer } = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: '127.0.0.1', port, method, path: url, headers: options.headers ?? {}, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk)).on('end', () => resolve({ status: response.statusCode as number, headers: response.headers, text }))
    })
    request.on('error', reject)
    request.end(options.body)
  })
}
const JSON_TYPE = { 'content-type': 'application/json' }
const AUTHORIZED = { ...JSON_TYPE, authorization: `Bearer ${TOKEN}` }
const problem = (answer: Answer): string => {
  const { errors, ...body } = JSON.parse(answer.text) as JsonObject
  if (errors !== undefined) expect(['request_malformed', 'method_unknown']).toContain(body['code'])
  const code = body['code'] as keyof typeof DENIALS
  expect(answer.headers['content-type']).toBe('application/problem+json')
  expect(body).toEqual({ type: `urn:sealwrit:denial:${code}`, title: DENIALS[code].meaning, status: answer.status, code, hint: DENIALS[code].hint })
  return `${answer.status} ${code}`
}

describe('the HTTP API', () => {
  it('answers health, readiness, the checkpoint and a page that says that there is no console', async () => {
    expect(JSON.parse((await ask('GET', '/healthz')).text)).toEqual({ status: 'ok' })
    expect((await ask('GET', '/readyz')).status).toBe(200)
    const checkpoint = await ask('GET', '/t/default/checkpoint')
    expect(checkpoint.headers['content-type']).toBe('text/plain; charset=utf-8')
    expect(verifyCheckpoint(checkpoint.text, rig.key, nodeCryptography).size).toBe(rig.plane.log.size)
    expect((await ask('GET', '/')).text).toContain('no console')
    expect((await ask('HEAD', '/healthz')).status).toBe(200)
  })
  it('serves the read path as C2SP tlog-tiles: hashes to everybody, entries with the token, both for ever; the root follows from them', async () => {
    const { size, root } = verifyCheckpoint((await ask('GET', '/t/default/checkpoint')).text, rig.key, nodeCryptography)
    const raw = (url: string, headers: Record<string, string> = {}): Promise<{ status: number; headers: http.IncomingHttpHeaders; bytes: Buffer }> => new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port, path: url, headers, agent: false }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => resolve({ status: response.statusCode as number, headers: response.headers, bytes: Buffer.concat(chunks) }))
      }).on('error', reject)
    })
    const [hashes] = [...tilesOf(0, size)].map((tile) => `/t/default/${tilePath(tile)}`)
    const answer = await raw(hashes as string)
    expect(answer).toMatchObject({ status: 200, headers: { 'content-type': 'application/octet-stream', 'cache-control': 'public, max-age=31536000, immutable' } })
    const tree = new Frontier(sha256)
    for (const hash of decodeHashes(answer.bytes, size)) tree.append(hash)
    expect(Buffer.from(tree.root())).toEqual(Buffer.from(root))
    const entries = `/t/default/${tilePath({ level: 'entries', index: 0, width: size })}`
    expect((await raw(entries)).status).toBe(401)
    const given = await raw(entries, { authorization: `Bearer ${TOKEN}` })
    expect(given.headers['cache-control']).toBe('private, max-age=31536000, immutable')
    expect(decodeEntries(given.bytes, size).map((text) => parseEntry(text).seq)).toEqual(Array.from({ length: size }, (_, i) => i))
    const zipped = await raw(entries, { authorization: `Bearer ${TOKEN}`, 'accept-encoding': 'br, gzip' })
    expect(zipped.headers['content-encoding']).toBe('gzip')
    expect(gunzipSync(zipped.bytes)).toEqual(given.bytes)
    for (const [path, status] of [['tile/0/000', 404], [`tile/0/000.p/${size + 1}`, 404], ['tile/1/000.p/1', 404], ['tile/0/001.p/1', 404], ['tile/00/000.p/1', 400], ['tile/0/0', 400], ['tile/0/x000/000.p/1', 400], ['tile/0/000.p/0', 400], ['tile/0/000.p/256', 400], ['tile/64/000', 400], ['tile/0/../0/000.p/1', 400], ['tile/0/000.p/1/', 400]] as const) expect((await raw(`/t/default/${path}`)).status, path).toBe(status)
    expect((await raw('/t/other/tile/0/000.p/1')).status).toBe(404)
  })
  it('governs a whole execution: enrol, authorize, receipt', async () => {
    const gate = new TestGate(rig)
    const post = async (url: string, body: unknown): Promise<JsonObject> => JSON.parse((await ask('POST', url, { headers: AUTHORIZED, body: JSON.stringify(body) })).text) as JsonObject
    expect(await post('/v1/gates', gate.enrolment())).toMatchObject({ epoch: 1 })
    await pinTools(rig.plane, gate, ['read_file'])
    const newest = rig.plane.log.checkpoint.size
    const answer = await post(`/v1/authorize?newest=${newest}`, gate.request())
    expect(answer).toMatchObject({ decision: 'permit' })
    expect((answer['consistency'] as string[]).length).toBeGreaterThan(0)
    const { permit, leaf } = await gate.permit()
    expect(await post('/v1/receipts', { session: gate.session, receipt: gate.receiptFor(permit.jti, leaf) })).toEqual({ seq: rig.plane.log.size - 1 })
  })
  it('issues an artifact that is carried and redeems it once: /v1/authorize tells the two requests apart', async () => {
    const gate = await rig.gate()
    const post = (url: string, body: unknown): Promise<Answer> => ask('POST', url, { headers: AUTHORIZED, body: JSON.stringify(body) })
    const issued = JSON.parse((await post('/v1/authorize', issueRequest(gate))).text) as { decision: string; sealed: SealedEntry }
    expect(issued).toMatchObject({ decision: 'permit', consistency: [] })
    const challenge = rig.token()
    const body = { session: gate.session, artifact: issued.sealed, challenge }
    const reply = JSON.parse((await post('/v1/redeem', body)).text) as RedeemReply
    expect(parseEntry(reply.redemption.entry)).toMatchObject({ kind: 'redemption', challenge })
    expect(JSON.parse((await post('/v1/redeem', body)).text)).toMatchObject({ redemption: { entry: reply.redemption.entry } })
    expect(problem(await post('/v1/redeem', { ...body, challenge: rig.token() }))).toBe('409 artifact_spent')
    expect(problem(await post('/v1/authorize', { ...issueRequest(gate), seconds: 61 }))).toBe('403 lifetime_exceeded')
    expect(problem(await post('/v1/authorize', { ...issueRequest(gate), form: 'jws' }))).toBe('403 key_unknown')
    expect(problem(await post('/v1/authorize', { ...gate.request(), form: 'redeem' }))).toBe('400 request_malformed')
    expect(problem(await ask('POST', '/v1/redeem', { headers: JSON_TYPE, body: JSON.stringify(body) }))).toBe('401 identity_invalid')
  })

  it.each([
    ['no token', JSON_TYPE],
    ['a wrong token', { ...JSON_TYPE, authorization: 'Bearer wrong' }],
    ['a token of another scheme', { ...JSON_TYPE, authorization: `Basic ${TOKEN}` }],
    ['a token with a space more', { ...JSON_TYPE, authorization: `Bearer  ${TOKEN}` }],
    ['a token in the query', JSON_TYPE],
  ])('ATK-122: %s is one and the same 401', async (name, headers) => {
    const url = name.includes('query') ? `/v1/authorize?token=${TOKEN}` : '/v1/authorize'
    expect(problem(await ask('POST', url, { headers, body: '{}' }))).toBe('401 identity_invalid')
  })
  it.each(['/%761/authorize', '/v%31/receipts', '/%76%31/gates', '/v1/%61uthorize'])('ATK-122: a path spelled %s needs the token like any other', async (url) => {
    expect(problem(await ask('POST', url, { headers: JSON_TYPE, body: '{}' }))).toBe('401 identity_invalid')
    expect(problem(await ask('POST', url, { headers: AUTHORIZED, body: '{}' }))).toBe('400 request_malformed')
  })
  it.each([
    ['Host', { host: 'evil.test' }], ['Host', { host: `evil.test:0` }], ['Host', { host: '127.0.0.1' }], ['Host', { host: `127.0.0.1:1` }],
    ['Origin', { origin: 'http://evil.test' }], ['Origin', { origin: 'null' }], ['Origin', { origin: 'https://127.0.0.1' }], ['Origin', { origin: 'http://localhost.evil.test' }],
  ])('ATK-100: a foreign %s %j is refused before anything else, for every path', async (_name, headers) => {
    for (const url of ['/', '/healthz', '/t/default/checkpoint', '/v1/authorize', '/nowhere']) {
      const answer = await ask('GET', url, { headers: headers as Record<string, string> })
      expect(answer.status, url).toBeGreaterThanOrEqual(400)
      expect(answer.text, url).not.toContain('rig.test')
    }
  })
  it('serves its own names, with a policy that lets a page do nothing', async () => {
    for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`]) expect((await ask('GET', '/healthz', { headers: { host, origin: `http://${host}` } })).status).toBe(200)
    const { headers } = await ask('GET', '/')
    expect(headers['content-security-policy']).toContain("default-src 'none'")
    expect(headers['access-control-allow-origin']).toBeUndefined()
    expect((await ask('OPTIONS', '/v1/authorize', { headers: { origin: `http://127.0.0.1:${port}`, 'access-control-request-method': 'POST' } })).headers['access-control-allow-origin']).toBeUndefined()
  })

  it.each<[string, Record<string, string>, string | Buffer, string]>([
    ['no JSON', AUTHORIZED, 'hello', '400 request_malformed'],
    ['nothing', AUTHORIZED, '', '400 request_malformed'],
    ['a member twice', AUTHORIZED, '{"session":1,"session":2}', '400 request_malformed'],
    ['bad UTF-8', AUTHORIZED, Buffer.from([0x22, 0xff, 0x22]), '403 encoding_invalid'],
    ['a number beyond 2^53', AUTHORIZED, '{"x":9007199254740993}', '400 arguments_not_canonical'],
    ['depth 10^5', AUTHORIZED, '['.repeat(100_000), '413 limit_exceeded'],
    ['3 MiB', AUTHORIZED, Buffer.alloc(3_145_728, 0x20), '413 limit_exceeded'],
    ['a form', { ...AUTHORIZED, 'content-type': 'application/x-www-form-urlencoded' }, 'a=1', '400 request_malformed'],
    ['text', { ...AUTHORIZED, 'content-type': 'text/plain' }, '{}', '400 request_malformed'],
    ['an unknown member', AUTHORIZED, '{"x":1}', '400 request_malformed'],
  ])('ATK-085: a body of %s is refused with its code', async (_name, headers, body, expected) => {
    expect(problem(await ask('POST', '/v1/authorize', { headers, body }))).toBe(expected)
  })
  it('knows no other paths, and no traversal', async () => {
    for (const url of ['/v2', '/t/other/checkpoint', '/t/..%2f/checkpoint', '/t/default/../../etc/passwd', '/.git/config']) expect((await ask('GET', url)).status, url).toBe(404)
    expect((await ask('GET', '/v1/authorize', { headers: AUTHORIZED })).status).toBe(404)
  })
  it('says what to do when the port is taken', async () => {
    await expect(serveHttp([{ plane: rig.plane, token: TOKEN, isLogPublic: false }], { host: '127.0.0.1', port })).rejects.toThrow(ListenError)
    await expect(serveHttp([{ plane: rig.plane, token: TOKEN, isLogPublic: false }], { host: '127.0.0.1', port })).rejects.toThrow(/in use.*--listen/)
  })
  it('is not ready when it cannot write, and says why', async () => {
    const other = await Rig.open('other')
    const otherPort = await freePort()
    const second = await serveHttp([{ plane: other.plane, token: TOKEN, isLogPublic: false }], { host: '127.0.0.1', port: otherPort })
    const gate = await other.gate()
    other.fault = { persisted: false, recoverable: false }
    await gate.authorize().catch(() => undefined)
    const answer = await new Promise<number>((resolve) => http.get({ host: '127.0.0.1', port: otherPort, path: '/readyz', agent: false }, (r) => resolve(r.resume().statusCode as number)))
    expect(answer).toBe(503)
    await second.close()
    await other.remove()
  })
})
