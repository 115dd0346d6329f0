import type { RequestId } from '../messages.ts'

/** Gaps and strings remembered; a client that leaves more must reconnect. */
export const MAX_REMEMBERED = 16_384

/** The request ids that a client has used: none may be used twice in a session. Counting clients cost one number. */
export class UsedIds {
  /** Every integer from `#from` to below `#next` was used. */
  #from = 0
  #next = 0
  #started = false
  readonly #others = new Set<RequestId>()

  /** `used` when `id` was there before, `full` when it cannot be remembered; else it is remembered. */
  take(id: RequestId): 'new' | 'used' | 'full' {
    if (this.#isUsed(id)) return 'used'
    if (typeof id === 'number' && !this.#started) {
      this.#started = true
      this.#from = id
      this.#next = id
    }
    if (id === this.#next && typeof id === 'number' && this.#started) {
      this.#next++
      while (this.#others.delete(this.#next)) this.#next++
      return 'new'
    }
    if (this.#others.size >= MAX_REMEMBERED) return 'full'
    this.#others.add(id)
    return 'new'
  }

  #isUsed(id: RequestId): boolean {
    if (this.#others.has(id)) return true
    return typeof id === 'number' && this.#started && id >= this.#from && id < this.#next
  }
}
