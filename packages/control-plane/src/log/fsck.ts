import {
  type Body, BundleVerifier, canonicalText, commitment, type Crypto, Denied, digestOf, type Entry, type EntryHead, equalBytes, followKeys, fromBase64Url, type KeyRing, leafHash, type LogKeyEntry, type NoteKey, parseEntry, parseStrictText, peekClaims, present, type Report,
  type SigningKey, signingKey, TileStack, utf8, canonicalize, verifyAnchor, verifyCheckpoint, verifyReceipt,
} from '@sealwrit/protocol'
import { KeptAnchors } from '../anchor/kept.ts'
import { decodeBodies, encodeBodies } from '../store/bodies.ts'
import { type Head, type Store, type StoredBody, type StoredRow, StoreFailure } from '../store/store.ts'
import { Derived } from './derived.ts'

/** Problems that are told one by one. */
const MAX_PROBLEMS = 1_000

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
  /** A signed checkpoint that is remembered outside the store, read before the store: what is stored must not be older. */
  readonly highWater?: string | undefined
}

/**
 * Hashes everything again that is stored, and compares it with what the log key signed: entries, tiles, every stored
 * checkpoint, bodies, spent keys, policy texts, and the index that is derived. What is written meanwhile is left for the next time.
 * @param told hears how many of how many entries were looked at
 */
export async function fsck(store: Store, trust: FsckTrust, told: (done: number, of: number) => void = () => undefined): Promise<FsckReport> {
  const check = new Fsck(trust)
  try {
    check.begin(await store.head(), await store.indexedSize())
    let rows = 0
    for await (const row of store.audit()) {
      check.row(row)
      if (row.kind === 'group') told(check.entries, check.size)
      if (++rows % 64 === 0) await new Promise((resolve) => setImmediate(resolve)) // a plane that is checked goes on working
    }
    await check.anchors(new KeptAnchors(store))
    return check.end(await store.head())
  } catch (error) {
    if (error instanceof StoreFailure && error.recoverable) throw error
    return check.unreadable(error)
  }
}

class Fsck {
  size = 0
  entries = 0
  readonly #trust: FsckTrust
  readonly #verifier: BundleVerifier
  readonly #tree: TileStack
  readonly #tiles = new Map<string, Uint8Array>()
  readonly #derived: Derived
  readonly #gateKeys = new Map<string, SigningKey>()
  readonly #keys: (LogKeyEntry & EntryHead)[] = []
  readonly #problems: string[] = []
  readonly #counts = { groups: 0, bodies: 0, tiles: 0, checkpoints: 0 }
  #signedSize = 0
  #omitted = 0
  #lastTimeMs = 0
  /** Whether the head stands in a row of its own, and checkpoints not in their groups. */
  #hasHead = false
  /** One past the last leaf that anything in the store speaks of, beyond those that were looked at. */
  #beyond = 0

  constructor(trust: FsckTrust) {
    this.#trust = trust
    this.#tree = new TileStack(trust.crypto.sha256)
    this.#derived = new Derived(trust.crypto, (what) => this.#problem(what))
    this.#verifier = new BundleVerifier({ crypto: trust.crypto, logKey: trust.logKey, gateKeys: [], checkpoints: trust.highWater === undefined ? [] : [trust.highWater] })
  }

  begin({ size, checkpoint }: Head, indexed: number): void {
    this.size = size
    this.#derived.begin(size, indexed)
    if (checkpoint === undefined && size > 0) this.#problem('the store holds entries, but no signed checkpoint')
    this.#signedSize = checkpoint === undefined ? 0 : this.#head(checkpoint)
    this.#marked()
  }

  /** The mark was read before the head, so the store holds it, or lost it. That the key signed it, and its tree, is the verifier's business. */
  #marked(): void {
    const size = Number(this.#trust.highWater?.split('\n')[1] ?? 0)
    if (size > this.size) this.#problem(`the store holds ${this.size} entries, and the log key signed ${size}: an older copy is in its place, or its end was cut off`)
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
        this.#hasHead = true
        return
      case 'tile':
        return this.#tile(row)
      case 'spent':
        return this.#derived.spentKey(row)
      case 'execution':
        return this.#derived.execution(row)
      case 'meta':
        return this.#derived.meta(row)
    }
  }

  #group({ firstSeq, count, entries: column, bodies, checkpoint }: StoredRow & { kind: 'group' }): void {
    const texts = column.split('\n')
    if (count !== texts.length) this.#problem(`group ${firstSeq} says that it has ${count} entries and has ${texts.length}`)
    this.#beyond = Math.max(this.#beyond, firstSeq + texts.length)
    if (this.entries >= this.size) return // written meanwhile
    this.#counts.groups++
    if (firstSeq !== this.entries) this.#problem(`group ${firstSeq} does not follow entry ${this.entries - 1}`)
    const byEntry = this.#bodies(firstSeq, texts.length, bodies)
    let needsCheckpoint = false
    for (const [i, text] of texts.entries()) needsCheckpoint = this.#entry(text, byEntry.get(firstSeq + i) ?? [], firstSeq) || needsCheckpoint
    if (checkpoint !== undefined) this.#checkpoint(checkpoint, firstSeq)
    else if (needsCheckpoint && !this.#hasHead) this.#problem(`group ${firstSeq} has lost its checkpoint`)
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

  /** @returns whether its group must have been signed */
  #entry(text: string, bodies: readonly Body[], groupSeq: number): boolean {
    const seq = this.entries++
    const leaf = leafHash(utf8(text), this.#trust.crypto.sha256)
    for (const { level, index, hashes } of this.#tree.append(leaf)) this.#tiles.set(`${level}/${index}`, this.#trust.crypto.sha256(hashes))
    if (seq < this.#signedSize) this.#verifier.leaf(text, bodies)
    try {
      const entry = parseEntry(text)
      if (seq >= this.#signedSize) this.#unsigned(entry, seq, bodies)
      this.#derive(entry, groupSeq)
      return entry.kind !== 'receipt'
    } catch (error) {
      this.#problem(`entry ${seq}: ${reason(error)}`)
      return false
    }
  }

  /** A receipt that no checkpoint covers yet stands by the signature of its gate alone. @throws {Denied} */
  #unsigned(entry: Entry, seq: number, bodies: readonly Body[]): void {
    const { crypto, tenant } = this.#trust
    if (entry.kind !== 'receipt') throw new Denied('issuance_not_logged', 'it stands beyond the newest signed checkpoint and is no receipt')
    if (entry.seq !== seq || entry.tenant !== tenant) throw new Denied('seal_invalid', 'it has another place')
    const { gate } = peekClaims(entry.receipt)
    const key = typeof gate === 'string' ? this.#gateKeys.get(gate) : undefined
    if (key === undefined) throw new Denied('key_unknown', 'no gate with its key is enrolled')
    const { jti, result_commit } = verifyReceipt(entry.receipt, key, crypto)
    if (jti !== entry.jti || !this.#derived.knows(jti)) throw new Denied('seal_invalid', 'the receipt is about another execution')
    for (const { purpose, commit, salt, digest, body } of bodies) {
      const isBound = purpose === 'result' && commit === result_commit && commitment('result', salt, digest, crypto.sha256) === commit && (body === undefined || digestOf(canonicalize(body), crypto.sha256) === digest)
      if (!isBound) throw new Denied('seal_invalid', 'a body is not what the gate committed to')
    }
  }

  #derive(entry: Entry, groupSeq: number): void {
    const isReAnchored = entry.kind === 'key' && entry.purpose === 'log' && entry.lost !== undefined
    if (entry.time < this.#lastTimeMs && !isReAnchored) this.#problem(`entry ${entry.seq} is older than the one before it`)
    this.#lastTimeMs = entry.time
    this.#derived.entry(entry, groupSeq)
    if (entry.kind === 'gate' && entry.key !== undefined) this.#gateKeys.set(entry.gate, signingKey(fromBase64Url(entry.key), this.#trust.crypto.sha256))
    if (entry.kind === 'key' && entry.purpose === 'log') this.#keys.push(entry)
  }

  #checkpoint(note: string, firstSeq: number): void {
    this.#counts.checkpoints++
    try {
      const { size, root } = verifyCheckpoint(note, this.#signers(), this.#trust.crypto)
      if (size !== this.entries || !equalBytes(root, this.#tree.root())) throw new Denied('seal_invalid', 'it is not over these entries')
    } catch (error) {
      this.#problem(`the checkpoint of group ${firstSeq}: ${reason(error)}`)
    }
  }

  #ring(): KeyRing {
    return followKeys([this.#trust.logKey], this.#keys, this.#trust.crypto).named
  }

  /** Who may have signed the tree of the entries so far: after the log was re-anchored, none of the keys before. */
  #signers(): KeyRing {
    const { name, keys } = this.#ring()
    const since = this.#keys.filter(({ event }) => event !== 'revoked').findLastIndex(({ event }) => event === 're_anchored')
    return { name, keys: since < 0 ? keys : keys.filter(({ epoch }) => epoch > since) }
  }

  #tile({ level, index, hashes }: StoredRow & { kind: 'tile' }): void {
    const end = (index + 1) * 256 ** (level + 1)
    this.#beyond = Math.max(this.#beyond, end)
    if (end > this.size) return // written meanwhile, or without its entries, which the size would show
    this.#counts.tiles++
    const wanted = this.#tiles.get(`${level}/${index}`)
    if (wanted === undefined || !equalBytes(wanted, this.#trust.crypto.sha256(hashes))) this.#problem(`tile ${level}/${index} is not that of the entries`)
    this.#tiles.delete(`${level}/${index}`)
  }

  /** Every anchor that is kept can be read, and is of a checkpoint that a key of this log signed. */
  async anchors(kept: KeptAnchors): Promise<void> {
    try {
      const keys = this.#ring()
      for (const [place, { count }] of (await kept.records()).entries()) {
        for (let n = 0; n < count; n++) {
          const { anchor, size } = await kept.at(place, n)
          const verdict = verifyAnchor(anchor, keys, undefined, this.#trust.crypto)
          if (verdict.checkpoint.size !== size) throw new Denied('seal_invalid', `anchor ${n} of sink ${place} is of another size`)
        }
      }
    } catch (error) {
      if (!(error instanceof Denied)) throw error
      this.#problem(`a kept anchor: ${error.message}`)
    }
  }

  /** @param after where the log stands now: what was written meanwhile is before it */
  end(after: Head): FsckReport {
    if (this.entries < this.size) this.#problem(`entries ${this.entries} to ${this.size - 1} are missing`)
    if (this.#beyond > after.size) this.#problem(`the store speaks of entry ${this.#beyond - 1}, and the log has ${after.size}`)
    for (const name of this.#tiles.keys()) this.#problem(`tile ${name} is missing`)
    this.#derived.end(after.size)
    const report: Report = this.#verifier.end()
    for (const { verdict, claim, seq } of report.findings) if (verdict === 'contradicted') this.#problem(`${seq === undefined ? '' : `entry ${seq}: `}${claim}`)
    return this.#report()
  }

  unreadable(error: unknown): FsckReport {
    this.#problem(`the store cannot be read: ${reason(error)}`)
    return this.#report()
  }

  #report(): FsckReport {
    return { entries: this.entries, ...this.#counts, problems: this.#problems, omitted: this.#omitted }
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : 'unknown error'
}
