import * as fs from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { EdgeTree, LogDamaged, openSqliteStore, StoreOpenError, type Tile, TileNeeded, TreeDamaged } from '@sealwrit/control-plane'
import { type Checkpoint, type Entry, inclusionProof, leafHash, nodeHash, parseEntry, parseProof, treeRoot, verifyCheckpoint, verifyConsistency, verifyInclusion, verifyBundle, type Bundle } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/control-plane'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { score } from '../../../test/support/scoreboard.ts'
import { outcome, PERMIT_ALL, policySet, Rig, sha256, told, toolCall } from './support/rig.ts'

const rigs: Rig[] = []
const open = async (seed?: string): Promise<Rig> => {
  const rig = await Rig.open(seed)
  rigs.push(rig)
  return rig
}
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})

const leafAt = (i: number): Uint8Array => leafHash(new TextEncoder().encode(`leaf ${i}`), sha256)

describe('the tree', () => {
  /** Runs a proof, loading the tiles that it asks for. */
  const proved = <T>(tree: EdgeTree, tiles: ReadonlyMap<string, Tile>, prove: () => T): { value: T; loads: number } => {
    for (let loads = 0; ; loads++) {
      try {
        return { value: prove(), loads }
      } catch (error) {
        if (!(error instanceof TileNeeded)) throw error
        tree.load(error.level, error.index, tiles.get(`${error.level}/${error.index}`)?.hashes)
      }
    }
  }
  it('has the root of RFC 6962 at every size around full tiles, and proves old leaves from its tiles', () => {
    const leaves: Uint8Array[] = []
    const tiles = new Map<string, Tile>()
    let loads = 0
    const tree = new EdgeTree(sha256)
    // The reference: every node kept, nothing clever.
    const rows: Uint8Array[][] = [[]]
    const push = (level: number, hash: Uint8Array): void => {
      const row = (rows[level] ??= [])
      row.push(hash)
      if (row.length % 2 === 0) push(level + 1, nodeHash(row.at(-2) as Uint8Array, hash, sha256))
    }
    const reference = (level: number, index: number): Uint8Array => rows[level]?.[index] as Uint8Array
    const interesting = new Set([1, 2, 3, 255, 256, 257, 511, 512, 513, 1_023, 1_024, 1_025, 2_047, 2_048, 2_049, 65_535, 65_536, 65_537, 66_000])
    for (let size = 1; size <= 66_000; size++) {
      const leaf = leafAt(size - 1)
      leaves.push(leaf)
      push(0, leaf)
      tree.append(leaf)
      if (size % 1_000 === 0) tree.settle()
      if (!interesting.has(size)) continue
      for (const tile of tree.takeFilled()) tiles.set(`${tile.level}/${tile.index}`, tile)
      const root = treeRoot(size, reference, sha256)
      expect(treeRoot(size, tree.subtree, sha256)).toEqual(root)
      for (const index of [0, 1, Math.floor(size / 2), size - 1]) {
        if (index >= size) continue
        const proof = proved(tree, tiles, () => inclusionProof(index, size, tree.subtree, sha256))
        loads += proof.loads
        verifyInclusion({ index, size, leaf: leaves[index] as Uint8Array, root, proof: proof.value }, sha256)
      }
    }
    expect(tiles.size).toBe(257 + 1)
    expect(loads).toBeGreaterThan(0)
  })
  it('takes back exactly what was added since it began, whatever filled meanwhile', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 700 }), fc.integer({ min: 0, max: 700 }), fc.integer({ min: 0, max: 300 }), (kept, lost, after) => {
      const [tree, plain] = [new EdgeTree(sha256), new EdgeTree(sha256)]
      const grow = (t: EdgeTree, from: number, count: number): void => {
        for (let i = 0; i < count; i++) t.append(leafAt(from + i))
      }
      for (const t of [tree, plain]) {
        grow(t, 0, kept)
        t.takeFilled()
      }
      tree.begin()
      grow(tree, 10_000, lost)
      tree.rollback()
      for (const t of [tree, plain]) grow(t, 20_000, after)
      expect(tree.size).toBe(plain.size)
      if (tree.size > 0) expect(treeRoot(tree.size, tree.subtree, sha256)).toEqual(treeRoot(plain.size, plain.subtree, sha256))
      expect(tree.takeFilled()).toEqual(plain.takeFilled())
    }), { seed: 20261123, numRuns: 60 })
  })
  it('ATK-076: proves nothing over a missing or short tile', () => {
    for (const hashes of [undefined, new Uint8Array(31)]) {
      const tree = new EdgeTree(sha256)
      for (let i = 0; i < 5_000; i++) tree.append(leafAt(i))
      tree.settle()
      const tiles = new Map(hashes === undefined ? [] : [['0/0', { level: 0, index: 0, hashes }]])
      expect(() => proved(tree, tiles, () => inclusionProof(0, 5_000, tree.subtree, sha256))).toThrow(TreeDamaged)
    }
  })
})

describe('the log', () => {
  it('I3: is what it was after a restart: entries, root, open permits, epoch, gates', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit } = await gate.permit()
    await rig.plane.log.cover()
    const before = { size: rig.plane.log.size, note: rig.plane.log.checkpoint.note, epoch: rig.plane.epoch, open: [...rig.plane.log.state.open.keys()] }
    await rig.restart()
    expect({ size: rig.plane.log.size, note: rig.plane.log.checkpoint.note, epoch: rig.plane.epoch, open: [...rig.plane.log.state.open.keys()] }).toEqual(before)
    expect(before.open).toEqual([permit.jti])
    expect(await rig.plane.gateOf(gate.session)).toBe(gate.id)
  })
  it('begins a new epoch when the policies changed, and only then', async () => {
    const rig = await open()
    expect(rig.plane.epoch).toBe(1)
    await rig.restart()
    expect(rig.plane.epoch).toBe(1)
    rig.policies = policySet(`${PERMIT_ALL} ${PERMIT_ALL}`)
    await rig.restart()
    expect(rig.plane.epoch).toBe(2)
  })

  it('commits what waits in one group with one signature; receipts alone need none', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const signatures = rig.signed.length
    const permits = await Promise.all(Array.from({ length: 50 }, () => gate.permit()))
    expect(rig.signed.length - signatures).toBe(1)
    expect(new Set(permits.map(({ permit }) => permit.seq)).size).toBe(50)
    await Promise.all(permits.map(({ permit, leaf }) => gate.report(gate.receiptFor(permit.jti, leaf))))
    expect(rig.signed.length - signatures).toBe(1)
    await rig.plane.log.cover()
    expect(rig.signed.length - signatures).toBe(2)
  })
  it('I5: every checkpoint extends the one before', async () => {
    const rig = await open()
    const gate = await rig.gate()
    let last: Checkpoint | undefined
    for (let i = 0; i < 40; i++) {
      await Promise.all(Array.from({ length: 1 + (i % 5) }, () => gate.authorize()))
      const checkpoint = verifyCheckpoint(rig.plane.log.checkpoint.note, rig.key, nodeCryptography)
      if (last !== undefined) verifyConsistency(last, checkpoint, rig.plane.log.extends(last.size, rig.plane.log.checkpoint), sha256)
      last = checkpoint
    }
    expect(rig.plane.log.size).toBe((last as Checkpoint).size)
  })

  it('ATK-069: a second plane on the same store does not start, and the first goes on', async () => {
    const rig = await open()
    expect(() => openSqliteStore(rig.file)).toThrow(StoreOpenError)
    expect(() => openSqliteStore(rig.file)).toThrow(/in use by another plane/)
    const gate = await rig.gate()
    expect(told(await gate.authorize())).toBe('permit')
  })
  it('refuses a store that is no database, is newer, or belongs to another key, and leaves it as it is', async () => {
    const rig = await open()
    await rig.stop()
    const newer = new DatabaseSync(rig.file)
    const { user_version: version } = newer.prepare('PRAGMA user_version').get() as { user_version: number }
    newer.exec('PRAGMA user_version = 99')
    newer.close()
    expect(() => openSqliteStore(rig.file)).toThrow(/newer version/)
    const again = new DatabaseSync(rig.file)
    again.exec(`PRAGMA user_version = ${version}`)
    again.close()
    const other = new Rig('other')
    rigs.push(other)
    fs.copyFileSync(rig.file, other.file)
    await expect(other.start()).rejects.toThrow(/not a trusted one|does not verify|another log|another key|not those/)
    fs.writeFileSync(other.file, 'this is no database, and it is long enough to be read as one'.repeat(100))
    const bytes = fs.readFileSync(other.file)
    expect(() => openSqliteStore(other.file)).toThrow(/is not a usable SQLite database/)
    expect(fs.readFileSync(other.file)).toEqual(bytes)
  })
})

describe('writes that fail', () => {
  it.each([
    ['ATK-080: a full disk, nothing written', { persisted: false, recoverable: true }, true],
    ['ATK-075: an error after the group was written', { persisted: true, recoverable: true }, true],
    ['ATK-075: a failed flush, nothing written', { persisted: false, recoverable: false }, false],
    ['ATK-075: a failed flush, though it was written', { persisted: true, recoverable: false }, false],
  ])('%s: nobody is answered with what is not durable, no signature leaves, nothing is lost', async (_name, fault, heals) => {
    const rig = await open()
    const gate = await rig.gate()
    await gate.permit()
    const { size, checkpoint } = rig.plane.log
    rig.fault = fault
    const replies = await Promise.all(Array.from({ length: 5 }, () => outcome(gate.authorize())))
    // A commit that only seemed to fail is found in the log: its permits are answered after all.
    expect(replies).toEqual(Array.from({ length: 5 }, () => (fault.persisted && heals ? 'ok' : 'evidence_unavailable')))
    // What is shown is what the store holds; a signature over a group that was not written is gone with it.
    expect(rig.plane.log.size).toBe(fault.persisted && heals ? size + 5 : heals ? size : rig.plane.log.size)
    if (!fault.persisted) expect(rig.plane.log.checkpoint).toEqual(checkpoint)
    rig.fault = undefined
    expect(await outcome(gate.authorize())).toBe(heals ? 'ok' : 'evidence_unavailable')
    expect(rig.plane.notReady === undefined).toBe(heals)
    await rig.restart()
    expect(told(await gate.authorize())).toBe('permit')
    expect(rig.plane.log.size).toBe(size + (fault.persisted ? 5 : 0) + (heals ? 2 : 1))
  })
  it('a checkpoint that could not be stored is not shown, and a failed flush there stops the writer too', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    await gate.report(gate.receiptFor(permit.jti, leaf))
    const before = rig.plane.log.checkpoint.note
    rig.fault = { persisted: false, recoverable: false }
    await expect(rig.plane.log.cover()).rejects.toThrow(/evidence/)
    expect(rig.plane.log.checkpoint.note).toBe(before)
    rig.fault = undefined
    expect(await outcome(gate.authorize())).toBe('evidence_unavailable')
  })
  it('overload: the queue has its limit, and what was taken is answered', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const results = await Promise.allSettled(Array.from({ length: 17_000 }, () => rig.plane.log.submit(() => ({ body: { kind: 'gate', gate: gate.id, event: 'denials_lost', count: 1 }, bodies: [] }))))
    const refused = results.filter((r) => r.status === 'rejected')
    expect(refused).toHaveLength(17_000 - 16_384)
    expect((refused[0] as { reason: { code: string } }).reason.code).toBe('overloaded')
  })
})

describe('ATK-070, ATK-076: a store that was touched', () => {
  const damage = async (sql: string): Promise<string> => {
    const rig = await open()
    const gate = await rig.gate()
    for (let i = 0; i < 300; i++) await gate.authorize()
    await rig.stop()
    const database = new DatabaseSync(rig.file)
    expect(database.prepare(sql).run().changes, sql).toBeGreaterThan(0)
    database.close()
    try {
      await rig.start()
      return 'started'
    } catch (error) {
      if (error instanceof LogDamaged || error instanceof TreeDamaged || (error instanceof Error && error.name === 'Denied')) return 'refused'
      throw error
    }
  }
  it.each([
    ['an entry edited', `UPDATE commit_group SET entries = replace(entries, '"risk":"low"', '"risk":"med"') WHERE first_seq = (SELECT max(first_seq) FROM commit_group)`],
    ['an entry edited deep in a full tile', `UPDATE commit_group SET entries = replace(entries, '"risk":"low"', '"risk":"high"') WHERE first_seq = 40`],
    ['a group deleted from the middle', 'DELETE FROM commit_group WHERE first_seq = 50'],
    ['the tail cut', 'DELETE FROM commit_group WHERE first_seq > 200 AND checkpoint IS NULL OR first_seq = (SELECT max(first_seq) FROM commit_group)'],
    ['two groups swapped', `UPDATE commit_group SET entries = (SELECT entries FROM commit_group WHERE first_seq = 61) WHERE first_seq = 60`],
    ['a tile zeroed', 'UPDATE tile SET hashes = zeroblob(8192)'],
    ['a tile removed', 'DELETE FROM tile'],
    ['a tile with one hash changed', "UPDATE tile SET hashes = substr(hashes, 1, 100) || x'00' || substr(hashes, 102)"],
    ['every checkpoint removed', 'UPDATE commit_group SET checkpoint = NULL'],
    ['the checkpoint of an older group at the end', 'UPDATE commit_group SET checkpoint = (SELECT checkpoint FROM commit_group WHERE first_seq = 50) || \'x\' WHERE first_seq = (SELECT max(first_seq) FROM commit_group)'],
  ])('%s: the plane does not start', async (_name, sql) => {
    const result = await damage(sql)
    // A cut that ends at an older signed checkpoint is a rollback: only a holder of the newer one can tell (see the gate's floor).
    expect(result).toBe(_name === 'the tail cut' ? 'started' : 'refused')
  })

  it('S21: of 200 single-bit flips in the store each is refused, or changes no entry and no proof (seed 20261123)', async () => {
    const rig = await open()
    const gate = await rig.gate()
    for (let i = 0; i < 60; i++) await gate.authorize()
    const original = await rig.plane.reader.evidence('all')
    await rig.stop()
    const bytes = fs.readFileSync(rig.file)
    let state = 20_261_123
    let refused = 0
    let contradicted = 0
    for (let i = 0; i < 200; i++) {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      const bit = state % (bytes.length * 8)
      const flipped = Buffer.from(bytes)
      flipped.writeUInt8(flipped.readUInt8(bit >> 3) ^ (1 << (bit & 7)), bit >> 3)
      fs.rmSync(`${rig.file}-wal`, { force: true })
      fs.writeFileSync(rig.file, flipped)
      let bundle: Bundle
      try {
        await rig.start()
        bundle = await rig.plane.reader.evidence('all')
      } catch {
        refused++
        await rig.stop()
        continue
      }
      await rig.stop()
      expect(bundle.entries.slice(0, original.entries.length).map((e) => e.entry)).toEqual(original.entries.map((e) => e.entry))
      const report = verifyBundle(bundle, { crypto: nodeCryptography, logKey: rig.key, gateKeys: [] })
      if (report.verdict === 'contradicted') contradicted++
      else expect(bodiesOf(bundle)).toBeLessThanOrEqual(bodiesOf(original))
    }
    expect(refused + contradicted).toBeGreaterThan(20)
    score({ id: 'S21', figure: 'single-bit flips over the SQLite file that change an entry or a proof of a plane started on it', n: 200, violations: 0, seed: 20_261_123, faultsLanded: refused + contradicted, notes: `${refused} refused at the start, ${contradicted} contradicted by verify` })
    console.log(`bit flips: 200, ${refused} refused at the start, ${contradicted} contradicted by verify, the others changed no entry (seed 20261123)`)
  })
})

const bodiesOf = (bundle: Bundle): number => bundle.entries.reduce((sum, { bodies }) => sum + bodies.length, 0)

describe('ATK-046: clocks of the plane', () => {
  it.each([
    ['29 s back', -29_000, 'ok'], ['31 s back', -31_000, 'clock_rollback'], ['a year back', -31_536_000_000, 'clock_rollback'],
    ['29 s ahead', 29_000, 'ok'], ['31 s ahead', 31_000, 'clock_rollback'], ['ten years ahead', 315_360_000_000, 'clock_rollback'],
  ])('set %s: %s', async (_name, jumpMs, expected) => {
    const rig = await open()
    const gate = await rig.gate()
    await gate.permit()
    rig.clock.jump(jumpMs)
    expect(await outcome(gate.authorize())).toBe(expected)
    rig.clock.jump(-jumpMs)
    expect(await outcome(gate.authorize())).toBe('ok') // one wrong clock does not poison the log
  })
  it('time never goes back in the log, and passes with the machine', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const times: number[] = []
    for (const step of [0, 5_000, 0, 0, 86_400_000]) {
      rig.clock.advance(step)
      if (step > 0) await gate.enrol() // sessions end too
      times.push((await gate.permit()).permit.time)
      rig.clock.jump(step === 5_000 ? -20_000 : 0)
    }
    expect([...times].sort((a, b) => a - b)).toEqual(times)
    expect((times[4] as number) - (times[3] as number)).toBeGreaterThan(86_000_000)
  })
})

describe('reading', () => {
  it('lists newest first, in pages, by kind', async () => {
    const rig = await open()
    const gate = await rig.gate()
    for (let i = 0; i < 25; i++) await gate.authorize()
    const seen: Entry[] = []
    let before: number | undefined = Number.MAX_SAFE_INTEGER
    while (before !== undefined) {
      const page: { entries: Entry[]; next: number | undefined } = await rig.plane.reader.list(before, 7, undefined)
      seen.push(...page.entries)
      before = page.next
    }
    expect(seen.map((e) => e.seq)).toEqual(Array.from({ length: rig.plane.log.size }, (_, i) => rig.plane.log.size - 1 - i))
    expect((await rig.plane.reader.list(Number.MAX_SAFE_INTEGER, 1_000, new Set(['permit']))).entries).toHaveLength(25)
  })
  it('proves every entry against one checkpoint', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    await gate.report(gate.receiptFor(permit.jti, leaf))
    await gate.authorize(gate.request(toolCall('delete_file')))
    const bundle = await rig.plane.reader.evidence('all')
    expect(new Set(bundle.entries.map(({ proof }) => parseProof(proof).checkpoint)).size).toBe(1)
    expect(bundle.entries.map(({ entry }) => parseEntry(entry).kind)).toEqual(['key', 'policy', 'gate', 'gate', 'tool', 'tool', 'tool', 'tool', 'permit', 'receipt', 'deny'])
    expect(verifyBundle(bundle, { crypto: nodeCryptography, logKey: rig.key, gateKeys: [] }).verdict).toBe('established')
    expect((await rig.plane.reader.show(permit.jti)).entries.map((e) => e.kind)).toEqual(['permit', 'receipt'])
    for (const bad of ['999', 'nonsense', 'AAAAAAAAAAAAAAAAAAAAAA', '-1', '../..']) await expect(rig.plane.reader.show(bad), bad).rejects.toThrow(/request/)
  })
})
