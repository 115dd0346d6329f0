import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { nodeCryptography } from '@sealwrit/gate'
import { type Checkpoint, encodeEntries, leafHash, TILE_WIDTH, type TileName, tilePath, TileStack, utf8 } from '@sealwrit/protocol'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { MAX_RESTORED, restored } from '../src/assess/restored.ts'
import type { LogSource } from '../src/evidence/source.ts'

const { sha256 } = nodeCryptography
const text = (i: number): string => `{"entry":${i}}`
/** A log that serves its tiles as they are now, and none that is not of its tree. */
function logOf(size: number, change: (tile: TileName, bytes: Uint8Array) => Uint8Array = (_tile, bytes) => bytes): { source: LogSource; head: Checkpoint } {
  const tiles = new Map<string, Uint8Array>()
  const stack = new TileStack(sha256)
  for (let i = 0; i < size; i++) for (const { level, index, hashes } of stack.append(leafHash(utf8(text(i)), sha256))) tiles.set(tilePath({ level, index, width: TILE_WIDTH }), hashes)
  for (const { name, bytes } of stack.partial()) tiles.set(tilePath(name), bytes)
  const source: LogSource = {
    checkpoint: () => Promise.reject(new Error('it was read before')),
    tile: (tile) => {
      const bytes = tile.level === 'entries' ? encodeEntries(Array.from({ length: tile.width }, (_, i) => text(tile.index * TILE_WIDTH + i))) : tiles.get(tilePath(tile))
      return bytes === undefined ? Promise.reject(new Error(`no ${tilePath(tile)}`)) : Promise.resolve(change(tile, bytes))
    },
  }
  return { source, head: { origin: 'x/default', size, root: stack.root() } }
}

describe('a log out of a copy of it', () => {
  const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-copies-'))
  beforeAll(() => void vi.stubEnv('TMPDIR', temporary))
  afterEach(() => expect(fs.readdirSync(temporary)).toEqual([]))
  afterAll(() => {
    vi.unstubAllEnvs()
    fs.rmdirSync(temporary)
  })

  it.each([1, 255, 256, 257, MAX_RESTORED - 1, MAX_RESTORED, MAX_RESTORED + 255])('of %i entries gives the signed root again, from all of them', async (size) => {
    const { source, head } = logOf(size)
    expect(await restored(source, head)).toBe(size)
  })

  it.each([MAX_RESTORED + 256, MAX_RESTORED + 257, 4 * MAX_RESTORED + 256 + 7, 4 * MAX_RESTORED + 3 * 256])('of %i entries gives it from the newest and the hashes before them', async (size) => {
    const { source, head } = logOf(size)
    expect(await restored(source, head)).toBe(MAX_RESTORED + (size % TILE_WIDTH))
  })

  it('that is another one is not restored; of one that cannot be read nothing is said', async () => {
    const other = logOf(300, (tile, bytes) => (tile.level === 'entries' && tile.index === 0 ? encodeEntries([...Array(TILE_WIDTH).keys()].map((i) => text(i + (i === 7 ? 1 : 0)))) : bytes))
    expect(await restored(other.source, other.head)).toBe(0)
    const long = logOf(MAX_RESTORED + 600, (tile, bytes) => (tile.level === 1 ? bytes.map((byte) => byte ^ 1) : bytes))
    expect(await restored(long.source, long.head)).toBe(0)
    const short = logOf(300, (_tile, bytes) => bytes.slice(0, -1))
    await expect(restored(short.source, short.head)).rejects.toThrow('artifact')
  })
})
