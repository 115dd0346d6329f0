import { type Artifact, type EntryHead, isBelow, initiatorOf, type ExpiryEntry, type ReceiptEntry } from '@sealwrit/protocol'
import { Count, type Measure, type Measured, Share } from './measure.ts'
import type { Claims } from './receipts.ts'

/** Executions that are under way or in doubt, and remembered; beyond it nothing can be said of them. */
export const MAX_OPEN = 1_000_000

/** What was permitted, and what came of it. */
export class Executions {
  readonly #open = new Map<string, number>()
  readonly #doubtful = new Map<string, number>()
  readonly #permits = new Count()
  readonly #observed = new Share()
  readonly #determined = new Share()
  readonly #initiator = new Share()
  readonly #named = new Share()
  readonly #approved = new Share()
  readonly #rooted = new Share()
  readonly #declared = new Share()
  readonly #contained = new Share()
  readonly #assured = new Share()
  readonly #foreign = new Count()
  /** Ids of roots and what descends from them, of the whole log: what a child names must be there. */
  readonly #known = new Set<string>()
  #ended = 0
  #isFull = false

  permit(permit: Artifact & EntryHead, isRecent: boolean): void {
    const { jti, seq, policy, act, risk, approvals, par, intent } = permit
    if (this.#open.size >= MAX_OPEN) this.#isFull = true
    else this.#open.set(jti, isRecent ? seq : -1)
    const isRooted = par === undefined || par.foreign !== undefined || this.#known.has(par.jti)
    if (permit.delegates !== undefined) this.#known.add(jti) // nothing else can have children
    if (!isRecent) return
    this.#permits.add(seq)
    this.#observed.add(seq, 'observed' in permit)
    this.#determined.add(seq, policy.determining.length > 0)
    this.#initiator.add(seq, initiatorOf(permit) !== 'none')
    this.#named.add(seq, act.verified)
    if (risk === 'high' || risk === 'critical') this.#approved.add(seq, approvals.length > 0)
    this.#rooted.add(seq, isRooted)
    this.#declared.add(seq, intent !== undefined)
    if (par?.foreign !== undefined) this.#foreign.add(seq)
  }

  receipt({ jti }: ReceiptEntry & EntryHead, claims: Claims): void {
    const seq = this.#open.get(jti) ?? this.#doubtful.get(jti)
    if (seq === undefined) return
    this.#doubtful.delete(jti)
    this.#open.delete(jti)
    if (seq < 0) return
    this.#ended++
    if (claims.outcome === 'indeterminate') this.#doubtful.set(jti, seq)
    this.#assured.add(seq, !isBelow(claims.assurance, 'A4'))
    if (claims.outcome !== 'not_started') this.#contained.add(seq, claims.containment.length > 0)
  }

  expiry({ jti, outcome }: ExpiryEntry & EntryHead): void {
    const seq = this.#open.get(jti)
    if (seq === undefined) return
    this.#open.delete(jti)
    if (seq < 0 || outcome === 'expired') return
    this.#ended++
    this.#doubtful.set(jti, seq)
  }

  *measured(): Generator<readonly [Measure, Measured | undefined]> {
    if (this.#isFull) return // too much is open to say anything of any of it
    yield ['executions', this.#permits.measured()]
    yield ['observed_share', this.#observed.measured()]
    yield ['determined_share', this.#determined.measured()]
    yield ['verified_initiator_share', this.#initiator.measured()]
    yield ['named_agent_share', this.#named.measured()]
    yield ['high_risk_approved_share', this.#approved.measured()]
    yield ['rooted_share', this.#rooted.measured()]
    yield ['declared_share', this.#declared.measured()]
    yield ['contained_share', this.#contained.measured()]
    yield ['assured_share', this.#assured.measured()]
    yield ['foreign', this.#foreign.measured()]
    if (this.#ended === 0) return
    const doubtful = [...this.#doubtful.values()].filter((seq) => seq >= 0)
    yield ['accounted_share', { value: 1 - doubtful.length / this.#ended, proof: doubtful.slice(0, 5) }]
    yield ['indeterminate_share', { value: doubtful.length / this.#ended, proof: doubtful.slice(0, 5) }]
  }
}
