import type { Clock, Crypto, DenialCode, Entry, NoteKey, Rng, TrustList } from '@sealwrit/protocol'
import type { Store } from './store/store.ts'

/** The clock of the plane: `Clock`, and a second source that counts through sleep, to tell a jump of the wall clock. */
export interface PlaneClock extends Clock {
  /** Milliseconds since the machine started, sleep included. */
  bootMs(): number
}

/** The log's signing key. */
export interface LogKey {
  readonly key: NoteKey
  /** Where it is: in a file, in an encrypted one, or apart from this process; a file where nothing is said. */
  readonly custody?: 'plain' | 'encrypted' | 'apart'
  /**
   * 64 bytes over `message`: at once from a key in memory, or later from another process, a token or a service. One that fails or takes
   * longer than {@link MAX_SIGNING_MS} refuses the group that waits for it, and nothing that was acknowledged.
   */
  readonly sign: Sign
  /** The ML-DSA-65 half of a hybrid key, in the same way. */
  readonly signPq?: Sign
}

export type Sign = (message: Uint8Array) => Uint8Array | Promise<Uint8Array>

/** Where the keys of the log are made and kept, where this plane may change them. */
export interface Keychain {
  /** The key that is to take over; made, and durable, where there is none. @throws {Error} with the way out */
  next(): Promise<LogKey>
  /** `key` is the log key from here on: what is older is put away. */
  adopt(key: NoteKey): void
}

/**
 * Where the newest signed checkpoint is remembered outside the store, so that an older copy of the store is noticed. It is
 * the signed note itself: nobody but the log key can raise it.
 */
export interface HighWater {
  read(): string | undefined
  /** Replaces it in one step. */
  write(note: string): void
}

/**
 * What the plane tells of its work, for whoever counts. Only closed names, counts and times reach it; whoever implements it
 * must take nothing of an entry but its kind and the codes that it holds (I8). It must not throw.
 */
export interface Metrics {
  /** A group became durable. */
  committed(group: { readonly entries: readonly Entry[]; readonly isSigned: boolean; readonly durationMs: number }): void
  /** A request for a decision was answered or refused. */
  authorized(durationMs: number): void
  /** A request was refused without an entry. */
  refused(code: DenialCode): void
  storeFailed(isRecoverable: boolean): void
  /** INVARIANT: I4, never called: a permit would have left without its evidence. It did not, and the writer has stopped. */
  failedOpen(): void
}

export const NO_METRICS: Metrics = Object.freeze({ committed: () => undefined, authorized: () => undefined, refused: () => undefined, storeFailed: () => undefined, failedOpen: () => undefined })

/** Follows requests for a decision across processes. It must not throw. */
export interface Tracing {
  /** A request begins; the result is told how it ended. @param traceparent names what the gate is doing meanwhile */
  authorizing(about: { readonly type: string; readonly gate: string; readonly traceparent: string | undefined }): (ended: { readonly decision: 'permit' | 'deny' | 'hold'; readonly code?: DenialCode; readonly seq?: number }) => void
}

/** Signs JWS exports, and nothing else. */
export interface ExportKey {
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** Everything from outside that the plane uses. */
/** Which other planes' word counts here, and for which of them something is made. */
export interface FederationTrust {
  readonly trusted: TrustList
  /** Origins of planes that artifacts and vouchers may be made for. */
  readonly audiences: readonly string[]
}
export const NO_FEDERATION: FederationTrust = Object.freeze({ trusted: new Map(), audiences: [] })

export interface PlanePorts {
  readonly clock: PlaneClock
  readonly rng: Rng
  readonly crypto: Crypto
  readonly store: Store
  readonly logKey: LogKey
  /** The key that is taking over, where a rotation had begun. */
  readonly nextLogKey?: LogKey | undefined
  /** Log keys cannot be changed without it. */
  readonly keychain?: Keychain | undefined
  /** The key before the log was re-anchored; only while that is done. */
  readonly formerLogKey?: NoteKey
  readonly highWater: HighWater
  /** Runs after the events that are already there were handled: lets a commit group fill. */
  readonly defer: (run: () => void) => void
  /** No other plane's word counts without it. */
  readonly federation?: FederationTrust | undefined
  /** Nothing is exported as JWS without it. */
  readonly exportKey?: ExportKey | undefined
  /** Nothing is counted without it. */
  readonly metrics?: Metrics
  /** Nothing is traced without it. */
  readonly tracing?: Tracing
}
