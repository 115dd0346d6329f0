import { type Entry, ownText } from '@sealwrit/protocol'

/** Openings that are remembered; of more the oldest are forgotten, and evidence goes without them. */
export const MAX_OPENINGS = 100_000

/** Where gates opened their sessions, by the environment that they showed: what a permit says of its environment rests on such an entry. */
export class SessionIndex {
  readonly #openings = new Map<string, number[]>()
  #count = 0

  take(entry: Entry): void {
    if (entry.kind !== 'gate' || entry.env === undefined) return
    const key = ownText(`${entry.gate} ${entry.env.commit}`)
    const known = this.#openings.get(key) ?? []
    this.#openings.delete(key)
    this.#openings.set(key, known) // the one that was opened last is forgotten last
    known.push(entry.seq)
    if (++this.#count <= MAX_OPENINGS) return
    const [oldest, seqs] = this.#openings.entries().next().value as [string, number[]]
    this.#openings.delete(oldest)
    this.#count -= seqs.length
  }

  /** The newest opening of `gate` in this environment before leaf index `seq`. */
  before(seq: number, gate: string, commit: string): number | undefined {
    return this.#openings.get(`${gate} ${commit}`)?.findLast((one) => one < seq)
  }
}
