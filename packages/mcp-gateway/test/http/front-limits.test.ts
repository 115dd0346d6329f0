import fc from 'fast-check'
import { FakeClock } from '@sealwrit/gate/testing'
import { Denied } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { MAX_REFUSALS } from '../../src/client/refusals.ts'
import { MAX_UNDER_WAY } from '../../src/client/http/session.ts'
import { MAX_SEATS, SEAT_IDLE_MS } from '../../src/client/http/stateless.ts'
import { STREAM_AFTER_MS } from '../../src/client/http/exchange.ts'
import { KEEP_ALIVE_MS, MAX_UNREAD_BYTES } from '../../src/client/http/stream.ts'
import type { Answer } from '../../src/client/seat.ts'
import { aloneBody, fronted, OK, TOKEN } from './front.ts'
import { until } from './server.ts'

const HEADERS = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'a' }
const BODY = aloneBody('tools/call', { name: 'a' })
/** Everybody is who they say: for many principals. */
const anybody = async (authorization: string | undefined): Promise<{ principal: string }> => ({ principal: authorization ?? '' })

describe('a long answer', () => {
  it('is awaited on a stream that says that it is alive, and not before', async () => {
    const clock = new FakeClock()
    let go: (answer: Answer) => void = () => undefined
    const at = await fronted(() => new Promise((resolve) => (go = resolve)), { clock })
    let [status, text] = [0, '']
    const req = at.open('POST', HEADERS, '/mcp', () => undefined, (res) => {
      status = res.statusCode ?? 0
      res.on('data', (chunk: Buffer) => (text += chunk.toString()))
    })
    req.end(BODY)
    await until(() => at.reached.length === 1)
    clock.advance(STREAM_AFTER_MS - 1)
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(status).toBe(0)
    clock.advance(1)
    await until(() => status === 200)
    for (let i = 1; i <= 3; i++) {
      clock.advance(KEEP_ALIVE_MS)
      await until(() => text === ':\n\n'.repeat(i))
    }
    go(OK)
    await until(() => text.endsWith('{"id":1,"jsonrpc":"2.0","result":{"content":[],"resultType":"complete"}}\n\n'))
  })
})

describe('a client that does not read', () => {
  it('is left when too much waits for it, and its request is taken back', async () => {
    let aborted = false
    const megabyte = 'x'.repeat(1_048_576)
    const at = await fronted(async (asked) => {
      asked.signal.addEventListener('abort', () => (aborted = true))
      for (let i = 0; i < 200 && !aborted; i++) {
        asked.notify('notifications/message', { data: megabyte })
        await new Promise((resolve) => setImmediate(resolve))
      }
      return OK
    })
    const req = at.open('POST', HEADERS, '/mcp', () => undefined, (res) => res.pause())
    req.end(BODY)
    await until(() => aborted, 10_000)
    expect(MAX_UNREAD_BYTES).toBeLessThan(64 * 1_048_576)
  })
})

describe('too much at once', () => {
  it.each([-1, 0, 1])('is refused: %i requests more than may be under way of one principal', async (more) => {
    const waiting: ((answer: Answer) => void)[] = []
    const at = await fronted(() => new Promise((resolve) => waiting.push(resolve)))
    const replies = Array.from({ length: MAX_UNDER_WAY + more }, () => at.send('POST', BODY, HEADERS))
    await until(() => waiting.length === MAX_UNDER_WAY + Math.min(more, 0), 10_000)
    if (more > 0) await until(() => at.codes.length === 1)
    expect((await at.send('POST', BODY, { ...HEADERS, authorization: 'Bearer token-of-bob', 'mcp-method': 'x', 'mcp-name': 'a' })).status).toBe(400) // others are served meanwhile
    for (const resolve of waiting) resolve(OK)
    const statuses = (await Promise.all(replies)).map(({ status, headers }) => `${status} ${headers['retry-after'] ?? ''}`)
    expect(statuses.filter((status) => status === '429 1')).toHaveLength(Math.max(more, 0))
    expect(at.codes.filter((code) => code === 'overloaded')).toHaveLength(Math.max(more, 0))
  }, 30_000)

  it('of principals: the one that nobody used for longest makes place, and none that is in use', async () => {
    const clock = new FakeClock()
    const waiting: ((answer: Answer) => void)[] = []
    let holds = false
    const at = await fronted(() => (holds ? new Promise((resolve) => waiting.push(resolve)) : OK), { clock, authorize: anybody })
    for (let i = 0; i < MAX_SEATS; i++) {
      clock.advance(1)
      expect((await at.send('POST', BODY, { ...HEADERS, authorization: `p${i}` })).status).toBe(200)
    }
    expect((await at.send('POST', BODY, { ...HEADERS, authorization: 'one-more' })).status).toBe(200)
    expect(at.seats[0]?.closed).toBe('others need its place')
    expect(at.seats.filter(({ closed }) => closed !== undefined)).toHaveLength(1)
    holds = true
    const busy = Array.from({ length: MAX_SEATS }, (_, i) => at.send('POST', BODY, { ...HEADERS, authorization: i === 0 ? 'one-more' : `p${i}` }))
    await until(() => waiting.length === MAX_SEATS, 10_000)
    expect((await at.send('POST', BODY, { ...HEADERS, authorization: 'yet-another' })).status).toBe(429)
    for (const resolve of waiting) resolve(OK)
    await Promise.all(busy)
    clock.advance(SEAT_IDLE_MS + 60_000)
    expect(at.seats.every(({ closed }) => closed !== undefined)).toBe(true)
  }, 30_000)

  it('of refusals: they are answered as ever, and fill no log', async () => {
    const clock = new FakeClock()
    const at = await fronted(() => OK, { clock })
    for (let i = 0; i < MAX_REFUSALS + 5; i++) expect((await at.send('GET', undefined, { host: 'evil.example' })).status).toBe(403)
    expect(at.codes).toHaveLength(MAX_REFUSALS + 1)
    expect([at.codes.at(-2), at.codes.at(-1)]).toEqual(['origin_forbidden', 'overloaded'])
    clock.advance(60_000)
    await at.send('GET', undefined, { host: 'evil.example' })
    expect(at.codes.at(-1)).toBe('origin_forbidden')
  }, 30_000)
})

describe('when its seat breaks', () => {
  it('a client gets an answer all the same, and no word of why', async () => {
    const at = await fronted(() => Promise.reject(new Error('secret /srv/path')))
    for (const reply of [await at.send('POST', BODY, HEADERS), await at.inSession(await at.session(), { id: 1, method: 'ping' })]) {
      expect(reply.text).toContain('unavailable')
      expect(reply.text).not.toContain('secret')
    }
    const denying = await fronted(() => Promise.reject(new Denied('killed', 'secret')))
    const reply = await denying.alone('tools/list')
    expect(reply.text).toContain('killed')
    expect(reply.text).not.toContain('secret')
  })
})

describe('whatever bytes a client sends (ATK-103)', () => {
  /** What a header or a body may be changed into. */
  const change = fc.record({
    method: fc.constantFrom('tools/call', 'tools/list', 'Tools/call', 'tools/call ', 'ping', 'tools%2Fcall', '=?base64?dG9vbHMvY2FsbA==?='),
    name: fc.constantFrom('a', 'b', 'A', ' a', '=?base64?YQ==?=', '=?base64?YR==?=', '=?base64?YQ?=', 'a,a', ''),
    version: fc.constantFrom('2026-07-28', '2025-11-25', '2026-07-28,2026-07-28', '2025-06-18', ''),
    again: fc.constantFrom('', 'Mcp-Name: a\r\n', 'mcp-method: tools/call\r\n', 'MCP-PROTOCOL-VERSION: 2026-07-28\r\n', 'Content-Length: 3\r\n', 'Transfer-Encoding: chunked\r\n', 'Host: localhost\r\n', 'X: y\n\r\n', 'Mcp-Session-Id: x\r\n', ' folded: x\r\n'),
    body: fc.constantFrom(BODY, `[${BODY}]`, `${BODY}${BODY}`, BODY.replace('"name":"a"', '"name":"a","name":"b"'), BODY.replace('tools/call', 'tools\\u002fcall'), BODY.replace('"id":1', '"id":null'), BODY.replace('"id":1', '"id":1,"extra":2'), BODY.replace('2026-07-28', '2025-11-25'), `\ufeff${BODY}`, BODY.replace('"name":"a"', '"name":"\\ud800"')),
    line: fc.constantFrom('POST /mcp HTTP/1.1', 'POST /mcp HTTP/1.0', 'POST http://localhost/mcp HTTP/1.1', 'post /mcp HTTP/1.1', 'POST /mcp?x HTTP/1.1', 'POST /%6dcp HTTP/1.1', 'POST //mcp HTTP/1.1', 'POST /./mcp HTTP/1.1', 'PUT /mcp HTTP/1.1'),
  })

  it('nothing reaches a seat but a request whose headers say what its body says', async () => {
    const at = await fronted()
    let through = 0
    await fc.assert(
      fc.asyncProperty(change, async ({ method, name, version, again, body, line }) => {
        const before = at.reached.length
        const bytes = Buffer.from(body)
        const got = await at.raw(Buffer.concat([Buffer.from(`${line}\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer ${TOKEN}\r\nAccept: */*\r\nContent-Type: application/json\r\nMcp-Method: ${method}\r\nMcp-Name: ${name}\r\nMCP-Protocol-Version: ${version}\r\n${again}Content-Length: ${bytes.length}\r\n\r\n`), bytes]))
        const arrived = at.reached.length - before
        through += arrived
        if (arrived === 0) return
        expect(arrived).toBe(1)
        expect(got).toMatch(/^HTTP\/1\.1 200 /)
        // Every part of it was one that says the same; spaces around a value are no part of it (RFC 9110 section 5.5).
        expect([method.trim(), version]).toEqual(['tools/call', '2026-07-28'])
        expect(['a', '=?base64?YQ==?=']).toContain(name.trim())
        expect([BODY, BODY.replace('tools/call', 'tools\\u002fcall')]).toContain(body)
        expect(['', 'Mcp-Session-Id: x\r\n']).toContain(again)
        expect(line).toMatch(/^POST \/mcp HTTP\/1\.[01]$/)
      }),
      { numRuns: 600, examples: [[{ method: 'tools/call', name: 'a', version: '2026-07-28', again: '', body: BODY, line: 'POST /mcp HTTP/1.1' }]] },
    )
    expect(through).toBeGreaterThan(0)
  }, 120_000)
})
