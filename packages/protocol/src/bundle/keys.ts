import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { parseCheckpointText } from '../log/checkpoint.ts'
import type { KeyEntry } from '../log/entries.ts'
import { type EntryHead, parseEntry } from '../log/entry.ts'
import { anchorDigest, type FollowedKeys, followKeys, type GateKeyEntry, type LogKeyEntry, type Placed, type RingKey, verifyByRing } from '../log/keys.ts'
import { type NoteKey, parseNote } from '../log/note.ts'
import type { BundleHead } from './bundle.ts'
import { Proofs } from './proofs.ts'
import type { Tally } from './tally.ts'

type Statement = Placed<(LogKeyEntry | GateKeyEntry) & EntryHead>

/** The keys of the log, and which gates' keys are revoked from where on: known before anything is judged by them. */
export class Keys {
  readonly #held: NoteKey
  readonly #crypto: Crypto
  readonly #tally: Tally
  readonly #ahead = new Map<number, Statement>()
  /** In the order of the log; as far as they were met where none were given ahead. */
  #log: Statement[] = []
  #followed: FollowedKeys
  /** By gate: the index from which on its word counts for nothing, and that of the entry that says so. */
  readonly #gates = new Map<string, { readonly from: number; readonly seq: number }>()
  #isAhead = false
  #isBlind = false

  constructor(held: NoteKey, crypto: Crypto, tally: Tally) {
    const isBlind = held.pq !== undefined && crypto.verifyMlDsa65 === undefined
    const { pq: _, ...classical } = held
    this.#held = isBlind ? classical : held
    this.#crypto = crypto
    this.#tally = tally
    this.#followed = followKeys([this.#held], [], crypto)
    if (isBlind) this.#blind()
  }

  /** What the held key leads to, and all that the log names. */
  get followed(): FollowedKeys {
    return this.#followed
  }

  /**
   * Takes the statements about keys that go along with the head. Those of a bundle are proved under its checkpoint, whose signature is
   * looked at with them; those of a whole log, given as texts, are compared with its leaves.
   */
  head(head: BundleHead, texts?: readonly string[]): void {
    const { keys } = head
    if (keys === undefined && texts === undefined) return
    this.#isAhead = true
    this.#tally.prove('what the bundle says of the keys of the log holds', () => {
      const proofs = new Proofs(head.checkpoint, parseCheckpointText(parseNote(head.checkpoint).text), this.#crypto)
      for (const sealed of keys ?? []) this.#take(sealed.entry, head, proofs.verify(sealed).index)
      for (const text of texts ?? []) this.#take(text, head)
      this.#follow()
    })
  }

  #take(text: string, { tenant }: BundleHead, index?: number): void {
    const entry = parseEntry(text)
    if (entry.kind !== 'key' || (entry.purpose !== 'log' && entry.purpose !== 'gate')) throw new Denied('type_mismatch', 'not about a key of the log or of a gate')
    if (entry.tenant !== tenant) throw new Denied('tenant_mismatch')
    if (index !== undefined && entry.seq !== index) throw new Denied('seal_invalid', 'seq is not the leaf index')
    if (entry.seq <= ([...this.#ahead.keys()].at(-1) ?? -1)) throw new Denied('artifact_malformed', 'not in the order of the log')
    this.#ahead.set(entry.seq, entry)
    this.#add(entry)
  }

  #add(entry: Statement): void {
    if (entry.purpose === 'log') return void this.#log.push(entry)
    const known = this.#gates.get(entry.gate)
    if (entry.from > entry.seq || entry.from >= (known?.from ?? Number.POSITIVE_INFINITY)) throw new Denied('artifact_malformed', 'a gate is revoked from an index that is to come, or for less than before')
    this.#gates.set(entry.gate, { from: entry.from, seq: known?.seq ?? entry.seq })
  }

  #follow(): void {
    const entries = this.#log.filter((entry) => entry.purpose === 'log')
    this.#followed = followKeys([this.#held], entries, this.#crypto)
    if (this.#crypto.verifyMlDsa65 === undefined && !this.#isBlind && entries.some(({ pq_key }) => pq_key !== undefined)) this.#blind()
  }

  /** The key that a log began with; in an old one it may be any text. */
  #begin(entry: Statement): void {
    this.#log.push(entry)
    try {
      this.#follow()
    } catch (error) {
      if (!(error instanceof Denied)) throw error
    }
  }

  #blind(): void {
    this.#isBlind = true
    this.#tally.found('not established', 'the ML-DSA-65 signature of the hybrid key: it cannot be verified here, and the Ed25519 signature stands alone')
  }

  /** The next statement of the log. @param isLog all entries come, from the first on: what none of them was given ahead is taken from here */
  entry(entry: KeyEntry & EntryHead, isLog: boolean): void {
    if (entry.purpose !== 'log' && entry.purpose !== 'gate') return
    const isFirst = this.#log.length === 0 && entry.event === 'created' // who signs is looked at where a second one comes
    if (!this.#isAhead && isFirst) return this.#begin(entry)
    this.#tally.prove('the statement about a key holds', () => {
      if (this.#isAhead || (!isLog && entry.event !== 'created' && entry.event !== 're_anchored')) {
        const isKnown = JSON.stringify(this.#ahead.get(entry.seq)) === JSON.stringify(entry)
        if (!isKnown && entry.event !== 'created' && entry.event !== 're_anchored') throw new Denied('seal_invalid', 'it is not among those that were given first')
        return
      }
      this.#add(entry)
      this.#follow()
    }, { seq: entry.seq })
  }

  /** @throws {Denied} as {@link verifyByRing} @returns what is established by it */
  signedHead(note: string): string {
    const parsed = parseNote(note)
    const able = verifyByRing(parsed, parseCheckpointText(parsed.text).size, this.#followed.trusted, this.#crypto)
    const { key, epoch } = able.find((one) => one.key.id === this.#held.id) ?? (able.at(-1) as RingKey)
    return key.id === this.#held.id ? 'the checkpoint is signed by the given log key' : `the checkpoint is signed by log key ${key.id}, key epoch ${epoch}: the given one leads to it`
  }

  /** What a gate said of the log key that it was given is that of one of this log: else it trusted somebody else (ATK-064). @throws {Denied} `state_diverged` */
  verifyAnchor(anchor: Digest | undefined): void {
    const { named } = this.#followed
    if (anchor !== undefined && !named.keys.some(({ key }) => anchorDigest(key, this.#crypto.sha256) === anchor)) throw new Denied('state_diverged', 'the gate was given another log key than those of this log')
  }

  /** Whether what a gate said at this index counts. */
  counts(gate: string, seq: number): boolean {
    return seq < (this.#gates.get(gate)?.from ?? Number.POSITIVE_INFINITY)
  }

  /** Nothing is logged for a gate after the entry that revoked it. */
  checkGate(gate: string, seq: number): void {
    if (seq > (this.#gates.get(gate)?.seq ?? Number.POSITIVE_INFINITY)) this.#tally.found('contradicted', `gate ${gate} goes on after its key was revoked`, { seq })
  }
}
