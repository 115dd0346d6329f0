import { type DenialCode, type Edits, ownText } from '@sealwrit/protocol'

/** Numbers that may be missing below the highest one of a session. */
export const MAX_MISSING_NUMBERS = 10_000

interface Used {
  /** The first number that nothing is known of. */
  readonly next: number
  /** Those below it that were not used. */
  readonly missing: ReadonlySet<number>
}
const NOTHING: Used = { next: 0, missing: new Set() }

/** Which numbers of receipts the open sessions of gates have used: a verifier believes no number twice, so none is taken twice. */
export class ReceiptNumbers {
  readonly #used = new Map<string, Used>()
  readonly #edits: Edits

  constructor(edits: Edits) {
    this.#edits = edits
  }

  /** Why a receipt of this number cannot be the next one of its session; undefined where it can. */
  refusal(session: string, number: number): DenialCode | undefined {
    const { next, missing } = this.#used.get(session) ?? NOTHING
    if (number < next) return missing.has(number) ? undefined : 'artifact_malformed'
    return missing.size + number - next > MAX_MISSING_NUMBERS ? 'limit_exceeded' : undefined
  }

  /** A receipt was logged. Numbers of a session that is not open are of no use any more. */
  take(receipt: string, isOpen: (session: string) => boolean): void {
    const { session, number } = numberIn(receipt)
    if (session === undefined || number === undefined || !isOpen(session)) return
    const { next, missing } = this.#used.get(session) ?? NOTHING
    if (number === next) this.#edits.set(this.#used, ownText(session), { next: next + 1, missing })
    else if (number < next) this.#edits.set(this.#used, ownText(session), { next, missing: new Set([...missing].filter((one) => one !== number)) })
    else if (this.refusal(session, number) === undefined) this.#edits.set(this.#used, ownText(session), { next: number + 1, missing: new Set([...missing, ...Array.from({ length: number - next }, (_, i) => next + i)]) })
  }

  forget(session: string): void {
    this.#edits.delete(this.#used, session)
  }
}

/** The claims of a receipt in the log, as their text: it was verified, canonical and closed when it was logged. */
export function loggedClaims(receipt: string): string {
  return Buffer.from(receipt.split('.', 2)[1] ?? '', 'base64url').toString('utf8')
}

/** What a receipt says of its number, which was verified when it was logged. */
function numberIn(receipt: string): { readonly session: string | undefined; readonly number: number | undefined } {
  const claims = loggedClaims(receipt)
  const number = /"sequence":(\d{1,16})[,}]/.exec(claims)?.[1]
  return { session: /"session":"([\w-]+)"/.exec(claims)?.[1], number: number === undefined ? undefined : Number(number) }
}
