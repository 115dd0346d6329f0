import { MAX_SKEW_SECONDS, type Permit } from '../artifact/artifact.ts'
import { Denied } from '../denial.ts'
import { ownText } from '../encoding.ts'
import type { DenyEntry, ExpiryEntry, ReceiptEntry, RedemptionEntry } from '../log/entries.ts'
import type { EntryHead } from '../log/entry.ts'
import { unadmitted } from '../lifecycle/lifecycle.ts'
import { isEnding, isLegal, type Standing } from '../lifecycle/table.ts'
import type { Receipt } from '../receipt/receipt.ts'
import type { KnownGrounds } from './assurance.ts'
import type { Tally } from './tally.ts'

/** What is remembered of a permit until the bundle ends. */
export interface KnownPermit {
  readonly seq: number
  readonly leaf: string
  readonly aud: string
  readonly tenant: string
  readonly use: Permit['use']
  readonly nbf: number
  readonly exp: number
  readonly grounds: KnownGrounds
  /** Leaf index of what spent it. */
  redemption: number | undefined
  standing: Standing
  /** Leaf index of its ending. */
  ending: number | undefined
  /** A step of it was not as the life cycle is, or is not in the bundle. */
  isBroken: boolean
}

/** Open permits that are named one by one. */
const MAX_NAMED = 100
const IN_ORDER = 'the life cycle of the execution is complete and in order'

/**
 * The life of every permit: spent at most once, by the gate that it names and in its time, and exactly one effective ending: its
 * receipt or the plane's own, less an `indeterminate` that a late receipt resolves.
 */
export class Endings {
  readonly #permits = new Map<string, KnownPermit>()
  readonly #denied = new Set<string>()
  readonly #names = new Map<string, string>()
  readonly #tally: Tally
  #effective = 0

  constructor(tally: Tally) {
    this.#tally = tally
  }

  permitted(permit: Permit, leaf: string, grounds: KnownGrounds): void {
    const { jti, seq, aud, tenant, use, nbf, exp } = permit
    if (this.#permits.has(jti)) this.#tally.found('contradicted', 'two permits have one id', { seq, jti })
    else if (this.#denied.has(jti)) this.#tally.found('contradicted', 'the permit has the id of what was denied', { seq, jti })
    else this.#permits.set(ownText(jti), { seq, leaf: ownText(leaf), aud: this.#name(aud), tenant: this.#name(tenant), use, nbf, exp, grounds, redemption: undefined, standing: use === 'redeem' ? 'carried' : 'issued', ending: undefined, isBroken: false })
  }

  /** What was denied is over: no permit and no second denial has its id. */
  denied({ jti, seq }: DenyEntry & EntryHead): void {
    if (jti === undefined) return
    if (this.#permits.has(jti) || this.#denied.has(jti)) this.#tally.found('contradicted', 'a denial has the id of another decision', { seq, jti })
    this.#denied.add(ownText(jti))
  }

  isDenied(jti: string): boolean {
    return this.#denied.has(jti)
  }

  /** One string for each gate and tenant, not one a permit. */
  #name(text: string): string {
    const known = this.#names.get(text)
    if (known !== undefined) return known
    const own = ownText(text)
    this.#names.set(own, own)
    return own
  }

  permit(jti: string): KnownPermit | undefined {
    return this.#permits.get(jti)
  }

  redeemed(entry: RedemptionEntry & EntryHead): void {
    const { jti, seq } = entry
    const permit = this.#permits.get(jti)
    if (permit === undefined) return this.#tally.found('not established', 'the redemption belongs to a permit that is not in this bundle', { seq, jti })
    const isSpent = this.#tally.prove('the redemption spends its permit, once and in its time', () => verifyRedemption(entry, permit), { seq, jti })
    if (isSpent) this.#tally.holds('the redemption spends its permit, once and in its time')
    else permit.isBroken = true
    permit.redemption ??= seq
    if (isLegal(permit.standing, 'admitted')) permit.standing = 'admitted'
  }

  /**
   * A receipt that its gate signed for the permit. `resolves`: leaf index of the `indeterminate` that it says it replaces.
   * @param known all entries below this index were seen
   */
  received({ jti, seq, resolves }: ReceiptEntry & EntryHead, receipt: Receipt, known: number): void {
    const permit = this.#permits.get(jti)
    if (permit === undefined) return
    const found = (verdict: 'contradicted' | 'not established', claim: string): void => {
      permit.isBroken = true
      this.#tally.found(verdict, claim, { seq, jti })
    }
    this.#admitted(jti, permit, seq, known)
    if (resolves !== undefined && permit.ending === undefined) found(resolves < known ? 'contradicted' : 'not established', 'the receipt resolves an ending that is not there')
    const refused = unadmitted(receipt)
    if (refused !== undefined) found('contradicted', refused)
    // What says that it replaces nothing cannot follow an ending, also not one that could be replaced.
    const isLegalHere = isLegal(permit.standing, receipt.outcome) && (permit.standing !== 'lost' || permit.ending === resolves)
    this.#end(jti, permit, receipt.outcome, seq, isLegalHere)
  }

  /** @param known as for {@link Endings.received} */
  expired({ jti, outcome, seq, leaf_hash: leaf }: ExpiryEntry & EntryHead, known: number): void {
    const permit = this.#permits.get(jti)
    if (permit === undefined) return
    const found = (claim: string): void => {
      permit.isBroken = true
      this.#tally.found('contradicted', claim, { seq, jti })
    }
    const to = outcome === 'indeterminate' ? 'lost' : 'expired'
    if (leaf !== permit.leaf) found('the ending is of another permit')
    if (to === 'expired' && permit.ending === undefined && !isLegal(permit.standing, to)) found('a permit is called expired that was spent, or that nobody could carry')
    if (to === 'lost') this.#admitted(jti, permit, seq, known)
    this.#end(jti, permit, to, seq, permit.ending === undefined)
  }

  /** What may have run of a carried permit follows its redemption. Where the bundle does not hold every entry before, that may stand outside. */
  #admitted(jti: string, permit: KnownPermit, seq: number, known: number): void {
    if (permit.standing !== 'carried') return
    permit.isBroken = true
    permit.standing = 'admitted'
    if (seq < known) this.#tally.found('contradicted', 'the ending is of a carried permit that nobody redeemed', { seq, jti })
    else this.#tally.found('not established', 'the ending is of a carried permit whose redemption is not in this bundle', { seq, jti })
  }

  #end(jti: string, permit: KnownPermit, to: Standing, seq: number, isLegalHere: boolean): void {
    if (permit.ending === undefined) this.#effective++
    else if (!isLegalHere) {
      permit.isBroken = true
      return this.#tally.found('contradicted', 'the permit has more than one effective ending', { seq, jti })
    }
    permit.standing = to
    permit.ending = seq
  }

  end(): void {
    this.#tally.holds('the permit has exactly one effective ending', this.#effective)
    let [open, inOrder] = [0, 0]
    for (const [jti, { seq, standing, isBroken }] of this.#permits) {
      if (isEnding(standing)) {
        if (!isBroken) inOrder++
        continue
      }
      if (open++ < MAX_NAMED) this.#tally.notShown(`permit ${jti} at index ${seq} is open: the bundle holds no receipt and no ending for it`)
    }
    if (open > MAX_NAMED) this.#tally.notShown(`${open - MAX_NAMED} further permits are open`)
    this.#tally.holds(IN_ORDER, inOrder)
  }
}

/** @throws {Denied} */
function verifyRedemption({ leaf_hash: leaf, aud, exp, tenant, seq, time }: RedemptionEntry & EntryHead, permit: KnownPermit): void {
  if (permit.use !== 'redeem') throw new Denied('type_mismatch', 'the permit answers a challenge of its own')
  if (permit.redemption !== undefined) throw new Denied('artifact_spent', `it was spent at index ${permit.redemption}`)
  if (permit.ending !== undefined) throw new Denied('artifact_spent', 'the permit has its ending')
  if (leaf !== permit.leaf || exp !== permit.exp || seq <= permit.seq) throw new Denied('seal_invalid', 'it is about another permit')
  if (aud !== permit.aud) throw new Denied('audience_mismatch')
  if (tenant !== permit.tenant) throw new Denied('tenant_mismatch')
  const seconds = Math.floor(time / 1_000)
  if (seconds >= permit.exp) throw new Denied('artifact_expired')
  if (seconds < permit.nbf - MAX_SKEW_SECONDS) throw new Denied('artifact_not_yet_valid')
}
