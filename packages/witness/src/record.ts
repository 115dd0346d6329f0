import {
  type Checkpoint, checkpointText, emptyRoot, type ForkProof, Fields, isKeyName, type NoteKey, parseCheckpointText, parseForkProof, parseNote, parseStrictText, toHex,
  utf8, verifyCosignature, verifyFork,
} from '@sealwrit/protocol'
import type { WitnessPorts } from './ports.ts'

/** What a witness knows is missing, damaged or not its own. It must not begin anew: what it forgot, it would cosign again. */
export class WitnessDamaged extends Error {}

/** Logs that one witness serves. */
export const MAX_LOGS = 1_024
const MANIFEST = 'witness.json'

/** The latest checkpoint that was cosigned for one log. */
export interface LogRecord {
  readonly checkpoint: Checkpoint
  /** The note with the log's and this witness's signatures; undefined while nothing was cosigned. */
  readonly note: string | undefined
  /** When it was cosigned, in seconds; 0 while nothing was. */
  readonly timeSeconds: number
}

/** Name of the files of a log: lowercase hex of SHA-256(origin), so that no origin can name another file. */
export function originHash(origin: string, { crypto }: Pick<WitnessPorts, 'crypto'>): string {
  return toHex(crypto.sha256(utf8(origin)))
}
const recordFile = (hash: string): string => `logs/${hash}.checkpoint`
const forkFile = (hash: string): string => `forks/${hash}.json`

/** Which logs this witness has begun to follow: a record of one of them that is missing was lost. */
interface Manifest {
  readonly v: 1
  readonly name: string
  readonly logs: readonly string[]
}

/** The name that the witness of this folder goes by; undefined where none has begun. @throws {WitnessDamaged} */
export function readName(files: WitnessPorts['files']): string | undefined {
  return readManifest(files)?.name
}

function readManifest(files: WitnessPorts['files']): Manifest | undefined {
  return whole(MANIFEST, () => {
    const text = files.read(MANIFEST)
    if (text === undefined) return undefined
    const fields = new Fields(parseStrictText(text), 'request_malformed', MANIFEST)
    const manifest: Manifest = { v: fields.literal('v', 1), name: fields.text('name', 256), logs: fields.strings('logs', MAX_LOGS) }
    fields.end()
    return manifest
  })
}

/** Begins a witness of this name in an empty folder. */
export function beginWitness(files: WitnessPorts['files'], name: string): void {
  if (!isKeyName(name)) throw new TypeError('a witness has a key name')
  files.write(MANIFEST, `${JSON.stringify({ v: 1, name, logs: [] } satisfies Manifest)}\n`)
}

/**
 * Reads what was recorded about every log, and begins a record for those that are new.
 * @throws {WitnessDamaged} for a record that is missing, cannot be read, or is not what this witness cosigned
 */
export function openRecords(origins: readonly string[], ports: WitnessPorts): Map<string, LogRecord> {
  const manifest = readManifest(ports.files)
  if (manifest === undefined) throw new WitnessDamaged(`${MANIFEST} is missing`)
  if (manifest.name !== ports.witnessKey.key.name) throw new WitnessDamaged(`the witness of this folder is ${manifest.name}`)
  const records = new Map<string, LogRecord>()
  const known = new Set(manifest.logs)
  for (const origin of origins) {
    const hash = originHash(origin, ports)
    const record = readRecord(origin, hash, ports)
    if (record === undefined && known.has(hash)) throw new WitnessDamaged(`${recordFile(hash)} is missing: the record of ${origin}`)
    records.set(origin, record ?? beginRecord(origin, hash, ports))
    known.add(hash)
  }
  // A record is there before its name stands in the manifest: a crash between the two loses nothing.
  if (known.size > MAX_LOGS) throw new WitnessDamaged(`more than ${MAX_LOGS} logs`)
  if (known.size > manifest.logs.length) ports.files.write(MANIFEST, `${JSON.stringify({ ...manifest, logs: [...known] })}\n`)
  return records
}

function beginRecord(origin: string, hash: string, { files, crypto }: WitnessPorts): LogRecord {
  const checkpoint = { origin, size: 0, root: emptyRoot(crypto.sha256) }
  files.write(recordFile(hash), checkpointText(checkpoint))
  return { checkpoint, note: undefined, timeSeconds: 0 }
}

function readRecord(origin: string, hash: string, { files, crypto, witnessKey }: WitnessPorts): LogRecord | undefined {
  return whole(recordFile(hash), () => {
    const text = files.read(recordFile(hash))
    if (text === undefined) return undefined
    const empty: Checkpoint = { origin, size: 0, root: emptyRoot(crypto.sha256) }
    if (text === checkpointText(empty)) return { checkpoint: empty, note: undefined, timeSeconds: 0 }
    const note = parseNote(text)
    const checkpoint = parseCheckpointText(note.text, 'allowed')
    if (checkpoint.origin !== origin) throw new Error('it is the record of another log')
    const timeSeconds = verifyCosignature(note, witnessKey.key, Number.MAX_SAFE_INTEGER, crypto)
    if (timeSeconds === undefined) throw new Error('it does not carry the cosignature of this witness')
    return { checkpoint, note: text, timeSeconds }
  })
}

/** Durable on return. @throws when it is not, or may not be */
export function writeRecord(record: LogRecord & { readonly note: string }, ports: WitnessPorts): void {
  ports.files.write(recordFile(originHash(record.checkpoint.origin, ports)), record.note)
}

/** The fork that was recorded of a log. @throws {WitnessDamaged} when the file proves none */
export function readFork(origin: string, keys: readonly NoteKey[], ports: WitnessPorts): ForkProof | undefined {
  const name = forkFile(originHash(origin, ports))
  return whole(name, () => {
    const text = ports.files.read(name)
    if (text === undefined) return undefined
    const proof = parseForkProof(parseStrictText(text))
    for (const key of keys) {
      try {
        verifyFork(proof, key, ports.crypto)
        return proof
      } catch {
        continue // a fork under another key of this log
      }
    }
    throw new Error('it proves no fork of this log')
  })
}

export function writeFork(proof: ForkProof, ports: WitnessPorts): void {
  ports.files.write(forkFile(originHash(proof.origin, ports)), `${JSON.stringify(proof)}\n`)
}

function whole<T>(name: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof WitnessDamaged) throw error
    throw new WitnessDamaged(`${name} cannot be used: ${error instanceof Error ? error.message : 'unknown error'}`)
  }
}
