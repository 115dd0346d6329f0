import { ASSURANCE_LEVELS, type AssuranceLevel, type JsonObject, type JsonValue, OUTCOMES, type Outcome, peekClaims } from '@sealwrit/protocol'
import { Count, type Measure, type Measured } from './measure.ts'

/** What a receipt says, as far as it is graded. Whether its gate signed it is verified beside this. */
export interface Claims {
  readonly session: string
  readonly sequence: number
  readonly outcome: Outcome
  readonly cause: string | undefined
  readonly finished: number
  readonly containment: readonly JsonValue[]
  readonly assurance: AssuranceLevel
}

/** The claims of a receipt; the least of everything where they are not of the form. */
export function claimsOf(token: string): Claims {
  const claims: JsonObject = peekClaims(token)
  const { session, sequence, outcome, cause, finished, containment, assurance } = claims as Record<string, JsonValue | undefined>
  return {
    session: typeof session === 'string' ? session : '',
    sequence: typeof sequence === 'number' ? sequence : -1,
    outcome: (OUTCOMES as readonly unknown[]).includes(outcome) ? (outcome as Outcome) : 'indeterminate',
    cause: typeof cause === 'string' ? cause : undefined,
    finished: typeof finished === 'number' ? finished : 0,
    containment: Array.isArray(containment) ? containment : [],
    assurance: (ASSURANCE_LEVELS as readonly unknown[]).includes(assurance) ? (assurance as AssuranceLevel) : 'A0',
  }
}

/** Sessions of gates that are remembered. */
const MAX_SESSIONS = 100_000

/** Numbers of receipts that are missing between those that are there. */
export class Numbers {
  readonly #sessions = new Map<string, { readonly seen: Set<number>; next: number }>()
  readonly #gaps = new Count()
  #isFull = false

  add(seq: number, { session, sequence }: Claims): void {
    const known = this.#sessions.get(session)
    if (known === undefined && this.#sessions.size >= MAX_SESSIONS) this.#isFull = true
    const { seen, next } = known ?? { seen: new Set<number>(), next: 0 }
    const at = { seen, next }
    seen.add(sequence)
    while (seen.delete(at.next)) at.next++
    this.#sessions.set(session, at)
    if (seen.size > 0 && sequence > at.next) this.#gaps.add(seq)
  }

  *measured(): Generator<readonly [Measure, Measured]> {
    if (this.#isFull) return
    let missing = 0
    for (const { seen, next } of this.#sessions.values()) if (seen.size > 0) missing += Math.max(...seen) - next - seen.size + 1
    yield ['receipt_gaps', { value: missing, proof: missing === 0 ? [] : this.#gaps.proof }]
  }
}
