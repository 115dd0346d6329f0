import {
  type Body, BundleVerifier, canonicalText, type Crypto, Denied, digestOf, type Entry, equalBytes, leafHash, type NoteKey, parseEntry, parseStrictText, parseVerifierKey, present, type Report, TileStack, utf8, canonicalize, verifyCheckpoint,
} from '@sealwrit/protocol'
import { decodeBodies, encodeBodies } from '../store/bodies.ts'
import type { ExecutionRow, Head, Store, StoredBody, StoredRow } from '../store/store.ts'
import { indexEntry } from './executions.ts'

/** Problems that are told one by one. */
const MAX_PROBLEMS = 1_000
/** Names under which the store keeps something that is not an entry, with what each must be. */
const KNOWN_META: readonly RegExp[] = [/^policy sha256:[0-9a-f]{64}$/, /^indexed_size$/, /^erased_below$/, /^anchor sinks$/, /^anchor sink \d{1,2}$/, /^anchor \d{1,2} \d{1,7}$/]

export interface FsckReport {
  readonly entries: number
  readonly groups: number
  readonly bodies: number
  readonly tiles: number
  readonly checkpoints: number
  readonly problems: readonly string[]
  /** Problems beyond those that are told. */
  readonly omitted: number
}

export interface FsckTrust {
  readonly logKey: NoteKey
  readonly crypto: Crypto
  readonly tenant: string
}

/**
 * Hashes everything again that is stored, and compares it with what the log key signed: entries, tiles, every stored
 * checkpoint, bodies, spent keys, policy texts, and the index that is derived. What is written meanwhile is left for the next time.
 * @param told hears how many of how many entries were looked at
 */
export async function fsck(store: Store, trust: FsckTrust, told: (done: number, of: number) => void = () => undefined): Promise<FsckReport> {
  const check = new Fsck(await store.head(), trust)
  let rows = 0
  for await (const row of store.audit()) {
    check.row(row)
    if (row.kind === 'group') told(check.entries, check.size)
    if (++rows % 64 === 0) await new Promise((resolve) => setImmediate(resolve)) // a plane that is checked goes on working
  }
  return check.end()
}

class Fsck {
  readonly size: number
  entries = 0
  readonly #trust: FsckTrust
  readonly #verifier: BundleVerifier
  readonly #tree: TileStack
  readonly #tiles = new Map<string, Uint8Array>()
  readonly #executions = new Map<string, ExecutionRow>()
  readonly #policies = new Set<string>()
  readonly #spent = new Map<string, number>()
  readonly #keys: { readonly key: NoteKey; readonly from: number }[] = []
  readonly #problems: string[] = []
  readonly #counts = { groups: 0, bodies: 0, tiles: 0, checkpoints: 0 }
  readonly #signedSize: number
  #omitted = 0
  #indexed = 0
  #lastTimeMs = 0

  constructor({ size, checkpoint }: Head, trust: FsckTrust) {
    this.size = size
    this.#trust = trust
    this.#tree = new TileStack(trust.crypto.sha256)
    this.#verifier = new BundleVerifier({ crypto: trust.crypto, logKey: trust.logKey, gateKeys: [] })
    if (checkpoint === undefined && size > 0) this.#problem('the store holds entries, but no signed checkpoint')
    this.#signedSize = checkpoint === undefined ? 0 : this.#head(checkpoint)
  }

  #head(note: string): number {
    const { logKey, crypto, tenant } = this.#trust
    this.#verifier.head({ v: 1, origin: logKey.name, tenant, checkpoint: note })
    try {
      return verifyCheckpoint(note, logKey, crypto).size
    } catch (error) {
      this.#problem(`the newest checkpoint: ${reason(error)}`)
      return 0
    }
  }

  #problem(what: string): void {
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push(what)
    else this.#omitted++
  }

  row(row: StoredRow): void {
    switch (row.kind) {
      case 'damage':
        return this.#problem(`the database: ${row.what}`)
      case 'group':
        return this.#group(row)
      case 'head':
        return
      case 'tile':
        return this.#tile(row)
      case 'spent':
        return this.#spentKey(row)
      case 'execution':
        return this.#execution(row)
      case 'meta':
        return this.#meta(row)
    }
  }

  #group({ firstSeq, count, entries: column, bodies, checkpoint }: StoredRow & { kind: 'group' }): void {
    if (this.entries >= this.size) return // written meanwhile
    this.#counts.groups++
    const texts = column.split('\n')
    if (firstSeq !== this.entries) this.#problem(`group ${firstSeq} does not follow entry ${this.entries - 1}`)
    if (count !== texts.length) this.#problem(`group ${firstSeq} says that it has ${count} entries and has ${texts.length}`)
    const byEntry = this.#bodies(firstSeq, texts.length, bodies)
    for (const [i, text] of texts.entries()) this.#entry(text, byEntry.get(firstSeq + i) ?? [])
    if (checkpoint !== undefined) this.#checkpoint(checkpoint, firstSeq)
  }

  #bodies(firstSeq: number, count: number, column: string): ReadonlyMap<number, Body[]> {
    const out = new Map<number, Body[]>()
    let stored: StoredBody[] = []
    try {
      stored = decodeBodies(column)
      if (encodeBodies(stored) !== column) throw new Denied('encoding_invalid', 'another spelling')
    } catch (error) {
      this.#problem(`the bodies of group ${firstSeq} cannot be read (${reason(error)})`)
    }
    for (const body of stored) {
      this.#counts.bodies++
      if (!(body.seq >= firstSeq && body.seq < firstSeq + count)) this.#problem(`a body of group ${firstSeq} belongs to entry ${body.seq}, which is not in it`)
      else out.set(body.seq, [...(out.get(body.seq) ?? []), ...this.#body(body)])
    }
    return out
  }

  #body({ seq, purpose, commit, salt, digest, text }: StoredBody): Body[] {
    try {
      const body = text === undefined ? undefined : parseStrictText(text)
      if (body !== undefined && canonicalText(body) !== text) throw new Denied('encoding_invalid', 'not canonical')
      return [present<Body>({ purpose, commit, salt, digest, body })]
    } catch (error) {
      this.#problem(`a body of entry ${seq} is damaged (${reason(error)})`)
      return []
    }
  }

  #entry(text: string, bodies: readonly Body[]): void {
    const seq = this.entries++
    const leaf = leafHash(utf8(text), this.#trust.crypto.sha256)
    for (const { level, index, hashes } of this.#tree.append(leaf)) this.#tiles.set(`${level}/${index}`, this.#trust.crypto.sha256(hashes))
    if (seq < this.#signedSize) this.#verifier.leaf(text, bodies)
    try {
      const entry = parseEntry(text)
      if (seq >= this.#signedSize && entry.kind !== 'receipt') this.#problem(`entry ${seq} stands beyond the newest signed checkpoint and is no receipt`)
      this.#derive(entry)
    } catch (error) {
      this.#problem(`entry ${seq}: ${reason(error)}`)
    }
  }

  /** What else the store must hold because of this entry. */
  #derive(entry: Entry): void {
    const isReAnchored = entry.kind === 'key' && entry.purpose === 'log' && entry.lost !== undefined
    if (entry.time < this.#lastTimeMs && !isReAnchored) this.#problem(`entry ${entry.seq} is older than the one before it`)
    this.#lastTimeMs = entry.time
    indexEntry(entry, this.#executions)
    if (entry.kind === 'policy') this.#policies.add(entry.digest)
    if (entry.kind === 'redemption') this.#spent.set(`jti ${entry.jti}`, entry.seq)
    if (entry.kind === 'key' && entry.purpose === 'log') this.#keys.push({ key: parseVerifierKey(entry.key, this.#trust.crypto.sha256), from: entry.event === 'created' ? 0 : entry.seq + 1 })
  }

  #checkpoint(note: string, firstSeq: number): void {
    this.#counts.checkpoints++
    const key = this.#keys.findLast(({ from }) => from <= this.entries)?.key ?? this.#trust.logKey
    try {
      const { size, root } = verifyCheckpoint(note, key, this.#trust.crypto)
      if (size !== this.entries || !equalBytes(root, this.#tree.root())) throw new Denied('seal_invalid', 'it is not over these entries')
    } catch (error) {
      this.#problem(`the checkpoint of group ${firstSeq}: ${reason(error)}`)
    }
  }

  #tile({ level, index, hashes }: StoredRow & { kind: 'tile' }): void {
    if ((index + 1) * 256 ** (level + 1) > this.size) return // written meanwhile, or without its entries, which the size would show
    this.#counts.tiles++
    const wanted = this.#tiles.get(`${level}/${index}`)
    if (wanted === undefined || !equalBytes(wanted, this.#trust.crypto.sha256(hashes))) this.#problem(`tile ${level}/${index} is not that of the entries`)
    this.#tiles.delete(`${level}/${index}`)
  }

  #spentKey({ key, seq }: StoredRow & { kind: 'spent' }): void {
    if (seq >= this.size) return
    if (!this.#spent.delete(key)) this.#problem(`the key ${key} is spent, and no entry spends it`)
  }

  #execution({ kind: _, ...row }: StoredRow & { kind: 'execution' }): void {
    const wanted = this.#executions.get(row.jti)
    this.#executions.delete(row.jti)
    if (wanted === undefined) return this.#problem(`the index holds an execution ${row.jti} that the log does not`)
    const isNewer = (row.ending ?? 0) >= this.size || (row.expiry ?? 0) >= this.size
    const isOlder = (wanted.ending ?? 0) >= this.#indexed
    if (!isNewer && !isOlder && JSON.stringify(row, SORTED) !== JSON.stringify(wanted, SORTED)) this.#problem(`the index of execution ${row.jti} is not what the log says`)
  }

  #meta({ key, value }: StoredRow & { kind: 'meta' }): void {
    if (!KNOWN_META.some((known) => known.test(key))) this.#problem(`the store holds something under a name that nothing uses: ${key.slice(0, 64)}`)
    if (key === 'indexed_size') this.#indexed = Number(value)
    if ((key === 'indexed_size' || key === 'erased_below') && !(Number.isSafeInteger(Number(value)) && Number(value) >= 0)) this.#problem(`${key} is no number`)
    if (!key.startsWith('policy ')) return
    const digest = key.slice('policy '.length)
    try {
      if (digestOf(canonicalize(parseStrictText(value, { maxBytes: 67_108_864, maxDepth: 8, maxMembers: 10_000 })), this.#trust.crypto.sha256) !== digest) throw new Denied('seal_invalid', 'the texts differ')
    } catch (error) {
      this.#problem(`policy set ${digest}: ${reason(error)}`)
    }
    this.#policies.delete(digest)
  }

  end(): FsckReport {
    if (this.entries < this.size) this.#problem(`entries ${this.entries} to ${this.size - 1} are missing`)
    for (const name of this.#tiles.keys()) this.#problem(`tile ${name} is missing`)
    for (const digest of this.#policies) this.#problem(`policy set ${digest} is missing: decisions under it cannot be replayed`)
    for (const key of this.#spent.keys()) this.#problem(`the key ${key} was spent, and the store does not hold it`)
    const report: Report = this.#verifier.end()
    for (const { verdict, claim, seq } of report.findings) if (verdict === 'contradicted') this.#problem(`${seq === undefined ? '' : `entry ${seq}: `}${claim}`)
    return { entries: this.entries, ...this.#counts, problems: this.#problems, omitted: this.#omitted }
  }
}

const SORTED: string[] = ['jti', 'seq', 'ending', 'deadlineMs', 'expiry']

function reason(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown error'
}
