import type { Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { equalBytes } from '../encoding.ts'

/** Bytes of a SHA-256 hash. */
export const HASH_BYTES = 32
/** A tree never has 2^53 leaves or more, so an inclusion proof is never longer than this. */
export const MAX_PROOF_HASHES = 53

/** Hash of a leaf: SHA-256(0x00 ‖ data). @see RFC 6962 section 2.1 */
export function leafHash(data: Uint8Array, sha256: Sha256): Uint8Array {
  const input = new Uint8Array(1 + data.length)
  input.set(data, 1)
  return sha256(input)
}

/** Hash of an inner node: SHA-256(0x01 ‖ left ‖ right). The prefixes keep leaves and nodes apart (ATK-077). */
export function nodeHash(left: Uint8Array, right: Uint8Array, sha256: Sha256): Uint8Array {
  const input = new Uint8Array(1 + 2 * HASH_BYTES)
  input[0] = 1
  input.set(left, 1)
  input.set(right, 1 + HASH_BYTES)
  return sha256(input)
}

/** Root of the empty tree: SHA-256 of nothing. */
export function emptyRoot(sha256: Sha256): Uint8Array {
  return sha256(new Uint8Array(0))
}

const invalid = (what: string): never => {
  throw new Denied('seal_invalid', what)
}

function checkHashes(hashes: readonly Uint8Array[]): void {
  if (hashes.length > MAX_PROOF_HASHES * 2) invalid('over-long proof')
  for (const hash of hashes) if (hash.length !== HASH_BYTES) invalid('hash length')
}

// Tree sizes are below 2^53; halving and parity are done in arithmetic because bit operators stop at 32 bits.
const isOdd = (n: number): boolean => n % 2 === 1
const half = (n: number): number => Math.floor(n / 2)

export interface InclusionClaim {
  readonly index: number
  readonly size: number
  readonly leaf: Uint8Array
  readonly root: Uint8Array
  readonly proof: readonly Uint8Array[]
}

/**
 * Verifies that the leaf hash stands at `index` in the tree of `size` leaves with this root.
 * @throws {Denied} `seal_invalid`
 * @see RFC 9162 section 2.1.3.2 (the same hashes as RFC 6962)
 */
export function verifyInclusion(claim: InclusionClaim, sha256: Sha256): void {
  const { index, size, leaf, root, proof } = claim
  if (!Number.isSafeInteger(index) || !Number.isSafeInteger(size) || index < 0 || index >= size) invalid('index outside the tree')
  checkHashes([leaf, root, ...proof])
  let node = index
  let last = size - 1
  let hash = leaf
  for (const sibling of proof) {
    if (last === 0) invalid('proof too long')
    if (isOdd(node) || node === last) {
      hash = nodeHash(sibling, hash, sha256)
      while (!isOdd(node) && node !== 0) {
        node = half(node)
        last = half(last)
      }
    } else {
      hash = nodeHash(hash, sibling, sha256)
    }
    node = half(node)
    last = half(last)
  }
  if (last !== 0) invalid('proof too short')
  if (!equalBytes(hash, root)) invalid('root differs')
}

export interface TreeHead {
  readonly size: number
  readonly root: Uint8Array
}

/**
 * Verifies that the tree of `newer` extends that of `older`: append-only.
 * @throws {Denied} `seal_invalid`; `older` must not be empty, since consistency with the empty tree says nothing
 * @see RFC 9162 section 2.1.4.2
 */
export function verifyConsistency(older: TreeHead, newer: TreeHead, proof: readonly Uint8Array[], sha256: Sha256): void {
  checkSizes(older.size, newer.size)
  checkHashes([older.root, newer.root, ...proof])
  if (older.size === newer.size) {
    if (proof.length !== 0) invalid('proof too long')
    if (!equalBytes(older.root, newer.root)) invalid('two roots at one size')
    return
  }
  // When the older tree is a whole subtree its root is the first hash and is left out of the proof.
  const path = isPowerOfTwo(older.size) ? [older.root, ...proof] : proof
  const roots = consistencyRoots(older.size, newer.size, path, sha256)
  if (!equalBytes(roots.older, older.root)) invalid('older root differs')
  if (!equalBytes(roots.newer, newer.root)) invalid('newer root differs')
}

/** Whether a tree of `size` leaves is one whole subtree, so that a consistency proof from it leaves its root out. */
export function isPowerOfTwo(size: number): boolean {
  let rest = size
  while (rest > 1 && !isOdd(rest)) rest = half(rest)
  return rest === 1
}

function checkSizes(older: number, newer: number): void {
  if (!Number.isSafeInteger(older) || !Number.isSafeInteger(newer)) invalid('tree size')
  if (older <= 0 || older > newer) invalid('tree sizes')
}

/**
 * Both roots that a consistency path between two sizes amounts to: that of the newer tree, and that of its first `older`
 * leaves.
 * @param path SUBPROOF(older, D[newer], false): the proof, whose first hash is there also where RFC 6962 leaves it out
 * @throws {Denied} `seal_invalid` when the path is not one between trees of these sizes
 * @see RFC 6962 section 2.1.2
 */
export function consistencyRoots(older: number, newer: number, path: readonly Uint8Array[], sha256: Sha256): { older: Uint8Array; newer: Uint8Array } {
  checkSizes(older, newer)
  checkHashes(path)
  let node = older - 1
  let last = newer - 1
  while (isOdd(node)) {
    node = half(node)
    last = half(last)
  }
  const first = path[0] ?? invalid('empty proof')
  let olderHash = first
  let newerHash = first
  for (const sibling of path.slice(1)) {
    if (last === 0) invalid('proof too long')
    if (isOdd(node) || node === last) {
      olderHash = nodeHash(sibling, olderHash, sha256)
      newerHash = nodeHash(sibling, newerHash, sha256)
      while (!isOdd(node) && node !== 0) {
        node = half(node)
        last = half(last)
      }
    } else {
      newerHash = nodeHash(newerHash, sibling, sha256)
    }
    node = half(node)
    last = half(last)
  }
  if (last !== 0) invalid('proof too short')
  return { older: olderHash, newer: newerHash }
}
