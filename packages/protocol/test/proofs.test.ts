import { canonicalText, type Checkpoint, Denied, formatProof, inclusionProof, type JsonValue, leafHash, nodeHash, parseFormed, parseSealed, parseStrictText, Proofs, type Proved, utf8, verifyCheckpoint, verifyInclusion } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crypto, LOG_KEY, sha256, TestLog } from './support/fixture.ts'

const SEED = 20_261_125
interface Sealed {
  readonly entry: string
  readonly proof: string
}

/** A log of `size` leaves, with the proof of each under its last checkpoint. */
function sealedLog(size: number, name = 'a'): { note: string; head: Checkpoint; sealed: Sealed[]; log: TestLog } {
  const log = new TestLog()
  for (let i = 0; i < size; i++) log.addText(`{"leaf":"${name}${i}"}`)
  const note = log.note()
  const rows = [log.leaves.map((text) => leafHash(utf8(text), sha256))]
  for (let row = rows[0] as Uint8Array[]; row.length > 1; rows.push(row)) row = Array.from({ length: Math.floor(row.length / 2) }, (_, i) => nodeHash(row[2 * i] as Uint8Array, row[2 * i + 1] as Uint8Array, sha256))
  const subtree = (level: number, index: number): Uint8Array => rows[level]?.[index] as Uint8Array
  const sealed = log.leaves.map((entry, index) => ({ entry, proof: formatProof({ index, hashes: inclusionProof(index, size, subtree, sha256), checkpoint: note }) }))
  return { note, head: verifyCheckpoint(note, LOG_KEY, crypto), sealed, log }
}

/** The whole verification of one proof, which knows nothing of any other. */
function byItself({ entry, proof }: Sealed, note: string, head: Checkpoint): Proved {
  const seal = parseSealed({ entry, proof })
  if (seal.proof.checkpoint !== note) throw new Denied('seal_invalid', 'the proof leads to another checkpoint')
  const { index, hashes } = seal.proof
  const leaf = leafHash(utf8(entry), sha256)
  verifyInclusion({ index, size: head.size, leaf, root: head.root, proof: hashes }, sha256)
  return { index, hash: leaf }
}

/** What came of it, in full: the value, or code and message. */
function told(prove: () => Proved): string {
  try {
    const { index, hash } = prove()
    return `${index} ${Buffer.from(hash).toString('hex')}`
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    return `${error.code}: ${error.message}`
  }
}

function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
}

describe('proofs under one checkpoint', () => {
  it('say of every entry at every size what its proof by itself says, in order, backwards, and with gaps', () => {
    for (let size = 1; size <= 70; size++) {
      const { note, head, sealed } = sealedLog(size)
      const next = random(SEED + size)
      const orders = [sealed, [...sealed].reverse(), sealed.filter(() => next(3) === 0), sealed.flatMap((one) => [one, one, sealed[next(size)] as Sealed])]
      for (const order of orders) {
        const proofs = new Proofs(note, head, crypto)
        for (const one of order) expect(told(() => proofs.verify(one))).toBe(told(() => byItself(one, note, head)))
      }
    }
  })

  it('hash a run of neighbours about twice an entry, however large the tree', () => {
    const { note, head, sealed } = sealedLog(4_096)
    let hashes = 0
    const proofs = new Proofs(note, head, { ...crypto, sha256: (bytes) => (hashes++, sha256(bytes)) })
    for (const one of sealed) proofs.verify(one)
    expect(hashes).toBeLessThan(3.1 * sealed.length) // the leaf, and two nodes where twelve stand in the proof
  })

  it(`ATK-004, ATK-070: 6,000 mutants between honest neighbours get exactly the answer that they get alone, and none is accepted (seed ${SEED})`, () => {
    const next = random(SEED)
    const logs = [1, 2, 3, 7, 8, 21, 64, 100].map((size) => ({ ...sealedLog(size), other: sealedLog(size, 'b'), older: sealedLog(Math.max(1, size - 1)) }))
    const codes = new Set<string>()
    let [accepted, refused] = [0, 0]
    for (let n = 0; n < 6_000; n++) {
      const { note, head, sealed, other, older } = logs[n % logs.length] as (typeof logs)[number]
      const at = next(sealed.length)
      const own = sealed[at] as Sealed
      const foreign = [other, older][next(2)]?.sealed[Math.min(at, older.sealed.length - 1)] as Sealed
      const lines = own.proof.split('\n')
      const line = next(lines.length)
      const moved = (change: (lines: string[]) => void): Sealed => {
        const changed = [...lines]
        change(changed)
        return { ...own, proof: changed.join('\n') }
      }
      const character = next(own.proof.length)
      const mutants: readonly (() => Sealed)[] = [
        () => ({ ...own, proof: own.proof.slice(0, character) + String.fromCharCode(10 + next(118)) + own.proof.slice(character + 1) }),
        () => ({ ...own, proof: own.proof.slice(0, character) + own.proof.slice(character + 1 + next(50)) }),
        () => ({ ...own, proof: own.proof + own.proof.slice(character) }),
        () => ({ ...own, entry: own.entry.replace('leaf', 'lead') }),
        () => ({ ...own, entry: '' }),
        () => ({ entry: own.entry, proof: (sealed[next(sealed.length)] as Sealed).proof }),
        () => ({ entry: own.entry, proof: foreign.proof }),
        () => ({ entry: foreign.entry, proof: own.proof }),
        () => foreign,
        () => moved((l) => l.splice(line, 1)),
        () => moved((l) => l.splice(line, 0, l[line] as string)),
        () => moved((l) => ([l[line], l[line === 0 ? 1 : line - 1]] = [l[line === 0 ? 1 : line - 1] as string, l[line] as string])),
        () => moved((l) => (l[1] = `index ${next(200)}`)),
        () => moved((l) => (l[1] = `index 0${at}`)),
        () => moved((l) => l.splice(1, 0, 'extra AAECAwQFBgcICQoLDA0ODw==')), // not authenticated: it may pass, and then passes alone as well
      ]
      const mutant = (mutants[n % mutants.length] as () => Sealed)()
      const proofs = new Proofs(note, head, crypto)
      if (at > 0) proofs.verify(sealed[at - 1] as Sealed)
      const answer = told(() => proofs.verify(mutant))
      expect(answer).toBe(told(() => byItself(mutant, note, head)))
      const isChanged = mutant.entry !== own.entry || (mutant.proof !== own.proof && !mutant.proof.includes('\nextra '))
      if (/^\d/.test(answer)) {
        expect(isChanged && !sealed.some(({ entry, proof }) => entry === mutant.entry && proof === mutant.proof)).toBe(false)
        accepted++
      } else {
        codes.add(answer.slice(0, answer.indexOf(':')))
        refused++
      }
      // What was refused taught nothing: the neighbour after it is proved as ever, and a second showing is refused again.
      expect(told(() => proofs.verify(mutant))).toBe(answer)
      const after = sealed[Math.min(at + 1, sealed.length - 1)] as Sealed
      expect(told(() => proofs.verify(after))).toBe(told(() => byItself(after, note, head)))
    }
    expect(refused).toBeGreaterThan(4_500)
    expect(accepted).toBeGreaterThan(150)
    expect([...codes].sort()).toEqual(['artifact_malformed', 'encoding_invalid', 'seal_invalid'])
  }, 120_000)
})

describe('a text that is read once', () => {
  const canonical = (text: string): boolean => canonicalText(parseStrictText(text)) === text
  it('is canonical exactly where writing its value again gives the same text', () => {
    const texts = ['{"a":1,"b":2}', '{"b":1,"a":2}', '{"a":1, "b":2}', ' {}', '{}\n', '[1,2.5,1e21]', '[1e2]', '[100.0]', '[0.10]', '"\\u0041"', '"\\n"', '"\\/"', '"é"', '"\\u00e9"', '"\\ud83d\\ude00"', '"\u{1f600}"', '{"\u{1f600}":1,"\uff00":2}', '{"\uff00":2,"\u{1f600}":1}', '{"10":1,"9":2}', '{"9":1,"10":2}', '{"":0,"a":1}', '{"__proto__":1}', '"\u007f\u2028"', '{"a":{"c":1,"b":2}}', 'null', '1E5', '1e+21', '123456789012345678901e3', '0.000001', '1e-7']
    const seen = texts.filter((text) => parsed(text) !== undefined).map((text) => [text, parseFormed(text).isCanonical])
    expect(seen).toEqual(texts.filter((text) => parsed(text) !== undefined).map((text) => [text, canonical(text)]))
    expect(new Set(seen.map(([, is]) => is)).size).toBe(2)
  })
  it('is canonical or not as its value says, for 2,000 values in other spellings and 2,000 with one character changed', () => {
    const spelled = fc.tuple(fc.jsonValue({ noUnicodeString: false }), fc.constantFrom(0, 1, 2), fc.nat(), fc.constantFrom(...'{}[]",:0123456789.eE+-\\/ \tabnu'.split('')))
    fc.assert(fc.property(spelled, ([value, spelling, at, put]) => {
      const plain = JSON.stringify(value, undefined, spelling === 1 ? 1 : undefined)
      const written = parsed(plain) === undefined ? plain : spelling === 2 ? canonicalText(parsed(plain) as JsonValue) : plain
      for (const text of [written, written.slice(0, at % written.length) + put + written.slice((at % written.length) + 1)]) {
        if (parsed(text) === undefined || !text.isWellFormed()) expect(() => parseFormed(text)).toThrow(Denied)
        else expect(parseFormed(text)).toEqual({ value: parsed(text), isCanonical: canonical(text) })
      }
    }), { numRuns: 2_000, seed: SEED })
  })
})

function parsed(text: string): JsonValue | undefined {
  try {
    return parseStrictText(text)
  } catch (error) {
    if (error instanceof Denied) return undefined
    throw error
  }
}
