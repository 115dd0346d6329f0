import { type Checkpoint, Denied, type Entry, isObject, type JsonValue, leafHash, type NoteKey, parseEntry, parseSealed, utf8, verifyCheckpoint, verifyExtends, verifyInclusion, type WitnessQuorum } from '@sealwrit/protocol'
import { type Floor, writeFloor } from './floor.ts'
import { LogKeys, speaksOfLogKey } from './log-keys.ts'
import type { GatePorts } from './ports.ts'
import type { GateTime } from './time.ts'

/** The floor is written at most this often; a crash may lose this much of it. */
const FLOOR_INTERVAL_MS = 1_000

/** What this gate has seen of the log: each checkpoint must extend the one before, across restarts. */
export class LogView {
  readonly keys: LogKeys
  readonly #witnesses: WitnessQuorum | undefined
  readonly #ports: GatePorts
  readonly #time: GateTime
  #newest: Checkpoint | undefined
  #newestNote: string | undefined
  /** The note of `#newest`, for a plane that may have lost it; not verified anew after a restart, so never taken for known. */
  #kept: string | undefined
  #writtenMs = Number.NEGATIVE_INFINITY

  constructor(options: { readonly logKey: NoteKey; readonly witnesses: WitnessQuorum | undefined }, ports: GatePorts, time: GateTime, floor: Floor | undefined) {
    this.keys = new LogKeys(options.logKey, floor?.keys ?? [], floor?.keyEpoch ?? 0, ports.crypto)
    this.#witnesses = options.witnesses
    this.#ports = ports
    this.#time = time
    this.#newest = floor?.head === undefined ? undefined : { origin: floor.origin, ...floor.head }
    this.#kept = floor?.note
  }

  /** The newest checkpoint this gate has verified; undefined only before its first. */
  get newest(): Checkpoint | undefined {
    return this.#newest
  }
  /** The note of {@link LogView.newest}, verified in this process: the same bytes are not verified twice. */
  get newestNote(): string | undefined {
    return this.#newestNote
  }
  /** The note of {@link LogView.newest} as it is kept on disk. */
  get keptNote(): string | undefined {
    return this.#kept
  }

  accept(checkpoint: Checkpoint, note: string): void {
    this.#newest = checkpoint
    this.#newestNote = note
    this.#kept = note
  }

  /**
   * Opens an entry that the plane shows: it is believed only with proof that it is in the log that this gate always saw.
   * @param statements all that the plane says of the keys of the log, under the same checkpoint; where it says something
   * @throws {Denied} what its seal fails, in the order of spec/artifact.md#verification
   */
  open(sealed: JsonValue, consistency: readonly Uint8Array[], statements: readonly JsonValue[] = []): Entry {
    const { crypto } = this.#ports
    const offered = statements.length > 0 ? this.keys.offered(statements, true) : speaksOfLogKey(sealed) ? this.keys.offered([sealed], false) : undefined
    const seal = parseSealed(sealed)
    const { checkpoint: note, index, hashes } = seal.proof
    const checkpoint = this.#newest !== undefined && note === this.#newestNote ? this.#newest : verifyCheckpoint(note, offered?.ring ?? this.keys.ring, crypto)
    if (this.#witnesses === undefined) throw new Denied('witness_quorum_not_met', 'this gate has no witness policy')
    this.#witnesses.verify(note, Math.floor(this.#time.nowMs() / 1_000), crypto)
    verifyExtends(this.#newest, checkpoint, consistency, crypto)
    offered?.adopt(checkpoint)
    this.accept(checkpoint, note)
    verifyInclusion({ index, size: checkpoint.size, leaf: leafHash(utf8(seal.entry), crypto.sha256), root: checkpoint.root, proof: hashes }, crypto.sha256)
    const entry = parseEntry(seal.entry)
    if (entry.seq !== index) throw new Denied('seal_invalid', 'seq is not the leaf index')
    return entry
  }

  /**
   * Writes the floor, at most once a second unless `atOnce`.
   * @throws {Denied} `evidence_unavailable` when it cannot be written
   */
  save(epoch: number, atOnce = false): void {
    const now = this.#ports.clock.monotonicMs()
    if (this.#newest === undefined || (!atOnce && now - this.#writtenMs < FLOOR_INTERVAL_MS)) return
    this.#writtenMs = now
    try {
      writeFloor(this.#ports.floor, { origin: this.#newest.origin, head: this.#newest, note: this.#kept, epoch, keys: this.keys.texts, keyEpoch: this.keys.epoch, timeMs: this.#time.highMs })
    } catch {
      this.#writtenMs = Number.NEGATIVE_INFINITY
      throw new Denied('evidence_unavailable', 'the floor of this gate cannot be written')
    }
  }

  /** Whether a sealed entry leads to the checkpoint that was verified last. */
  isCarriedBy(sealed: JsonValue): boolean {
    const proof = isObject(sealed) ? sealed['proof'] : undefined
    return this.#newestNote !== undefined && typeof proof === 'string' && proof.endsWith(`\n\n${this.#newestNote}`)
  }
}
