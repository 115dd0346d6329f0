import type { Permit } from '../artifact/artifact.ts'
import type { ExpiryEntry } from '../log/entries.ts'
import type { Tally } from './tally.ts'

/** What is remembered of a permit until the bundle ends. */
export interface KnownPermit {
  readonly seq: number
  readonly leaf: string
  readonly aud: string
  readonly tenant: string
  ending: { readonly seq: number; readonly isResolvable: boolean } | undefined
}

/** Open permits that are named one by one. */
const MAX_NAMED = 100

/** Every permit has exactly one effective ending: its receipt or the plane's own, less an `indeterminate` that a late receipt resolves. */
export class Endings {
  readonly #permits = new Map<string, KnownPermit>()
  readonly #tally: Tally
  #effective = 0

  constructor(tally: Tally) {
    this.#tally = tally
  }

  permitted(permit: Permit, leaf: string): void {
    const { jti, seq, aud, tenant } = permit
    if (this.#permits.has(jti)) this.#tally.found('contradicted', 'two permits have one id', { seq, jti })
    else this.#permits.set(jti, { seq, leaf, aud, tenant, ending: undefined })
  }

  permit(jti: string): KnownPermit | undefined {
    return this.#permits.get(jti)
  }

  /** @param resolves leaf index of the `indeterminate` that the receipt says it replaces */
  received(jti: string, seq: number, resolves: number | undefined): void {
    const permit = this.#permits.get(jti)
    if (permit === undefined) return
    const replaces = permit.ending?.isResolvable === true && permit.ending.seq === resolves
    this.#end(jti, permit, { seq, isResolvable: false }, replaces)
  }

  expired({ jti, outcome }: ExpiryEntry, seq: number): void {
    const permit = this.#permits.get(jti)
    if (permit !== undefined) this.#end(jti, permit, { seq, isResolvable: outcome === 'indeterminate' }, false)
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
