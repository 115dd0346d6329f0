/** Rows that belong together: one commit group of the log, with the bodies that stand behind its commitments. */
export interface Group {
  readonly firstSeq: number
  /** Leaf texts, in order; none holds a newline, since canonical JSON escapes it. */
  readonly entries: readonly string[]
  readonly bodies: readonly StoredBody[]
  /** The signed checkpoint over everything up to and with this group; absent in a group of receipts alone. */
  readonly checkpoint: string | undefined
  /** Hash tiles that became full with this group. @see c2sp.org/tlog-tiles */
  readonly tiles: readonly Tile[]
}

export interface Tile {
  readonly level: number
  readonly index: number
  /** 256 hashes of 32 bytes. */
  readonly hashes: Uint8Array
}

/** A body as canonical JSON text with the salt of its commitment: erasable, and never needed to check the log. */
export interface StoredBody {
  /** Leaf index of the entry that commits to it. */
  readonly seq: number
  readonly purpose: 'action' | 'environment' | 'inputs' | 'result'
  readonly commit: string
  readonly salt: string
  readonly digest: string
  /** Canonical JSON text; absent when only the digest is kept. */
  readonly text: string | undefined
}

/** One execution in the lagging index. */
export interface ExecutionRow {
  readonly jti: string
  readonly seq: number
  /** Leaf index of the effective ending. */
  readonly ending: number | undefined
  /** When the permit becomes `indeterminate` if nothing ended it, milliseconds. */
  readonly deadlineMs: number
  /** Leaf index of the `indeterminate` or `expired` entry, where the plane wrote one. */
  readonly expiry: number | undefined
}

/** The store can no longer be written to; nothing after the last answered append was acknowledged. */
export class StoreFailure extends Error {
  /** True when a later attempt may succeed (a full disk); false when the writer must stop for good (an fsync error). */
  readonly recoverable: boolean
  constructor(message: string, recoverable: boolean) {
    super(message)
    this.recoverable = recoverable
  }
}

/**
 * Where the log lives. `append` is a compare-and-swap on the size of the log and durable when it returns; the index of
 * executions may lag behind the log and is brought up to date from it.
 */
export interface Store {
  /** Number of leaves. */
  size(): number
  /** The newest signed checkpoint; undefined while nothing was signed. */
  checkpoint(): string | undefined
  /** INVARIANT: I3, the group is durable when this returns. @throws {StoreFailure} nothing of the group is acknowledged */
  append(group: Group): void
  /** Stores a checkpoint that was signed over the present size without new entries; durable when it returns. */
  putCheckpoint(note: string): void
  /** Leaf texts from `from` on, at most `count`. */
  entries(from: number, count: number): readonly string[]
  tile(level: number, index: number): Uint8Array | undefined
  /** The bodies of `count` entries from `from` on (default: of one), in the order of their entries. */
  bodies(from: number, count?: number): readonly StoredBody[]
  getMeta(key: string): string | undefined
  putMeta(key: string, value: string): void
  /** How many leaves the index of executions covers. */
  indexedSize(): number
  /** Brings the index up to `size`; rows replace older ones of the same `jti`. */
  putIndex(size: number, rows: readonly ExecutionRow[]): void
  execution(jti: string): ExecutionRow | undefined
  openExecutions(): readonly ExecutionRow[]
  close(): void
}
