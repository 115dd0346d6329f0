import { generateKeyPairSync, sign } from 'node:crypto'
import { enforce, Gate, KEY_REFRESH_MS } from '@sealwrit/gate'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { type Keychain, type LogKey, nodeCryptography, type Plane, SCHEMA_FILE } from '@sealwrit/control-plane'
import { type Action, anchorDigest, checkpointText, Denied, formatBundle, formatSignature, fromBase64Url, type JsonObject, keyOf, type LogKeyEntry, type NoteKey, noteKey, parseBundle, parseEntry, parseNote, pqKey, type Report, utf8, verifyBundle, verifyCheckpoint } from '@sealwrit/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { policyFiles, World } from './support/world.ts'

const { sha256 } = nodeCryptography
const DIGEST = `sha256:${'a'.repeat(64)}`
const ACTION: Action = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'work', arguments: {}, tool_digest: DIGEST }
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

let world: World
let chain: Chain
beforeEach(() => {
  world = new World()
  chain = new Chain(world.logKey.name)
})
afterEach(() => world.remove())

/** A key of this log, hybrid where asked; `delayMs` makes it a slow signer, `fails` a broken one. */
class TestKey implements LogKey {
  readonly keys = generateKeyPairSync('ed25519')
  readonly pq
  readonly key: NoteKey
  delayMs: number | undefined
  fails = false

  constructor(name: string, isHybrid = false) {
    const key = noteKey(name, fromBase64Url(this.keys.publicKey.export({ format: 'jwk' }).x as string), sha256)
    this.pq = isHybrid ? generateKeyPairSync('ml-dsa-65') : undefined
    this.key = this.pq === undefined ? key : { ...key, pq: pqKey(name, fromBase64Url((this.pq.publicKey.export({ format: 'jwk' }) as { pub: string }).pub), sha256) }
  }
  sign = (message: Uint8Array): Uint8Array | Promise<Uint8Array> => {
    if (this.fails) throw new Error('broken')
    const signature = sign(null, message, this.keys.privateKey)
    return this.delayMs === undefined ? signature : pause(this.delayMs).then(() => signature)
  }
  signPq = (message: Uint8Array): Uint8Array => sign(null, message, (this.pq as NonNullable<typeof this.pq>).privateKey)
}

class Chain implements Keychain {
  readonly name: string
  readonly made: TestKey[] = []
  readonly adopted: NoteKey[] = []
  isHybrid = false
  constructor(name: string) {
    this.name = name
  }
  next(): Promise<LogKey> {
    const key = new TestKey(this.name, this.isHybrid)
    this.made.push(key)
    return Promise.resolve(key)
  }
  adopt(key: NoteKey): void {
    this.adopted.push(key)
  }
}

const start = (ports: { logKey?: LogKey; nextLogKey?: LogKey } = {}): Promise<Plane> => world.start({ 'test.cedar': 'permit (principal, action, resource);', [SCHEMA_FILE]: policyFiles()[SCHEMA_FILE] as string }, undefined, { ports: { keychain: chain, ...ports } })
async function ready(gate: Gate): Promise<Gate> {
  await gate.connect()
  await gate.recordTools('mcp://fs', [{ name: 'work', digest: DIGEST }])
  return gate
}
const attempt = (gate: Gate): Promise<string> =>
  enforce(gate, { action: ACTION, agent: { name: 'coder', verified: true }, facts: () => ({ paths: 'none' }) }, () => Promise.resolve({ outcome: 'completed' as const, resultBytes: utf8('x'), value: undefined })).then(
    () => 'ran',
    (error: unknown) => (error instanceof Denied ? error.code : String(error)),
  )
const report = async (plane: Plane, key: NoteKey = world.logKey): Promise<Report> => verifyBundle(parseBundle(utf8(formatBundle(await plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: key, gateKeys: [] })
const settled = async (holds: () => boolean): Promise<void> => {
  for (let i = 0; !holds() && i < 3_000; i++) await pause(2)
  expect(holds()).toBe(true)
}
const signers = (plane: Plane): number => parseNote(plane.log.checkpoint.note).signatures.length

describe('rotation of the log key', () => {
  it('under load: nothing is lost, nothing alarms, and who holds the old key or the new one verifies all of it', async () => {
    const plane = await start()
    const [one, two] = [await ready(world.gate()), await ready(world.gate({ floor: new MemoryFloor() }))]
    const outcomes: string[] = []
    let isOver = false
    const load = [one, two].map(async (gate) => {
      while (!isOver) outcomes.push(await attempt(gate))
    })
    await pause(50)
    for (let rotations = 0; rotations < 3; rotations++) {
      await plane.keys.rotate(0)
      await settled(() => plane.keys.list().filter(({ state }) => state !== 'revoked').length === 1)
      const before = outcomes.length
      await settled(() => outcomes.length > before + 4)
    }
    isOver = true
    await Promise.all(load)
    expect(new Set(outcomes)).toEqual(new Set(['ran']))
    expect(outcomes.length).toBeGreaterThan(10)
    expect(signers(plane)).toBe(1)
    for (const key of [world.logKey, ...chain.made.map((made) => made.key)]) {
      const found = await report(plane, key)
      expect({ verdict: found.verdict, findings: found.findings }).toEqual({ verdict: 'established', findings: [] })
      expect(found.receipts).toBe(outcomes.length)
    }
    expect((await report(plane)).established.map(({ claim }) => claim).join()).toContain('key epoch 4: the given one leads to it')
    expect(chain.adopted.at(-1)?.id).toBe(chain.made.at(-1)?.key.id)
  })
  it('during the overlap both keys sign every checkpoint, a second rotation is refused, and the old one ends when its time is over', async () => {
    const plane = await start()
    const { until } = await plane.keys.rotate(3_600_000)
    await plane.log.refresh()
    expect(signers(plane)).toBe(2)
    for (const key of [world.logKey, (chain.made[0] as TestKey).key]) expect(() => verifyCheckpoint(plane.log.checkpoint.note, key, nodeCryptography)).not.toThrow()
    await expect(plane.keys.rotate(0)).rejects.toMatchObject({ code: 'request_malformed' })
    expect(plane.keys.list().map(({ state, ends }) => [state, ends])).toEqual([['ending', until], ['current', undefined]])
    await expect(plane.keys.revokeLogKey((chain.made[0] as TestKey).key.id, undefined, plane.sub)).rejects.toMatchObject({ code: 'request_malformed' })
    await plane.keys.revokeLogKey(world.logKey.id, undefined, plane.sub)
    expect(signers(plane)).toBe(1)
    expect(plane.keys.list().map(({ state }) => state)).toEqual(['revoked', 'current'])
  })
  it('a plane that is started again goes on with the keys that the log names, and without the new one it does not start', async () => {
    const first = await start()
    await first.keys.rotate(3_600_000)
    await world.stop()
    const [next] = chain.made as [TestKey]
    const second = await start({ nextLogKey: next })
    await second.log.submit(() => ({ body: { kind: 'tool', target: 'mcp://x', name: 'x', digest: DIGEST }, bodies: [] }))
    expect(signers(second)).toBe(2)
    await second.keys.revokeLogKey(world.logKey.id, undefined, second.sub)
    await world.stop()
    const third = await start({ logKey: next })
    expect((await report(third, next.key)).verdict).toBe('established')
    await world.stop()
    const without = await start()
    await expect(without.log.submit(() => ({ body: { kind: 'tool', target: 'mcp://x', name: 'y', digest: DIGEST }, bodies: [] }))).rejects.toMatchObject({ code: 'key_revoked' })
  })
  it('I6: a gate that is away during a rotation follows it, keeps it in its floor, and takes no older key epoch', async () => {
    const plane = await start()
    const keys = generateKeyPairSync('ed25519')
    const before = await ready(world.gate({ keys }))
    before.close()
    await plane.keys.rotate(0)
    await settled(() => signers(plane) === 1)
    const after = world.gate({ keys })
    expect(await attempt(after)).toBe('ran')
    after.close()
    const kept = JSON.parse(world.floor.text ?? '{}') as { key_epoch: number; keys: string[] }
    expect(kept.key_epoch).toBe(2)
    expect(await attempt(world.gate({ keys })), 'by what the floor holds').toBe('ran')

    // A plane that leaves out what it said, or a floor that the given key does not lead through.
    world.onTheWire = (answer) => {
      const result = answer['result'] as JsonObject | undefined
      return result?.['keys'] === undefined ? answer : { ...answer, result: { ...result, keys: (result['keys'] as JsonObject[]).slice(0, 1) } }
    }
    expect(await attempt(world.gate({ keys }))).toBe('state_diverged')
    world.onTheWire = (answer) => answer
    const floor = new MemoryFloor()
    floor.text = JSON.stringify({ ...kept, keys: kept.keys.slice(0, 1) })
    expect(() => world.gate({ keys, floor })).toThrow(/does not lead to the one that it knew/)
    expect(await attempt(world.gate({ keys }))).toBe('ran')
  })
  it('ATK-062: a stolen old key, retired: its checkpoints are key_revoked at a gate, an unknown one is key_unknown', async () => {
    const plane = await start()
    const gate = await ready(world.gate())
    await plane.keys.rotate(0)
    await settled(() => signers(plane) === 1)
    expect(await attempt(gate)).toBe('ran')
    const thief = new TestKey(world.logKey.name)
    for (const [keys, id, code] of [[world.keys, world.logKey, 'key_revoked'], [thief.keys, thief.key, 'key_unknown']] as const) {
      world.onTheWire = (answer, method) => (method === 'permit' ? JSON.parse(JSON.stringify(answer), (name, value: unknown) => (name === 'proof' ? `${(value as string).slice(0, (value as string).indexOf('\n\n') + 2)}${signAgain(value as string, keys, id)}` : value)) as JsonObject : answer)
      expect(await attempt(gate)).toBe(code)
    }
    world.onTheWire = (answer) => answer
    function signAgain(proof: string, keys: World['keys'], key: NoteKey): string {
      const { text } = parseNote(proof.slice(proof.indexOf('\n\n') + 2))
      return `${text}\n${formatSignature(key, sign(null, utf8(text), keys.privateKey))}`
    }
  })
  it('ATK-063: of 10,000 attempts under keys that the gate does not know it looks for them once an interval', async () => {
    await start()
    const gate = await ready(world.gate())
    let enrolments = 0
    world.onTheWire = (answer) => {
      const result = answer['result'] as JsonObject | undefined
      if (result?.['epoch'] !== undefined) enrolments++
      return JSON.parse(JSON.stringify(answer), (name, value: unknown) => (name === 'proof' ? (value as string).replace(/\n— (\S+) \S+\n$/, (_, origin: string) => `\n— ${origin} ${Buffer.concat([Buffer.from(String(enrolments).padStart(4, '0')), Buffer.alloc(64, 7)]).toString('base64')}\n`) : value)) as JsonObject
    }
    const codes = new Set<string>()
    for (let i = 0; i < 10_000; i++) codes.add(await attempt(gate))
    expect(codes).toEqual(new Set(['key_unknown']))
    expect(enrolments).toBeLessThanOrEqual(1)
    world.gateClock.sleptMs += KEY_REFRESH_MS
    world.onTheWire = (answer) => answer
    expect(await attempt(gate)).toBe('ran')
  }, 120_000)
  it('ATK-064: the log key on the gate’s disk swapped: the plane refuses the gate, its floor refuses the key, and a verifier finds it in receipts', async () => {
    const plane = await start()
    const gate = await ready(world.gate())
    expect(await attempt(gate)).toBe('ran')
    gate.close()
    const thief = new TestKey(world.logKey.name)
    const honest = world.logKey
    ;(world as { logKey: NoteKey }).logKey = thief.key
    expect(() => world.gate()).toThrow(/does not lead to the one that it knew/)
    expect(await attempt(world.gate({ floor: new MemoryFloor() }))).toBe('state_diverged')
    // A gate that enrolled honestly, was given another key then, and signs what it did under it.
    ;(world as { logKey: NoteKey }).logKey = honest
    const swapped = await ready(world.gate({ floor: new MemoryFloor() }))
    Object.defineProperty(swapped, 'anchor', { value: anchorDigest(thief.key, sha256) })
    expect(await attempt(swapped)).toBe('ran')
    expect((await report(plane)).findings.map(({ claim }) => claim).join()).toContain('the gate was given another log key than those of this log')
  })
})

describe('revocation from an index on', () => {
  it('a gate whose key is revoked is refused, its receipts from there on establish nothing, and its open work ends as indeterminate', async () => {
    const plane = await start()
    const keys = generateKeyPairSync('ed25519')
    const gate = await ready(world.gate({ keys }))
    expect(await attempt(gate)).toBe('ran')
    const middle = plane.log.size
    expect(await attempt(gate)).toBe('ran')
    const { from, seq } = await plane.keys.revokeGate(gate.id, middle, plane.sub)
    expect([from, seq]).toEqual([middle, plane.log.size - 1])
    expect(['key_revoked', 'identity_unknown', 'identity_invalid']).toContain(await attempt(gate))
    gate.close()
    expect(await attempt(world.gate({ keys }))).toBe('key_revoked')
    expect(await attempt(await ready(world.gate({ floor: new MemoryFloor() })).catch((error: unknown) => Promise.reject(error as Error)))).toBe('ran')
    const found = await report(plane)
    expect(found.verdict).toBe('established')
    expect(found.findings.map(({ verdict, claim }) => `${verdict}: ${claim}`)).toEqual(['not established: the receipt is of a gate whose key is revoked from an index on that is not above this one'])
    await expect(plane.keys.revokeGate(gate.id, middle, plane.sub)).rejects.toMatchObject({ code: 'request_malformed' })
    await expect(plane.keys.revokeGate(gate.id, plane.log.size + 1, plane.sub)).rejects.toMatchObject({ code: 'request_malformed' })
    await expect(plane.keys.revokeGate('nobody', undefined, plane.sub)).rejects.toMatchObject({ code: 'identity_unknown' })
    expect((await plane.keys.revokeGate(gate.id, middle - 1, plane.sub)).from).toBe(middle - 1)
  })
})

describe('a signer that is slow or broken', () => {
  const entry = (plane: Plane, name: string): Promise<unknown> => plane.log.submit(() => ({ body: { kind: 'tool', target: 'mcp://x', name, digest: DIGEST }, bodies: [] }))
  it('refuses what waits for it, loses nothing that was acknowledged, and goes on when it signs again', async () => {
    const slow = Object.assign(new TestKey(world.logKey.name), { delayMs: 20 })
    const plane = await start({ logKey: slow })
    await entry(plane, 'a')
    const { size, note } = plane.log.checkpoint
    slow.fails = true
    await expect(entry(plane, 'b')).rejects.toMatchObject({ code: 'evidence_unavailable' })
    expect(plane.notReady?.code).toBe('evidence_unavailable')
    await expect(entry(plane, 'c'), 'at once, without asking').rejects.toMatchObject({ code: 'evidence_unavailable' })
    expect(plane.log.checkpoint).toEqual({ size, note })
    slow.fails = false
    await pause(1_050)
    await entry(plane, 'd')
    expect(plane.notReady).toBeUndefined()
    expect((await report(plane, slow.key)).verdict).toBe('established')
    expect((await plane.log.readRun(size, 10)).map((one) => (one.entry as { name?: string }).name)).toEqual(['d'])
  })
  it('one that takes longer than a gate waits counts as failed, and what it gives later signs nothing', async () => {
    const slow = new TestKey(world.logKey.name)
    const plane = await start({ logKey: slow })
    const { size } = plane.log.checkpoint
    slow.delayMs = 1_800
    await expect(entry(plane, 'a')).rejects.toMatchObject({ code: 'evidence_unavailable' })
    await pause(500)
    expect(plane.log.checkpoint.size).toBe(size)
    expect(plane.log.size).toBe(size)
  })
})

describe('hybrid checkpoints', () => {
  it('need both signatures of whoever holds the hybrid key; who holds the Ed25519 half sees an ordinary log', async () => {
    const hybrid = new TestKey(world.logKey.name, true)
    const plane = await start({ logKey: hybrid })
    ;(world as { logKey: NoteKey }).logKey = hybrid.key
    const gate = await ready(world.gate())
    expect(await attempt(gate)).toBe('ran')
    expect(signers(plane)).toBe(2)
    const { pq: _, ...half } = hybrid.key
    for (const key of [hybrid.key, half]) expect((await report(plane, key)).findings).toEqual([])
    // One of the two lines is not enough, whichever it is.
    const { text, signatures } = parseNote(plane.log.checkpoint.note)
    for (const missing of [0, 1]) {
      const note = `${text}\n${signatures.filter((_one, i) => i !== missing).map(({ name, id, signature }) => formatSignature({ name, id }, signature)).join('')}`
      expect(() => verifyCheckpoint(note, hybrid.key, nodeCryptography)).toThrow(Denied)
    }
    world.onTheWire = (answer, method) => (method !== 'permit' ? answer : (JSON.parse(JSON.stringify(answer), (name, value: unknown) => (name === 'proof' ? (value as string).replace(/— \S+ \S{4000,}\n/, '') : value)) as JsonObject))
    expect(await attempt(gate)).toBe('signature_invalid')
    // Without ML-DSA-65 at hand that half is said to be not established; nothing is claimed for it.
    const { verifyMlDsa65: __, ...classical } = nodeCryptography
    const found = verifyBundle(parseBundle(utf8(formatBundle(await plane.reader.evidence('all')))), { crypto: classical, logKey: hybrid.key, gateKeys: [] })
    expect(found.verdict).toBe('established')
    expect(found.findings.map(({ verdict, claim }) => `${verdict}: ${claim}`).join()).toContain('not established: the ML-DSA-65 signature of the hybrid key')
  })
  it('an Ed25519 log becomes one by a rotation, and its old key leads to the hybrid one', async () => {
    const plane = await start()
    chain.isHybrid = true
    const { seq } = await plane.keys.rotate(0)
    await settled(() => plane.keys.list().filter(({ state }) => state !== 'revoked').length === 1)
    const entry = (await plane.log.read(seq)).entry as LogKeyEntry
    expect(keyOf(entry, sha256).pq?.publicKey.length).toBe(1_952)
    for (const key of [world.logKey, (chain.made[0] as TestKey).key]) expect((await report(plane, key)).verdict).toBe('established')
    const forged = checkpointText({ origin: world.logKey.name, size: plane.log.size + 1, root: sha256(utf8('x')) })
    expect(() => verifyCheckpoint(`${forged}\n${formatSignature(entry === undefined ? world.logKey : (chain.made[0] as TestKey).key, (chain.made[0] as TestKey).sign(utf8(forged)) as Uint8Array)}`, (chain.made[0] as TestKey).key, nodeCryptography)).toThrow(/missing/)
    expect(parseEntry((await plane.log.read(seq)).text)).toEqual(entry)
  })
})
