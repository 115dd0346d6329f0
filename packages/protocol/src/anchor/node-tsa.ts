import type { TsaCrypto } from './algorithms.ts'

/** The part of `node:crypto` that is used, described by its shape: this package imports nothing. */
export interface NodeTsaModule<K> {
  hash(algorithm: string, data: Uint8Array, encoding: 'buffer'): Uint8Array
  verify(algorithm: string, data: Uint8Array, key: K, signature: Uint8Array): boolean
  readonly X509Certificate: new (der: Uint8Array) => { readonly publicKey: K }
}

/** Kinds of key that OpenSSL verifies with, by the algorithm that asks for them. */
const KEY_TYPES = { rsa: 'rsa', ecdsa: 'ec' } as const

/** What checks of timestamp tokens need, on `node:crypto`. */
export function tsaCryptoFrom<K>(node: NodeTsaModule<K>): TsaCrypto {
  return {
    hash: (name, bytes) => node.hash(name, bytes, 'buffer'),
    verifySignature: (certificate, { key, hash }, data, signature) => {
      try {
        const { publicKey } = new node.X509Certificate(certificate)
        return (publicKey as { asymmetricKeyType?: string }).asymmetricKeyType === KEY_TYPES[key] && node.verify(hash, data, publicKey, signature)
      } catch {
        return false // a certificate, key or signature that cannot be read proves nothing
      }
    },
  }
}
