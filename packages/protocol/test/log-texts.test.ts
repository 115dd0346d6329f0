import { checkpointText, type DenialCode, formatProof, formatSignature, formatVerifierKey, fromBase64, fromBase64Url, noteKey, parseProof, parseVerifierKey, toBase64, toBase64Url, utf8, verifyCheckpoint } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crypto, keyPair, LOG, LOG_KEY, sealedPermit, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const log = new TestLog()
for (let i = 0; i < 5; i++) log.add({ kind: 'deny', code: 'policy_denied' })
const NOTE = log.note()
const check = (note: string): DenialCode | 'ok' => outcome(() => verifyCheckpoint(note, LOG_KEY, crypto))
/** A note over any text, signed by the log key. */
const signed = (text: string): string => `${text}\n${formatSignature(LOG_KEY, LOG.sign(utf8(text)))}`

describe('a checkpoint', () => {
  it('has the four lines of c2sp.org/tlog-checkpoint and one signature line of c2sp.org/signed-note', () => {
    const [origin, size, root, blank, signature, end] = NOTE.split('\n')
    expect([origin, size, blank, end]).toEqual(['plane.test/default', '5', '', ''])
    expect(fromBase64(root as string)).toHaveLength(32)
    expect(signature).toMatch(/^\u2014 plane\.test\/default [A-Za-z0-9+/]{91}=$/)
    expect(verifyCheckpoint(NOTE, LOG_KEY, crypto)).toEqual({ ...log.head(), root: new Uint8Array(log.head().root) })
  })

  it('is refused with any one character changed', () => {
    for (let i = 0; i < NOTE.length; i++) {
      const other = NOTE[i] === 'A' ? 'B' : 'A'
      expect(check(NOTE.slice(0, i) + other + NOTE.slice(i + 1)), `at ${i}`).not.toBe('ok')
    }
  })

  const text = checkpointText(log.head())
  const mark = formatSignature(LOG_KEY, LOG.sign(utf8(text)))
  const stranger = noteKey('other.test/x', keyPair('stranger').publicKey, sha256)
  const strange = formatSignature(stranger, keyPair('stranger').sign(utf8(text)))
  it.each<[string, string, DenialCode | 'ok']>([
    ['signature stripped', `${text}\n`, 'signature_invalid'],
    ['a signature by a stranger only', `${text}\n${strange}`, 'key_unknown'],
    ['a signature by a stranger before ours', `${text}\n${strange}${mark}`, 'ok'],
    ['ours twice', `${text}\n${mark}${mark}`, 'artifact_malformed'],
    ['65 signatures', `${text}\n${strange.repeat(64)}${mark}`, 'artifact_malformed'],
    ['CRLF', NOTE.replaceAll('\n', '\r\n'), 'artifact_malformed'],
    ['no final newline', NOTE.slice(0, -1), 'artifact_malformed'],
    ['text after it', `${NOTE}x\n`, 'artifact_malformed'],
    ['a hyphen for the dash', NOTE.replace('\u2014', '-'), 'artifact_malformed'],
    ['a tab', NOTE.replace('\n5\n', '\n5\t\n'), 'artifact_malformed'],
    ['an extension line, signed', signed(`${text}extension\n`), 'artifact_malformed'],
    ['another origin, signed', signed(text.replace('plane.test', 'other.test')), 'key_unknown'],
    ['size 05, signed', signed(text.replace('\n5\n', '\n05\n')), 'artifact_malformed'],
    ['size -5, signed', signed(text.replace('\n5\n', '\n-5\n')), 'artifact_malformed'],
    ['size 2^53, signed', signed(text.replace('\n5\n', '\n9007199254740992\n')), 'artifact_malformed'],
    ['a root of 31 bytes, signed', signed(`plane.test/default\n5\n${toBase64(new Uint8Array(31))}\n`), 'artifact_malformed'],
    ['lax base64, signed', signed(text.replace(/=\n$/, '\n')), 'encoding_invalid'],
    ['empty', '', 'artifact_malformed'],
  ])('ATK-012, ATK-013: with %s', (_name, note, code) => expect(check(note)).toBe(code))

  it('ATK-007: a key name is matched exactly, whatever it looks like', () => {
    for (const name of ['../../etc/passwd', "'OR/**/1=1--", 'http://evil.test/k', '__proto__', 'constructor', 'PLANE.TEST/default', 'plane.test/defaul', 'x'.repeat(256)]) {
      const key = noteKey(name, LOG.publicKey, sha256)
      const other = checkpointText({ ...log.head(), origin: name })
      expect(check(`${other}\n${formatSignature(key, LOG.sign(utf8(other)))}`), name).toBe('key_unknown')
      expect(check(`${text}\n${formatSignature(key, LOG.sign(utf8(text)))}`), name).toBe('key_unknown')
    }
    expect(() => noteKey('x'.repeat(257), LOG.publicKey, sha256)).toThrow(TypeError)
    expect(() => noteKey('a b', LOG.publicKey, sha256)).toThrow(TypeError)
  })
})

describe('a verifier key line', () => {
  const line = formatVerifierKey(LOG_KEY)
  it('reads back what was written', () => expect(parseVerifierKey(line, sha256)).toEqual(LOG_KEY))
  it('is refused with any one character changed, except where that is another key with its own id', () => {
    for (let i = 0; i < line.length; i++) {
      const other = line[i] === 'A' ? 'B' : 'A'
      expect(outcome(() => parseVerifierKey(line.slice(0, i) + other + line.slice(i + 1), sha256)), `at ${i}`).toBe('key_unknown')
    }
  })
  it.each(['', 'x', 'a+b', 'a+b+c', '+00000000+AA==', `${LOG_KEY.name}+${LOG_KEY.id}+${toBase64(Uint8Array.of(2, ...LOG.publicKey))}`])('refuses %j with key_unknown', (bad) => {
    expect(outcome(() => parseVerifierKey(bad, sha256))).toBe('key_unknown')
  })
})

describe('a log proof', () => {
  const { sealed } = sealedPermit()
  it('is the text of c2sp.org/tlog-proof, and reads back', () => {
    expect(sealed.proof).toMatch(/^c2sp\.org\/tlog-proof@v1\nextra [A-Za-z0-9+/=]{24}\nindex 2\n([A-Za-z0-9+/]{43}=\n)+\nplane\.test\/default\n5\n/)
    expect(formatProof(parseProof(sealed.proof))).toBe(sealed.proof)
  })
  it.each<[string, (proof: string) => string]>([
    ['another header', (p) => p.replace('@v1', '@v2')],
    ['a second extra line', (p) => p.replace('\nindex', '\nextra AAECAwQFBgcICQoLDA0ODw==\nindex')],
    ['extra after index', (p) => p.replace(/(extra .*\n)(index .*\n)/, '$2$1')],
    ['no index', (p) => p.replace(/index .*\n/, '')],
    ['index +2', (p) => p.replace('index 2', 'index +2')],
    ['index 2.0', (p) => p.replace('index 2', 'index 2.0')],
    ['index 2^53', (p) => p.replace('index 2', 'index 9007199254740992')],
    ['a hash of 31 bytes', (p) => p.replace(/\n[A-Za-z0-9+/]{43}=\n/, `\n${toBase64(new Uint8Array(31))}\n`)],
    ['64 hashes', (p) => p.replace('index 2\n', `index 2\n${`${toBase64(new Uint8Array(32))}\n`.repeat(64)}`)],
    ['no checkpoint', (p) => p.slice(0, p.indexOf('\n\n'))],
    ['CRLF', (p) => p.replaceAll('\n', '\r\n')],
    ['17 KB', (p) => p + 'x'.repeat(17_000)],
  ])('ATK-013, ATK-077: refuses %s', (_name, change) => {
    const changed = change(sealed.proof)
    expect(changed).not.toBe(sealed.proof)
    expect(['artifact_malformed', 'encoding_invalid']).toContain(outcome(() => parseProof(changed)))
  })
})

describe('base64', () => {
  it('has one spelling for every sequence of bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      expect(toBase64(bytes)).toBe(Buffer.from(bytes).toString('base64'))
      expect(toBase64Url(bytes)).toBe(Buffer.from(bytes).toString('base64url'))
      expect(fromBase64(toBase64(bytes))).toEqual(bytes)
      expect(fromBase64Url(toBase64Url(bytes))).toEqual(bytes)
    }), { seed: 20261123, numRuns: 500 })
  })
  it('ATK-012: accepts no text that does not re-encode to itself', () => {
    const accepted = (decode: (text: string) => Uint8Array, encode: (bytes: Uint8Array) => string, text: string): void => {
      if (outcome(() => decode(text)) === 'ok') expect(encode(decode(text))).toBe(text)
    }
    const alphabet = ['A', 'B', 'f', '/', '+', '-', '_', '=', ' ', '\n', 'é', '\0']
    fc.assert(fc.property(fc.array(fc.constantFrom(...alphabet), { maxLength: 9 }), (characters) => {
      accepted(fromBase64, toBase64, characters.join(''))
      accepted(fromBase64Url, toBase64Url, characters.join(''))
    }), { seed: 20261123, numRuns: 20_000 })
  })
})
