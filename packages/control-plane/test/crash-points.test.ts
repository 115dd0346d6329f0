import * as fs from 'node:fs'
import * as path from 'node:path'
import { fsck, nodeCryptography, openSqliteStore, Plane, type Store, StoreFailure } from '@sealwrit/control-plane'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { Denied, parseSealed, verifyCheckpoint, verifyConsistency } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { IS_SOAK, score, SEED, seeded } from '../../../test/support/scoreboard.ts'
import { carriedOf, issueRequest } from './support/push.ts'
import { pinTools, Rig, type Rigged, sha256, TestGate } from './support/rig.ts'

const rigs: Rig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})
const OPTIONS = { tenant: 'default', owner: 'team:rig', localUser: 'somebody', isNew: true } as const
const WRITES = ['append', 'putCheckpoint', 'putIndex', 'putMeta', 'eraseBodies'] as const

/** Hears of every write of a store, before and after; what it throws is what the caller gets. */
function watched(store: Store, before: (name: string) => void, after: (name: string) => Promise<void> | void): Store {
  for (const name of WRITES) {
    const write = (store[name] as (...given: unknown[]) => Promise<unknown>).bind(store)
    Object.assign(store, {
      [name]: async (...given: unknown[]) => {
        before(name)
        const result = await write(...given)
        await after(name)
        return result
      },
    })
  }
  return store
}

/** What somebody outside was told: it may never be gone, and never be contradicted. */
interface Told {
  /** Signed checkpoints that left the process. */
  readonly notes: string[]
  /** Entries whose place was acknowledged, by leaf index. */
  readonly entries: Map<number, string>
}

/**
 * One whole execution of each kind, with everything that is written around it: begin, enrolment, definitions, permit,
 * receipt, index, carried artifact, redemption, erasure.
 */
async function execution(rig: Rig, plane: Plane, told: Told): Promise<void> {
  const take = (sealed: { readonly entry: string; readonly proof: string }): void => {
    const { proof } = parseSealed({ ...sealed })
    told.notes.push(proof.checkpoint)
    told.entries.set(proof.index, sealed.entry)
  }
  const rigged: Rigged = { plane, rng: rig.rng, clock: rig.clock, token: () => rig.token() }
  const gate = new TestGate(rigged)
  take((await plane.enrol(gate.enrolment(), { size: 0 })).sealed)
  await pinTools(plane, gate, ['read_file'])
  const reply = await gate.authorize()
  if (reply.decision !== 'permit') throw new Error(JSON.stringify(reply))
  take(reply.sealed)
  const { permit, leaf } = carriedOf(reply.sealed)
  const seq = await gate.report(gate.receiptFor(permit.jti, leaf))
  told.entries.set(seq, (await plane.log.read(seq)).text)
  rig.clock.advance(1_100) // the mark is written once a second
  told.notes.push((await plane.log.cover()).note)
  await plane.reader.show(permit.jti)
  const issued = await plane.issue(issueRequest(gate), { size: 0 })
  if (issued.decision !== 'permit') throw new Error(JSON.stringify(issued))
  take(issued.sealed)
  take((await plane.redeem({ session: gate.session, artifact: { ...issued.sealed }, challenge: rig.token() }, gate.id, { size: 0 })).redemption)
  rig.clock.advance(130_000)
  await plane.erase(permit.jti, false, plane.sub)
  told.notes.push((await plane.log.cover()).note)
}

/** What is wrong with a plane that came back, to those who were told something before. */
async function wrongWith(rig: Rig, plane: Plane, told: Told): Promise<string[]> {
  const wrong: string[] = []
  for (const [seq, text] of told.entries) {
    const found = (await rig.store.entries(seq, 1))[0]
    if (found !== text) wrong.push(`entry ${seq} was acknowledged and is ${found === undefined ? 'gone' : 'another one'}`)
  }
  const gate = new TestGate({ plane, rng: rig.rng, clock: rig.clock, token: () => rig.token() })
  const { sealed } = await plane.enrol(gate.enrolment(), { size: 0 })
  const newest = verifyCheckpoint(parseSealed({ ...sealed }).proof.checkpoint, rig.key, nodeCryptography)
  for (const note of told.notes) {
    const older = verifyCheckpoint(note, rig.key, nodeCryptography)
    if (older.size > newest.size) wrong.push(`a checkpoint of ${older.size} was shown, and the log has ${newest.size}`)
    else {
      try {
        verifyConsistency(older, newest, await plane.log.proved(() => plane.log.extends(older.size, { size: newest.size, note: '' })), sha256)
      } catch (error) {
        wrong.push(`a fork of the checkpoint of ${older.size} was signed: ${String(error)}`)
      }
    }
  }
  const { problems } = await fsck(rig.store, { logKey: rig.key, crypto: nodeCryptography, tenant: 'default', highWater: rig.highWater.read() })
  return [...wrong, ...problems.map((problem) => `fsck: ${problem}`)]
}

type Kind = 'lost' | 'lost, may heal' | 'persisted, but failed' | 'persisted, but failed, may heal' | 'crash before' | 'crash after'
const KINDS: readonly Kind[] = ['lost', 'lost, may heal', 'persisted, but failed', 'persisted, but failed, may heal', 'crash before', 'crash after']

/** Runs one execution with a fault at the write number `at`, then the plane that starts after it. @returns what was written there, and what is wrong */
async function withFault(at: number, kind: Kind): Promise<{ name: string | undefined; wrong: readonly string[] }> {
  const rig = new Rig(`crash ${at}`)
  const told: Told = { notes: [], entries: new Map() }
  let count = 0
  let name: string | undefined
  const fail = (): never => {
    throw kind.startsWith('crash') ? new Crash() : new StoreFailure('injected', kind.endsWith('may heal'))
  }
  let crashed = false
  rig.store = watched(
    openSqliteStore(rig.file),
    (what) => {
      if (crashed) throw new Crash()
      if (count++ !== at) return
      name = what
      crashed = kind.startsWith('crash')
      if (kind.startsWith('lost') || kind === 'crash before') fail()
    },
    () => {
      if (count - 1 === at && name !== undefined && (kind.startsWith('persisted') || kind === 'crash after')) fail()
    },
  )
  try {
    const plane = await Plane.open(rig.ports(), rig.policies, OPTIONS)
    await execution(rig, plane, told)
  } catch (error) {
    if (!(error instanceof Denied || error instanceof StoreFailure || error instanceof Crash)) throw error
  }
  await rig.store.close() // nothing is written by that: the plane is gone, as after a crash
  await rig.start()
  const wrong = rig.plane.notReady === undefined ? await wrongWith(rig, rig.plane, told) : [`closed: ${rig.plane.notReady.code}`]
  await rig.remove()
  return { name, wrong }
}
class Crash extends StoreFailure {
  constructor() {
    super('the process is gone', false)
  }
}

describe('S2: crash points at the store', () => {
  it('ATK-075: at every write of an execution, lost, persisted but failed, or cut off: nothing acknowledged is lost, no checkpoint is forked, the store is sound', async () => {
    const from = Date.now()
    const violations: string[] = []
    const kinds = new Map<string, number>()
    let boundaries = 0
    let runs = 0
    for (let at = 0; ; at++) {
      const results = []
      for (const kind of KINDS) results.push({ kind, ...(await withFault(at, kind)) })
      if (results[0]?.name === undefined) break
      boundaries++
      kinds.set(results[0].name, (kinds.get(results[0].name) ?? 0) + 1)
      for (const { kind, name, wrong } of results) {
        runs++
        for (const what of wrong) violations.push(`${name} (write ${at}), ${kind}: ${what}`)
      }
    }
    score({ id: 'S2', figure: 'crash points at the store: lost, persisted but failed, cut off', n: runs, violations: violations.length, faultsLanded: runs, seconds: (Date.now() - from) / 1_000, notes: `${boundaries} write boundaries × ${KINDS.length}: ${[...kinds].map(([name, count]) => `${count} ${name}`).join(', ')}` })
    console.log(`crash points at the store: ${boundaries} boundaries × ${KINDS.length} faults; ${JSON.stringify(Object.fromEntries(kinds))}`)
    expect(violations).toEqual([])
    expect(boundaries).toBeGreaterThan(12)
    for (const name of WRITES) expect(kinds.get(name) ?? 0, name).toBeGreaterThan(0)
  }, 600_000)
})

const HEADER = 32
const FRAME_HEADER = 24

/** The database as it was on disk right after a write was answered. */
interface Snapshot {
  readonly name: string
  readonly main: Buffer
  readonly wal: Buffer
  readonly size: number
  /** The newest durable checkpoint, which may have left by now. */
  readonly note: string
}

describe('S2: crash images of the files', () => {
  it('ATK-075: cut or torn anywhere, the store starts from a whole commit, forks nothing that was shown before it, and is closed where the mark remembers more', async () => {
    const from = Date.now()
    const rig = await reference()
    const { snapshots, folder } = rig
    const below = seeded(SEED)
    const images = new Images(folder)
    const violations: string[] = []
    let [cuts, torn, closed] = [0, 0, 0]

    /** Opens an image of the state after `expected`, and with a mark from the end of the run. */
    const look = async (what: string, image: Image, expected: Snapshot | undefined): Promise<void> => {
      for (const mark of [expected?.note ?? '', (snapshots.at(-1) as Snapshot).note]) {
        const wrong = await images.look(image, rig, expected, mark)
        if (wrong.closed) closed++
        for (const one of wrong.violations) violations.push(`${what}: ${one}`)
      }
    }
    // Runs between two resets of the log of writes: erasing truncates it.
    for (const run of runsOf(snapshots)) {
      const { main, wal } = run.at(-1) as Snapshot
      const frame = FRAME_HEADER + pageSize(wal)
      const expectedAt = (cut: number): Snapshot | undefined => run.findLast((s) => s.wal.length <= cut && s.main.equals(main)) ?? (snapshots[snapshots.indexOf(run[0] as Snapshot) - 1] as Snapshot | undefined)
      for (let cut = HEADER; cut <= wal.length; cut += frame) {
        cuts++
        await look(`cut at ${cut}`, { main, wal: wal.subarray(0, cut) }, expectedAt(cut))
        if (cut === wal.length) break
        for (const offset of IS_SOAK ? [1, FRAME_HEADER, FRAME_HEADER + 1 + below(frame - FRAME_HEADER - 2), frame - 1] : [1 + below(frame - 1)]) {
          torn++
          const tail = torn % 2 === 0 ? Buffer.alloc(wal.length - cut - offset) : Buffer.alloc(0)
          await look(`torn at ${cut + offset}`, { main, wal: Buffer.concat([wal.subarray(0, cut + offset), tail]) }, expectedAt(cut))
        }
      }
      // While the log of writes is carried over into the database: any part of its pages old, any new.
      const done = images.carriedOver({ main, wal })
      const pages = Math.ceil(done.length / pageSize(wal))
      for (let page = 0; page <= pages; page++) {
        cuts++
        const at = Math.min(done.length, page * pageSize(wal) - (page % 2 === 0 ? 0 : 100))
        const mixed = Buffer.concat([done.subarray(0, Math.max(0, at)), main.subarray(Math.max(0, at))])
        if (mixed.length >= 100) await look(`${page} pages carried over`, { main: mixed, wal }, run.at(-1))
      }
      await look('carried over, log of writes gone', { main: done, wal: Buffer.alloc(0) }, run.at(-1))
    }
    fs.rmSync(folder, { recursive: true, force: true })
    score({ id: 'S2', figure: 'crash images of database and write-ahead log, cut at every frame and torn inside', n: 2 * (cuts + torn), violations: violations.length, seed: SEED, faultsLanded: 2 * (cuts + torn), seconds: (Date.now() - from) / 1_000, notes: `${snapshots.length} commits; ${cuts} frame and page boundaries, ${torn} torn; ${closed} images closed by the mark` })
    console.log(`crash images: ${snapshots.length} commits, ${cuts} cut at boundaries, ${torn} torn, each with two marks; ${closed} closed by the mark`)
    expect(violations.slice(0, 10)).toEqual([])
    expect(closed).toBeGreaterThan(cuts / 2)
  }, 3_600_000)
})

interface Image {
  readonly main: Buffer
  readonly wal: Buffer
}

function pageSize(wal: Buffer): number {
  return wal.readUInt32BE(8)
}

/** The snapshots from one reset of the log of writes to the next, those without one left out. */
function runsOf(snapshots: readonly Snapshot[]): Snapshot[][] {
  const runs: Snapshot[][] = []
  for (const [i, snapshot] of snapshots.entries()) {
    const before = snapshots[i - 1]
    if (before === undefined || snapshot.wal.length < before.wal.length) runs.push([])
    if (snapshot.wal.length > 0) runs.at(-1)?.push(snapshot)
  }
  return runs.filter((run) => run.length > 0)
}

/** One whole execution, with the files as they were after each of its writes. */
async function reference(): Promise<Rig & { snapshots: Snapshot[]; texts: readonly string[] }> {
  const rig = new Rig('images')
  const snapshots: Snapshot[] = []
  const read = (name: string): Buffer => (fs.existsSync(name) ? fs.readFileSync(name) : Buffer.alloc(0))
  const plain = openSqliteStore(rig.file)
  rig.store = watched(plain, () => undefined, async (name) => {
    const { size, checkpoint } = await plain.head()
    snapshots.push({ name, main: read(rig.file), wal: read(`${rig.file}-wal`), size, note: checkpoint ?? '' })
  })
  const told: Told = { notes: [], entries: new Map() }
  const plane = await Plane.open(rig.ports(), rig.policies, OPTIONS)
  await execution(rig, plane, told)
  const texts = await rig.store.entries(0, 1_000)
  await plane.close()
  return Object.assign(rig, { snapshots, texts })
}

class Images {
  readonly #file: string
  constructor(folder: string) {
    this.#file = path.join(folder, 'image.db')
  }

  #write({ main, wal }: Image): void {
    for (const suffix of ['', '-wal', '-shm']) fs.rmSync(this.#file + suffix, { force: true })
    fs.writeFileSync(this.#file, main)
    if (wal.length > 0) fs.writeFileSync(`${this.#file}-wal`, wal)
  }

  /** The database after everything in its log of writes was carried over. */
  carriedOver(image: Image): Buffer {
    this.#write(image)
    void openSqliteStore(this.#file).close()
    return fs.readFileSync(this.#file)
  }

  async look(image: Image, rig: Rig & { texts: readonly string[] }, expected: Snapshot | undefined, mark: string): Promise<{ closed: boolean; violations: string[] }> {
    this.#write(image)
    const violations: string[] = []
    rig.highWater = new MemoryFloor()
    if (mark !== '') rig.highWater.write(mark)
    const store = openSqliteStore(this.#file)
    rig.store = store
    try {
      const found = await store.entries(0, 1_000)
      const size = expected?.size ?? 0
      if (found.length !== size || found.some((text, i) => text !== rig.texts[i])) violations.push(`holds ${found.length} entries instead of the ${size} of a whole commit`)
      const marked = mark === '' ? 0 : verifyCheckpoint(mark, rig.key, nodeCryptography).size
      const plane = await Plane.open(rig.ports(), rig.policies, OPTIONS)
      if (marked > size) {
        if (plane.notReady?.code !== 'store_rollback') violations.push(`open with ${size} entries, though ${marked} were shown`)
        return { closed: true, violations }
      }
      if (plane.notReady !== undefined) violations.push(`closed: ${plane.notReady.code}`)
      else violations.push(...(await wrongWith(rig, plane, { notes: mark === '' ? [] : [mark], entries: new Map(found.map((text, i) => [i, text])) })))
      return { closed: false, violations }
    } catch (error) {
      // With nothing left there is nothing to be read either: the plane does not start.
      if (error instanceof Denied && error.code === 'store_rollback' && mark !== '' && (expected?.size ?? 0) === 0) return { closed: true, violations }
      return { closed: false, violations: [...violations, String(error)] }
    } finally {
      await store.close()
    }
  }
}
