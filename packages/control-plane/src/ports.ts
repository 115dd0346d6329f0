import type { Clock, Crypto, NoteKey, Rng } from '@sealwrit/protocol'
import type { Store } from './store/store.ts'

/** The clock of the plane: `Clock`, and a second source that counts through sleep, to tell a jump of the wall clock. */
export interface PlaneClock extends Clock {
  /** Milliseconds since the machine started, sleep included. */
  bootMs(): number
}

/** The log's signing key. */
export interface LogKey {
  readonly key: NoteKey
  /** 64 bytes over `message`. */
  readonly sign: (message: Uint8Array) => Uint8Array
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

/** Everything from outside that the plane uses. */
export interface PlanePorts {
  readonly clock: PlaneClock
  readonly rng: Rng
  readonly crypto: Crypto
  readonly store: Store
  readonly logKey: LogKey
  /** The key before the log was re-anchored; only while that is done. */
  readonly formerLogKey?: NoteKey
  readonly highWater: HighWater
  /** Runs after the events that are already there were handled: lets a commit group fill. */
  readonly defer: (run: () => void) => void
}
