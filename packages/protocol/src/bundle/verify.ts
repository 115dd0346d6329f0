import { type Anchor, verifyAnchor } from '../anchor/anchor.ts'
import type { TsaTrust } from '../anchor/tsa.ts'
import type { Artifact, Permit, PolicyState } from '../artifact/artifact.ts'
import { leafDigest } from '../artifact/seal.ts'
import type { Crypto } from '../crypto.ts'
import { Denied, quoted } from '../denial.ts'
import { digestOf } from '../digest.ts'
import { equalBytes, utf8 } from '../encoding.ts'
import { canonicalize } from '../json/canonicalize.ts'
import type { HeldForeignKey } from '../federation/agree.ts'
import type { DenyEntry, HoldEntry } from '../log/entries.ts'
import { type Entry, type EntryHead, type EntryKind, parseEntry } from '../log/entry.ts'
import { Frontier } from '../log/frontier.ts'
import { leafHash } from '../log/merkle.ts'
import type { NoteKey } from '../log/note.ts'
import { verifyQuorum } from '../log/quorum.ts'
import type { WitnessPolicy } from '../log/witness-policy.ts'
import type { SigningKey } from '../receipt/jws.ts'
import { Approvals } from './approvals.ts'
import { Assurance } from './assurance.ts'
import { verifyAssessment } from '../govern/assessment.ts'
import { Budgets } from '../govern/budgets.ts'
import { Bodies } from './bodies.ts'
import type { Body, Bundle, BundleEntry, BundleHead, BundleListener, LinkedCheckpoint, PolicyTexts } from './bundle.ts'
import { Endings } from './endings.ts'
import { Foreign } from './foreign.ts'
import { Gates } from './gates.ts'
import { Heads } from './heads.ts'
import { Keys } from './keys.ts'
import { People } from './people.ts'
import { Lineages } from './lineages.ts'
import { Observations } from './observations.ts'
import { Prohibitions } from './prohibitions.ts'
import { Proofs } from './proofs.ts'
import type { Report } from './report.ts'
import { Tally } from './tally.ts'
import { Tools } from './tools.ts'

export interface Trust {
  readonly crypto: Crypto
  /** The log key that the verifier holds; nothing in the bundle can replace it. */
  readonly logKey: NoteKey
  /** Gate keys that the verifier holds independently of the plane; others count only as enrolled by the plane. */
  readonly gateKeys: readonly SigningKey[]
  /** Signed checkpoints of this log that the verifier holds from elsewhere: its history must be theirs. */
  readonly checkpoints?: readonly string[]
  /** Whose cosignatures the checkpoint needs, whatever their age; none where it is not given. */
  readonly witnesses?: { readonly policy: WitnessPolicy; readonly nowSeconds: number }
  /** Planes from whose logs something may have been taken, and whose keys the verifier holds. */
  readonly foreign?: readonly HeldForeignKey[]
  /** Whose timestamps the verifier believes; without it none establishes a time. */
  readonly tsa?: TsaTrust
  /** Decides again what was decided, where the verifier has a policy engine at hand. */
  readonly replay?: Replay
}

/** An entry that records a decision of policy. */
export type DecisionEntry = EntryHead & (Artifact | DenyEntry | HoldEntry) & { readonly policy: PolicyState }

/** Re-evaluates decisions from what was kept of them. */
export interface Replay {
  policies(set: PolicyTexts): void
  /**
   * @returns false when what it needs is not in the bundle
   * @throws {Denied} when the policies give another decision, other reasons or other obligations
   */
  decision(entry: DecisionEntry, bodies: readonly Body[]): boolean
}

/**
 * Checks a bundle with nothing but itself and the keys in `trust`.
 * @returns what is established, what is not, and what is contradicted; it never throws for what the bundle says
 */
export function verifyBundle(bundle: Bundle, trust: Trust): Report {
  const verifier = new BundleVerifier(trust)
  verifier.head(bundle)
  for (const linked of bundle.checkpoints) verifier.checkpoint(linked)
  for (const anchor of bundle.anchors) verifier.anchor(anchor)
  for (const set of bundle.policies) verifier.policies(set)
  for (const entry of bundle.entries) verifier.entry(entry)
  return verifier.end()
}

/**
 * Checks the parts of a bundle as they are read, in the order of the file: what it remembers grows with the number of
 * executions, not with the bundle. Entries of a whole log may come without proofs, by {@link BundleVerifier.leaf}: then their
 * root is compared at the end.
 */
export class BundleVerifier implements BundleListener {
  readonly #trust: Trust
  readonly #tally = new Tally()
  readonly #keys: Keys
  readonly #heads: Heads
  readonly #gates: Gates
  readonly #endings: Endings
  readonly #prohibitions: Prohibitions
  readonly #people: People
  readonly #observations: Observations
  readonly #lineages: Lineages
  readonly #tools: Tools
  readonly #bodies: Bodies
  readonly #approvals: Approvals
  readonly #assurance: Assurance
  readonly #budgets = new Budgets()
  readonly #foreign: Foreign
  readonly #tree: Frontier
  readonly #policies = new Set<string>()
  readonly #missingPolicies = new Set<string>()
  readonly #unnamedPolicies = new Set<string>()
  readonly #counts: Partial<Record<EntryKind, number>> = {}
  #bundle: BundleHead | undefined
  #proofs: Proofs | undefined
  #entries = 0
  #lastSeq = -1
  #lastTimeMs = 0
  #unproved = 0
  #unreplayed = 0

  constructor(trust: Trust) {
    this.#trust = trust
    this.#keys = new Keys(trust.logKey, trust.crypto, this.#tally)
    this.#heads = new Heads(this.#keys, trust.checkpoints ?? [], trust.crypto, this.#tally)
    this.#gates = new Gates(trust.gateKeys, this.#keys, trust.crypto, this.#tally)
    this.#endings = new Endings(this.#tally)
    this.#prohibitions = new Prohibitions(this.#tally)
    this.#people = new People(this.#tally)
    this.#tools = new Tools(this.#tally)
    this.#observations = new Observations(this.#tally)
    this.#lineages = new Lineages(this.#tally, this.#endings)
    this.#bodies = new Bodies(trust.crypto.sha256, this.#tally)
    this.#approvals = new Approvals(trust.crypto, this.#tally, () => this.#bundle?.tenant)
    this.#assurance = new Assurance(this.#tally)
    this.#foreign = new Foreign(trust.foreign ?? [], trust.crypto, this.#tally, () => this.#bundle?.origin ?? '')
    this.#tree = new Frontier(trust.crypto.sha256)
  }

  /** @param keys of a whole log: the texts of its entries about keys, so that they are known before what is judged by them */
  head(head: BundleHead, keys?: readonly string[]): void {
    this.#bundle = head
    this.#keys.head(head, keys)
    this.#heads.head(head)
    if (this.#heads.newest !== undefined) this.#proofs = new Proofs(head.checkpoint, this.#heads.newest, this.#trust.crypto)
    this.#cosigned(head.checkpoint)
    this.#tally.time({ kind: 'plane', sentence: 'the times of entries are the word of the plane' })
  }

  /** What witnesses say of the checkpoint: that there is one history, and when they saw it. */
  #cosigned(note: string): void {
    const { witnesses, crypto } = this.#trust
    if (witnesses === undefined) {
      const cosigners = note.split('\n\u2014 ').length - 2
      return this.#tally.notShown(cosigners <= 0 ? 'no witness cosigned: that this is the only history is the word of the log key' : `${cosigners} further signatures on the checkpoint count for nothing without a witness policy; give it with --witness-policy`)
    }
    const counted = this.#tally.claim('the checkpoint is cosigned as the witness policy asks', () => verifyQuorum(note, witnesses.policy, { nowSeconds: witnesses.nowSeconds, maxAgeSeconds: undefined }, crypto))
    if (counted !== undefined && witnesses.policy.quorum.kind !== 'none') this.#assurance.witnessed()
    for (const { name, time } of counted?.value ?? []) this.#tally.time({ kind: 'cosignature', time: time * 1_000, sentence: `witness ${quoted(name)} saw the checkpoint at ${new Date(time * 1_000).toISOString()}: no entry under it is younger` })
  }

  checkpoint(linked: LinkedCheckpoint): void {
    this.#heads.linked(linked)
  }

  anchor(anchor: Anchor): void {
    if (this.#heads.newest === undefined) return
    const shown = this.#tally.claim('the anchor is of a checkpoint that the log key signed, and holds', () => {
      const verdict = verifyAnchor(anchor, this.#keys.followed.named, this.#trust.tsa, this.#trust.crypto)
      if (!this.#heads.includes(verdict.checkpoint)) throw new Denied('seal_invalid', 'nothing in the bundle links the anchored checkpoint')
      return verdict
    })?.value
    if (shown === undefined) return
    const { kind, time, sentence } = shown
    this.#tally.time({ kind, ...(time === undefined ? {} : { time }), sentence })
  }

  policies(set: PolicyTexts): void {
    if (this.#heads.newest === undefined) return
    this.#tally.claim('the policy set has the digest that decisions name', () => {
      if (digestOf(canonicalize(set.files), this.#trust.crypto.sha256) !== set.digest) throw new Denied('seal_invalid', 'the policy texts differ')
    })
    this.#policies.add(set.digest)
    this.#unnamedPolicies.add(set.digest)
    this.#trust.replay?.policies(set)
  }

  entry(given: BundleEntry): void {
    const proofs = this.#proofs
    if (proofs === undefined) return // nothing can be established without a checkpoint
    const logged = this.#tally.claim('the entry is in the log', () => {
      const { index, hash } = proofs.verify(given)
      return { hash, entry: this.#read(given.entry, index) }
    })
    if (logged !== undefined) this.#take(logged.value.entry, logged.value.hash, given.bodies)
  }

  /**
   * The next entry of a whole log, from the first on; all of them together are compared with the checkpoint at the end.
   * @param bodies where they are at hand
   */
  leaf(text: string, bodies?: readonly Body[]): void {
    const seq = this.#unproved++
    const entry = this.#tally.claim('the entry has its form and place', () => this.#read(text, seq))
    const hash = leafHash(utf8(text), this.#trust.crypto.sha256)
    if (entry === undefined) this.#grow(seq, hash)
    else this.#take(entry.value, hash, bodies)
  }

  #read(text: string, index: number): Entry {
    const entry = parseEntry(text)
    if (entry.seq !== index) throw new Denied('seal_invalid', 'seq is not the leaf index')
    if (entry.tenant !== this.#bundle?.tenant) throw new Denied('tenant_mismatch')
    if (entry.seq <= this.#lastSeq) throw new Denied('artifact_malformed', 'the entry stands twice in the bundle, or not in the order of the log')
    const isReAnchored = entry.kind === 'key' && entry.purpose === 'log' && entry.lost !== undefined // an operator may put a wrong clock right there
    if (entry.time < this.#lastTimeMs && !isReAnchored) throw new Denied('clock_rollback', 'the entry is older than one before it')
    return entry
  }

  /** @param bodies undefined where only the log is at hand */
  #take(entry: Entry, hash: Uint8Array, bodies: readonly Body[] | undefined): void {
    const { seq, kind } = entry
    this.#lastSeq = seq
    this.#lastTimeMs = entry.time
    this.#entries++
    this.#counts[kind] = (this.#counts[kind] ?? 0) + 1
    this.#grow(seq, hash)
    this.#people.apply(entry, this.#tree.size === seq + 1)
    const receipt = this.#statement(entry, hash, bodies)
    if (bodies === undefined) return
    this.#replay(entry, bodies)
    // A receipt that is not established establishes no result either.
    if (kind !== 'receipt' || receipt !== undefined) this.#bodies.of(entry, receipt?.result_commit, bodies)
  }

  #grow(seq: number, hash: Uint8Array): void {
    if (seq !== this.#tree.size) return
    this.#tree.append(hash)
    this.#heads.grown(this.#tree)
  }

  /** What an entry says of executions and gates. */
  #statement(entry: Entry, hash: Uint8Array, bodies: readonly Body[] | undefined): ReturnType<Gates['receipt']> {
    switch (entry.kind) {
      case 'permit':
        if (entry.iss !== this.#bundle?.origin) this.#tally.found('contradicted', 'the permit was issued by another plane', { seq: entry.seq, jti: entry.jti })
        this.#decided(entry.policy.digest)
        this.#endings.permitted(entry satisfies Permit, leafDigest(hash), this.#assurance.permitted(entry, this.#gates.permitted(entry)))
        this.#prohibitions.permitted(entry)
        this.#keys.checkGate(entry.aud, entry.seq)
        this.#lineages.permitted(entry, leafDigest(hash), bodies, this.#tree.size > entry.seq)
        this.#approvals.permitted(entry, bodies)
        this.#tools.permitted(entry, bodies, this.#tree.size > entry.seq)
        this.#spent(entry)
        this.#observations.permitted(entry, this.#tree.size > entry.seq)
        this.#foreign.permitted(entry, bodies)
        return undefined
      case 'deny':
      case 'hold':
        if (entry.policy !== undefined) this.#decided(entry.policy.digest)
        if (entry.kind === 'deny') {
          this.#gates.denial(entry)
          this.#endings.denied(entry)
        } else this.#approvals.held(entry, leafDigest(hash))
        return undefined
      case 'gate':
        this.#gates.enrolled(entry)
        return undefined
      case 'receipt': {
        const known = this.#endings.permit(entry.jti)
        const receipt = this.#gates.receipt(entry, known)
        if (receipt !== undefined) this.#endings.received(entry, receipt, this.#tree.size)
        if (receipt !== undefined && known !== undefined) this.#assurance.received(receipt, known.grounds, entry)
        this.#prohibitions.ended(entry.jti)
        return receipt
      }
      case 'redemption':
        this.#endings.redeemed(entry)
        this.#lineages.redeemed(entry, this.#tree.size > entry.seq)
        this.#tools.redeemed(entry, this.#tree.size > entry.seq)
        return undefined
      case 'expiry':
        this.#endings.expired(entry, this.#tree.size)
        return undefined
      case 'erasure':
        this.#bodies.erased(entry)
        return undefined
      case 'key':
        this.#approvals.key(entry)
        this.#keys.entry(entry, this.#unproved > 0)
        if (entry.purpose === 'log' && entry.lost !== undefined) this.#lineages.reAnchored()
        if (entry.purpose === 'log' && entry.lost !== undefined && entry.lost.size > entry.seq) this.#tally.notShown(`the log was re-anchored at index ${entry.seq}: a history of ${entry.lost.size} entries was lost, and what stood in it beyond this index is not shown`)
        return undefined
      case 'approval':
        this.#approvals.decided(entry, leafDigest(hash), bodies)
        this.#foreign.approved(entry, bodies)
        return undefined
      case 'revocation':
      case 'kill':
        this.#prohibitions.apply(entry)
        return undefined
      case 'lease':
        this.#prohibitions.renewed(entry)
        this.#observations.renewed(entry, this.#tree.size > entry.seq)
        this.#keys.checkGate(entry.gate, entry.seq)
        return undefined
      case 'policy':
        this.#lineages.policy(entry)
        this.#observations.policy(entry)
        this.#unnamedPolicies.delete(entry.digest)
        return undefined
      case 'tool':
        this.#tools.apply(entry, this.#tree.size > entry.seq)
        return undefined
      case 'agent':
        return undefined
      case 'assessment':
        this.#tally.claim('an assessment is of entries before it, and made before it', () => verifyAssessment(entry, entry.seq, entry.time), { seq: entry.seq })
        return undefined
      case 'voucher':
        this.#approvals.vouched(entry)
        return undefined
    }
  }

  /** A permit is one of as many as its policies allow in their time. */
  #spent(permit: Permit): void {
    const { seq, jti, time, constraints: { budgets } } = permit
    if (budgets === undefined) return
    const exceeded = this.#budgets.exceeded(budgets, permit, time)
    if (exceeded === undefined) this.#tally.holds('the permit is within the budgets that it names, as far as the bundle shows what they allowed')
    else this.#tally.found('contradicted', `the permit is beyond the budget of ${quoted(exceeded.policy)}`, { seq, jti })
    this.#budgets.spend(budgets, permit, time)
  }

  #replay(entry: Entry, bodies: readonly Body[]): void {
    const { replay } = this.#trust
    if (replay === undefined || !isDecision(entry)) return
    let isReplayed = true
    const claim = 'the policies give this decision again, with its reasons and obligations'
    const proved = this.#tally.prove(claim, () => void (isReplayed = replay.decision(entry, bodies)), { seq: entry.seq })
    if (proved && isReplayed) {
      this.#tally.holds(claim)
      const known = entry.kind === 'permit' ? this.#endings.permit(entry.jti) : undefined
      if (entry.kind === 'permit' && known !== undefined) this.#assurance.replayed(entry.jti, known.grounds)
    } else if (proved) this.#unreplayed++
  }

  #decided(digest: string): void {
    this.#unnamedPolicies.delete(digest)
    if (!this.#policies.has(digest)) this.#missingPolicies.add(digest)
  }

  end(): Report {
    const head = this.#heads.newest
    if (head !== undefined) {
      this.#whole(head)
      for (const digest of this.#unnamedPolicies) this.#tally.found('contradicted', `no entry names the policy set ${digest}`)
      this.#heads.end()
      this.#endings.end()
      this.#prohibitions.end()
      this.#people.end()
      this.#tools.end()
      this.#observations.end()
      this.#gates.end()
      this.#assurance.end()
      this.#bodies.end()
      this.#foreign.end()
      this.#approvals.end(this.#tree.size === head.size)
      if (this.#unreplayed > 0) this.#tally.found('not established', `${this.#unreplayed} decisions cannot be replayed: their inputs or policies are not in the bundle (erased, or not exported)`)
      if (this.#unproved === 0) for (const digest of this.#missingPolicies) this.#tally.notShown(`the policy set ${digest} is not in this bundle`)
    }
    const { permit = 0, receipt = 0, deny = 0 } = this.#counts
    return this.#tally.report({ origin: this.#bundle?.origin ?? '', size: head?.size ?? 0, entries: this.#entries, permits: permit, receipts: receipt, denials: deny })
  }

  #whole(head: { readonly size: number; readonly root: Uint8Array }): void {
    const isWhole = this.#tree.size === head.size && equalBytes(this.#tree.root(), head.root)
    if (isWhole) this.#tally.holds('these are all entries that the log key signed, and no others')
    else if (this.#unproved > 0) this.#tally.found('contradicted', 'the entries are not those that the log key signed')
  }
}

function isDecision(entry: Entry): entry is DecisionEntry {
  return (entry.kind === 'permit' || entry.kind === 'deny' || entry.kind === 'hold') && entry.policy !== undefined
}
