import { HASH_BYTES, nodeHash, type Sha256, type SubtreeHash, TILE_WIDTH } from '@sealwrit/protocol'
import type { Tile } from '../store/store.ts'

/** Levels of the tree between two levels of tiles. @see c2sp.org/tlog-tiles */
export const TILE_HEIGHT = 8
/** Node hashes kept in memory a level; older ones are read back from their tile. */
const KEEP = 4 * TILE_WIDTH
/** Tiles whose inner nodes are kept, 16 KiB each. */
const MAX_EXPANDED = 64

/** A tile of the log is missing or damaged: it must not grow further. */
export class TreeDamaged extends Error {}

/** A proof needs a tile that is not in memory: {@link EdgeTree.load} it and ask again. */
export class TileNeeded extends Error {
  readonly level: number
  readonly index: number
  constructor(level: number, index: number) {
    super(`tile ${level}/${index} is not in memory`)
    this.level = level
    this.index = index
  }
}

interface Level {
  /** Index of the first hash that is kept. */
  base: number
  hashes: Uint8Array[]
}

/**
 * The right edge of the Merkle tree: recent node hashes of every level in memory, everything older in full tiles. Proofs
 * for recent leaves touch no storage. Leaves since {@link EdgeTree.begin} can be taken back.
 */
export class EdgeTree {
  readonly #sha256: Sha256
  readonly #levels: Level[] = []
  #size = 0
  #filled: Tile[] = []
  #mark: { readonly size: number; readonly ends: readonly number[] } | undefined
  readonly #expanded = new Map<string, readonly (readonly Uint8Array[])[]>()

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  get size(): number {
    return this.#size
  }

  append(leaf: Uint8Array): void {
    this.#push(0, leaf)
    this.#size++
  }

  /** From here on leaves can be taken back. */
  begin(): void {
    this.#mark = { size: this.#size, ends: this.#levels.map(({ base, hashes }) => base + hashes.length) }
  }

  /** Takes back every leaf since {@link EdgeTree.begin}. */
  rollback(): void {
    if (this.#mark === undefined) throw new TypeError('nothing was begun')
    const { size, ends } = this.#mark
    this.#size = size
    this.#levels.length = ends.length
    this.#levels.forEach((level, i) => (level.hashes.length = (ends[i] as number) - level.base))
    this.#filled = []
    this.#mark = undefined
  }

  /** The leaves so far stay; what is old enough is left to the tiles. */
  settle(): void {
    this.#mark = undefined
    for (const level of this.#levels) {
      const excess = level.hashes.length - KEEP
      if (excess < KEEP) continue
      level.hashes.splice(0, excess)
      level.base += excess
    }
  }

  /** Tiles that became full since the last call. */
  takeFilled(): readonly Tile[] {
    const filled = this.#filled
    this.#filled = []
    return filled
  }

  /** @throws {TileNeeded} */
  readonly subtree: SubtreeHash = (level, index) => {
    const kept = this.#levels[level]
    const hash = kept === undefined || index < kept.base ? undefined : kept.hashes[index - kept.base]
    return hash ?? this.#fromTile(level, index)
  }

  /** Takes a full tile into memory; the tiles that were used last are kept. @throws {TreeDamaged} when it is missing or short */
  load(level: number, index: number, tile: Uint8Array | undefined): void {
    if (tile === undefined || tile.length !== TILE_WIDTH * HASH_BYTES) throw new TreeDamaged(`tile ${level}/${index} is missing`)
    const rows = [Array.from({ length: TILE_WIDTH }, (_, i) => tile.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))]
    for (let row = rows[0] as Uint8Array[]; rows.length < TILE_HEIGHT; rows.push(row)) row = pairs(row, this.#sha256)
    if (this.#expanded.size >= MAX_EXPANDED) this.#expanded.delete(this.#expanded.keys().next().value as string)
    this.#expanded.set(`${level}/${index}`, rows)
  }

  #push(level: number, hash: Uint8Array): void {
    const kept = (this.#levels[level] ??= { base: 0, hashes: [] })
    kept.hashes.push(hash)
    const index = kept.base + kept.hashes.length - 1
    if (level % TILE_HEIGHT === 0 && (index + 1) % TILE_WIDTH === 0) this.#fill(level, (index + 1) / TILE_WIDTH - 1)
    if (index % 2 === 1) this.#push(level + 1, nodeHash(kept.hashes[kept.hashes.length - 2] as Uint8Array, hash, this.#sha256))
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
    const [tileLevel, tileIndex] = [Math.floor(level / TILE_HEIGHT), Math.floor(index / width)]
    const key = `${tileLevel}/${tileIndex}`
    const rows = this.#expanded.get(key)
    if (rows === undefined) throw new TileNeeded(tileLevel, tileIndex)
    this.#expanded.delete(key) // most recently used last
    this.#expanded.set(key, rows)
    return rows[up]?.[index % width] as Uint8Array
  }
}

function pairs(row: readonly Uint8Array[], sha256: Sha256): Uint8Array[] {
  return Array.from({ length: row.length / 2 }, (_, i) => nodeHash(row[2 * i] as Uint8Array, row[2 * i + 1] as Uint8Array, sha256))
}
