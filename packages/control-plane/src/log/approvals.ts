import { type Actor, type CommittedDelegation, type DelegationBounds, type ParentRef, type ApprovalDemand, type ApprovalEntry, type Digest, type Edits, type Entry, type EntryHead, type GrantBounds, type HoldEntry, keysOf, mayApprove, parseApprovalRefs, peekClaims, peekKid, type Permit, type Person, type Risk, type Scope, type Sha256, withApprover, type TakenVoucher, type TrustList, vouchedPerson } from '@sealwrit/protocol'

/** Holds that are remembered at once; beyond it new ones are `overloaded`. */
export const MAX_HOLDS = 10_000
/** Persons whose word was taken on one hold. */
export const MAX_GIVEN = 64
/** Ended holds are remembered at least this long, so that whoever still asks hears why, in milliseconds. */
const ENDED_LIFE_MS = 3_600_000
/** Scopes of which the last approved hold is remembered, to show what changed since. */
const MAX_LAST = 10_000

/** One person's approval of a hold. */
export interface Given {
  readonly seq: number
  readonly leafHash: Digest
  readonly person: string
  /** Thumbprint of the key that signed. */
  readonly kid: string
  readonly grant: GrantBounds | undefined
  /** Uses of the grant that are left. */
  readonly left: number
  /** Who vouches for a person of another plane. */
  readonly voucher: TakenVoucher | undefined
}

export interface Held {
  readonly id: string
  readonly seq: number
  readonly leafHash: Digest
  readonly timeMs: number
  readonly aud: string
  readonly sub: string
  readonly act: Actor
  readonly scope: Scope
  readonly par: ParentRef | undefined
  readonly delegates: CommittedDelegation | undefined
  readonly commit: Digest
  readonly risk: Risk | undefined
  readonly determining: readonly string[]
  readonly demand: ApprovalDemand
  readonly intent: string | undefined
  /** Digest of the action; undefined where this process has only read it back, and only its body says it. */
  readonly request: Digest | undefined
  readonly given: readonly Given[]
  /** `void`: what used it may be in a history that was lost. */
  readonly ended: 'used' | 'rejected' | 'expired' | 'void' | undefined
  /** Leaf index of the rejection or expiry. */
  readonly endedSeq: number | undefined
}

/** A person, and where the log says so. */
export interface KnownPerson extends Person {
  readonly seqs: readonly number[]
  /** Leaf index of the entry that commits to the name. */
  readonly nameSeq: number | undefined
}

/** Who asks for what where, as a hold and its later request must agree on it. */
export interface Requester {
  readonly aud: string
  readonly sub: string
  readonly act: Actor
  readonly scope: Scope
  readonly par: ParentRef | undefined
  readonly delegates: DelegationBounds | undefined
  /** What it was approved for, it is used for. */
  readonly intent: string | undefined
}

/** What entries 0…n−1 say of holds, approvals and approvers. */
export class Approvals {
  readonly persons: Map<string, KnownPerson> = new Map()
  readonly holds: Map<string, Held> = new Map()
  /** Hold of each approval that is remembered, by leaf index. */
  readonly #holdOf = new Map<number, string>()
  readonly #last = new Map<string, number>()
  readonly #edits: Edits

  constructor(edits: Edits) {
    this.#edits = edits
  }

  apply(entry: Entry, leafHash: Digest, request: string | undefined): void {
    switch (entry.kind) {
      case 'hold':
        return this.#held(entry, leafHash, request)
      case 'approval':
        return this.#approved(entry, leafHash)
      case 'permit':
        return this.#used(entry)
      case 'key': {
        if (entry.purpose === 'approver') {
          const known = this.persons.get(entry.person)
          const person = { ...withApprover(known, entry), seqs: [...(known?.seqs ?? []), entry.seq], nameSeq: entry.name_commit === undefined ? known?.nameSeq : entry.seq }
          this.#edits.set(this.persons, entry.person, person)
        } else if (entry.purpose === 'log' && entry.lost !== undefined) for (const held of this.holds.values()) this.#put({ ...held, ended: 'void', given: [] })
        return
      }
      default:
    }
  }

  #put(held: Held): void {
    this.#edits.set(this.holds, held.id, held)
  }

  #held({ hold: id, seq, time: timeMs, aud, sub, act, scope, action_commit: commit, risk, policy, approval: demand, par, delegates, intent }: HoldEntry & EntryHead, leafHash: Digest, request: string | undefined): void {
    if (demand === undefined || aud === undefined || sub === undefined || act === undefined || scope === undefined || commit === undefined) return
    if (this.holds.size >= MAX_HOLDS) this.#forget(timeMs)
    this.#put({ id, seq, leafHash, timeMs, aud, sub, act, scope, par, delegates, commit, risk, determining: policy?.determining ?? [], demand, intent, request, given: [], ended: undefined, endedSeq: undefined })
  }

  #forget(nowMs: number): void {
    for (const held of this.holds.values()) {
      if (held.ended === undefined || nowMs - held.timeMs < ENDED_LIFE_MS || hasGrants(held, nowMs)) continue
      for (const { seq } of held.given) this.#edits.delete(this.#holdOf, seq)
      this.#edits.delete(this.holds, held.id)
    }
  }

  #approved({ hold: id, event, person, signature, seq, voucher }: ApprovalEntry & EntryHead, leafHash: Digest): void {
    const held = this.holds.get(id)
    if (held === undefined) return
    if (event !== 'approved' || person === undefined || signature === undefined) return this.#put({ ...held, ended: event === 'expired' ? 'expired' : 'rejected', endedSeq: seq })
    const grant = peekClaims(signature)['grant'] as GrantBounds | undefined // verified before it was logged
    this.#edits.set(this.#holdOf, seq, id)
    // A person of another plane may be vouched for anew; that counts in the place of what was before.
    const others = held.given.filter((given) => given.person !== person)
    this.#put({ ...held, given: [...others, { seq, leafHash, person, kid: peekKid(signature), grant, left: grant?.uses ?? 0, voucher }] })
  }

  #used(permit: Permit): void {
    for (const { seq, isGrant } of parseApprovalRefs(permit.approvals)) {
      const held = this.holds.get(this.#holdOf.get(seq) ?? '')
      if (held === undefined) continue
      if (isGrant) this.#put({ ...held, given: held.given.map((given) => (given.seq === seq ? { ...given, left: given.left - 1 } : given)) })
      else {
        this.#put({ ...held, ended: 'used' })
        if (this.#last.size < MAX_LAST || this.#last.has(scopeKey(held.scope))) this.#edits.set(this.#last, scopeKey(held.scope), held.seq)
      }
    }
  }

  /** Leaf index of the hold of this scope that was used last. */
  lastUsed(scope: Scope): number | undefined {
    return this.#last.get(scopeKey(scope))
  }

  /** Holds that wait, or whose refusal stands until they would have expired. */
  *waiting(timeMs: number): Generator<Held> {
    for (const held of this.holds.values()) if ((held.ended === undefined || held.ended === 'rejected') && timeMs < held.demand.expires * 1_000) yield held
  }

  /** Whether somebody who is registered here holds this key now. */
  holdsKey(key: string): boolean {
    return [...this.persons.values()].some(({ keys }) => keys.includes(key))
  }

  /** Approvals of `held` that count now, each of another person: role and keys are those of this moment (ATK-109). */
  counted(held: Held, owner: string, at: { readonly timeMs: number; readonly sha256: Sha256; readonly trusted: TrustList }): readonly Given[] {
    const seen = new Set<string>()
    return held.given.filter(({ person: id, kid, voucher }) => {
      const person = voucher === undefined ? this.persons.get(id) : this.#vouched(id, voucher, at)
      if (person === undefined || !mayApprove(person, held.demand.groups, { sub: held.sub, owner }) || !keysOf(person, at.sha256).some((key) => key.kid === kid)) return false
      return seen.size < seen.add(kid).size // one key is one person, whoever vouches for it
    })
  }

  /** A person of another plane: while they are vouched for, that plane is trusted, and its groups count as they did. */
  #vouched(person: string, voucher: TakenVoucher, { timeMs, trusted }: { readonly timeMs: number; readonly trusted: TrustList }): Person | undefined {
    const plane = trusted.get(voucher.foreign.iss)
    if (plane?.accepts.includes('approvals') !== true || timeMs >= voucher.exp * 1_000 || this.holdsKey(voucher.key)) return undefined
    const groups = new Set(Object.values(plane.groups))
    return vouchedPerson(person, { ...voucher, groups: voucher.groups.filter((group) => groups.has(group)) })
  }
}

/** Whether a grant on `held` could still be used. */
export function hasGrants(held: Held, nowMs: number): boolean {
  return held.ended !== 'rejected' && held.ended !== 'expired' && held.ended !== 'void' && held.given.some(({ grant, left }) => grant !== undefined && left > 0 && nowMs < grant.until * 1_000)
}

export function isSameRequester(held: Requester, { aud, sub, act, scope, par, delegates, intent }: Requester): boolean {
  const isSamePlace = held.par?.jti === par?.jti && held.par?.leaf_hash === par?.leaf_hash
  return held.intent === intent && held.aud === aud && held.sub === sub && held.act.sub === act.sub && held.act.verified === act.verified && scopeKey(held.scope) === scopeKey(scope) && isSamePlace && boundsKey(held.delegates) === boundsKey(delegates)
}

function boundsKey(delegates: DelegationBounds | undefined): string {
  return delegates === undefined ? '' : `${delegates.until} ${delegates.uses} ${delegates.depth}`
}

function scopeKey({ type, target, name }: Scope): string {
  return `${type}\n${target}\n${name}`
}
