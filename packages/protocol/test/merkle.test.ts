import * as fs from 'node:fs'
import * as path from 'node:path'
import { consistencyProof, fromBase64, fromHex, inclusionProof, leafHash, nodeHash, treeRoot, verifyConsistency, verifyInclusion } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { sha256 } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const folder = path.resolve(import.meta.dirname, '../../../spec/vectors/rfc6962')
const read = <T>(name: string): T => JSON.parse(fs.readFileSync(path.join(folder, name), 'utf8')) as T
const bytes = (text: string | null | undefined): Uint8Array => new Uint8Array(Buffer.from(text ?? '', 'base64'))

const leaf = (i: number): Uint8Array => leafHash(Uint8Array.of(i >> 8, i & 255), sha256)
const nodes = new Map<string, Uint8Array>()
function subtree(level: number, index: number): Uint8Array {
  const at = `${level}/${index}`
  const known = nodes.get(at)
  if (known !== undefined) return known
  const hash = level === 0 ? leaf(index) : nodeHash(subtree(level - 1, 2 * index), subtree(level - 1, 2 * index + 1), sha256)
  nodes.set(at, hash)
  return hash
}
const root = (size: number): Uint8Array => treeRoot(size, subtree, sha256)
const flipped = (hash: Uint8Array): Uint8Array => hash.map((byte, i) => (i === 7 ? byte ^ 1 : byte))

/** Every way to change a list of hashes by one. */
function* oneChange(proof: readonly Uint8Array[]): Generator<Uint8Array[]> {
  for (let i = 0; i < proof.length; i++) {
    yield proof.map((hash, k) => (k === i ? flipped(hash) : hash))
    yield proof.filter((_, k) => k !== i)
    if (i > 0) yield proof.map((hash, k) => (k === i ? (proof[i - 1] as Uint8Array) : k === i - 1 ? (proof[i] as Uint8Array) : hash))
  }
  for (let i = 0; i <= proof.length; i++) yield [...proof.slice(0, i), leaf(9_999), ...proof.slice(i)]
}

describe('published RFC 6962 vectors', () => {
  interface Inclusion { leafIdx: number; treeSize: number; root: string; leafHash: string; proof: string[] | null; desc: string; source: string; wantErr: boolean }
  it.each(read<Inclusion[]>('inclusion.json'))('ATK-077: inclusion, $source: $desc', (v) => {
    const claim = { index: v.leafIdx, size: v.treeSize, leaf: bytes(v.leafHash), root: bytes(v.root), proof: (v.proof ?? []).map(bytes) }
    expect(outcome(() => verifyInclusion(claim, sha256))).toBe(v.wantErr ? 'seal_invalid' : 'ok')
  })
  interface Consistency { size1: number; size2: number; root1: string; root2: string; proof: string[] | null; desc: string; source: string; wantErr: boolean }
  it.each(read<Consistency[]>('consistency.json'))('ATK-077: consistency, $source: $desc', (v) => {
    expect(outcome(() => verifyConsistency({ size: v.size1, root: bytes(v.root1) }, { size: v.size2, root: bytes(v.root2) }, (v.proof ?? []).map(bytes), sha256))).toBe(v.wantErr ? 'seal_invalid' : 'ok')
  })
  it('gives the published leaf hashes and roots', () => {
    const tree = read<{ leaves: string[]; leafHashes: string[]; roots: string[] }>('tree.json')
    const hashes = tree.leaves.map((hex) => leafHash(fromHex(hex), sha256))
    expect(hashes.map((h) => Buffer.from(h).toString('base64'))).toEqual(tree.leafHashes)
    const at = (level: number, index: number): Uint8Array => (level === 0 ? (hashes[index] as Uint8Array) : nodeHash(at(level - 1, 2 * index), at(level - 1, 2 * index + 1), sha256))
    tree.roots.forEach((expected, size) => expect(Buffer.from(treeRoot(size, at, sha256)).toString('base64')).toBe(expected))
    expect(fromBase64(tree.roots[0] as string)).toHaveLength(32)
  })
})

describe('S23: all trees to 128 leaves', () => {
  it('ATK-077: accepts every inclusion proof and refuses every single-hash change of it', () => {
    let [accepted, refused] = [0, 0]
    for (let size = 1; size <= 128; size++) {
      for (let index = 0; index < size; index += size > 64 ? 7 : 1) {
        const claim = { index, size, leaf: leaf(index), root: root(size), proof: inclusionProof(index, size, subtree, sha256) }
        verifyInclusion(claim, sha256)
        accepted++
        if (size > 40) continue
        for (const proof of oneChange(claim.proof)) {
          // Swapping two equal hashes changes nothing; there are none here.
          if (outcome(() => verifyInclusion({ ...claim, proof }, sha256)) !== 'seal_invalid') throw new Error(`accepted a changed proof: ${index} of ${size}`)
          refused++
        }
        for (const wrong of [{ index: index + 1 }, { leaf: flipped(claim.leaf) }, { root: flipped(claim.root) }, { index: size }, { size: 2 ** 53 }]) {
          if (outcome(() => verifyInclusion({ ...claim, ...wrong }, sha256)) === 'ok') throw new Error(`accepted ${JSON.stringify(Object.keys(wrong))} at ${index} of ${size}`)
          refused++
        }
      }
    }
    expect(accepted).toBeGreaterThan(2_000)
    expect(refused).toBeGreaterThan(10_000)
  })

  it('ATK-077: accepts every consistency proof and refuses every single-hash change of it', () => {
    let refused = 0
    for (let newer = 1; newer <= 128; newer++) {
      for (let older = 1; older <= newer; older++) {
        const proof = consistencyProof(older, newer, subtree, sha256)
        verifyConsistency({ size: older, root: root(older) }, { size: newer, root: root(newer) }, proof, sha256)
        if (newer > 32) continue
        for (const changed of oneChange(proof)) {
          if (outcome(() => verifyConsistency({ size: older, root: root(older) }, { size: newer, root: root(newer) }, changed, sha256)) !== 'seal_invalid') throw new Error(`accepted a changed proof: ${older} to ${newer}`)
          refused++
        }
        if (outcome(() => verifyConsistency({ size: older, root: flipped(root(older)) }, { size: newer, root: root(newer) }, proof, sha256)) === 'ok') throw new Error('accepted another older root')
        if (outcome(() => verifyConsistency({ size: older, root: root(older) }, { size: newer, root: flipped(root(newer)) }, proof, sha256)) === 'ok') throw new Error('accepted another newer root')
      }
    }
    expect(refused).toBeGreaterThan(5_000)
    expect(outcome(() => verifyConsistency({ size: 0, root: root(0) }, { size: 5, root: root(5) }, [], sha256))).toBe('seal_invalid')
  })

  it('ATK-077: a node is never taken for a leaf', () => {
    const data = new Uint8Array([...leaf(0), ...leaf(1)])
    expect(Buffer.from(leafHash(data, sha256)).equals(Buffer.from(nodeHash(leaf(0), leaf(1), sha256)))).toBe(false)
  })
})
