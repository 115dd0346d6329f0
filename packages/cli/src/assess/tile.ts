import { type Claims, claimsOf } from '@sealwrit/assessor'
import { nodeCryptography } from '@sealwrit/gate'
import { cutEntries, type Entry, Frontier, fromUtf8, leafHash, parseEntry, peekKid, type SigningKey, TILE_WIDTH, verifyReceipt } from '@sealwrit/protocol'

const { sha256 } = nodeCryptography

/** What is asked about one tile of entries. */
export interface TileQuestion {
  readonly bytes: Uint8Array
  /** Entries in it. */
  readonly width: number
  /** Receipts are looked at whose leaf hash begins with a number below it, of 2^32. */
  readonly below: number
  /** Keys of gates that are known so far, by the name of the gate. */
  readonly keys: ReadonlyMap<string, SigningKey>
}

/** Whether a receipt was signed by its gate; undefined where the key was not known. */
export interface CheckedReceipt {
  readonly kid: string
  readonly key: SigningKey | undefined
  readonly isGood: boolean
}

export interface ReadEntry {
  readonly entry: Entry
  readonly claims?: Claims
  /** Only of those that are looked at. */
  readonly checked?: CheckedReceipt
}

export interface ReadTile {
  readonly entries: readonly ReadEntry[]
  /** The root of a full tile, or the hash of each leaf. */
  readonly hashes: readonly Uint8Array[]
  /** Why what comes after these entries cannot be read. */
  readonly failure?: string
}

/** All of a tile that depends on nothing before it: its entries in their one form, their hashes, the signatures of their receipts. */
export function readTile({ bytes, width, below, keys }: TileQuestion): ReadTile {
  const entries: ReadEntry[] = []
  const hashes: Uint8Array[] = []
  try {
    for (const leaf of cutEntries(bytes, width)) {
      const hash = leafHash(leaf, sha256)
      const entry = parseEntry(fromUtf8(leaf))
      hashes.push(hash)
      entries.push(entry.kind === 'receipt' ? { entry, claims: claimsOf(entry.receipt), ...(isBelow(hash, below) ? { checked: check(entry.receipt, keys) } : {}) } : { entry })
    }
  } catch (error) {
    return { entries, hashes, failure: error instanceof Error ? error.message : 'unknown' }
  }
  return { entries, hashes: width === TILE_WIDTH ? [rootOf(hashes)] : hashes }
}

export function check(receipt: string, keys: ReadonlyMap<string, SigningKey>): CheckedReceipt {
  const kid = peekKid(receipt)
  const key = keys.get(kid)
  return { kid, key, isGood: key !== undefined && isSigned(receipt, key) }
}

function isSigned(receipt: string, key: SigningKey): boolean {
  try {
    verifyReceipt(receipt, key, nodeCryptography)
    return true
  } catch {
    return false
  }
}

function isBelow(hash: Uint8Array, below: number): boolean {
  return new DataView(hash.buffer, hash.byteOffset, 4).getUint32(0) < below
}

function rootOf(hashes: readonly Uint8Array[]): Uint8Array {
  const tree = new Frontier(sha256)
  for (const hash of hashes) tree.append(hash)
  return tree.root()
}
