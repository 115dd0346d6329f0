import type { Permit } from '../artifact/artifact.ts'
import type { ObservedCode } from '../artifact/observed.ts'
import { ownText } from '../encoding.ts'
import type { LeaseEntry, PolicyEntry } from '../log/entries.ts'
import type { EntryHead } from '../log/entry.ts'
import type { Tally } from './tally.ts'

/** Executions that policy denied and that ran all the same: only while the log says that the plane observes, and never called governed. */
export class Observations {
  readonly #tally: Tally
  readonly #observed = new Set<string>()
  readonly #counts = new Map<ObservedCode, number>()
  #isOn = false

  constructor(tally: Tally) {
    this.#tally = tally
  }

  policy({ event }: PolicyEntry): void {
    if (event === 'observing') this.#isOn = true
    else if (event === 'enforcing') this.#isOn = false
  }

  /** @param isWhole every entry before this one was seen */
  permitted({ seq, jti, observed }: Permit, isWhole: boolean): void {
    if (observed === undefined) return
    this.#observed.add(ownText(jti))
    this.#counts.set(observed, (this.#counts.get(observed) ?? 0) + 1)
    this.#during('the permit is only observed, and the log says that the plane observes there', { seq, jti }, isWhole)
  }

  /** What was observed is not carried on once the plane enforces. */
  renewed({ seq, jtis }: LeaseEntry & EntryHead, isWhole: boolean): void {
    for (const jti of jtis) if (this.#observed.has(jti)) this.#during('an observed execution goes on only while the plane observes', { seq, jti }, isWhole)
  }

  #during(claim: string, at: { readonly seq: number; readonly jti: string }, isWhole: boolean): void {
    if (isWhole && this.#isOn) this.#tally.holds(claim)
    else this.#tally.found(isWhole ? 'contradicted' : 'not established', claim, at)
  }

  end(): void {
    for (const [code, count] of this.#counts) this.#tally.notShown(`${count} executions were observed, not governed: policy said ${code}, and they could run all the same`)
  }
}
