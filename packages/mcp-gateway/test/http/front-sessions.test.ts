import type { IncomingMessage } from 'node:http'
import { FakeClock } from '@sealwrit/gate/testing'
import type { JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import type { Asked, Reply as Told } from '../../src/client/seat.ts'
import { MAX_SESSIONS_OF_ONE, SESSION_IDLE_MS } from '../../src/client/http/sessions.ts'
import { MAX_STREAMS } from '../../src/client/http/session.ts'
import { MAX_KEPT_EVENTS } from '../../src/client/http/stream.ts'
import { codeIn, type Fronted, fronted, OK, rpcIn } from './front.ts'
import { until } from './server.ts'

const BOB = { authorization: 'Bearer token-of-bob' }

/** A stream that a client listens to; what it got so far. */
class Listened {
  text = ''
  status = 0
  ended = false
  res: IncomingMessage | undefined
  readonly #destroy: () => void

  constructor(at: Fronted, session: string, headers: Record<string, string | undefined> = {}, method = 'GET', body?: string) {
    const req = at.open(method, { accept: method === 'GET' ? 'text/event-stream' : 'application/json, text/event-stream', 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25', ...headers }, '/mcp', () => undefined, (res) => {
      this.res = res
      this.status = res.statusCode ?? 0
      res.on('data', (chunk: Buffer) => (this.text += chunk.toString()))
      res.on('end', () => (this.ended = true))
      res.on('error', () => undefined)
    })
    req.end(body)
    this.#destroy = () => req.destroy()
  }
  get messages(): JsonObject[] {
    return [...this.text.matchAll(/^data: (.+)$/gm)].map(([, data]) => JSON.parse(data as string) as JsonObject)
  }
  get ids(): string[] {
    return [...this.text.matchAll(/^id: (.+)$/gm)].map(([, id]) => id as string)
  }
  break(): void {
    this.#destroy()
  }
}

function post(at: Fronted, session: string, id: string | number, method = 'tools/call'): Listened {
  return new Listened(at, session, { 'content-type': 'application/json' }, 'POST', JSON.stringify({ jsonrpc: '2.0', id, method, params: {} }))
}

describe('a session', () => {
  it('begins with initialize, and its id is drawn here', async () => {
    const at = await fronted()
    const ids = [await at.session(), await at.session()]
    for (const id of ids) expect(id).toMatch(/^[\w-]{22}$/)
    expect(new Set(ids).size).toBe(2)
    expect(at.seats).toHaveLength(2) // nothing is shared between two sessions, not even of one principal
    const reply = await at.inSession(ids[0] as string, { id: 1, method: 'tools/call', params: {} })
    expect([reply.status, reply.json['result'], reply.headers['mcp-session-id']]).toEqual([200, { content: [], resultType: 'complete' }, ids[0]])
    expect(at.seats[0]?.asked[1]).toMatchObject({ method: 'tools/call', client: { revision: '2025-11-25', name: 'client' } })
  })

  it('cannot be chosen by a client (ATK-101)', async () => {
    const at = await fronted()
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } }
    const reply = await at.inSession('AAAAAAAAAAAAAAAAAAAAAA', { id: 1, method: 'initialize', params })
    expect([reply.status, at.reached]).toEqual([400, []])
  })

  it('is of the one revision that has them', async () => {
    const at = await fronted()
    const reply = await at.send('POST', JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'initialize', params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'c', version: '1' } } }))
    expect([reply.status, at.seats, reply.headers['mcp-session-id']]).toEqual([400, [], undefined])
    const session = await at.session()
    for (const method of ['POST', 'GET', 'DELETE']) expect((await at.send(method, method === 'POST' ? '{"jsonrpc":"2.0","id":1,"method":"ping"}' : undefined, { 'mcp-session-id': session, 'mcp-protocol-version': '2025-03-26' })).status).toBe(400)
  })

  it('is needed for whatever does not stand alone, and is as unknown to a stranger as one that is not there (ATK-099, ATK-101)', async () => {
    const at = await fronted()
    const session = await at.session()
    expect((await at.send('POST', '{"jsonrpc":"2.0","id":1,"method":"tools/list"}')).status).toBe(400)
    const asked = at.reached.length
    const seen = new Set<string>()
    for (const [id, headers] of [[session, BOB], ['AAAAAAAAAAAAAAAAAAAAAA', {}], ['AAAAAAAAAAAAAAAAAAAAAA', BOB], [`${session}x`, {}]] as const) {
      for (const message of [{ id: 1, method: 'tools/call' }, { method: 'notifications/initialized' }, { id: 1, result: {} }]) {
        const reply = await at.inSession(id, message, headers)
        expect(reply.status).toBe(404)
        seen.add(reply.text.replace('"id":1', '"id":null'))
      }
      for (const method of ['GET', 'DELETE']) expect((await at.send(method, undefined, { 'mcp-session-id': id, ...headers })).status).toBe(404)
    }
    expect(seen.size).toBe(1)
    expect(at.codes.filter((code) => code === 'subject_mismatch')).toHaveLength(5)
    expect([at.reached.length, at.seats[0]?.closed]).toEqual([asked, undefined])
  })

  it('ends when its client says so, and when its seat does', async () => {
    const at = await fronted()
    const [one, two] = [await at.session(), await at.session()]
    expect((await at.send('DELETE', undefined, { 'mcp-session-id': one })).status).toBe(204)
    expect(at.seats[0]?.closed).toBe('ended by the client')
    const listened = new Listened(at, two)
    await until(() => listened.status === 200)
    at.seats[1]?.port.ended('the server is gone')
    await until(() => listened.ended)
    expect(at.lost).toEqual(['the server is gone'])
    for (const id of [one, two]) expect((await at.inSession(id, { id: 1, method: 'tools/list' })).status).toBe(404)
  })

  it('is one of as many as a principal may have, and another principal has its own', async () => {
    const at = await fronted()
    const sessions: string[] = []
    for (let i = 0; i < MAX_SESSIONS_OF_ONE; i++) sessions.push(await at.session())
    await expect(at.session()).rejects.toThrow('429')
    expect(at.codes).toEqual(['overloaded'])
    expect(await at.session('token-of-bob')).toBeTruthy()
    await at.send('DELETE', undefined, { 'mcp-session-id': sessions[0] as string })
    expect(await at.session()).toBeTruthy()
  })

  it('is over when nobody used it for too long, unless somebody listens', async () => {
    const clock = new FakeClock()
    const at = await fronted(() => OK, { clock })
    const [left, used, heard] = [await at.session(), await at.session(), await at.session()]
    const listened = new Listened(at, heard)
    await until(() => listened.status === 200)
    clock.advance(SESSION_IDLE_MS - 60_000)
    expect((await at.inSession(used, { id: 1, method: 'ping' })).status).toBe(200)
    clock.advance(180_000)
    expect(at.seats.map(({ closed }) => closed)).toEqual(['not used for too long', undefined, undefined])
    expect((await at.inSession(left, { id: 1, method: 'ping' })).status).toBe(404)
    expect(listened.text).toContain(':\n\n') // it was kept alive meanwhile
  })

  it('takes an id once (ATK-096)', async () => {
    let go: () => void = () => undefined
    const at = await fronted(() => new Promise((resolve) => (go = () => resolve(OK))))
    const session = await at.session()
    const first = at.inSession(session, { id: 5, method: 'tools/call' })
    await until(() => at.reached.length === 2)
    const again = await at.inSession(session, { id: 5, method: 'tools/call' })
    expect([again.status, codeIn(again)]).toEqual([400, 'request_malformed'])
    go()
    expect((await first).status).toBe(200)
    expect((await at.inSession(session, { id: 5, method: 'tools/call' })).status).toBe(400)
    expect(at.reached.filter((method) => method === 'tools/call')).toHaveLength(1)
  })

  it('answers a request that its client did not wait for, and does not take it for cancelled', async () => {
    let asked: Asked | undefined
    let go: () => void = () => undefined
    const at = await fronted((of) => {
      asked = of
      return new Promise((resolve) => (go = () => resolve(OK)))
    })
    const session = await at.session()
    const stream = post(at, session, 1)
    await until(() => asked !== undefined)
    asked?.notify('notifications/progress', { progressToken: 1, progress: 1 })
    await until(() => stream.messages.length === 1)
    stream.break()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(asked?.signal.aborted).toBe(false)
    go()
    await new Promise((resolve) => setTimeout(resolve, 5))
    const resumed = new Listened(at, session, { 'last-event-id': stream.ids.at(-1) })
    await until(() => resumed.ended)
    expect(resumed.messages).toEqual([{ id: 1, jsonrpc: '2.0', result: { content: [], resultType: 'complete' } }])
    // The same once more: it is kept, and the same.
    const again = new Listened(at, session, { 'last-event-id': stream.ids[0] })
    await until(() => again.ended)
    expect(again.messages).toHaveLength(2)
  })

  it('resumes a stream for who it was of, with an id of that very stream (ATK-099)', async () => {
    const at = await fronted((asked) => {
      asked.notify('notifications/message', { level: 'info', data: `secret of ${String(asked.id)}` })
      return OK
    })
    const [session, bobs] = [await at.session(), await at.session('token-of-bob')]
    const stream = post(at, session, 1)
    await until(() => stream.ended)
    const id = stream.ids[0] as string
    expect(id).toMatch(/^[\w-]{22}\.0$/)
    const token = id.split('.', 1)[0] as string
    for (const [of, event, headers] of [[session, id, BOB], [bobs, id, BOB], [bobs, id, {}], [session, `${token}.3`, {}], [session, `${token}.-1`, {}], [session, token, {}], [session, 'AAAAAAAAAAAAAAAAAAAAAA.0', {}], [session, `${token}.0 `.repeat(99), {}]] as const) {
      const stranger = new Listened(at, of, { 'last-event-id': event.trim(), ...headers })
      await until(() => stranger.status !== 0)
      expect(stranger.status).toBe(404)
      expect(stranger.text).not.toContain('secret')
    }
    const own = new Listened(at, session, { 'last-event-id': id })
    await until(() => own.ended)
    expect(own.text).toContain('secret of 1')
  })

  it.each([-1, 0, 1])('keeps %i events more than it keeps at most', async (more) => {
    const count = MAX_KEPT_EVENTS - 1 + more // and the answer
    const at = await fronted((asked) => {
      for (let i = 0; i < count; i++) asked.notify('notifications/progress', { progressToken: 1, progress: i })
      return OK
    })
    const session = await at.session()
    const stream = post(at, session, 1)
    await until(() => stream.ended)
    const resumed = new Listened(at, session, { 'last-event-id': stream.ids[0] })
    await until(() => resumed.status !== 0)
    expect(resumed.status).toBe(more > 0 ? 404 : 200)
  })

  it('keeps the newest of very many streams', async () => {
    const at = await fronted((asked) => {
      asked.notify('notifications/progress', {})
      return OK
    })
    const session = await at.session()
    const streams: Listened[] = []
    for (let i = 0; i <= MAX_STREAMS; i++) {
      const stream = post(at, session, i)
      streams.push(stream)
      await until(() => stream.ended)
    }
    const [oldest, next] = [new Listened(at, session, { 'last-event-id': streams[0]?.ids[0] }), new Listened(at, session, { 'last-event-id': streams[1]?.ids[0] })]
    await until(() => oldest.status !== 0 && next.status !== 0)
    expect([oldest.status, next.status]).toEqual([404, 200])
  })

  it('takes a request back when it is told to, and answers it no more', async () => {
    let asked: Asked | undefined
    const at = await fronted((of) => {
      asked = of
      return new Promise((resolve) => of.signal.addEventListener('abort', () => resolve(OK)))
    })
    const session = await at.session()
    const stream = post(at, session, 'x')
    await until(() => asked !== undefined)
    expect((await at.inSession(session, { method: 'notifications/cancelled', params: { requestId: 'y' } })).status).toBe(202)
    expect(asked?.signal.aborted).toBe(false)
    expect((await at.inSession(session, { method: 'notifications/cancelled', params: { requestId: 'x' } })).status).toBe(202)
    await until(() => stream.ended)
    expect([asked?.signal.aborted, stream.messages]).toEqual([true, []])
  })

  it('tells on its own stream what belongs to no request, the newest listener alone', async () => {
    const at = await fronted()
    const session = await at.session()
    at.seats[0]?.port.notify('notifications/tools/list_changed', {})
    const first = new Listened(at, session)
    await until(() => first.status === 200)
    const second = new Listened(at, session, { 'last-event-id': `${first.ids[0]?.split('.', 1)[0]}.0` })
    await until(() => second.messages.length === 1 && first.ended)
    at.seats[0]?.port.notify('notifications/prompts/list_changed', {})
    await until(() => second.messages.length === 2)
    expect(first.messages).toEqual([])
  })
})

describe('what a client is asked in turn', () => {
  it('goes out on the stream of the request that it is for, and its answer is matched to it', async () => {
    let told: Told | undefined
    const at = await fronted(async (asked) => {
      told = await asked.ask?.('sampling/createMessage', { messages: [] }, AbortSignal.timeout(2_000))
      return OK
    })
    const session = await at.session()
    const stream = post(at, session, 1)
    await until(() => stream.messages.length === 1)
    expect(stream.messages[0]).toMatchObject({ method: 'sampling/createMessage' })
    const id = stream.messages[0]?.['id'] as number
    // Another session, another principal, another id: none of them answers it (ATK-095, ATK-101).
    const bobs = await at.session('token-of-bob')
    expect((await at.inSession(bobs, { id, result: { stolen: true } }, BOB)).status).toBe(400)
    expect((await at.inSession(session, { id, result: { stolen: true } }, BOB)).status).toBe(404)
    const wrong = await at.inSession(session, { id: id + 1, result: {} })
    expect([wrong.status, rpcIn(wrong)]).toEqual([400, -32601])
    expect(told).toBeUndefined()
    expect((await at.inSession(session, { id, result: { role: 'assistant' } })).status).toBe(202)
    await until(() => stream.ended)
    expect(told).toEqual({ result: { role: 'assistant' } })
    expect((await at.inSession(session, { id, result: {} })).status).toBe(400) // once
  })

  it('is taken back when nobody waits for it any more, and refused when nobody listens', async () => {
    const controller = new AbortController()
    const failures: unknown[] = []
    const at = await fronted(async (asked) => {
      await asked.ask?.('elicitation/create', {}, controller.signal).catch((error: unknown) => failures.push(error))
      return OK
    })
    const session = await at.session()
    await at.seats[0]?.port.ask('roots/list', {}, controller.signal).catch((error: unknown) => failures.push(error))
    expect(failures).toHaveLength(1)
    const stream = post(at, session, 1)
    await until(() => stream.messages.length === 1)
    controller.abort()
    await until(() => stream.ended)
    expect(stream.messages[1]).toEqual({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 1, reason: 'ended by the gate' } })
    expect(failures).toHaveLength(2)
  })

  it('over the stream of its own where it is for no request', async () => {
    const at = await fronted()
    const session = await at.session()
    const listened = new Listened(at, session)
    await until(() => listened.status === 200)
    const told = at.seats[0]?.port.ask('roots/list', {}, AbortSignal.timeout(2_000))
    await until(() => listened.messages.length === 1)
    await at.inSession(session, { id: listened.messages[0]?.['id'], error: { code: -32601, message: 'no' } })
    expect(await told).toEqual({ error: { code: -32601, message: 'no' } })
  })
})

describe('many clients at one listener', () => {
  it('cross in none of 10 000 interleaved calls of two (ATK-101)', async () => {
    const at = await fronted(async (asked, { guest }) => {
      if (Number(asked.id) % 3 === 0) await new Promise((resolve) => setImmediate(resolve))
      if (Number(asked.id) % 7 === 0) asked.notify('notifications/progress', { of: guest.principal, id: asked.id as number })
      return { member: 'result', text: JSON.stringify({ id: asked.id, of: guest.principal }) }
    })
    const sessions = { ann: await at.session(), bob: await at.session('token-of-bob') }
    let wrong = 0
    let done = 0
    const client = async (who: 'ann' | 'bob', from: number): Promise<void> => {
      for (let id = from; id <= 5_000; id += 10) {
        const reply = await at.inSession(sessions[who], { id, method: 'tools/call', params: {} }, who === 'bob' ? BOB : {})
        const said = reply.json['result'] as JsonObject | undefined
        if (reply.status !== 200 || reply.json['id'] !== id || said?.['id'] !== id || said['of'] !== who || (reply.text.includes('progress') && !reply.text.includes(`"of":"${who}"`))) wrong++
        done++
      }
    }
    await Promise.all((['ann', 'bob'] as const).flatMap((who) => Array.from({ length: 10 }, (_, i) => client(who, i + 1))))
    expect([done, wrong]).toEqual([10_000, 0])
  }, 60_000)
})
