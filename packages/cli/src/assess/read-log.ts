import { availableParallelism } from 'node:os'
import { LogMeasures, type Measured, WINDOW_DAYS } from '@sealwrit/assessor'
import { nodeCryptography } from '@sealwrit/gate'
import { type Checkpoint, type Entry, equalBytes, Frontier, fromBase64Url, type SigningKey, signingKey, TILE_WIDTH, type TileName, tilesOf } from '@sealwrit/protocol'
import { ahead } from '../evidence/ahead.ts'
import type { LogSource } from '../evidence/source.ts'
import { siblingModule, Threads } from '../evidence/threads.ts'
import type { Progress } from '../progress.ts'
import { check, type CheckedReceipt, readTile, type ReadTile, type TileQuestion } from './tile.ts'

/** Receipts whose signatures are checked one by one; of a longer log that many are taken over all of it. */
export const MAX_RECEIPTS_CHECKED = 100_000
/** Executions whose decisions are made again. */
export const MAX_NEWEST = 100
/** Threads that read tiles: each takes 30 MB, and with three of them they are no longer what one waits for. */
const MAX_THREADS = 3
/** A log of fewer tiles is read before a thread would have started. */
const MIN_TILES = 16
/** Gates whose keys a tile is read with; receipts of others are checked when they are met. */
const MAX_KNOWN = 256
const { sha256 } = nodeCryptography

/** What a log shows that was read whole. */
export interface ReadLog {
  readonly measures: LogMeasures
  readonly receiptsVerified: Measured | undefined
  /** Ids of the newest executions of the last {@link WINDOW_DAYS}. */
  readonly newest: readonly string[]
  /** What does not verify: then nothing that it shows counts. */
  readonly invalid: readonly string[]
}

/**
 * Reads a log from its first entry to the last under `head`, and holds it against the root that was signed. Tiles are read by
 * threads, a few of them ahead; what they amount to is put together here, in the order of the log.
 * @param nowMs when it is assessed
 * @param jobs threads that read tiles (default: one a core, but for this one, where the log is long); 0 reads them all in this one
 */
export async function readLog(source: LogSource, head: Checkpoint, nowMs: number, progress: Progress, jobs: number = threadsFor(head)): Promise<ReadLog> {
  const measures = new LogMeasures(nowMs)
  const tree = new Frontier(sha256)
  const receipts = new ReceiptCheck(head.size)
  const invalid: string[] = []
  const newest: string[] = []
  const threads = new Threads<TileQuestion, ReadTile>(siblingModule(import.meta.url, 'tile-worker'), jobs)
  const read = async (tile: TileName): Promise<ReadTile> => {
    const question = { bytes: await source.tile(tile), width: tile.width, below: receipts.below, keys: receipts.known }
    return (await threads.ask(question)) ?? readTile(question)
  }
  try {
    for await (const { entries, hashes, failure } of ahead(tilesOf('entries', head.size), 2 * threads.count + 2, read)) {
      for (const { entry, claims, checked } of entries) {
        measures.add(entry, claims)
        receipts.take(entry, checked)
        if (entry.kind !== 'permit' || entry.time < nowMs - WINDOW_DAYS * 86_400_000) continue
        newest.push(entry.jti)
        if (newest.length > MAX_NEWEST) newest.shift()
      }
      if (failure !== undefined) throw new Error(failure)
      for (const hash of hashes) tree.append(hash, hashes.length === 1 ? entries.length : 1)
      progress.at(measures.entries, head.size, 'entries')
    }
    if (!equalBytes(tree.root(), head.root)) invalid.push('the entries are not those that the log key signed')
  } catch (error) {
    invalid.push(`the log cannot be read whole: ${error instanceof Error ? error.message : 'unknown'}`)
  } finally {
    progress.end()
    await threads.close()
  }
  if (measures.broken !== undefined) invalid.push(measures.broken)
  invalid.push(...measures.contradictions)
  if (invalid.length === 0 && measures.entries !== head.size) invalid.push(`${head.size} entries were signed, and ${measures.entries} are there`)
  return { measures, receiptsVerified: receipts.measured(), newest, invalid }
}

const threadsFor = ({ size }: Checkpoint): number => (size < MIN_TILES * TILE_WIDTH ? 0 : Math.min(availableParallelism() - 1, MAX_THREADS))

/** Counts receipts that were signed by the gates that the log enrolled: every one, or as many as are looked at, chosen by their own hash. */
class ReceiptCheck {
  /** Of 2^32: receipts whose hash begins with less are looked at. */
  readonly below: number
  /** Keys of the first gates. */
  readonly known = new Map<string, SigningKey>()
  readonly #keys = new Map<string, SigningKey>()
  #checked = 0
  #good = 0
  readonly #bad: number[] = []

  constructor(size: number) {
    this.below = size / 2 <= MAX_RECEIPTS_CHECKED ? 2 ** 32 : Math.floor((MAX_RECEIPTS_CHECKED / (size / 2)) * 2 ** 32)
  }

  /** @param found what was found of it with the keys of then; it counts where the key is the one of the log before this entry */
  take(entry: Entry, found: CheckedReceipt | undefined): void {
    if (entry.kind === 'gate' && entry.key !== undefined) this.#learn(entry.gate, signingKey(fromBase64Url(entry.key), sha256))
    if (entry.kind !== 'receipt' || found === undefined) return
    const key = this.#keys.get(found.kid)
    const isSame = found.key !== undefined && key !== undefined && equalBytes(found.key.publicKey, key.publicKey)
    this.#checked++
    if (isSame ? found.isGood : check(entry.receipt, this.#keys).isGood) this.#good++
    else if (this.#bad.length < 5) this.#bad.push(entry.seq)
  }

  #learn(gate: string, key: SigningKey): void {
    this.#keys.set(gate, key)
    if (this.known.size < MAX_KNOWN || this.known.has(gate)) this.known.set(gate, key)
  }

  measured(): Measured | undefined {
    return this.#checked === 0 ? undefined : { value: this.#good / this.#checked, proof: this.#bad }
  }
}
