import type { JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { aloneBody, codeIn, rpcIn, TOKEN, type Reply } from './front.ts'
import { json, until } from './server.ts'
import { type Through, through } from './through.ts'

const REVISIONS = ['2026-07-28', '2025-11-25'] as const
const CALL = { name: 'read_file', arguments: { path: '/x' } }
const BOB = { authorization: 'Bearer token-of-bob' }

/** Calls as a client of either revision. */
async function call({ at }: Through, revision: (typeof REVISIONS)[number], params: JsonObject = CALL, method = 'tools/call'): Promise<Reply> {
  if (revision === '2026-07-28') return at.alone(method, params)
  return at.inSession(await at.session(), { id: 2, method, params })
}
const saidIn = (reply: Reply): string => JSON.stringify(reply.json)

describe.each(REVISIONS)('a client of %s over HTTP', (client) => {
  it.each(REVISIONS)('calls a server of %s over HTTP; it gets what was judged, and nothing of the client’s own', async (server) => {
    const one = await through(server)
    const reply = await call(one, client, { ...CALL, _meta: { ...metaOf(client), secret: 'of-the-client' } })
    expect([reply.status, saidIn(reply).includes('called \\"read_file\\"')]).toEqual([200, true])
    const [got] = one.server.of('tools/call')
    expect(one.server.of('tools/call')).toHaveLength(1)
    expect(got?.headers).toMatchObject({ authorization: 'Bearer of-the-operator', 'mcp-protocol-version': server })
    expect(got?.headers['mcp-name']).toBe(server === '2026-07-28' ? 'read_file' : undefined)
    expect(got?.message?.['params']).toMatchObject(CALL)
    for (const own of [TOKEN, 'of-the-client', 'mcp-param']) expect(one.server.everything).not.toContain(own)
  })

  it('has nothing done that is denied: the server counts', async () => {
    for (const server of REVISIONS) {
      const one = await through(server, { decide: () => 'policy_denied' })
      for (const [method, params] of [['tools/call', CALL], ['resources/read', { uri: 'file:///x' }], ['prompts/get', { name: 'p', arguments: {} }], ['completion/complete', { ref: { type: 'ref/prompt', name: 'p' }, argument: { name: 'a', value: 'b' } }]] as const) {
        expect(saidIn(await call(one, client, params as JsonObject, method))).toMatch(/policy_denied|method_unknown/)
        expect(one.server.of(method)).toEqual([])
      }
    }
  })

  it('has nothing done while the plane is gone', async () => {
    const one = await through('2026-07-28')
    expect((await call(one, client)).status).toBe(200)
    one.governed.gate.close()
    expect(saidIn(await call(one, client))).toContain('unavailable')
    expect(one.server.of('tools/call')).toHaveLength(1)
  })

  it.each(REVISIONS)('gets a large result of a server of %s unchanged', async (server) => {
    const one = await through(server)
    const text = 'é"\\\n'.repeat(1_600_000)
    one.server.onCall = (got, res) => {
      const message = { jsonrpc: '2.0', id: got.message?.['id'], result: { content: [{ type: 'text', text }], ...(server === '2026-07-28' ? { resultType: 'complete' } : {}) } }
      if (got.message?.['id'] === undefined) return false
      res.writeHead(200, { 'content-type': 'text/event-stream' }).end(`data: ${JSON.stringify(message)}\n\n`)
      return true
    }
    const reply = await call(one, client)
    expect(((reply.json['result'] as JsonObject)['content'] as { text: string }[])[0]?.text === text).toBe(true)
  })
})

describe('headers that mirror arguments', () => {
  const tools = [{ name: 'query', inputSchema: { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' } } } }]

  it('are held against them, and written anew for the server (ATK-103)', async () => {
    const one = await through('2026-07-28', { tools })
    for (const headers of [{}, { 'mcp-param-region': 'eu' }, { 'mcp-param-region': '=?base64?dXM?=' }]) {
      const reply = await one.at.alone('tools/call', { name: 'query', arguments: { region: 'us' } }, headers)
      expect([reply.status, rpcIn(reply), codeIn(reply)]).toEqual([400, -32020, 'action_mismatch'])
    }
    expect(one.server.of('tools/call')).toEqual([])
    expect(one.denials()).toEqual(['action_mismatch', 'action_mismatch', 'action_mismatch'])
    expect((await one.at.alone('tools/call', { name: 'query', arguments: { region: 'us' } }, { 'mcp-param-region': '=?base64?dXM=?=', 'mcp-param-other': 'x' })).status).toBe(200)
    expect(one.server.of('tools/call')[0]?.headers).toMatchObject({ 'mcp-param-region': 'us' })
    expect(one.server.everything).not.toContain('mcp-param-other')
  })
})

describe('a call that ends before its answer', () => {
  it('is ended at a stateless server by closing its response, when the client closes its own', async () => {
    const one = await through('2026-07-28')
    let [reached, closed] = [false, false]
    one.server.onCall = (_got, res) => {
      reached = true
      res.on('close', () => (closed = true))
      return true
    }
    const req = one.at.open('POST', { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'read_file' }, '/mcp', () => undefined, () => undefined)
    req.end(aloneBody('tools/call', CALL))
    await until(() => reached)
    req.destroy()
    await until(() => closed)
    expect(one.server.of('notifications/cancelled')).toEqual([])
  })

  it('is cancelled at a server of sessions by a message, when the client sends one', async () => {
    const one = await through('2025-11-25')
    let [reached, closed] = [false, false]
    one.server.onCall = (_got, res) => {
      reached = true
      res.on('close', () => (closed = true))
      return true
    }
    const session = await one.at.session()
    const called = one.at.inSession(session, { id: 'c', method: 'tools/call', params: CALL })
    await until(() => reached)
    await one.at.inSession(session, { method: 'notifications/cancelled', params: { requestId: 'c' } })
    await until(() => closed && one.server.of('notifications/cancelled').length === 1)
    expect((await called).text).not.toContain('result')
  })
})

describe('two principals at one gateway (ATK-101, ATK-104)', () => {
  it('share nothing that a server lets be shared: each has its own list, from a connection of its own', async () => {
    const one = await through('2026-07-28')
    for (const headers of [{}, BOB, {}, BOB]) expect((await one.at.alone('tools/list', {}, headers)).status).toBe(200)
    // The server says `cacheScope: public`; what one principal was listed, the other one asks for itself.
    expect(one.server.of('tools/list').length).toBeGreaterThanOrEqual(2)
    expect(one.server.of('server/discover').length).toBeGreaterThanOrEqual(2)
  })
})

describe('a server whose answers are for others', () => {
  it('answers nobody with them: a response ends its own request alone', async () => {
    const one = await through('2026-07-28')
    let waiting: number | undefined
    one.server.onCall = (got, res) => {
      const id = got.message?.['id'] as number
      if (waiting === undefined) {
        waiting = id
        return true // the first one waits
      }
      json(res, { jsonrpc: '2.0', id: waiting, result: { content: [{ type: 'text', text: 'crossed' }], resultType: 'complete' } })
      return true
    }
    const first = one.at.alone('tools/call', CALL, {}, 1)
    await until(() => waiting !== undefined)
    const second = await one.at.alone('tools/call', CALL, {}, 2)
    expect(second.text).not.toContain('crossed')
    expect(second.text).toContain('unavailable')
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(await Promise.race([first.then(({ text }) => text), Promise.resolve('waits')])).toBe('waits')
  })
})

function metaOf(client: string): JsonObject {
  return client === '2026-07-28' ? { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} } : {}
}
