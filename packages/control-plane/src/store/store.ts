/** Rows that belong together: one commit group of the log, with the bodies that stand behind its commitments. */
export interface Group {
  readonly firstSeq: number
  /** Leaf texts, in order; none holds a newline, since canonical JSON escapes it. */
  readonly entries: readonly string[]
  readonly bodies: readonly StoredBody[]
  /** The signed checkpoint over everything up to and with this group; absent in a group of receipts alone. */
  readonly checkpoint: string | undefined
  /** The newest checkpoint that the writer knows; where others write too, the group is `lost` under any other. Undefined: not compared. */
  readonly after?: string | undefined
  /** Hash tiles that became full with this group. @see c2sp.org/tlog-tiles */
  readonly tiles: readonly Tile[]
  /** Keys that may be spent once for ever, by whomever: a group with one that is spent is refused whole. */
  readonly spent: readonly string[]
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
  readonly purpose: 'action' | 'environment' | 'inputs' | 'result' | 'directory' | 'grant' | 'reason' | 'shadow' | 'redacted' | 'delegation' | 'foreign' | 'purpose' | 'attestation' | 'definition'
  readonly commit: string
  readonly salt: string
  readonly digest: string
  /** Canonical JSON text; absent when only the digest is kept. */
  readonly text: string | undefined
}

/** One execution, or one request that was denied, in the lagging index. */
export interface ExecutionRow {
  readonly jti: string
  readonly seq: number
  /** Leaf index of the effective ending; that of what was denied is its own. */
  readonly ending: number | undefined
  /** When the permit becomes `indeterminate` if nothing ended it, milliseconds. */
  readonly deadlineMs: number
  /** Leaf index of the `indeterminate` or `expired` entry, where the plane wrote one. */
  readonly expiry: number | undefined
  /** `jti` of the parent that it names. */
  readonly parent: string | undefined
}

/** One row as it stands in the store; nothing in it was looked at. */
export type StoredRow =
  | { readonly kind: 'group'; readonly firstSeq: number; readonly count: number; readonly entries: string; readonly bodies: string; readonly checkpoint: string | undefined }
  | { readonly kind: 'head'; readonly size: number; readonly checkpoint: string | undefined }
  | ({ readonly kind: 'tile' } & Tile)
  | { readonly kind: 'spent'; readonly key: string; readonly seq: number }
  | ({ readonly kind: 'execution' } & ExecutionRow)
  | { readonly kind: 'meta'; readonly key: string; readonly value: string }
  /** The medium itself is damaged, as the store's own check says. */
  | { readonly kind: 'damage'; readonly what: string }

/** Where the log stands in the store. */
export interface Head {
  /** Number of leaves. */
  readonly size: number
  /** The newest signed checkpoint; undefined while nothing was signed. */
  readonly checkpoint: string | undefined
  /** Counts the connections under which the head was read: under another one it may be another server, with another history. */
  readonly server?: number
}

/** What became of an append: `lost` when another writer was first, `spent` when one of its keys is spent. */
export type Appended = 'appended' | 'lost' | 'spent'

/** The store could not be used; nothing after the last answered append was acknowledged. */
export class StoreFailure extends Error {
  /** True when a later attempt may succeed (a full disk, a connection); false when the writer must stop for good (an fsync error). */
  readonly recoverable: boolean
  constructor(message: string, recoverable: boolean) {
    super(message)
    this.recoverable = recoverable
  }
}

/**
 * Where the log lives: one head that moves by compare-and-swap, and everything that was ever under it. Every method rejects
 * with {@link StoreFailure} and nothing else. `testing/store-contract.ts` holds every store to this.
 */
export interface Store {
  /** Whether other processes may write to the same log at the same time. */
  readonly isShared: boolean
  head(): Promise<Head>
  /**
   * Appends a group where the log has exactly `firstSeq` leaves.
   * INVARIANT: I3, the group is durable when this resolves with `appended`; I2, no key is spent twice. A rejection leaves
   * open whether it was written: read the head.
   */
  append(group: Group): Promise<Appended>
  /** Stores a checkpoint that was signed over exactly `size` leaves without new entries; false when the log has moved on. */
  putCheckpoint(size: number, note: string): Promise<boolean>
  /** Leaf texts from `from` on, at most `count`. */
  entries(from: number, count: number): Promise<readonly string[]>
  tile(level: number, index: number): Promise<Uint8Array | undefined>
  /** The bodies of `count` entries from `from` on (default: of one), in the order of their entries. */
  bodies(from: number, count?: number): Promise<readonly StoredBody[]>
  /** Deletes the bodies and salts of the entries from leaf index `from` to before `to`. @returns how many there were */
  eraseBodies(from: number, to: number): Promise<number>
  /** Leaf index of the first entry of the group that spent `key`; undefined while it is not spent. */
  spentAt(key: string): Promise<number | undefined>
  getMeta(key: string): Promise<string | undefined>
  putMeta(key: string, value: string): Promise<void>
  /** How many leaves the index of executions covers; it may lag behind the log and is brought up to date from it. */
  indexedSize(): Promise<number>
  /** Brings the index up to `size`; rows replace older ones of the same `jti`. It never goes back. */
  putIndex(size: number, rows: readonly ExecutionRow[]): Promise<void>
  execution(jti: string): Promise<ExecutionRow | undefined>
  /** The executions that name `parent`, with leaf indices beyond `after`, in their order; at most `limit`. */
  children(parent: string, after: number, limit: number): Promise<readonly ExecutionRow[]>
  /** Everything that is stored, as it is stored, for a check of all of it: groups and tiles in their order. */
  audit(): AsyncIterable<StoredRow>
  /** The store's own clock in milliseconds, where it runs on another machine; undefined where it is the plane's. */
  clockMs(): Promise<number | undefined>
  close(): Promise<void>
}
