/** Time as an argument. The real one is built in an entry point alone; tests move it by hand. */
export interface Clock {
  /** Wall clock, milliseconds since 1970: for `iat`, `nbf`, `exp` and entry times. May jump. */
  wallMs(): number
  /** Monotonic milliseconds: for deadlines and leases. Never goes back. */
  monotonicMs(): number
  /** Calls `run` once after `ms`; the result cancels it. */
  after(ms: number, run: () => void): () => void
}

/** Randomness as an argument: challenges, salts, ids. */
export interface Rng {
  /** `count` bytes of cryptographic quality. */
  bytes(count: number): Uint8Array
}
