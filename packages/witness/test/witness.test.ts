import * as fs from 'node:fs'
import * as http from 'node:http'
import * as net from 'node:net'
import { checkpointText, formatSignature, parseForkProof, parseNote, parseStrictText, toBase64, utf8, verifyCosignature, verifyFork } from '@sealwrit/protocol'
import { MAX_BODY_BYTES, nodeCryptography, originHash, WitnessDamaged } from '@sealwrit/witness'
import { afterEach, describe, expect, it } from 'vitest'
import { LOG } from '../../protocol/test/support/fixture.ts'
import { keyPair, LOG_KEY, logOf, noteKey, NOW, Rig, sha256, submission, TestLog, WITNESS_KEY } from './support/rig.ts'

const rigs: Rig[] = []
const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0)) await close()
  for (const rig of rigs.splice(0)) rig.remove()
})
const rigged = (...args: ConstructorParameters<typeof Rig>): Rig => {
  const rig = new Rig(...args)
  rigs.push(rig)
  return rig
}
async function served(rig: Rig = rigged()): Promise<{ rig: Rig; url: string; post: (body: string | Uint8Array) => Promise<{ status: number; type: string | null; body: string }> }> {
  const { url, close } = await rig.serve()
  closing.push(close)
  const post = async (body: string | Uint8Array): Promise<{ status: number; type: string | null; body: string }> => {
    const response = await fetch(`${url}/add-checkpoint`, { method: 'POST', body: body as BodyInit })
    return { status: response.status, type: response.headers.get('content-type'), body: await response.text() }
  }
  return { rig, url, post }
}
const log = logOf(40)
const HASH = originHash(LOG_KEY.name, { crypto: nodeCryptography })
/** When the witness says that it saw the tree of `size` leaves. */
const timeOf = (line: string, size: number, of: TestLog = log): number | undefined => verifyCosignature(parseNote(of.note(size) + line), WITNESS_KEY, Number.MAX_SAFE_INTEGER, nodeCryptography)

describe('add-checkpoint, over HTTP', () => {
  it('200: cosigns the first checkpoint, growth, and the same one again, with the time', async () => {
    const { rig, post } = await served()
    const sizes: [number, number][] = [[0, 1], [1, 1], [1, 8], [8, 8], [8, 33], [33, 40]]
    for (const [old, size] of sizes) {
      rig.nowMs += 1_000
      const answer = await post(submission(log, old, size))
      expect(answer.status, `${old} to ${size}`).toBe(200)
      expect(answer.body).toMatch(/^\u2014 witness\.test\/w1 [A-Za-z0-9+/]+={0,2}\n$/)
      expect(timeOf(answer.body, size)).toBe(rig.nowMs / 1_000)
    }
  })
  it('200: takes extension lines and further signatures, and cosigns the whole body', async () => {
    const { post } = await served()
    const text = `${checkpointText(log.head(5))}extension\n`
    const stranger = keyPair('stranger')
    const note = `${text}\n${formatSignature(noteKey('other.test/x', stranger.publicKey, sha256), stranger.sign(utf8(text)))}${formatSignature(LOG_KEY, LOG.sign(utf8(text)))}`
    const answer = await post(`old 0\n\n${note}`)
    expect(answer.status).toBe(200)
    expect(verifyCosignature(parseNote(`${text}\n${answer.body}`), WITNESS_KEY, NOW, nodeCryptography)).toBe(NOW)
  })
  it('400: malformed, and an old size larger than the checkpoint', async () => {
    const { post } = await served()
    const good = submission(log, 0, 5)
    const hash = toBase64(sha256(utf8('x')))
    const bodies = [
      '', '\n\n', 'old 0', 'old 0\n\n', good.replace('old 0\n', ''), good.replace('old 0', 'old 00'), good.replace('old 0', 'old -0'), good.replace('old 0', 'Old 0'), good.replace('old 0', 'old  0'),
      good.replace('old 0', 'old 9007199254740992'), good.replace('old 0\n', 'old 0\nx\n'), good.replace('old 0\n', `old 0\n${hash.slice(0, -1)}\n`), good.replace('old 0\n', `old 0\n${toBase64(new Uint8Array(31))}\n`),
      good.replace('old 0\n', `old 0\n${`${hash}\n`.repeat(64)}`), good.replaceAll('\n', '\r\n'), good.slice(0, -1), good.replace('\n5\n', '\n05\n'), good.replace('\n5\n', '\n-5\n'), submission(log, 6, 5),
    ]
    for (const body of bodies) expect((await post(body)).status, JSON.stringify(body.slice(0, 60))).toBe(400)
    expect((await post(Buffer.concat([Buffer.from(good), Buffer.from([0xff, 10])]))).status).toBe(400)
  })
  it('403: no signature by a trusted key of that log; 404: a log that is not followed', async () => {
    const { post } = await served()
    const thief = new TestLog(LOG_KEY, keyPair('thief').sign)
    thief.addText('x')
    expect((await post(submission(thief, 0, 1))).status).toBe(403)
    expect((await post(submission(logOf(3, undefined, noteKey('other.test/x', LOG.publicKey, sha256), LOG.sign), 0, 3))).status).toBe(404)
    const renamed = logOf(3, undefined, noteKey(LOG_KEY.name, keyPair('new').publicKey, sha256), keyPair('new').sign)
    expect((await post(submission(renamed, 0, 3))).status).toBe(403)
  })
  it('409 with the size, and nothing else, when the old size is another (ATK-071)', async () => {
    const { post } = await served()
    await post(submission(log, 0, 9))
    for (const old of [0, 1, 8]) expect(await post(submission(log, old, 9))).toEqual({ status: 409, type: 'text/x.tlog.size', body: '9\n' })
    expect(await post(submission(log, 5, 5))).toEqual({ status: 409, type: 'text/x.tlog.size', body: '9\n' })
    expect(await post(submission(log, 10, 12))).toEqual({ status: 409, type: 'text/x.tlog.size', body: '9\n' })
    expect((await post(submission(log, 9, 12))).status).toBe(200)
  })
  it('409 with a fork proof for another tree of the same size; from then on the log is closed with 403 (ATK-068)', async () => {
    const { rig, post } = await served()
    await post(submission(log, 0, 9))
    const other = logOf(9, (i) => `other ${i}`)
    const answer = await post(submission(other, 9, 9))
    expect([answer.status, answer.type]).toEqual([409, 'application/json'])
    const proof = parseForkProof(parseStrictText(answer.body))
    expect(verifyFork(proof, LOG_KEY, nodeCryptography)).toContain('signed two trees of 9 leaves')
    expect(parseForkProof(parseStrictText(fs.readFileSync(rig.file('forks', `${HASH}.json`), 'utf8')))).toEqual(proof)
    expect(await post(submission(log, 9, 12))).toEqual({ status: 403, type: 'application/json', body: answer.body })
    rig.open()
    expect(rig.submit(submission(log, 9, 12)).status).toBe(403)
  })
  it('a fork under a wrong old size is answered with the size, and kept all the same', async () => {
    const { post } = await served()
    await post(submission(log, 0, 9))
    expect(await post(submission(logOf(9, (i) => `other ${i}`), 0, 9))).toEqual({ status: 409, type: 'text/x.tlog.size', body: '9\n' })
    expect((await post(submission(log, 9, 10))).status).toBe(403)
  })
  it('422: a proof that does not hold, one from nothing, one between equal trees; with a fork proof where it shows one', async () => {
    const { post } = await served()
    expect((await post(submission(log, 0, 5, [sha256(utf8('x'))]))).status).toBe(422)
    await post(submission(log, 0, 5))
    expect((await post(submission(log, 5, 5, [sha256(utf8('x'))]))).status).toBe(422)
    expect((await post(submission(log, 5, 9, []))).status).toBe(422)
    expect((await post(submission(log, 5, 9, [sha256(utf8('x'))]))).status).toBe(422)
    expect((await post(submission(log, 5, 9))).status).toBe(200)
    const answer = await post(submission(logOf(12, (i) => (i === 2 ? 'other' : `entry ${i}`)), 9, 12))
    expect([answer.status, answer.type]).toEqual([422, 'application/json'])
    expect(verifyFork(parseForkProof(parseStrictText(answer.body)), LOG_KEY, nodeCryptography)).toContain('whose first 9 are not those')
  })
  it('from a whole tree the proof shows no fork by itself: 422, and the log stays open', async () => {
    const { post } = await served()
    await post(submission(log, 0, 8))
    const answer = await post(submission(logOf(12, (i) => (i === 2 ? 'other' : `entry ${i}`)), 8, 12))
    expect([answer.status, answer.type]).toEqual([422, 'text/plain; charset=utf-8'])
    expect((await post(submission(log, 8, 12))).status).toBe(200)
  })
  it('two trusted keys of one log: either signs, and a fork is only one that a single key signed', async () => {
    const next = noteKey(LOG_KEY.name, keyPair('next').publicKey, sha256)
    const { rig, post } = await served(rigged([LOG_KEY, next]))
    await post(submission(log, 0, 5))
    expect((await post(submission(logOf(9, undefined, next, keyPair('next').sign), 5, 9))).status).toBe(200)
    expect((await post(submission(logOf(9, () => 'other'), 9, 9))).status).toBe(409)
    expect(fs.existsSync(rig.file('forks'))).toBe(false)
    expect((await post(submission(logOf(9, () => 'other', next, keyPair('next').sign), 9, 9))).type).toBe('application/json')
    expect((await post(submission(log, 9, 10))).status).toBe(403)
  })
  it('405, 404 and 413 for what is no submission; a chunked body is cut at the limit', async () => {
    const { url, post } = await served()
    expect((await fetch(`${url}/add-checkpoint`)).status).toBe(405)
    for (const other of ['/', '/add-checkpoint/', '/checkpoint/x', `/checkpoint/${'A'.repeat(64)}`, '/../witness.json', '/checkpoint/..%2Fwitness.json']) expect((await fetch(url + other)).status, other).toBe(404)
    expect(await statusOf(url, { 'content-length': MAX_BODY_BYTES + 1 }, [])).toBe(413)
    expect(await statusOf(url, { 'transfer-encoding': 'chunked' }, ['x'.repeat(MAX_BODY_BYTES), 'x'])).toBe(413)
    expect((await post(submission(log, 0, 5))).status).toBe(200)
  })
  it('gives the latest cosigned checkpoint to anybody, so that views can be compared', async () => {
    const { url, post } = await served()
    expect((await fetch(`${url}/checkpoint/${HASH}`)).status).toBe(404)
    const { body } = await post(submission(log, 0, 9))
    expect(await (await fetch(`${url}/checkpoint/${HASH}`)).text()).toBe(log.note(9) + body)
    expect((await fetch(`${url}/checkpoint/${'0'.repeat(64)}`)).status).toBe(404)
  })
  it('ATK-084: a request that never ends does not keep the others, and is cut', async () => {
    const { url, post } = await served()
    const { port, hostname } = new URL(url)
    const slow = net.connect(Number(port), hostname)
    const ended = new Promise((resolve) => slow.once('close', resolve))
    slow.write('POST /add-checkpoint HTTP/1.1\r\nhost: w\r\ncontent-le')
    slow.on('error', () => undefined)
    slow.resume()
    expect((await post(submission(log, 0, 5))).status).toBe(200)
    await ended
  }, 20_000)
  it('of 32 submissions at once from one size exactly one is cosigned, and no size is ever taken back', async () => {
    const { rig, post } = await served()
    await post(submission(log, 0, 5))
    const answers = await Promise.all(Array.from({ length: 32 }, (_, i) => post(submission(log, 5, 6 + (i % 30)))))
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
    const cosigned = rig.witness.sizeOf(LOG_KEY.name)
    expect(answers.filter(({ status }) => status === 409).every(({ body }) => body === `${cosigned}\n`)).toBe(true)
  })
})

/** The status for a raw POST. */
function statusOf(url: string, headers: http.OutgoingHttpHeaders, chunks: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const request = http.request(`${url}/add-checkpoint`, { method: 'POST', headers }, (response) => {
      resolve(response.statusCode ?? 0)
      response.resume()
      request.destroy()
    })
    request.once('error', reject)
    if (chunks.length === 0) request.flushHeaders()
    for (const chunk of chunks) request.write(chunk)
  })
}

describe('the memory of a witness', () => {
  it('outlives a restart', () => {
    const rig = rigged()
    rig.submit(submission(log, 0, 9))
    rig.open()
    expect(rig.submit(submission(log, 0, 12))).toMatchObject({ status: 409, body: '9\n' })
    expect(rig.submit(submission(log, 9, 12)).status).toBe(200)
  })
  it.each<[string, (rig: Rig) => void]>([
    ['its record is gone', (rig) => fs.rmSync(rig.file('logs', `${HASH}.checkpoint`))],
    ['its record is empty', (rig) => fs.writeFileSync(rig.file('logs', `${HASH}.checkpoint`), '')],
    ['its record is cut short', (rig) => fs.truncateSync(rig.file('logs', `${HASH}.checkpoint`), 60)],
    ['its record names another size', (rig) => edit(rig.file('logs', `${HASH}.checkpoint`), (text) => text.replace('\n9\n', '\n5\n'))],
    ['its record lost its own cosignature', (rig) => edit(rig.file('logs', `${HASH}.checkpoint`), (text) => text.slice(0, text.lastIndexOf('\u2014')))],
    ['its record is that of another log', (rig) => edit(rig.file('logs', `${HASH}.checkpoint`), () => logOf(3, undefined, noteKey('other.test/x', LOG.publicKey, sha256), LOG.sign).note())],
    ['its record cannot be read', (rig) => (fs.rmSync(rig.file('logs', `${HASH}.checkpoint`)), fs.mkdirSync(rig.file('logs', `${HASH}.checkpoint`)))],
    ['its manifest is not JSON', (rig) => fs.writeFileSync(rig.file('witness.json'), '{')],
    ['its manifest is of another name', (rig) => edit(rig.file('witness.json'), (text) => text.replace('w1', 'w2'))],
    ['a fork proof proves nothing', (rig) => (fs.mkdirSync(rig.file('forks')), fs.writeFileSync(rig.file('forks', `${HASH}.json`), '{}'))],
  ])('is never begun anew: it does not start when %s', (_name, damage) => {
    const rig = rigged()
    rig.submit(submission(log, 0, 9))
    damage(rig)
    expect(() => rig.open()).toThrow(WitnessDamaged)
  })
  it('a record that cannot be made durable is not cosigned, and not known either', async () => {
    const { rig, post } = await served()
    await post(submission(log, 0, 5))
    rig.beforeWrite = () => {
      throw new Error('disk full')
    }
    expect((await post(submission(log, 5, 9))).status).toBe(500)
    expect(rig.witness.sizeOf(LOG_KEY.name)).toBe(5)
    rig.beforeWrite = () => undefined
    expect((await post(submission(log, 5, 7))).status).toBe(200)
  })
  it('a fork that cannot be kept closes the log all the same', async () => {
    const { rig, post } = await served()
    await post(submission(log, 0, 5))
    rig.beforeWrite = () => {
      throw new Error('disk full')
    }
    expect((await post(submission(logOf(5, () => 'other'), 5, 5))).status).toBe(500)
    rig.beforeWrite = () => undefined
    expect((await post(submission(log, 5, 9))).status).toBe(403)
  })
  it('its times never go back; beyond the skew it refuses until its clock is right', () => {
    const rig = rigged()
    rig.submit(submission(log, 0, 5))
    rig.nowMs -= 20_000
    expect(timeOf(rig.submit(submission(log, 5, 6)).body, 6)).toBe(NOW)
    rig.nowMs -= 20_000
    expect(rig.submit(submission(log, 6, 7)).status).toBe(503)
    expect(rig.witness.sizeOf(LOG_KEY.name)).toBe(6)
  })
  it('its files are 0600 in folders 0700, and no name comes from a log', () => {
    const evil = noteKey('../../escape', LOG.publicKey, sha256)
    const rig = rigged([evil])
    rig.submit(submission(logOf(3, undefined, evil, LOG.sign), 0, 3))
    expect(fs.readdirSync(rig.folder).sort()).toEqual(['logs', 'witness.json'])
    expect((fs.statSync(rig.file('logs')).mode & 0o777).toString(8)).toBe('700')
    for (const name of fs.readdirSync(rig.file('logs'))) expect([name, (fs.statSync(rig.file('logs', name)).mode & 0o777).toString(8)]).toEqual([expect.stringMatching(/^[0-9a-f]{64}\.checkpoint$/), '600'])
  })
})

function edit(file: string, change: (text: string) => string): void {
  fs.writeFileSync(file, change(fs.readFileSync(file, 'utf8')))
}
