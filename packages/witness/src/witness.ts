import {
  type Checkpoint, consistencyRoots, cosignedMessage, Denied, equalBytes, type ForkProof, forkProof, formatCosignature, formatSignature, isPowerOfTwo, MAX_SKEW_SECONDS,
  type Note, type NoteKey, parseCheckpointText, parseNote, verifyConsistency, verifyNote,
} from '@sealwrit/protocol'
import type { WitnessPorts } from './ports.ts'
import { type LogRecord, openRecords, originHash, readFork, writeFork, writeRecord } from './record.ts'
import { parseSubmission, type Submission } from './request.ts'

/** What is answered over HTTP. */
export interface Answer {
  readonly status: number
  readonly type: string
  readonly body: string
}

const text = (status: number, body: string): Answer => ({ status, type: 'text/plain; charset=utf-8', body: `${body}\n` })
/** @see c2sp.org/tlog-witness: the size of the latest cosigned checkpoint, and nothing else */
const conflict = (size: number): Answer => ({ status: 409, type: 'text/x.tlog.size', body: `${size}\n` })
const forked = (status: number, proof: ForkProof): Answer => ({ status, type: 'application/json', body: `${JSON.stringify(proof)}\n` })

/** A log that is followed. */
interface Followed {
  readonly keys: readonly NoteKey[]
  record: LogRecord
  /** Two histories that it signed: nothing of it is cosigned any more. */
  fork: ForkProof | undefined
}

/**
 * Cosigns checkpoints of the logs that it follows, each only if it extends the one before. It answers in one turn from
 * comparing to persisting, so nothing comes in between.
 * @see c2sp.org/tlog-witness
 */
export class Witness {
  readonly #ports: WitnessPorts
  readonly #logs = new Map<string, Followed>()

  /**
   * @param logKeys keys of the logs to follow; a key's name is its log's origin
   * @throws {WitnessDamaged} when what was recorded is missing or damaged
   */
  constructor(logKeys: readonly NoteKey[], ports: WitnessPorts) {
    this.#ports = ports
    const origins = [...new Set(logKeys.map(({ name }) => name))]
    for (const [origin, record] of openRecords(origins, ports)) {
      const keys = logKeys.filter(({ name }) => name === origin)
      this.#logs.set(origin, { keys, record, fork: readFork(origin, keys, ports) })
    }
  }

  /** The size that was cosigned last for a log; undefined for one that is not followed. */
  sizeOf(origin: string): number | undefined {
    return this.#logs.get(origin)?.record.checkpoint.size
  }

  /**
   * `POST <submission prefix>/add-checkpoint`, in the order of the specification. A throw means that the record may not be
   * durable; nothing was cosigned then.
   */
  addCheckpoint(body: Uint8Array): Answer {
    let submission: Submission
    let note: Note
    let checkpoint: Checkpoint
    try {
      submission = parseSubmission(body)
      note = parseNote(submission.note)
      checkpoint = parseCheckpointText(note.text, 'allowed')
    } catch (error) {
      if (error instanceof Denied && error.code === 'signature_invalid') return text(403, 'the checkpoint carries no signature')
      return text(400, error instanceof Denied ? error.message : 'malformed')
    }
    const log = this.#logs.get(checkpoint.origin)
    if (log === undefined) return text(404, 'this witness does not follow that log')
    const signer = signerOf(note, log.keys, this.#ports)
    if (signer === undefined) return text(403, 'no trusted key of the log signed this checkpoint')
    if (submission.oldSize > checkpoint.size) return text(400, 'the old size is larger than the checkpoint')
    if (log.fork !== undefined) return forked(403, log.fork)
    return this.#compare(submission, note, checkpoint, signer, log)
  }

  #compare({ oldSize, proof }: Submission, note: Note, checkpoint: Checkpoint, signer: NoteKey, log: Followed): Answer {
    const { record } = log
    const seen = record.checkpoint
    const isOther = checkpoint.size === seen.size && !equalBytes(checkpoint.root, seen.root)
    const found = isOther ? this.#keepFork(log, note, signer, []) : undefined
    // A size that is asked for must be the whole body: the next submission is told of the fork.
    if (oldSize !== seen.size) return conflict(seen.size)
    if (isOther) return found === undefined ? text(409, 'another tree of this size was cosigned') : forked(409, found)
    if (oldSize === 0) return proof.length === 0 ? this.#cosign(note, checkpoint, signer, log) : text(422, 'a proof from the empty tree')
    try {
      verifyConsistency(seen, checkpoint, proof, this.#ports.crypto.sha256)
    } catch (error) {
      if (!(error instanceof Denied)) throw error
      const shown = this.#contradicts(seen, checkpoint, proof) ? this.#keepFork(log, note, signer, proof) : undefined
      return shown === undefined ? text(422, 'the checkpoint is not shown to extend the one before') : forked(422, shown)
    }
    return this.#cosign(note, checkpoint, signer, log)
  }

  /** Whether the proof is one of the new tree, and that tree begins with other leaves than were cosigned. */
  #contradicts(seen: Checkpoint, checkpoint: Checkpoint, proof: readonly Uint8Array[]): boolean {
    // From a whole subtree the proof leaves its root out: then it says nothing about the new tree's own beginning.
    if (seen.size === checkpoint.size || isPowerOfTwo(seen.size)) return false
    try {
      const roots = consistencyRoots(seen.size, checkpoint.size, proof, this.#ports.crypto.sha256)
      return equalBytes(roots.newer, checkpoint.root) && !equalBytes(roots.older, seen.root)
    } catch {
      return false
    }
  }

  /** Keeps the proof and closes the log; undefined where one key did not sign both, which proves nothing of either. */
  #keepFork(log: Followed, note: Note, signer: NoteKey, path: readonly Uint8Array[]): ForkProof | undefined {
    const { checkpoint, note: cosigned } = log.record
    const before = cosigned === undefined ? undefined : parseNote(cosigned)
    if (before === undefined || !before.signatures.some(({ name, id }) => name === signer.name && id === signer.id)) return undefined
    const found = forkProof(checkpoint.origin, signedBy(before, signer), signedBy(note, signer), path)
    log.fork = found // also if it cannot be kept: closed first
    writeFork(found, this.#ports)
    return found
  }

  #cosign(note: Note, checkpoint: Checkpoint, signer: NoteKey, log: Followed): Answer {
    const { wallMs, witnessKey } = this.#ports
    const now = Math.floor(wallMs() / 1_000)
    // A later statement never bears an earlier time: it would deny what was seen in between.
    if (now < log.record.timeSeconds - MAX_SKEW_SECONDS) return text(503, 'the clock of this witness stands before its own last cosignature')
    const timeSeconds = Math.max(now, log.record.timeSeconds)
    const line = formatCosignature(witnessKey.key, timeSeconds, witnessKey.sign(cosignedMessage(note.text, timeSeconds)))
    const record = { checkpoint, note: `${signedBy(note, signer)}${line}`, timeSeconds }
    writeRecord(record, this.#ports) // a crash from here on: the log learns of it by the size in a 409
    log.record = record
    return { status: 200, type: 'text/plain; charset=utf-8', body: line }
  }

  /** `GET /checkpoint/<hex of SHA-256(origin)>`: the latest cosigned checkpoint, so that anybody can compare. */
  checkpoint(hash: string): Answer {
    for (const [origin, { record }] of this.#logs) {
      if (originHash(origin, this.#ports) !== hash) continue
      return record.note === undefined ? text(404, 'nothing was cosigned yet') : { status: 200, type: 'text/plain; charset=utf-8', body: record.note }
    }
    return text(404, 'this witness does not follow that log')
  }
}

/** The trusted key that signed the note; signatures by other keys are ignored. */
function signerOf(note: Note, keys: readonly NoteKey[], { crypto }: WitnessPorts): NoteKey | undefined {
  return keys.find((key) => {
    try {
      verifyNote(note, key, crypto)
      return true
    } catch {
      return false
    }
  })
}

/** The note with the signature of this key alone: what strangers added is not kept. */
function signedBy(note: Note, key: NoteKey): string {
  const lines = note.signatures.filter(({ name, id }) => name === key.name && id === key.id).map(({ signature }) => formatSignature(key, signature))
  return `${note.text}\n${lines.join('')}`
}
