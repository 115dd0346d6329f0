import assert from 'node:assert/strict'
import type { Group, Head, Store, StoredBody, Tile } from '../store/store.ts'

/** A place for one log, fresh for each check; `open` may be called again for the same log. */
export interface StorePlace {
  open(): Promise<Store>
  /** Whether two writers may have it open at once. */
  readonly isShared: boolean
  remove(): Promise<void>
}

export interface ContractCheck {
  readonly name: string
  run(): Promise<void>
}

/**
 * What every store must do, as named checks that any test runner can run.
 * @param place makes a fresh place
 */
export function storeContract(place: () => Promise<StorePlace>): readonly ContractCheck[] {
  const check = (name: string, run: (place: StorePlace) => Promise<void>): ContractCheck => ({
    name,
    run: async () => {
      const at = await place()
      try {
        await run(at)
      } finally {
        await at.remove()
      }
    },
  })
  /** Runs on an open store and closes it. */
  const on = (name: string, run: (store: Store, at: StorePlace) => Promise<void>): ContractCheck =>
    check(name, async (at) => {
      const store = await at.open()
      try {
        await run(store, at)
      } finally {
        await store.close()
      }
    })
  return [
    on('a new log is empty', async (store) => {
      assert.deepEqual(await standing(store), { size: 0, checkpoint: undefined })
      assert.deepEqual(await store.entries(0, 10), [])
      assert.deepEqual(await store.bodies(0, 10), [])
      assert.equal(await store.tile(0, 0), undefined)
      assert.equal(await store.getMeta('x'), undefined)
      assert.equal(await store.execution('x'), undefined)
    }),
    on('appends where the head stands, and nowhere else', async (store) => {
      assert.equal(await store.append(group(0, 3, { checkpoint: 'first' })), 'appended')
      assert.equal(await store.append(group(0, 1)), 'lost')
      assert.equal(await store.append(group(2, 1)), 'lost')
      assert.equal(await store.append(group(4, 1)), 'lost')
      assert.equal(await store.append(group(3, 2)), 'appended')
      assert.deepEqual(await standing(store), { size: 5, checkpoint: 'first' })
      assert.deepEqual(await store.entries(0, 99), [0, 1, 2, 3, 4].map(leaf))
    }),
    check('keeps everything over a reopening', async (at) => {
      const tile: Tile = { level: 0, index: 0, hashes: new Uint8Array(8_192).map((_, i) => i % 251) }
      const bodies = [body(1, 'action', '{"a":"ü 漢 🙂 \\n"}'), body(1, 'inputs', undefined), body(2, 'result', '')]
      const first = await at.open()
      assert.equal(await first.append(group(0, 3, { checkpoint: 'note\n\n— key sig\n', bodies, tiles: [tile], spent: ['k'] })), 'appended')
      await first.putMeta('m', 'v\u0001 ü')
      await first.close()
      const again = await at.open()
      assert.deepEqual(await standing(again), { size: 3, checkpoint: 'note\n\n— key sig\n' })
      assert.deepEqual(await again.bodies(0, 3), [bodies[0], bodies[1], { ...bodies[2], text: undefined }])
      assert.deepEqual(await again.bodies(1), bodies.slice(0, 2))
      assert.deepEqual(new Uint8Array((await again.tile(0, 0)) as Uint8Array), tile.hashes)
      assert.equal(await again.getMeta('m'), 'v\u0001 ü')
      assert.equal(await again.append(group(3, 1, { spent: ['k'] })), 'spent')
      await again.close()
    }),
    on('reads any run of leaves across groups', async (store) => {
      let size = 0
      for (const count of [1, 7, 2, 30, 1, 1, 9]) {
        await store.append(group(size, count))
        size += count
      }
      for (let from = 0; from <= size; from += 3) {
        for (const count of [0, 1, 5, 40, 100]) assert.deepEqual(await store.entries(from, count), Array.from({ length: Math.max(0, Math.min(count, size - from)) }, (_, i) => leaf(from + i)))
      }
    }),
    on('spends a key once for ever, with its group or not at all', async (store) => {
      assert.equal(await store.append(group(0, 1, { spent: ['a', 'b'] })), 'appended')
      assert.equal(await store.append(group(1, 2, { spent: ['c', 'a'] })), 'spent')
      assert.deepEqual(await standing(store), { size: 1, checkpoint: undefined })
      assert.equal(await store.append(group(1, 1, { spent: ['c'] })), 'appended')
      assert.deepEqual([await store.spentAt('a'), await store.spentAt('b'), await store.spentAt('c'), await store.spentAt('d')], [0, 0, 1, undefined])
    }),
    on('puts a checkpoint only over the size that it was signed for', async (store) => {
      await store.append(group(0, 2))
      assert.equal(await store.putCheckpoint(1, 'old'), false)
      assert.equal(await store.putCheckpoint(2, 'two'), true)
      assert.equal((await store.head()).checkpoint, 'two')
      await store.append(group(2, 1))
      assert.deepEqual(await standing(store), { size: 3, checkpoint: 'two' })
      assert.equal(await store.putCheckpoint(2, 'late'), false)
      assert.equal((await store.head()).checkpoint, 'two')
    }),
    on('appends under the checkpoint that the writer knows only, where others write too', async (store, at) => {
      await store.append(group(0, 2, { checkpoint: 'two' }))
      await store.putCheckpoint(2, 'two again')
      assert.equal(await store.append(group(2, 1, { after: 'two' })), at.isShared ? 'lost' : 'appended')
      const { size } = await store.head()
      assert.equal(await store.append(group(size, 1, { after: 'two again' })), 'appended')
    }),
    on('one of many appends to the same place wins, whoever sends it', async (store, at) => {
      const writers = at.isShared ? [store, await at.open(), await at.open(), await at.open()] : [store]
      for (let size = 0; size < 30; size++) {
        const results = await Promise.all(writers.flatMap((writer) => [0, 1].map(() => writer.append(group(size, 1, { spent: [`s${size}`] })))))
        assert.equal(results.filter((result) => result === 'appended').length, 1)
        assert.ok(results.every((result) => result === 'appended' || result === 'lost' || result === 'spent'))
      }
      assert.equal((await store.head()).size, 30)
      for (const writer of writers.slice(1)) await writer.close()
    }),
    on('the index of executions replaces rows, and never goes back', async (store) => {
      const row = { jti: 'j', seq: 1, ending: undefined, deadlineMs: 1_800_000_000_000, expiry: undefined, parent: undefined }
      await store.putIndex(10, [row, { ...row, jti: 'k', seq: 2 }])
      assert.deepEqual(await store.execution('j'), row)
      await store.putIndex(20, [{ ...row, ending: 15, expiry: 12 }])
      assert.deepEqual(await store.execution('j'), { ...row, ending: 15, expiry: 12 })
      await store.putIndex(5, [])
      assert.equal(await store.indexedSize(), 20)
    }),
    on('finds executions by their parent, page by page', async (store) => {
      const row = { ending: undefined, deadlineMs: 5, expiry: undefined }
      await store.putIndex(9, [{ ...row, jti: 'root', seq: 1, parent: undefined }, ...[5, 3, 8].map((seq) => ({ ...row, jti: `child ${seq}`, seq, parent: 'root' })), { ...row, jti: 'other', seq: 4, parent: 'child 3' }])
      await store.putIndex(12, [{ ...row, jti: 'child 3', seq: 3, ending: 11, parent: 'root' }])
      assert.deepEqual(await store.children('root', -1, 2), [{ ...row, jti: 'child 3', seq: 3, ending: 11, parent: 'root' }, { ...row, jti: 'child 5', seq: 5, parent: 'root' }])
      assert.deepEqual((await store.children('root', 5, 9)).map(({ jti }) => jti), ['child 8'])
      assert.deepEqual(await store.children('child 8', -1, 9), [])
    }),
    on('erases the bodies of a range of entries, and nothing else', async (store) => {
      const all = Array.from({ length: 9 }, (_, seq) => body(seq, 'action', `{"secret":${seq}}`))
      await store.append(group(0, 4, { bodies: all.slice(0, 4) }))
      await store.append(group(4, 1, { bodies: all.slice(4, 5) }))
      await store.append(group(5, 4, { bodies: all.slice(5) }))
      assert.equal(await store.eraseBodies(2, 7), 5)
      assert.deepEqual((await store.bodies(0, 99)).map(({ seq }) => seq), [0, 1, 7, 8])
      assert.equal(await store.eraseBodies(2, 7), 0)
      assert.equal(await store.eraseBodies(50, 60), 0)
      assert.deepEqual(await store.entries(0, 99), all.map(({ seq }) => leaf(seq)))
      const { size, checkpoint } = await store.head()
      assert.deepEqual({ size, checkpoint }, { size: 9, checkpoint: undefined })
    }),
    on('shows every row for an audit', async (store) => {
      const tile: Tile = { level: 0, index: 0, hashes: new Uint8Array(8_192).fill(7) }
      await store.append(group(0, 3, { checkpoint: 'note', bodies: [body(1, 'action', '{}')], tiles: [tile], spent: ['k'] }))
      await store.append(group(3, 300))
      await store.putMeta('m', 'v')
      await store.putIndex(3, [{ jti: 'j', seq: 1, ending: undefined, deadlineMs: 5, expiry: undefined, parent: undefined }])
      const kinds = new Map<string, number>()
      let entries = 0
      for await (const row of store.audit()) {
        kinds.set(row.kind, (kinds.get(row.kind) ?? 0) + 1)
        if (row.kind === 'group') entries += row.entries.split('\n').length
        if (row.kind === 'tile') assert.deepEqual(new Uint8Array(row.hashes), tile.hashes)
        if (row.kind === 'spent') assert.equal(row.key, 'k')
        if (row.kind === 'execution') assert.deepEqual({ ...row, kind: undefined }, { kind: undefined, jti: 'j', seq: 1, ending: undefined, deadlineMs: 5, expiry: undefined, parent: undefined })
      }
      assert.equal(entries, 303)
      kinds.delete('head')
      assert.deepEqual([...kinds], [['group', 2], ['tile', 1], ['spent', 1], ['execution', 1], ['meta', 2]])
    }),
    on('takes a group of thousands, and entries of 32 KiB', async (store) => {
      assert.equal(await store.append(group(0, 4_096)), 'appended')
      const large = `{"x":"${'y'.repeat(32_000)}"}`
      assert.equal(await store.append({ ...group(4_096, 1), entries: [large] }), 'appended')
      assert.deepEqual(await store.entries(4_095, 2), [leaf(4_095), large])
    }),
  ]
}

/** The head, without which connection it was read on. */
async function standing(store: Store): Promise<Omit<Head, 'server'>> {
  const { size, checkpoint } = await store.head()
  return { size, checkpoint }
}

const leaf = (seq: number): string => `{"seq":${seq},"text":"ü \\" \\\\ 🙂"}`

function group(firstSeq: number, count: number, change: Partial<Group> = {}): Group {
  return { firstSeq, entries: Array.from({ length: count }, (_, i) => leaf(firstSeq + i)), bodies: [], checkpoint: undefined, tiles: [], spent: [], ...change }
}

function body(seq: number, purpose: StoredBody['purpose'], text: string | undefined): StoredBody {
  return { seq, purpose, commit: `sha256:${'c'.repeat(64)}`, salt: 'AAAAAAAAAAAAAAAAAAAAAA', digest: `sha256:${'d'.repeat(64)}`, text }
}
