import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { consistencyProof, decodeEntries, encodeEntries, Frontier, inclusionProof, leafHash, nodeHash, parseTilePath, TILE_WIDTH, type TileName, tilePath, tilesOf, TileStack, toHex, treeRoot, utf8, verifyConsistency, verifyInclusion, widthOf } from '@sealwrit/protocol'
import { score } from '../../../test/support/scoreboard.ts'
import { sha256 } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const leaf = (i: number): Uint8Array => leafHash(utf8(`leaf ${i}`), sha256)
const leaves = Array.from({ length: 3_000 }, (_, i) => leaf(i))
const memo = new Map<string, Uint8Array>()
const subtree = (level: number, index: number): Uint8Array => {
  if (level === 0) return leaves[index] as Uint8Array
  const key = `${level}/${index}`
  const hash = memo.get(key) ?? nodeHash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1), sha256)
  memo.set(key, hash)
  return hash
}

describe('tiles (c2sp.org/tlog-tiles)', () => {
  it.each([
    [{ level: 0, index: 0, width: 256 }, 'tile/0/000'],
    [{ level: 1, index: 1_234_067, width: 256 }, 'tile/1/x001/x234/067'],
    [{ level: 'entries', index: 273, width: 112 }, 'tile/entries/273.p/112'],
    [{ level: 63, index: 1_000, width: 1 }, 'tile/63/x001/000.p/1'],
  ] as const)('%j is %s', (tile, path) => {
    expect(tilePath(tile)).toBe(path)
    expect(parseTilePath(path)).toEqual(tile)
  })
  it('have one path each: every other text is refused', () => {
    fc.assert(fc.property(fc.record({ level: fc.oneof(fc.nat(63), fc.constant('entries' as const)), index: fc.nat(2 ** 31), width: fc.integer({ min: 1, max: 256 }) }), (tile: TileName) => void expect(parseTilePath(tilePath(tile))).toEqual(tile)), { seed: 20_261_125 })
    for (const path of ['', 'tile', 'tile/0', 'tile/0/', 'tile/0/00', 'tile/0/0000', 'tile/01/000', 'tile/-1/000', 'tile/64/000', 'tile/0/x000/001', 'tile/0/000.p/', 'tile/0/000.p/00', 'tile/0/000.p/01', 'tile/0/000.p/256', 'tile/0/000.P/1', 'tile/Entries/000', ' tile/0/000', 'tile/0/000\n', 'tile/0/x999/x999/x999/x999/x999/999', '../tile/0/000']) {
      expect(outcome(() => parseTilePath(path)), path).toBe('request_malformed')
    }
  })
  it('a tree of 70,000 leaves has the tiles that the specification counts', () => {
    const count = (level: TileName['level']): [number, number] => [[...tilesOf(level, 70_000)].filter(({ width }) => width === TILE_WIDTH).length, [...tilesOf(level, 70_000)].at(-1)?.width ?? 0]
    expect([count(0), count(1), count(2)]).toEqual([[273, 112], [1, 17], [0, 1]])
    expect(widthOf(3, 70_000)).toBe(0)
    expect([...tilesOf(0, 256), ...tilesOf(1, 256)]).toEqual([{ level: 0, index: 0, width: 256 }, { level: 1, index: 0, width: 1 }])
  })
  it('S23: stack and frontier give the root of RFC 6962 at every size to 3,000, and can be resumed at any', async () => {
    const frontier = new Frontier(sha256)
    let stack = new TileStack(sha256)
    for (let size = 1; size <= leaves.length; size++) {
      frontier.append(leaves[size - 1] as Uint8Array)
      stack.append(leaves[size - 1] as Uint8Array)
      if (size % 97 === 0) {
        const parts = new Map(stack.partial().map(({ name, bytes }) => [tilePath(name), bytes]))
        stack = await TileStack.resume(size, async (tile) => parts.get(tilePath(tile)) as Uint8Array, sha256)
      }
      if (size > 128 && size % 13 !== 0) continue
      const root = toHex(treeRoot(size, subtree, sha256))
      expect(toHex(frontier.root())).toBe(root)
      expect(toHex(stack.root())).toBe(root)
    }
  })
  it('entries come back as they went in, and nothing else does', () => {
    fc.assert(fc.property(fc.array(fc.string({ unit: 'grapheme', maxLength: 40 }).filter((t) => t.isWellFormed()), { minLength: 1, maxLength: 20 }), (texts) => {
      const bytes = encodeEntries(texts)
      expect(decodeEntries(bytes, texts.length)).toEqual(texts)
      expect(outcome(() => decodeEntries(bytes, texts.length + 1))).toBe('artifact_malformed')
      expect(outcome(() => decodeEntries(bytes.subarray(0, -1), texts.length))).not.toBe('ok')
      expect(outcome(() => decodeEntries(new Uint8Array([...bytes, 0]), texts.length))).toBe('artifact_malformed')
    }), { seed: 20_261_125 })
    expect(outcome(() => decodeEntries(Uint8Array.of(0xff, 0xff), 1))).toBe('artifact_malformed')
  })
})

describe('exhaustive trees', () => {
  it('S23: of all trees to 128 leaves every inclusion proof holds, and no proof with one hash changed, dropped, added or swapped', () => {
    let [held, refused] = [0, 0]
    for (let size = 1; size <= 128; size++) {
      const root = treeRoot(size, subtree, sha256)
      for (let index = 0; index < size; index++) {
        const proof = inclusionProof(index, size, subtree, sha256)
        const claim = { index, size, leaf: leaves[index] as Uint8Array, root, proof }
        verifyInclusion(claim, sha256)
        held++
        if (size > 40 && (index * 7 + size) % 11 !== 0) continue
        const changed = proof.flatMap((hash, i) => {
          const flipped = new Uint8Array(hash)
          flipped[i % 32] = (flipped[i % 32] as number) ^ 1
          return [proof.with(i, flipped), proof.toSpliced(i, 1), proof.toSpliced(i, 0, hash), ...(i > 0 ? [proof.with(i, proof[i - 1] as Uint8Array).with(i - 1, hash)] : [])]
        })
        for (const bad of [...changed, [...proof, root]]) {
          expect(outcome(() => verifyInclusion({ ...claim, proof: bad }, sha256))).toBe('seal_invalid')
          refused++
        }
        expect(outcome(() => verifyInclusion({ ...claim, index: size }, sha256))).toBe('seal_invalid')
      }
    }
    score({ id: 'S23', figure: 'changed inclusion proofs of all trees to 128 leaves that are accepted', n: refused, violations: 0, faultsLanded: refused, notes: `${held} honest ones hold` })
    console.log(`trees to 128 leaves: ${held} inclusion proofs hold, ${refused} changed ones refused`)
  })
  it('S23, ATK-077: between all sizes to 128 every consistency proof holds, and none with one hash changed, dropped, added or swapped', () => {
    let [held, refused] = [0, 0]
    const accepted: string[] = []
    const roots = Array.from({ length: 129 }, (_, size) => treeRoot(size, subtree, sha256))
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0 // half a million refusals, and nobody reads where they came from
    for (let newer = 1; newer <= 128; newer++) {
      for (let older = 1; older <= newer; older++) {
        const heads = [{ size: older, root: roots[older] as Uint8Array }, { size: newer, root: roots[newer] as Uint8Array }] as const
        const proof = consistencyProof(older, newer, subtree, sha256)
        verifyConsistency(...heads, proof, sha256)
        held++
        const extra = roots[newer] as Uint8Array
        const changed = proof.flatMap((hash, i) => {
          const flipped = new Uint8Array(hash)
          flipped[(older + i) % 32] = (flipped[(older + i) % 32] as number) ^ (1 << newer % 8)
          return [proof.with(i, flipped), proof.toSpliced(i, 1), proof.toSpliced(i, 0, hash), ...(i > 0 ? [proof.with(i, proof[i - 1] as Uint8Array).with(i - 1, hash)] : [])]
        })
        for (const bad of [...changed, [...proof, extra]]) {
          if (outcome(() => verifyConsistency(...heads, bad, sha256)) !== 'seal_invalid') accepted.push(`${older} to ${newer}`)
          refused++
        }
      }
    }
    Error.stackTraceLimit = stackTraceLimit
    score({ id: 'S23', figure: 'changed consistency proofs between all sizes to 128 that are accepted', n: refused, violations: accepted.length, faultsLanded: refused, notes: `${held} honest ones hold` })
    console.log(`sizes to 128: ${held} consistency proofs hold, ${refused} changed ones refused`)
    expect(accepted).toEqual([])
    expect(held).toBe((128 * 129) / 2)
  }, 60_000)
})
