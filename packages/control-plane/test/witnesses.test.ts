import { MemoryFloor } from '@sealwrit/gate/testing'
import { generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import { MAX_WITNESS_ANSWER_BYTES, nodeClock, nodeCryptography, WITNESS_DEADLINE_MS, type WitnessAnswer, type WitnessedLog, Witnesses, type WitnessOptions, type WitnessPost, witnessPost } from '@sealwrit/control-plane'
import { consistencyProof, cosignedMessage, type CosignerKey, cosignerKey, forkProof, formatCosignature, formatCosignerKey, fromBase64Url, parseNote, parseProof, parseWitnessPolicy, utf8, verifyConsistency, verifyQuorum, verifyCheckpoint, checkpointText, formatSignature } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { keyPair, LOG_KEY, TestLog } from '../../protocol/test/support/fixture.ts'
import { outcome, Rig, sha256, TestGate, told } from './support/rig.ts'

/** A witness in memory that keeps to c2sp.org/tlog-witness, until it is told to misbehave. */
class Double {
  readonly key: CosignerKey
  readonly #keys = generateKeyPairSync('ed25519')
  seen: { size: number; root: Uint8Array } = { size: 0, root: new Uint8Array(0) }
  submissions: { old: number; size: number }[] = []
  inFlight = 0
  maxInFlight = 0
  /** Undefined: as it should. */
  answer: ((honest: () => WitnessAnswer) => WitnessAnswer | Promise<WitnessAnswer>) | undefined

  constructor(name: string) {
    this.key = cosignerKey(`${name}.test/w`, fromBase64Url(this.#keys.publicKey.export({ format: 'jwk' }).x as string), sha256)
  }
  cosign(text: string, time: number): string {
    return formatCosignature(this.key, time, sign(null, cosignedMessage(text, time), this.#keys.privateKey))
  }
  async submit(body: string, rig: Rig): Promise<WitnessAnswer> {
    this.maxInFlight = Math.max(this.maxInFlight, ++this.inFlight)
    try {
      return await (this.answer ?? ((honest) => honest()))(() => this.honest(body, rig))
    } finally {
      this.inFlight--
    }
  }
  honest(body: string, rig: Rig): WitnessAnswer {
    const blank = body.indexOf('\n\n')
    const [first, ...hashes] = body.slice(0, blank).split('\n') as [string, ...string[]]
    const checkpoint = verifyCheckpoint(body.slice(blank + 2), rig.key, nodeCryptography)
    const old = Number(first.slice(4))
    this.submissions.push({ old, size: checkpoint.size })
    if (old !== this.seen.size) return answer(409, 'text/x.tlog.size', `${this.seen.size}\n`)
    if (old > 0) verifyConsistency(this.seen, checkpoint, hashes.map((hash) => new Uint8Array(Buffer.from(hash, 'base64'))), sha256)
    this.seen = { size: checkpoint.size, root: checkpoint.root }
    return answer(200, 'text/plain', this.cosign(parseNote(body.slice(blank + 2)).text, Math.floor(rig.clock.wallMs() / 1_000)))
  }
}
const answer = (status: number, type: string, body: string): WitnessAnswer => ({ status, type, body: utf8(body) })

const rigs: Rig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})

interface Witnessed {
  readonly rig: Rig
  readonly doubles: readonly Double[]
  readonly options: WitnessOptions
  readonly notes: () => Promise<string>
}
/** A plane under three doubles, quorum two, on the wall clock of the rig and real timers. */
async function witnessed(doubles: readonly Double[] = ['a', 'b', 'c'].map((name) => new Double(name)), quorum = 'group q 2 a b c\nquorum q\n', rig = new Rig('witnessed')): Promise<Witnessed> {
  rigs.push(rig)
  const policy = parseWitnessPolicy(utf8(`${doubles.map(({ key }) => `witness ${key.name.split('.')[0]} ${formatCosignerKey(key)} http://${key.name.split('.')[0]}\n`).join('')}${quorum}`), sha256)
  const post: WitnessPost = async (url, body) => {
    const double = doubles.find(({ key }) => url === `http://${key.name.split('.')[0]}/add-checkpoint`)
    if (double === undefined) throw new Error('no such witness')
    return double.submit(Buffer.from(body).toString(), rig)
  }
  const options = { policy, maxAgeSeconds: 60, post }
  rig.clock.after = (ms, run) => nodeClock.after(ms, run)
  await rig.start({}, options)
  return { rig, doubles, options, notes: async () => (await rig.plane.log.published()).note }
}
const counted = (note: string, { options, rig }: Witnessed): string[] => verifyQuorum(note, options.policy, { nowSeconds: Math.floor(rig.clock.wallMs() / 1_000), maxAgeSeconds: 60 }, nodeCryptography).map(({ name }) => name)

describe('a plane with witnesses', () => {
  it('shows gates and readers only what a quorum cosigned', async () => {
    const world = await witnessed()
    const gate = await world.rig.gate()
    const reply = await gate.authorize()
    if (reply.decision !== 'permit') throw new Error(told(reply))
    expect(counted(parseProof(reply.sealed.proof).checkpoint, world).length).toBeGreaterThanOrEqual(2)
    expect(counted(await world.notes(), world).length).toBeGreaterThanOrEqual(2)
  })
  it('asks each witness from the size that it knows, one submission at a time, and shares a round among all who wait', async () => {
    const world = await witnessed()
    const gate = await world.rig.gate()
    const before = world.doubles[0]?.submissions.length ?? 0
    const replies = await Promise.all(Array.from({ length: 64 }, () => gate.authorize()))
    expect(replies.map(told)).toEqual(Array.from({ length: 64 }, () => 'permit'))
    for (const double of world.doubles) {
      expect(double.maxInFlight).toBe(1)
      expect(double.submissions.length - before).toBeLessThan(10)
      expect(double.submissions.slice(1).every(({ old }, i) => old === double.submissions[i]?.size || old === double.submissions[i]?.old)).toBe(true)
    }
  })
  it('checkpoints on one connection only grow, also when replies overtake each other', async () => {
    const world = await witnessed()
    const gate = await world.rig.gate()
    const shown = { size: 0 }
    const sizes: number[] = []
    await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        await new Promise((resolve) => setTimeout(resolve, i % 7))
        const before = await world.rig.plane.authorize(gate.request(), gate.id, shown)
        if (before.decision === 'permit') sizes.push(verifyCheckpoint(parseProof(before.sealed.proof).checkpoint, world.rig.key, nodeCryptography).size)
      }),
    )
    expect(sizes).toHaveLength(40)
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b))
  })
  it('goes on with a new memory: the first answers say from where', async () => {
    const world = await witnessed()
    await world.rig.gate()
    await world.rig.stop()
    await world.rig.start({}, world.options)
    expect(told(await (await world.rig.gate()).authorize())).toBe('permit')
    expect(world.doubles.every(({ submissions }) => submissions.some(({ old }, i) => old === 0 && i > 0))).toBe(true)
  })
  it('renews cosignatures of an unchanged log before a gate would count them no more', async () => {
    const world = await witnessed()
    const gate = new TestGate(world.rig)
    await gate.enrol()
    const size = world.rig.plane.log.checkpoint.size
    world.rig.clock.suspend(59_000)
    const { sealed } = await world.rig.plane.enrol(gate.enrolment(), { size: 0 }) // the same session: nothing is logged
    expect(world.rig.plane.log.checkpoint.size).toBe(size)
    expect(counted(parseProof(sealed.proof).checkpoint, world).length).toBeGreaterThanOrEqual(2)
  })
  it('asks nobody without a policy, or under `quorum none`', async () => {
    const world = await witnessed(undefined, 'quorum none\n')
    expect(told(await (await world.rig.gate()).authorize())).toBe('permit')
    expect(world.doubles.map(({ submissions }) => submissions.length)).toEqual([0, 0, 0])
  })
})

describe('ATK-078: witnesses that are down, slow or lie', () => {
  type Fault = (honest: () => WitnessAnswer, double: Double) => WitnessAnswer | Promise<WitnessAnswer>
  const faults: [string, Fault][] = [
    ['refuse the connection', () => Promise.reject(new Error('ECONNREFUSED'))],
    ['never answer', () => new Promise<WitnessAnswer>((_, reject) => setTimeout(() => reject(new Error('no answer in time')), 1_000))],
    ['answer 500', () => answer(500, 'text/plain', 'x')],
    ['answer 403', () => answer(403, 'text/plain', 'x')],
    ['answer 404', () => answer(404, 'text/plain', 'x')],
    ['answer 422', () => answer(422, 'text/plain', 'x')],
    ['answer 200 with nothing', () => answer(200, 'text/plain', '')],
    ['answer 200 with noise', () => answer(200, 'text/plain', '\u0000\u2014 x\n')],
    ['answer 409 with noise', () => answer(409, 'text/x.tlog.size', '1e3\n')],
    ['always answer 409 with 0', () => answer(409, 'text/x.tlog.size', '0\n')],
    ['answer a fork proof that proves nothing', () => answer(409, 'application/json', '{"v":1}')],
    ['cosign another body', (_, double) => answer(200, 'text/plain', double.cosign('other\n', 1))],
    ['sign twice', (honest) => ((one) => ({ ...one, body: Buffer.concat([one.body, one.body]) }))(honest())],
    ['sign with another key under their name', (honest, double) => (honest(), answer(200, 'text/plain', formatCosignature(double.key, 1_767_225_600, new Uint8Array(64).fill(1))))],
  ]
  it.each(faults)('one of three that would %s is not missed', async (_name, fault) => {
    const world = await witnessed()
    const liar = world.doubles[1] as Double
    liar.answer = (honest) => fault(honest, liar)
    expect(told(await (await world.rig.gate()).authorize())).toBe('permit')
    expect(counted(await world.notes(), world)).toEqual(['a', 'c'])
    expect(world.rig.plane.notReady).toBeUndefined()
  })
  it.each(faults)('two of three that %s: the permit is logged, but never delivered; it heals when one comes back', async (_name, fault) => {
    const world = await witnessed()
    const gate = await world.rig.gate()
    const faulty = world.doubles.slice(1)
    for (const double of faulty) double.answer = (honest) => fault(honest, double)
    const open = world.rig.plane.log.state.open.size
    expect(await outcome(gate.authorize())).toBe('witness_quorum_not_met')
    expect(world.rig.plane.log.state.open.size).toBe(open + 1)
    for (const double of faulty) double.answer = undefined
    expect(told(await gate.authorize())).toBe('permit')
  }, 15_000)
  it('a deadline bounds the wait', async () => {
    const world = await witnessed()
    const gate = await world.rig.gate()
    for (const double of world.doubles) double.answer = () => Promise.reject(new Error('down'))
    const from = performance.now()
    expect(await outcome(gate.authorize())).toBe('witness_quorum_not_met')
    expect(performance.now() - from).toBeGreaterThan(WITNESS_DEADLINE_MS - 200)
  })
})

describe('a witness that knows better', () => {
  it('ATK-043, ATK-071, S22: after a restore of an older store the plane is not ready, and permits nothing', async () => {
    const world = await witnessed()
    await world.rig.gate()
    await world.rig.stop()
    const backup = fs.readFileSync(world.rig.file)
    for (const suffix of ['-wal', '-shm']) expect(fs.existsSync(world.rig.file + suffix)).toBe(false)
    await world.rig.start({}, world.options)
    await (await world.rig.gate()).authorize()
    await world.rig.stop()
    fs.writeFileSync(world.rig.file, backup)
    world.rig.highWater = new MemoryFloor() // lost as well: only the witnesses remember
    await world.rig.start({}, world.options)
    const gate = new TestGate(world.rig)
    expect(await outcome(gate.enrol())).toBe('store_rollback')
    expect(world.rig.plane.notReady?.message).toMatch(/witness [abc] cosigned \d+ entries, this log holds \d+/)
    expect(await outcome(gate.enrol())).toBe('store_rollback')
    expect(await outcome(world.notes())).toBe('store_rollback')
  })
  it('ATK-068: a fork proof that holds stops the plane with state_diverged', async () => {
    const world = await witnessed()
    const gate = await world.rig.gate()
    const { rig } = world
    const honest = (await world.notes()).split('\n\u2014')[0] as string
    const text = checkpointText({ origin: rig.key.name, size: rig.plane.log.checkpoint.size, root: sha256(utf8('another tree')) })
    const forged = `${text}\n${formatSignature(rig.key, sign(null, utf8(text), rig.logKeys.privateKey))}`
    const own = rig.plane.log.checkpoint.note
    expect(own.startsWith(honest)).toBe(true)
    for (const double of world.doubles) double.answer = () => answer(403, 'application/json', JSON.stringify(forkProof(rig.key.name, own, forged, [])))
    expect(await outcome(gate.authorize())).toBe('state_diverged')
    expect(rig.plane.notReady?.message).toContain('signed two trees')
    expect(await outcome(gate.authorize())).toBe('state_diverged')
  })
})

describe('planes of one log', () => {
  it('a size that another plane had cosigned is no rollback: it is read, and the next round covers it', async () => {
    const pair = keyPair('witness')
    const key = cosignerKey('w.test/w', pair.publicKey, sha256)
    const shared = new TestLog()
    for (let i = 0; i < 12; i++) shared.addText(`entry ${i}`)
    let [read, seen] = [10, 12] // this plane has read 10 entries, the other had 12 cosigned
    const said: string[] = []
    const log: WitnessedLog = {
      key: LOG_KEY,
      newest: () => ({ size: read, note: shared.note(read) }),
      extends: (older, head) => (older === 0 || older === head.size ? [] : consistencyProof(older, head.size, shared.subtree, sha256)),
      proved: (prove) => Promise.resolve(prove()),
      refresh: () => Promise.resolve({ size: (read = 12), note: shared.note(12) }),
      contradicted: (code) => void said.push(code),
    }
    const post: WitnessPost = (_url, body) => {
      const text = Buffer.from(body).toString()
      if (!text.startsWith(`old ${seen}\n`)) return Promise.resolve(answer(409, 'text/x.tlog.size', `${seen}\n`))
      seen = read
      const time = Math.floor(nodeClock.wallMs() / 1_000)
      return Promise.resolve(answer(200, 'text/plain', formatCosignature(key, time, pair.sign(cosignedMessage(parseNote(text.slice(text.indexOf('\n\n') + 2)).text, time)))))
    }
    const policy = parseWitnessPolicy(utf8(`witness w ${formatCosignerKey(key)} http://w\nquorum w\n`), sha256)
    const witnesses = new Witnesses({ policy, maxAgeSeconds: 60, post }, log, nodeClock, nodeCryptography)
    await witnesses.covering(10)
    expect([witnesses.head?.size, said]).toEqual([12, []])
    ;[read, seen] = [12, 13]
    expect(await outcome(witnesses.covering(13))).toBe('witness_quorum_not_met')
    expect(said[0]).toBe('store_rollback')
  })
  it('is not made where the witnesses with a URL cannot make the quorum', () => {
    const policy = parseWitnessPolicy(utf8(`witness w ${formatCosignerKey(cosignerKey('w.test/w', keyPair('witness').publicKey, sha256))}\nquorum w\n`), sha256)
    expect(() => new Witnesses({ policy, maxAgeSeconds: 60, post: () => Promise.reject(new Error('x')) }, {} as WitnessedLog, nodeClock, nodeCryptography)).toThrow('cannot make the quorum')
  })
})

describe('posting to a witness', () => {
  async function server(handle: http.RequestListener): Promise<{ url: string; close: () => void; connections: () => number }> {
    let connections = 0
    const one = http.createServer(handle).on('connection', () => connections++)
    await new Promise<void>((resolve) => one.listen(0, '127.0.0.1', resolve))
    return { url: `http://127.0.0.1:${(one.address() as AddressInfo).port}/add-checkpoint`, close: () => (one.closeAllConnections(), one.close()), connections: () => connections }
  }
  it('keeps its connection, gives status, media type and body, and follows no redirect', async () => {
    const { url, close, connections } = await server((request, response) => request.resume().on('end', () => response.writeHead(302, { location: '/elsewhere', 'content-type': 'Text/x.tlog.size; charset=utf-8' }).end('9\n')))
    const { post, close: closePost } = witnessPost()
    for (let i = 0; i < 5; i++) expect({ ...(await post(url, utf8('x'), 1_000)), body: undefined }).toEqual({ status: 302, type: 'text/x.tlog.size', body: undefined })
    expect(connections()).toBe(1)
    closePost()
    close()
  })
  it('gives up at the time-out and at an answer that is too large', async () => {
    const { post, close: closePost } = witnessPost()
    const silent = await server(() => undefined)
    await expect(post(silent.url, utf8('x'), 50)).rejects.toThrow('no answer in time')
    const trickle = await server((_request, response) => void response.writeHead(200).write('x'))
    await expect(post(trickle.url, utf8('x'), 50)).rejects.toThrow()
    const flood = await server((_request, response) => void response.end('x'.repeat(MAX_WITNESS_ANSWER_BYTES + 1)))
    await expect(post(flood.url, utf8('x'), 5_000)).rejects.toThrow()
    await expect(post('http://127.0.0.1:1/add-checkpoint', utf8('x'), 1_000)).rejects.toThrow()
    for (const one of [silent, trickle, flood]) one.close()
    closePost()
  })
})

