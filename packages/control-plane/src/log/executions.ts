import { type Entry, parseEntry } from '@sealwrit/protocol'
import type { ExecutionRow, Store } from '../store/store.ts'
import { ENDING_MARGIN_MS } from './state.ts'

/** Leaves indexed in one step. */
const BATCH = 4_096

/**
 * Brings the lagging index of executions up to the log. It is derived: what a crash loses of it is made again from the
 * entries.
 */
export function catchUp(store: Store): void {
  for (let from = store.indexedSize(); from < store.size(); from = store.indexedSize()) {
    const texts = store.entries(from, BATCH)
    const rows = new Map<string, ExecutionRow>()
    for (const text of texts) index(parseEntry(text), rows, store)
    store.putIndex(from + texts.length, [...rows.values()])
  }
}

function index(entry: Entry, rows: Map<string, ExecutionRow>, store: Store): void {
  if (entry.kind === 'permit') {
    const deadlineMs = entry.exp * 1_000 + entry.constraints.lease_seconds * 1_000 + ENDING_MARGIN_MS
    rows.set(entry.jti, { jti: entry.jti, seq: entry.seq, ending: undefined, deadlineMs, expiry: undefined })
  } else if (entry.kind === 'receipt' || entry.kind === 'expiry') {
    const row = rows.get(entry.jti) ?? store.execution(entry.jti)
    if (row === undefined) return
    rows.set(entry.jti, { ...row, ending: entry.seq, expiry: entry.kind === 'expiry' ? entry.seq : row.expiry })
  }
}
