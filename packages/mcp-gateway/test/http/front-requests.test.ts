import type { JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { MAX_CLIENT_LINE } from '@sealwrit/mcp-gateway'
import { Places } from '@sealwrit/mcp-gateway/client-http'
import { aloneBody, codeIn, fronted, OK, rpcIn, TOKEN } from './front.ts'
import { until } from './server.ts'

const call = { name: 'read_file', arguments: { path: '/x' } }

describe('from where a listener may be asked (ATK-100)', () => {
  it.each<[string, Record<string, string | undefined>]>([
    ['a name that was made to lead here', { host: 'evil.example' }],
    ['a name that only begins like ours', { host: 'localhost.evil.example' }],
    ['an address of the network', { host: '192.168.0.10:4181' }],
    ['two in one', { host: 'localhost, evil.example' }],
    ['with a user', { host: 'localhost@evil.example' }],
    ['a page of somebody else', { origin: 'https://evil.example' }],
    ['a page of a name that only begins like ours', { origin: 'http://localhost.evil.example' }],
    ['a page without an origin', { origin: 'null' }],
    ['an origin that is none', { origin: 'http://localhost/path' }],
    ['an extension', { origin: 'chrome-extension://abc' }],
  ])('is not %s, and nobody looks at a credential or a body then', async (_what, headers) => {
    const at = await fronted()
    for (const [method, body] of [['POST', aloneBody('tools/list', {})], ['GET', undefined], ['DELETE', undefined], ['OPTIONS', undefined]] as const) {
      const reply = await at.send(method, body, { ...headers, authorization: undefined })
      expect(reply.status).toBe(403)
      expect(codeIn(reply)).toBe('origin_forbidden')
      expect(reply.headers).not.toHaveProperty('access-control-allow-origin')
    }
    expect(at.codes).toEqual(['origin_forbidden', 'origin_forbidden', 'origin_forbidden', 'origin_forbidden'])
    expect(at.reached).toEqual([])
  })

  it('is said, and said once', async () => {
    const at = await fronted()
    for (const hosts of ['', 'Host: localhost\r\nHost: localhost\r\n']) expect(await at.raw(`GET /mcp HTTP/1.1\r\n${hosts}\r\n`)).toMatch(/^HTTP\/1\.1 4(?:00|03) /)
  })

  it('is this machine, and the names and pages that the operator allowed', async () => {
    const at = await fronted(() => OK, { places: new Places(['MCP.example.com:8443', 'other.example'], ['https://app.example']) })
    for (const host of ['localhost', 'localhost:1', '127.0.0.1:4181', '[::1]:4181', 'mcp.example.com:8443', 'other.example', 'other.example:9']) expect((await at.alone('tools/list', {}, { host })).status).toBe(200)
    for (const host of ['mcp.example.com', 'mcp.example.com:1']) expect((await at.alone('tools/list', {}, { host })).status).toBe(403)
    for (const origin of ['https://app.example', 'http://localhost:6274', 'http://127.0.0.1']) {
      const reply = await at.alone('tools/list', {}, { origin })
      expect(reply.headers).toMatchObject({ 'access-control-allow-origin': origin, vary: 'Origin' })
      expect((await at.send('OPTIONS', undefined, { origin, authorization: undefined, 'access-control-request-method': 'POST' })).status).toBe(204)
    }
  })

  it.each([[['a b'], []], [['https://x'], []], [[], ['https://x/']], [[], ['null']], [[], ['*']]])('cannot be configured as %j %j', (hosts, origins) => {
    expect(() => new Places(hosts, origins)).toThrow(TypeError)
  })
})

describe('who asks', () => {
  it.each<[string, string | string[] | undefined, string]>([
    ['no credential', undefined, 'identity_missing'],
    ['another scheme', `Basic ${Buffer.from('a:b').toString('base64')}`, 'identity_missing'],
    ['an empty token', 'Bearer ', 'identity_missing'],
    ['another token', 'Bearer nobody', 'identity_invalid'],
    ['a token with more', `Bearer ${TOKEN} x`, 'identity_missing'],
  ])('is asked for with %s', async (_what, authorization, code) => {
    const at = await fronted()
    const reply = await at.alone('tools/call', call, { authorization })
    expect(reply.status).toBe(401)
    expect(reply.headers['www-authenticate']).toMatch(/^Bearer/)
    expect([codeIn(reply), at.codes]).toEqual([code, [code]])
    expect(at.seats).toEqual([])
    expect(reply.text + JSON.stringify(at.denials.map(({ message }) => message))).not.toContain('nobody')
  })
})

describe('a request', () => {
  it.each<[string, Record<string, string | undefined>, number]>([
    ['of another type', { 'content-type': 'text/plain' }, 415],
    ['of no type', { 'content-type': undefined }, 415],
    ['in another charset', { 'content-type': 'application/json; charset=utf-16' }, 415],
    ['in an encoding', { 'content-encoding': 'gzip' }, 415],
    ['that takes no stream', { accept: 'application/json' }, 406],
    ['that takes no JSON', { accept: 'text/event-stream, application/json;q=0' }, 406],
    ['of a revision that is not spoken', { 'mcp-protocol-version': '2025-06-18' }, 400],
  ])('%s is refused', async (_what, headers, status) => {
    const at = await fronted()
    expect((await at.alone('tools/list', {}, headers)).status).toBe(status)
    expect(at.reached).toEqual([])
  })

  it('is taken from clients that say their types in other words', async () => {
    const at = await fronted()
    for (const headers of [{ accept: '*/*' }, { accept: 'application/*, text/*;q=0.5' }, { 'content-type': 'application/json; charset=UTF-8' }, { 'content-type': 'Application/JSON' }]) expect((await at.alone('tools/list', {}, headers)).status).toBe(200)
  })

  it.each([['PUT', '/mcp', 405], ['PATCH', '/mcp', 405], ['POST', '/', 404], ['POST', '/mcp/', 404], ['POST', '/mcp?access_token=x', 404], ['GET', '/.well-known/oauth-protected-resource', 404]])('as %s %s is answered %i %i', async (method, path, status) => {
    const at = await fronted()
    const reply = await at.send(method, method === 'GET' ? undefined : '{}', {}, path)
    expect(reply.status).toBe(status)
    if (status === 405) expect(reply.headers['allow']).toBe('POST, GET, DELETE')
  })

  it.each<[string, string | Buffer, string]>([
    ['a batch', `[${aloneBody('tools/call', call)}]`, 'request_malformed'],
    ['no JSON', '{', 'encoding_invalid'],
    ['nothing', '', 'encoding_invalid'],
    ['two messages', `${aloneBody('tools/list', {})}\n${aloneBody('tools/call', call)}`, 'encoding_invalid'],
    ['a member twice', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}', 'encoding_invalid'],
    ['no UTF-8', Buffer.from([0x7b, 0xff, 0x7d]), 'encoding_invalid'],
    ['an id that is null', '{"jsonrpc":"2.0","id":null,"method":"ping"}', 'request_malformed'],
  ])('with %s for a body is a bad request, and nothing is forwarded (ATK-096)', async (_what, body, code) => {
    const at = await fronted()
    const reply = await at.send('POST', body, { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'read_file' })
    expect(reply.status).toBe(400)
    expect(at.codes).toHaveLength(1)
    expect([code, 'request_malformed']).toContain(codeIn(reply))
    expect(at.reached).toEqual([])
  })

  it.each([-1, 0, 1])('may have a body of the longest size and %i bytes, said or not said (ATK-097)', async (more) => {
    const at = await fronted()
    const empty = aloneBody('tools/call', { name: 'a', arguments: { x: '' } }).length
    const body = aloneBody('tools/call', { name: 'a', arguments: { x: 'x'.repeat(MAX_CLIENT_LINE - empty + more) } })
    const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'a' }
    const replies = [await at.send('POST', body, { ...headers, 'content-length': String(body.length) }), await at.send('POST', body, { ...headers, 'transfer-encoding': 'chunked' })]
    expect(replies.map(({ status }) => status)).toEqual(more > 0 ? [413, 413] : [200, 200])
    expect(at.codes).toEqual(more > 0 ? ['limit_exceeded', 'limit_exceeded'] : [])
  })

  it('is refused by what it says of its size, before it is sent', async () => {
    const at = await fronted()
    const got = await at.raw(`POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: 9999999999\r\nExpect: 100-continue\r\n\r\n`)
    expect(got).toMatch(/^HTTP\/1\.1 413 /)
    expect(got).toMatch(/connection: close/i)
    expect(got).not.toContain('100 Continue')
  })

  it.each<[string, string]>([
    ['two lengths', 'Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde'],
    ['a length and chunks', 'Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /mcp HTTP/1.1\r\n\r\n'],
    ['two hosts', 'Host: evil.example\r\nContent-Length: 0\r\n\r\n'],
    ['two credentials', 'Authorization: Bearer token-of-bob\r\nContent-Length: 0\r\n\r\n'],
    ['a folded header', 'X: a\r\n b\r\nContent-Length: 0\r\n\r\n'],
    ['a bare line feed', 'X: a\nMcp-Method: x\r\nContent-Length: 0\r\n\r\n'],
    ['a space before the colon', 'Content-Length : 0\r\n\r\n'],
    ['huge headers', `X: ${'x'.repeat(20_000)}\r\n\r\n`],
  ])('in bytes with %s is refused whole', async (_what, rest) => {
    const at = await fronted()
    const got = await at.raw(`POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nAccept: */*\r\nContent-Type: application/json\r\n${rest}`)
    expect(got).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(got.match(/^HTTP\/1\.1 /gm)).toHaveLength(1)
    expect([at.reached, at.codes.length]).toEqual([[], 1]) // and recorded
  })
})

describe('a request that stands alone', () => {
  it('reaches the seat of its principal with what it says of its client', async () => {
    const at = await fronted()
    const reply = await at.alone('tools/call', call, { 'mcp-param-Region': 'us' })
    expect([reply.status, reply.headers['content-type'], reply.text]).toEqual([200, 'application/json', '{"id":1,"jsonrpc":"2.0","result":{"content":[],"resultType":"complete"}}'])
    expect(at.seats[0]?.guest).toEqual({ principal: 'ann', agent: undefined })
    expect(at.seats[0]?.asked[0]).toMatchObject({ id: 1, method: 'tools/call', client: { revision: '2026-07-28', name: 'client', version: '1' } })
    expect([...(at.seats[0]?.asked[0]?.mirrored ?? [])]).toEqual([['region', 'us']])
    expect(reply.headers).not.toHaveProperty('mcp-session-id')
  })

  it.each<[string, Record<string, string | string[] | undefined>]>([
    ['another method', { 'mcp-method': 'tools/list' }],
    ['no method', { 'mcp-method': undefined }],
    ['a method in another case', { 'mcp-method': 'Tools/Call' }],
    ['an encoded method', { 'mcp-method': `=?base64?${Buffer.from('tools/call').toString('base64')}?=` }],
    ['another name', { 'mcp-name': 'delete_file' }],
    ['no name', { 'mcp-name': undefined }],
    ['an empty name', { 'mcp-name': '' }],
    ['another spelling of the encoded name', { 'mcp-name': '=?base64?cmVhZF9maWxl?= ' .trim() + '=' }],
    ['another revision', { 'mcp-protocol-version': '2025-11-25' }],
    ['no revision', { 'mcp-protocol-version': undefined }],
  ])('is refused where the headers say %s (ATK-103)', async (_what, headers) => {
    const at = await fronted()
    const reply = await at.alone('tools/call', call, headers)
    expect([reply.status, rpcIn(reply), codeIn(reply), reply.json['id']]).toEqual([400, -32020, 'action_mismatch', 1])
    expect(at.codes).toEqual(['action_mismatch'])
    expect(at.reached).toEqual([])
  })

  it.each(['Mcp-Method', 'Mcp-Name', 'MCP-Protocol-Version', 'Mcp-Param-Region', 'Mcp-Session-Id'])('is refused where %s is there twice (ATK-103)', async (name) => {
    const at = await fronted()
    const body = aloneBody('tools/call', call)
    const got = await at.raw(`POST /mcp HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${TOKEN}\r\nAccept: */*\r\nContent-Type: application/json\r\nMcp-Method: tools/call\r\nMcp-Name: read_file\r\nMCP-Protocol-Version: 2026-07-28\r\n${name}: a\r\n${name.toUpperCase()}: a\r\nContent-Length: ${body.length}\r\n\r\n${body}`)
    expect(got).toMatch(/^HTTP\/1\.1 400 /)
    expect(at.reached).toEqual([])
  })

  it('may have its name encoded', async () => {
    const at = await fronted()
    expect((await at.alone('resources/read', { uri: 'file:///ä' }, { 'mcp-name': `=?base64?${Buffer.from('file:///ä').toString('base64')}?=` })).status).toBe(200)
    expect((await at.alone('tools/call', call, { 'mcp-name': '=?base64?cmVhZF9maWxl?=' })).status).toBe(200)
    expect((await at.alone('tools/list', {}, { 'mcp-name': 'read_file' })).status).toBe(400) // there is nothing that it could name
  })

  it.each<[string, JsonObject]>([
    ['no revision', { 'io.modelcontextprotocol/clientCapabilities': {} }],
    ['no capabilities', { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' }],
    ['capabilities that are none', { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': [] }],
  ])('is malformed with %s in its _meta', async (_what, meta) => {
    const at = await fronted()
    const reply = await at.send('POST', JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/list', params: { _meta: meta } }), { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/list' })
    expect([reply.status, rpcIn(reply)]).toEqual([400, -32602])
    expect(at.reached).toEqual([])
  })

  it('names the revisions that are spoken to whoever asks for another', async () => {
    const at = await fronted()
    const meta = { 'io.modelcontextprotocol/protocolVersion': '2027-01-01', 'io.modelcontextprotocol/clientCapabilities': {} }
    const reply = await at.send('POST', JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/list', params: { _meta: meta } }), { 'mcp-protocol-version': '2027-01-01', 'mcp-method': 'tools/list' })
    expect([reply.status, rpcIn(reply)]).toEqual([400, -32022])
    expect((reply.json['error'] as { data: JsonObject }).data).toMatchObject({ supported: ['2026-07-28', '2025-11-25'], requested: '2027-01-01' })
  })

  it.each([[-32601, 404], [-32020, 400], [-32021, 400], [-32022, 400], [-32602, 200], [-32001, 200]])('whose seat answers %i has the status %i', async (code, status) => {
    const at = await fronted(() => ({ member: 'error', text: `{"code":${code},"message":"no"}`, code }))
    expect((await at.alone('tools/list')).status).toBe(status)
  })

  it('gets a stream as soon as something is said before its answer', async () => {
    const at = await fronted((asked) => {
      asked.notify('notifications/progress', { progressToken: 1, progress: 1 })
      return OK
    })
    const reply = await at.alone('tools/call', call)
    expect(reply.headers).toMatchObject({ 'content-type': 'text/event-stream', 'x-accel-buffering': 'no', 'cache-control': 'no-store' })
    expect(reply.text.split('\n\n').map((event) => event.replace(/^data: /, ''))).toEqual(['{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":1}}', '{"id":1,"jsonrpc":"2.0","result":{"content":[],"resultType":"complete"}}', ''])
  })

  it('is taken back by closing its response, and is not by a message', async () => {
    let reason: unknown
    const at = await fronted((asked) => new Promise((resolve) => asked.signal.addEventListener('abort', () => {
      reason = asked.signal.reason
      resolve(OK)
    })))
    const body = aloneBody('tools/call', call)
    const req = at.open('POST', { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'read_file' }, '/mcp', () => undefined, () => undefined)
    req.end(body)
    await until(() => at.reached.length === 1)
    const cancel = await at.send('POST', '{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}', { 'mcp-protocol-version': '2026-07-28' })
    expect(cancel.status).toBe(202)
    expect([reason, at.seats[0]?.notifications]).toEqual([undefined, []])
    req.destroy()
    await until(() => reason !== undefined)
  })

  it('has no session, no stream to listen to, and nothing to resume (ATK-099)', async () => {
    const at = await fronted()
    for (const method of ['GET', 'DELETE']) for (const headers of [{}, { 'mcp-protocol-version': '2026-07-28', 'mcp-session-id': 'x' }, { 'last-event-id': 'AAAAAAAAAAAAAAAAAAAAAA.0' }]) {
      expect((await at.send(method, undefined, headers)).status).toBe(405)
    }
    expect((await at.alone('tools/list', {}, { 'mcp-session-id': 'x', 'last-event-id': 'y' })).status).toBe(200) // ignored
    expect((await at.send('POST', '{"jsonrpc":"2.0","id":1,"result":{}}', { 'mcp-protocol-version': '2026-07-28' })).status).toBe(400)
  })

  it('shares a seat with its own principal alone (ATK-104)', async () => {
    const at = await fronted()
    for (const token of [TOKEN, 'token-of-bob', TOKEN, 'token-of-bob']) expect((await at.alone('tools/list', {}, { authorization: `Bearer ${token}` })).status).toBe(200)
    expect(at.seats.map(({ guest, asked }) => [guest.principal, asked.length])).toEqual([['ann', 2], ['bob', 2]])
  })
})
