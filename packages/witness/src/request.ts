import { Denied, fromBase64, fromUtf8, HASH_BYTES, parseDecimal } from '@sealwrit/protocol'

/** Consistency hashes in one request. @see c2sp.org/tlog-witness "add-checkpoint" */
export const MAX_CONSISTENCY_LINES = 63

/** A checkpoint as a log submits it. */
export interface Submission {
  /** Size of the tree that the log thinks was cosigned last. */
  readonly oldSize: number
  readonly proof: readonly Uint8Array[]
  /** The signed note, verbatim. */
  readonly note: string
}

/**
 * Reads the body of an add-checkpoint request: old size, consistency hashes, an empty line, the checkpoint.
 * @throws {Denied} for every other form
 */
export function parseSubmission(body: Uint8Array): Submission {
  const text = fromUtf8(body)
  const blank = text.indexOf('\n\n')
  if (blank < 0) throw new Denied('request_malformed', 'no empty line before the checkpoint')
  const [old, ...hashes] = text.slice(0, blank).split('\n')
  if (old === undefined || !old.startsWith('old ')) throw new Denied('request_malformed', 'no old size')
  if (hashes.length > MAX_CONSISTENCY_LINES) throw new Denied('request_malformed', 'too many consistency hashes')
  const proof = hashes.map((line) => {
    const hash = fromBase64(line)
    if (hash.length !== HASH_BYTES) throw new Denied('request_malformed', 'not a hash')
    return hash
  })
  return { oldSize: parseDecimal(old.slice(4)), proof, note: text.slice(blank + 2) }
}
