import {
  type Checkpoint, checkpointText, concatBytes, consistencyProof, Denied, type Digest, type Entry, equalBytes, formatProof, fromBase64Url,
  rootDigest, fromUtf8, inclusionProof, leafDigest, leafHash, parseCheckpointText, parseEntry, parseNote, type SealedEntry, treeRoot, utf8, verifyCheckpoint,
} from '@sealwrit/protocol'
import type { PlanePorts } from '../ports.ts'
import type { Tile } from '../store/store.ts'
import { CHALLENGE_LIFE_MS, LogState } from './state.ts'
import { Signing } from './signing.ts'
import { EdgeTree, TileNeeded } from './tree.ts'

/** The store does not hold what the log key signed, or is damaged: the plane must not start or go on. */
export class LogDamaged extends Error {}

/** A checkpoint as the log key signed it. */
export interface SignedHead {
  readonly size: number
  readonly note: string
}

/** What a checkpoint says; who signed it is looked at when its entries were read. */
function shown(note: string): Checkpoint {
  try {
    return parseCheckpointText(parseNote(note).text)
  } catch (error) {
    throw new LogDamaged(`its newest checkpoint is none: ${error instanceof Error ? error.message : 'malformed'}`)
  }
}

/** Leaves read at a time. */
const PAGE = 1_024

/**
 * What this process knows of the log: its tree, the state it amounts to, and the newest checkpoint that is durable. It
 * follows the store, checks everything that it reads, and can carry a group that is not durable yet, and take it back.
 */
export class History {
  readonly state: LogState = new LogState()
  readonly signing: Signing
  readonly #ports: PlanePorts
  readonly #tree: EdgeTree
  #checkpoint: Checkpoint | undefined
  #note = ''
  /** As in `Head`, when the store was last compared with all of this. */
  #server: number | undefined
  /** The checkpoint over the group that is under way: it leaves this process when the group is durable, or never. */
  #pending: { readonly checkpoint: Checkpoint; readonly note: string } | undefined

  /** Hears of each entry that another writer added. */
  onFollowed: ((at: { readonly seq: number; readonly text: string; readonly entry: Entry }) => void) | undefined

  constructor(ports: PlanePorts) {
    this.#ports = ports
    this.signing = new Signing(ports)
    this.#tree = new EdgeTree(ports.crypto.sha256)
  }

  /** Leaves, those of a group under way included. */
  get size(): number {
    return this.#tree.size
  }
  /** The newest signed checkpoint that is durable. */
  get checkpoint(): SignedHead {
    return { size: this.#checkpoint?.size ?? 0, note: this.#note }
  }

  /**
   * Reads what the store holds beyond this, and checks all of it against its tiles and its newest signed checkpoint (ATK-076).
   * At a start that is the whole log.
   * @throws {LogDamaged} and what the store rejects with
   */
  async follow(): Promise<void> {
    const { store, crypto } = this.#ports
    const { size, checkpoint: note, server } = await store.head()
    if (size < this.size) throw new LogDamaged('the store is shorter than it was')
    if (note === undefined && size > 0) throw new LogDamaged('the store holds entries, but no signed checkpoint')
    const checkpoint = note === undefined ? undefined : shown(note)
    if (checkpoint !== undefined && checkpoint.size > size) throw new LogDamaged('the store is shorter than its own signed checkpoint')
    if ((checkpoint?.size ?? 0) < this.checkpoint.size) throw new LogDamaged('the store shows an older signed checkpoint than it did')
    if (server !== this.#server) await this.#compareUnsigned()
    this.#server = server
    while (this.size < size) {
      const before = this.size
      await this.#replay(await store.entries(before, Math.min(PAGE, size - before)))
      if (this.size === before) throw new LogDamaged('entries are missing from the store')
    }
    if (checkpoint === undefined || note === undefined) return
    this.#verified(note) // by a key of this plane, or one that the entries under it lead to
    const root = await this.proved(() => treeRoot(checkpoint.size, this.#tree.subtree, crypto.sha256))
    if (!equalBytes(root, checkpoint.root)) throw new LogDamaged('the stored entries are not those that the log key signed')
    this.#checkpoint = checkpoint
    this.#note = note
  }

  /** Whether a checkpoint that a key of this log signed belongs to this history; false when the store was longer, or another one. @throws {Denied} when it did not sign it */
  async holds(note: string): Promise<boolean> {
    const { crypto } = this.#ports
    const { size, root } = verifyCheckpoint(note, this.signing.ofHistory(this.state), crypto)
    if (size === 0) return true
    return size <= this.size && equalBytes(await this.proved(() => treeRoot(size, this.#tree.subtree, crypto.sha256)), root)
  }

  /** Whether the tree of the first `size` entries has this root. */
  async hasRoot(size: number, root: Digest): Promise<boolean> {
    return size <= this.size && rootDigest({ size, root: await this.proved(() => treeRoot(size, this.#tree.subtree, this.#ports.crypto.sha256)) }) === root
  }

  /** Entries that no checkpoint covers yet are known by nothing else: a server that had been left behind may hold others there (ATK-043). */
  async #compareUnsigned(): Promise<void> {
    const { store, crypto } = this.#ports
    for (let seq = this.checkpoint.size; seq < this.size; ) {
      const texts = await store.entries(seq, Math.min(PAGE, this.size - seq))
      if (texts.length === 0) throw new LogDamaged('entries are missing from the store')
      for (const text of texts) {
        const known = await this.proved(() => this.#tree.subtree(0, seq))
        if (!equalBytes(leafHash(utf8(text), crypto.sha256), known)) throw new LogDamaged(`entry ${seq} is not the one that it was`)
        seq++
      }
    }
  }

  #verified(note: string): Checkpoint {
    try {
      return verifyCheckpoint(note, this.signing.keys(this.state).trusted, this.#ports.crypto)
    } catch (error) {
      throw new LogDamaged(`its newest checkpoint is not one of this log key: ${error instanceof Error ? error.message : 'another key'}`)
    }
  }

  async #replay(texts: readonly string[]): Promise<void> {
    const { store, crypto } = this.#ports
    const requests = await this.#recentRequests(texts)
    for (const text of texts) {
      const bytes = utf8(text)
      const entry = parseEntry(fromUtf8(bytes)) // a text of its own: what the state keeps must not hold on to the whole group
      if (entry.seq !== this.size) throw new LogDamaged(`entry ${this.size} has another index`)
      const leaf = leafHash(bytes, crypto.sha256)
      this.#tree.append(leaf)
      this.state.apply(entry, leafDigest(leaf), requests.get(entry.seq))
      this.onFollowed?.({ seq: entry.seq, text, entry })
    }
    for (const { level, index, hashes } of this.#tree.takeFilled()) {
      const stored = await store.tile(level, index)
      if (stored === undefined || !equalBytes(stored, hashes)) throw new LogDamaged(`tile ${level}/${index} is not that of the stored entries`)
    }
    this.#tree.settle()
  }

  /** Which request each answer was for, while a lost reply to it could still be asked for again. */
  async #recentRequests(texts: readonly string[]): Promise<ReadonlyMap<number, Digest>> {
    const last = texts.at(-1)
    if (last === undefined || this.#ports.clock.wallMs() - parseEntry(last).time > CHALLENGE_LIFE_MS) return new Map()
    const bodies = await this.#ports.store.bodies(this.size, texts.length)
    return new Map(bodies.filter(({ purpose }) => purpose === 'action').map(({ seq, digest }) => [seq, fromUtf8(utf8(digest))])) // as there
  }

  /** Begins a group: what is added from here on can be taken back. */
  begin(): void {
    this.state.begin()
    this.#tree.begin()
  }

  /** Adds an entry of the group under way. */
  add(entry: Entry, text: string, request: string | undefined): void {
    const leaf = leafHash(utf8(text), this.#ports.crypto.sha256)
    this.#tree.append(leaf)
    this.state.apply(entry, leafDigest(leaf), request)
  }

  /** Signs the tree as it is with the group under way. @throws {Denied} as {@link Signing.sign} */
  async sign(): Promise<string> {
    const checkpoint: Checkpoint = { origin: this.#ports.logKey.key.name, size: this.size, root: treeRoot(this.size, this.#tree.subtree, this.#ports.crypto.sha256) }
    const note = await this.signing.sign(checkpointText(checkpoint), this.state)
    this.#pending = { checkpoint, note }
    return note
  }

  takeFilled(): readonly Tile[] {
    return this.#tree.takeFilled()
  }

  /** The group under way is durable. */
  settle(): void {
    this.state.settle()
    this.#tree.settle()
    if (this.#pending === undefined) return
    this.#checkpoint = this.#pending.checkpoint
    this.#note = this.#pending.note
    this.#pending = undefined
  }

  /** The group under way is not: a signature over it never leaves this process. */
  rollback(): void {
    this.#pending = undefined
    this.state.rollback()
    this.#tree.rollback()
  }

  /**
   * The entry with the proof that it is under `head`; the salt goes along where there is one.
   * @throws {TileNeeded} inside {@link History.proved}
   */
  seal(at: { readonly seq: number; readonly text: string }, head: SignedHead, salt?: string): SealedEntry {
    const hashes = inclusionProof(at.seq, head.size, this.#tree.subtree, this.#ports.crypto.sha256)
    const extra = salt === undefined ? {} : { extra: fromBase64Url(salt) }
    return { entry: at.text, proof: formatProof({ ...extra, index: at.seq, hashes, checkpoint: head.note }) }
  }

  /**
   * Hashes that show that `head` extends the tree of `older` leaves.
   * @throws {Denied} `state_diverged` · {@link TileNeeded} inside {@link History.proved}
   */
  extends(older: number, head: SignedHead): readonly Uint8Array[] {
    if (older === 0 || older === head.size) return []
    if (older > head.size) throw new Denied('state_diverged', 'the asker knows a longer log than this one')
    return consistencyProof(older, head.size, this.#tree.subtree, this.#ports.crypto.sha256)
  }

  /** Hashes of `level` from `from` on, each of 2^level leaves. @throws {TileNeeded} inside {@link History.proved} */
  hashes(level: number, from: number, count: number): Uint8Array {
    return concatBytes(...Array.from({ length: count }, (_, i) => this.#tree.subtree(level, from + i)))
  }

  /** Runs `prove` in one turn, after the tiles that it needs were read. @throws {TreeDamaged} */
  async proved<T>(prove: () => T): Promise<T> {
    for (;;) {
      try {
        return prove()
      } catch (error) {
        if (!(error instanceof TileNeeded)) throw error
        this.#tree.load(error.level, error.index, await this.#ports.store.tile(error.level, error.index))
      }
    }
  }
}
