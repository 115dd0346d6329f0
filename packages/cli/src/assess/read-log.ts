import { LogMeasures, type Measured } from '@sealwrit/assessor'
import { nodeCryptography } from '@sealwrit/gate'
import { type Checkpoint, decodeEntries, type Entry, equalBytes, Frontier, fromBase64Url, leafHash, parseEntry, peekKid, type SigningKey, signingKey, tilesOf, utf8, verifyReceipt } from '@sealwrit/protocol'
import type { LogSource } from '../evidence/source.ts'
import type { Progress } from '../progress.ts'

/** Receipts whose signatures are checked one by one; of a longer log that many are taken over all of it. */
export const MAX_RECEIPTS_CHECKED = 20_000
/** Executions whose decisions are made again. */
export const MAX_NEWEST = 100
const { sha256 } = nodeCryptography

/** What a log shows that was read whole. */
export interface ReadLog {
  readonly measures: LogMeasures
  readonly receiptsVerified: Measured | undefined
  /** Ids of the newest executions. */
  readonly newest: readonly string[]
  /** What does not verify: then nothing that it shows counts. */
  readonly invalid: readonly string[]
}

/**
 * Reads a log from its first entry to the last under `head`, and holds it against the root that was signed.
 * @param nowMs when it is assessed
 */
export async function readLog(source: LogSource, head: Checkpoint, nowMs: number, progress: Progress): Promise<ReadLog> {
  const measures = new LogMeasures(nowMs)
  const tree = new Frontier(sha256)
  const receipts = new ReceiptCheck(head.size)
  const invalid: string[] = []
  const newest: string[] = []
  try {
    for (const tile of tilesOf('entries', head.size)) {
      for (const text of decodeEntries(await source.tile(tile), tile.width)) {
        const hash = leafHash(utf8(text), sha256)
        tree.append(hash)
        const entry = parseEntry(text)
        measures.add(entry)
        receipts.take(entry, hash)
        if (entry.kind === 'permit') {
          newest.push(entry.jti)
          if (newest.length > MAX_NEWEST) newest.shift()
        }
      }
      progress.at(measures.entries, head.size, 'entries')
    }
    if (!equalBytes(tree.root(), head.root)) invalid.push('the entries are not those that the log key signed')
  } catch (error) {
    invalid.push(`the log cannot be read whole: ${error instanceof Error ? error.message : 'unknown'}`)
  } finally {
    progress.end()
  }
  if (measures.broken !== undefined) invalid.push(measures.broken)
  invalid.push(...measures.contradictions)
  if (invalid.length === 0 && measures.entries !== head.size) invalid.push(`${head.size} entries were signed, and ${measures.entries} are there`)
  return { measures, receiptsVerified: receipts.measured(), newest, invalid }
}

/** Looks whether receipts were signed by the gates that the log enrolled: every one, or as many as are looked at, chosen by their own hash. */
class ReceiptCheck {
  readonly #keys = new Map<string, SigningKey>()
  /** Of 2^32. */
  readonly #below: number
  #checked = 0
  #good = 0
  readonly #bad: number[] = []

  constructor(size: number) {
    this.#below = size / 2 <= MAX_RECEIPTS_CHECKED ? 2 ** 32 : Math.floor((MAX_RECEIPTS_CHECKED / (size / 2)) * 2 ** 32)
  }

  take(entry: Entry, hash: Uint8Array): void {
    if (entry.kind === 'gate' && entry.key !== undefined) this.#keys.set(entry.gate, signingKey(fromBase64Url(entry.key), sha256))
    if (entry.kind !== 'receipt' || new DataView(hash.buffer, hash.byteOffset, 4).getUint32(0) >= this.#below) return
    this.#checked++
    try {
      const key = this.#keys.get(peekKid(entry.receipt))
      if (key === undefined) throw new Error('an unknown gate')
      verifyReceipt(entry.receipt, key, nodeCryptography)
      this.#good++
    } catch {
      if (this.#bad.length < 5) this.#bad.push(entry.seq)
    }
  }

  measured(): Measured | undefined {
    return this.#checked === 0 ? undefined : { value: this.#good / this.#checked, proof: this.#bad }
  }
}
