import type { Sha256 } from '../crypto.ts'
import { emptyRoot, nodeHash } from './merkle.ts'

/** A tree that is only appended to: the hashes of its full subtrees, largest first; enough for its root. @see RFC 6962 section 2.1 */
export class Frontier {
  readonly #sha256: Sha256
  readonly #subtrees: { readonly leaves: number; readonly hash: Uint8Array }[] = []
  #size = 0

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  get size(): number {
    return this.#size
  }

  /**
   * Appends one leaf, or a full subtree where the tree has a multiple of its leaves.
   * @param given hash of the leaf, or of the subtree
   * @param count leaves in it, a power of two
   */
  append(given: Uint8Array, count = 1): void {
    if (this.#size % count !== 0) throw new RangeError('a subtree begins at a multiple of its size')
    let [leaves, hash] = [count, given]
    for (let last = this.#subtrees.at(-1); last?.leaves === leaves; last = this.#subtrees.at(-1)) {
      this.#subtrees.pop()
      hash = nodeHash(last.hash, hash, this.#sha256)
      leaves *= 2
    }
    this.#subtrees.push({ leaves, hash })
    this.#size += count
  }

  root(): Uint8Array {
    let hash: Uint8Array | undefined
    for (let i = this.#subtrees.length - 1; i >= 0; i--) {
      const { hash: left } = this.#subtrees[i] as { hash: Uint8Array }
      hash = hash === undefined ? left : nodeHash(left, hash, this.#sha256)
    }
    return hash ?? emptyRoot(this.#sha256)
  }
}
