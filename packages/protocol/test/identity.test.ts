import { generateKeyPairSync, sign } from 'node:crypto'
import { attachSignature, Denied, type DenialCode, Fields, isAgentName, type JsonObject, type JsonValue, MAX_CERTIFICATE, MAX_CHAIN, MAX_IDENTITY_TOKEN, openJws, parseIdentity, PROOF_SECONDS, signingInput, signingKey, utf8, verifyAgentProof, verifyGateProof } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { outcome } from './support/outcome.ts'
import { crypto } from './support/fixture.ts'

const pair = generateKeyPairSync('ed25519')
const key = signingKey(Buffer.from((pair.publicKey.export({ format: 'jwk' }) as { x: string }).x, 'base64url'), crypto.sha256)
const other = signingKey(new Uint8Array(32).fill(7), crypto.sha256)
const CHALLENGE = 'AAAAAAAAAAAAAAAAAAAAAA'
const ASKED = { aud: 'log.example/default', agent: 'coder', gate: 'g', challenge: CHALLENGE, action_digest: `sha256:${'0'.repeat(64)}` }
const signed = (typ: 'agent-proof+jwt' | 'gate-proof+jwt' | 'execution-receipt+jwt', claims: JsonObject): string => {
  const input = signingInput(typ, key.kid, claims)
  return attachSignature(input, sign(null, utf8(input), pair.privateKey))
}
const read = (value: JsonValue): string => outcome(() => parseIdentity(new Fields(value, 'request_malformed', 'identity')))

describe('an asserted identity', () => {
  it.each<[string, JsonObject]>([
    ['a key', { form: 'agent-key', proof: 'x' }],
    ['a token', { form: 'oidc', token: 'x'.repeat(MAX_IDENTITY_TOKEN) }],
    ['a JWT-SVID', { form: 'jwt-svid', token: 'x' }],
    ['an X509-SVID', { form: 'x509-svid', chain: Array(MAX_CHAIN).fill('A'.repeat(MAX_CERTIFICATE)), proof: 'x' }],
  ])('%s is read', (_what, value) => expect(read(value)).toBe('ok'))
  it.each<[string, JsonValue]>([
    ['nothing', null], ['a text', 'x'], ['no form', { token: 'x' }], ['another form', { form: 'basic', token: 'x' }], ['the member of another form', { form: 'oidc', proof: 'x' }],
    ['a further member', { form: 'oidc', token: 'x', sub: 'me' }], ['an empty token', { form: 'oidc', token: '' }], ['a number', { form: 'oidc', token: 1 }],
    ['a token that is too long', { form: 'oidc', token: 'x'.repeat(MAX_IDENTITY_TOKEN + 1) }], ['an empty chain', { form: 'x509-svid', chain: [], proof: 'x' }],
    ['a chain that is too long', { form: 'x509-svid', chain: Array(MAX_CHAIN + 1).fill('A'), proof: 'x' }], ['a certificate that is too long', { form: 'x509-svid', chain: ['A'.repeat(MAX_CERTIFICATE + 1)], proof: 'x' }],
    ['a chain without a proof', { form: 'x509-svid', chain: ['A'] }],
  ])('ATK-015: %s is request_malformed', (_what, value) => expect(read(value)).toBe('request_malformed'))
  it('an agent name has one alphabet and an end', () => {
    expect(['a', 'A.b_c-9', 'x'.repeat(64), '__proto__', '..'].every(isAgentName)).toBe(true)
    expect(['', 'x'.repeat(65), 'a b', 'a/b', 'ä', 'a\0', 'a\n', 'а'].some(isAgentName)).toBe(false)
  })
})

describe('a proof of possession', () => {
  const prove = (claims: JsonObject, now = 1_000, keys = [other, key]): DenialCode | 'ok' => outcome(() => verifyAgentProof(signed('agent-proof+jwt', claims), keys, ASKED, now, crypto)) as DenialCode | 'ok'
  it('is by whichever key of the agent it names', () => {
    expect(verifyAgentProof(signed('agent-proof+jwt', { ...ASKED, iat: 1_000 }), [other, key], ASKED, 1_000, crypto)).toBe(key)
    expect(prove({ ...ASKED, iat: 1_000 }, 1_000, [other])).toBe('key_unknown')
    expect(prove({ ...ASKED, iat: 1_000 }, 1_000, [])).toBe('key_unknown')
  })
  it('holds for 30 s before and after, to the second', () => {
    expect([-PROOF_SECONDS - 1, -PROOF_SECONDS, PROOF_SECONDS, PROOF_SECONDS + 1].map((off) => prove({ ...ASKED, iat: 1_000 + off }))).toEqual(['proof_of_possession_failed', 'ok', 'ok', 'proof_of_possession_failed'])
  })
  it.each(Object.keys(ASKED))('ATK-049: another %s, or none, fails', (name) => {
    const changed = { aud: 'other.example/default', agent: 'reviewer', gate: 'h', challenge: 'AQAAAAAAAAAAAAAAAAAAAA', action_digest: `sha256:${'1'.repeat(64)}` }[name] as string
    expect(prove({ ...ASKED, iat: 1_000, [name]: changed })).toBe('proof_of_possession_failed')
    const { [name as keyof typeof ASKED]: _gone, ...rest } = ASKED
    expect(prove({ ...rest, iat: 1_000 })).toBe('proof_of_possession_failed')
  })
  it('ATK-010: every signed type passes its own verifier and no other', () => {
    const gateClaims = { aud: ASKED.aud, nonce: CHALLENGE, session: CHALLENGE }
    const tokens = { 'agent-proof+jwt': signed('agent-proof+jwt', { ...ASKED, iat: 1_000 }), 'gate-proof+jwt': signed('gate-proof+jwt', gateClaims), 'execution-receipt+jwt': signed('execution-receipt+jwt', gateClaims) }
    const verifiers = {
      'agent-proof+jwt': (token: string) => void verifyAgentProof(token, [key], ASKED, 1_000, crypto),
      'gate-proof+jwt': (token: string) => void verifyGateProof(token, key, { aud: ASKED.aud, session: CHALLENGE }, crypto),
      'execution-receipt+jwt': (token: string) => void openJws(token, 'execution-receipt+jwt', key, crypto),
    }
    for (const [typ, token] of Object.entries(tokens)) for (const [wanted, verify] of Object.entries(verifiers)) expect(outcome(() => verify(token)), `${typ} as ${wanted}`).toBe(typ === wanted ? 'ok' : 'type_mismatch')
  })
  it('a gate’s is for one log, one session and one nonce', () => {
    const claims = { aud: ASKED.aud, nonce: CHALLENGE, session: CHALLENGE }
    expect(verifyGateProof(signed('gate-proof+jwt', claims), key, { aud: ASKED.aud, session: CHALLENGE }, crypto)).toBe(CHALLENGE)
    for (const change of [{ aud: 'x' }, { session: 'AQAAAAAAAAAAAAAAAAAAAA' }, { nonce: 'short' }, { more: 1 }]) expect(outcome(() => verifyGateProof(signed('gate-proof+jwt', { ...claims, ...change }), key, { aud: ASKED.aud, session: CHALLENGE }, crypto))).toBe('proof_of_possession_failed')
    expect(outcome(() => verifyGateProof(signed('gate-proof+jwt', claims), other, { aud: ASKED.aud, session: CHALLENGE }, crypto))).toBe('key_unknown')
    expect(new Denied('identity_invalid').check).toBe('identity')
  })
})
