import { Denied } from '../denial.ts'
import { fromBase64, toBase64 } from '../encoding.ts'
import { parseDecimal } from './checkpoint.ts'
import { HASH_BYTES, MAX_PROOF_HASHES } from './merkle.ts'

const HEADER = 'c2sp.org/tlog-proof@v1'
/** Longest proof text in UTF-16 units: 53 hashes, a checkpoint and its cosignatures. */
export const MAX_PROOF_LENGTH = 16_384

/** The proof that an entry is in the log. @see c2sp.org/tlog-proof */
export interface LogProof {
  /** Opaque, not authenticated; in a seal it is the salt of the action commitment (16 bytes). */
  readonly extra?: Uint8Array
  readonly index: number
  readonly hashes: readonly Uint8Array[]
  /** The signed checkpoint, verbatim. */
  readonly checkpoint: string
}

export function formatProof(proof: LogProof): string {
  let out = `${HEADER}\n`
  if (proof.extra !== undefined) out += `extra ${toBase64(proof.extra)}\n`
  out += `index ${proof.index}\n`
  for (const hash of proof.hashes) out += `${toBase64(hash)}\n`
  return `${out}\n${proof.checkpoint}`
}

/** @throws {Denied} `artifact_malformed` for another shape, `encoding_invalid` for lax base64 */
export function parseProof(text: string): LogProof {
  if (text.length > MAX_PROOF_LENGTH) throw new Denied('artifact_malformed', 'proof too long')
  const blank = text.indexOf('\n\n')
  if (blank < 0) throw new Denied('artifact_malformed', 'not a log proof')
  const lines = text.slice(0, blank).split('\n')
  if (lines.shift() !== HEADER) throw new Denied('artifact_malformed', 'not a log proof')
  const extra = lines[0]?.startsWith('extra ') === true ? fromBase64((lines.shift() as string).slice(6)) : undefined
  const indexLine = lines.shift()
  if (indexLine?.startsWith('index ') !== true) throw new Denied('artifact_malformed', 'log proof without index')
  if (lines.length > MAX_PROOF_HASHES) throw new Denied('artifact_malformed', 'over-long proof')
  const hashes = lines.map((line) => {
    const hash = fromBase64(line)
    if (hash.length !== HASH_BYTES) throw new Denied('artifact_malformed', 'not a hash')
    return hash
  })
  const proof = { index: parseDecimal(indexLine.slice(6)), hashes, checkpoint: text.slice(blank + 2) }
  return extra === undefined ? proof : { extra, ...proof }
}
