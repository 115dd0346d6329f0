import { type Artifact, type EntryHead, isBelow, isContained, initiatorOf, ownText } from '@sealwrit/protocol'
import type { Life } from './lives.ts'
import { Count, MAX_PROOF, type Measure, type Measured, Share } from './measure.ts'
import type { Claims } from './receipts.ts'

/** What was permitted, and what came of it. */
export class Executions {
  /** Permits of which nobody knows how they ended. */
  readonly #doubtful = new Set<number>()
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
  readonly #uncontained = new Count()
  readonly #foreign = new Count()
  /** Ids of roots and what descends from them, of the whole log: what a child names must be there. */
  readonly #known = new Set<string>()
  #ended = 0

  permit(permit: Artifact & EntryHead, isRecent: boolean): void {
    const { jti, seq, policy, act, risk, approvals, par, intent } = permit
    const isRooted = par === undefined || par.foreign !== undefined || this.#known.has(par.jti)
    if (permit.delegates !== undefined) this.#known.add(ownText(jti)) // nothing else can have children
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

  /** @param life the execution that it ends, or ends anew where the plane had called it lost */
  receipt(seq: number, { seq: permit, isRecent, lost, obligations }: Life, { outcome, containment, assurance }: Claims): void {
    if (!isRecent) return
    if (lost === undefined) this.#ended++
    if (outcome === 'indeterminate') this.#doubtful.add(permit)
    else this.#doubtful.delete(permit)
    this.#assured.add(permit, !isBelow(assurance, 'A4'))
    if (outcome === 'not_started') return
    this.#contained.add(permit, containment.length > 0)
    if (obligations.length > 0 && !isContained(obligations, containment.map(String))) this.#uncontained.add(seq)
  }

  lost({ seq, isRecent }: Life): void {
    if (!isRecent) return
    this.#ended++
    this.#doubtful.add(seq)
  }

  *measured(): Generator<readonly [Measure, Measured | undefined]> {
    yield ['executions', this.#permits.measured()]
    yield ['observed_share', this.#observed.measured(false)]
    yield ['determined_share', this.#determined.measured()]
    yield ['verified_initiator_share', this.#initiator.measured()]
    yield ['named_agent_share', this.#named.measured()]
    yield ['high_risk_approved_share', this.#approved.measured()]
    yield ['rooted_share', this.#rooted.measured()]
    yield ['declared_share', this.#declared.measured()]
    yield ['contained_share', this.#contained.measured()]
    yield ['assured_share', this.#assured.measured()]
    yield ['uncontained', this.#uncontained.measured()]
    yield ['foreign', this.#foreign.measured()]
    if (this.#ended === 0) return
    const doubtful = { value: this.#doubtful.size / this.#ended, proof: [...this.#doubtful].slice(0, MAX_PROOF) }
    yield ['accounted_share', { ...doubtful, value: 1 - doubtful.value }]
    yield ['indeterminate_share', doubtful]
  }
}
