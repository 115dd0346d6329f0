import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { type Checkpoint, decodeEntries, equalBytes, leafHash, TILE_WIDTH, type TileName, tilesOf, TileStack, utf8, widthOf } from '@sealwrit/protocol'
import { writeTile } from '../evidence/mirror.ts'
import { FolderSource, type LogSource } from '../evidence/source.ts'

/** Entries that are taken out of a longer log, the newest: a whole number of tiles. */
export const MAX_RESTORED: number = 64 * TILE_WIDTH
const HASH_BYTES = 32
const { sha256 } = nodeCryptography

/**
 * The drill that harms nothing: copies the newest entries of a log, and the hashes of what stands before them, into a folder of its
 * own, and builds the tree again from that copy alone.
 * @param head verified
 * @returns how many entries came back under the signed root; 0 where the copy is not that log
 */
export async function restored(source: LogSource, head: Checkpoint): Promise<number> {
  const from = Math.max(0, head.size - (head.size % TILE_WIDTH) - MAX_RESTORED)
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-restored-'))
  try {
    const copy = async (tile: TileName): Promise<Uint8Array> => {
      // A log serves its tiles as they are now; what stood before `from` is the beginning of them.
      const now = { ...tile, width: Math.min(TILE_WIDTH, widthOf(tile.level, head.size) - tile.index * TILE_WIDTH) }
      const bytes = await source.tile(now)
      writeTile(folder, tile, tile.level === 'entries' ? bytes : bytes.slice(0, tile.width * HASH_BYTES))
      return bytes.slice(0, tile.width * HASH_BYTES)
    }
    await TileStack.resume(from, copy, sha256)
    for (const tile of tilesOf('entries', head.size, from)) await copy(tile)
    const kept = new FolderSource(folder)
    const stack = await TileStack.resume(from, (tile) => kept.tile(tile), sha256)
    for (const tile of tilesOf('entries', head.size, from)) for (const text of decodeEntries(await kept.tile(tile), tile.width)) stack.append(leafHash(utf8(text), sha256))
    return equalBytes(stack.root(), head.root) ? head.size - from : 0
  } finally {
    fs.rmSync(folder, { recursive: true, force: true })
  }
}
