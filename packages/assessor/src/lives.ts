import { type ApprovalRef, type Artifact, type Entry, type EntryHead, isLegal, ownText, parseApprovalRefs, type Permit, prohibition, selectableOf, type Selectable, selectorsOf, type Standing, startRefusal, unadmitted } from '@sealwrit/protocol'
import { Count, type Measure, type Measured } from './measure.ts'
import type { Claims } from './receipts.ts'

/** Executions and holds that are under way or in doubt, and remembered; beyond it nothing can be said of them. */
export const MAX_OPEN = 1_000_000
/** Kinds of permits that are remembered once for all of a kind. */
const MAX_KINDS = 10_000
const NONE: readonly string[] = []

/** An execution that has no ending yet, or one that a late receipt may replace. */
export interface Life {
  readonly seq: number
  readonly jti: string
  readonly txn: string
  readonly gate: string
  /** Milliseconds since 1970. */
  readonly nbfMs: number
  readonly expMs: number
  readonly isRecent: boolean
  /** Containment that is demanded. */
  readonly obligations: readonly string[]
  /** What kills and revocations are compared with, as permits of its kind share it, and its ancestors. */
  readonly kind: Selectable
  readonly above: readonly string[] | undefined
  standing: Standing
  /** Leaf index of the plane's own `indeterminate`. */
  lost: number | undefined
}

/**
 * Every execution of a log run through the life cycle, as verifiers do it. Only what has not come to its ending is remembered: an
 * id that comes again after that is not seen, and an ending that comes again has nothing that it could end.
 * @see spec/lifecycle.md
 */
export class Lives {
  readonly #lives = new Map<string, Life>()
  /** Of permits that differ in nothing that selectors name but their ids, one. */
  readonly #kinds = new Map<string, Selectable>()
  /** Approvals of what is held, by hold. */
  readonly #held = new Map<string, number[]>()
  readonly #holdOf = new Map<number, string>()
  readonly #revoked = new Map<string, number>()
  readonly #killed = new Map<string, number>()
  readonly #violations = new Count()
  #isFull = false

  /** Whether too much is open to say anything of any of it. */
  get isFull(): boolean {
    return this.#isFull
  }
  of(jti: string): Life | undefined {
    return this.#lives.get(jti)
  }

  permit(permit: Permit, isRecent: boolean): void {
    const { seq, nbf, exp, use, constraints, above } = permit
    this.#release(permit)
    if (this.#lives.has(permit.jti)) return this.#violations.add(seq)
    if (prohibition(permit, { revoked: this.#revoked, killed: this.#killed }) !== undefined) this.#violations.add(seq)
    if (this.#lives.size >= MAX_OPEN) {
      this.#isFull = true
      return
    }
    const kind = this.#kindOf(permit)
    const jti = ownText(permit.jti)
    const txn = permit.txn === jti ? jti : ownText(permit.txn)
    this.#lives.set(jti, { seq, jti, txn, gate: kind.aud, nbfMs: nbf * 1_000, expMs: exp * 1_000, isRecent, obligations: constraints.obligations.length === 0 ? NONE : constraints.obligations.map(ownText), kind, above: above?.map(ownText), standing: use === 'redeem' ? 'carried' : 'issued', lost: undefined })
  }

  /** Most permits are like others before them: what is remembered of each of a million that are open is what only it has. */
  #kindOf(permit: Permit): Selectable {
    const { scope, sub, act, policy, aud, cnf, tenant } = permit
    const key = JSON.stringify([scope, sub, act, policy.determining, aud, cnf, tenant])
    const known = this.#kinds.get(key)
    if (known !== undefined) return known
    const kind = selectableOf(permit)
    if (this.#kinds.size < MAX_KINDS) this.#kinds.set(key, kind)
    return kind
  }

  /** A permit ends the hold whose approvals it rests on; what rests on none that stands is no step of any. */
  #release({ approvals, seq }: Artifact & EntryHead): void {
    if (approvals.length === 0) return
    const refs: readonly ApprovalRef[] = parseApprovalRefs(approvals).filter(({ isGrant }) => !isGrant)
    const holds = new Set(refs.map((ref) => this.#holdOf.get(ref.seq)))
    if (refs.length > 0 && (holds.size !== 1 || holds.has(undefined))) this.#violations.add(seq)
    for (const hold of holds) if (hold !== undefined) this.#forget(hold)
  }
  #forget(hold: string): void {
    for (const seq of this.#held.get(hold) ?? []) this.#holdOf.delete(seq)
    this.#held.delete(hold)
  }

  /** @returns the execution that it ends, or ends anew; undefined where it is no step of any */
  receipt({ jti, seq, resolves }: Extract<Entry, { kind: 'receipt' }>, claims: Claims): Life | undefined {
    const life = this.#lives.get(jti)
    if (life === undefined || !isLegal(life.standing, claims.outcome) || resolves !== life.lost) return this.#violated(seq)
    const { started, gate } = claims
    if (startRefusal(started, life.nbfMs, life.expMs) !== undefined || gate !== life.gate || claims.jti !== jti || unadmitted(claims) !== undefined) this.#violations.add(seq)
    this.#lives.delete(jti)
    return life
  }

  /** @returns the execution of which the plane does not know how it ended */
  expiry({ jti, seq, outcome }: Extract<Entry, { kind: 'expiry' }>): Life | undefined {
    const life = this.#lives.get(jti)
    const to = outcome === 'expired' ? 'expired' : 'lost'
    if (life === undefined || !isLegal(life.standing, to)) return this.#violated(seq)
    if (to === 'expired') return void this.#lives.delete(jti)
    life.standing = to
    life.lost = seq
    return life
  }

  #violated(seq: number): undefined {
    this.#violations.add(seq)
    return undefined
  }

  /** Every other entry that is a step, or has to stand among the steps of one. */
  step(entry: Entry): void {
    const { seq, time } = entry
    switch (entry.kind) {
      case 'deny':
        if (entry.jti !== undefined && this.#lives.has(entry.jti)) this.#violations.add(seq)
        return
      case 'hold':
        if (this.#held.has(entry.hold)) return this.#violations.add(seq)
        if (this.#held.size >= MAX_OPEN) this.#isFull = true
        else this.#held.set(ownText(entry.hold), [])
        return
      case 'approval': {
        const approvals = this.#held.get(entry.hold)
        if (approvals === undefined) return this.#violations.add(seq)
        if (entry.event !== 'approved') return this.#forget(entry.hold)
        approvals.push(seq)
        this.#holdOf.set(seq, ownText(entry.hold))
        return
      }
      case 'redemption': {
        const life = this.#lives.get(entry.jti)
        if (life === undefined || !isLegal(life.standing, 'admitted') || entry.aud !== life.gate || entry.exp * 1_000 !== life.expMs || time >= life.expMs) return this.#violations.add(seq)
        life.standing = 'admitted'
        return
      }
      case 'lease':
        if (entry.jtis.some((jti) => !this.#mayGoOn(jti, entry.gate))) this.#violations.add(seq)
        return
      case 'revocation':
        return void this.#revoked.set(ownText(entry.selector), time)
      case 'kill':
        if (entry.event === 'killed') this.#killed.set(ownText(entry.selector), time)
        else if (entry.event === 'lifted') this.#killed.delete(entry.selector)
        return
      default:
        return
    }
  }

  #mayGoOn(jti: string, gate: string): boolean {
    const life = this.#lives.get(jti)
    return life !== undefined && isLegal(life.standing, 'lost') && life.gate === gate && prohibition(selectable(life), { revoked: this.#revoked, killed: this.#killed }) === undefined
  }

  /** When that which runs was first told to stop, milliseconds since 1970. */
  stoppedAt(life: Life): number | undefined {
    if (this.#revoked.size === 0 && this.#killed.size === 0) return undefined
    const times = selectorsOf(selectable(life)).flatMap((selector) => [this.#revoked.get(selector), this.#killed.get(selector)].filter((time) => time !== undefined))
    return times.length === 0 ? undefined : Math.min(...times)
  }

  *measured(): Generator<readonly [Measure, Measured]> {
    if (!this.#isFull) yield ['lifecycle_violations', this.#violations.measured()]
  }
}

function selectable({ kind: { above: _above, ...kind }, jti, txn, above }: Life): Selectable {
  return { ...kind, jti, txn, ...(above === undefined ? {} : { above }) }
}
