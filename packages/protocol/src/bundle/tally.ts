import { Denied } from '../denial.ts'
import { type Finding, MAX_FINDINGS, type Report, type ToldTime, type Verdict } from './report.ts'

/** Where a claim belongs. */
export interface At {
  readonly seq?: number
  readonly jti?: string
}

/** Counts claims as they are settled, in memory that does not grow with the bundle. */
export class Tally {
  readonly #established = new Map<string, number>()
  readonly #findings: Finding[] = []
  readonly #notShown: string[] = []
  readonly #times: ToldTime[] = []
  #omitted = 0
  #contradicted = 0

  holds(claim: string, count = 1): void {
    if (count > 0) this.#established.set(claim, (this.#established.get(claim) ?? 0) + count)
  }

  found(verdict: Finding['verdict'], claim: string, at: At = {}): void {
    if (verdict === 'contradicted') this.#contradicted++
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push({ verdict, claim, ...at })
    else this.#omitted++
  }

  time(told: ToldTime): void {
    if (this.#times.length < MAX_FINDINGS) this.#times.push(told)
    else this.#omitted++
  }

  notShown(sentence: string): void {
    if (this.#notShown.length < MAX_FINDINGS) this.#notShown.push(sentence)
    else this.#omitted++
  }

  /** Runs one proof: the claim holds, or is contradicted with the reason. @returns what `prove` gave; undefined when it is contradicted */
  claim<T>(claim: string, prove: () => T, at: At = {}): { readonly value: T } | undefined {
    let value: { readonly value: T } | undefined
    if (this.prove(claim, () => (value = { value: prove() }), at)) this.holds(claim)
    return value
  }

  /** As {@link Tally.claim}, for a proof that may end without saying that the claim holds. @returns whether nothing contradicts it */
  prove(claim: string, prove: () => unknown, at: At = {}): boolean {
    try {
      prove()
      return true
    } catch (error) {
      const reason = error instanceof Denied ? `${error.code}: ${error.message}` : 'the check itself failed'
      this.found('contradicted', `${claim} (${reason})`, at)
      return false
    }
  }

  get verdict(): Verdict {
    if (this.#contradicted > 0) return 'contradicted'
    return this.#established.size === 0 ? 'not established' : 'established'
  }

  report(counts: Omit<Report, 'verdict' | 'established' | 'findings' | 'omitted' | 'times' | 'notShown'>): Report {
    const established = [...this.#established].map(([claim, count]) => ({ claim, count }))
    return { verdict: this.verdict, ...counts, established, findings: this.#findings, omitted: this.#omitted, times: this.#times, notShown: this.#notShown }
  }
}
