import { nodeHash, type Sha256, type SubtreeHash } from '@sealwrit/protocol'
import type { Tile } from '../store/store.ts'

/** Hashes in one tile, and so the fan-out between tile levels. @see c2sp.org/tlog-tiles */
export const TILE_WIDTH = 256
const TILE_HEIGHT = 8
const HASH_BYTES = 32
/** Node hashes kept in memory a level; older ones are read back from their tile. */
const KEEP = 4 * TILE_WIDTH
/** Tiles whose inner nodes are kept, 16 KiB each. */
const MAX_EXPANDED = 64

export type ReadTile = (level: number, index: number) => Uint8Array | undefined

/** A tile of the log is missing or damaged: it must not grow further. */
export class TreeDamaged extends Error {}

interface Level {
  /** Index of the first hash that is kept. */
  base: number
  hashes: Uint8Array[]
}

/**
 * The right edge of the Merkle tree: recent node hashes of every level in memory, everything older in full tiles. Proofs
 * for recent leaves touch no storage.
 */
export class EdgeTree {
  readonly #sha256: Sha256
  readonly #readTile: ReadTile
  readonly #levels: Level[] = []
  #size = 0
  #filled: Tile[] = []
  readonly #expanded = new Map<string, readonly (readonly Uint8Array[])[]>()

  constructor(readTile: ReadTile, sha256: Sha256) {
    this.#readTile = readTile
    this.#sha256 = sha256
  }

  get size(): number {
    return this.#size
  }

  append(leaf: Uint8Array): void {
    this.#push(0, leaf)
    this.#size++
  }

  /** Tiles that became full since the last call. */
  takeFilled(): readonly Tile[] {
    const filled = this.#filled
    this.#filled = []
    return filled
  }

  readonly subtree: SubtreeHash = (level, index) => {
    const kept = this.#levels[level]
    const hash = kept === undefined || index < kept.base ? undefined : kept.hashes[index - kept.base]
    return hash ?? this.#fromTile(level, index)
  }

  #push(level: number, hash: Uint8Array): void {
    const kept = this.#level(level)
    kept.hashes.push(hash)
    const index = kept.base + kept.hashes.length - 1
    if (level % TILE_HEIGHT === 0 && (index + 1) % TILE_WIDTH === 0) this.#fill(level, (index + 1) / TILE_WIDTH - 1)
    if (index % 2 === 1) this.#push(level + 1, nodeHash(kept.hashes[kept.hashes.length - 2] as Uint8Array, hash, this.#sha256))
    if (kept.hashes.length >= 2 * KEEP) {
      kept.hashes.splice(0, KEEP)
      kept.base += KEEP
    }
  }

  #level(level: number): Level {
    return (this.#levels[level] ??= { base: 0, hashes: [] })
  }

  #fill(level: number, index: number): void {
    const hashes = new Uint8Array(TILE_WIDTH * HASH_BYTES)
    for (let i = 0; i < TILE_WIDTH; i++) hashes.set(this.subtree(level, index * TILE_WIDTH + i), i * HASH_BYTES)
    this.#filled.push({ level: level / TILE_HEIGHT, index, hashes })
  }

  /** A node that is no longer in memory: from the tile that it stands in. */
  #fromTile(level: number, index: number): Uint8Array {
    const up = level % TILE_HEIGHT
    const width = TILE_WIDTH / 2 ** up
    return this.#rowsOf(Math.floor(level / TILE_HEIGHT), Math.floor(index / width))[up]?.[index % width] as Uint8Array
  }

  /** The nodes of one full tile, row by row from its leaves up; the tiles that were used last are kept. */
  #rowsOf(tileLevel: number, index: number): readonly (readonly Uint8Array[])[] {
    const key = `${tileLevel}/${index}`
    const known = this.#expanded.get(key)
    if (known !== undefined) {
      this.#expanded.delete(key) // most recently used last
      this.#expanded.set(key, known)
      return known
    }
    const tile = this.#filled.find((t) => t.level === tileLevel && t.index === index)?.hashes ?? this.#readTile(tileLevel, index)
    if (tile === undefined || tile.length !== TILE_WIDTH * HASH_BYTES) throw new TreeDamaged(`tile ${key} is missing`)
    const rows = [Array.from({ length: TILE_WIDTH }, (_, i) => tile.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))]
    for (let row = rows[0] as Uint8Array[]; rows.length < TILE_HEIGHT; rows.push(row)) row = pairs(row, this.#sha256)
    if (this.#expanded.size >= MAX_EXPANDED) this.#expanded.delete(this.#expanded.keys().next().value as string)
    this.#expanded.set(key, rows)
    return rows
  }
}

function pairs(row: readonly Uint8Array[], sha256: Sha256): Uint8Array[] {
  return Array.from({ length: row.length / 2 }, (_, i) => nodeHash(row[2 * i] as Uint8Array, row[2 * i + 1] as Uint8Array, sha256))
}
