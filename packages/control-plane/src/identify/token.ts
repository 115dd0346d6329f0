import { type KeyObject, verify } from 'node:crypto'
import { Denied, fromBase64Url, fromUtf8, isObject, JSON_LIMITS, type JsonObject, MAX_IDENTITY_TOKEN, MAX_SKEW_SECONDS, parseStrictText, utf8 } from '@sealwrit/protocol'
import { type Algorithm, MAX_KID, pinned, type VerificationKey } from './jwk.ts'

/** A token as it is written: nothing of it is believed yet. */
export interface OpenedToken {
  readonly kid: string
  readonly alg: Algorithm
  readonly typ: string | undefined
  readonly claims: JsonObject
  readonly signed: Uint8Array
  readonly signature: Uint8Array
}

/** What a header may hold. `x5t` is a digest that some providers write, and is not looked at; whatever makes a verifier fetch, trust or skip something is not here (ATK-008, ATK-009). */
const HEADER_MEMBERS: ReadonlySet<string> = new Set(['alg', 'kid', 'typ', 'x5t', 'x5t#S256'])

/**
 * Reads a compact JWS byte for byte: three parts, each in the one base64url spelling of its bytes, header and claims strict JSON
 * without a member twice, the header closed.
 * @throws {Denied} `identity_invalid`. @see RFC 7515 section 7.1, RFC 8725
 */
export function openToken(token: string): OpenedToken {
  if (token.length > MAX_IDENTITY_TOKEN) refuse('too long')
  const [head, payload, signature, ...more] = token.split('.', 4)
  if (head === undefined || payload === undefined || signature === undefined || more.length > 0) return refuse('not a compact JWS')
  const header = readPart(head, 'header')
  for (const name of Object.keys(header)) if (!HEADER_MEMBERS.has(name)) refuse('a header member that is not taken')
  const { alg, kid, typ } = header
  if (typeof alg !== 'string' || typeof kid !== 'string' || kid === '' || kid.length > MAX_KID) return refuse('no algorithm or key id')
  if (typ !== undefined && typeof typ !== 'string') return refuse('type')
  return { kid, alg: alg as Algorithm, typ, claims: readPart(payload, 'claims'), signed: utf8(`${head}.${payload}`), signature: bytesOf(signature, 'signature') }
}

function bytesOf(part: string, what: string): Uint8Array {
  try {
    return fromBase64Url(part)
  } catch {
    return refuse(`${what} is not in the one base64url spelling`)
  }
}

function readPart(part: string, what: string): JsonObject {
  const bytes = bytesOf(part, what)
  try {
    const value = parseStrictText(fromUtf8(bytes), { ...JSON_LIMITS, maxBytes: MAX_IDENTITY_TOKEN })
    if (isObject(value)) return value
  } catch {
    // said below: what a stranger wrote is not repeated
  }
  return refuse(`${what} is not a strict JSON object`)
}

/**
 * Verifies under a key whose algorithm must be the one that the token names and one that is pinned for its issuer.
 * @throws {Denied} `identity_invalid` (ATK-005, ATK-006)
 */
export function verifyToken(token: OpenedToken, key: VerificationKey, algorithms: readonly Algorithm[]): void {
  if (!algorithms.includes(token.alg) || pinned(token.alg) !== key.algorithm) refuse('an algorithm that is not pinned for this key')
  if (!isSigned(key.algorithm, token.signed, key.key, token.signature)) refuse('the signature does not verify')
}

/** Whether `signature` is one over `message`; false, never a throw, for whatever is not well formed. */
export function isSigned(algorithm: VerificationKey['algorithm'], message: Uint8Array, key: KeyObject, signature: Uint8Array): boolean {
  try {
    switch (algorithm) {
      case 'EdDSA':
        return signature.length === 64 && verify(null, message, key, signature)
      case 'ES256':
        return signature.length === 64 && verify('sha256', message, { key, dsaEncoding: 'ieee-p1363' }, signature)
      case 'RS256':
        return verify('sha256', message, key, signature)
    }
  } catch {
    return false
  }
}

/**
 * `exp` is demanded, `nbf` and `iat` hold where they are there; whole seconds, within the stated skew. The audience is exactly
 * one, ours: a token for several can be replayed by each of them.
 * @returns when the token ends, milliseconds
 * @throws {Denied} `identity_invalid`
 */
export function verifyClaims(claims: JsonObject, audience: string, nowMs: number): number {
  const seconds = (name: string): number | undefined => {
    const value = claims[name]
    if (value === undefined) return undefined
    return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : refuse(`${name} is not in whole seconds`)
  }
  const [exp, nbf, iat] = [seconds('exp'), seconds('nbf'), seconds('iat')]
  if (exp === undefined) return refuse('no end')
  const untilMs = (exp + MAX_SKEW_SECONDS) * 1_000
  if (nowMs >= untilMs) refuse('expired')
  for (const begin of [nbf, iat]) if (begin !== undefined && begin * 1_000 > nowMs + MAX_SKEW_SECONDS * 1_000) refuse('not yet valid')
  if (!isFor(claims, audience)) refuse('for another audience')
  return untilMs
}

/** Whether a token is for exactly this audience, and for no other beside it. */
export function isFor({ aud }: JsonObject, audience: string): boolean {
  const [only, ...others] = Array.isArray(aud) ? aud : [aud]
  return only === audience && others.length === 0
}

function refuse(what: string): never {
  throw new Denied('identity_invalid', `token: ${what}`)
}
