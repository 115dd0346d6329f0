import { type Entry, Denied, parseEntry, type SealedEntry, type Digest } from '@sealwrit/protocol'
import { type Metrics, NO_METRICS, type PlanePorts } from '../ports.ts'
import { type Appended, StoreFailure } from '../store/store.ts'
import { ClockGuard } from './clock-guard.ts'
import { type Attempt, type Committed, type Cover, type Draft, kept, MAX_GROUP, packed, place, type Queued, type Written } from './group.ts'
import { HighWaterMark } from './high-water-mark.ts'
import { History, type SignedHead } from './history.ts'
import type { Signing } from './signing.ts'
import type { LogState } from './state.ts'
import { type WitnessedLog, type WitnessOptions, Witnesses } from './witnesses.ts'

/** Entries that may wait for the next group. */
export const MAX_QUEUED = 16_384
/** Times that a group may lose against other writers before it is refused. */
const MAX_ATTEMPTS = 64

/** Ends a draft of {@link Sequencer.ensure} that has nothing to write. */
class AlreadyThere extends Error {}

/**
 * The one writer of the log in this process: drains its queue into a group, validates each draft against the state before
 * it, signs one checkpoint for the group, makes it durable in one compare-and-swap, and only then answers. A group that
 * lost against another process is validated anew against the log as it is now.
 */
export class Sequencer {
  readonly #ports: PlanePorts
  readonly #tenant: string
  readonly #history: History
  readonly #metrics: Metrics
  readonly #queue: (Queued | Cover)[] = []
  #isDraining = false
  #stopped: Denied | undefined
  #witnesses: Witnesses | undefined
  readonly #listeners = new Set<(committed: Committed) => void>()
  readonly #clock: ClockGuard
  readonly #mark: HighWaterMark

  private constructor(ports: PlanePorts, tenant: string, history: History, clock: ClockGuard) {
    this.#ports = ports
    this.#tenant = tenant
    this.#history = history
    this.#metrics = ports.metrics ?? NO_METRICS
    this.#clock = clock
    this.#mark = new HighWaterMark(ports)
    history.onFollowed = (committed) => this.#tell(committed)
  }

  /**
   * Reads the log back and checks it against its last signed checkpoint, and against the newest one that is remembered outside
   * the store: a log that is older than that can be read, and is closed for every writing.
   * @param heard hears of each entry that is read back
   * @throws {LogDamaged}
   */
  static async open(ports: PlanePorts, tenant: string, heard?: (entry: Entry) => void): Promise<Sequencer> {
    const history = new History(ports)
    if (heard !== undefined) history.onFollowed = ({ entry }) => heard(entry)
    await history.follow()
    const log = new Sequencer(ports, tenant, history, await ClockGuard.open(ports))
    const mark = log.#mark.read()
    if (mark !== undefined && ports.formerLogKey === undefined) await log.recall(mark)
    return log
  }

  /**
   * Compares the log with a checkpoint of it that somebody kept. One that this log key signed, and that the log does not hold,
   * shows that an older copy of the store was put in its place: the log is closed, and the mark outside the store keeps it closed.
   * @throws {Denied} what the note fails, when this log key did not sign it
   */
  async recall(note: string): Promise<void> {
    if (this.#mark.isAt(note) || note === this.checkpoint.note) return
    if (await this.#history.holds(note)) return
    if (this.#ports.store.isShared) await this.refresh().catch(() => undefined) // another plane may have written it
    if (await this.#history.holds(note)) return
    this.#stopped = new Denied('store_rollback', 'the store is older than a checkpoint that this log key signed; `sealwrit log re-anchor` is the way on')
    this.#mark.raise(note, true) // a disk that takes nothing may forget this at a restart; until then the log is closed all the same
  }

  get state(): LogState {
    return this.#history.state
  }
  get size(): number {
    return this.#history.size
  }
  /** The keys that sign here. */
  get signing(): Signing {
    return this.#history.signing
  }
  get origin(): string {
    return this.#ports.logKey.key.name
  }
  get tenant(): string {
    return this.#tenant
  }
  /** Why nothing can be written any more; undefined while it can. */
  get stopped(): Denied | undefined {
    return this.#stopped ?? this.#mark.failure
  }
  /** The newest signed checkpoint that is durable. */
  get checkpoint(): SignedHead {
    return this.#history.checkpoint
  }

  /**
   * @param goesFirst as in {@link Queued}
   * @throws {Denied} what the draft refused with, `overloaded`, or `evidence_unavailable` when it is not durable
   */
  submit(draft: Draft, goesFirst = false): Promise<Committed> {
    return new Promise((resolve, reject) => this.#enqueue({ draft, goesFirst, resolve, reject }))
  }

  /** As {@link Sequencer.submit}, for what may be there already: a draft that gives undefined writes nothing. @throws {Denied} */
  async ensure(draft: (state: LogState) => Written | undefined): Promise<void> {
    const submitted = this.submit((state) => {
      const written = draft(state)
      if (written === undefined) throw new AlreadyThere()
      return written
    })
    await submitted.catch((error: unknown) => {
      if (!(error instanceof AlreadyThere)) throw error
    })
  }

  /** Hears of every entry from here on as it becomes durable, whoever wrote it. @returns ends it */
  watch(listener: (committed: Committed) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #tell(committed: Committed): void {
    for (const listener of this.#listeners) listener(committed)
  }

  /** The newest checkpoint, signed anew where it does not cover every entry there is. @throws {Denied} `evidence_unavailable` */
  async cover(): Promise<SignedHead> {
    if (this.checkpoint.size !== this.size) await this.#cover(false)
    return this.checkpoint
  }

  /** As {@link Sequencer.cover}, after what other writers added was read. @throws {Denied} `evidence_unavailable` */
  async refresh(): Promise<SignedHead> {
    await this.#cover(true)
    return this.checkpoint
  }

  /** For readers: as {@link Sequencer.refresh}, but a log that takes nothing can be read as it is. @throws {Denied} `evidence_unavailable` */
  async latest(): Promise<SignedHead> {
    return this.#stopped === undefined ? this.refresh() : this.checkpoint
  }

  /** Whether a quorum cosigns what is shown of the log. */
  get isWitnessed(): boolean {
    return this.#witnesses !== undefined
  }

  /** From here on what is shown of the log is cosigned first. @throws {TypeError} as {@link Witnesses} */
  witnessedBy(options: WitnessOptions): void {
    const { clock, crypto } = this.#ports
    const [signing, state] = [this.signing, this.state]
    const log: WitnessedLog = {
      get key() {
        return signing.keys(state).named
      },
      newest: () => this.checkpoint,
      extends: (older, head) => this.extends(older, head),
      proved: (prove) => this.proved(prove),
      refresh: () => this.refresh(),
      contradicted: (code, what) => {
        this.#stopped ??= new Denied(code, what) // a witness holds what contradicts this log: nothing goes on before a restart
        this.#witnesses?.refuse(this.#stopped)
      },
    }
    this.#witnesses = new Witnesses(options, log, clock, crypto)
    void this.#witnesses.covering(this.checkpoint.size).catch(() => undefined) // a witness that knows better says so before the first request
  }

  /**
   * Runs `prove` in one turn with the checkpoint that may be shown: the newest, or where there are witnesses the newest one
   * that they cosigned. It covers the first `covers` leaves, as far as there are so many.
   * @throws {Denied} `witness_quorum_not_met`, `store_rollback`, `state_diverged`
   */
  async sealed<T>(covers: number, prove: (head: SignedHead) => T): Promise<T> {
    if (this.#witnesses !== undefined) {
      if (this.#stopped !== undefined) throw this.#stopped
      await this.#witnesses.covering(Math.min(covers, this.checkpoint.size))
    }
    // Read in the turn of the proof: what is shown on a connection leaves in the order in which each extends the one before.
    return this.proved(() => prove(this.#witnesses?.head ?? this.checkpoint))
  }

  /** The checkpoint for evidence: as {@link Sequencer.published}, but a log that takes nothing can be read as it is. @throws {Denied} */
  async evidenced(): Promise<SignedHead> {
    return this.#stopped === undefined ? this.published() : this.checkpoint
  }

  /** The checkpoint for everybody: it covers all there is, or is the newest that witnesses cosigned. @throws {Denied} */
  async published(): Promise<SignedHead> {
    const head = await this.refresh()
    return this.sealed(head.size, (shown) => shown).catch((error: unknown) => {
      const cosigned = this.#stopped === undefined ? this.#witnesses?.head : undefined
      if (cosigned === undefined) throw error
      return cosigned
    })
  }

  #cover(follows: boolean): Promise<void> {
    return new Promise((resolve, reject) => this.#enqueue({ draft: undefined, follows, resolve, reject }))
  }

  #enqueue(item: Queued | Cover): void {
    if (this.#stopped !== undefined) return item.reject(this.#stopped)
    if (this.#queue.length >= MAX_QUEUED) return item.reject(new Denied('overloaded', 'too many entries wait for the log'))
    this.#queue.push(item)
    if (this.#isDraining) return
    this.#isDraining = true
    this.#ports.defer(() => void this.#drain())
  }

  async #drain(): Promise<void> {
    while (this.#queue.length > 0) await this.#settle(this.#queue.splice(0, MAX_GROUP))
    this.#isDraining = false
  }

  /** Brings what waits into the log, or refuses it; never throws. */
  async #settle(waiting: readonly (Queued | Cover)[]): Promise<void> {
    let items = waiting
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      let group: Attempt | undefined
      try {
        if (this.#mark.failure !== undefined) this.mark(true) // a disk that was full may have room again
        if (this.stopped !== undefined) throw this.stopped
        const isFresh = attempt > 0 || items.some((item) => item.draft === undefined && item.follows)
        if (isFresh) await this.#history.follow()
        group = place(items, this.#history, this.#tenant, this.#clock.after(this.state.timeMs))
        // What another writer added may be what a refused one lacks: nobody is refused for what this process has not read.
        const mayBeStale = group.refused.length > 0 && this.#ports.store.isShared && !isFresh
        const fromMs = this.#ports.clock.monotonicMs()
        const result = mayBeStale ? 'lost' : await this.#write(group)
        if (result === 'appended') return await this.#answer(group, this.#ports.clock.monotonicMs() - fromMs)
        this.#history.rollback()
        if (!mayBeStale) items = kept(group)
        group = undefined
        // Another writer was first, or a key is spent: everything is validated anew against the log as it is now.
        if (result === 'spent' && attempt > 0) return await this.#settleOneByOne(items)
      } catch (error) {
        return this.#abandon(group, items, error)
      }
    }
    for (const item of items) item.reject(new Denied('overloaded', 'other writers of this log are always first'))
  }

  /** Finds who holds the spent key, so that nobody else is refused for it. */
  async #settleOneByOne(items: readonly (Queued | Cover)[]): Promise<void> {
    const [only] = items
    if (items.length === 1) only?.reject(new Denied('artifact_spent', 'the key is spent, though the log does not show by what'))
    else for (const item of items) await this.#settle([item])
  }

  async #write({ placed, repeats, covers }: Attempt): Promise<Appended> {
    const { store } = this.#ports
    const { size } = this.#history
    // A group of receipts alone is durable without a signature; the next checkpoint covers it. An answer that is there already
    // may be there for readers only, as after a crash before the standby had it: a write behind it is durable where it is.
    const confirms = repeats.length > 0 && store.isShared
    const signs = confirms || (covers.length > 0 ? this.checkpoint.size < size : placed.some(({ entry }) => entry.kind !== 'receipt'))
    if (placed.length === 0) return !signs || (await store.putCheckpoint(size, await this.#history.sign())) ? 'appended' : 'lost'
    const after = this.checkpoint.size === 0 ? undefined : this.checkpoint.note
    return store.append(await packed(placed, this.#history, signs, after))
  }

  /** From here on the group is durable; a crash before the answers leaves permits that their gates never saw. */
  async #answer({ placed, repeats, covers, refused }: Attempt, durationMs: number): Promise<void> {
    const signedBefore = this.checkpoint.size
    this.#history.settle()
    this.mark(false)
    const signed = this.checkpoint.size
    this.#metrics.committed({ entries: placed.map(({ entry }) => entry), isSigned: signed !== signedBefore, durationMs })
    // INVARIANT: I3. A permit that no durable checkpoint covers never leaves; that there is none is looked at here once more.
    if (placed.some(({ entry }) => entry.kind === 'permit' && entry.seq >= signed)) return this.#failClosed([...placed, ...repeats, ...refused], covers)
    for (const { queued, error } of refused) queued.reject(error)
    for (const { queued, entry, text } of placed) {
      const committed = { seq: entry.seq, text, entry }
      this.#tell(committed)
      queued.resolve(committed)
    }
    for (const cover of covers) cover.resolve()
    for (const { queued, seq } of repeats) await this.read(seq).then(queued.resolve, queued.reject)
  }

  /** Refuses a whole group, and everything after it. */
  #failClosed(items: readonly { readonly queued: Queued }[], covers: readonly Cover[]): void {
    this.#metrics.failedOpen()
    const failure = new Denied('evidence_unavailable', 'a permit was not covered by a checkpoint')
    this.#stopped = failure
    for (const { queued } of items) queued.reject(failure)
    for (const cover of covers) cover.reject(failure)
  }

  /**
   * The group did not become durable as far as we know. What the store holds decides: it is read, and who finds its answer
   * there gets it; everybody else is refused.
   */
  async #abandon(group: Attempt | undefined, items: readonly (Queued | Cover)[], error: unknown): Promise<void> {
    if (group !== undefined) this.#history.rollback()
    const failure = error instanceof Denied ? error : new Denied('evidence_unavailable', error instanceof Error ? error.message : 'write failed')
    const refuse = (): void => items.forEach((item) => item.reject(failure))
    if (error instanceof Denied) return refuse() // the clock, or stopped: nothing was begun
    this.#metrics.storeFailed(error instanceof StoreFailure && error.recoverable)
    if (!(error instanceof StoreFailure) || !error.recoverable) {
      this.#stopped = new Denied('evidence_unavailable', `the store failed: ${error instanceof Error ? error.message : 'write failed'}`)
      return refuse()
    }
    try {
      for (let attempt = 1; !(await this.#confirm()); attempt++) if (attempt === MAX_ATTEMPTS) return refuse()
    } catch (again) {
      if (!(again instanceof StoreFailure) || !again.recoverable) this.#stopped = new Denied('evidence_unavailable', again instanceof Error ? again.message : 'the store cannot be read back')
      return refuse()
    }
    for (const item of items) await this.#resolveIfThere(item, failure)
  }

  /** Reads the store, and has it make durable what it showed: a store that others write to, and that failed, may show more than is. */
  async #confirm(): Promise<boolean> {
    const { store } = this.#ports
    await this.#history.follow()
    if (!store.isShared || this.size === 0) return true
    this.#history.begin()
    let isDurable = false
    try {
      isDurable = await store.putCheckpoint(this.size, await this.#history.sign())
    } finally {
      if (isDurable) this.#history.settle()
      else this.#history.rollback()
    }
    return isDurable
  }

  /** An answer that is in the log already, because the commit that seemed to fail did not. */
  async #resolveIfThere(item: Queued | Cover, failure: Denied): Promise<void> {
    try {
      const found = item.draft?.(this.state, this.size, this.state.timeMs)
      if (item.draft !== undefined && found !== undefined && 'repeat' in found) item.resolve(await this.read(found.repeat))
      else item.reject(failure)
    } catch (error) {
      item.reject(error instanceof AlreadyThere ? error : failure)
    }
  }

  /** Remembers the newest checkpoint outside the store, from time to time or at once. While it cannot, nothing is logged. */
  mark(atOnce: boolean): void {
    if (this.#stopped === undefined) this.#mark.raise(this.checkpoint.note, atOnce)
  }

  /** An entry that is in the log already. @throws {Denied} `evidence_unavailable` */
  async read(seq: number): Promise<Committed> {
    const [found] = await this.readRun(seq, 1)
    if (found === undefined) throw new Denied('evidence_unavailable', 'no such entry')
    return found
  }

  /** Entries that are in the log already, `count` of them from `from` on. */
  async readRun(from: number, count: number): Promise<readonly Committed[]> {
    return (await this.#ports.store.entries(from, count)).map((text, i) => ({ seq: from + i, text, entry: parseEntry(text) }))
  }

  /** As {@link History.proved}. */
  proved<T>(prove: () => T): Promise<T> {
    return this.#history.proved(prove)
  }
  /** As {@link History.seal}. */
  seal(at: Committed, head: SignedHead, salt?: string): SealedEntry {
    return this.#history.seal(at, head, salt)
  }
  /** As {@link History.hashes}. */
  hashes(level: number, from: number, count: number): Promise<Uint8Array> {
    return this.#history.proved(() => this.#history.hashes(level, from, count))
  }
  /** As {@link History.extends}. */
  hasRoot(size: number, root: Digest): Promise<boolean> {
    return this.#history.hasRoot(size, root)
  }
  extends(older: number, head: SignedHead): readonly Uint8Array[] {
    return this.#history.extends(older, head)
  }
}
