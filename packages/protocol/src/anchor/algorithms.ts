import { DerReader, oid, TAG } from './der.ts'
import { AnchorRefused } from './refused.ts'

export type HashName = 'sha1' | 'sha256' | 'sha384' | 'sha512'
/** How a signature was made; anything else is refused. */
export interface SignatureAlgorithm {
  readonly key: 'rsa' | 'ecdsa'
  readonly hash: Exclude<HashName, 'sha1'>
}

/** What checks of timestamp tokens need beyond `Crypto`; `tsaCryptoFrom` makes it of `node:crypto`. */
export interface TsaCrypto {
  hash(name: HashName, bytes: Uint8Array): Uint8Array
  /**
   * Whether the key in `certificate` (DER) made `signature` (RSA: PKCS #1 v1.5; ECDSA: DER) over `data`. Must answer `false`,
   * never throw, for a key or signature of another kind.
   */
  verifySignature(certificate: Uint8Array, algorithm: SignatureAlgorithm, data: Uint8Array, signature: Uint8Array): boolean
}

/** @see RFC 5754 section 2 */
const HASHES: ReadonlyMap<string, SignatureAlgorithm['hash']> = new Map([
  [oid('2.16.840.1.101.3.4.2.1'), 'sha256'],
  [oid('2.16.840.1.101.3.4.2.2'), 'sha384'],
  [oid('2.16.840.1.101.3.4.2.3'), 'sha512'],
])
export const SHA256_OID = '2.16.840.1.101.3.4.2.1'
const RSA: string = oid('1.2.840.113549.1.1.1')
/** @see RFC 5754 section 3 */
const SIGNATURES: ReadonlyMap<string, SignatureAlgorithm> = new Map([
  [oid('1.2.840.113549.1.1.11'), { key: 'rsa', hash: 'sha256' }],
  [oid('1.2.840.113549.1.1.12'), { key: 'rsa', hash: 'sha384' }],
  [oid('1.2.840.113549.1.1.13'), { key: 'rsa', hash: 'sha512' }],
  [oid('1.2.840.10045.4.3.2'), { key: 'ecdsa', hash: 'sha256' }],
  [oid('1.2.840.10045.4.3.3'), { key: 'ecdsa', hash: 'sha384' }],
  [oid('1.2.840.10045.4.3.4'), { key: 'ecdsa', hash: 'sha512' }],
])

/** The identifier of an AlgorithmIdentifier whose parameters are absent or NULL. */
function plainAlgorithm(reader: DerReader): string {
  const fields = reader.enter(TAG.sequence)
  const name = fields.oid()
  if (!fields.isAtEnd && fields.value(TAG.null).content.length !== 0) throw new AnchorRefused('token_malformed', 'NULL with content')
  fields.end()
  return name
}

/** @throws {AnchorRefused} `algorithm_refused` for anything but SHA-256, SHA-384 and SHA-512 */
export function readHash(reader: DerReader): SignatureAlgorithm['hash'] {
  const found = HASHES.get(plainAlgorithm(reader))
  if (found === undefined) throw new AnchorRefused('algorithm_refused', 'a hash other than SHA-256, SHA-384 and SHA-512')
  return found
}

/**
 * @param hash the one that was named beside it, for plain `rsaEncryption`; undefined where there is none
 * @throws {AnchorRefused} `algorithm_refused`
 */
export function readSignatureAlgorithm(reader: DerReader, hash: SignatureAlgorithm['hash'] | undefined): SignatureAlgorithm {
  if (!reader.has(TAG.sequence)) throw new AnchorRefused('token_malformed', 'no algorithm')
  const at = reader.any()
  const name = new DerReader(at.content).oid()
  const found = name === RSA && hash !== undefined ? ({ key: 'rsa', hash } as const) : SIGNATURES.get(name)
  if (found === undefined) throw new AnchorRefused('algorithm_refused', 'a signature algorithm other than RSA (PKCS #1 v1.5) and ECDSA with SHA-2')
  plainAlgorithm(new DerReader(at.whole))
  return found
}
