import type { Sha256 } from './crypto.ts'
import { Denied } from './denial.ts'
import { concatBytes, fromBase64Url, fromHex, toHex, utf8 } from './encoding.ts'

/** `sha256:` and 64 lowercase hex digits. */
export type Digest = string

export function digestOf(bytes: Uint8Array, sha256: Sha256): Digest {
  return `sha256:${toHex(sha256(bytes))}`
}

export function isDigest(value: unknown): value is Digest {
  if (typeof value !== 'string' || value.length !== 71 || !value.startsWith('sha256:')) return false
  for (let i = 7; i < 71; i++) {
    const c = value.charCodeAt(i)
    if (!((c >= 48 && c <= 57) || (c >= 97 && c <= 102))) return false
  }
  return true
}

/** Bytes of a salt, challenge or `jti`. */
export const TOKEN_BYTES = 16

/** 22 characters of base64url that encode exactly 128 bits. */
export function isToken(value: unknown): value is string {
  if (typeof value !== 'string' || value.length !== 22) return false
  for (let i = 0; i < 22; i++) {
    const c = value.charCodeAt(i)
    if (!((c >= 48 && c <= 57) || (c >= 65 && c <= 90) || (c >= 97 && c <= 122) || c === 45 || c === 95)) return false
  }
  // 22 × 6 = 132 bits: the last four must be zero, so the last character is one of A, Q, g, w.
  return 'AQgw'.includes(value[21] as string)
}

/** What a commitment stands for; part of what is hashed, so that one cannot be shown as another. */
export type Purpose = 'action' | 'environment' | 'inputs' | 'result' | 'directory' | 'grant' | 'reason' | 'shadow' | 'redacted' | 'delegation' | 'foreign' | 'purpose' | 'attestation' | 'definition'

/**
 * SHA-256(`sealwrit/v1/<purpose>` ‖ 0x0A ‖ salt ‖ digest): hides a guessable value behind 128 random bits, and can be
 * erased by erasing the salt (ATK-079, ATK-121).
 *
 * @param salt 22 characters of base64url
 * @throws {Denied} `encoding_invalid` when salt or digest are not in their one form
 */
export function commitment(purpose: Purpose, salt: string, digest: Digest, sha256: Sha256): Digest {
  if (!isToken(salt) || !isDigest(digest)) throw new Denied('encoding_invalid', 'salt or digest')
  return digestOf(concatBytes(utf8(`sealwrit/v1/${purpose}\n`), fromBase64Url(salt), fromHex(digest.slice(7))), sha256)
}
