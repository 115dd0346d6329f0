import { ownText } from '../encoding.ts'

/** Missing numbers that are remembered over all sessions; beyond it they are only counted. */
export const MAX_MISSING = 100_000

interface Session {
  next: number
  readonly missing: Set<number>
}

/** The numbering of receipts in gate sessions: a gap shows one that was lost, a number twice one that was forged. */
export class Numbering {
  readonly #sessions = new Map<string, Session>()
  #remembered = 0
  /** Numbers that were too many to remember, by session. */
  readonly #uncounted = new Map<string, number>()

  /** @returns false when the session used this number before */
  use(session: string, number: number): boolean {
    const known = this.#sessions.get(session) ?? { next: 0, missing: new Set<number>() }
    if (!this.#sessions.has(session)) this.#sessions.set(ownText(session), known)
    if (number < known.next) {
      if (!known.missing.delete(number)) return this.#uncounted.has(session)
      this.#remembered--
      return true
    }
    for (let gap = known.next; gap < number; gap++) {
      if (this.#remembered >= MAX_MISSING) {
        this.#uncounted.set(session, (this.#uncounted.get(session) ?? 0) + number - gap)
        break
      }
      known.missing.add(gap)
      this.#remembered++
    }
    known.next = number + 1
    return true
  }

  /** Sessions with numbers that are missing below the highest one seen. */
  *gaps(): Generator<{ readonly session: string; readonly missing: number; readonly first: number | undefined }> {
    for (const [session, { missing }] of this.#sessions) {
      const count = missing.size + (this.#uncounted.get(session) ?? 0)
      if (count > 0) yield { session, missing: count, first: missing.values().next().value }
    }
  }
}
