import * as net from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { MAX_SERVER_LINE } from '@sealwrit/mcp-gateway'
import { SESSIONS, STATELESS } from '../../src/revision.ts'
import type { Route } from '../../src/server/link.ts'
import { json, Linked, type Script, ScriptedServer, until } from './server.ts'

const servers: ScriptedServer[] = []
const links: Linked[] = []
afterEach(async () => {
  for (const { link } of links.splice(0)) link.close('the test ends')
  for (const server of servers.splice(0)) await server.close()
})

async function linked(script: Script, headers?: () => Record<string, string>): Promise<{ server: ScriptedServer; at: Linked }> {
  const server = new ScriptedServer(script)
  servers.push(server)
  const at = new Linked(await server.listen(), headers)
  links.push(at)
  return { server, at }
}

function request(id: number, method = 'tools/call', route: Partial<Route> = {}): [string, Route] {
  return [JSON.stringify({ jsonrpc: '2.0', id, method, params: {} }), { revision: STATELESS, id, method, ...route }]
}
const result = (id: number): object => ({ jsonrpc: '2.0', id, result: {} })
const sse = { 'content-type': 'text/event-stream' }

describe('a server over HTTP that wants to exhaust the gateway', () => {
  const session = (id: number, method: string): [string, Route] => request(id, method, { revision: SESSIONS })

  it('is left when it does not take what it is told', async () => {
    const { at } = await linked(() => undefined)
    for (let i = 0; i < 512; i++) at.link.send(JSON.stringify({ jsonrpc: '2.0', id: i, result: {} }), { revision: SESSIONS })
    expect(at.closed).toBeUndefined()
    at.link.send('{"jsonrpc":"2.0","id":512,"result":{}}', { revision: SESSIONS })
    expect(at.closed).toContain('does not take')
  })

  it('is not asked again on a stream whose answer came, whatever comes after it', async () => {
    const { server, at } = await linked((got, res) => {
      res.writeHead(200, sse)
      if (got.method === 'POST') res.write(`data: ${JSON.stringify(result(1))}\n\n`)
      res.end('id: e\nretry: 50\ndata: {"jsonrpc":"2.0","method":"notifications/message","params":{}}\n\n')
    })
    at.link.send(...session(1, 'tools/call'))
    await until(() => at.answered.has(1))
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(server.got.map(({ method }) => method)).toEqual(['POST'])
  })
})

describe('a server over HTTP, stateless', () => {
  it('gets each request as a POST of its own, whose headers say what it says', async () => {
    const { server, at } = await linked((got, res) => json(res, result(Number(got.message?.['id']))), () => ({ authorization: 'Bearer of-the-operator' }))
    at.link.send(...request(1, 'tools/call', { name: 'läs', mirrored: new Map([['Region', 'us'], ['Text', ' x\r\nEvil: y']]) }))
    await until(() => at.answered.has(1))
    expect(server.got).toHaveLength(1)
    expect(server.got[0]?.method).toBe('POST')
    expect(server.got[0]?.headers).toMatchObject({
      'content-type': 'application/json', accept: 'application/json, text/event-stream', authorization: 'Bearer of-the-operator',
      'mcp-protocol-version': STATELESS, 'mcp-method': 'tools/call', 'mcp-name': '=?base64?bMOkcw==?=', 'mcp-param-region': 'us', 'mcp-param-text': '=?base64?IHgNCkV2aWw6IHk=?=',
    })
    expect(server.got[0]?.headers).not.toHaveProperty('mcp-session-id')
    expect(server.got[0]?.headers).not.toHaveProperty('evil')
  })

  it('answers in JSON or in a stream, and each message is tied to the request that it came for', async () => {
    const { at } = await linked((got, res) => {
      const id = Number(got.message?.['id'])
      if (id === 1) return json(res, result(1))
      res.writeHead(200, sse).write(`: hello\r\n\r\ndata: {"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":${id}}}\n\n`)
      res.end(`event: message\ndata: ${JSON.stringify(result(id))}\n\n`)
    })
    for (const id of [1, 2, 3]) at.link.send(...request(id))
    await until(() => at.answered.size === 3)
    expect(at.messages.filter(({ message }) => 'method' in message).map(({ message, answers }) => [(message['params'] as { progressToken: number }).progressToken, answers])).toEqual(expect.arrayContaining([[2, 2], [3, 3]]))
    expect(at.failures.size).toBe(0)
  })

  it('cannot answer another request than the one that it is asked with', async () => {
    const { at } = await linked((_got, res) => json(res, result(1)))
    at.link.send(...request(2))
    await until(() => at.failures.has(2))
    expect(at.messages).toEqual([{ message: result(1), answers: 2 }])
  })

  it('sees a response closed when nobody waits for it any more, and no message about it', async () => {
    let closed = false
    const { server, at } = await linked((_got, res) => {
      res.writeHead(200, sse).write(': open\n\n')
      res.on('close', () => (closed = true))
    })
    at.link.send(...request(1))
    await until(() => server.got.length === 1)
    at.link.send('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}', { revision: STATELESS, method: 'notifications/cancelled' })
    at.link.drop(1)
    await until(() => closed)
    expect(server.got).toHaveLength(1)
    expect(at.failures.size).toBe(0)
  })

  it('is not waited for when a request is dropped before it was answered at all', async () => {
    let closed = false
    const { server, at } = await linked((_got, res) => void res.on('close', () => (closed = true)))
    at.link.send(...request(1))
    await until(() => server.got.length === 1)
    at.link.drop(1)
    await until(() => closed)
  })

  it('is followed nowhere else', async () => {
    const { server, at } = await linked((_got, res) => void res.writeHead(307, { location: '/mcp' }).end())
    at.link.send(...request(1))
    await until(() => at.failures.has(1))
    expect(at.failures.get(1)?.message).toContain('redirect')
    expect(server.got).toHaveLength(1)
  })

  it.each<[string, Script, string]>([
    ['another type', (_got, res) => void res.writeHead(200, { 'content-type': 'text/html' }).end('<p>'), 'neither JSON nor an event stream'],
    ['no type', (_got, res) => void res.writeHead(200).end('{}'), 'neither'],
    ['two types', (_got, res) => void res.writeHead(200, [['content-type', 'application/json'], ['content-type', 'text/event-stream']] as never).end('{}'), 'two'],
    ['an encoding', (_got, res) => void res.writeHead(200, { 'content-type': 'application/json', 'content-encoding': 'gzip' }).end('{}'), 'encoding'],
    ['202 without an answer', (_got, res) => void res.writeHead(202).end(), 'answered nothing'],
    ['an empty stream', (_got, res) => void res.writeHead(200, sse).end(), 'without an answer'],
    ['a connection that ends', (_got, res) => void res.destroy(), 'cannot be reached, or broke off'],
    ['a body that breaks off', (_got, res) => {
      res.writeHead(200, { 'content-type': 'application/json', 'content-length': '100' }).write('{"a"')
      setTimeout(() => res.destroy(), 20)
    }, 'broke off'],
    ['large headers', (_got, res) => void res.writeHead(200, { 'content-type': 'application/json', x: 'x'.repeat(20_000) }).end('{}'), 'broke off'],
    ['a stranger’s error', (_got, res) => json(res, { jsonrpc: '2.0', id: null, error: { code: -32000, message: 'Bad Request' } }, {}, 400), 'HTTP 400'],
    ['an error of another request', (_got, res) => json(res, { jsonrpc: '2.0', id: 7, error: { code: -32000, message: 'no' } }, {}, 400), 'HTTP 400'],
    ['401', (_got, res) => void res.writeHead(401, { 'www-authenticate': 'Bearer resource_metadata="http://169.254.169.254/"' }).end(), '--header-file'],
    ['429', (_got, res) => void res.writeHead(429).end(), 'HTTP 429'],
  ])('fails a request alone when it answers with %s', async (_what, script, why) => {
    const { server, at } = await linked(script)
    at.link.send(...request(1))
    await until(() => at.failures.has(1))
    expect(at.failures.get(1)?.message).toContain(why)
    expect(at.closed).toBeUndefined()
    server.script = (got, res) => json(res, result(Number(got.message?.['id'])))
    at.link.send(...request(2))
    await until(() => at.answered.has(2))
    expect(server.got).toHaveLength(2)
  })

  it('refuses with an error status whose body answers this very request', async () => {
    const { at } = await linked((got, res) => json(res, { jsonrpc: '2.0', id: got.message?.['id'], error: { code: -32601, message: 'no such method' } }, {}, 404))
    at.link.send(...request(5))
    await until(() => at.answered.has(5))
    expect(at.closed).toBeUndefined()
  })

  it.each([-1, 0, 1])('may send a message of its longest size and %i bytes', async (more) => {
    const text = (id: number, size: number): string => `{"jsonrpc":"2.0","id":${id},"result":{"x":"${'x'.repeat(size - 42)}"}}`
    expect(text(1, 100)).toHaveLength(100)
    const { at } = await linked((got, res) => {
      const id = Number(got.message?.['id'])
      if (id === 1) return void res.writeHead(200, { 'content-type': 'application/json' }).end(text(1, MAX_SERVER_LINE + more))
      res.writeHead(200, sse).end(`data: ${text(2, MAX_SERVER_LINE + more)}\n\n`)
    })
    at.link.send(...request(1))
    at.link.send(...request(2))
    await until(() => at.answered.size + at.failures.size === 2, 10_000)
    expect([...at.failures.values()].map(({ code }) => code)).toEqual(more > 0 ? ['limit_exceeded', 'limit_exceeded'] : [])
  })

  it('is read no further when it floods what nobody asked for', async () => {
    const { at } = await linked((_got, res) => {
      res.writeHead(200, { 'content-type': 'text/plain' })
      const flood = (): void => {
        while (!res.destroyed && res.write('x'.repeat(65_536)));
        res.once('drain', flood)
      }
      flood()
    })
    at.link.send('{"jsonrpc":"2.0","method":"notifications/x"}', { revision: STATELESS, method: 'notifications/x' })
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(at.closed).toBeUndefined()
  })

  it('is ended at once, with everything that waits', async () => {
    let closed = 0
    const { server, at } = await linked((_got, res) => void res.on('close', () => closed++))
    for (let id = 1; id <= 5; id++) at.link.send(...request(id))
    await until(() => server.got.length === 5)
    at.link.kill('it runs what may not run')
    await until(async () => closed === 5 && (await server.connections) === 0)
    expect(at.closed).toBeUndefined() // who ended it knows
  })

  it('makes the gateway go nowhere by what it answers (ATK-098, ATK-102)', async () => {
    const trap = new ScriptedServer((_got, res) => json(res, {}))
    servers.push(trap)
    const there = await trap.listen()
    const statuses = [200, 301, 302, 303, 307, 308, 401, 402, 403, 407, 421, 426, 503]
    const { at } = await linked((got, res) => {
      res.writeHead(statuses[Number(got.message?.['id']) - 1] ?? 500, { location: there, refresh: `0; url=${there}`, link: `<${there}>; rel=preload`, 'alt-svc': `h2="${new URL(there).host}"`, 'www-authenticate': `Bearer resource_metadata="${there}", authorization_uri="${there}"`, 'content-location': there, 'content-type': 'text/html', 'proxy-authenticate': 'Basic' })
      res.end(`<meta http-equiv="refresh" content="0;url=${there}">`)
    })
    for (let id = 1; id <= statuses.length; id++) at.link.send(...request(id))
    await until(() => at.failures.size === statuses.length)
    expect(trap.got).toEqual([])
    for (const denied of at.failures.values()) expect(denied.message).not.toContain(there)
  })

  it('that nobody serves fails at once', async () => {
    const at = new Linked(`http://127.0.0.1:${await freePort()}/mcp`)
    links.push(at)
    at.link.send(...request(1))
    await until(() => at.failures.has(1))
    expect(at.failures.get(1)?.message).toContain('ECONNREFUSED')
  })
})

describe('a server over HTTP, in sessions', () => {
  const route = (method: string, id?: number): Route => ({ revision: SESSIONS, method, ...(id === undefined ? {} : { id }) })
  const initialize = (at: Linked, id = 1): void => at.link.send(JSON.stringify({ jsonrpc: '2.0', id, method: 'initialize', params: {} }), route('initialize', id))
  const initialized = (at: Linked): void => at.link.send('{"jsonrpc":"2.0","method":"notifications/initialized"}', route('notifications/initialized'))
  const call = (at: Linked, id: number): void => at.link.send(JSON.stringify({ jsonrpc: '2.0', id, method: 'tools/call', params: {} }), route('tools/call', id))

  /** An honest server; `other` does what is not said here. */
  function session(other: Script): Script {
    return (got, res) => {
      if (got.message?.['method'] === 'initialize') return json(res, result(Number(got.message['id'])), { 'mcp-session-id': 'session-1' })
      if (got.message?.['method'] === 'notifications/initialized') return void res.writeHead(202).end()
      other(got, res)
    }
  }

  async function begun(other: Script): Promise<{ server: ScriptedServer; at: Linked }> {
    const both = await linked(session(other))
    initialize(both.at)
    await until(() => both.at.answered.has(1))
    initialized(both.at)
    return both
  }

  it('gets its session id and the revision back with everything after the first request', async () => {
    const { server, at } = await begun((got, res) => (got.method === 'GET' ? void res.writeHead(405).end() : json(res, result(Number(got.message?.['id'])))))
    call(at, 2)
    await until(() => at.answered.has(2))
    expect(server.got[0]?.headers).not.toHaveProperty('mcp-session-id')
    expect(server.got[0]?.headers).not.toHaveProperty('mcp-protocol-version')
    for (const { headers } of server.got.slice(1)) expect(headers).toMatchObject({ 'mcp-session-id': 'session-1', 'mcp-protocol-version': SESSIONS })
    expect(server.got.map(({ method }) => method)).toEqual(expect.arrayContaining(['GET']))
    expect(server.got.at(-1)?.headers).not.toHaveProperty('mcp-method')
  })

  it('is asked nothing before it took its initialization', async () => {
    const order: string[] = []
    const { at } = await linked((got, res) => {
      const method = String(got.message?.['method'])
      order.push(`${method} begins`)
      setTimeout(() => {
        order.push(`${method} ends`)
        if (method === 'tools/call') json(res, result(2))
        else res.writeHead(202).end()
      }, method === 'tools/call' ? 0 : 50)
    })
    initialized(at)
    call(at, 2)
    await until(() => at.answered.has(2))
    expect(order.filter((what) => !what.startsWith('undefined'))).toEqual(['notifications/initialized begins', 'notifications/initialized ends', 'tools/call begins', 'tools/call ends'])
  })

  it('tells on its stream what belongs to no request, and is resumed where it broke', async () => {
    let gets = 0
    const { server, at } = await begun((_got, res) => {
      gets++
      res.writeHead(200, sse)
      if (gets > 2) return void res.write(': open\n\n')
      res.end(`retry: 50\nid: e${gets}\ndata: {"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n\n`)
    })
    await until(() => gets === 3)
    expect(server.got.filter(({ method }) => method === 'GET').map(({ headers }) => headers['last-event-id'])).toEqual([undefined, 'e1', 'e2'])
    expect(at.messages.filter(({ message }) => 'method' in message).map(({ answers }) => answers)).toEqual([undefined, undefined])
  })

  it('answers on a resumed stream what broke off, and only once it was asked again with the id of its last event', async () => {
    const { server, at } = await begun((got, res) => {
      if (got.method === 'GET' && got.headers['last-event-id'] === undefined) return void res.writeHead(405).end()
      res.writeHead(200, sse)
      if (got.method === 'POST') return void res.write('retry: 50\nid: a\ndata:\n\nid: b\ndata: {"jsonrpc":"2.0","method":"notifications/message"}\n\n', () => res.destroy())
      res.end(`id: c\ndata: ${JSON.stringify(result(2))}\n\n`)
    })
    call(at, 2)
    await until(() => at.answered.has(2))
    expect(server.got.filter(({ method, headers }) => method === 'GET' && headers['last-event-id'] !== undefined).map(({ headers }) => headers['last-event-id'])).toEqual(['b'])
    expect(server.got.filter(({ message }) => message?.['method'] === 'tools/call')).toHaveLength(1) // never sent twice
    expect(at.messages.at(-1)?.answers).toBe(2)
  })

  it('is not resumed without an event id, after the answer, or for ever', async () => {
    let gets = 0
    const { at } = await begun((got, res) => {
      if (got.method === 'GET' && got.headers['last-event-id'] === undefined) return void res.writeHead(405).end()
      if (got.method === 'GET') gets++
      res.writeHead(200, sse)
      const id = got.message?.['id']
      if (id === 2) res.end('data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n')
      else if (id === 3) res.end(`id: x\ndata: ${JSON.stringify(result(3))}\n\n`)
      else res.end('retry: 0\nid: same\n\n')
    })
    call(at, 2)
    call(at, 3)
    await until(() => at.failures.has(2) && at.answered.has(3))
    expect(gets).toBe(0)
    call(at, 4)
    await until(() => at.failures.has(4), 5_000)
    expect(gets).toBe(20)
  })

  it('is over when it says that it does not know the session, and said goodbye to when we end it', async () => {
    const { server, at } = await begun((got, res) => (got.method === 'DELETE' ? void res.writeHead(204).end() : void res.writeHead(got.method === 'GET' ? 405 : 404).end()))
    call(at, 2)
    await until(() => at.closed !== undefined)
    expect(at.closed).toBe('the server ended the session')
    expect(at.failures.get(2)?.code).toBe('unavailable')
    expect(server.got.some(({ method }) => method === 'DELETE')).toBe(false)

    const other = await begun((got, res) => (got.method === 'DELETE' ? void res.writeHead(204).end() : void res.writeHead(405).end()))
    other.at.link.close('done')
    await until(() => other.server.got.some(({ method, headers }) => method === 'DELETE' && headers['mcp-session-id'] === 'session-1'))
    await until(async () => (await other.server.connections) === 0)
    other.at.link.send(...request(9))
    await until(() => other.at.failures.has(9))
  })

  it.each(['bad id', 'ä', 'x'.repeat(513)])('has no session of the id %j', async (id) => {
    const { at } = await linked((got, res) => json(res, result(Number(got.message?.['id'])), { 'mcp-session-id': encodeURI(id) === id || id === 'bad id' ? id : '\xe4' }))
    initialize(at)
    await until(() => at.failures.has(1))
  })

  it('gets answers to what it asked, and the cancellation of a call, as messages', async () => {
    const { server, at } = await begun((got, res) => void res.writeHead(got.method === 'GET' ? 405 : 202).end())
    at.link.send('{"jsonrpc":"2.0","id":"s1","result":{}}', { revision: SESSIONS })
    at.link.send('{"jsonrpc":"2.0","method":"notifications/cancelled"}', route('notifications/cancelled'))
    await until(() => server.got.filter(({ method }) => method === 'POST').length === 4)
    expect(server.got.every(({ headers }) => headers['mcp-method'] === undefined)).toBe(true)
  })
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo
      server.close(() => resolve(port))
    })
  })
}
