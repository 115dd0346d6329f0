import { createPublicKey, type KeyObject } from 'node:crypto'
import { Denied, isObject, type JsonObject, type JsonValue, parseStrict } from '@sealwrit/protocol'

/** Signature algorithms of foreign tokens; which of them count is pinned for each issuer. `Ed25519` and `EdDSA` name the same one. */
export const ALGORITHMS = ['EdDSA', 'Ed25519', 'ES256', 'RS256'] as const
export type Algorithm = (typeof ALGORITHMS)[number]

/** Largest key set, in bytes. */
export const MAX_KEY_SET_BYTES = 262_144
/** Keys in one set. */
export const MAX_KEYS = 64
/** Longest key id, in UTF-16 units. */
export const MAX_KID = 256
const MIN_RSA_BITS = 2_048

/** A public key whose algorithm is its own: no token can choose another (ATK-006). */
export interface VerificationKey {
  readonly kid: string
  readonly algorithm: 'EdDSA' | 'ES256' | 'RS256'
  readonly key: KeyObject
}

/** Which members of a key set count: those of an OpenID provider, or of a SPIFFE bundle. */
export type KeyUse = 'sig' | 'jwt-svid'

/** Members that hold a private key, or a secret one: a set that shows one is not public, so none of its keys is trusted. */
const SECRET_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k']

/**
 * Reads a key set. Any doubt refuses all of it: a key id twice, a type that none of `algorithms` uses, a key that says one thing
 * and is another, a secret (ATK-007).
 * @returns the keys by exact id
 * @throws {Denied} `identity_invalid` with the reason
 * @see RFC 7517 section 5, SPIFFE Trust Domain and Bundle section 4
 */
export function readKeySet(bytes: Uint8Array, algorithms: readonly Algorithm[], use: KeyUse): ReadonlyMap<string, VerificationKey> {
  const keys = new Map<string, VerificationKey>()
  for (const jwk of readJwks(bytes)) {
    // A provider's set may hold encryption keys, a bundle certificates: they verify no token.
    if (use === 'jwt-svid' ? jwk['use'] !== 'jwt-svid' : jwk['use'] === 'enc') continue
    const key = readJwk(jwk, algorithms, use)
    if (keys.has(key.kid)) refuse('a key id twice')
    keys.set(key.kid, key)
  }
  if (keys.size === 0) refuse('no key that verifies tokens')
  return keys
}

/** The keys of a set as objects, none of them secret. @throws {Denied} `identity_invalid` */
export function readJwks(bytes: Uint8Array): readonly JsonObject[] {
  if (bytes.length > MAX_KEY_SET_BYTES) refuse(`more than ${MAX_KEY_SET_BYTES} bytes`)
  let set: JsonValue
  try {
    set = parseStrict(bytes)
  } catch (error) {
    return refuse(error instanceof Denied ? error.message : 'not JSON')
  }
  const list = isObject(set) ? set['keys'] : undefined
  if (!Array.isArray(list) || list.length > MAX_KEYS) return refuse(`not a list of at most ${MAX_KEYS} keys`)
  return list.map((jwk: JsonValue) => {
    if (!isObject(jwk)) return refuse('a key that is not an object')
    if (SECRET_MEMBERS.some((name) => name in jwk) || jwk['kty'] === 'oct') refuse('a secret key')
    return jwk
  })
}

function readJwk(jwk: JsonObject, algorithms: readonly Algorithm[], use: KeyUse): VerificationKey {
  const { kid, kty, crv, alg } = jwk
  if (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID) return refuse('a key without an id')
  if (use === 'sig' && jwk['use'] !== undefined && jwk['use'] !== 'sig') refuse('a key for something else than signatures')
  const algorithm = algorithmOf(kty, crv)
  if (!algorithms.some((one) => pinned(one) === algorithm)) return refuse(`a key whose algorithm is not pinned for the issuer`)
  if (alg !== undefined && (typeof alg !== 'string' || pinned(alg as Algorithm) !== algorithm)) refuse('a key that names an algorithm of another type')
  return { kid, algorithm, key: importKey(jwk, algorithm) }
}

function algorithmOf(kty: JsonValue | undefined, crv: JsonValue | undefined): VerificationKey['algorithm'] {
  if (kty === 'RSA' && crv === undefined) return 'RS256'
  if (kty === 'EC' && crv === 'P-256') return 'ES256'
  if (kty === 'OKP' && crv === 'Ed25519') return 'EdDSA'
  return refuse('a key of a type that is not used here')
}

/** The algorithm behind a name. @see RFC 9864: `EdDSA` with an Ed25519 key is `Ed25519` */
export function pinned(name: Algorithm): VerificationKey['algorithm'] {
  return name === 'Ed25519' ? 'EdDSA' : name
}

function importKey(jwk: JsonObject, algorithm: VerificationKey['algorithm']): KeyObject {
  const text = (name: string): string => {
    const value = jwk[name]
    return typeof value === 'string' ? value : refuse('a key with a member missing')
  }
  const plain = algorithm === 'RS256' ? { kty: 'RSA', n: text('n'), e: text('e') } : algorithm === 'ES256' ? { kty: 'EC', crv: 'P-256', x: text('x'), y: text('y') } : { kty: 'OKP', crv: 'Ed25519', x: text('x') }
  let key: KeyObject
  try {
    key = createPublicKey({ key: plain, format: 'jwk' })
  } catch {
    return refuse('a key that is not one')
  }
  verifyStrength(key)
  return key
}

/** @throws {Denied} `identity_invalid` for RSA keys that are too short */
export function verifyStrength(key: KeyObject): void {
  if (key.asymmetricKeyType === 'rsa' && (key.asymmetricKeyDetails?.modulusLength ?? 0) < MIN_RSA_BITS) refuse(`an RSA key below ${MIN_RSA_BITS} bits`)
}

function refuse(what: string): never {
  throw new Denied('identity_invalid', `key set: ${what}`)
}
