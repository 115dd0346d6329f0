import { type Actor, Denied, type DenialCode, type DenyEntry, type Digest, type EntryHead, MAX_DEPTH_LINEAGE, parseApprovalRefs, parseEntry, peekClaims, type Permit, present, type CommittedDelegation, type Entry, type Risk, type Scope } from '@sealwrit/protocol'
import { catchUp } from '../log/executions.ts'
import type { Page } from '../page.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { ExecutionRow, Store } from '../store/store.ts'

/** Levels that are shown below a node, and above it: a lineage has nine, and more only where all below was denied. */
const MAX_LEVELS = MAX_DEPTH_LINEAGE + 1
/** Entries that stand so near to each other are read at once. */
const NEAR = 256
/** Children of one node that are looked up at once. */
const BATCH = 128

/** One request in a lineage: what was asked for, why it was decided so, and what became of it. */
export interface LineageNode {
  readonly jti: string
  readonly seq: number
  /** Milliseconds since 1970. */
  readonly time: number
  readonly decision: 'permit' | 'deny'
  readonly code?: DenialCode
  /** `jti` of the parent that it names; absent at a root. */
  readonly parent?: string
  /** The permit of another plane that it descends from, and the size of the log under which it was taken. */
  readonly foreign?: { readonly origin: string; readonly jti: string; readonly size: number }
  readonly sub?: string
  readonly act?: Actor
  readonly aud?: string
  readonly scope?: Scope
  readonly policy?: { readonly digest: Digest; readonly epoch: number; readonly determining: readonly string[] }
  /** Whose word it rests on. */
  readonly approvals?: readonly { readonly seq: number; readonly person: string; readonly grant: boolean }[]
  readonly risk?: Risk
  readonly delegates?: CommittedDelegation
  /** How it ended; absent while it is open, and for what was denied. */
  readonly ending?: { readonly seq: number; readonly outcome: string; readonly cause?: string }
}

export interface LineageAnswer {
  /** From the root on: why it was allowed. */
  readonly ancestors: readonly LineageNode[]
  readonly node: LineageNode
  /** Everything downstream, each before what descends from it; a page. */
  readonly below: readonly LineageNode[]
  readonly next?: string
}

/** One level on the way down: whose children are looked at, from where on, and those that were looked up already. */
interface Level {
  readonly jti: string
  after: number
  rows: readonly ExecutionRow[]
  at: number
  isAll: boolean
}

/**
 * Where a request stands: its ancestors up to the root, and what descends from it.
 * @param id `jti` of a permit, or of what was denied
 * @param page its cursor is the `jti` of the last node of the page before
 * @throws {Denied} `request_malformed` when there is none
 */
export async function lineageOf(id: string, { cursor, limit }: Page, log: Sequencer, store: Store): Promise<LineageAnswer> {
  await log.latest()
  await catchUp(store)
  const own = await rowOf(id, store)
  const above: ExecutionRow[] = []
  for (let row: ExecutionRow | undefined = own; row?.parent !== undefined && above.length < MAX_LEVELS; ) {
    row = await store.execution(row.parent)
    if (row !== undefined) above.unshift(row)
  }
  const { rows, next } = await below(own, cursor, limit, store)
  const entries = await entriesOf([own, ...above, ...rows], store)
  const nodes = new Map<string, LineageNode>()
  for (const row of [own, ...above, ...rows]) nodes.set(row.jti, nodeOf(row, entries))
  const node = (row: ExecutionRow): LineageNode => nodes.get(row.jti) as LineageNode
  return present<LineageAnswer>({ ancestors: above.map(node), node: node(own), below: rows.map(node), next })
}

async function rowOf(id: string, store: Store): Promise<ExecutionRow> {
  const row = await store.execution(id)
  if (row === undefined) throw new Denied('request_malformed', 'no request with this id')
  return row
}

/** Goes down from `root`, each node before its children, from behind `after` on. */
async function below(root: ExecutionRow, after: string | undefined, limit: number, store: Store): Promise<{ rows: readonly ExecutionRow[]; next: string | undefined }> {
  const level = (jti: string, from = -1): Level => ({ jti, after: from, rows: [], at: 0, isAll: false })
  const path: Level[] = []
  for (let row = after === undefined ? root : await rowOf(after, store), last = -1; ; ) {
    path.unshift(level(row.jti, last))
    if (row.jti === root.jti) break
    if (row.parent === undefined || path.length > MAX_LEVELS) throw new Denied('request_malformed', 'it does not descend from there')
    last = row.seq
    row = await rowOf(row.parent, store)
  }
  const rows: ExecutionRow[] = []
  while (path.length > 0 && rows.length <= limit) {
    const row = await nextChild(path.at(-1) as Level, store)
    if (row === undefined) path.pop()
    else {
      rows.push(row)
      if (path.length < MAX_LEVELS) path.push(level(row.jti))
    }
  }
  // One more than asked for was looked up, to know whether there is one.
  const shown = rows.slice(0, limit)
  return { rows: shown, next: rows.length > limit ? shown.at(-1)?.jti : undefined }
}

async function nextChild(level: Level, store: Store): Promise<ExecutionRow | undefined> {
  if (level.at >= level.rows.length && !level.isAll) {
    level.rows = await store.children(level.jti, level.after, BATCH)
    level.isAll = level.rows.length < BATCH
    level.at = 0
  }
  const row = level.rows[level.at++]
  if (row !== undefined) level.after = row.seq
  return row
}

/** The entries of the rows, their endings and the approvals that they rest on, each read once with its neighbours. */
async function entriesOf(rows: readonly ExecutionRow[], store: Store): Promise<ReadonlyMap<number, Entry>> {
  const entries = new Map<number, Entry>()
  await readInto(entries, rows.flatMap(({ seq, ending }) => (ending === undefined ? [seq] : [seq, ending])), store)
  await readInto(entries, [...entries.values()].flatMap((entry) => (entry.kind === 'permit' ? parseApprovalRefs(entry.approvals).map(({ seq }) => seq) : [])), store)
  return entries
}

async function readInto(entries: Map<number, Entry>, seqs: readonly number[], store: Store): Promise<void> {
  const wanted = [...new Set(seqs)].filter((seq) => !entries.has(seq)).sort((a, b) => a - b)
  for (let i = 0; i < wanted.length; ) {
    const from = wanted[i] as number
    let last = i
    while (last + 1 < wanted.length && (wanted[last + 1] as number) - (wanted[last] as number) < NEAR) last++
    const texts = await store.entries(from, (wanted[last] as number) - from + 1)
    for (; i <= last; i++) {
      const text = texts[(wanted[i] as number) - from]
      if (text !== undefined) entries.set(wanted[i] as number, parseEntry(text))
    }
  }
}

function nodeOf({ jti, seq, parent, ending }: ExecutionRow, entries: ReadonlyMap<number, Entry>): LineageNode {
  const entry = entries.get(seq) as (Permit | (DenyEntry & EntryHead)) | undefined
  if (entry === undefined || (entry.kind !== 'permit' && entry.kind !== 'deny')) throw new Denied('evidence_unavailable', 'the entry is not there')
  const { time, sub, act, aud, scope, policy, delegates } = entry
  const { digest, epoch, determining } = policy ?? {}
  const par = entry.kind === 'permit' ? entry.par : undefined
  return present<LineageNode>({
    jti, seq, time, decision: entry.kind, parent, foreign: par?.foreign === undefined ? undefined : { origin: par.foreign.iss, jti: par.jti, size: par.foreign.size }, sub, act, aud, scope, delegates,
    code: entry.kind === 'deny' ? entry.code : undefined,
    policy: digest === undefined || epoch === undefined || determining === undefined ? undefined : { digest, epoch, determining },
    approvals: entry.kind === 'permit' && entry.approvals.length > 0 ? approvalsOf(entry, entries) : undefined,
    risk: entry.kind === 'permit' ? entry.risk : undefined,
    ending: entry.kind === 'permit' && ending !== undefined ? endingOf(ending, entries.get(ending)) : undefined,
  })
}

function approvalsOf({ approvals }: Permit, entries: ReadonlyMap<number, Entry>): NonNullable<LineageNode['approvals']> {
  return parseApprovalRefs(approvals).map(({ seq, isGrant }) => {
    const approval = entries.get(seq)
    return { seq, person: (approval?.kind === 'approval' ? approval.person : undefined) ?? '', grant: isGrant }
  })
}

function endingOf(seq: number, entry: Entry | undefined): LineageNode['ending'] {
  if (entry?.kind === 'expiry') return { seq, outcome: entry.outcome }
  if (entry?.kind !== 'receipt') return undefined
  const { outcome, cause } = peekClaims(entry.receipt) // verified before it was logged
  return present<NonNullable<LineageNode['ending']>>({ seq, outcome: typeof outcome === 'string' ? outcome : '', cause: typeof cause === 'string' ? cause : undefined })
}
