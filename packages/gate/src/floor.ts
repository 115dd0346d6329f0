import { Denied, Fields, fromBase64, MAX_ENTRY, MAX_LOG_KEYS, MAX_PROOF_LENGTH, parseStrictText, toBase64, type TreeHead } from '@sealwrit/protocol'
import type { FloorFile } from './ports.ts'

/** What a gate must not be shown less than, across restarts. */
export interface Floor {
  readonly origin: string
  readonly head: TreeHead | undefined
  /** The checkpoint of `head` as it was signed, for a plane that has lost it. */
  readonly note: string | undefined
  readonly epoch: number
  /** What the log said of its keys, and the epoch of the newest; absent while it had only one. */
  readonly keys?: readonly string[]
  readonly keyEpoch?: number
  /** Latest wall-clock time seen, milliseconds. */
  readonly timeMs: number
}

/** @throws {Denied} `state_diverged` when the file exists but cannot be read: it is never ignored in silence */
export function readFloor(file: FloorFile): Floor | undefined {
  try {
    const text = file.read()
    if (text === undefined) return undefined
    const fields = new Fields(parseStrictText(text), 'request_malformed', 'floor')
    const head = { size: fields.integer('size'), root: fromBase64(fields.text('root', 44)) }
    const note = fields.optional('note', (name) => fields.text(name, MAX_PROOF_LENGTH))
    const keys = fields.optional('keys', (name) => fields.strings(name, 2 * MAX_LOG_KEYS, MAX_ENTRY))
    const keyEpoch = fields.optional('key_epoch', (name) => fields.integer(name))
    const floor: Floor = { origin: fields.text('origin'), head, note, epoch: fields.integer('epoch'), timeMs: fields.integer('time'), ...(keys === undefined || keyEpoch === undefined ? {} : { keys, keyEpoch }) }
    fields.end()
    return floor
  } catch {
    throw new Denied('state_diverged', 'the floor file of this gate cannot be read; restore it, or remove it to learn the floor anew')
  }
}

export function writeFloor(file: FloorFile, floor: Floor): void {
  if (floor.head === undefined) return
  const { size, root } = floor.head
  const { origin, note, epoch, keys, keyEpoch, timeMs: time } = floor
  file.write(`${JSON.stringify({ origin, size, root: toBase64(root), ...(note === undefined ? {} : { note }), epoch, ...(keys === undefined || keys.length === 0 ? {} : { keys, key_epoch: keyEpoch }), time })}\n`)
}
