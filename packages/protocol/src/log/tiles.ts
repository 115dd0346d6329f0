import type { Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { concatBytes, fromUtf8, utf8 } from '../encoding.ts'
import { MAX_ENTRY } from './entry.ts'
import { Frontier } from './frontier.ts'
import { HASH_BYTES } from './merkle.ts'

/** Hashes in a full tile, and leaves in a full bundle of entries. */
export const TILE_WIDTH = 256
const MAX_LEVEL = 63

/** A resource of the log's read path. @see c2sp.org/tlog-tiles */
export interface TileName {
  /** Level of hashes, or the entries themselves. */
  readonly level: number | 'entries'
  readonly index: number
  /** Hashes or entries in it: {@link TILE_WIDTH} when it is full. */
  readonly width: number
}

/** `tile/<L>/<N>[.p/<W>]`. @see c2sp.org/tlog-tiles "Merkle Tree" */
export function tilePath({ level, index, width }: TileName): string {
  const digits = String(index)
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, '0').match(/.../g) as string[]
  const name = groups.map((group, i) => (i === groups.length - 1 ? group : `x${group}`)).join('/')
  return `tile/${level}/${name}${width === TILE_WIDTH ? '' : `.p/${width}`}`
}

/** The one spelling of each tile only. @throws {Denied} `request_malformed` */
export function parseTilePath(path: string): TileName {
  const match = /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path)
  if (match === null) throw new Denied('request_malformed', 'not the path of a tile')
  const tile: TileName = {
    level: match[1] === 'entries' ? 'entries' : Number(match[1]),
    index: Number((match[2] as string).replaceAll(/[x/]/g, '')),
    width: match[3] === undefined ? TILE_WIDTH : Number(match[3]),
  }
  const isSound = Number.isSafeInteger(tile.index) && (tile.level === 'entries' || tile.level <= MAX_LEVEL) && tile.width >= 1 && tilePath(tile) === path
  if (!isSound) throw new Denied('request_malformed', 'not the path of a tile')
  return tile
}

/** How many hashes of `level`, or entries, a tree of `size` leaves has. */
export function widthOf(level: TileName['level'], size: number): number {
  return level === 'entries' ? size : Math.floor(size / TILE_WIDTH ** level)
}

/** The tiles that make up a tree of `size` leaves at `level`, from the one that holds hash `from` on. */
export function* tilesOf(level: TileName['level'], size: number, from = 0): Generator<TileName> {
  const width = widthOf(level, size)
  for (let index = Math.floor(from / TILE_WIDTH); index * TILE_WIDTH < width; index++) yield { level, index, width: Math.min(TILE_WIDTH, width - index * TILE_WIDTH) }
}

/** Entries, each after its length in two bytes. @see c2sp.org/tlog-tiles "Log entries" */
export function encodeEntries(texts: readonly string[]): Uint8Array {
  const entries = texts.map(utf8)
  const out = new Uint8Array(entries.reduce((sum, { length }) => sum + 2 + length, 0))
  let at = 0
  for (const entry of entries) {
    out[at] = entry.length >> 8
    out[at + 1] = entry.length
    out.set(entry, at + 2)
    at += 2 + entry.length
  }
  return out
}

/**
 * The bytes of each entry, in the memory of the tile.
 * @throws {Denied} `artifact_malformed` unless there are exactly `count` entries
 */
export function cutEntries(bytes: Uint8Array, count: number): Uint8Array[] {
  const out: Uint8Array[] = []
  let at = 0
  while (at < bytes.length && out.length < count) {
    const length = ((bytes[at] as number) << 8) | (bytes[at + 1] ?? 0)
    if (at + 2 + length > bytes.length || length > MAX_ENTRY) break
    out.push(bytes.subarray(at + 2, at + 2 + length))
    at += 2 + length
  }
  if (at !== bytes.length || out.length !== count) throw new Denied('artifact_malformed', 'not the entries that the tile has')
  return out
}

/** @throws {Denied} as {@link cutEntries}, and `encoding_invalid` */
export function decodeEntries(bytes: Uint8Array, count: number): string[] {
  return cutEntries(bytes, count).map(fromUtf8)
}

/** @throws {Denied} `artifact_malformed` unless there are exactly `count` hashes */
export function decodeHashes(bytes: Uint8Array, count: number): Uint8Array[] {
  if (bytes.length !== count * HASH_BYTES) throw new Denied('artifact_malformed', 'not the hashes that the tile has')
  return Array.from({ length: count }, (_, i) => bytes.slice(i * HASH_BYTES, (i + 1) * HASH_BYTES))
}

/** A full hash tile, as it is stored and served. */
export interface HashTile {
  readonly level: number
  readonly index: number
  /** {@link TILE_WIDTH} hashes. */
  readonly hashes: Uint8Array
}

/** The tiles of a tree as it grows: of each level only the one that is not full yet is held. */
export class TileStack {
  readonly #sha256: Sha256
  readonly #levels: Uint8Array[][] = []
  #size = 0

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  /** Goes on where a tree of `size` leaves stands. @param read gives the partial tiles of that tree */
  static async resume(size: number, read: (tile: TileName) => Promise<Uint8Array>, sha256: Sha256): Promise<TileStack> {
    const stack = new TileStack(sha256)
    for (let level = 0; widthOf(level, size) > 0; level++) {
      const width = widthOf(level, size)
      const rest = width % TILE_WIDTH
      stack.#levels[level] = rest === 0 ? [] : decodeHashes(await read({ level, index: (width - rest) / TILE_WIDTH, width: rest }), rest)
    }
    stack.#size = size
    return stack
  }

  get size(): number {
    return this.#size
  }

  /** @returns the tiles that became full, the lowest first */
  append(leaf: Uint8Array): readonly HashTile[] {
    this.#size++
    const filled: HashTile[] = []
    let hash: Uint8Array | undefined = leaf
    for (let level = 0; hash !== undefined; level++) {
      const tile: Uint8Array[] = (this.#levels[level] ??= [])
      tile.push(hash)
      hash = undefined
      if (tile.length < TILE_WIDTH) break
      filled.push({ level, index: this.#size / TILE_WIDTH ** (level + 1) - 1, hashes: concatBytes(...tile) })
      hash = rootOf(tile, this.#sha256)
      tile.length = 0
    }
    return filled
  }

  /** The tiles that are not full, as they are now. */
  partial(): readonly { readonly name: TileName; readonly bytes: Uint8Array }[] {
    return this.#levels.flatMap((hashes, level) => {
      const name = { level, index: Math.floor(widthOf(level, this.#size) / TILE_WIDTH), width: hashes.length }
      return hashes.length === 0 ? [] : [{ name, bytes: concatBytes(...hashes) }]
    })
  }

  root(): Uint8Array {
    const frontier = new Frontier(this.#sha256)
    for (let level = this.#levels.length - 1; level >= 0; level--) for (const hash of this.#levels[level] as Uint8Array[]) frontier.append(hash, TILE_WIDTH ** level)
    return frontier.root()
  }
}

function rootOf(hashes: readonly Uint8Array[], sha256: Sha256): Uint8Array {
  const frontier = new Frontier(sha256)
  for (const hash of hashes) frontier.append(hash)
  return frontier.root()
}
