import { Denied, encodeEntries, parseTilePath, TILE_WIDTH, widthOf } from '@sealwrit/protocol'
import { TILE_HEIGHT } from '../log/tree.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { Store } from '../store/store.ts'

/**
 * A resource of the log's read path: a tile of hashes, or a bundle of entries. Only what a signed checkpoint covers is shown.
 * @param path as in `tile/0/x001/234`
 * @throws {Denied} `request_malformed` for another spelling, `method_unknown` for what is not there (yet)
 * @see c2sp.org/tlog-tiles
 */
export async function readTile(path: string, log: Sequencer, store: Store): Promise<Uint8Array> {
  const { level, index, width } = parseTilePath(path)
  const from = index * TILE_WIDTH
  const isCovered = (): boolean => from + width <= widthOf(level, log.checkpoint.size)
  if (!isCovered()) await log.latest() // another plane of this log may have written it
  if (!isCovered()) throw new Denied('method_unknown', 'no such tile')
  if (level === 'entries') return encodeEntries(await store.entries(from, width))
  const stored = width === TILE_WIDTH ? await store.tile(level, index) : undefined
  return stored ?? log.hashes(level * TILE_HEIGHT, from, width)
}
