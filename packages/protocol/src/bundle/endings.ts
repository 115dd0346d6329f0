import { MAX_SKEW_SECONDS, type Permit } from '../artifact/artifact.ts'
import { Denied } from '../denial.ts'
import { ownText } from '../encoding.ts'
import type { ExpiryEntry, ReceiptEntry, RedemptionEntry } from '../log/entries.ts'
import type { EntryHead } from '../log/entry.ts'
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
  /** Leaf index of what spent it. */
  redemption: number | undefined
  ending: { readonly seq: number; readonly isResolvable: boolean } | undefined
}

/** Open permits that are named one by one. */
const MAX_NAMED = 100

/**
 * The life of every permit: spent at most once, by the gate that it names and in its time, and exactly one effective ending: its
 * receipt or the plane's own, less an `indeterminate` that a late receipt resolves.
 */
export class Endings {
  readonly #permits = new Map<string, KnownPermit>()
  readonly #names = new Map<string, string>()
  readonly #tally: Tally
  #effective = 0

  constructor(tally: Tally) {
    this.#tally = tally
  }

  permitted(permit: Permit, leaf: string): void {
    const { jti, seq, aud, tenant, use, nbf, exp } = permit
    if (this.#permits.has(jti)) this.#tally.found('contradicted', 'two permits have one id', { seq, jti })
    else this.#permits.set(ownText(jti), { seq, leaf: ownText(leaf), aud: this.#name(aud), tenant: this.#name(tenant), use, nbf, exp, redemption: undefined, ending: undefined })
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
    permit.redemption ??= seq
  }

  /**
   * A receipt that its gate signed for the permit. `resolves`: leaf index of the `indeterminate` that it says it replaces.
   * @param known all entries below this index were seen
   */
  received({ jti, seq, resolves }: ReceiptEntry & EntryHead, known: number): void {
    const permit = this.#permits.get(jti)
    if (permit === undefined) return
    if (permit.use === 'redeem' && permit.redemption === undefined) this.#tally.found('not established', 'the receipt is of a carried permit whose redemption is not in this bundle', { seq, jti })
    if (resolves !== undefined && permit.ending === undefined) this.#tally.found(resolves < known ? 'contradicted' : 'not established', 'the receipt resolves an ending that is not there', { seq, jti })
    const replaces = permit.ending?.isResolvable === true && permit.ending.seq === resolves
    this.#end(jti, permit, { seq, isResolvable: false }, replaces)
  }

  expired({ jti, outcome, seq, leaf_hash: leaf }: ExpiryEntry & EntryHead): void {
    const permit = this.#permits.get(jti)
    if (permit === undefined) return
    if (leaf !== permit.leaf) this.#tally.found('contradicted', 'the ending is of another permit', { seq, jti })
    if (outcome === 'expired' && (permit.use !== 'redeem' || permit.redemption !== undefined)) this.#tally.found('contradicted', 'a permit is called expired that was spent, or that nobody could carry', { seq, jti })
    this.#end(jti, permit, { seq, isResolvable: outcome === 'indeterminate' }, false)
  }

  #end(jti: string, permit: KnownPermit, ending: NonNullable<KnownPermit['ending']>, replaces: boolean): void {
    if (permit.ending === undefined) this.#effective++
    else if (!replaces) return this.#tally.found('contradicted', 'the permit has more than one effective ending', { seq: ending.seq, jti })
    permit.ending = ending
  }

  end(): void {
    this.#tally.holds('the permit has exactly one effective ending', this.#effective)
    let open = 0
    for (const [jti, { seq, ending }] of this.#permits) {
      if (ending !== undefined) continue
      if (open++ < MAX_NAMED) this.#tally.notShown(`permit ${jti} at index ${seq} is open: the bundle holds no receipt and no ending for it`)
    }
    if (open > MAX_NAMED) this.#tally.notShown(`${open - MAX_NAMED} further permits are open`)
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
