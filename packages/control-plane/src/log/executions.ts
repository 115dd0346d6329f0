import { type Entry, parseEntry } from '@sealwrit/protocol'
import type { PlaneClock } from '../ports.ts'
import type { ExecutionRow, Store } from '../store/store.ts'
import { MAX_GROUP } from './group.ts'
import { ENDING_MARGIN_MS } from './state.ts'

/** Leaves indexed in one step: gates wait for their answers meanwhile. */
const BATCH = 512
/** Leaves read at once where one of a group is looked for. */
const PAGE = 4_096
/** After a second in which nothing was logged the index is brought up, so that whoever reads next need not wait for it, in milliseconds. */
const INDEX_MS = 1_000

/**
 * Brings the lagging index of executions up to the log. It is derived: what a crash loses of it is made again from the
 * entries.
 */
export function catchUp(store: Store): Promise<void> {
  // One at a time: of two, the slower one would put back what the other has brought further.
  const running = catchingUp.get(store)
  if (running !== undefined) return running.then(() => catchUp(store)) // what came meanwhile may be beyond it
  const run = bringUp(store).finally(() => catchingUp.delete(store))
  catchingUp.set(store, run)
  return run
}

const catchingUp = new WeakMap<Store, Promise<void>>()

/** Brings the index up while nothing else is to be done, until the result is called. A failure is left to whoever reads. */
export function watchIndex(log: { readonly size: number }, store: Store, clock: PlaneClock): () => void {
  let cancel = (): void => undefined
  let [isStopped, seen, indexed] = [false, -1, -1]
  const look = async (): Promise<void> => {
    const { size } = log
    const isDue = size === seen && size !== indexed
    seen = size
    if (!isDue) return
    await catchUp(store)
    indexed = size
  }
  const again = (): void => {
    if (!isStopped) cancel = clock.after(INDEX_MS, () => void look().catch(() => undefined).finally(again))
  }
  again()
  return () => {
    isStopped = true
    cancel()
  }
}

async function bringUp(store: Store): Promise<void> {
  for (let from = await store.indexedSize(); ; ) {
    const texts = await store.entries(from, BATCH)
    if (texts.length === 0) return
    const rows = new Map<string, ExecutionRow>()
    for (const text of texts) {
      const entry = parseEntry(text)
      if ((entry.kind === 'receipt' || entry.kind === 'expiry') && !rows.has(entry.jti)) {
        const row = await store.execution(entry.jti)
        if (row !== undefined) rows.set(entry.jti, row)
      }
      indexEntry(entry, rows)
    }
    from += texts.length
    await store.putIndex(from, [...rows.values()])
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Brings the rows of the executions that `entry` is about up to it. */
export function indexEntry(entry: Entry, rows: Map<string, ExecutionRow>): void {
  if (entry.kind === 'permit') {
    const deadlineMs = entry.exp * 1_000 + entry.constraints.lease_seconds * 1_000 + ENDING_MARGIN_MS
    rows.set(entry.jti, { jti: entry.jti, seq: entry.seq, ending: undefined, deadlineMs, expiry: undefined, parent: entry.par?.foreign === undefined ? entry.par?.jti : undefined }) // an id of another plane may be that of somebody here
  } else if (entry.kind === 'deny' && entry.jti !== undefined) {
    rows.set(entry.jti, { jti: entry.jti, seq: entry.seq, ending: entry.seq, deadlineMs: 0, expiry: undefined, parent: entry.par?.jti })
  } else if (entry.kind === 'receipt' || entry.kind === 'expiry') {
    const row = rows.get(entry.jti)
    if (row !== undefined) rows.set(entry.jti, { ...row, ending: entry.seq, expiry: entry.kind === 'expiry' ? entry.seq : row.expiry })
  }
}

/** The index of the redemption that spent `jti`, where one did: it is in the group that spent the key. */
export async function redemptionSeq(jti: string, store: Store): Promise<number | undefined> {
  const from = await store.spentAt(`jti ${jti}`)
  if (from === undefined) return undefined
  for (let at = from; at < from + MAX_GROUP; at += PAGE) {
    for (const text of await store.entries(at, PAGE)) {
      if (!text.includes('"kind":"redemption"')) continue
      const entry = parseEntry(text)
      if (entry.kind === 'redemption' && entry.jti === jti) return entry.seq
    }
  }
  return undefined
}
