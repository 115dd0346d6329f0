import type { Sha256 } from '../crypto.ts'
import { emptyRoot, nodeHash } from './merkle.ts'

/**
 * Gives the hash of the whole subtree of 2^`level` leaves that begins at leaf `index` × 2^`level`.
 * Only subtrees that are full in the tree at hand are asked for.
 */
export type SubtreeHash = (level: number, index: number) => Uint8Array

/** The root of the first `size` leaves. @see RFC 6962 section 2.1 */
export function treeRoot(size: number, subtree: SubtreeHash, sha256: Sha256): Uint8Array {
  return size === 0 ? emptyRoot(sha256) : rangeHash(0, size, subtree, sha256)
}

/** The inclusion proof of leaf `index` in the first `size` leaves, from the leaf's sibling up. @see RFC 6962 section 2.1.1 */
export function inclusionProof(index: number, size: number, subtree: SubtreeHash, sha256: Sha256): Uint8Array[] {
  if (!(index >= 0 && index < size)) throw new RangeError('index outside the tree')
  const proof: Uint8Array[] = []
  let start = 0
  let end = size
  while (end - start > 1) {
    const middle = start + largestPowerBelow(end - start)
    if (index < middle) {
      proof.push(rangeHash(middle, end, subtree, sha256))
      end = middle
    } else {
      proof.push(rangeHash(start, middle, subtree, sha256))
      start = middle
    }
  }
  return proof.reverse()
}

/** The consistency proof between the first `older` and the first `newer` leaves. @see RFC 6962 section 2.1.2 */
export function consistencyProof(older: number, newer: number, subtree: SubtreeHash, sha256: Sha256): Uint8Array[] {
  if (!(older > 0 && older <= newer)) throw new RangeError('tree sizes')
  const proof: Uint8Array[] = []
  let start = 0
  let end = newer
  let whole = true
  while (older < end) {
    const middle = start + largestPowerBelow(end - start)
    if (older <= middle) {
      proof.push(rangeHash(middle, end, subtree, sha256))
      end = middle
    } else {
      proof.push(rangeHash(start, middle, subtree, sha256))
      start = middle
      whole = false
    }
  }
  if (!whole) proof.push(rangeHash(start, end, subtree, sha256))
  return proof.reverse()
}

/** Hash of leaves `start`…`end`−1, where `start` is a multiple of the largest power of two in the range. */
function rangeHash(start: number, end: number, subtree: SubtreeHash, sha256: Sha256): Uint8Array {
  const count = end - start
  const level = Math.floor(Math.log2(count))
  const power = 2 ** level
  if (power === count) return subtree(level, start / power)
  return nodeHash(subtree(level, start / power), rangeHash(start + power, end, subtree, sha256), sha256)
}

/** The largest power of two that is smaller than `n`, for n ≥ 2. */
function largestPowerBelow(n: number): number {
  return 2 ** Math.floor(Math.log2(n - 1))
}
