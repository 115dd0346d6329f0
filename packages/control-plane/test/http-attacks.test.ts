import * as net from 'node:net'
import { gzipSync } from 'node:zlib'
import { IdempotencyKeys, KEY_LIFE_MS, MAX_KEYS, nodeCryptography } from '@sealwrit/control-plane'
import { Denied, DENIALS, type JsonObject, parseEntry } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Served, TOKEN } from './support/http.ts'
import { issueRequest } from './support/push.ts'
import { outcome, Rig, type TestGate, toolCall } from './support/rig.ts'

let rig: Rig
let served: Served
let gate: TestGate
beforeAll(async () => {
  rig = await Rig.open('attacks')
  gate = await rig.gate()
  served = await Served.open(rig.plane)
})
afterAll(async () => {
  await served.close()
  await rig.remove()
})

/** Sends bytes as they are and hears what comes back until the plane ends the connection, or `ms` have passed. */
function raw(bytes: string | Buffer, ms = 4_000): Promise<{ text: string; isEnded: boolean; ms: number }> {
  const from = performance.now()
  return new Promise((resolve) => {
    let text = ''
    const socket = net.connect({ host: '127.0.0.1', port: served.port })
    const done = (isEnded: boolean): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve({ text, isEnded, ms: performance.now() - from })
    }
    const timer = setTimeout(() => done(false), ms)
    socket.on('data', (chunk) => (text += chunk.toString('latin1')))
    socket.once('close', () => done(true)).once('error', () => done(true))
    socket.once('connect', () => socket.write(bytes))
  })
}
const head = (rest: string): string => `POST /v1/authorize HTTP/1.1\r\nhost: 127.0.0.1:${served.port}\r\nauthorization: Bearer ${TOKEN}\r\ncontent-type: application/json\r\n${rest}`
const codeIn = (text: string): unknown => (JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4).replace(/^[0-9a-f]+\r\n/, '')) as JsonObject)['code']

describe('HTTP under attack', () => {
  it.each<[string, () => string | Buffer, number, string]>([
    ['content-length and transfer-encoding together', () => head('content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /x'), 400, 'request_malformed'],
    ['two content-lengths', () => head('content-length: 2\r\ncontent-length: 20\r\n\r\n{}'), 400, 'request_malformed'],
    ['a bare line feed between headers', () => head('x: y\nz: w\r\ncontent-length: 2\r\n\r\n{}'), 400, 'request_malformed'],
    ['a space before the colon of a header', () => head('content-length : 2\r\n\r\n{}'), 400, 'request_malformed'],
    ['a chunk size that is none', () => head('transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n'), 400, 'request_malformed'],
    ['an unknown transfer-encoding', () => head('transfer-encoding: gzip\r\n\r\n'), 400, 'request_malformed'],
    ['headers of 100 KiB', () => head(`x: ${'y'.repeat(102_400)}\r\n\r\n`), 431, 'limit_exceeded'],
    ['10^4 headers', () => head(`${Array.from({ length: 10_000 }, (_, i) => `x${i}: y`).join('\r\n')}\r\n\r\n`), 431, 'limit_exceeded'],
    ['a body that says it is 3 MiB', () => head('content-length: 3145728\r\n\r\n'), 413, 'limit_exceeded'],
    ['chunks of 3 MiB in all', () => head(`transfer-encoding: chunked\r\n\r\n${`10000\r\n${' '.repeat(65_536)}\r\n`.repeat(48)}0\r\n\r\n`), 413, 'limit_exceeded'],
    ['a gzip bomb', () => Buffer.concat([Buffer.from(head(`content-encoding: gzip\r\ncontent-length: ${gzipSync(Buffer.alloc(50_000_000)).length}\r\n\r\n`)), gzipSync(Buffer.alloc(50_000_000))]), 403, 'encoding_invalid'],
  ])('ATK-085: %s is refused before any of it means anything', async (_what, bytes, status, code) => {
    const size = rig.plane.log.size
    const { text } = await raw(bytes(), 1_500)
    expect([Number(text.slice(9, 12)), codeIn(text), text.match(/HTTP\/1\.1 /g)?.length]).toEqual([status, code, 1])
    expect(rig.plane.log.size).toBe(size)
    expect((await served.ask('GET', '/healthz')).status).toBe(200)
  })

  it('ATK-084: headers that come slowly, bodies that never come and connections that say nothing are cut, and honest traffic goes on', async () => {
    const slow = [raw(head('x: '), 12_000), raw('', 12_000), ...Array.from({ length: 200 }, () => raw('GET /healthz HTTP/1.1\r\n', 12_000))]
    const honest: number[] = []
    for (let i = 0; i < 20; i++) honest.push((await served.ask('GET', '/healthz')).status)
    expect(new Set(honest)).toEqual(new Set([200]))
    for (const { isEnded, ms } of await Promise.all(slow)) expect([isEnded, ms < 9_000]).toEqual([true, true])
  }, 30_000)

  it('ATK-123: every refusal has its code and fixed hint outside, and no cause', async () => {
    const refusals = [
      await served.ask('POST', '/v1/authorize', { ...gate.request(), session: rig.token() }), await served.ask('POST', '/v1/authorize', gate.request(), { authorization: '' }),
      await served.ask('DELETE', '/v1/agents/nobody'), await served.ask('GET', `/v1/approvals/${rig.token()}`), await served.ask('POST', '/v1/receipts', { session: gate.session, receipt: 'a.b.c' }),
      await served.ask('POST', '/v1/authorize', gate.request(toolCall('read_file', { n: 1.5 }), { environment: `sha256:${'0'.repeat(64)}` })),
    ]
    for (const { text, status } of refusals) {
      if (status === 200) continue
      const { code, ...rest } = JSON.parse(text) as { code: keyof typeof DENIALS }
      const { http, meaning, hint } = DENIALS[code]
      expect(rest).toEqual({ type: `urn:sealwrit:denial:${code}`, title: meaning, status: http, hint })
    }
    expect(refusals.filter(({ status }) => status !== 200).length).toBeGreaterThan(4)
  })
})

describe('Idempotency-Key', () => {
  const issue = (key: string, body: object = issueRequest(gate)): ReturnType<Served['ask']> => served.ask('POST', '/v1/authorize', body, { 'idempotency-key': key })
  it('answers the same body under the same key with the same artifact, once in the log, also at once', async () => {
    const size = rig.plane.log.size
    const answers = await Promise.all([issue('first'), issue('first'), issue('first')])
    answers.push(await issue('first'))
    expect(new Set(answers.map(({ text }) => (JSON.parse(text) as { sealed: { entry: string } }).sealed.entry)).size).toBe(1)
    expect(rig.plane.log.size).toBe(size + 1)
    expect((await issue('second')).text).not.toBe(answers[0]?.text)
  })
  it('refuses another body under the same key, and keys that are none', async () => {
    await issue('third')
    const other = await issue('third', issueRequest(gate, toolCall('read_file', { path: '/other' })))
    expect([other.status, (JSON.parse(other.text) as JsonObject)['code']]).toEqual([409, 'challenge_mismatch'])
    for (const key of ['', 'a b', 'x'.repeat(129)]) expect([key, (await issue(key)).status]).toEqual([key, 400])
    expect((await issue('x'.repeat(128))).status).toBe(200)
  })
  it('means nothing where a challenge does the same', async () => {
    const one = gate.request()
    const [first, second] = [await served.ask('POST', '/v1/authorize', one, { 'idempotency-key': 'fourth' }), await served.ask('POST', '/v1/authorize', gate.request(), { 'idempotency-key': 'fourth' })]
    const seqOf = ({ text }: { text: string }): number => parseEntry((JSON.parse(text) as { sealed: { entry: string } }).sealed.entry).seq
    expect(seqOf(second)).not.toBe(seqOf(first))
    expect(seqOf(await served.ask('POST', '/v1/authorize', one))).toBe(seqOf(first))
  })
  it('ATK-088: remembers a bounded number, refuses new ones beyond it, forgets them in time, and nothing that failed', async () => {
    const keys = new IdempotencyKeys(nodeCryptography.sha256)
    let asked = 0
    const once = (key: string, nowMs = 0, whose = 'a'): Promise<number> => keys.once(whose, key, { body: 1 }, nowMs, async () => ++asked)
    for (let i = 0; i < MAX_KEYS; i++) await once(`k${i}`)
    expect(await outcome(once('one_more'))).toBe('overloaded')
    expect(await once('k0')).toBe(1)
    expect(await outcome(once('k0', 0, 'somebody else'))).toBe('overloaded')
    expect(await once('k0', KEY_LIFE_MS - 1)).toBe(1)
    expect(await once('k0', KEY_LIFE_MS)).toBe(MAX_KEYS + 1)
    expect(keys.size).toBe(1)
    await expect(keys.once('a', 'fails', {}, KEY_LIFE_MS, () => Promise.reject(new Denied('unavailable')))).rejects.toThrow(Denied)
    expect(await keys.once('a', 'fails', {}, KEY_LIFE_MS, async () => 'now')).toBe('now')
  })
})
