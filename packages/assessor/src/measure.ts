/** What is measured of a deployment. Shares are between 0 and 1, ages in days, the rest counts or milliseconds. */
export const MEASURES = [
  // the log itself
  'entries', 'log_verified', 'receipts_verified_share', 'receipt_gaps', 'covered_share', 'lifecycle_violations', 'lost_denials', 'key_age_days', 'hybrid_keys', 'witnesses', 'witness_age_days', 'anchor_age_days',
  // what was asked, decided and done
  'executions', 'observed_share', 'accounted_share', 'indeterminate_share', 'gates', 'stop_ms', 'contained_share', 'uncontained',
  'decisions', 'determined_share', 'replayed', 'replay_agreed_share', 'policy_tests', 'policy_tests_failed', 'tested_share',
  'denials', 'denied_checks', 'refusing_gates_share', 'canary_days',
  'verified_initiator_share', 'named_agent_share', 'pinned_share', 'high_risk_approved_share', 'least_quorum', 'rubber_stamp_share', 'assured_share',
  'rooted_share', 'declared_share', 'foreign',
  'assessments', 'rollback_days', 'restore_days', 'restored',
] as const
export type Measure = (typeof MEASURES)[number]

/** One number, and the entries that show it: the first few, where there are some. */
export interface Measured {
  readonly value: number
  readonly proof: readonly number[]
}
/** What is not there was not shown, and counts for nothing. */
export type Measurements = ReadonlyMap<Measure, Measured>

/** Entries that a number names as its proof. */
export const MAX_PROOF = 5

export function isMeasure(value: unknown): value is Measure {
  return (MEASURES as readonly unknown[]).includes(value)
}

/** Counts something, and remembers the first few entries of it. */
export class Count {
  #count = 0
  readonly #proof: number[] = []

  add(seq: number): void {
    this.#count++
    if (this.#proof.length < MAX_PROOF) this.#proof.push(seq)
  }
  get value(): number {
    return this.#count
  }
  get proof(): readonly number[] {
    return this.#proof
  }
  measured(): Measured {
    return { value: this.#count, proof: this.#proof }
  }
}

/** A part of a whole, and the first few entries of either: those that are missing from it where some are. */
export class Share {
  readonly #within = new Count()
  readonly #without = new Count()

  add(seq: number, isWithin: boolean): void {
    ;(isWithin ? this.#within : this.#without).add(seq)
  }
  /** Undefined of nothing: then there is nothing to show. @param isWanted whether all of it should be within; else the proof is what is */
  measured(isWanted = true): Measured | undefined {
    const whole = this.#within.value + this.#without.value
    if (whole === 0) return undefined
    return { value: this.#within.value / whole, proof: isWanted && this.#without.value > 0 ? this.#without.proof : this.#within.proof }
  }
  /** The other part. */
  rest(): Measured | undefined {
    const whole = this.#within.value + this.#without.value
    return whole === 0 ? undefined : { value: this.#without.value / whole, proof: this.#without.proof }
  }
}
