import * as fs from 'node:fs'
import * as path from 'node:path'
import {
  cosignedMessage, cosignerKey, type CosignerKey, type DenialCode, formatCosignature, formatCosignerKey, formatSignature, formatVerifierKey, fromBase64, isDenialCode, MAX_COSIGNATURE_AGE_SECONDS, NO_WITNESSES,
  noteKey, parseCosignerKey, parseNote, parseStrict, parseVerifierKey, parseWitnessPolicy, utf8, verifyCosignature, verifyQuorum, WitnessQuorum,
} from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { crypto, keyPair, LOG, LOG_KEY, NOW, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const log = new TestLog()
for (let i = 0; i < 5; i++) log.add({ kind: 'deny', code: 'policy_denied' })
const NOTE = log.note()
const TEXT = parseNote(NOTE).text
const witness = (name: string): { key: CosignerKey; cosign: (time?: number, text?: string) => string } => {
  const pair = keyPair(name)
  const key = cosignerKey(`${name}.test/w`, pair.publicKey, sha256)
  return { key, cosign: (time = NOW, text = TEXT) => formatCosignature(key, time, pair.sign(cosignedMessage(text, time))) }
}
const [w1, w2, w3] = [witness('w1'), witness('w2'), witness('w3')]
const POLICY_TEXT = `log ${formatVerifierKey(LOG_KEY)}\n${[w1, w2, w3].map((w, i) => `witness W${i + 1} ${formatCosignerKey(w.key)}\n`).join('')}group two 2 W1 W2 W3\nquorum two\n`
const POLICY = parseWitnessPolicy(utf8(POLICY_TEXT), sha256)
const quorum = (note: string, nowSeconds = NOW, maxAgeSeconds: number | undefined = MAX_COSIGNATURE_AGE_SECONDS): DenialCode | 'ok' => outcome(() => verifyQuorum(note, POLICY, { nowSeconds, maxAgeSeconds }, crypto))
/** A line with one byte of its base64 content changed. */
const flipped = (line: string, at: number): string => {
  const [mark, name, content] = line.trimEnd().split(' ') as [string, string, string]
  const bytes = fromBase64(content)
  bytes[at] = (bytes[at] as number) ^ 1
  return `${mark} ${name} ${Buffer.from(bytes).toString('base64')}\n`
}

describe('a cosignature', () => {
  it('is written as the example of c2sp.org/tlog-cosignature', () => {
    const example = '\u2014 witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n'
    const bytes = fromBase64((example.trimEnd().split(' ') as [string, string, string])[2])
    const key = { ...w1.key, name: 'witness.example.com/w1', id: Buffer.from(bytes.subarray(0, 4)).toString('hex') }
    expect(formatCosignature(key, 1_679_315_147, bytes.subarray(12))).toBe(example)
  })
  it('is over two lines and the whole body of the note', () => {
    const body = 'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n'
    expect(Buffer.from(cosignedMessage(body, 1_679_315_147)).toString()).toBe(`cosignature/v1\ntime 1679315147\n${body}`)
    for (const time of [-1, 0.5, 2 ** 53, Number.NaN]) expect(() => cosignedMessage(body, time)).toThrow(TypeError)
  })
  it('its key has an id and a vkey of type 4, which no log key has', () => {
    const vkey = formatCosignerKey(w1.key)
    expect(parseCosignerKey(vkey, sha256)).toEqual({ ...w1.key, publicKey: new Uint8Array(w1.key.publicKey) })
    expect(noteKey(w1.key.name, w1.key.publicKey, sha256).id).not.toBe(w1.key.id)
    expect(outcome(() => parseVerifierKey(vkey, sha256))).toBe('key_unknown')
    expect(outcome(() => parseCosignerKey(formatVerifierKey(LOG_KEY), sha256))).toBe('key_unknown')
  })
  it('gives its time, and nothing where no line is by the key', () => {
    const note = parseNote(NOTE + w1.cosign(NOW - 7) + w2.cosign())
    expect([w1, w2, w3].map(({ key }) => verifyCosignature(note, key, NOW, crypto))).toEqual([NOW - 7, NOW, undefined])
  })
  it('carries every time below 2^53 through', () => {
    for (const time of [0, 1, 255, 256, 2 ** 32, 2 ** 53 - 1]) expect(verifyCosignature(parseNote(NOTE + w1.cosign(time)), w1.key, Number.MAX_SAFE_INTEGER, crypto)).toBe(time)
  })
  it('ATK-078: counts up to 30 s ahead of now, no further', () => {
    const at = (time: number): string => outcome(() => verifyCosignature(parseNote(NOTE + w1.cosign(time)), w1.key, NOW, crypto))
    expect([NOW + 30, NOW + 31, 2 ** 53 - 1].map(at)).toEqual(['ok', 'witness_quorum_not_met', 'witness_quorum_not_met'])
  })
  it('ATK-004: every changed byte is refused', () => {
    const line = w1.cosign()
    for (let at = 4; at < 4 + 8 + 64; at++) expect(outcome(() => verifyCosignature(parseNote(NOTE + flipped(line, at)), w1.key, NOW, crypto)), `byte ${at}`).toBe('witness_quorum_not_met')
    for (let at = 0; at < 4; at++) expect(verifyCosignature(parseNote(NOTE + flipped(line, at)), w1.key, NOW, crypto), `key id, byte ${at}`).toBeUndefined()
  })
  it('ATK-078: twice by one key is refused, also when both verify', () => {
    expect(outcome(() => verifyCosignature(parseNote(NOTE + w1.cosign() + w1.cosign(NOW - 1)), w1.key, NOW, crypto))).toBe('artifact_malformed')
  })
  it('a plain signature by the witness’s key, or one over another body, is none', () => {
    const pair = keyPair('w1')
    const short = formatSignature(w1.key, pair.sign(utf8(TEXT)))
    const other = w1.cosign(NOW, TEXT.replace('\n5\n', '\n6\n'))
    for (const line of [short, other]) expect(outcome(() => verifyCosignature(parseNote(NOTE + line), w1.key, NOW, crypto))).toBe('witness_quorum_not_met')
  })
})

describe('a quorum of cosignatures', () => {
  it('is met by any two of three, and says who counted and when', () => {
    expect(verifyQuorum(NOTE + w3.cosign(NOW - 3) + w1.cosign(), POLICY, { nowSeconds: NOW, maxAgeSeconds: 60 }, crypto)).toEqual([{ name: 'W1', time: NOW }, { name: 'W3', time: NOW - 3 }])
    expect([NOTE, NOTE + w1.cosign(), NOTE + w1.cosign() + w2.cosign(), NOTE + w1.cosign() + w2.cosign() + w3.cosign()].map((note) => quorum(note))).toEqual(['witness_quorum_not_met', 'witness_quorum_not_met', 'ok', 'ok'])
  })
  it('ATK-078: an old cosignature does not count, save where any age is asked for', () => {
    const note = NOTE + w1.cosign(NOW - 61) + w2.cosign(NOW - 60)
    expect(quorum(note)).toBe('witness_quorum_not_met')
    expect(quorum(note, NOW - 1)).toBe('ok')
    expect(outcome(() => verifyQuorum(note, POLICY, { nowSeconds: NOW + 10 ** 9, maxAgeSeconds: undefined }, crypto))).toBe('ok')
  })
  it('ATK-078: a foreign, false or doubled cosignature does not make one', () => {
    const stranger = witness('stranger').cosign()
    const thief = witness('thief')
    const pretending = formatCosignature({ ...thief.key, name: w2.key.name, id: w2.key.id }, NOW, keyPair('thief').sign(cosignedMessage(TEXT, NOW)))
    expect(quorum(NOTE + w1.cosign() + stranger)).toBe('witness_quorum_not_met')
    expect(quorum(NOTE + w1.cosign() + pretending)).toBe('witness_quorum_not_met')
    expect(quorum(NOTE + w1.cosign() + w1.cosign())).toBe('artifact_malformed')
    expect(quorum(NOTE + w1.cosign() + w2.cosign() + stranger)).toBe('ok')
  })
  it('asks for a listed log, where the policy lists any', () => {
    const thief = keyPair('thief')
    const other = `${TEXT}\n${formatSignature(noteKey(LOG_KEY.name, thief.publicKey, sha256), thief.sign(utf8(TEXT)))}`
    expect(quorum(other + w1.cosign() + w2.cosign())).toBe('key_unknown')
    const forged = `${TEXT}\n${formatSignature(LOG_KEY, thief.sign(utf8(TEXT)))}`
    expect(quorum(forged + w1.cosign() + w2.cosign())).toBe('signature_invalid')
  })
  it('`quorum none` asks for nothing', () => expect(verifyQuorum(NOTE, NO_WITNESSES, { nowSeconds: NOW, maxAgeSeconds: 60 }, crypto)).toEqual([]))
  it('verifies the same note once, and looks at its age each time', () => {
    let verified = 0
    const counting = { ...crypto, verifyEd25519: (...args: Parameters<typeof crypto.verifyEd25519>) => (verified++, crypto.verifyEd25519(...args)) }
    const held = new WitnessQuorum(POLICY, 60)
    const note = NOTE + w1.cosign() + w2.cosign()
    for (let second = 0; second <= 60; second++) expect(held.verify(note, NOW + second, counting)).toHaveLength(2)
    expect(outcome(() => held.verify(note, NOW + 61, counting))).toBe('witness_quorum_not_met')
    expect(verified).toBe(3)
    held.verify(NOTE + w2.cosign() + w3.cosign(), NOW, counting)
    expect(verified).toBe(6)
  })
})

/** For readers of other languages; made with `SEALWRIT_UPDATE=1` from fixed keys. */
interface Vector {
  readonly name: string
  readonly note: string
  readonly now: number
  readonly max_age?: number
  readonly expect: DenialCode | 'ok'
}
const FILE = path.resolve(import.meta.dirname, '../../../spec/vectors/cosignature.json')
if (process.env['SEALWRIT_UPDATE'] === '1') {
  const vectors: Vector[] = [
    { name: 'two of three', note: NOTE + w1.cosign() + w2.cosign(), now: NOW, max_age: 60, expect: 'ok' },
    { name: 'one of three', note: NOTE + w1.cosign(), now: NOW, max_age: 60, expect: 'witness_quorum_not_met' },
    { name: 'none', note: NOTE, now: NOW, max_age: 60, expect: 'witness_quorum_not_met' },
    { name: 'lines of strangers between', note: NOTE + witness('stranger').cosign() + w3.cosign() + w2.cosign(), now: NOW, max_age: 60, expect: 'ok' },
    { name: 'exactly 60 s old', note: NOTE + w1.cosign(NOW - 60) + w2.cosign(NOW - 60), now: NOW, max_age: 60, expect: 'ok' },
    { name: 'one 61 s old', note: NOTE + w1.cosign(NOW - 61) + w2.cosign(), now: NOW, max_age: 60, expect: 'witness_quorum_not_met' },
    { name: 'old, any age asked for', note: NOTE + w1.cosign(1) + w2.cosign(1), now: NOW, expect: 'ok' },
    { name: '30 s ahead', note: NOTE + w1.cosign(NOW + 30) + w2.cosign(), now: NOW, max_age: 60, expect: 'ok' },
    { name: '31 s ahead', note: NOTE + w1.cosign(NOW + 31) + w2.cosign(), now: NOW, max_age: 60, expect: 'witness_quorum_not_met' },
    { name: 'twice by one key', note: NOTE + w1.cosign() + w1.cosign(NOW - 1), now: NOW, max_age: 60, expect: 'artifact_malformed' },
    { name: 'a time changed', note: NOTE + flipped(w1.cosign(), 11) + w2.cosign(), now: NOW, max_age: 60, expect: 'witness_quorum_not_met' },
    { name: 'a signature changed', note: NOTE + flipped(w1.cosign(), 70) + w2.cosign() + w3.cosign(), now: NOW, max_age: 60, expect: 'witness_quorum_not_met' },
    { name: 'over another tree', note: NOTE + w1.cosign(NOW, TEXT.replace('\n5\n', '\n6\n')) + w2.cosign(), now: NOW, max_age: 60, expect: 'witness_quorum_not_met' },
    { name: 'a log that is not listed', note: `${TEXT}\n${w1.cosign()}${w2.cosign()}`, now: NOW, max_age: 60, expect: 'key_unknown' },
    { name: 'lax base64', note: NOTE + w1.cosign().replace(/=*\n$/, '\n') + w2.cosign(), now: NOW, max_age: 60, expect: 'encoding_invalid' },
  ]
  fs.writeFileSync(FILE, `${JSON.stringify({ about: 'Made from fixed keys by packages/protocol/test/cosignature.test.ts. Apache-2.0.', policy: POLICY_TEXT, vectors }, null, 1)}\n`)
}

describe('spec/vectors/cosignature.json', () => {
  const file = parseStrict(fs.readFileSync(FILE)) as unknown as { policy: string; vectors: Vector[] }
  const policy = parseWitnessPolicy(utf8(file.policy), sha256)
  it.each(file.vectors)('$name: $expect', ({ note, now, max_age, expect: wanted }) => {
    if (wanted !== 'ok' && !isDenialCode(wanted)) throw new Error(`unknown expect value: ${String(wanted)}`)
    expect(outcome(() => verifyQuorum(note, policy, { nowSeconds: now, maxAgeSeconds: max_age }, crypto))).toBe(wanted)
  })
  it('is about the log key of the fixture', () => expect(policy.logs[0]?.key.id).toBe(noteKey(LOG_KEY.name, LOG.publicKey, sha256).id))
})
