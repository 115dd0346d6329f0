import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { equalBytes, fromBase64, toBase64 } from '../encoding.ts'
import { asCode, Fields } from '../json/fields.ts'
import type { JsonValue } from '../json/value.ts'
import { type Checkpoint, parseCheckpointText } from './checkpoint.ts'
import { consistencyRoots, HASH_BYTES, MAX_PROOF_HASHES } from './merkle.ts'
import { type KeyRing, verifySigned } from './keys.ts'
import { type NoteKey, parseNote } from './note.ts'

/** Longest note inside a fork proof, in UTF-16 units. */
const MAX_NOTE = 65_536

/** Two checkpoints that one log signed and that cannot both be of one history. @see spec/witness.md#fork-proof */
export interface ForkProof {
  readonly v: 1
  readonly origin: string
  /** The smaller tree's checkpoint as the log signed it, or that of two at one size which was seen first. */
  readonly a: string
  readonly b: string
  /**
   * Base64 hashes of SUBPROOF(a's size, b's tree, false) of RFC 6962 section 2.1.2: the consistency proof, with the first
   * hash also where that leaves it out. Empty for equal sizes.
   */
  readonly consistency: readonly string[]
}

/** @throws {Denied} `request_malformed` for another shape */
export function parseForkProof(value: JsonValue | undefined): ForkProof {
  return asCode('request_malformed', () => {
    const fields = new Fields(value, 'request_malformed', 'fork proof')
    const proof: ForkProof = {
      v: fields.literal('v', 1),
      origin: fields.text('origin'),
      a: fields.text('a', MAX_NOTE),
      b: fields.text('b', MAX_NOTE),
      consistency: fields.strings('consistency', 2 * MAX_PROOF_HASHES),
    }
    fields.end()
    return proof
  })
}

/** Writes two notes and the hashes between them down; whether they prove a fork is for {@link verifyFork} to say. */
export function forkProof(origin: string, a: string, b: string, path: readonly Uint8Array[]): ForkProof {
  return { v: 1, origin, a, b, consistency: path.map(toBase64) }
}

/**
 * Verifies that one log key signed two histories: two roots at one size, or a tree whose first leaves are not those that
 * the smaller checkpoint stands for.
 *
 * @returns one sentence that says what was proved
 * @throws {Denied} `seal_invalid` when this proves no fork; `key_unknown`, `signature_invalid`, `artifact_malformed`, `encoding_invalid` for its checkpoints
 */
export function verifyFork(proof: ForkProof, logKey: NoteKey | KeyRing, crypto: Crypto): string {
  const a = openCheckpoint(proof.a, logKey, crypto)
  const b = openCheckpoint(proof.b, logKey, crypto)
  if (proof.origin !== logKey.name) throw new Denied('key_unknown', 'the fork proof is about another log')
  const path = proof.consistency.map(fromBase64)
  if (a.size === b.size) {
    if (path.length > 0) throw new Denied('seal_invalid', 'hashes between trees of one size')
    if (equalBytes(a.root, b.root)) throw new Denied('seal_invalid', 'both checkpoints are of one tree')
    return `the key of ${a.origin} signed two trees of ${a.size} leaves`
  }
  const roots = consistencyRoots(a.size, b.size, path, crypto.sha256)
  if (!equalBytes(roots.newer, b.root)) throw new Denied('seal_invalid', 'the hashes are not of the larger tree')
  if (equalBytes(roots.older, a.root)) throw new Denied('seal_invalid', 'the larger tree extends the smaller')
  return `the key of ${a.origin} signed a tree of ${b.size} leaves whose first ${a.size} are not those that it signed before`
}

/**
 * A checkpoint of any log, extension lines allowed, as its key signed it.
 * @throws {Denied} `artifact_malformed`, `encoding_invalid`, `key_unknown` (another origin), `signature_invalid`
 */
export function openCheckpoint(note: string, key: NoteKey | KeyRing, crypto: Crypto): Checkpoint {
  const parsed = parseNote(note)
  const checkpoint = parseCheckpointText(parsed.text, 'allowed')
  if (checkpoint.origin !== key.name) throw new Denied('key_unknown', 'the checkpoint is of another log')
  verifySigned(parsed, checkpoint.size, key, crypto)
  if (checkpoint.root.length !== HASH_BYTES) throw new Denied('artifact_malformed', 'not a root hash')
  return checkpoint
}
