import type { Permit } from '../artifact/artifact.ts'
import { prohibition, type Selectable, selectableOf } from '../govern/selector.ts'
import type { KillEntry, LeaseEntry, RevocationEntry } from '../log/entries.ts'
import type { EntryHead } from '../log/entry.ts'
import type { Tally } from './tally.ts'

/** What was revoked and killed: no permit may follow what forbids it, and nothing that it stops may be renewed. */
export class Prohibitions {
  readonly #revoked = new Map<string, number>()
  readonly #killed = new Map<string, number>()
  readonly #permits = new Map<string, Selectable>()
  readonly #tally: Tally
  #permitted = 0
  #isAny = false

  constructor(tally: Tally) {
    this.#tally = tally
  }

  apply(entry: (RevocationEntry | KillEntry) & EntryHead): void {
    this.#isAny = true
    if (entry.kind === 'revocation') this.#revoked.set(entry.selector, entry.seq)
    else if (entry.event === 'killed') this.#killed.set(entry.selector, entry.seq)
    else if (entry.event === 'lifted') this.#killed.delete(entry.selector)
  }

  permitted(permit: Permit): void {
    const { seq, jti } = permit
    const code = this.#prohibits(permit)
    if (code === undefined) this.#permitted++
    else this.#tally.found('contradicted', `the permit follows what forbids it (${code})`, { seq, jti })
    const selectable = selectableOf(permit)
    this.#permits.set(selectable.jti, selectable)
  }

  /** What has its ending is not renewed any more, and need not be remembered. */
  ended(jti: string): void {
    this.#permits.delete(jti)
  }

  renewed({ jtis, seq, gate }: LeaseEntry & EntryHead): void {
    for (const jti of jtis) {
      const permit = this.#permits.get(jti)
      if (permit === undefined) continue
      const code = this.#prohibits(permit)
      if (code !== undefined) this.#tally.found('contradicted', `an execution was renewed after what forbids it (${code})`, { seq, jti })
      if (permit.aud !== gate) this.#tally.found('contradicted', 'an execution was renewed for another gate', { seq, jti })
    }
  }

  #prohibits(permit: Selectable): string | undefined {
    return prohibition(permit, { revoked: this.#revoked, killed: this.#killed })
  }

  end(): void {
    if (this.#isAny) this.#tally.holds('the permit does not follow a revocation or kill that is in the bundle', this.#permitted)
  }
}
