import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { type Digest, TOKEN_BYTES } from '../digest.ts'
import { toBase64Url, toHex, utf8 } from '../encoding.ts'
import { asCode, Fields } from '../json/fields.ts'
import type { JsonValue } from '../json/value.ts'
import { type Checkpoint, verifyCheckpoint } from '../log/checkpoint.ts'
import { MAX_ENTRY } from '../log/entry.ts'
import { leafHash, type TreeHead, verifyConsistency, verifyInclusion } from '../log/merkle.ts'
import type { KeyRing } from '../log/keys.ts'
import type { NoteKey } from '../log/note.ts'
import { formatProof, type LogProof, MAX_PROOF_LENGTH, parseProof } from '../log/proof.ts'

/** An entry with the proof that it is in the log: the form in which artifacts travel. */
export interface SealedEntry {
  /** The leaf as text; its UTF-8 bytes are what the tree holds. */
  readonly entry: string
  /** C2SP tlog-proof text. */
  readonly proof: string
}

export interface OpenedSeal {
  readonly entry: string
  readonly proof: LogProof
  /** The salt of the action commitment, from the proof's extra line. */
  readonly salt: string | undefined
}

/**
 * Takes the parts of a sealed entry out of a parsed value, strictly: one spelling only.
 * @throws {Denied} `artifact_missing`, `artifact_malformed`, `encoding_invalid`
 */
export function parseSealed(value: JsonValue | undefined): OpenedSeal {
  if (value === undefined || value === null || value === '') throw new Denied('artifact_missing')
  return asCode('artifact_malformed', () => {
    const fields = new Fields(value, 'artifact_malformed', 'sealed artifact')
    const entry = fields.text('entry', MAX_ENTRY)
    const text = fields.text('proof', MAX_PROOF_LENGTH)
    fields.end()
    const proof = parseProof(text)
    if (formatProof(proof) !== text) throw new Denied('encoding_invalid', 'the proof has another spelling')
    if (proof.extra !== undefined && proof.extra.length !== TOKEN_BYTES) throw new Denied('artifact_malformed', 'salt length')
    return { entry, proof, salt: proof.extra === undefined ? undefined : toBase64Url(proof.extra) }
  })
}

/** Verifies the checkpoint inside a seal; the note that was verified last is taken as it is. @throws {Denied} as {@link verifyCheckpoint} */
export function verifySealCheckpoint(
  seal: OpenedSeal,
  logKey: NoteKey | KeyRing,
  known: { readonly crypto: Crypto; readonly newest: Checkpoint | undefined; readonly newestNote: string | undefined },
): Checkpoint {
  const note = seal.proof.checkpoint
  if (known.newest !== undefined && note === known.newestNote && known.newest.origin === logKey.name) return known.newest
  return verifyCheckpoint(note, logKey, known.crypto)
}

/**
 * Verifies that `checkpoint` extends the newest one known.
 * @throws {Denied} `state_diverged` when it is older, differs at the same size, or `proof` does not show that it extends
 */
export function verifyExtends(newest: TreeHead | undefined, checkpoint: TreeHead, proof: readonly Uint8Array[], crypto: Crypto): void {
  if (newest === undefined) return
  try {
    verifyConsistency(newest, checkpoint, newest.size === checkpoint.size ? [] : proof, crypto.sha256)
  } catch (error) {
    if (error instanceof Denied) throw new Denied('state_diverged', error.message)
    throw error
  }
}

/** Verifies that the entry is the leaf at the proof's index. @returns its leaf hash @throws {Denied} `seal_invalid` */
export function verifySealInclusion(seal: OpenedSeal, checkpoint: Checkpoint, crypto: Crypto): Uint8Array {
  const leaf = leafHash(utf8(seal.entry), crypto.sha256)
  const { index, hashes } = seal.proof
  verifyInclusion({ index, size: checkpoint.size, leaf, root: checkpoint.root, proof: hashes }, crypto.sha256)
  return leaf
}

export function leafDigest(leaf: Uint8Array): Digest {
  return `sha256:${toHex(leaf)}`
}
