import type { Crypto } from './crypto.ts'
import { isStrictEd25519 } from './ed25519.ts'

/** The part of `node:crypto` that is used, described by its shape: this package imports nothing. */
export interface NodeCryptoModule<K> {
  hash(algorithm: string, data: Uint8Array, encoding: 'buffer'): Uint8Array
  createPublicKey(input: { key: { kty: string; crv?: string; x?: string; alg?: string; pub?: string }; format: 'jwk' }): K
  verify(algorithm: null, data: Uint8Array, key: K, signature: Uint8Array): boolean
}

/** Parsed public keys that are kept; beyond it the oldest is parsed again when it is needed. */
const MAX_KEYS = 256

/**
 * The primitives on `node:crypto`, with parsed keys kept.
 * @param node the module `node:crypto`
 * @param toBase64Url unpadded base64url, for the JWK form of a key
 */
export function cryptoFrom<K>(node: NodeCryptoModule<K>, toBase64Url: (bytes: Uint8Array) => string): Crypto {
  const keys = new Map<string, K>()
  const keyObject = (publicKey: Uint8Array): K => {
    const x = toBase64Url(publicKey)
    const known = keys.get(x)
    if (known !== undefined) return known
    const jwk = publicKey.length === 32 ? { kty: 'OKP', crv: 'Ed25519', x } : { kty: 'AKP', alg: 'ML-DSA-65', pub: x }
    const key = node.createPublicKey({ key: jwk, format: 'jwk' })
    if (keys.size >= MAX_KEYS) keys.delete(keys.keys().next().value as string)
    keys.set(x, key)
    return key
  }
  const verify = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean => {
    try {
      return node.verify(null, message, keyObject(publicKey), signature)
    } catch {
      return false // not a point: a key nobody can have signed with
    }
  }
  return {
    sha256: (bytes) => node.hash('sha256', bytes, 'buffer'),
    verifyEd25519: (publicKey, message, signature) => isStrictEd25519(publicKey, signature) && verify(publicKey, message, signature),
    verifyMlDsa65: (publicKey, message, signature) => publicKey.length === 1_952 && verify(publicKey, message, signature),
  }
}
