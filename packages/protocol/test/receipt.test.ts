import * as nodeCrypto from 'node:crypto'
import { attachSignature, type DenialCode, type JsonObject, signingInput, signingKey, toBase64Url, utf8, verifyReceipt, verifyDenialReport } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { crypto, GATE, GATE_KEY, keyPair, receiptClaims, receiptToken, sha256 } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const verify = (token: string): DenialCode | 'ok' => outcome(() => verifyReceipt(token, GATE_KEY, crypto))
const b64 = (value: unknown): string => toBase64Url(utf8(typeof value === 'string' ? value : JSON.stringify(value)))
const HEADER = { alg: 'Ed25519', kid: GATE_KEY.kid, typ: 'execution-receipt+jwt' }
/** A token with any header, signed by the gate's own key over exactly these bytes. */
const withHeader = (header: unknown): string => {
  const input = `${b64(header)}.${receiptToken().split('.')[1] as string}`
  return attachSignature(input, GATE.sign(utf8(input)))
}

describe('a receipt', () => {
  it('verifies as the gate signed it', () => {
    expect(verifyReceipt(receiptToken(), GATE_KEY, crypto)).toMatchObject({ outcome: 'completed', sequence: 0 })
    expect(verify(withHeader(HEADER))).toBe('ok')
  })

  it.each<[string, unknown]>([
    ['none', { ...HEADER, alg: 'none' }], ['None', { ...HEADER, alg: 'None' }], ['EdDSA', { ...HEADER, alg: 'EdDSA' }], ['ed25519', { ...HEADER, alg: 'ed25519' }], ['an array', { ...HEADER, alg: ['Ed25519'] }], ['missing', { kid: HEADER.kid, typ: HEADER.typ }],
  ])('ATK-005: alg %s is artifact_malformed, whatever signs it', (_name, header) => expect(verify(withHeader(header))).toBe('artifact_malformed'))

  it('ATK-006: an HMAC keyed with our public key in any form is artifact_malformed', () => {
    const key = nodeCrypto.createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(GATE.publicKey) }, format: 'jwk' })
    const forms = [key.export({ type: 'spki', format: 'pem' }), key.export({ type: 'spki', format: 'der' }), Buffer.from(GATE.publicKey), Buffer.from(JSON.stringify(key.export({ format: 'jwk' })))]
    for (const form of forms) {
      for (const alg of ['HS256', 'ES256']) {
        const input = `${b64({ ...HEADER, alg })}.${receiptToken().split('.')[1] as string}`
        const mac = nodeCrypto.createHmac('sha256', form).update(input).digest()
        expect(verify(`${input}.${toBase64Url(mac)}`)).toBe('artifact_malformed')
        expect(verify(`${input}.${toBase64Url(Buffer.concat([mac, mac]))}`)).toBe('artifact_malformed')
      }
    }
  })

  it.each([{ jku: 'https://evil.test/jwks' }, { x5u: 'https://evil.test/c' }, { jwk: { kty: 'OKP', crv: 'Ed25519', x: toBase64Url(keyPair('evil').publicKey) } }, { x5c: ['AA=='] }])('ATK-008: %j in the header is artifact_malformed', (extra) => {
    expect(verify(withHeader({ ...HEADER, ...extra }))).toBe('artifact_malformed')
  })
  it.each([{ crit: ['exp'] }, { crit: [] }, { crit: 'x' }, { b64: false, crit: ['b64'] }, { zip: 'DEF' }, { cty: 'JWT' }])('ATK-009: %j in the header is artifact_malformed', (extra) => {
    expect(verify(withHeader({ ...HEADER, ...extra }))).toBe('artifact_malformed')
  })

  it('ATK-007: another key id is key_unknown, whatever it looks like', () => {
    for (const kid of ['', '../../key', "' OR 1=1", '__proto__', 'x'.repeat(500)]) expect(verify(withHeader(JSON.stringify({ ...HEADER, kid })))).toBe('key_unknown')
    const other = keyPair('other')
    const input = signingInput('execution-receipt+jwt', signingKey(other.publicKey, sha256).kid, receiptClaims())
    expect(verify(attachSignature(input, other.sign(utf8(input))))).toBe('key_unknown')
    const claimed = signingInput('execution-receipt+jwt', GATE_KEY.kid, receiptClaims())
    expect(verify(attachSignature(claimed, other.sign(utf8(claimed))))).toBe('signature_invalid')
  })

  it('ATK-010: a token of another type is type_mismatch, both ways', () => {
    expect(verify(receiptToken(receiptClaims(), 'execution-denial+jwt'))).toBe('type_mismatch')
    expect(outcome(() => verifyDenialReport(receiptToken(), GATE_KEY, crypto))).toBe('type_mismatch')
    expect(verify(withHeader({ ...HEADER, typ: 'JWT' }))).toBe('type_mismatch')
    expect(verify(withHeader({ ...HEADER, typ: 'receipt' }))).toBe('artifact_malformed')
  })

  it('ATK-011: duplicate members in header or payload are artifact_malformed', () => {
    expect(verify(withHeader(`{"alg":"Ed25519","alg":"Ed25519","kid":"${GATE_KEY.kid}","typ":"execution-receipt+jwt"}`))).toBe('artifact_malformed')
    const claims = JSON.stringify(receiptClaims())
    const input = `${b64(HEADER)}.${b64(`${claims.slice(0, -1)},"jti":"x"}`)}`
    expect(verify(attachSignature(input, GATE.sign(utf8(input))))).toBe('artifact_malformed')
  })

  it('ATK-012, ATK-013: other spellings, missing or further parts are refused', () => {
    const token = receiptToken()
    const [header, payload, signature] = token.split('.') as [string, string, string]
    expect(verify('')).toBe('artifact_missing')
    expect(verify(`${header}.${payload}`)).toBe('artifact_malformed')
    expect(verify(`${header}.${payload}.`)).toBe('signature_invalid')
    expect(verify(`${token}.x`)).toBe('artifact_malformed')
    expect(verify(JSON.stringify({ protected: header, payload, signature }))).toBe('artifact_malformed')
    for (const lax of [`${token}=`, `${token}\n`, ` ${token}`, token.replace('.', '. ')]) expect(['encoding_invalid', 'artifact_malformed']).toContain(verify(lax))
    // 64 bytes end in a character of which only two bits count: the other spellings denote the same bytes.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const last = alphabet.indexOf(signature.at(-1) as string)
    for (let other = 0; other < 64; other++) if (other !== last) expect(['encoding_invalid', 'signature_invalid']).toContain(verify(`${header}.${payload}.${signature.slice(0, -1)}${alphabet[other] as string}`))
  })

  it('ATK-015: each member missing and each unknown one is artifact_malformed', () => {
    const claims = receiptClaims() as Record<string, never>
    for (const member of Object.keys(claims)) {
      const { [member]: _, ...rest } = claims
      expect(verify(receiptToken(rest as JsonObject)), `without ${member}`).toBe('artifact_malformed')
    }
    expect(verify(receiptToken({ ...claims, extra: 1 } as unknown as JsonObject))).toBe('artifact_malformed')
    expect(verify(receiptToken(receiptClaims({ outcome: 'not_started' })))).toBe('artifact_malformed')
  })
})
