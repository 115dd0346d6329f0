import type { ServerResponse } from 'node:http'
import type { JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { aloneBody } from './front.ts'
import { until } from './server.ts'
import { type Through, through } from './through.ts'

const CALL = { name: 'read_file', arguments: { path: '/x' } }
const event = (message: object): string => `data: ${JSON.stringify(message)}\n\n`

/** A response that is read as it comes. */
function listened(one: Through, method: string, headers: Record<string, string>, body: string | undefined): { text: () => string; messages: () => JsonObject[]; close: () => void } {
  let text = ''
  const req = one.at.open(method, headers, '/mcp', () => undefined, (res) => {
    res.on('data', (chunk: Buffer) => (text += chunk.toString()))
    res.on('error', () => undefined)
  })
  req.end(body)
  return { text: () => text, messages: () => [...text.matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data as string) as JsonObject), close: () => req.destroy() }
}

describe('what a server asks a client, over HTTP on both sides', () => {
  it('goes out on the response of the call that it is for, under a permit, and only its answer goes back', async () => {
    const one = await through('2025-11-25')
    let [response, callId] = [undefined as ServerResponse | undefined, 0]
    one.server.onCall = (got, res) => {
      response = res
      callId = got.message?.['id'] as number
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(event({ jsonrpc: '2.0', id: 'of-the-server', method: 'elicitation/create', params: { message: 'which one?', requestedSchema: { type: 'object', properties: {} } } }))
      return true
    }
    const params = { protocolVersion: '2025-11-25', capabilities: { elicitation: {} }, clientInfo: { name: 'client', version: '1' } }
    const begun = await one.at.send('POST', JSON.stringify({ jsonrpc: '2.0', id: 'init', method: 'initialize', params }))
    const session = begun.headers['mcp-session-id'] as string
    const headers = { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25' }
    const call = listened(one, 'POST', { ...headers, 'content-type': 'application/json' }, JSON.stringify({ jsonrpc: '2.0', id: 'c', method: 'tools/call', params: CALL }))
    await until(() => call.messages().length === 1)
    const [asked] = call.messages() as [JsonObject]
    expect(asked).toMatchObject({ method: 'elicitation/create', params: { message: 'which one?' } })
    expect(asked['id']).not.toBe('of-the-server')
    expect((await one.at.inSession(session, { id: asked['id'], result: { action: 'accept', content: { choice: 'this' } } })).status).toBe(202)
    await until(() => one.server.server.got.some(({ message }) => message?.['id'] === 'of-the-server'))
    const [answer] = one.server.server.got.filter(({ message }) => message?.['id'] === 'of-the-server')
    expect(answer?.message).toEqual({ jsonrpc: '2.0', id: 'of-the-server', result: { action: 'accept', content: { choice: 'this' } } })
    expect(answer?.headers).toMatchObject({ 'mcp-session-id': 'of-the-server', authorization: 'Bearer of-the-operator' })
    response?.end(event({ jsonrpc: '2.0', id: callId, result: { content: [] } }))
    await until(() => call.messages().length === 2)
    expect(call.messages()[1]).toMatchObject({ id: 'c', result: { content: [] } })
    expect(one.governed.plane.entries.filter((entry) => entry.kind === 'permit').map((entry) => entry.scope.type)).toEqual(['mcp.tool_call', 'mcp.elicitation'])
  })

  it('is not heard of where it is not permitted (ATK-094)', async () => {
    const one = await through('2025-11-25', { decide: (action) => (action['type'] === 'mcp.sampling' ? 'policy_denied' : 'permit') })
    one.server.onCall = (got, res) => {
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(event({ jsonrpc: '2.0', id: 77, method: 'sampling/createMessage', params: { messages: [], maxTokens: 1 } }))
      void until(() => one.server.server.got.some(({ message }) => message?.['id'] === 77)).then(() => res.end(event({ jsonrpc: '2.0', id: got.message?.['id'], result: { content: [] } })))
      return true
    }
    const begun = await one.at.send('POST', JSON.stringify({ jsonrpc: '2.0', id: 'init', method: 'initialize', params: { protocolVersion: '2025-11-25', capabilities: { sampling: {} }, clientInfo: { name: 'client', version: '1' } } }))
    const reply = await one.at.inSession(begun.headers['mcp-session-id'] as string, { id: 'c', method: 'tools/call', params: CALL })
    expect(reply.text).not.toContain('sampling')
    expect(reply.json).toMatchObject({ id: 'c', result: { content: [] } })
    expect(one.server.server.got.find(({ message }) => message?.['id'] === 77)?.message).toHaveProperty('error')
  })
})

describe('progress of calls, over HTTP on both sides', () => {
  it.each(['2026-07-28', '2025-11-25'] as const)('reaches the call that it is of, from a server of %s, and no other', async (revision) => {
    const one = await through(revision)
    one.server.onCall = (got, res) => {
      const [id, token] = [got.message?.['id'] as number, ((got.message?.['params'] as JsonObject)['_meta'] as JsonObject)['progressToken'] as number]
      res.writeHead(200, { 'content-type': 'text/event-stream' })
      // Its own, and one of a call that it cannot know.
      for (const progressToken of [token, token + 1, 'stranger']) res.write(event({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken, progress: 1 } }))
      setTimeout(() => res.end(event({ jsonrpc: '2.0', id, result: { content: [], ...(revision === '2026-07-28' ? { resultType: 'complete' } : {}) } })), 20)
      return true
    }
    const meta = (progressToken: string): JsonObject => ({ progressToken, 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientCapabilities': {} })
    const replies = await Promise.all(['one', 'two'].map((token) => one.at.alone('tools/call', { ...CALL, _meta: meta(token) }, {}, token)))
    for (const [index, token] of ['one', 'two'].entries()) expect([...(replies[index]?.text ?? '').matchAll(/"progressToken":"(\w+)"/g)].map(([, of]) => of)).toEqual([token])
  })
})

describe('a subscription, over HTTP on both sides', () => {
  it('is a stream of its own, which tells what was agreed to, and ends at the server when the client leaves', async () => {
    const one = await through('2026-07-28')
    let [stream, ended, id] = [undefined as ServerResponse | undefined, false, 0]
    const { script } = one.server.server
    one.server.server.script = (got, res) => {
      if (got.message?.['method'] !== 'subscriptions/listen') return script(got, res)
      stream = res
      id = got.message['id'] as number
      res.on('close', () => (ended = true))
      res.writeHead(200, { 'content-type': 'text/event-stream' }).write(event({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { _meta: { 'io.modelcontextprotocol/subscriptionId': id }, notifications: { toolsListChanged: true } } }))
    }
    const client = listened(one, 'POST', { 'content-type': 'application/json', 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' }, aloneBody('subscriptions/listen', { notifications: { toolsListChanged: true } }, 'mine'))
    await until(() => client.messages().length === 1)
    expect(client.messages()[0]).toMatchObject({ method: 'notifications/subscriptions/acknowledged', params: { _meta: { 'io.modelcontextprotocol/subscriptionId': 'mine' }, notifications: { toolsListChanged: true } } })
    stream?.write(event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed', params: { _meta: { 'io.modelcontextprotocol/subscriptionId': id } } }))
    await until(() => client.messages().length === 2)
    expect(client.messages()[1]).toMatchObject({ method: 'notifications/tools/list_changed', params: { _meta: { 'io.modelcontextprotocol/subscriptionId': 'mine' } } })
    client.close()
    await until(() => ended)
  })
})
