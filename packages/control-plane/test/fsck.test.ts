import * as fs from 'node:fs'
import * as path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fsck, KeptAnchors, nodeClock, nodeCryptography, nodeRng, openSqliteStore, Plane, serveSocket, type Store } from '@sealwrit/control-plane'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { type Bundle, BundleVerifier, checkpointText, formatSignature, noteKey, type Report, toBase64, utf8, verifyBundle, verifyCheckpoint } from '@sealwrit/protocol'
import { generateKeyPairSync, sign } from 'node:crypto'
import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type Postgres, startPostgres } from '../../../test/support/postgres.ts'
import { score, SEED, seeded, sized } from '../../../test/support/scoreboard.ts'
import { SocketClient } from './support/push.ts'
import { check, dumpOf, fill, type Row, rowsOf, storeOf } from './support/sound-store.ts'
import { PERMIT_ALL, pinTools, policySet, Rig, sha256, TestGate, toolCall } from './support/rig.ts'

const FLIPS = sized(100, 100_000)
const CELLS = sized(3, 500)
const ENTRIES = sized(300, 10_000)

/** One sound store of every kind of row, closed, and what is known of it. */
const sound = new Rig('sound')
let original: Buffer
let dump: string
const counters: Record<string, number> = {}
let rows: readonly Row[]
let bundle: Bundle
let mark: string
beforeAll(async () => {
  await sound.start()
  await fill(sound, 300)
  await sound.plane.log.cover()
  bundle = await sound.plane.reader.evidence('all')
  mark = sound.plane.log.checkpoint.note
  rows = await rowsOf(sound.store)
  for (const row of rows) if (row.kind === 'meta' && /^(indexed_size|erased_below)$/.test(row.key)) counters[row.key] = Number(row.value)
  dump = await dumpOf(sound.store, counters)
  await sound.stop()
  original = fs.readFileSync(sound.file)
}, 120_000)
afterAll(() => sound.remove())

const rigs: Rig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})

/** What fsck says of a file, or why it cannot be opened; undefined where it is the sound store to whoever reads it. */
async function problemsOf(file: string): Promise<readonly string[] | undefined> {
  let store: Store | undefined
  try {
    store = openSqliteStore(file)
    const isSame = await dumpOf(store, counters).then((found) => found === dump, () => false)
    return isSame ? undefined : (await check(store, sound)).problems
  } catch (error) {
    return [String(error)]
  } finally {
    await store?.close()
  }
}
const copyOf = (name: string, bytes: Buffer): string => {
  const file = path.join(sound.folder, name)
  for (const suffix of ['-wal', '-shm', '']) fs.rmSync(file + suffix, { force: true })
  fs.writeFileSync(file, bytes)
  return file
}

describe('a sound store', () => {
  it('is sound, and counted right', async () => {
    const store = openSqliteStore(sound.file)
    const report = await check(store, sound, mark)
    await store.close()
    expect(report.problems).toEqual([])
    const groups = rows.filter((row) => row.kind === 'group')
    expect(report).toMatchObject({
      omitted: 0, groups: groups.length, entries: groups.reduce((sum, { count }) => sum + count, 0), tiles: 1,
      bodies: groups.reduce((sum, { bodies }) => sum + (bodies === '' ? 0 : bodies.split('\n').length), 0), checkpoints: groups.filter(({ checkpoint }) => checkpoint !== undefined).length,
    })
    for (const kind of ['group', 'tile', 'spent', 'execution', 'meta']) expect(rows.some((row) => row.kind === kind), kind).toBe(true)
    for (const name of ['indexed_size', 'erased_below']) expect(rows.some((row) => row.kind === 'meta' && row.key === name), name).toBe(true)
  })

  it('gives no false alarm while its plane writes, in the process and over the socket', async () => {
    const rig = await Rig.open()
    rigs.push(rig)
    await fill(rig, 300)
    const gate = await rig.gate()
    const server = await serveSocket(rig.plane, path.join(rig.folder, 's'))
    const client = await SocketClient.connect(path.join(rig.folder, 's'))
    let isWriting = true
    const writing = (async (): Promise<void> => {
      while (isWriting) {
        const { permit, leaf } = await gate.permit()
        await gate.report(gate.receiptFor(permit.jti, leaf))
        await rig.plane.reader.show(permit.jti)
        if (permit.seq % 8 === 0) await rig.plane.log.cover()
        if (permit.seq % 32 === 0) {
          rig.clock.advance(130_000)
          await rig.plane.erase('0', false, rig.plane.sub)
          await rig.plane.erase(String(permit.seq - 40), false, rig.plane.sub)
        }
      }
    })()
    try {
      for (let round = 0; round < 12; round++) {
        let state = await client.request<{ done: number; of: number; report?: { problems: string[]; entries: number } }>('fsck', { begin: true })
        while (state.report === undefined) {
          await new Promise((resolve) => setTimeout(resolve, 2))
          state = await client.request('fsck', { begin: false })
        }
        expect(state.report.problems).toEqual([])
        expect(state.report.entries).toBeGreaterThan(300)
      }
    } finally {
      isWriting = false
      await writing
      client.close()
      await server.close()
    }
    expect(rig.plane.notReady).toBeUndefined()
  })

  it('ATK-079: an erasure while it reads is done to the end: nothing of the body is left in the files', async () => {
    const rig = await Rig.open()
    rigs.push(rig)
    await fill(rig, 60)
    const gate = await rig.gate()
    const { permit } = await gate.permit(gate.request(toolCall('read_file', { path: '/patient-4711' })))
    rig.clock.advance(130_000)
    const audit = rig.store.audit()
    for await (const row of audit) {
      if (row.kind !== 'group') continue
      expect((await rig.plane.erase(permit.jti, false, rig.plane.sub)).bodies).toBeGreaterThan(0)
      for (const file of [rig.file, `${rig.file}-wal`]) expect(fs.readFileSync(file).includes('patient-4711'), file).toBe(false)
      break
    }
  })
  it('a crash may leave the index behind: that is no damage', async () => {
    const rig = await Rig.open()
    rigs.push(rig)
    await fill(rig, 40)
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    await rig.plane.reader.show(permit.jti)
    await gate.report(gate.receiptFor(permit.jti, leaf))
    await gate.permit()
    expect((await check(rig.store, rig)).problems).toEqual([])
  })
})

describe('S21: single bits', () => {
  it(`ATK-070: of ${FLIPS} random flips in the file of the database each is named, or changes nothing that can be read`, async () => {
    const below = seeded(SEED)
    const from = Date.now()
    let [named, same] = [0, 0]
    const missed: number[] = []
    for (let i = 0; i < FLIPS; i++) {
      const bit = below(original.length * 8)
      const bytes = Buffer.from(original)
      bytes.writeUInt8(bytes.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      const problems = await problemsOf(copyOf('flipped.db', bytes))
      if (problems === undefined) same++
      else if (problems.length > 0) named++
      else missed.push(bit)
    }
    score({ id: 'S21', figure: 'single-bit flips over the SQLite file that fsck misses', n: FLIPS, violations: missed.length, seed: SEED, faultsLanded: named, seconds: (Date.now() - from) / 1_000, notes: `${named} named, ${same} changed nothing that can be read` })
    console.log(`bit flips in the file: ${FLIPS}, ${named} named by fsck, ${same} without effect (seed ${SEED})`)
    expect(missed).toEqual([])
    expect(named).toBeGreaterThan(FLIPS / 4)
  }, 7_200_000)

  const COLUMNS = [
    ['commit_group', 'first_seq'], ['commit_group', 'count'], ['commit_group', 'entries'], ['commit_group', 'bodies'], ['commit_group', 'checkpoint'],
    ['tile', 'level'], ['tile', 'idx'], ['tile', 'hashes'], ['spent', 'key'], ['spent', 'seq'],
    ['execution', 'jti'], ['execution', 'seq'], ['execution', 'ending'], ['execution', 'deadline_ms'], ['execution', 'expiry'], ['meta', 'key'], ['meta', 'value'],
  ] as const
  const KEY = { commit_group: 'first_seq', tile: 'level', spent: 'key', execution: 'jti', meta: 'key' } as const
  it(`${CELLS} flips in cells of every column of every table: each is named`, async () => {
    const below = seeded(SEED)
    const from = Date.now()
    const missed: string[] = []
    let flips = 0
    for (const [table, column] of COLUMNS) {
      for (let i = 0; i < CELLS; i++) {
        const file = copyOf('cell.db', original)
        const database = new DatabaseSync(file)
        // A counter that lags is caught up with, so it is under test by itself below.
        const where = `${column} IS NOT NULL AND ${column} <> ''${table === 'meta' ? " AND key NOT IN ('indexed_size', 'erased_below')" : ''}`
        const cells = database.prepare(`SELECT ${KEY[table]} AS key, ${column} AS value FROM ${table} WHERE ${where}`).all() as { key: string | number; value: string | number | Uint8Array }[]
        const { key, value } = cells[below(cells.length)] as (typeof cells)[0]
        const flipped = flip(value, below)
        let changes = 0
        try {
          changes = Number(database.prepare(`UPDATE ${table} SET ${column} = ${typeof value === 'string' ? 'CAST(? AS TEXT)' : '?'} WHERE ${KEY[table]} = ?`).run(flipped, key).changes)
        } catch {
          // two rows under one key: the database itself refuses that
        }
        database.close()
        if (changes === 0) continue
        flips++
        const problems = await problemsOf(file)
        if (problems === undefined || problems.length === 0) missed.push(`${table}.${column}: ${String(value).slice(0, 80)} → ${typeof flipped === 'number' ? flipped : Buffer.from(flipped).toString('latin1').slice(0, 80)}`)
      }
    }
    score({ id: 'S21', figure: 'single-bit flips in cells of every column that fsck misses', n: flips, violations: missed.length, seed: SEED, faultsLanded: flips, seconds: (Date.now() - from) / 1_000 })
    expect(missed).toEqual([])
    expect(flips).toBeGreaterThanOrEqual(CELLS * COLUMNS.length * 0.9)
  }, 7_200_000)
})

/** One bit of a value the other way; of a number one below 2^44, so that it stays a number of this machine. */
function flip(value: string | number | Uint8Array, below: (n: number) => number): Uint8Array | number {
  if (typeof value === 'number') {
    const bit = 2 ** below(44)
    return Math.floor(value / bit) % 2 === 1 ? value - bit : value + bit
  }
  const bytes = typeof value === 'string' ? Buffer.from(value) : Buffer.from(value)
  const at = below(bytes.length)
  bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << below(8)), at)
  return bytes
}

describe('what fsck looks for', () => {
  const changed = async (sql: string): Promise<readonly string[] | undefined> => {
    const file = copyOf('changed.db', original)
    const database = new DatabaseSync(file)
    expect(Number(database.prepare(sql).run().changes), sql).toBeGreaterThan(0)
    database.close()
    return problemsOf(file)
  }
  it.each([
    ['a spent key removed', 'DELETE FROM spent WHERE key = (SELECT max(key) FROM spent)', /was spent, and the store does not hold it/],
    ['a spent key added', "INSERT INTO spent VALUES ('jti AAAAAAAAAAAAAAAAAAAAAA', 1)", /is spent, and no entry spends it/],
    ['a spent key at another group', 'UPDATE spent SET seq = seq + 1 WHERE key = (SELECT max(key) FROM spent)', /was spent in group/],
    ['an execution removed from the index', 'DELETE FROM execution WHERE jti = (SELECT max(jti) FROM execution)', /the index has lost execution/],
    ['an ending removed from the index', 'UPDATE execution SET ending = NULL WHERE ending IS NOT NULL', /the index of execution .* is not what the log says/],
    ['a parent added to the index', "UPDATE execution SET parent = 'AAAAAAAAAAAAAAAAAAAAAA' WHERE jti = (SELECT max(jti) FROM execution)", /the index of execution .* is not what the log says/],
    ['an index that claims to be ahead', "UPDATE meta SET value = '99999' WHERE key = 'indexed_size'", /derived speaks of entry 99998/],
    ['erasures that claim to be done', "UPDATE meta SET value = '200' WHERE key = 'erased_below'", /no erasure stands there/],
    ['a counter that is no number', "UPDATE meta SET value = '1e2' WHERE key = 'indexed_size'", /indexed_size is no number/],
    ['something under a name that nothing uses', "INSERT INTO meta VALUES ('x', 'y')", /under a name that nothing uses: x/],
    ['a policy set removed', "DELETE FROM meta WHERE key LIKE 'policy %'", /decisions under it cannot be replayed/],
    ['an older checkpoint removed', 'UPDATE commit_group SET checkpoint = NULL WHERE first_seq = (SELECT min(first_seq) FROM commit_group WHERE first_seq > 50 AND checkpoint IS NOT NULL)', /has lost its checkpoint/],
    ['every checkpoint removed', 'UPDATE commit_group SET checkpoint = NULL', /no signed checkpoint/],
    ['a tile far beyond the log', 'INSERT INTO tile VALUES (0, 77, zeroblob(8192))', /speaks of entry 19967, and the log has/],
    ['a last group that says it is empty', 'UPDATE commit_group SET count = 0 WHERE first_seq = (SELECT max(first_seq) FROM commit_group)', /says that it has 0 entries/],
  ])('%s', async (_name, sql, problem) => {
    expect((await changed(sql))?.join('\n')).toMatch(problem)
  })
  it('a kept anchor that is gone, cannot be read, or is of no checkpoint of this log', async () => {
    const rig = await Rig.open()
    rigs.push(rig)
    const { note, size } = await rig.plane.log.cover()
    const kept = new KeptAnchors(rig.store)
    await kept.add(await kept.place({ type: 'file', where: 'copies' }), { type: 'file', checkpoint: note, where: 'copies', time: 1 }, size, 1)
    expect((await check(rig.store, rig)).problems).toEqual([])
    const value = (await rig.store.getMeta('anchor 0 0')) as string
    for (const bad of [value.replace('rig.test', 'big.test'), value.replace(`"size":${size}`, `"size":${size + 1}`), value.slice(1), '']) {
      await rig.store.putMeta('anchor 0 0', bad)
      expect((await check(rig.store, rig)).problems.join(), bad).toMatch(/^a kept anchor: /)
    }
    await rig.store.putMeta('anchor 0 0', value)
    await rig.store.putMeta('anchor sinks', '2')
    expect((await check(rig.store, rig)).problems.join()).toMatch(/^a kept anchor: /)
  })
  it('receipts that no checkpoint covers yet stand by their gate’s signature, and their results with them', async () => {
    const rig = await Rig.open()
    rigs.push(rig)
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    await gate.report(gate.receiptFor(permit.jti, leaf))
    expect(rig.plane.log.checkpoint.size).toBe(rig.plane.log.size - 1)
    const good = await rowsOf(rig.store)
    expect((await check(storeOf(good), rig)).problems).toEqual([])
    const last = good.findLast((row) => row.kind === 'group') as Row & { kind: 'group' }
    const token = /"receipt":"([^"]+)"/.exec(last.entries)?.[1] as string
    for (const at of [2, Math.floor(token.length / 2), token.length - 40]) {
      const other = `${token.slice(0, at)}${token[at] === 'A' ? 'B' : 'A'}${token.slice(at + 1)}`
      const bad = good.map((row) => (row === last ? { ...last, entries: last.entries.replace(token, other) } : row))
      expect((await check(storeOf(bad), rig)).problems.join(), String(at)).toMatch(/entry \d+: /)
    }
    const beyond = good.map((row) => (row === last ? { ...last, entries: last.entries.replaceAll(permit.jti, 'AAAAAAAAAAAAAAAAAAAAAA') } : row))
    expect((await check(storeOf(beyond), rig)).problems.join()).toMatch(/about another execution/)
  })
})

describe('S21: every position', () => {
  type GroupRow = Row & { kind: 'group' }
  /** A longer log, for the soak, of permits and receipts in groups. */
  const { stackTraceLimit } = Error
  beforeAll(() => void (Error.stackTraceLimit = 0)) // every reason is an error that is made, and nobody reads its trace
  afterAll(() => void (Error.stackTraceLimit = stackTraceLimit))
  let log: { rows: readonly Row[]; texts: readonly string[]; mark: string; key: Rig['key'] }
  beforeAll(async () => {
    const rig = new Rig('positions')
    await rig.start()
    const gate = await rig.gate()
    while (rig.plane.log.size < ENTRIES) {
      const { permit, leaf } = await gate.permit()
      const counts = Array.from({ length: 12 }, (_, i) => rig.plane.log.submit(() => ({ body: { kind: 'gate', gate: gate.id, event: 'denials_lost', count: i + 1 }, bodies: [] })))
      await Promise.all([...counts, gate.report(gate.receiptFor(permit.jti, leaf))])
    }
    await rig.plane.log.cover()
    const all = await rowsOf(rig.store)
    log = { rows: all, texts: all.flatMap((row) => (row.kind === 'group' ? row.entries.split('\n') : [])), mark: rig.plane.log.checkpoint.note, key: rig.key }
    await rig.remove()
  }, 1_800_000)

  /** The rows of a log with these entries, as close to the original's as can be without its key. */
  const rowsWith = (texts: readonly string[]): Row[] => {
    let at = 0
    const out: Row[] = []
    for (const row of log.rows) {
      if (row.kind === 'tile' && (row.index + 1) * 256 ** (row.level + 1) > texts.length) continue
      if (row.kind !== 'group') {
        out.push(row)
        continue
      }
      const isLast = row === log.rows.findLast((r) => r.kind === 'group')
      const some = texts.slice(at, isLast ? texts.length : at + row.count)
      if (some.length === 0) continue
      const isCut = some.length < row.count
      const bodies = row.bodies.split('\n').filter((line) => line !== '' && Number(line.split(' ')[0]) < at + some.length).join('\n')
      out.push({ ...row, firstSeq: at, count: some.length, entries: some.join('\n'), bodies, checkpoint: isCut ? undefined : row.checkpoint } as GroupRow)
      at += some.length
    }
    return out
  }
  /** What a verifier with one held checkpoint says of these entries under a checkpoint. */
  const verified = (texts: readonly string[], note: string, held: string): Report => {
    const verifier = new BundleVerifier({ crypto: nodeCryptography, logKey: log.key, gateKeys: [], checkpoints: [held] })
    verifier.head({ v: 1, origin: log.key.name, tenant: 'default', checkpoint: note })
    for (const text of texts) verifier.leaf(text)
    return verifier.end()
  }
  const told = (report: Report): string => report.findings.filter(({ verdict, claim }) => verdict === 'contradicted' || claim.includes('given checkpoint')).map(({ claim }) => claim).join('\n')
  const EDITS = {
    edited: { edit: (t: readonly string[], i: number) => t.with(i, (t[i] as string).replace(/"time":(\d+)/, (_, time: string) => `"time":${Number(time) + 1}`)), says: /entries are not those|is not over these entries/ },
    deleted: { edit: (t: readonly string[], i: number) => t.toSpliced(i, 1), says: /seq is not the leaf index|cut off|not those that the log key signed/ },
    reordered: { edit: (t: readonly string[], i: number) => (i === 0 ? t.with(0, t.at(-1) as string).with(t.length - 1, t[0] as string) : t.with(i, t[i - 1] as string).with(i - 1, t[i] as string)), says: /seq is not the leaf index/ },
    truncated: { edit: (t: readonly string[], i: number) => t.slice(0, i), says: /cut off|another history|newer than this bundle|are not those/ },
  } as const

  it.each(Object.keys(EDITS) as (keyof typeof EDITS)[])('ATK-070, ATK-072: an entry %s at each of its positions is named by fsck and by verify', async (kind) => {
    const { edit, says } = EDITS[kind]
    const rig = { key: log.key } as Rig
    const from = Date.now()
    const missed: string[] = []
    let withoutMark = 0
    expect((await check(storeOf(log.rows), rig, log.mark)).problems).toEqual([])
    expect(told(verified(log.texts, log.mark, log.mark))).toBe('')
    for (let i = 0; i < log.texts.length; i++) {
      const texts = edit(log.texts, i)
      const damaged = rowsWith(texts)
      const { problems } = await check(storeOf(damaged), rig, log.mark)
      if (!says.test(problems.join('\n'))) missed.push(`fsck at ${i}: ${problems.join('; ').slice(0, 200)}`)
      if (problems.some((problem) => !/cut off|given checkpoint/.test(problem))) withoutMark++
      const note = kind === 'truncated' ? (damaged.findLast((row) => row.kind === 'group' && row.checkpoint !== undefined) as GroupRow | undefined)?.checkpoint : log.mark
      const verdict = note === undefined ? 'newer than this bundle' : told(verified(texts, note, log.mark))
      if (!says.test(verdict)) missed.push(`verify at ${i}: ${verdict.slice(0, 200)}`)
    }
    score({ id: 'S21', figure: `entries ${kind} at every position that fsck or verify misses`, n: log.texts.length, violations: missed.length, faultsLanded: log.texts.length, seconds: (Date.now() - from) / 1_000, notes: kind === 'truncated' ? `${withoutMark} of them without a checkpoint held elsewhere` : '' })
    expect(missed).toEqual([])
    if (kind !== 'truncated') expect(withoutMark).toBe(log.texts.length)
  }, 7_200_000)
})

describe('verify says why', () => {
  const reasonOf = (change: (b: Bundle) => Bundle): string => {
    const report = verifyBundle(change(structuredClone(bundle)), { crypto: nodeCryptography, logKey: sound.key, gateKeys: [] })
    expect(report.verdict).not.toBe('established')
    return report.findings.filter(({ verdict }) => verdict === 'contradicted').map(({ claim }) => claim).join('\n')
  }
  const signed = (size: number | string, keys = sound.logKeys, key = sound.key): string => {
    const text = checkpointText({ origin: key.name, size: size as number, root: verifyCheckpoint(bundle.checkpoint, sound.key, nodeCryptography).root })
    return `${text}\n${formatSignature(key, sign(null, utf8(text), keys.privateKey))}`
  }
  it.each<[string, (b: Bundle) => Bundle, RegExp]>([
    ['a checkpoint from another log', (b) => {
      const keys = generateKeyPairSync('ed25519')
      return { ...b, checkpoint: signed(5, keys, noteKey('other.test/default', new Uint8Array(Buffer.from(keys.publicKey.export({ format: 'jwk' }).x as string, 'base64url')), sha256)) }
    }, /key_unknown: .*the checkpoint is of another log/],
    ['a checkpoint of another key under this log’s name', (b) => {
      const keys = generateKeyPairSync('ed25519')
      return { ...b, checkpoint: signed(5, keys, noteKey(sound.key.name, new Uint8Array(Buffer.from(keys.publicKey.export({ format: 'jwk' }).x as string, 'base64url')), sha256)) }
    }, /key_unknown|signature_invalid/],
    ['a proof index beyond the tree', (b) => ({ ...b, entries: b.entries.map((e, i) => (i === 3 ? { ...e, proof: e.proof.replace(/^index \d+/m, `index ${b.entries.length + 5}`) } : e)) }), /seal_invalid: .*index outside the tree/],
    ['a proof index of 2^53', (b) => ({ ...b, entries: b.entries.map((e, i) => (i === 3 ? { ...e, proof: e.proof.replace(/^index \d+/m, 'index 9007199254740992') } : e)) }), /artifact_malformed: /],
    ['a signed size of 2^53', (b) => ({ ...b, checkpoint: signed('9007199254740992') }), /artifact_malformed: .*not a decimal number/],
    ['a signed size of 2^53 − 1', (b) => ({ ...b, checkpoint: signed(2 ** 53 - 1), entries: b.entries.map((e) => ({ ...e, proof: e.proof.replace(/\n\n[\s\S]*$/, `\n\n${signed(2 ** 53 - 1)}`) })) }), /seal_invalid: .*proof too short/],
    ['a size with a leading zero', (b) => ({ ...b, checkpoint: signed('0305') }), /artifact_malformed/],
    ['an inclusion hash with one bit changed', (b) => ({ ...b, entries: b.entries.map((e, i) => (i === 9 ? { ...e, proof: e.proof.replace(/^index \d+\n([A-Za-z0-9+/=]{44})$/m, (all, hash: string) => all.replace(hash, toBase64(Buffer.from(hash, 'base64').map((byte, k) => (k === 4 ? byte ^ 1 : byte))))) } : e)) }), /seal_invalid: .*root differs/],
  ])('%s', (_name, change, why) => {
    expect(reasonOf(change)).toMatch(why)
  })
})

describe('PostgreSQL', () => {
  let postgres: Postgres
  beforeAll(async () => {
    postgres = await startPostgres()
  })
  afterAll(() => postgres.stop())

  it('a sound store is sound while two planes write, and damage of every table is named', async () => {
    const url = await postgres.database()
    const keys = generateKeyPairSync('ed25519')
    const key = noteKey('pg.test/default', new Uint8Array(Buffer.from(keys.publicKey.export({ format: 'jwk' }).x as string, 'base64url')), sha256)
    const open = async (): Promise<Plane> => {
      const store = await openPostgresStore(url, 'default')
      const logKey = { key, sign: (message: Uint8Array): Uint8Array => sign(null, message, keys.privateKey) }
      let kept: string | undefined
      const highWater = { read: () => kept, write: (note: string) => void (kept = note) }
      return Plane.open({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey, highWater, defer: setImmediate }, policySet(PERMIT_ALL), { tenant: 'default', owner: 'team:p', localUser: 'somebody', isNew: true })
    }
    const planes = [await open(), await open()] as const
    const gate = new TestGate({ plane: planes[0], rng: nodeRng, clock: nodeClock, token: () => Buffer.from(nodeRng.bytes(16)).toString('base64url') })
    await gate.enrol()
    await pinTools(planes[0], gate, ['read_file'])
    let isWriting = true
    const writing = planes.map(async (plane) => {
      while (isWriting) {
        const reply = await plane.authorize(gate.request(), gate.id, { size: 0 }).catch(() => undefined)
        if (reply?.decision === 'permit') await plane.reader.show((JSON.parse(reply.sealed.entry) as { jti: string }).jti)
      }
    })
    const wait = async (plane: Plane): Promise<readonly string[]> => {
      for (let begin = true; ; begin = false) {
        const { report } = plane.reader.fsck(begin)
        if (report !== undefined && !begin) return report.problems
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    while (planes[0].log.size < 300) await new Promise((resolve) => setTimeout(resolve, 20))
    for (let round = 0; round < 4; round++) expect(await wait(planes[round % 2] as Plane)).toEqual([])
    isWriting = false
    await Promise.all(writing)
    for (const plane of planes) await plane.close()

    const store = await openPostgresStore(url, 'default')
    const client = new pg.Client({ connectionString: url })
    await client.connect()
    const trust = { logKey: key, crypto: nodeCryptography, tenant: 'default' }
    const clean = await fsck(store, trust)
    expect(clean.problems).toEqual([])
    expect(clean.tiles).toBe(Math.floor(clean.entries / 256))
    expect(clean.checkpoints).toBe(0)
    const tables = ['group', 'head', 'tile', 'execution', 'spent', 'meta'].map((name) => `sealwrit_${name}`)
    for (const table of tables) await client.query(`CREATE TABLE was_${table} AS SELECT * FROM ${table}`)
    const last = '(SELECT max(first_seq) FROM sealwrit_group)'
    for (const [sql, why] of [
      ["UPDATE sealwrit_group SET entries = replace(entries, 'low', 'lov') WHERE first_seq = " + last, /entry \d+|not those/],
      [`DELETE FROM sealwrit_group WHERE first_seq = ${last}`, /missing/],
      ['UPDATE sealwrit_group SET count = count + 1 WHERE first_seq = ' + last, /says that it has/],
      ['UPDATE sealwrit_head SET size = size + 1', /missing/],
      ['UPDATE sealwrit_head SET size = size - 1', /speaks of entry|not those/],
      ['UPDATE sealwrit_head SET checkpoint = NULL', /no signed checkpoint/],
      ["UPDATE sealwrit_tile SET hashes = overlay(hashes placing '\\x00'::bytea from 40)", /is not that of the entries/],
      ['UPDATE sealwrit_tile SET idx = idx + 1', /missing|speaks of/],
      ["UPDATE sealwrit_execution SET deadline_ms = deadline_ms + 1 WHERE jti = (SELECT max(jti) FROM sealwrit_execution)", /is not what the log says/],
      ['DELETE FROM sealwrit_execution WHERE jti = (SELECT min(jti) FROM sealwrit_execution)', /has lost execution/],
      ["INSERT INTO sealwrit_spent VALUES ('default', 'jti x', 1)", /no entry spends it/],
      ["UPDATE sealwrit_meta SET value = replace(value, 'permit', 'forbid') WHERE key LIKE 'policy %'", /the texts differ/],
    ] as const) {
      expect((await client.query(sql)).rowCount, sql).toBeGreaterThan(0)
      expect((await fsck(store, trust)).problems.join('\n'), sql).toMatch(why)
      for (const table of tables) await client.query(`DELETE FROM ${table}; INSERT INTO ${table} SELECT * FROM was_${table}`)
    }
    await client.end()
    await store.close()
  }, 60_000)
})
