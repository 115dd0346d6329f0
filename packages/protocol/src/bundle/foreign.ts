import { type Action, parseAction } from '../action.ts'
import type { ApprovalEntry } from '../approval/approval.ts'
import type { Permit } from '../artifact/artifact.ts'
import type { Crypto } from '../crypto.ts'
import { Denied, quoted } from '../denial.ts'
import { type HeldForeignKey, type TakenFrom, verifyForeignParent, verifyForeignVouching } from '../federation/agree.ts'
import type { ForeignRef } from '../federation/reference.ts'
import type { EntryHead } from '../log/entry.ts'
import type { Body } from './bundle.ts'
import type { Tally } from './tally.ts'

const ONCE = 'a permit of another plane is spent once'
const GROWS = 'what is known of the log of another plane never goes back'
const PERMITTED = 'the other plane permitted what this permit descends from, and no less'
const VOUCHED = 'the other plane vouched for the approver'

/** What was taken from other planes: spent once, under histories that only grow, and theirs where the verifier holds their keys. */
export class Foreign {
  readonly #held: ReadonlyMap<string, HeldForeignKey>
  readonly #crypto: Crypto
  readonly #tally: Tally
  readonly #origin: () => string
  readonly #spent = new Map<string, number>()
  readonly #newest = new Map<string, ForeignRef>()
  readonly #unknown = new Map<string, number>()
  #unmapped = 0

  constructor(held: readonly HeldForeignKey[], crypto: Crypto, tally: Tally, origin: () => string) {
    this.#held = new Map(held.map((one) => [one.key.name, one]))
    this.#crypto = crypto
    this.#tally = tally
    this.#origin = origin
  }

  permitted(permit: Permit, bodies: readonly Body[] | undefined): void {
    const { par, seq, jti, time } = permit
    if (par?.foreign === undefined) return
    const ref = par.foreign
    const key = `${ref.iss} ${par.jti}`
    this.#tally.claim(ONCE, () => {
      const before = this.#spent.get(key)
      if (before !== undefined) throw new Denied('artifact_spent', `it was spent at index ${before}`)
    }, { seq, jti })
    this.#spent.set(key, seq)
    this.#grown(ref, seq)
    this.#compare(PERMITTED, { ref, leafHash: par.leaf_hash, timeMs: time }, seq, bodies, (taken, held) => verifyForeignParent(permit, taken, actionOf(bodies), held, this.#crypto))
  }

  approved(entry: ApprovalEntry & EntryHead, bodies: readonly Body[] | undefined): void {
    const { voucher, seq, time } = entry
    if (voucher === undefined) return
    this.#grown(voucher.foreign, seq)
    this.#unmapped++
    this.#compare(VOUCHED, { ref: voucher.foreign, leafHash: voucher.leaf_hash, timeMs: time }, seq, bodies, (taken, held) => verifyForeignVouching(entry, taken, held, this.#crypto))
  }

  #grown(ref: ForeignRef, seq: number): void {
    const newest = this.#newest.get(ref.iss)
    this.#tally.claim(GROWS, () => {
      if (newest !== undefined && (ref.size < newest.size || (ref.size === newest.size && ref.root !== newest.root))) throw new Denied('state_diverged')
    }, { seq })
    if (newest === undefined || ref.size > newest.size) this.#newest.set(ref.iss, ref)
  }

  #compare(claim: string, about: Omit<TakenFrom, 'sealed' | 'origin'>, seq: number, bodies: readonly Body[] | undefined, verify: (taken: TakenFrom, held: HeldForeignKey) => void): void {
    const held = this.#held.get(about.ref.iss)
    const sealed = bodies?.find(({ purpose, commit }) => purpose === 'foreign' && commit === about.ref.commit)?.body
    if (held === undefined) this.#unknown.set(about.ref.iss, (this.#unknown.get(about.ref.iss) ?? 0) + 1)
    else if (sealed === undefined) this.#tally.notShown(`what entry ${seq} was taken from at ${quoted(about.ref.iss)}: it is not in this bundle`)
    else this.#tally.claim(claim, () => verify({ ...about, sealed, origin: this.#origin() }, held), { seq })
  }

  end(): void {
    for (const [iss, count] of this.#unknown) this.#tally.found('not established', `whether ${quoted(iss)} said what ${count} entries were taken from: give its key with --foreign-key`)
    if (this.#unmapped > 0) this.#tally.notShown('which groups of another plane count as which of this one, and which planes it trusted when: that is its configuration')
  }
}

function actionOf(bodies: readonly Body[] | undefined): Action | undefined {
  const body = bodies?.find(({ purpose }) => purpose === 'action')?.body
  return body === undefined ? undefined : parseAction(body)
}
