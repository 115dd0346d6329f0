import type { Crypto, Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { concatBytes, equalBytes, fromBase64, fromHex, toBase64, toHex, utf8 } from '../encoding.ts'

/** Signature lines that are looked at; unknown ones are ignored, but their number is bounded (ATK-013). */
export const MAX_NOTE_SIGNATURES = 64
/** Signature types of a key: 1 is plain Ed25519, 4 timestamped Ed25519 cosignatures. @see c2sp.org/signed-note "Signature types" */
export type KeyType = 1 | 4
const TYPE_ED25519: KeyType = 1
const KEY_BYTES = 32
export const SIGNATURE_BYTES = 64

/** A key that signs notes: name and Ed25519 public key, as in a `vkey` line. */
export interface NoteKey {
  readonly name: string
  /** The first four bytes of SHA-256(name ‖ 0x0A ‖ type ‖ key), lowercase hex. */
  readonly id: string
  /** 32 bytes. */
  readonly publicKey: Uint8Array
  /** The second half of a hybrid key: a note needs both signatures. @see spec/keys.md#hybrid */
  readonly pq?: PqKey
}

/** The ML-DSA-65 half of a hybrid key. */
export interface PqKey {
  readonly id: string
  /** 1,952 bytes. */
  readonly publicKey: Uint8Array
}

export interface Note {
  /** The signed text, its final newline included. */
  readonly text: string
  readonly signatures: readonly { readonly name: string; readonly id: string; readonly signature: Uint8Array }[]
}

/** @see c2sp.org/signed-note "Signatures" */
export function noteKey(name: string, publicKey: Uint8Array, sha256: Sha256, type: KeyType = TYPE_ED25519): NoteKey {
  if (!isKeyName(name) || publicKey.length !== KEY_BYTES) throw new TypeError('a note key needs a name and 32 bytes')
  const input = concatBytes(utf8(`${name}\n`), Uint8Array.of(type), publicKey)
  return { name, id: toHex(sha256(input).subarray(0, 4)), publicKey }
}

/** `<name>+<id>+<base64 of type ‖ key>`: how a public key is written down and handed on. */
export function formatVerifierKey(key: NoteKey, type: KeyType = TYPE_ED25519): string {
  return `${key.name}+${key.id}+${toBase64(concatBytes(Uint8Array.of(type), key.publicKey))}`
}

/** @throws {Denied} `key_unknown` when `text` is not a verifier key of this type whose id fits its name and key */
export function parseVerifierKey(text: string, sha256: Sha256, type: KeyType = TYPE_ED25519): NoteKey {
  const { name, id, material } = splitVerifierKey(text)
  if (material[0] !== type || material.length !== 1 + KEY_BYTES) throw new Denied('key_unknown', `not an Ed25519 verifier key of type ${type}`)
  const key = noteKey(name, material.slice(1), sha256, type)
  if (key.id !== id) throw new Denied('key_unknown', 'the key id does not fit the key')
  return key
}

function splitVerifierKey(text: string): { name: string; id: string; material: Uint8Array } {
  const first = text.indexOf('+')
  const second = text.indexOf('+', first + 1)
  try {
    const [name, id] = [text.slice(0, first), text.slice(first + 1, second)]
    if (first > 0 && second > 0 && isKeyName(name) && fromHex(id).length === 4) return { name, id, material: fromBase64(text.slice(second + 1)) }
  } catch {
    // said below
  }
  throw new Denied('key_unknown', 'not a verifier key (NAME+ID+KEY)')
}

/** No byte is assigned to ML-DSA-65: 0xff, and a longer identifier behind it. @see c2sp.org/signed-note "Signature types" */
const PQ_TYPE = concatBytes(Uint8Array.of(0xff), utf8('sealwrit/ml-dsa-65\n'))
const PQ_KEY_BYTES = 1_952
export const PQ_SIGNATURE_BYTES = 3_309

/** @throws {TypeError} for a key of another length */
export function pqKey(name: string, publicKey: Uint8Array, sha256: Sha256): PqKey {
  if (!isKeyName(name) || publicKey.length !== PQ_KEY_BYTES) throw new TypeError(`an ML-DSA-65 key needs a name and ${PQ_KEY_BYTES} bytes`)
  return { id: toHex(sha256(concatBytes(utf8(`${name}\n`), PQ_TYPE, publicKey)).subarray(0, 4)), publicKey }
}

export function formatPqKey(name: string, key: PqKey): string {
  return `${name}+${key.id}+${toBase64(concatBytes(PQ_TYPE, key.publicKey))}`
}

/** @throws {Denied} `key_unknown` when `text` is not an ML-DSA-65 key of this name whose id fits it */
export function parsePqKey(text: string, name: string, sha256: Sha256): PqKey {
  const { name: given, id, material } = splitVerifierKey(text)
  const [type, bytes] = [material.subarray(0, PQ_TYPE.length), material.slice(PQ_TYPE.length)]
  if (given !== name || !equalBytes(type, PQ_TYPE) || bytes.length !== PQ_KEY_BYTES) throw new Denied('key_unknown', 'not an ML-DSA-65 verifier key of this log')
  const key = pqKey(name, bytes, sha256)
  if (key.id !== id) throw new Denied('key_unknown', 'the key id does not fit the key')
  return key
}

/** Key names hold neither white space nor `+`. */
export function isKeyName(name: string): boolean {
  if (name === '' || name.length > 256 || name.includes('+')) return false
  return !/[\s\p{Cc}]/u.test(name)
}

/** One signature line, newline included. */
export function formatSignature(key: { readonly name: string; readonly id: string }, signature: Uint8Array): string {
  return `\u2014 ${key.name} ${toBase64(concatBytes(fromHex(key.id), signature))}\n`
}

/**
 * Splits a note into its text and its signature lines.
 * @throws {Denied} `artifact_malformed` for another shape, `encoding_invalid` for a signature that is not strict base64
 */
export function parseNote(note: string): Note {
  const split = note.lastIndexOf('\n\n')
  if (split < 0 || !note.endsWith('\n')) throw new Denied('artifact_malformed', 'not a signed note')
  const text = note.slice(0, split + 1)
  for (let i = 0; i < note.length; i++) {
    const c = note.charCodeAt(i)
    if (c < 32 && c !== 10) throw new Denied('artifact_malformed', 'control character in a note')
  }
  const body = note.slice(split + 2, -1)
  if (body === '') throw new Denied('signature_invalid', 'the note carries no signature')
  const lines = body.split('\n', MAX_NOTE_SIGNATURES + 1)
  if (lines.length > MAX_NOTE_SIGNATURES) throw new Denied('artifact_malformed', 'too many signature lines')
  const signatures = lines.map((line) => {
    const space = line.indexOf(' ', 2)
    if (!line.startsWith('\u2014 ') || space < 3) throw new Denied('artifact_malformed', 'not a signature line')
    if (/[\p{White_Space}+]/u.test(line.slice(2, space))) throw new Denied('artifact_malformed', 'not a key name')
    const bytes = fromBase64(line.slice(space + 1))
    if (bytes.length < 5) throw new Denied('artifact_malformed', 'signature too short')
    return { name: line.slice(2, space), id: toHex(bytes.subarray(0, 4)), signature: bytes.slice(4) }
  })
  return { text, signatures }
}

/**
 * Verifies that `key` signed the note, with both halves of a hybrid one. Signatures of unknown keys are ignored; two by the known key are refused.
 * @throws {Denied} `key_unknown` when no line names the key, `signature_invalid` when its line does not verify, or one of two is missing
 */
export function verifyNote(note: Note, key: NoteKey, crypto: Crypto): void {
  const found = lineOf(note, key.name, key.id)
  if (found === undefined) {
    const sameName = note.signatures.some((s) => s.name === key.name)
    throw new Denied(sameName ? 'signature_invalid' : 'key_unknown', 'no signature by the trusted key')
  }
  if (found.length !== SIGNATURE_BYTES || !crypto.verifyEd25519(key.publicKey, utf8(note.text), found)) throw new Denied('signature_invalid', 'the checkpoint signature does not verify')
  if (key.pq === undefined) return
  const second = lineOf(note, key.name, key.pq.id)
  if (second === undefined) throw new Denied('signature_invalid', 'the ML-DSA-65 signature of a hybrid key is missing')
  if (crypto.verifyMlDsa65 === undefined) throw new Denied('signature_invalid', 'ML-DSA-65 cannot be verified here')
  if (second.length !== PQ_SIGNATURE_BYTES || !crypto.verifyMlDsa65(key.pq.publicKey, utf8(note.text), second)) throw new Denied('signature_invalid', 'the ML-DSA-65 signature does not verify')
}

/** The one signature of a key. @throws {Denied} `artifact_malformed` for two */
function lineOf(note: Note, name: string, id: string): Uint8Array | undefined {
  const mine = note.signatures.filter((s) => s.name === name && s.id === id)
  if (mine.length > 1) throw new Denied('artifact_malformed', 'the trusted key signs twice')
  return mine[0]?.signature
}

/** Whether the note names the key. */
export function names(note: Note, key: NoteKey): boolean {
  return note.signatures.some((s) => s.name === key.name && s.id === key.id)
}

export function sameKey(a: NoteKey, b: NoteKey): boolean {
  const isPq = a.pq === undefined ? b.pq === undefined : b.pq !== undefined && equalBytes(a.pq.publicKey, b.pq.publicKey)
  return isPq && a.name === b.name && equalBytes(a.publicKey, b.publicKey)
}
