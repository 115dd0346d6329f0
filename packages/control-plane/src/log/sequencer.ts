import { Denied, type Entry, type EntryBody, entryText, MAX_SKEW_SECONDS, parseEntry, type SealedEntry } from '@sealwrit/protocol'
import type { PlanePorts } from '../ports.ts'
import { type Appended, type Group, type StoredBody, StoreFailure } from '../store/store.ts'
import { History, type SignedHead } from './history.ts'
import type { LogState } from './state.ts'

/** Entries that may wait for the next group. */
export const MAX_QUEUED = 16_384
/** Entries in one group. */
const MAX_GROUP = 4_096
/** Times that a group may lose against other writers before it is refused. */
const MAX_ATTEMPTS = 64

/** What goes into the log next, decided in the turn in which it gets its place. */
export interface Written {
  readonly body: EntryBody
  readonly bodies: readonly Omit<StoredBody, 'seq'>[]
  /** Identifies the request that a challenge was answered for. */
  readonly request?: string
  /** A key that may be spent once for ever. */
  readonly spends?: string
}

/**
 * Builds an entry for the place `seq` against the state of everything before it. Throws `Denied` to refuse without an
 * entry; an existing answer is given back by returning its `seq`. It may be asked again for another place, when another
 * writer was first, so it changes nothing itself.
 */
export type Draft = (state: LogState, seq: number, timeMs: number) => Written | { readonly repeat: number }

/** A place in the log, durable. */
export interface Committed {
  readonly seq: number
  readonly text: string
  readonly entry: Entry
}

/** Ends a draft of {@link Sequencer.ensure} that has nothing to write. */
class AlreadyThere extends Error {}

interface Queued {
  readonly draft: Draft
  readonly resolve: (committed: Committed) => void
  readonly reject: (error: unknown) => void
}
/** Asks for a checkpoint that covers everything before it, and first, where `follows`, for what other writers added. */
interface Cover {
  readonly draft: undefined
  readonly follows: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

interface Placed {
  readonly queued: Queued
  readonly written: Written
  readonly entry: Entry
  readonly text: string
}

/** A group under way. */
interface Attempt {
  readonly refused: readonly { readonly queued: Queued; readonly error: unknown }[]
  readonly placed: readonly Placed[]
  readonly repeats: readonly { readonly queued: Queued; readonly seq: number }[]
  readonly covers: readonly Cover[]
}

/**
 * The one writer of the log in this process: drains its queue into a group, validates each draft against the state before
 * it, signs one checkpoint for the group, makes it durable in one compare-and-swap, and only then answers. A group that
 * lost against another process is validated anew against the log as it is now.
 */
export class Sequencer {
  readonly #ports: PlanePorts
  readonly #tenant: string
  readonly #history: History
  readonly #queue: (Queued | Cover)[] = []
  #isDraining = false
  #stopped: string | undefined
  /** What the store's clock said at the start, or this machine's own where the store has none; and the machine's uptime then. */
  readonly #clockAtStart: number
  readonly #bootAtStart: number

  private constructor(ports: PlanePorts, tenant: string, history: History, clockAtStart: number) {
    this.#ports = ports
    this.#tenant = tenant
    this.#history = history
    this.#clockAtStart = clockAtStart
    this.#bootAtStart = ports.clock.bootMs()
  }

  /** Reads the log back and checks it against its last signed checkpoint. @throws {LogDamaged} */
  static async open(ports: PlanePorts, tenant: string): Promise<Sequencer> {
    const history = new History(ports)
    await history.follow()
    return new Sequencer(ports, tenant, history, (await ports.store.clockMs()) ?? ports.clock.wallMs())
  }

  get state(): LogState {
    return this.#history.state
  }
  get size(): number {
    return this.#history.size
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
  /** The newest signed checkpoint that is durable. */
  get checkpoint(): SignedHead {
    return this.#history.checkpoint
  }

  /** @throws {Denied} what the draft refused with, `overloaded`, or `evidence_unavailable` when it is not durable */
  submit(draft: Draft): Promise<Committed> {
    return new Promise((resolve, reject) => this.#enqueue({ draft, resolve, reject }))
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

  #cover(follows: boolean): Promise<void> {
    return new Promise((resolve, reject) => this.#enqueue({ draft: undefined, follows, resolve, reject }))
  }

  #enqueue(item: Queued | Cover): void {
    if (this.#stopped !== undefined) return item.reject(new Denied('evidence_unavailable', this.#stopped))
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
        if (this.#stopped !== undefined) throw new Denied('evidence_unavailable', this.#stopped)
        const isFresh = attempt > 0 || items.some((item) => item.draft === undefined && item.follows)
        if (isFresh) await this.#history.follow()
        group = this.#place(items, this.#now())
        // What another writer added may be what a refused one lacks: nobody is refused for what this process has not read.
        const mayBeStale = group.refused.length > 0 && this.#ports.store.isShared && !isFresh
        const result = mayBeStale ? 'lost' : await this.#write(group)
        if (result === 'appended') return await this.#answer(group)
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

  #place(items: readonly (Queued | Cover)[], timeMs: number): Attempt {
    const placed: Placed[] = []
    const repeats: { queued: Queued; seq: number }[] = []
    const covers: Cover[] = []
    const refused: { queued: Queued; error: unknown }[] = []
    this.#history.begin()
    for (const item of items) {
      if (item.draft === undefined) {
        covers.push(item)
        continue
      }
      try {
        const seq = this.#history.size
        const written = item.draft(this.state, seq, timeMs)
        if ('repeat' in written) {
          repeats.push({ queued: item, seq: written.repeat })
          continue
        }
        const entry = { v: 1, seq, time: timeMs, tenant: this.#tenant, ...written.body } as Entry
        const text = entryText(entry)
        this.#history.add(entry, text, written.request)
        placed.push({ queued: item, written, entry, text })
      } catch (error) {
        refused.push({ queued: item, error })
      }
    }
    return { placed, repeats, covers, refused }
  }

  async #write({ placed, repeats, covers }: Attempt): Promise<Appended> {
    const { store } = this.#ports
    const { size } = this.#history
    // A group of receipts alone is durable without a signature; the next checkpoint covers it. An answer that is there already
    // may be there for readers only, as after a crash before the standby had it: a write behind it is durable where it is.
    const confirms = repeats.length > 0 && store.isShared
    const signs = confirms || (covers.length > 0 ? this.checkpoint.size < size : placed.some(({ entry }) => entry.kind !== 'receipt'))
    if (placed.length === 0) return !signs || (await store.putCheckpoint(size, this.#history.sign())) ? 'appended' : 'lost'
    const group: Group = {
      firstSeq: size - placed.length,
      entries: placed.map(({ text }) => text),
      bodies: placed.flatMap(({ written, entry }) => written.bodies.map((body) => ({ seq: entry.seq, ...body }))),
      checkpoint: signs ? this.#history.sign() : undefined,
      after: this.checkpoint.size === 0 ? undefined : this.checkpoint.note,
      tiles: this.#history.takeFilled(),
      spent: placed.flatMap(({ written }) => written.spends ?? []),
    }
    return store.append(group)
  }

  /** From here on the group is durable; a crash before the answers leaves permits that their gates never saw. */
  async #answer({ placed, repeats, covers, refused }: Attempt): Promise<void> {
    this.#history.settle()
    for (const { queued, error } of refused) queued.reject(error)
    for (const { queued, entry, text } of placed) queued.resolve({ seq: entry.seq, text, entry })
    for (const cover of covers) cover.resolve()
    for (const { queued, seq } of repeats) await this.read(seq).then(queued.resolve, queued.reject)
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
    if (!(error instanceof StoreFailure) || !error.recoverable) {
      this.#stopped = `the store failed: ${error instanceof Error ? error.message : 'write failed'}`
      return refuse()
    }
    try {
      for (let attempt = 1; !(await this.#confirm()); attempt++) if (attempt === MAX_ATTEMPTS) return refuse()
    } catch (again) {
      if (!(again instanceof StoreFailure) || !again.recoverable) this.#stopped = again instanceof Error ? again.message : 'the store cannot be read back'
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
      isDurable = await store.putCheckpoint(this.size, this.#history.sign())
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

  /** max(previous, local clock), refusing a clock that stands back too far or has jumped ahead (ATK-046). */
  #now(): number {
    const { clock } = this.#ports
    const wall = Math.floor(clock.wallMs())
    const skewMs = MAX_SKEW_SECONDS * 1_000
    if (wall < this.state.timeMs - skewMs) throw new Denied('clock_rollback', 'this clock stands before the last entry')
    if (wall - this.state.timeMs > skewMs) {
      const expected = this.#clockAtStart + (clock.bootMs() - this.#bootAtStart)
      if (wall - expected > skewMs) throw new Denied('clock_rollback', 'this clock stands ahead of the store, or jumped ahead of the machine; correct it, or restart the plane to accept a jump')
    }
    return Math.max(this.state.timeMs, wall)
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
  /** As {@link History.extends}. */
  extends(older: number, head: SignedHead): readonly Uint8Array[] {
    return this.#history.extends(older, head)
  }
}

/** Everything of a group that did not make it; what was refused against a fresh log is refused again there. */
function kept({ placed, repeats, covers, refused }: Attempt): (Queued | Cover)[] {
  return [...placed, ...repeats, ...refused].map<Queued | Cover>(({ queued }) => queued).concat(covers)
}
