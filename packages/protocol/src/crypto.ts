/**
 * The two primitives that the protocol needs, passed in by the caller: `node:crypto` in plane and gate, a small
 * SHA-256 and WebCrypto in browsers. This package imports nothing, so it cannot reach for them itself.
 */

/** SHA-256 of `bytes`; 32 bytes. */
export type Sha256 = (bytes: Uint8Array) => Uint8Array

/**
 * Ed25519 verification of `signature` (64 bytes) over `message` under `publicKey` (32 bytes). Must answer `false`, never
 * throw, for a signature or key that is not well formed.
 * @see https://www.rfc-editor.org/rfc/rfc8032 section 5.1.7
 */
export type VerifyEd25519 = (publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array) => boolean

export interface Crypto {
  readonly sha256: Sha256
  readonly verifyEd25519: VerifyEd25519
  /**
   * ML-DSA-65 verification with an empty context, in the same way; absent on platforms that have none, where a hybrid key establishes
   * nothing. @see FIPS 204
   */
  readonly verifyMlDsa65?: VerifyEd25519
}
