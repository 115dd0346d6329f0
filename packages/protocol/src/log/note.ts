import type { Crypto, Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { concatBytes, equalBytes, fromBase64, fromHex, toBase64, toHex, utf8 } from '../encoding.ts'

/** Signature lines that are looked at; unknown ones are ignored, but their number is bounded (ATK-013). */
export const MAX_NOTE_SIGNATURES = 64
/** Signature types of a key: 1 is plain Ed25519, 4 timestamped Ed25519 cosignatures. @see c2sp.org/signed-note */
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
  const first = text.indexOf('+')
  const second = text.indexOf('+', first + 1)
  if (first <= 0 || second < 0) throw new Denied('key_unknown', 'not a verifier key (NAME+ID+KEY)')
  const name = text.slice(0, first)
  let material: Uint8Array
  try {
    material = fromBase64(text.slice(second + 1))
    fromHex(text.slice(first + 1, second))
  } catch {
    throw new Denied('key_unknown', 'not a verifier key (NAME+ID+KEY)')
  }
  if (material[0] !== type || material.length !== 1 + KEY_BYTES || !isKeyName(name)) throw new Denied('key_unknown', `not an Ed25519 verifier key of type ${type}`)
  const key = noteKey(name, material.slice(1), sha256, type)
  if (key.id !== text.slice(first + 1, second)) throw new Denied('key_unknown', 'the key id does not fit the key')
  return key
}

/** Key names hold neither white space nor `+`. */
export function isKeyName(name: string): boolean {
  if (name === '' || name.length > 256 || name.includes('+')) return false
  return !/[\s\p{Cc}]/u.test(name)
}

/** One signature line, newline included. */
export function formatSignature(key: NoteKey, signature: Uint8Array): string {
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
 * Verifies that `key` signed the note. Signatures of unknown keys are ignored; two by the known key are refused.
 * @throws {Denied} `key_unknown` when no line names the key, `signature_invalid` when its line does not verify
 */
export function verifyNote(note: Note, key: NoteKey, crypto: Crypto): void {
  const mine = note.signatures.filter((s) => s.name === key.name && s.id === key.id)
  const found = mine[0]
  if (found === undefined) {
    const sameName = note.signatures.some((s) => s.name === key.name)
    throw new Denied(sameName ? 'signature_invalid' : 'key_unknown', 'no signature by the trusted key')
  }
  if (mine.length > 1) throw new Denied('artifact_malformed', 'the trusted key signs twice')
  if (found.signature.length !== SIGNATURE_BYTES || !crypto.verifyEd25519(key.publicKey, utf8(note.text), found.signature)) {
    throw new Denied('signature_invalid', 'the checkpoint signature does not verify')
  }
}

export function sameKey(a: NoteKey, b: NoteKey): boolean {
  return a.name === b.name && equalBytes(a.publicKey, b.publicKey)
}
