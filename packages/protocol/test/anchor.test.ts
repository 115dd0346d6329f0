import * as nodeCrypto from 'node:crypto'
import { type Anchor, AnchorRefused, anchoredBytes, formatSignature, type JsonValue, noteKey, NONCE_BYTES, parseAnchor, readCertificates, readTimestampReply, TIME_KINDS, timestampRequest, toBase64, tsaCryptoFrom, type TsaTrust, utf8, verifyAnchor } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Extensions, noOpenssl, OpensslTsa } from '../../../test/support/tsa.ts'
import { crypto, keyPair, LOG, LOG_KEY, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const log = new TestLog()
for (let i = 0; i < 5; i++) log.add({ kind: 'key', purpose: 'log', event: 'created', key: `x${i}` })
const NOTE = log.note(5)
const OTHER_NOTE = log.note(4)
const tsaCrypto = tsaCryptoFrom(nodeCrypto)
const trust = (...certificates: Uint8Array[]): TsaTrust => ({ certificates, crypto: tsaCrypto })
const NONCE = Uint8Array.from({ length: NONCE_BYTES }, (_, i) => 0xf0 - i)
const DIGEST = sha256(anchoredBytes(NOTE, LOG_KEY, crypto))

/** The reason that `run` is refused with, or `ok`. */
function reason(run: () => unknown): string {
  try {
    run()
    return 'ok'
  } catch (error) {
    if (error instanceof AnchorRefused) return error.reason
    throw error
  }
}

describe('an anchor', () => {
  const file: Anchor = { type: 'file', checkpoint: NOTE, where: '/mnt/worm/anchors.jsonl', time: 1_795_422_349_252 }
  const http: Anchor = { type: 'http', checkpoint: NOTE, where: 'https://archive.example/anchors', time: 1_795_422_349_252, answer: 'stored' }
  const rfc3161: Anchor = { type: 'rfc3161', checkpoint: NOTE, token: 'MAA=' }

  it('is read back as it was written', () => {
    for (const anchor of [file, http, rfc3161]) expect(parseAnchor({ ...anchor })).toEqual(anchor)
    const { answer: _, ...silent } = http
    expect(parseAnchor(silent)).toEqual(silent)
  })
  it.each<[string, JsonValue, string]>([
    ['no object', [], 'artifact_malformed'],
    ['of another type', { ...file, type: 'blockchain' }, 'artifact_malformed'],
    ['with an unknown member', { ...file, proof: 'yes' }, 'artifact_malformed'],
    ['a file with a token', { ...file, token: 'MAA=' }, 'artifact_malformed'],
    ['a file with an answer', { ...file, answer: 'x' }, 'artifact_malformed'],
    ['a token with a time of the plane', { ...rfc3161, time: 1 }, 'artifact_malformed'],
    ['without a checkpoint', { type: 'rfc3161', token: 'MAA=' }, 'artifact_malformed'],
    ['with a time of five-digit years', { ...file, time: 253_402_300_800_000 }, 'artifact_malformed'],
    ['with a fraction of a millisecond', { ...file, time: 1.5 }, 'artifact_malformed'],
    ['with a place that is empty', { ...file, where: '' }, 'artifact_malformed'],
    ['with a place that is too long', { ...file, where: 'x'.repeat(1_025) }, 'artifact_malformed'],
    ['with an answer that is too long', { ...http, answer: 'x'.repeat(1_025) }, 'artifact_malformed'],
    ['with a checkpoint that is too long', { ...file, checkpoint: 'x'.repeat(16_385) }, 'artifact_malformed'],
    ['with a token that is too long', { ...rfc3161, token: 'A'.repeat(43_696) }, 'artifact_malformed'],
    ['with base64 that has two forms', { ...rfc3161, token: 'MAB=' }, 'encoding_invalid'],
  ])('%s is refused', (_name, value, code) => {
    expect(outcome(() => parseAnchor(value))).toBe(code)
  })

  it('is about text and own signature alone, so that cosignatures that come later leave it whole', () => {
    const witness = keyPair('witness')
    const key = noteKey('witness.test', witness.publicKey, sha256)
    const cosigned = `${NOTE}${formatSignature(key, witness.sign(utf8('anything')))}`
    expect(anchoredBytes(cosigned, LOG_KEY, crypto)).toEqual(utf8(NOTE))
    expect(anchoredBytes(NOTE, LOG_KEY, crypto)).toEqual(utf8(NOTE))
  })

  it('in a file or behind a URL is a copy by the plane’s own word, and never called external proof', () => {
    for (const anchor of [file, http]) {
      const verdict = verifyAnchor(anchor, LOG_KEY, trust(), crypto)
      expect(verdict).toMatchObject({ kind: 'copy', time: 1_795_422_349_252, timeKind: 'plane', checkpoint: { size: 5 } })
      expect(verdict.sentence).toContain('by the plane’s own word: not external proof')
      expect(verdict.sentence.replace('not external proof', '')).not.toMatch(/external|proof|establish/)
    }
    expect(verifyAnchor(file, LOG_KEY, undefined, crypto).sentence).toBe('a copy of the checkpoint of 5 entries was written to `/mnt/worm/anchors.jsonl` at 2026-11-23T08:25:49.252Z, by the plane’s own word: not external proof')
  })
  it('shows hostile places as text', () => {
    expect(verifyAnchor({ ...file, where: '\u001b[2J\u202e' }, LOG_KEY, undefined, crypto).sentence).toContain('`\\u{1b}[2J\\u{202e}`')
  })
  it('tells the three kinds of time apart', () => {
    expect(new Set(Object.values(TIME_KINDS)).size).toBe(3)
  })
  it.each<[string, string, string]>([
    ['a checkpoint of another key', new TestLog(LOG_KEY, keyPair('thief').sign).note(0), 'signature_invalid'],
    ['a checkpoint of another log', new TestLog(noteKey('other.test/x', LOG.publicKey, sha256), LOG.sign).note(0), 'key_unknown'],
    ['a changed size', NOTE.replace('\n5\n', '\n6\n'), 'signature_invalid'],
    ['no note at all', 'hello', 'artifact_malformed'],
  ])('over %s is refused, whatever its type', (_name, checkpoint, code) => {
    for (const anchor of [file, http, rfc3161]) expect(outcome(() => verifyAnchor({ ...anchor, checkpoint }, LOG_KEY, trust(), crypto))).toBe(code)
  })
})

describe.skipIf(noOpenssl !== undefined)('an RFC 3161 token of a real authority', () => {
  let tsa: OpensslTsa
  const request = timestampRequest(DIGEST, NONCE)
  const root: Record<string, Uint8Array> = {}
  const tokens: Record<string, Uint8Array> = {}
  let info: Uint8Array
  const anchor = (token: Uint8Array, checkpoint = NOTE): Anchor => ({ type: 'rfc3161', checkpoint, token: toBase64(token) })
  const verdict = (token: Uint8Array, given: TsaTrust | undefined, checkpoint = NOTE) => verifyAnchor(anchor(token, checkpoint), LOG_KEY, given, crypto)
  /** A token over `content`, signed by a certificate that was issued with `extensions`. */
  const forged = (extensions: Extensions, content = info): Uint8Array => {
    tsa.issue(extensions, 'root', extensions)
    return tsa.sign(content, extensions)
  }
  const changed = (from: RegExp, to: string): Uint8Array => {
    const text = Buffer.from(info).toString('latin1')
    expect(text).toMatch(from)
    return new Uint8Array(Buffer.from(text.replace(from, to), 'latin1'))
  }

  beforeAll(() => {
    tsa = new OpensslTsa()
    root['root'] = tsa.root('root')
    root['other'] = tsa.root('other')
    for (const key of ['rsa', 'ec'] as const) {
      root[key] = tsa.issue(key, 'root', 'tsa', key)
      tokens[key] = readTimestampReply(tsa.reply(request, key), DIGEST, NONCE)
    }
    // The content of a real token, for tokens that no authority would sign.
    tsa.run(['cms', '-verify', '-noverify', '-binary', '-inform', 'DER', '-in', tsa.write(tokens['ec'] as Uint8Array), '-out', 'info.der'])
    info = tsa.read('info.der')
  })
  afterAll(() => tsa.remove())

  it('openssl reads our request as it was meant', () => {
    const text = tsa.run(['ts', '-query', '-in', tsa.write(request), '-text']).toString()
    expect(text).toMatch(/Version: 1\nHash Algorithm: sha256/)
    expect(text).toMatch(/Nonce: 0xF0EFEEEDECEBEAE9E8E7E6E5E4E3E2E1\nCertificate required: yes/)
    expect(text).toContain([...DIGEST.subarray(0, 8)].map((b) => b.toString(16).padStart(2, '0')).join(' '))
    for (const nonce of [new Uint8Array(16), Uint8Array.of(0, 0, 1, ...new Uint8Array(13)), Uint8Array.of(0, 0x80, ...new Uint8Array(14))]) expect(tsa.run(['ts', '-query', '-in', tsa.write(timestampRequest(DIGEST, nonce)), '-text']).toString()).toContain('Nonce:')
  })

  it.each(['rsa', 'ec'])('with a key of kind %s establishes that the checkpoint existed then, by the word of that authority, and openssl agrees', (key) => {
    const before = Date.now()
    const token = tokens[key] as Uint8Array
    for (const given of [root['root'], root[key]] as Uint8Array[]) {
      const shown = verdict(token, trust(given))
      expect(shown).toMatchObject({ kind: 'external time', timeKind: 'tsa', tsa: key, accuracyMs: 1_501, checkpoint: { size: 5 } })
      expect(Math.abs((shown.time as number) - before)).toBeLessThan(120_000)
      expect(shown.sentence).toBe(`the checkpoint of 5 entries existed at ${new Date(shown.time as number).toISOString()} (± 1501 ms), by the word of TSA \`${key}\``)
    }
    expect(tsa.accepts(request, token, 'root')).toBe(true)
    expect(tsa.accepts(request, token, 'other')).toBe(false)
  })
  it('whose certificate is bound by SHA-1 alone, as older authorities do, is taken too', () => {
    expect(verdict(readTimestampReply(tsa.reply(request, 'rsa', [], 'sha1'), DIGEST, NONCE), trust(root['root'] as Uint8Array)).kind).toBe('external time')
  })
  it('without a certificate to trust is not established, though it says a time', () => {
    for (const given of [undefined, trust()]) {
      const shown = verdict(tokens['ec'] as Uint8Array, given)
      expect(shown).toMatchObject({ kind: 'local', checkpoint: { size: 5 } })
      expect(shown).not.toHaveProperty('time')
      expect(shown.sentence).toMatch(/^not established when the checkpoint of 5 entries existed: the token says 20\d\d-.*Z, but no TSA certificate was given$/)
    }
  })
  it('of an authority that the verifier does not trust is not established', () => {
    expect(verdict(tokens['ec'] as Uint8Array, trust(root['other'] as Uint8Array))).toMatchObject({ kind: 'local', sentence: expect.stringContaining('its signer `ec` does not lead to a TSA certificate that was given') })
    expect(verdict(tsa.sign(info, 'ec', ['-nocerts']), trust(root['root'] as Uint8Array))).toMatchObject({ kind: 'local', sentence: expect.stringContaining('neither in it nor among those given') })
    expect(verdict(tsa.sign(info, 'ec', ['-nocerts']), trust(root['ec'] as Uint8Array)).kind).toBe('external time')
  })
  it('whose signer is named by key id is taken', () => {
    expect(verdict(tsa.sign(info, 'ec', ['-keyid']), trust(root['root'] as Uint8Array)).kind).toBe('external time')
  })
  it('leads through certificates in it to the given one, and no further than it may', () => {
    tsa.issue('mid', 'root', 'authority')
    tsa.issue('deep', 'mid', 'tsa')
    const chained = readTimestampReply(tsa.reply(request, 'deep', ['mid']), DIGEST, NONCE)
    expect(verdict(chained, trust(root['root'] as Uint8Array))).toMatchObject({ kind: 'external time', tsa: 'deep' })
    expect(tsa.accepts(request, chained, 'root')).toBe(true)
    const loose = readTimestampReply(tsa.reply(request, 'deep'), DIGEST, NONCE)
    expect(verdict(loose, trust(root['root'] as Uint8Array)).kind).toBe('local') // the link between is missing
    expect(verdict(loose, trust(root['root'] as Uint8Array, tsa.certificate('mid'))).kind).toBe('external time')
    tsa.issue('false', 'root', 'not_authority')
    tsa.issue('under', 'false', 'tsa')
    expect(reason(() => verdict(readTimestampReply(tsa.reply(request, 'under', ['false']), DIGEST, NONCE), trust(root['root'] as Uint8Array)))).toBe('certificate_not_for_timestamps')
    tsa.issue('short', 'root', 'pathlen')
    tsa.issue('lower', 'short', 'authority')
    tsa.issue('low', 'lower', 'tsa')
    expect(reason(() => verdict(readTimestampReply(tsa.reply(request, 'low', ['lower', 'short']), DIGEST, NONCE), trust(root['root'] as Uint8Array)))).toBe('certificate_not_for_timestamps')
    tsa.issue('old', 'root', 'authority', 'ec', 'sha1')
    tsa.issue('weak', 'old', 'tsa')
    expect(verdict(readTimestampReply(tsa.reply(request, 'weak', ['old']), DIGEST, NONCE), trust(root['root'] as Uint8Array)).kind).toBe('local') // SHA-1 proves no link
  })

  it.each<[Extensions, string]>([
    ['not_critical', 'certificate_usage_not_critical'],
    ['two_purposes', 'certificate_not_for_timestamps'],
    ['server', 'certificate_not_for_timestamps'],
    ['none', 'certificate_not_for_timestamps'],
    ['encipher', 'certificate_not_for_timestamps'],
    ['unknown_critical', 'certificate_extension_unknown'],
  ])('signed under a certificate of kind %s is refused with its own reason', (extensions, expected) => {
    const token = forged(extensions)
    expect(reason(() => verdict(token, trust(root['root'] as Uint8Array)))).toBe(expected)
    expect(verdict(token, trust(root['other'] as Uint8Array)).kind).toBe('local')
  })
  it('of a time at which its certificate was not valid is refused', () => {
    for (const year of ['1999', '2049']) expect(reason(() => verdict(tsa.sign(changed(/20\d\d(?=\d{10}(\.\d+)?Z)/, year), 'ec'), trust(root['root'] as Uint8Array)))).toBe('certificate_not_valid_then')
  })
  it.each<[string, RegExp, string]>([
    ['a month 13', /(?<=20\d\d)\d\d(?=\d{8}(\.\d+)?Z)/, '13'],
    ['a 30th of February', /(?<=20\d\d)\d{4}(?=\d{6}(\.\d+)?Z)/, '0230'],
    ['an hour 24', /(?<=20\d{6})\d\d(?=\d{4}(\.\d+)?Z)/, '24'],
    ['a second 60', /(?<=20\d{10})\d\d(?=(\.\d+)?Z)/, '60'],
  ])('that states %s is refused, though it is signed', (_name, from, to) => {
    expect(reason(() => verdict(tsa.sign(changed(from, to), 'ec'), trust(root['root'] as Uint8Array)))).toBe('token_malformed')
  })
  it('whose time was changed is refused as changed content; with a digest to fit, as a bad signature', () => {
    const token = Buffer.from(tokens['ec'] as Uint8Array)
    const at = token.indexOf(Buffer.from(info))
    const year = token.indexOf('20', at + Buffer.from(info).toString('latin1').search(/20\d{12}(\.\d+)?Z/))
    const [early, fitting] = [Buffer.from(token), Buffer.from(token)]
    early.write('19', year, 'latin1')
    expect(reason(() => verdict(new Uint8Array(early), trust(root['root'] as Uint8Array)))).toBe('content_changed')
    fitting.write('2031', year, 'latin1')
    const old = Buffer.from(sha256(info))
    const fresh = Buffer.from(sha256(new Uint8Array(fitting.subarray(at, at + info.length))))
    expect(fitting.indexOf(old)).toBeGreaterThan(0)
    fresh.copy(fitting, fitting.indexOf(old))
    expect(reason(() => verdict(new Uint8Array(fitting), trust(root['root'] as Uint8Array)))).toBe('signature_invalid')
  })
  it('over another checkpoint is refused, with a certificate and without', () => {
    for (const given of [undefined, trust(), trust(root['root'] as Uint8Array)]) expect(reason(() => verdict(tokens['ec'] as Uint8Array, given, OTHER_NOTE))).toBe('other_checkpoint')
  })
  it('that answers another request, or a refusal, is not taken as the answer', () => {
    const reply = tsa.reply(request, 'ec')
    expect(reason(() => readTimestampReply(reply, DIGEST, NONCE))).toBe('ok')
    expect(reason(() => readTimestampReply(reply, DIGEST, NONCE.map((b) => b ^ 1)))).toBe('nonce_mismatch')
    expect(reason(() => readTimestampReply(reply, sha256(DIGEST), NONCE))).toBe('other_checkpoint')
    const sha384 = tsa.run(['ts', '-query', '-data', tsa.write(DIGEST), '-sha384', '-cert'])
    expect(reason(() => readTimestampReply(tsa.reply(sha384, 'ec'), DIGEST, NONCE))).toBe('request_refused') // this authority takes SHA-256 alone
    const bare = tsa.run(['ts', '-query', '-digest', Buffer.from(DIGEST).toString('hex'), '-sha256', '-cert', '-no_nonce'])
    expect(reason(() => readTimestampReply(tsa.reply(bare, 'ec'), DIGEST, NONCE))).toBe('nonce_mismatch')
  })
  it('signed under another certificate than it binds is refused', () => {
    // The same key under a second certificate: the signature itself would verify.
    tsa.run(['x509', '-req', '-in', 'ec.csr', '-CA', 'root.crt', '-CAkey', 'root.key', '-set_serial', `0x${tsa.run(['x509', '-in', 'ec.crt', '-noout', '-serial']).toString().trim().split('=')[1] as string}`, '-days', '99', '-extfile', 'ec.ext', '-out', 'twin.crt'])
    const without = tsa.sign(info, 'ec', ['-nocerts'])
    expect(reason(() => verdict(without, trust(tsa.certificate('twin'))))).toBe('signer_mismatch')
    expect(reason(() => verdict(tsa.sign(info, 'ec'), trust(tsa.certificate('twin'), root['root'] as Uint8Array)))).toBe('ok') // the bound one is in the token
  })
  it('with two signers, without attributes, or over something else is refused', () => {
    const two = tsa.sign(info, 'ec', ['-signer', 'rsa.crt', '-inkey', 'rsa.key'])
    expect(reason(() => verdict(two, trust(root['root'] as Uint8Array)))).toBe('token_malformed')
    expect(reason(() => verdict(tsa.sign(info, 'ec', ['-noattr'], { binds: false }), trust(root['root'] as Uint8Array)))).toBe('token_malformed')
    expect(reason(() => verdict(tsa.sign(info, 'ec', [], { type: '1.2.840.113549.1.7.1' }), trust(root['root'] as Uint8Array)))).toBe('token_malformed')
    expect(reason(() => verdict(tsa.sign(Uint8Array.of(0x30, 0), 'ec'), trust(root['root'] as Uint8Array)))).toBe('token_malformed')
    expect(reason(() => verdict(tsa.sign(info, 'ec', [], { digest: 'sha1' }), trust(root['root'] as Uint8Array)))).toBe('algorithm_refused')
    expect(reason(() => verdict(tsa.sign(info, 'ec', [], { binds: false }), trust(root['root'] as Uint8Array)))).toBe('token_malformed')
    expect(reason(() => verdict(tsa.sign(info, 'rsa', ['-keyopt', 'rsa_padding_mode:pss']), trust(root['root'] as Uint8Array)))).toBe('algorithm_refused')
  })

  it.each(['rsa', 'ec'])('with any one byte flipped (kind %s) never establishes another time, and nothing but a refusal is thrown', (key) => {
    const token = tokens[key] as Uint8Array
    const given = trust(root['root'] as Uint8Array)
    const { time } = verdict(token, given)
    const seen = new Map<string, number>()
    for (let i = 0; i < token.length; i++) {
      for (const mask of [0x01, 0x80, 0xff]) {
        const flipped = new Uint8Array(token)
        flipped[i] = (flipped[i] as number) ^ mask
        let what: string
        try {
          const shown = verdict(flipped, given)
          what = shown.kind
          if (shown.kind === 'external time') expect({ at: i, time: shown.time, tsa: shown.tsa }).toEqual({ at: i, time, tsa: key })
        } catch (error) {
          if (!(error instanceof AnchorRefused)) throw error
          what = error.reason
        }
        seen.set(what, (seen.get(what) ?? 0) + 1)
      }
    }
    // Most of a token is signed; what is left unsigned (lists of algorithms, the version of a set) changes nothing that is said.
    expect(seen.get('signature_invalid')).toBeGreaterThan(100)
    expect(seen.get('token_malformed')).toBeGreaterThan(100)
    expect(seen.get('other_checkpoint')).toBeGreaterThanOrEqual(3 * 32)
    expect(seen.get('external time') ?? 0).toBeLessThan(token.length * 0.1)
  })
  it('cut short anywhere, or followed by a byte, is refused', () => {
    const token = tokens['ec'] as Uint8Array
    for (let i = 0; i < token.length; i += 7) expect(reason(() => verdict(token.subarray(0, i), trust(root['root'] as Uint8Array)))).toBe('token_malformed')
    expect(reason(() => verdict(Uint8Array.of(...token, 0), trust(root['root'] as Uint8Array)))).toBe('token_malformed')
  })

  it('reads certificates in DER and PEM, with text around them, and refuses what is none', () => {
    const pem = tsa.read('root.crt')
    expect(readCertificates(pem)).toEqual([root['root']])
    expect(readCertificates(utf8(`the root:\n${Buffer.from(pem).toString()}\nand again\r\n${Buffer.from(pem).toString()}`))).toHaveLength(2)
    expect(readCertificates(root['root'] as Uint8Array)).toEqual([root['root']])
    for (const bad of [utf8(''), utf8('-----BEGIN CERTIFICATE-----\nMAA='), utf8(Buffer.from(pem).toString().repeat(17)), Uint8Array.of(0x30, 0), tsa.read('root.key')]) expect(reason(() => readCertificates(bad))).toBe('certificate_malformed')
  })
})
