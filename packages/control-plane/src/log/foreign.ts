import { type Digest, type Edits, type Entry, type ForeignEntry, type ForeignPermit, type ForeignRef, fromHex, MAX_SKEW_SECONDS, MAX_START_SECONDS, ownText, rootDigest, type TreeHead, type DenialCode } from '@sealwrit/protocol'

/** Spent permits of other planes that are remembered at once; beyond it further ones are `overloaded`. */
export const MAX_FOREIGN_SPENT = 1_000_000
/** They are remembered for at least as long as any clock that is accepted could still take them. The store's spent key stays for ever. */
const SPENT_LIFE_MS: number = (MAX_START_SECONDS + 2 * MAX_SKEW_SECONDS) * 1_000

/** The newest checkpoint of another plane's log that something was taken under. */
export interface KnownLog extends TreeHead {
  readonly digest: Digest
  /** Where that stands in this log, and when. */
  readonly seq: number
  readonly timeMs: number
}

/** What entries 0…n−1 say of the logs of other planes: how far they are known, and which of their permits are spent. */
export class ForeignLogs {
  /** By origin. */
  readonly newest: Map<string, KnownLog> = new Map()
  readonly #spent = new Map<string, { readonly seq: number; readonly timeMs: number }>()
  /** When this log was re-anchored last, milliseconds: what was spent before may stand in a history that was lost. */
  readonly #reAnchored = new Map<'at', number>()
  readonly #edits: Edits

  constructor(edits: Edits) {
    this.#edits = edits
  }

  apply(entry: Entry): void {
    if (entry.kind === 'permit' && entry.par?.foreign !== undefined) {
      this.#know(entry.par.foreign, entry.seq, entry.time)
      this.#spend(spentKey(entry.par.foreign.iss, entry.par.jti), entry.seq, entry.time)
    } else if (entry.kind === 'approval' && entry.voucher !== undefined) this.#know(entry.voucher.foreign, entry.seq, entry.time)
    else if (entry.kind === 'key' && entry.purpose === 'log' && entry.lost !== undefined) this.#edits.set(this.#reAnchored, 'at', entry.time)
  }

  #know({ iss, size, root }: ForeignRef, seq: number, timeMs: number): void {
    if (size < (this.newest.get(iss)?.size ?? 0)) return // never: it was looked at before it was logged
    this.#edits.set(this.newest, ownText(iss), { size, root: fromHex(root.slice('sha256:'.length)), digest: ownText(root), seq, timeMs })
  }

  #spend(key: string, seq: number, timeMs: number): void {
    for (const [old, at] of this.#spent) {
      if (timeMs - at.timeMs < SPENT_LIFE_MS) break // oldest first
      this.#edits.delete(this.#spent, old)
    }
    this.#edits.set(this.#spent, ownText(key), { seq, timeMs })
  }

  /** Why a permit of another plane, verified a moment ago, may not be the parent of the entry that gets its place now. */
  refusal(permit: ForeignPermit, timeMs: number): DenialCode | undefined {
    const { entry, plane } = permit
    if (this.#spent.has(spentKey(plane.key.name, entry.jti))) return 'artifact_spent'
    const reAnchored = this.#reAnchored.get('at')
    if (reAnchored !== undefined && (entry.iat - MAX_SKEW_SECONDS) * 1_000 <= reAnchored) return 'artifact_spent'
    if (this.#spent.size >= MAX_FOREIGN_SPENT) return 'overloaded'
    return this.stale(permit, timeMs)
  }

  /** Why something of another plane's log, verified a moment ago, does not hold at this place any more. */
  stale<T extends { readonly exp: number }>({ entry, plane, checkpoint, known, freshUntilSeconds }: ForeignEntry<T>, timeMs: number): DenialCode | undefined {
    const seconds = Math.floor(timeMs / 1_000)
    if (seconds >= entry.exp) return 'artifact_expired'
    if (seconds > freshUntilSeconds) return 'witness_quorum_not_met'
    const newest = this.newest.get(plane.key.name)
    const isAsVerified = newest?.size === known?.size && newest?.digest === (known === undefined ? undefined : rootDigest(known))
    const isSame = newest?.size === checkpoint.size && newest.digest === rootDigest(checkpoint)
    return isAsVerified || isSame ? undefined : 'state_diverged' // something newer was taken meanwhile: it is to be sealed anew
  }
}

/** The key that a permit of another plane is spent under, once for ever. */
export function spentKey(iss: string, jti: string): string {
  return `foreign ${iss} ${jti}`
}
