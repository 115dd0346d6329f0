import { nodeHash, type Sha256, type SubtreeHash } from '@sealwrit/protocol'
import type { Tile } from '../store/store.ts'

/** Hashes in one tile, and so the fan-out between tile levels. @see c2sp.org/tlog-tiles */
export const TILE_WIDTH = 256
const TILE_HEIGHT = 8
const HASH_BYTES = 32
/** Node hashes kept in memory a level; older ones are read back from their tile. */
const KEEP = 4 * TILE_WIDTH

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

  /** A node that is no longer in memory: from the part of its tile below it. */
  #fromTile(level: number, index: number): Uint8Array {
    const width = 2 ** (level % TILE_HEIGHT)
    const first = index * width
    return this.#reduce(this.#hashesOf(Math.floor(level / TILE_HEIGHT), Math.floor(first / TILE_WIDTH), first % TILE_WIDTH, width))
  }

  #hashesOf(tileLevel: number, index: number, from: number, count: number): Uint8Array[] {
    const tile = this.#filled.find((t) => t.level === tileLevel && t.index === index)?.hashes ?? this.#readTile(tileLevel, index)
    if (tile === undefined || tile.length !== TILE_WIDTH * HASH_BYTES) throw new TreeDamaged(`tile ${tileLevel}/${index} is missing`)
    return Array.from({ length: count }, (_, i) => tile.subarray((from + i) * HASH_BYTES, (from + i + 1) * HASH_BYTES))
  }

  #reduce(hashes: readonly Uint8Array[]): Uint8Array {
    let row = hashes
    while (row.length > 1) row = Array.from({ length: row.length / 2 }, (_, i) => nodeHash(row[2 * i] as Uint8Array, row[2 * i + 1] as Uint8Array, this.#sha256))
    return row[0] as Uint8Array
  }
}
