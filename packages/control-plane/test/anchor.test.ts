import { execFileSync } from 'node:child_process'
import * as nodeCrypto from 'node:crypto'
import * as fs from 'node:fs'
import type * as http from 'node:http'
import * as https from 'node:https'
import type { AddressInfo } from 'node:net'
import * as path from 'node:path'
import { type AnchorOutcome, anchorsFor, KeptAnchors, makeSink, MAX_KNOWN_SINKS, nodeCryptography, post, RETRY_MS, type SinkConfig, SinkError, sinkUrl } from '@sealwrit/control-plane'
import { type Anchor, type AnchorVerdict, parseAnchor, parseStrictText, tsaCryptoFrom, verifyAnchor } from '@sealwrit/protocol'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Answer, noOpenssl, OpensslTsa, opensslAnswer, serve } from '../../../test/support/tsa.ts'
import { outcome, Rig, sha256 } from './support/rig.ts'

const HOUR_MS = 3_600_000
let rig: Rig
let reports: string[]
const closing: (() => Promise<void>)[] = []
beforeEach(() => {
  rig = new Rig('anchor')
  reports = []
})
afterEach(async () => {
  await rig.remove()
  for (const close of closing.splice(0)) await close()
})

const start = async (...sinks: SinkConfig[]): Promise<void> => {
  const ports = { clock: rig.clock, rng: rig.rng, sha256 }
  rig.anchors = { sinks: sinks.map((sink) => makeSink(sink, ports)), intervalMs: HOUR_MS, report: (sentence) => reports.push(sentence) }
  await rig.start()
}
const served = async (answer: Answer) => {
  const server = await serve(answer)
  closing.push(() => server.close())
  return server
}
/** Time passes, and the round that it began comes to its end. */
const pass = async (ms: number): Promise<void> => {
  rig.clock.advance(ms)
  await rig.plane.anchors.idle()
}
const grow = async (): Promise<void> => void (await (await rig.gate()).permit())
const judged = (anchor: Anchor, ...certificates: Uint8Array[]): AnchorVerdict => verifyAnchor(anchor, rig.key, { certificates, crypto: tsaCryptoFrom(nodeCrypto) }, nodeCryptography)
const failureOf = ([only]: readonly AnchorOutcome[]): string => (only !== undefined && 'failure' in only ? only.failure : 'none')
const anchors = async () => rig.plane.anchors.list()

describe.skipIf(noOpenssl !== undefined)('a real time stamping authority over HTTP', () => {
  let tsa: OpensslTsa
  beforeAll(() => {
    tsa = new OpensslTsa()
    tsa.root('root')
    tsa.issue('clock', 'root', 'tsa', 'rsa')
  })
  afterAll(() => tsa.remove())

  it('anchors the newest checkpoint soon after a start, and evidence of it is an external time', async () => {
    const server = await served(opensslAnswer(tsa, 'clock'))
    await start({ type: 'rfc3161', url: server.url })
    await pass(5_000)
    expect(reports).toEqual([])
    expect(server.requests.map(({ type }) => type)).toEqual(['application/timestamp-query'])
    const [listed] = await anchors()
    expect(listed).toMatchObject({ type: 'rfc3161', where: server.url, isConfigured: true, count: 1, success: { size: rig.plane.log.size } })
    expect(listed).not.toHaveProperty('failure')
    expect(judged(listed?.newest as Anchor, tsa.certificate('root'))).toMatchObject({ kind: 'external time', tsa: 'clock', checkpoint: { size: rig.plane.log.size } })
    expect(judged(listed?.newest as Anchor)).toMatchObject({ kind: 'local' })
    await rig.restart() // and it is still there
    expect(await anchors()).toEqual([listed])
    expect(await anchorsFor(rig.store, 0)).toEqual([listed?.newest])
  })
  it.each<[string, (real: Buffer) => { status?: number; type?: string; body: Uint8Array | string }, RegExp]>([
    ['an error', () => ({ status: 503, body: '' }), /^answered 503$/],
    ['a redirect, which is not followed', () => ({ status: 302, body: '' }), /^answered 302$/],
    ['another content type', (body) => ({ type: 'text/html', body }), /no timestamp reply/],
    ['nothing', () => ({ body: '' }), /^token_malformed: /],
    ['garbage', () => ({ body: 'hello' }), /^token_malformed: /],
    ['more than it may', () => ({ body: Buffer.alloc(65_537, 0x30) }), /^answered more than 65536 bytes$/],
    ['a refusal with a reason', () => ({ body: Uint8Array.of(0x30, 0x13, 0x30, 0x11, 0x02, 0x01, 0x02, 0x30, 0x06, 0x0c, 0x04, 0x6e, 0x6f, 0x1b, 0x77, 0x03, 0x04, 0x05, 0x00, 0x02, 0x00) }), /^request_refused: .*status 2, `no\\u\{1b\}w`, failure timeNotAvailable$/],
  ])('that answers %s is a failure: told, kept, shown, and no reason not to be ready', async (_name, change, why) => {
    const server = await served((body, response) => {
      const { status, type, body: answer } = change(body)
      response.writeHead(status ?? 200, { 'content-type': type ?? 'application/timestamp-reply', location: `${server.url}/else` }).end(answer)
    })
    await start({ type: 'rfc3161', url: server.url })
    await pass(5_000)
    expect(reports).toEqual([expect.stringMatching(/^the checkpoint of \d+ entries was not anchored at rfc3161 http:\/\/127/)])
    const [listed] = await anchors()
    expect(listed).toMatchObject({ count: 0, failure: { time: rig.clock.wallMs(), reason: expect.stringMatching(why) } })
    expect(listed).not.toHaveProperty('success')
    expect(await rig.plane.anchors.status()).toMatchObject([{ failure: { reason: expect.stringMatching(why) } }])
    expect(rig.plane.notReady).toBeUndefined()
    await grow()
    expect(server.requests).toHaveLength(1)
  })
  it('over TLS is believed only under a certificate that this machine trusts', async () => {
    tsa.issue('web', 'root', 'server')
    let isAsked = false
    const server = https.createServer({ key: fs.readFileSync(tsa.file('web.key')), cert: fs.readFileSync(tsa.file('web.crt')) }, () => (isAsked = true)).listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    closing.push(() => new Promise((resolve) => server.close(() => resolve())))
    await start({ type: 'rfc3161', url: `https://127.0.0.1:${(server.address() as AddressInfo).port}/` })
    expect(failureOf(await rig.plane.anchors.now())).toMatch(/^not reachable \([A-Z_]*(?:VERIFY|CERT|ISSUER)[A-Z_]*\)$/)
    expect(isAsked).toBe(false)
  })
  it('whose answer belongs to an earlier request, or to another checkpoint, is not taken', async () => {
    let kept: Uint8Array | undefined
    const server = await served((body, response) => {
      kept ??= tsa.reply(new Uint8Array(body), 'clock')
      response.writeHead(200, { 'content-type': 'application/timestamp-reply' }).end(kept)
    })
    await start({ type: 'rfc3161', url: server.url })
    expect(failureOf(await rig.plane.anchors.now())).toBe('none')
    expect(failureOf(await rig.plane.anchors.now())).toMatch(/^nonce_mismatch/)
    await grow()
    expect(failureOf(await rig.plane.anchors.now())).toMatch(/^other_checkpoint/)
    expect((await anchors())[0]).toMatchObject({ count: 1, success: {}, failure: {} })
  })
})

describe('a file', () => {
  const file = (): string => path.join(rig.folder, 'anchors.jsonl')
  const lines = (): string[] => fs.readFileSync(file(), 'utf8').split('\n')

  it('gets one line an anchor, each of which is a copy by the plane’s own word', async () => {
    await start({ type: 'file', path: file() })
    await pass(5_000)
    await grow()
    await rig.plane.anchors.now()
    expect((fs.statSync(file()).mode & 0o777).toString(8)).toBe('600')
    const [first, second, end] = lines()
    expect(end).toBe('')
    for (const text of [first, second]) expect(judged(parseAnchor(parseStrictText(text as string)))).toMatchObject({ kind: 'copy', timeKind: 'plane' })
    expect((await anchors())[0]?.newest).toEqual(JSON.parse(second as string))
  })
  it('that ends in half a line after a crash keeps it, and the next anchor has a line of its own', async () => {
    fs.writeFileSync(file(), '{"type":"file","check')
    await start({ type: 'file', path: file() })
    await rig.plane.anchors.now()
    expect(lines()[0]).toBe('{"type":"file","check')
    expect(judged(parseAnchor(parseStrictText(lines()[1] as string))).kind).toBe('copy')
  })
  it.each<[string, () => void, RegExp]>([
    ['in a folder that is not there', () => undefined, /^cannot be written \(ENOENT\)$/],
    ['that is a link', () => fs.symlinkSync('/dev/null', file()), /^cannot be written \(ELOOP\)$/],
    ['that is a folder', () => fs.mkdirSync(file()), /^cannot be written \(EISDIR\)$/],
    ['that is a pipe', () => execFileSync('mkfifo', [file()]), /^is not a regular file$/],
  ])('%s is a failure that says so', async (name, prepare, why) => {
    prepare()
    await start({ type: 'file', path: name.includes('not there') ? path.join(rig.folder, 'no', 'where') : file() })
    expect(failureOf(await rig.plane.anchors.now())).toMatch(why)
  })
})

describe('an endpoint', () => {
  it('gets the anchor as JSON; its answer is kept as said, and its query is told to nobody', async () => {
    const server = await served((_body, response) => response.end('stored as 17'))
    await start({ type: 'http', url: `${server.url}?token=s3cret#x` })
    await pass(5_000)
    const sent = parseAnchor(parseStrictText(String(server.requests[0]?.body)))
    expect(server.requests[0]?.type).toBe('application/json')
    const [listed] = await anchors()
    expect(listed?.newest).toEqual({ ...sent, answer: 'stored as 17' })
    expect(sent).toMatchObject({ type: 'http', where: server.url })
    expect(judged(listed?.newest as Anchor).kind).toBe('copy')
    await server.close()
    await rig.plane.anchors.now()
    expect(JSON.stringify([await anchors(), reports])).not.toContain('s3cret')
    expect(reports[0]).toMatch(/not reachable \(ECONNREFUSED\)$/)
  })
  it.each<[string, Answer, RegExp]>([
    ['breaks off', (_body, response) => response.writeHead(200, { 'content-length': 10 }).write('x', () => response.destroy()), /broke off|not reachable/],
    ['answers without end', (_body, response) => void response.write(Buffer.alloc(8_192, 0x61)), /^answered more than 4096 bytes$/],
    ['answers no UTF-8', (_body, response) => response.end(Uint8Array.of(0xff)), /not UTF-8/],
  ])('that %s is a failure', async (_name, answer, why) => {
    const server = await served(answer)
    await start({ type: 'http', url: server.url })
    expect(failureOf(await rig.plane.anchors.now())).toMatch(why)
  })
  it('whose long answer ends within a character is kept well formed', async () => {
    const server = await served((_body, response) => response.end(`x${'😀'.repeat(600)}`))
    await start({ type: 'http', url: server.url })
    const [done] = await rig.plane.anchors.now()
    const { answer } = (done as { anchor: { answer: string } }).anchor
    expect(answer).toHaveLength(1_023)
    expect(answer.isWellFormed()).toBe(true)
  })
  it('that does not answer is given up in time, also when bytes trickle', async () => {
    const timers: NodeJS.Timeout[] = []
    const silent = await served(() => undefined)
    const trickling = await served((_body, response) => void timers.push(setInterval(() => response.write('x'), 50)))
    for (const { url } of [silent, trickling]) {
      const asked = post(new URL(url), new Uint8Array(1), { contentType: 'x/y', accept: '*/*', maxBytes: 1_000, signal: new AbortController().signal, timeoutMs: 300 })
      await expect(asked).rejects.toThrow('no answer in time')
    }
    timers.forEach(clearInterval)
  })
})

describe('the watcher', () => {
  it('anchors when the interval has passed and the log has grown, not before and not otherwise', async () => {
    const server = await served((_body, response) => response.end())
    await start({ type: 'http', url: server.url })
    const count = (): number => server.requests.length
    await pass(4_999)
    expect(count()).toBe(0)
    await pass(1)
    expect(count()).toBe(1)
    for (let i = 0; i < 36; i++) await pass(300_000) // three hours of nothing new
    expect(count()).toBe(1)
    await grow()
    await pass(300_000)
    expect(count()).toBe(2)
    await grow()
    for (let i = 0; i < 11; i++) await pass(300_000)
    expect(count()).toBe(2)
    await pass(300_000)
    expect(count()).toBe(3)
  })
  it('tries what failed again, and leaves alone what did not', async () => {
    let isDown = true
    const flaky = await served((_body, response) => response.writeHead(isDown ? 500 : 200).end())
    const steady = await served((_body, response) => response.end())
    await start({ type: 'http', url: flaky.url }, { type: 'http', url: steady.url })
    await pass(5_000)
    isDown = false
    await pass(RETRY_MS)
    expect([flaky.requests.length, steady.requests.length]).toEqual([2, 1])
    expect(await anchors()).toMatchObject([{ where: flaky.url, count: 1, success: {}, failure: { reason: 'answered 500' } }, { where: steady.url, count: 1 }])
    expect(reports).toHaveLength(1)
  })
  it('goes on after a restart where it was: a plane that is started often anchors no more often', async () => {
    const server = await served((_body, response) => response.end())
    await start({ type: 'http', url: server.url })
    await pass(5_000)
    for (let i = 0; i < 3; i++) {
      await grow()
      await rig.restart()
      await pass(60_000)
    }
    expect(server.requests).toHaveLength(1)
    await rig.restart()
    await pass(HOUR_MS)
    expect(server.requests).toHaveLength(2)
  })
  it('does not anchor because the plane ends, and does not hold up its end', async () => {
    const server = await served(() => undefined) // never answers
    await start({ type: 'http', url: server.url })
    await rig.stop()
    expect(server.requests).toHaveLength(0)
    await rig.start()
    rig.clock.advance(5_000)
    while (server.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
    const before = performance.now()
    await rig.stop()
    expect(performance.now() - before).toBeLessThan(2_000)
  })
  it('is told of a log that cannot be read any more, and says so instead of anchoring', async () => {
    const server = await served((_body, response) => response.end())
    await start({ type: 'http', url: server.url })
    const gate = await rig.gate()
    rig.fault = { persisted: false, recoverable: false }
    expect(await outcome(gate.permit())).toBe('evidence_unavailable')
    rig.fault = undefined
    await pass(5_000)
    expect(reports).toEqual([expect.stringMatching(/^checkpoints were not anchored: evidence_unavailable/)])
    expect(await outcome(rig.plane.anchors.now())).toBe('evidence_unavailable')
    expect(server.requests).toHaveLength(0)
  })
  it('without a place answers that there is none', async () => {
    await rig.start()
    expect(await outcome(Promise.resolve().then(() => rig.plane.anchors.now()))).toBe('request_malformed')
    expect(await anchors()).toEqual([])
  })
  it('is not confused by two rounds at once', async () => {
    const server = await served((_body, response) => response.end())
    await start({ type: 'http', url: server.url }, { type: 'file', path: path.join(rig.folder, 'a') })
    await Promise.all([rig.plane.anchors.now(), rig.plane.anchors.now(), pass(5_000)])
    expect((await anchors()).map(({ type, count }) => [type, count])).toEqual([['http', 2], ['file', 2]])
  })
})

describe('kept anchors', () => {
  const file = (size: number, where = '/x'): Anchor => ({ type: 'file', checkpoint: `log\n${size}\nroot\n`, where, time: size })

  it('give the earliest of each place that covers an entry', async () => {
    await rig.start()
    const kept = new KeptAnchors(rig.store)
    const sizes = [3, 3, 7, 20, 21, 21, 400]
    for (const [where, first] of [['/a', 0], ['/b', 4]] as const) {
      const place = await kept.place({ type: 'file', where })
      for (const size of sizes.slice(first)) await kept.add(place, file(size, where), size, size)
    }
    for (let index = 0; index < 401; index++) {
      const expected = [['/a', 0], ['/b', 4]].flatMap(([where, first]) => sizes.slice(first as number).filter((size) => size > index).slice(0, 1).map((size) => file(size, where as string)))
      expect(await anchorsFor(rig.store, index), String(index)).toEqual(expected)
    }
  })
  it('of places that are no longer configured stay evidence, and their number is bounded', async () => {
    await start({ type: 'file', path: path.join(rig.folder, 'new') })
    const kept = new KeptAnchors(rig.store)
    for (let i = 0; i < MAX_KNOWN_SINKS; i++) await kept.add(await kept.place({ type: 'file', where: `/old/${i}` }), file(1, `/old/${i}`), 1, 1)
    expect(await anchorsFor(rig.store, 0)).toHaveLength(MAX_KNOWN_SINKS)
    expect(failureOf(await rig.plane.anchors.now())).toMatch(/^limit_exceeded/)
    expect(reports).toHaveLength(2) // that it failed, and that the failure could not be kept
    expect((await anchors()).filter(({ isConfigured }) => isConfigured)).toMatchObject([{ count: 0 }])
  })
  it.each([['anchor sinks', 'many'], ['anchor sinks', '65'], ['anchor sinks', '2'], ['anchor sink 0', '{}'], ['anchor sink 0', '{'], ['anchor 0 0', '{"size":1}'], ['anchor 0 0', '{"anchor":{"type":"x"},"size":1}']])('that were damaged (%s = %s) are refused, not passed over', async (key, text) => {
    await rig.start()
    const kept = new KeptAnchors(rig.store)
    await kept.add(await kept.place({ type: 'file', where: '/a' }), file(5), 5, 5)
    await rig.store.putMeta(key, text)
    await expect(anchorsFor(rig.store, 0)).rejects.toThrow()
  })
})

describe('an address', () => {
  it.each(['https://tsa.example/tsr', 'https://tsa.example:8443/', 'http://127.0.0.1:3000/x', 'http://localhost/x', 'http://[::1]:1/'])('%s may be used', (url) => {
    expect(sinkUrl(url).href).toContain('//')
  })
  it.each(['http://tsa.example/tsr', 'http://127.0.0.1.example/', 'http://10.0.0.1/', 'ftp://127.0.0.1/', 'file:///etc/passwd', 'https://user:pw@tsa.example/', 'https://user@tsa.example/', 'tsa.example', ''])('%s may not', (url) => {
    expect(() => sinkUrl(url)).toThrow(SinkError)
  })
  it('that redirects elsewhere never gets a second request there', async () => {
    const elsewhere = await served((_body, response) => response.end())
    const server = await served((_body, response: http.ServerResponse) => response.writeHead(307, { location: elsewhere.url }).end())
    await start({ type: 'http', url: server.url })
    expect(failureOf(await rig.plane.anchors.now())).toBe('answered 307')
    expect(elsewhere.requests).toHaveLength(0)
  })
  it('of a file must be absolute', () => {
    expect(() => makeSink({ type: 'file', path: 'here' }, { clock: rig.clock, rng: rig.rng, sha256 })).toThrow(SinkError)
  })
})
