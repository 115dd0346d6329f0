import type { Crypto, Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { fromBase64Url, fromUtf8, toBase64Url, utf8 } from '../encoding.ts'
import { canonicalText } from '../json/canonicalize.ts'
import { asCode } from '../json/fields.ts'
import { parseFormed, parseStrictText } from '../json/parse.ts'
import { isObject, JSON_LIMITS, type JsonLimits, type JsonObject } from '../json/value.ts'

/** What a gate, an approver, an agent and a plane's export key may sign; each verifier accepts exactly one of them. */
export type SignedType = 'authorization-artifact+jwt' | 'execution-receipt+jwt' | 'execution-denial+jwt' | 'approval+jwt' | 'gate-proof+jwt' | 'agent-proof+jwt'
/** Types that can be told from a malformed token; `at+jwt` and `JWT` are the common strangers. */
const KNOWN_TYPES: readonly string[] = [
  'execution-receipt+jwt', 'execution-denial+jwt', 'approval+jwt', 'gate-proof+jwt', 'agent-proof+jwt', 'svid-proof+jwt', 'authorization-artifact+jwt', 'JWT', 'at+jwt',
]
const MAX_TOKEN = 8_192
const TOKEN_LIMITS: JsonLimits = Object.freeze({ ...JSON_LIMITS, maxBytes: MAX_TOKEN })

/** An Ed25519 public key that signs for one purpose. */
export interface SigningKey {
  /** RFC 7638 thumbprint. */
  readonly kid: string
  /** 32 bytes. */
  readonly publicKey: Uint8Array
}

/** @see RFC 7638, RFC 8037 section 2 */
export function signingKey(publicKey: Uint8Array, sha256: Sha256): SigningKey {
  const jwk = canonicalText({ crv: 'Ed25519', kty: 'OKP', x: toBase64Url(publicKey) })
  return { kid: toBase64Url(sha256(utf8(jwk))), publicKey }
}

function header(typ: SignedType, kid: string): string {
  return toBase64Url(utf8(canonicalText({ alg: 'Ed25519', kid, typ })))
}

/** What is signed; the token is this, a dot, and the base64url of the signature. @see RFC 7515 section 5.1 */
export function signingInput(typ: SignedType, kid: string, claims: JsonObject): string {
  return `${header(typ, kid)}.${toBase64Url(utf8(canonicalText(claims)))}`
}

export function attachSignature(input: string, signature: Uint8Array): string {
  return `${input}.${toBase64Url(signature)}`
}

/**
 * Opens a compact JWS: the header is compared whole with the one that is allowed, before any key is touched, so the
 * algorithm belongs to the key and never to the token (ATK-005, ATK-006, ATK-008, ATK-009).
 * @throws {Denied} `artifact_missing`, `artifact_malformed`, `encoding_invalid`, `type_mismatch`, `key_unknown`, `signature_invalid`
 */
export function openJws(token: string, typ: SignedType, key: SigningKey, crypto: Crypto): JsonObject {
  return openJwsOf(token, typ, [key], crypto).claims
}

/** As {@link openJws}, for whichever of `keys` the token names. @throws {Denied} as {@link openJws} */
export function openJwsOf(token: string, typ: SignedType, keys: readonly SigningKey[], crypto: Crypto): { readonly key: SigningKey; readonly claims: JsonObject } {
  if (token === '') throw new Denied('artifact_missing')
  if (token.length > MAX_TOKEN) throw new Denied('artifact_malformed', 'token too long')
  const parts = token.split('.', 4)
  const [head, payload, signature] = parts
  if (parts.length !== 3 || head === undefined || payload === undefined || signature === undefined) throw new Denied('artifact_malformed', 'not a compact JWS')
  const key = keys.find(({ kid }) => head === header(typ, kid)) ?? refuseHeader(head, typ)
  const bytes = fromBase64Url(payload)
  const mark = fromBase64Url(signature)
  if (mark.length !== 64 || !crypto.verifyEd25519(key.publicKey, utf8(`${head}.${payload}`), mark)) throw new Denied('signature_invalid')
  const claims = asCode('artifact_malformed', () => {
    const text = fromUtf8(bytes)
    const { value: claims, isCanonical } = parseFormed(text, TOKEN_LIMITS)
    if (!isObject(claims)) throw new Denied('artifact_malformed', 'claims are not an object')
    if (!isCanonical) throw new Denied('artifact_malformed', 'claims are not canonical')
    return claims
  })
  return { key, claims }
}

/** The claims inside a token, unverified: for showing and counting, never for deciding. Empty where there are none to be read. */
export function peekClaims(token: string): JsonObject {
  try {
    const claims = parseStrictText(fromUtf8(fromBase64Url(token.split('.', 4)[1] ?? '')), TOKEN_LIMITS)
    return isObject(claims) ? claims : {}
  } catch {
    return {}
  }
}

/** The key thumbprint that the header of a token names, as {@link peekClaims}; empty where there is none. */
export function peekKid(token: string): string {
  try {
    const head = parseStrictText(fromUtf8(fromBase64Url(token.split('.', 4)[0] ?? '')), { ...JSON_LIMITS, maxBytes: MAX_TOKEN })
    const kid = isObject(head) ? head['kid'] : undefined
    return typeof kid === 'string' ? kid : ''
  } catch {
    return ''
  }
}

/** Says why a header is refused; never used to accept one. */
function refuseHeader(head: string, typ: SignedType): never {
  const parsed = asCode('artifact_malformed', () => parseStrictText(fromUtf8(fromBase64Url(head)), TOKEN_LIMITS))
  if (!isObject(parsed)) throw new Denied('artifact_malformed', 'header')
  const found = parsed['typ']
  if (typeof found === 'string' && found !== typ && KNOWN_TYPES.includes(found)) throw new Denied('type_mismatch', 'a token of another type')
  const kid = parsed['kid']
  if (typeof kid === 'string' && head === header(typ, kid)) throw new Denied('key_unknown', 'signed by another key')
  throw new Denied('artifact_malformed', 'header is not the one allowed')
}
