import { parseAction, type Scope } from '../action.ts'
import { type ApprovalDemand, type ApprovalEntry, type ApprovalRef, type ApprovalStatement, parseApprovalRefs, verifyApproval } from '../approval/approval.ts'
import { fitsGrant, parseGrantArguments } from '../approval/grant.ts'
import { keysOf, mayApprove, type Person, withApprover } from '../approval/persons.ts'
import type { Actor, Permit } from '../artifact/artifact.ts'
import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { MAX_VOUCHER_SECONDS, type TakenVoucher, vouchedPerson, type VoucherEntry } from '../federation/voucher.ts'
import type { HoldEntry, KeyEntry } from '../log/entries.ts'
import type { EntryHead } from '../log/entry.ts'
import { canonicalText } from '../json/canonicalize.ts'
import { peekKid } from '../receipt/jws.ts'
import type { Body } from './bundle.ts'
import type { Tally } from './tally.ts'

interface KnownHold {
  readonly seq: number
  readonly leaf: string
  readonly time: number
  readonly commit: string
  readonly aud: string
  readonly sub: string
  readonly act: Actor
  readonly scope: Scope
  /** Its place in a lineage and what it delegates, as one text. */
  readonly place: string
  readonly demand: ApprovalDemand
  readonly intent: string | undefined
  ended: 'used' | 'rejected' | 'expired' | undefined
}

interface KnownApproval {
  readonly seq: number
  readonly hold: KnownHold
  readonly kid: string
  readonly statement: ApprovalStatement
  readonly voucher: TakenVoucher | undefined
  /** What the arguments of the grant may be, where the bundle holds it. */
  readonly bounds: Body | undefined
  left: number
}

const SIGNED = 'the approver signed exactly this hold, under a key that was registered for them, while it waited'
const RESTS = 'the permit rests on the approval of distinct persons that its hold demanded, used once'
const GRANTED = 'the permit is one of the uses that a grant allowed'
const VOUCHED = 'what another plane was told of an approver was so'
const FITS = 'the arguments are those that the grant allows'

/** Holds and their approvals, as far as the bundle shows them: who signed what, whose word counted, and how often it was used. */
export class Approvals {
  readonly #crypto: Crypto
  readonly #tally: Tally
  readonly #tenant: () => string | undefined
  readonly #persons = new Map<string, Person>()
  readonly #holds = new Map<string, KnownHold>()
  /** By leaf hash. */
  readonly #approvals = new Map<string, KnownApproval>()
  #rested = 0

  constructor(crypto: Crypto, tally: Tally, tenant: () => string | undefined) {
    this.#crypto = crypto
    this.#tally = tally
    this.#tenant = tenant
  }

  key(entry: KeyEntry & EntryHead): void {
    if (entry.purpose === 'approver') {
      const person = withApprover(this.#persons.get(entry.person), entry)
      this.#persons.set(entry.person, person)
      const twin = [...this.#persons.values()].find((other) => other.person !== person.person && other.keys.some((key) => person.keys.includes(key)))
      if (twin !== undefined) this.#tally.found('contradicted', 'two approvers hold one key', { seq: entry.seq })
    } else if (entry.purpose === 'log' && entry.lost !== undefined) {
      this.#holds.clear() // what used them may be in the history that was lost
      this.#approvals.clear()
    }
  }

  held({ hold, seq, time, aud, sub, act, scope, action_commit: commit, approval: demand, par, delegates, intent }: HoldEntry & EntryHead, leaf: string): void {
    if (demand === undefined || aud === undefined || sub === undefined || act === undefined || scope === undefined || commit === undefined) return
    if (this.#holds.has(hold)) return this.#tally.found('contradicted', 'two holds have one id', { seq })
    this.#holds.set(hold, { seq, leaf, time, commit, aud, sub, act, scope, place: placeText(par, delegates), demand, intent, ended: undefined })
  }

  decided(entry: ApprovalEntry & EntryHead, leaf: string, bodies: readonly Body[] | undefined): void {
    const { hold: id, seq, event } = entry
    const hold = this.#holds.get(id)
    if (hold === undefined) return this.#tally.found('not established', 'the approval belongs to a hold that is not in this bundle', { seq })
    if (event === 'expired') {
      const isOver = this.#tally.prove('a hold expires after its time, and only while it waits', () => {
        if (entry.time < hold.demand.expires * 1_000) throw new Denied('artifact_not_yet_valid', 'its time is not over')
        if (hold.ended !== undefined) throw new Denied('artifact_spent', `the hold is ${hold.ended}`)
      }, { seq })
      if (isOver) hold.ended = 'expired'
      return
    }
    const person = entry.voucher === undefined ? this.#persons.get(entry.person ?? '') : vouchedPerson(entry.person ?? '', entry.voucher)
    if (person === undefined) return this.#tally.found('not established', 'the approver is not registered in this bundle', { seq })
    const statement = this.#tally.claim(SIGNED, () => this.#signed(entry, hold, person), { seq })?.value
    if (statement === undefined) return
    if (event === 'rejected') hold.ended = 'rejected'
    else this.#approvals.set(leaf, { seq, hold, kid: peekKid(entry.signature ?? ''), statement, voucher: entry.voucher, bounds: bodies?.find(({ purpose, commit }) => purpose === 'grant' && commit === entry.grant_commit), left: statement.grant?.uses ?? 0 })
  }

  #signed({ hold: id, person: named, event, signature, time, grant_commit: grant, reason_commit: reason, voucher }: ApprovalEntry & EntryHead, hold: KnownHold, person: Person): ApprovalStatement {
    const statement = verifyApproval(signature ?? '', keysOf(person, this.#crypto.sha256), this.#crypto)
    const { hold: signed, index, leaf_hash: leaf, action_commit: commit, aud, sub, decision, tenant, person: signer } = statement
    if (signed !== id || index !== hold.seq || leaf !== hold.leaf || commit !== hold.commit) throw new Denied('action_mismatch', 'the signature is about another hold')
    if (aud !== hold.aud || sub !== hold.sub || signer !== named) throw new Denied('subject_mismatch')
    if (tenant !== this.#tenant()) throw new Denied('tenant_mismatch')
    if (decision !== event || statement.grant?.arguments_commit !== grant || statement.reason_commit !== reason) throw new Denied('seal_invalid', 'signature and entry disagree')
    if (voucher !== undefined && (time >= voucher.exp * 1_000 || statement.grant !== undefined)) throw new Denied('artifact_expired', 'nobody vouches for the approver any more, or not for that')
    if (hold.ended === 'rejected') throw new Denied('approval_rejected')
    if (hold.ended === 'expired' || (hold.ended === undefined && time >= hold.demand.expires * 1_000)) throw new Denied('approval_expired')
    if (hold.ended === 'used' && decision === 'approved') throw new Denied('artifact_spent', 'the hold was used already')
    if (decision === 'approved' && !mayApprove(person, hold.demand.groups, { sub: hold.sub, owner: undefined })) throw new Denied('quorum_not_met', 'in none of the groups, or the one who asks')
    if (decision === 'rejected' && !person.groups.some((group) => hold.demand.groups.includes(group))) throw new Denied('identity_unknown', 'in none of the groups')
    return statement
  }

  /** What this plane told another one of an approver was so at that place. */
  vouched({ person: id, key, groups, sub, time, exp, seq }: VoucherEntry & EntryHead): void {
    const person = this.#persons.get(id)
    if (person === undefined) return this.#tally.found('not established', 'the person who is vouched for is not registered in this bundle', { seq })
    this.#tally.claim(VOUCHED, () => {
      if (!person.keys.includes(key) || person.groups.join() !== groups.join() || person.sub !== sub) throw new Denied('subject_mismatch', 'they hold another key, or stand otherwise')
      const from = Math.floor(time / 1_000)
      if (exp <= from || exp - from > MAX_VOUCHER_SECONDS) throw new Denied('lifetime_exceeded')
    }, { seq })
  }

  permitted(permit: Permit, bodies: readonly Body[] | undefined): void {
    if (permit.approvals.length === 0) return
    const at = { seq: permit.seq, jti: permit.jti }
    const refs = parseApprovalRefs(permit.approvals)
    const known = refs.map(({ leafHash }) => this.#approvals.get(leafHash))
    if (known.some((one) => one === undefined)) return this.#tally.found('not established', 'the permit rests on approvals that are not in this bundle, or do not hold', at)
    this.#rested++
    const approvals = known as KnownApproval[]
    const isGrant = refs[0]?.isGrant === true
    const proved = this.#tally.claim(isGrant ? GRANTED : RESTS, () => {
      this.#counted(permit, refs, approvals)
      if (isGrant) use(permit, approvals)
      else spend(permit, approvals)
    }, at)
    if (proved !== undefined && isGrant) this.#fits(approvals, bodies, at)
  }

  /** Enough distinct persons, all of one hold of this very requester, each in their role at this place in the log. */
  #counted({ seq, time, sub, act, aud, scope, owner, par, delegates, intent }: Permit, refs: readonly ApprovalRef[], approvals: readonly KnownApproval[]): void {
    const hold = (approvals[0] as KnownApproval).hold
    if (approvals.some((one, i) => one.hold !== hold || one.seq !== refs[i]?.seq || one.seq >= seq)) throw new Denied('seal_invalid', 'the approvals are of several holds, or stand elsewhere')
    if (sub !== hold.sub || act.sub !== hold.act.sub || act.verified !== hold.act.verified || aud !== hold.aud) throw new Denied('subject_mismatch', 'somebody else asked, or at another gate')
    if (scope.type !== hold.scope.type || scope.target !== hold.scope.target || scope.name !== hold.scope.name) throw new Denied('action_mismatch', 'something else was asked')
    if (intent !== hold.intent) throw new Denied('action_mismatch', 'another intent was declared')
    if (placeText(par, delegates) !== hold.place) throw new Denied('action_mismatch', 'it was asked for below another permit, or delegates something else')
    if (hold.ended === 'rejected') throw new Denied('approval_rejected')
    if (hold.ended === 'expired') throw new Denied('approval_expired')
    const persons = new Set<string>()
    const keys = new Set<string>()
    for (const { kid, statement, voucher } of approvals) {
      if (voucher !== undefined && (time >= voucher.exp * 1_000 || [...this.#persons.values()].some((one) => one.keys.includes(voucher.key)))) continue
      const person = voucher === undefined ? this.#persons.get(statement.person) : vouchedPerson(statement.person, voucher)
      if (person === undefined || !mayApprove(person, hold.demand.groups, { sub, owner }) || !keysOf(person, this.#crypto.sha256).some((key) => key.kid === kid)) continue
      persons.add(person.person)
      keys.add(kid) // one key is one person, whoever vouches for it
    }
    if (Math.min(persons.size, keys.size) < hold.demand.quorum) throw new Denied('quorum_not_met')
  }

  #fits(approvals: readonly KnownApproval[], bodies: readonly Body[] | undefined, at: { seq: number }): void {
    const action = bodies?.find(({ purpose }) => purpose === 'action')?.body
    const bounds = approvals.map((one) => one.bounds?.body)
    if (action === undefined || bounds.some((one) => one === undefined)) return this.#tally.notShown(`whether the arguments of the permit at index ${at.seq} are those of its grant: bodies are not in this bundle`)
    this.#tally.claim(FITS, () => {
      const parsed = parseAction(action)
      const digest = parsed.type === 'mcp.tool_call' ? parsed.tool_digest : undefined
      for (const [i, one] of bounds.entries()) {
        if (approvals[i]?.statement.grant?.tool_digest !== digest) throw new Denied('tool_changed')
        if (one === undefined || !fitsGrant(parseGrantArguments(one), parsed)) throw new Denied('action_mismatch', 'the grant does not cover them')
      }
    }, at)
  }

  /** @param isWhole whether every entry of the log was seen */
  end(isWhole: boolean): void {
    if (this.#rested > 0 && !isWhole) this.#tally.notShown('rejections, other uses of a grant, and changes of approvers that stand outside of this bundle')
  }
}

function placeText(par: Permit['par'], delegates: Permit['delegates']): string {
  return canonicalText({ ...(par === undefined ? {} : { par: { jti: par.jti, leaf_hash: par.leaf_hash } }), ...(delegates === undefined ? {} : { delegates: { ...delegates } }) })
}

/** The permit is for exactly what was signed, once, in time. */
function spend({ action_commit: commit, time }: Permit, approvals: readonly KnownApproval[]): void {
  const { hold } = approvals[0] as KnownApproval
  if (commit !== hold.commit) throw new Denied('action_mismatch', 'another action than was approved')
  if (hold.ended === 'used') throw new Denied('artifact_spent', 'the approvals were used before')
  if (time >= hold.demand.expires * 1_000) throw new Denied('approval_expired')
  hold.ended = 'used'
}

function use({ time }: Permit, approvals: readonly KnownApproval[]): void {
  for (const { statement, left, hold } of approvals) {
    if (statement.grant === undefined || left <= 0) throw new Denied('artifact_spent', 'no use of the grant is left')
    if (time >= statement.grant.until * 1_000) throw new Denied('approval_expired', 'the grant was over')
    if (hold.ended === undefined && time >= hold.demand.expires * 1_000) throw new Denied('approval_expired')
  }
  for (const one of approvals) one.left--
}
