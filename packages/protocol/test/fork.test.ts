import { consistencyProof, consistencyRoots, type DenialCode, type ForkProof, forkProof, isPowerOfTwo, leafHash, nodeHash, parseForkProof, parseStrict, treeRoot, utf8, verifyConsistency, verifyFork } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { crypto, keyPair, LOG_KEY, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const honest = new TestLog()
const liar = new TestLog()
for (let i = 0; i < 40; i++) honest.addText(`entry ${i}`)
for (let i = 0; i < 40; i++) liar.addText(i === 3 ? 'another history' : `entry ${i}`)
/** SUBPROOF(a, b's tree, false): with the root of the beginning where the proof leaves it out. */
const path = (log: TestLog, a: number, b: number): Uint8Array[] => [...(isPowerOfTwo(a) ? [treeRoot(a, log.subtree, sha256)] : []), ...(a === b ? [] : consistencyProof(a, b, log.subtree, sha256))]
const verify = (proof: ForkProof, key = LOG_KEY): DenialCode | 'ok' => outcome(() => verifyFork(proof, key, crypto))
const between = (a: number, b: number): ForkProof => forkProof(LOG_KEY.name, honest.note(a), liar.note(b), a === b ? [] : path(liar, a, b))

describe('a fork proof', () => {
  it('ATK-068: proves two trees of one size, and a tree that begins otherwise, for every pair of sizes', () => {
    for (let a = 1; a <= 20; a++) for (let b = a; b <= 20; b++) expect(verify(between(a, b)), `${a}, ${b}`).toBe(a <= 3 ? 'seal_invalid' : 'ok')
    expect(verifyFork(between(5, 5), LOG_KEY, crypto)).toBe('the key of plane.test/default signed two trees of 5 leaves')
    expect(verifyFork(between(8, 13), LOG_KEY, crypto)).toBe('the key of plane.test/default signed a tree of 13 leaves whose first 8 are not those that it signed before')
  })
  it('never proves one of an honest log', () => {
    for (let a = 1; a <= 20; a++) {
      for (let b = a; b <= 20; b++) {
        const hashes = a === b ? [] : path(honest, a, b)
        expect(verify(forkProof(LOG_KEY.name, honest.note(a), honest.note(b), hashes))).toBe('seal_invalid')
        for (let i = 0; i < hashes.length; i++) {
          const [dropped, swapped] = [hashes.toSpliced(i, 1), hashes.with(i, sha256(hashes[i] as Uint8Array))]
          for (const other of [dropped, swapped, [...hashes, hashes[i] as Uint8Array]]) expect(verify(forkProof(LOG_KEY.name, honest.note(a), honest.note(b), other)), `${a}, ${b}, ${i}`).toBe('seal_invalid')
        }
      }
    }
  })
  it('needs both signatures of the very log', () => {
    const thief = new TestLog(LOG_KEY, keyPair('thief').sign)
    for (let i = 0; i < 5; i++) thief.addText('forged')
    expect(verify(forkProof(LOG_KEY.name, honest.note(5), thief.note(5), []))).toBe('signature_invalid')
    expect(verify(forkProof(LOG_KEY.name, thief.note(5), honest.note(5), []))).toBe('signature_invalid')
    expect(verify({ ...between(5, 5), origin: 'other.test/x' })).toBe('key_unknown')
    expect(verify(forkProof(LOG_KEY.name, liar.note(5), honest.note(5), [sha256(new Uint8Array(1))]))).toBe('seal_invalid')
    expect(verify(forkProof(LOG_KEY.name, liar.note(9), honest.note(5), path(liar, 5, 9)))).toBe('seal_invalid')
    expect(verify(forkProof(LOG_KEY.name, honest.note(0), liar.note(5), []))).toBe('seal_invalid')
  })
  it('is a closed object', () => {
    const read = (value: unknown): string => outcome(() => parseForkProof(parseStrict(utf8(JSON.stringify(value)))))
    const proof = between(5, 9)
    expect(parseForkProof(parseStrict(utf8(JSON.stringify(proof))))).toEqual(proof)
    expect([{ ...proof, v: 2 }, { ...proof, more: 1 }, { ...proof, a: '' }, { ...proof, consistency: 'x' }, { ...proof, consistency: Array.from({ length: 107 }, () => 'x') }, [], null].map(read)).toEqual(Array.from({ length: 7 }, () => 'request_malformed'))
    expect(verify({ ...proof, consistency: ['lax'] })).toBe('encoding_invalid')
  })
})

describe('both roots of a consistency path', () => {
  it('are those of the two trees, and what verifyConsistency compares', () => {
    for (let a = 1; a < 40; a++) {
      for (let b = a + 1; b <= 40; b++) {
        const roots = consistencyRoots(a, b, path(honest, a, b), sha256)
        expect([roots.older, roots.newer]).toEqual([treeRoot(a, honest.subtree, sha256), treeRoot(b, honest.subtree, sha256)])
        verifyConsistency(honest.head(a), honest.head(b), consistencyProof(a, b, honest.subtree, sha256), sha256)
      }
    }
  })
  it('knows which trees are whole', () => {
    expect(Array.from({ length: 17 }, (_, i) => i).filter(isPowerOfTwo)).toEqual([1, 2, 4, 8, 16])
    expect([isPowerOfTwo(2 ** 52), isPowerOfTwo(2 ** 53 - 1)]).toEqual([true, false])
    expect(nodeHash(leafHash(utf8('entry 0'), sha256), leafHash(utf8('entry 1'), sha256), sha256)).toEqual(path(honest, 2, 3)[0])
  })
})
