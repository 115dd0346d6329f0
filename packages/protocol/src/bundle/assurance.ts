import type { Permit } from '../artifact/artifact.ts'
import { assuranceOf, type Grounds, isBelow, isContained, shortfall, type ShownGrounds, shownGrounds, supported } from '../artifact/assurance.ts'
import { type DenialCode, Denied } from '../denial.ts'
import { ownText } from '../encoding.ts'
import type { Receipt } from '../receipt/receipt.ts'
import type { At, Tally } from './tally.ts'

/** What is remembered of the grounds of one execution. */
export interface KnownGrounds extends ShownGrounds {
  /** Whether the session of its environment is in the bundle. */
  readonly isSessionShown: boolean
}

const CLAIM = 'the receipt states the assurance that its permit, its session and its checks support, and no less than is demanded'

/** Whether a receipt states more than was reached, or an execution began below what its permit demands. @see spec/receipt.md#assurance */
export class Assurance {
  readonly #tally: Tally
  /** One object for each combination, not one a permit. */
  readonly #kinds = new Map<string, KnownGrounds>()
  readonly #replayed = new Set<string>()
  readonly #unseen = new Map<DenialCode, number>()
  #isWitnessed = false

  constructor(tally: Tally) {
    this.#tally = tally
  }

  /** The checkpoint of the bundle is cosigned by a quorum that the verifier asks for. */
  witnessed(): void {
    this.#isWitnessed = true
  }

  /** The verifier decided it again, and got the same. Only hardware makes that matter. */
  replayed(jti: string, { environment }: KnownGrounds): void {
    if (environment === 'hardware') this.#replayed.add(ownText(jti))
  }

  permitted(permit: Permit, isSessionShown: boolean): KnownGrounds {
    const shown = shownGrounds(permit)
    const kind = ownText(`${shown.initiator} ${shown.environment} ${shown.demanded} ${String(shown.isObserved)} ${String(isSessionShown)} ${shown.obligations.join('\n')}`)
    const known = this.#kinds.get(kind) ?? { ...shown, isSessionShown }
    this.#kinds.set(kind, known)
    return known
  }

  received(receipt: Receipt, known: KnownGrounds, at: At): void {
    const { checks, containment, assurance, started } = receipt
    const { initiator, environment, obligations, demanded, isObserved, isSessionShown } = known
    const isSound = this.#tally.claim(CLAIM, () => {
      const most = supported(receipt, known)
      if (isBelow(most, assurance)) throw new Denied('artifact_malformed', `it states ${assurance}, and they support no more than ${most}`)
      if (started !== undefined && isBelow(assurance, demanded)) throw new Denied('obligation_unknown', `it began at ${assurance}, and its permit demands ${demanded}`)
    }, at)
    if (isSound === undefined) return
    // What this verifier sees of it by itself; the rest is the word of gate and plane. Software is their word always, and is called so elsewhere.
    const seen: Grounds = { initiator, environment: isSessionShown || environment === 'none' ? environment : 'software', isContained: isContained(obligations, containment), isWitnessed: this.#isWitnessed, isReplayed: this.#replayed.has(at.jti ?? ''), isObserved: isObserved && started !== undefined }
    if (!isBelow(assuranceOf(checks, seen), assurance)) return
    const code = shortfall(assurance, seen)
    if (code !== undefined) this.#unseen.set(code, (this.#unseen.get(code) ?? 0) + 1)
  }

  end(): void {
    for (const [code, count] of this.#unseen) this.#tally.found('not established', `the assurance that ${count} receipts state: ${UNSEEN[code] ?? 'what it rests on is not in this bundle'}`)
  }
}

const UNSEEN: Partial<Record<DenialCode, string>> = {
  environment_unattested: 'the sessions that have this evidence are not in this bundle',
  witness_quorum_not_met: 'that their seals were witnessed shows only under a witness policy; give it with --witness-policy',
  evidence_unavailable: 'that their decisions were replayed shows only where they are; use --replay',
}
