import { canonicalize, type Crypto, Denied, digestOf, type Entry, isObject, parseStrictText } from '@sealwrit/protocol'
import type { ExecutionRow, StoredRow } from '../store/store.ts'
import { indexEntry } from './executions.ts'
import { spentKey } from './foreign.ts'

/** Names under which the store keeps something that is not an entry. */
const KNOWN_META: readonly RegExp[] = [/^policy sha256:[0-9a-f]{64}$/, /^indexed_size$/, /^erased_below$/, /^anchor sinks$/, /^anchor sink \d{1,2}$/, /^anchor \d{1,2} \d{1,7}$/, /^directory [\x21-\x7e]{1,128}$/, /^account [A-Za-z0-9_-]{43}$/]
const POLICY_LIMITS = { maxBytes: 67_108_864, maxDepth: 8, maxMembers: 10_000 }

/** What a store must hold because of the entries of its log: spent keys, the index of executions, policy texts, its own counters. */
export class Derived {
  readonly #crypto: Crypto
  readonly #problem: (what: string) => void
  readonly #executions = new Map<string, ExecutionRow>()
  /** Executions with an ending that the index need not cover, as they were before it. */
  readonly #asIndexed = new Map<string, ExecutionRow>()
  readonly #indexedRows = new Set<string>()
  /** Rows that are not what the whole log says; whether they only lag is known at the end. */
  readonly #different: ExecutionRow[] = []
  readonly #policies = new Set<string>()
  readonly #spent = new Map<string, number>()
  #size = 0
  #indexed = 0
  #lastErasure = -1
  #erasedBelow = 0
  #beyond = 0

  /** @param problem hears what is wrong */
  constructor(crypto: Crypto, problem: (what: string) => void) {
    this.#crypto = crypto
    this.#problem = problem
  }

  /** @param size leaves that are looked at @param indexed leaves that the index covered before */
  begin(size: number, indexed: number): void {
    this.#size = size
    this.#indexed = indexed
  }

  entry(entry: Entry, groupSeq: number): void {
    const isEnding = entry.kind === 'receipt' || entry.kind === 'expiry'
    const before = isEnding && entry.seq >= this.#indexed ? this.#executions.get(entry.jti) : undefined
    if (before !== undefined && !this.#asIndexed.has(before.jti)) this.#asIndexed.set(before.jti, before)
    indexEntry(entry, this.#executions)
    if (entry.kind === 'policy') this.#policies.add(entry.digest)
    if (entry.kind === 'erasure') this.#lastErasure = entry.seq
    if (entry.kind === 'redemption') this.#spent.set(`jti ${entry.jti}`, groupSeq)
    if (entry.kind === 'permit' && entry.par?.foreign !== undefined) this.#spent.set(spentKey(entry.par.foreign.iss, entry.par.jti), groupSeq)
  }

  /** Whether a permit of this execution stands in the log so far. */
  knows(jti: string): boolean {
    const row = this.#executions.get(jti)
    return row !== undefined && row.ending !== row.seq // what was denied is no execution
  }

  spentKey({ key, seq }: StoredRow & { kind: 'spent' }): void {
    this.#speaksOf(seq)
    if (seq >= this.#size) return
    const wanted = this.#spent.get(key)
    if (wanted === undefined) return this.#problem(`the key ${key} is spent, and no entry spends it`)
    if (wanted !== seq) this.#problem(`the key ${key} was spent in group ${wanted}, and the store says ${seq}`)
    this.#spent.delete(key)
  }

  execution(row: StoredRow & { kind: 'execution' }): void {
    this.#speaksOf(Math.max(row.seq, row.ending ?? 0, row.expiry ?? 0))
    if (row.seq >= this.#size) return
    const wanted = this.#executions.get(row.jti)
    if (wanted === undefined) return this.#problem(`the index holds an execution ${row.jti} that the log does not`)
    this.#indexedRows.add(row.jti)
    if (!isSame(row, wanted)) this.#different.push(row)
  }

  meta({ key, value }: StoredRow & { kind: 'meta' }): void {
    if (!KNOWN_META.some((known) => known.test(key))) this.#problem(`the store holds something under a name that nothing uses: ${key.slice(0, 64)}`)
    if (key === 'indexed_size' || key === 'erased_below') this.#counter(key, value)
    else if (key.startsWith('policy ')) this.#policy(key.slice('policy '.length), value)
    else if (key.startsWith('directory ') || key.startsWith('account ')) this.#aboutPeople(key, value)
  }

  #counter(key: 'indexed_size' | 'erased_below', value: string): void {
    const count = Number(value)
    if (!Number.isSafeInteger(count) || count < 0 || String(count) !== value) return this.#problem(`${key} is no number`)
    this.#speaksOf(count - 1)
    if (key === 'erased_below') this.#erasedBelow = count
  }

  /** No entry says what a name or a password is, so only its form can be wrong; '' is what was taken away. An account of nobody is one that was cut off before its entry. */
  #aboutPeople(key: string, value: string): void {
    try {
      if (value !== '' && !isObject(parseStrictText(value))) throw new Denied('evidence_unavailable', 'no object')
    } catch {
      this.#problem(`${key.slice(0, 64)} cannot be read`)
    }
  }

  #policy(digest: string, text: string): void {
    try {
      if (digestOf(canonicalize(parseStrictText(text, POLICY_LIMITS)), this.#crypto.sha256) !== digest) throw new Denied('seal_invalid', 'the texts differ')
    } catch (error) {
      this.#problem(`policy set ${digest}: ${error instanceof Error ? error.message : 'unknown error'}`)
    }
    this.#policies.delete(digest)
  }

  #speaksOf(seq: number): void {
    this.#beyond = Math.max(this.#beyond, seq + 1)
  }

  /** @param size leaves that the log has by now: what was written meanwhile is before it */
  end(size: number): void {
    if (this.#beyond > size) this.#problem(`what is derived speaks of entry ${this.#beyond - 1}, and the log has ${size}`)
    if (this.#erasedBelow > this.#lastErasure + 1 && this.#erasedBelow <= this.#size) this.#problem(`erased_below is ${this.#erasedBelow}, and no erasure stands there`)
    for (const digest of this.#policies) this.#problem(`policy set ${digest} is missing: decisions under it cannot be replayed`)
    for (const key of this.#spent.keys()) this.#problem(`the key ${key} was spent, and the store does not hold it`)
    for (const row of this.#different) this.#lagsOrRuns(row)
    for (const { jti, seq } of this.#executions.values()) if (seq < this.#indexed && !this.#indexedRows.has(jti)) this.#problem(`the index has lost execution ${jti}`)
  }

  /** The index may lag behind the log, or run ahead of what was looked at; a row is never anything else. */
  #lagsOrRuns(row: ExecutionRow): void {
    const wanted = this.#executions.get(row.jti) as ExecutionRow
    const asIndexed = this.#asIndexed.get(row.jti)
    const lags = asIndexed !== undefined && (isSame(row, asIndexed) || isSame(row, { ...wanted, ending: wanted.expiry }))
    const runs = row.seq === wanted.seq && row.parent === wanted.parent && row.deadlineMs === wanted.deadlineMs && Math.max(row.ending ?? 0, row.expiry ?? 0) >= this.#size
    if (!lags && !runs) this.#problem(`the index of execution ${row.jti} is not what the log says`)
  }
}

function isSame(a: ExecutionRow, b: ExecutionRow): boolean {
  return a.jti === b.jti && a.seq === b.seq && a.ending === b.ending && a.deadlineMs === b.deadlineMs && a.expiry === b.expiry && a.parent === b.parent
}
