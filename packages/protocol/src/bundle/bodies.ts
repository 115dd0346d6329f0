import { parseAction, scopeOf } from '../action.ts'
import type { Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { commitment, type Digest, digestOf, type Purpose } from '../digest.ts'
import { canonicalize } from '../json/canonicalize.ts'
import type { ErasureEntry } from '../log/entries.ts'
import type { Entry, EntryHead } from '../log/entry.ts'
import type { Body } from './bundle.ts'
import type { Tally } from './tally.ts'

/** Entries without a body that are remembered, to tell the erased from those that were not exported. */
const MAX_ABSENT = 10_000_000

/** The bodies behind the commitments of entries, and which of them were erased. */
export class Bodies {
  readonly #sha256: Sha256
  readonly #tally: Tally
  /** Leaf index of the entry of each commitment whose body is not there. */
  readonly #absent: number[] = []
  readonly #erasures: (ErasureEntry & EntryHead)[] = []

  constructor(sha256: Sha256, tally: Tally) {
    this.#sha256 = sha256
    this.#tally = tally
  }

  /** Checks the bodies of one entry against its commitments. @param result the commitment inside its receipt, where it has one */
  of(entry: Entry, result: Digest | undefined, bodies: readonly Body[]): void {
    const wanted = commitments(entry, result)
    for (const body of bodies) {
      this.#tally.claim(`the ${body.purpose} body is the one that was committed to`, () => {
        if (wanted.get(body.purpose) !== body.commit) throw new Denied('action_mismatch', 'the entry holds no such commitment')
        wanted.delete(body.purpose)
        if (commitment(body.purpose, body.salt, body.digest, this.#sha256) !== body.commit) throw new Denied('action_mismatch', 'salt or digest differs')
        if (body.body !== undefined && digestOf(canonicalize(body.body), this.#sha256) !== body.digest) throw new Denied('action_mismatch', 'the body differs')
        verifyScope(body, entry)
        if (entry.kind === 'tool' && body.digest !== entry.digest) throw new Denied('action_mismatch', 'the definition has another digest')
      }, { seq: entry.seq })
    }
    if (this.#absent.length + wanted.size <= MAX_ABSENT) for (const _ of wanted) this.#absent.push(entry.seq)
  }

  erased(erasure: ErasureEntry & EntryHead): void {
    this.#erasures.push(erasure)
  }

  end(): void {
    const counts = new Map<ErasureEntry & EntryHead, number>()
    let unexplained = 0
    for (const seq of this.#absent) {
      const erasure = this.#erasures.find(({ ranges, seq: at }) => at > seq && ranges.some(({ from, to }) => from <= seq && seq < to))
      if (erasure === undefined) unexplained++
      else counts.set(erasure, (counts.get(erasure) ?? 0) + 1)
    }
    for (const [{ seq, cause }, count] of counts) this.#tally.notShown(`${count} bodies were erased (${cause}, logged at index ${seq}); their entries and proofs stand`)
    if (unexplained > 0) this.#tally.notShown(`${unexplained} bodies are not in this bundle (not exported, or erased by an entry that is not in it)`)
  }
}

/** What an entry commits to, by purpose. */
function commitments(entry: Entry, result: Digest | undefined): Map<Purpose, Digest> {
  const out = new Map<Purpose, Digest>()
  const add = (purpose: Purpose, commit: Digest | undefined): void => void (commit !== undefined && out.set(purpose, commit))
  if (entry.kind === 'permit' || entry.kind === 'deny' || entry.kind === 'hold') {
    add('action', entry.action_commit)
    add('inputs', entry.policy?.inputs_commit)
    add('shadow', entry.policy?.shadow_commit)
    add('redacted', entry.policy?.redacted_commit)
    add('delegation', entry.delegates?.terms_commit)
    add('purpose', entry.purpose_commit)
    if (entry.kind === 'permit') add('foreign', entry.par?.foreign?.commit)
  } else if (entry.kind === 'approval') {
    add('grant', entry.grant_commit)
    add('reason', entry.reason_commit)
    add('foreign', entry.voucher?.foreign.commit)
  } else if (entry.kind === 'key' && entry.purpose === 'approver') add('directory', entry.name_commit)
  else if (entry.kind === 'gate') {
    add('environment', entry.env?.commit)
    add('attestation', entry.attestation_commit)
  }
  else if (entry.kind === 'tool') add('definition', entry.definition_commit)
  else if (entry.kind === 'receipt') add('result', result)
  return out
}

/** The scope that a leaf shows in clear is that of the action behind its commitment. */
function verifyScope(body: Body, entry: Entry): void {
  if (body.purpose !== 'action' || body.body === undefined || !('scope' in entry) || entry.scope === undefined) return
  const scope = scopeOf(parseAction(body.body))
  const same = entry.scope.type === scope.type && entry.scope.name === scope.name && entry.scope.target === scope.target
  if (!same) throw new Denied('action_mismatch', 'the scope is not that of the action')
}
