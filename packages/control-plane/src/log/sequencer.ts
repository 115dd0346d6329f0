import {
  type Checkpoint, checkpointText, consistencyProof, Denied, type Digest, type Entry, type EntryBody, entryText, equalBytes,
  formatProof, formatSignature, fromBase64Url, fromUtf8, inclusionProof, leafDigest, leafHash, MAX_SKEW_SECONDS, parseEntry, type SealedEntry, treeRoot, utf8, verifyCheckpoint,
} from '@sealwrit/protocol'
import type { PlanePorts } from '../ports.ts'
import { type Group, type StoredBody, StoreFailure } from '../store/store.ts'
import { CHALLENGE_LIFE_MS, LogState } from './state.ts'
import { EdgeTree } from './tree.ts'

/** Entries that may wait for the next group. */
export const MAX_QUEUED = 16_384
/** Entries in one group. */
const MAX_GROUP = 4_096

/** What goes into the log next, decided in the turn in which it gets its place. */
export interface Written {
  readonly body: EntryBody
  readonly bodies: readonly Omit<StoredBody, 'seq'>[]
  /** Identifies the request that a challenge was answered for. */
  readonly request?: string
}

/**
 * Builds an entry for the place `seq` against the state of everything before it. Throws `Denied` to refuse without an
 * entry; an existing answer is given back by returning its `seq`.
 */
export type Draft = (state: LogState, seq: number, timeMs: number) => Written | { readonly repeat: number }

/** A place in the log, durable. */
export interface Committed {
  readonly seq: number
  readonly text: string
  readonly entry: Entry
  /** Size of the tree whose checkpoint covers the entry; 0 while none does (a group of receipts alone). */
  readonly covered: number
}

/** A checkpoint as the log key signed it. */
export interface SignedHead {
  readonly size: number
  readonly note: string
}

interface Queued {
  readonly draft: Draft
  readonly resolve: (committed: Committed) => void
  readonly reject: (error: unknown) => void
}

interface Placed {
  readonly queued: Queued
  readonly written: Written
  readonly entry: Entry
  readonly text: string
}

/** The store does not hold what the log key signed, or is damaged: the plane must not start or go on. */
export class LogDamaged extends Error {}

/**
 * The one writer of the log: drains its queue into a group, re-validates each draft against the state before it, signs one
 * checkpoint for the group, makes it durable in one flush, and only then answers.
 */
export class Sequencer {
  readonly #ports: PlanePorts
  readonly #tenant: string
  readonly #queue: Queued[] = []
  #state: LogState
  #tree: EdgeTree
  #checkpoint: Checkpoint | undefined
  #note = ''
  #scheduled = false
  #stopped: string | undefined
  #wallAtStart: number
  #bootAtStart: number

  /** Reads the log back and checks it against its last signed checkpoint. @throws {LogDamaged} */
  constructor(ports: PlanePorts, tenant: string) {
    this.#ports = ports
    this.#tenant = tenant
    this.#wallAtStart = ports.clock.wallMs()
    this.#bootAtStart = ports.clock.bootMs()
    this.#state = new LogState()
    this.#tree = this.#recover()
  }

  get state(): LogState {
    return this.#state
  }
  get size(): number {
    return this.#tree.size
  }
  get origin(): string {
    return this.#ports.logKey.key.name
  }
  get tenant(): string {
    return this.#tenant
  }
  /** Why nothing can be written any more; undefined while it can. */
  get stopped(): string | undefined {
    return this.#stopped
  }
  /** The newest signed checkpoint. */
  get checkpointNote(): string {
    return this.#note
  }

  /** @throws {Denied} what the draft refused with, `overloaded`, or `evidence_unavailable` when it is not durable */
  submit(draft: Draft): Promise<Committed> {
    if (this.#stopped !== undefined) return Promise.reject(new Denied('evidence_unavailable', this.#stopped))
    if (this.#queue.length >= MAX_QUEUED) return Promise.reject(new Denied('overloaded', 'too many entries wait for the log'))
    return new Promise((resolve, reject) => {
      this.#queue.push({ draft, resolve, reject })
      if (this.#scheduled) return
      this.#scheduled = true
      this.#ports.defer(() => this.#drain())
    })
  }

  #drain(): void {
    this.#scheduled = false
    while (this.#queue.length > 0) {
      const queued = this.#queue.splice(0, MAX_GROUP)
      if (this.#stopped !== undefined) {
        for (const item of queued) item.reject(new Denied('evidence_unavailable', this.#stopped))
        continue
      }
      const signed = { checkpoint: this.#checkpoint, note: this.#note }
      try {
        this.#commit(queued)
      } catch (error) {
        // A signature over what may not be durable never leaves this process.
        this.#checkpoint = signed.checkpoint
        this.#note = signed.note
        this.#abandon(queued, error)
      }
    }
  }

  #commit(queued: readonly Queued[]): void {
    const timeMs = this.#now()
    const firstSeq = this.#tree.size
    const placed: Placed[] = []
    const repeats: { queued: Queued; seq: number }[] = []
    for (const item of queued) {
      try {
        const written = item.draft(this.#state, firstSeq + placed.length, timeMs)
        if ('repeat' in written) repeats.push({ queued: item, seq: written.repeat })
        else placed.push(this.#place(item, written, firstSeq + placed.length, timeMs))
      } catch (error) {
        item.reject(error)
      }
    }
    if (placed.length > 0) this.#ports.store.append(this.#group(firstSeq, placed))
    // From here on the group is durable; a crash before the answers leaves permits that their gates never saw.
    for (const { queued: item, entry, text } of placed) item.resolve({ seq: entry.seq, text, entry, covered: this.#coveredBy(entry.seq) })
    for (const { queued: item, seq } of repeats) item.resolve(this.read(seq))
  }

  #place(queued: Queued, written: Written, seq: number, timeMs: number): Placed {
    const entry = { v: 1, seq, time: timeMs, tenant: this.#tenant, ...written.body } as Entry
    const text = entryText(entry)
    const leaf = leafHash(utf8(text), this.#ports.crypto.sha256)
    this.#tree.append(leaf)
    this.#state.apply(entry, leafDigest(leaf), written.request)
    return { queued, written, entry, text }
  }

  #group(firstSeq: number, placed: readonly Placed[]): Group {
    // A group of receipts alone is durable without a signature; the next checkpoint covers it.
    const signs = placed.some(({ entry }) => entry.kind !== 'receipt')
    if (signs) this.#sign()
    return {
      firstSeq,
      entries: placed.map(({ text }) => text),
      bodies: placed.flatMap(({ written, entry }) => written.bodies.map((body) => ({ seq: entry.seq, ...body }))),
      checkpoint: signs ? this.#note : undefined,
      tiles: this.#tree.takeFilled(),
    }
  }

  /** Signs the present tree. The signature stays in this process until the commit that holds it is confirmed. */
  #sign(): void {
    const { key, sign } = this.#ports.logKey
    const root = treeRoot(this.#tree.size, this.#tree.subtree, this.#ports.crypto.sha256)
    const checkpoint: Checkpoint = { origin: key.name, size: this.#tree.size, root }
    const text = checkpointText(checkpoint)
    this.#note = `${text}\n${formatSignature(key, sign(utf8(text)))}`
    this.#checkpoint = checkpoint
  }

  #coveredBy(seq: number): number {
    const size = this.#checkpoint?.size ?? 0
    return size > seq ? size : 0
  }

  /**
   * The group did not become durable as far as we know. What the store holds decides: it is read back, exactly as at a
   * start, and everything that was waiting is refused.
   */
  #abandon(queued: readonly Queued[], error: unknown): void {
    const failure = error instanceof Denied ? error : new Denied('evidence_unavailable', error instanceof Error ? error.message : 'write failed')
    for (const item of queued) item.reject(failure)
    if (error instanceof Denied) return // the clock: nothing was begun
    if (!(error instanceof StoreFailure) || !error.recoverable) {
      this.#stopped = `the store failed: ${failure.message}`
      return
    }
    try {
      this.#state = new LogState()
      this.#tree = this.#recover()
    } catch (again) {
      this.#stopped = again instanceof Error ? again.message : 'the store cannot be read back'
    }
  }

  /** max(previous, local clock), refusing a clock that stands back too far or has jumped ahead (ATK-046). */
  #now(): number {
    const { clock } = this.#ports
    const wall = Math.floor(clock.wallMs())
    const skewMs = MAX_SKEW_SECONDS * 1_000
    if (wall < this.#state.timeMs - skewMs) throw new Denied('clock_rollback', 'this clock stands before the last entry')
    if (wall - this.#state.timeMs > skewMs) {
      const expected = this.#wallAtStart + (clock.bootMs() - this.#bootAtStart)
      if (wall - expected > skewMs) throw new Denied('clock_rollback', 'this clock jumped ahead of the machine; correct it, or restart the plane to accept it')
    }
    return Math.max(this.#state.timeMs, wall)
  }

  /** An entry that is in the log already. */
  read(seq: number): Committed {
    const [found] = this.readRun(seq, 1)
    if (found === undefined) throw new Denied('evidence_unavailable', 'no such entry')
    return found
  }

  /** Entries that are in the log already, `count` of them from `from` on. */
  readRun(from: number, count: number): readonly Committed[] {
    return this.#ports.store.entries(from, count).map((text, i) => ({ seq: from + i, text, entry: parseEntry(text), covered: this.#coveredBy(from + i) }))
  }

  /** Makes sure that a signed checkpoint covers every entry there is. @throws {Denied} `evidence_unavailable` */
  cover(): void {
    if (this.#checkpoint !== undefined && this.#checkpoint.size === this.#tree.size) return
    if (this.#stopped !== undefined) throw new Denied('evidence_unavailable', this.#stopped)
    const before = { checkpoint: this.#checkpoint, note: this.#note }
    try {
      this.#sign()
      this.#ports.store.putCheckpoint(this.#note)
    } catch (error) {
      this.#checkpoint = before.checkpoint
      this.#note = before.note
      const reason = error instanceof Error ? error.message : 'write failed'
      if (!(error instanceof StoreFailure) || !error.recoverable) this.#stopped = `the store failed: ${reason}`
      throw new Denied('evidence_unavailable', reason)
    }
  }

  /** The newest signed checkpoint, made to cover every entry there is. @throws {Denied} `evidence_unavailable` */
  head(): SignedHead {
    this.cover()
    return { size: this.checkpointSize, note: this.#note }
  }

  /**
   * The entry with the proof that it is in the log; the salt goes along where there is one.
   * @param head the checkpoint that the proof leads to; the newest one by default
   */
  seal(committed: Committed, salt?: string, head?: SignedHead): SealedEntry {
    if (head === undefined && this.#coveredBy(committed.seq) === 0) this.cover()
    const { size, note } = head ?? { size: this.checkpointSize, note: this.#note }
    const hashes = inclusionProof(committed.seq, size, this.#tree.subtree, this.#ports.crypto.sha256)
    const extra = salt === undefined ? {} : { extra: fromBase64Url(salt) }
    return { entry: committed.text, proof: formatProof({ ...extra, index: committed.seq, hashes, checkpoint: note }) }
  }

  get checkpointSize(): number {
    return this.#checkpoint?.size ?? 0
  }

  /** Hashes that show that the newest checkpoint extends the tree of `older` leaves. @throws {Denied} `state_diverged` */
  extends(older: number): readonly Uint8Array[] {
    const newer = this.checkpointSize
    if (older === 0 || older === newer) return []
    if (older > newer) throw new Denied('state_diverged', 'the asker knows a longer log than this one')
    return consistencyProof(older, newer, this.#tree.subtree, this.#ports.crypto.sha256)
  }

  /**
   * Rebuilds tree and state from the stored entries, and checks both against the stored tiles and the last signed
   * checkpoint before anything is signed again (ATK-076); at a start and after a failed write alike.
   */
  #recover(): EdgeTree {
    const { store, crypto, logKey } = this.#ports
    const size = store.size()
    const note = store.checkpoint()
    if (note === undefined && size > 0) throw new LogDamaged('the store holds entries, but no signed checkpoint')
    const checkpoint = note === undefined ? undefined : verifyCheckpoint(note, logKey.key, crypto)
    if (checkpoint !== undefined && checkpoint.size > size) throw new LogDamaged('the store is shorter than its own signed checkpoint')
    const tree = new EdgeTree((level, index) => store.tile(level, index), crypto.sha256)
    for (let from = 0; from < size; from += PAGE) replay(store.entries(from, PAGE), tree, this.#state, this.#ports)
    if (tree.size !== size) throw new LogDamaged('entries are missing from the store')
    if (checkpoint === undefined || note === undefined) return tree
    if (!equalBytes(treeRoot(checkpoint.size, tree.subtree, crypto.sha256), checkpoint.root)) throw new LogDamaged('the stored entries are not those that the log key signed')
    this.#checkpoint = checkpoint
    this.#note = note
    return tree
  }
}

/** Leaves read at a time while tree and state are rebuilt. */
const PAGE = 1_024

/** Applies stored entries, in order. @throws {LogDamaged} */
function replay(texts: readonly string[], tree: EdgeTree, state: LogState, ports: PlanePorts): void {
  const { store, crypto, clock } = ports
  const requests = recentRequests(tree.size, texts, ports, clock.wallMs())
  for (const text of texts) {
    const bytes = utf8(text)
    const entry = parseEntry(fromUtf8(bytes)) // a text of its own: what the state keeps must not hold on to the whole group
    if (entry.seq !== tree.size) throw new LogDamaged(`entry ${tree.size} has another index`)
    const leaf = leafHash(bytes, crypto.sha256)
    tree.append(leaf)
    state.apply(entry, leafDigest(leaf), requests.get(entry.seq))
  }
  for (const { level, index, hashes } of tree.takeFilled()) {
    const stored = store.tile(level, index)
    if (stored === undefined || !equalBytes(stored, hashes)) throw new LogDamaged(`tile ${level}/${index} is not that of the stored entries`)
  }
}

/** Which request each answer was for, while a lost reply to it could still be asked for again. */
function recentRequests(from: number, texts: readonly string[], { store }: PlanePorts, nowMs: number): ReadonlyMap<number, Digest> {
  const last = texts.at(-1)
  if (last === undefined || nowMs - parseEntry(last).time > CHALLENGE_LIFE_MS) return new Map()
  const actions = store.bodies(from, texts.length).filter((body) => body.purpose === 'action')
  return new Map(actions.map(({ seq, digest }) => [seq, fromUtf8(utf8(digest))])) // as there
}
