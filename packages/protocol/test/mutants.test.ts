import { type DenialCode, parseProof, parseStrict, utf8, verifySealedArtifact, noteKey } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { score, sized } from '../../../test/support/scoreboard.ts'
import { gateState, GATE, keyPair, LOG_KEY, receiptToken, sealedPermit, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const SEED = 20_261_123
const MUTANTS = sized(100_000, 1_000_000)
const { log, sealed } = sealedPermit()
const verifyText = (text: string): DenialCode | 'ok' => outcome(() => verifySealedArtifact(parseStrict(utf8(text)), gateState()))
const verifyParts = (entry: string, proof: string): DenialCode | 'ok' => verifyText(JSON.stringify({ entry, proof }))

function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state * 48_271) % 2_147_483_647
    return state % below
  }
}

describe('ATK-004: a forged seal', () => {
  it('is denied for every single bit of the entry and of the proof', () => {
    const seen = new Map<string, Set<string>>()
    const flips = (text: string, region: string, build: (changed: string) => { entry: string; proof: string }): void => {
      const bytes = Buffer.from(text)
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        const changed = Buffer.from(bytes)
        changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
        const back = changed.toString('utf8')
        if (Buffer.compare(Buffer.from(back), changed) !== 0) continue // not UTF-8 any more: the parser's own tests
        const { entry, proof } = build(back)
        const code = verifyParts(entry, proof)
        if (code === 'ok') throw new Error(`bit ${bit} of the ${region} made no difference`)
        seen.set(region, (seen.get(region) ?? new Set()).add(code))
      }
    }
    const { entry, proof } = sealed
    const [, extra, index, ...rest] = proof.split('\n')
    const hashes = rest.slice(0, rest.indexOf('')).join('\n')
    const note = parseProof(proof).checkpoint
    flips(entry, 'entry', (changed) => ({ entry: changed, proof }))
    flips(extra as string, 'salt', (changed) => ({ entry, proof: proof.replace(extra as string, changed) }))
    flips(index as string, 'index', (changed) => ({ entry, proof: proof.replace(index as string, changed) }))
    flips(hashes, 'hashes', (changed) => ({ entry, proof: proof.replace(hashes, changed) }))
    flips(note, 'checkpoint', (changed) => ({ entry, proof: proof.replace(note, changed) }))
    const codes = (region: string): string[] => [...(seen.get(region) ?? [])].sort()
    expect(codes('entry')).toEqual(['seal_invalid'])
    expect(codes('hashes')).toEqual(expect.arrayContaining(['seal_invalid']))
    expect(codes('salt')).toEqual(expect.arrayContaining(['action_mismatch']))
    expect(codes('checkpoint')).toEqual(expect.arrayContaining(['key_unknown', 'signature_invalid']))
  })

  it('of an Ed25519 class that lax verifiers take is denied', () => {
    const body = parseProof(sealed.proof).checkpoint
    const line = body.split('\n').at(-2) as string
    const raw = Buffer.from(line.split(' ')[2] as string, 'base64')
    const order = Buffer.from('edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010', 'hex')
    const malleable = Buffer.from(raw)
    let carry = 0
    for (let i = 0; i < 32; i++) {
      const sum = (malleable[36 + i] as number) + (order[i] as number) + carry
      malleable[36 + i] = sum & 255
      carry = sum >> 8
    }
    const with_ = (signature: Buffer): DenialCode | 'ok' => verifyParts(sealed.entry, sealed.proof.replace(line, `${line.split(' ').slice(0, 2).join(' ')} ${signature.toString('base64')}`))
    expect(with_(raw)).toBe('ok')
    expect(with_(malleable), 'S + L').toBe('signature_invalid')
    expect(with_(raw.subarray(0, 60)), 'truncated').toBe('signature_invalid')
    expect(with_(Buffer.concat([raw, Buffer.from([0])])), 'lengthened').toBe('signature_invalid')
    expect(with_(Buffer.concat([raw.subarray(0, 4), Buffer.alloc(64)])), 'zero').toBe('signature_invalid')
    const smallOrder = ['0100000000000000000000000000000000000000000000000000000000000000', 'ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f', '0000000000000000000000000000000000000000000000000000000000000080', 'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a', '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85', 'eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f']
    for (const point of smallOrder) {
      const key = noteKey(LOG_KEY.name, new Uint8Array(Buffer.from(point, 'hex')), sha256)
      // With a key of small order, R of small order and S = 0, lax verifiers accept any message.
      const signature = Buffer.concat([Buffer.from(key.id, 'hex'), Buffer.from(point, 'hex'), Buffer.alloc(32)])
      const proof = sealed.proof.replace(line, `\u2014 ${key.name} ${signature.toString('base64')}`)
      expect(outcome(() => verifySealedArtifact(parseStrict(utf8(JSON.stringify({ entry: sealed.entry, proof }))), gateState({ logKey: key }))), point).toBe('signature_invalid')
    }
  })

  it(`S4: 0 of ${MUTANTS} mutants are accepted, and 1,000 controls are (seed ${SEED})`, () => {
    const next = random(SEED)
    const evil = keyPair('evil')
    const foreign = [sealedPermit({ jti: 'MDEyMzQ1Njc4OTo7PD0-Pw', txn: 'MDEyMzQ1Njc4OTo7PD0-Pw' }).sealed, sealedPermit({ risk: 'high' }, new TestLog(LOG_KEY, evil.sign)).sealed, sealedPermit({}, new TestLog(noteKey(LOG_KEY.name, GATE.publicKey, sha256), GATE.sign)).sealed]
    const text = JSON.stringify(sealed)
    const splice = (a: string, b: string): string => {
      const from = next(a.length)
      return a.slice(0, from) + b.slice(next(b.length)) + a.slice(from + next(40))
    }
    const mutators: readonly (() => string)[] = [
      () => { const b = Buffer.from(text); const at = next(b.length); b[at] = (b[at] as number) ^ (1 << next(8)); return b.toString('latin1') },
      () => { const at = next(text.length); return text.slice(0, at) + String.fromCharCode(32 + next(95)) + text.slice(at + 1) },
      () => { const at = next(text.length); return text.slice(0, at) + text.slice(at + 1 + next(8)) },
      () => { const at = next(text.length); const n = 1 + next(16); return text.slice(0, at) + text.slice(at, at + n) + text.slice(at) },
      () => splice(text, JSON.stringify(foreign[next(foreign.length)])),
      () => JSON.stringify({ entry: sealed.entry, proof: (foreign[next(foreign.length)] as typeof sealed).proof }),
      () => JSON.stringify({ entry: (foreign[next(foreign.length)] as typeof sealed).entry, proof: sealed.proof }),
      () => JSON.stringify(foreign[1 + next(2)]),
      () => JSON.stringify({ ...sealed, [['extra', 'entry ', '__proto__'][next(3)] as string]: next(9) }),
      () => JSON.stringify({ entry: receiptToken(), proof: sealed.proof }),
      () => JSON.stringify(log.seal(next(5))),
      () => { const lines = sealed.proof.split('\n'); const [i, k] = [next(lines.length), next(lines.length)]; const moved = lines[i] as string; lines[i] = lines[k] as string; lines[k] = moved; return JSON.stringify({ entry: sealed.entry, proof: lines.join('\n') }) },
    ]
    const codes = new Map<string, number>()
    let [mutants, same] = [0, 0]
    while (mutants < MUTANTS) {
      const mutant = (mutators[mutants % mutators.length] as () => string)()
      if (mutant === text || JSON.stringify(safe(mutant)) === text) {
        same++
        if (same > MUTANTS) throw new Error('the mutator does not mutate')
        mutants++
        continue
      }
      const code = verifyText(mutant)
      if (code === 'ok') throw new Error(`accepted: ${mutant}`)
      codes.set(code, (codes.get(code) ?? 0) + 1)
      mutants++
    }
    for (let i = 0; i < 1_000; i++) expect(verifyText(text)).toBe('ok')
    score({ id: 'S4', figure: 'mutated artifacts that are accepted', n: mutants - same, violations: 0, seed: 20_261_123, faultsLanded: mutants - same, notes: `${codes.size} codes; 1,000 of 1,000 unchanged ones accepted` })
    console.log(`mutants: ${mutants - same} refused, ${same} equal to the original, codes ${JSON.stringify(Object.fromEntries(codes))}`)
    expect(same).toBeLessThan(MUTANTS / 10)
    expect(codes.size).toBeGreaterThan(6)
  }, 600_000)
})

/** What a mutant means, when it is JSON: a change that JSON does not see is no mutant. */
function safe(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
