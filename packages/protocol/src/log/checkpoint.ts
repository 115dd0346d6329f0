import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { fromBase64, toBase64 } from '../encoding.ts'
import { HASH_BYTES, type TreeHead } from './merkle.ts'
import { type KeyRing, verifySigned } from './keys.ts'
import { type NoteKey, parseNote } from './note.ts'

/** A tree head with the log it belongs to. */
export interface Checkpoint extends TreeHead {
  readonly origin: string
}

/** The text that a log key signs. @see c2sp.org/tlog-checkpoint "Note text" */
export function checkpointText(checkpoint: Checkpoint): string {
  return `${checkpoint.origin}\n${checkpoint.size}\n${toBase64(checkpoint.root)}\n`
}

/** A decimal without sign or leading zeros, below 2^53. @throws {Denied} `artifact_malformed` */
export function parseDecimal(text: string): number {
  const value = Number(text)
  if (text.length === 0 || text.length > 16 || !Number.isSafeInteger(value) || String(value) !== text || value < 0) {
    throw new Denied('artifact_malformed', 'not a decimal number')
  }
  return value
}

/**
 * Reads the signed text of a checkpoint. Extension lines are refused where our own logs are read, since no signer of ours
 * writes them; a witness serves other logs too.
 * @throws {Denied} `artifact_malformed`, `encoding_invalid`
 */
export function parseCheckpointText(text: string, extensions: 'refused' | 'allowed' = 'refused'): Checkpoint {
  const lines = text.split('\n')
  const [origin, size, root] = lines
  const isShort = lines.length < 4 || lines.indexOf('') !== lines.length - 1
  if (isShort || (extensions === 'refused' && lines.length > 4) || !origin || size === undefined || !root) throw new Denied('artifact_malformed', 'not a checkpoint')
  const hash = fromBase64(root)
  if (hash.length !== HASH_BYTES) throw new Denied('artifact_malformed', 'not a root hash')
  return { origin, size: parseDecimal(size), root: hash }
}

/**
 * Verifies a signed checkpoint: the log is the trusted one, and its key signed it, or one of its keys that may sign for such a tree.
 * @param note the checkpoint as a signed note
 * @throws {Denied} `artifact_malformed`, `encoding_invalid`, `key_unknown` (another origin), `signature_invalid`; for a ring `key_unknown`, `key_revoked` too
 */
export function verifyCheckpoint(note: string, key: NoteKey | KeyRing, crypto: Crypto): Checkpoint {
  const parsed = parseNote(note)
  const checkpoint = parseCheckpointText(parsed.text)
  if (checkpoint.origin !== key.name) throw new Denied('key_unknown', 'the checkpoint is of another log')
  verifySigned(parsed, checkpoint.size, key, crypto)
  return checkpoint
}
