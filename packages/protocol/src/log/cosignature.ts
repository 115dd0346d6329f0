import { MAX_SKEW_SECONDS } from '../artifact/artifact.ts'
import type { Crypto, Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { concatBytes, utf8 } from '../encoding.ts'
import { formatSignature, formatVerifierKey, type Note, type NoteKey, noteKey, parseVerifierKey, SIGNATURE_BYTES } from './note.ts'

/** Signature type of timestamped Ed25519 cosignatures. @see c2sp.org/tlog-cosignature "Format" */
const TYPE_COSIGNATURE = 4
const TIMESTAMP_BYTES = 8

/** The key of a cosigner. Its type is part of the key id, so that no log key can be taken for one. */
export interface CosignerKey extends NoteKey {
  readonly type: 4
}

/** @param name a schema-less URL that identifies the cosigner */
export function cosignerKey(name: string, publicKey: Uint8Array, sha256: Sha256): CosignerKey {
  return { ...noteKey(name, publicKey, sha256, TYPE_COSIGNATURE), type: TYPE_COSIGNATURE }
}

export function formatCosignerKey(key: CosignerKey): string {
  return formatVerifierKey(key, TYPE_COSIGNATURE)
}

/** @throws {Denied} `key_unknown` when `text` is not an Ed25519 cosigner key whose id fits its name and key */
export function parseCosignerKey(text: string, sha256: Sha256): CosignerKey {
  return { ...parseVerifierKey(text, sha256, TYPE_COSIGNATURE), type: TYPE_COSIGNATURE }
}

/**
 * What a cosigner signs.
 * @param noteText the whole body of the cosigned note, its final newline included
 * @see c2sp.org/tlog-cosignature "Ed25519 signed message"
 */
export function cosignedMessage(noteText: string, timeSeconds: number): Uint8Array {
  if (!Number.isSafeInteger(timeSeconds) || timeSeconds < 0) throw new TypeError('a cosignature has a time in whole seconds')
  return utf8(`cosignature/v1\ntime ${timeSeconds}\n${noteText}`)
}

/** One cosignature line, newline included. @param signature 64 bytes over {@link cosignedMessage} */
export function formatCosignature(key: CosignerKey, timeSeconds: number, signature: Uint8Array): string {
  const stamp = new Uint8Array(TIMESTAMP_BYTES)
  let rest = timeSeconds
  for (let i = TIMESTAMP_BYTES - 1; i >= 0; i--) {
    stamp[i] = rest % 256
    rest = Math.floor(rest / 256)
  }
  return formatSignature(key, concatBytes(stamp, signature))
}

/** Big-endian seconds, below 2^53. */
function readTime(stamp: Uint8Array): number | undefined {
  let seconds = 0
  for (const byte of stamp) seconds = seconds * 256 + byte
  return Number.isSafeInteger(seconds) ? seconds : undefined
}

/**
 * Reads the cosignature of `key` on a note. Lines of other keys are not looked at.
 *
 * @param nowSeconds a time further ahead of it than the skew is refused: it would count as fresh for ever
 * @returns when the cosigner saw this tree, in seconds since 1970; undefined when no line is by this key
 * @throws {Denied} `artifact_malformed` for two lines by this key, `witness_quorum_not_met` for one that does not verify or lies in the future
 * @see c2sp.org/tlog-cosignature
 */
export function verifyCosignature(note: Note, key: CosignerKey, nowSeconds: number, crypto: Crypto): number | undefined {
  const mine = note.signatures.filter((s) => s.name === key.name && s.id === key.id)
  const [found] = mine
  if (found === undefined) return undefined
  if (mine.length > 1) throw new Denied('artifact_malformed', 'a witness cosigns twice')
  const time = found.signature.length === TIMESTAMP_BYTES + SIGNATURE_BYTES ? readTime(found.signature.subarray(0, TIMESTAMP_BYTES)) : undefined
  if (time === undefined || !crypto.verifyEd25519(key.publicKey, cosignedMessage(note.text, time), found.signature.subarray(TIMESTAMP_BYTES))) {
    throw new Denied('witness_quorum_not_met', 'a cosignature does not verify')
  }
  if (time > nowSeconds + MAX_SKEW_SECONDS) throw new Denied('witness_quorum_not_met', 'a cosignature lies in the future')
  return time
}
