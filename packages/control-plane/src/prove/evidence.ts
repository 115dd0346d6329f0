import {
  type Anchor, type Body, type Bundle, type BundleEntry, type BundleHead, Denied, type Digest, type LinkedCheckpoint, parseStrictText, present, toBase64, verifyCheckpoint,
} from '@sealwrit/protocol'
import { anchorsFor } from '../anchor/kept.ts'
import type { SignedHead } from '../log/history.ts'
import type { Committed } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import { sealedKeys } from '../log/sealed-keys.ts'
import type { PlanePorts } from '../ports.ts'
import type { StoredBody } from '../store/store.ts'
import { withApprovals } from './approved.ts'
import { withAncestors } from './descended.ts'
import type { SessionIndex } from './session-index.ts'

/** Gives the policy files behind a digest, where the plane still has them. */
export type PolicyFiles = (digest: string) => Promise<Readonly<Record<string, string>> | undefined>

/** One page of evidence ends at this many entries, or bytes of them. */
const MAX_PAGE_ENTRIES = 512
const MAX_PAGE_BYTES = 4_194_304
/** Proofs made before others get their turn. */
const PER_TURN = 64

/** What evidence begins with: the checkpoint that all its proofs lead to, and what else will be needed. */
export interface EvidenceStart {
  readonly head: BundleHead
  readonly size: number
  readonly checkpoints: readonly LinkedCheckpoint[]
  /** The earliest of each place that covers what was asked for. */
  readonly anchors: readonly Anchor[]
  /** Digests of the policy sets under which was decided. */
  readonly policies: readonly Digest[]
  /** Leaf indices, in order; undefined for all of them. */
  readonly seqs: readonly number[] | undefined
}

export interface EvidencePage {
  readonly entries: readonly BundleEntry[]
  /** Leaf index at which the next page begins. */
  readonly next: number | undefined
}

/** Makes evidence page by page: bounded in memory on both sides, whatever the log holds. */
export class Evidence {
  readonly #log: Sequencer
  readonly #ports: PlanePorts
  readonly #policyFiles: PolicyFiles
  readonly #sessions: SessionIndex

  constructor(log: Sequencer, ports: PlanePorts, policyFiles: PolicyFiles, sessions: SessionIndex) {
    this.#log = log
    this.#ports = ports
    this.#policyFiles = policyFiles
    this.#sessions = sessions
  }

  /**
   * @param wanted leaf indices; undefined for the whole log. What a stranger needs to check them goes along: the gates'
   *   enrolments and sessions, and the erasures of what is missing
   * @param since an earlier signed checkpoint of this log that the evidence shall be linked with
   * @throws {Denied} `state_diverged` when `since` is not of the history of this log
   */
  async start(wanted: readonly number[] | undefined, since?: string): Promise<EvidenceStart> {
    const log = this.#log
    const head = await log.evidenced()
    const anchors = await anchorsFor(this.#ports.store, wanted === undefined ? head.size - 1 : Math.max(...wanted))
    const checkpoints: LinkedCheckpoint[] = []
    for (const note of new Set([...(since === undefined ? [] : [since]), ...anchors.map(({ checkpoint }) => checkpoint)])) {
      if (note !== head.note) checkpoints.push(await this.#link(note, head))
    }
    const keys = await sealedKeys(log, head)
    const start = { head: { v: 1, origin: log.origin, tenant: log.tenant, checkpoint: head.note, ...(keys.length === 0 ? {} : { keys }) }, size: head.size, checkpoints, anchors } as const
    if (wanted === undefined) return { ...start, policies: [...log.state.policies].filter(([, seq]) => seq < head.size).map(([digest]) => digest), seqs: undefined }
    const seqs = new Set(await withApprovals([...(await withAncestors(wanted, log, this.#ports.store))], log))
    const policies = new Set<Digest>()
    for (const seq of [...seqs]) {
      const { entry } = await log.read(seq)
      if ('policy' in entry && entry.policy !== undefined) policies.add(entry.policy.digest)
      const enrolled = 'aud' in entry ? log.state.gates.get(entry.aud ?? '')?.enrolledSeq : undefined
      if (enrolled !== undefined) seqs.add(enrolled)
      const opened = entry.kind === 'permit' ? this.#sessions.before(seq, entry.aud, entry.env.commit) : undefined
      if (opened !== undefined) seqs.add(opened)
    }
    for (const seq of [...seqs]) for (const { seq: at, ranges } of log.state.erasures.values()) if (ranges.some(({ from, to }) => from <= seq && seq < to)) seqs.add(at)
    return { ...start, policies: [...policies], seqs: [...seqs].sort((a, b) => a - b) }
  }

  async #link(note: string, head: SignedHead): Promise<LinkedCheckpoint> {
    const older = verifyCheckpoint(note, this.#log.signing.keys(this.#log.state).named, this.#ports.crypto)
    const consistency = await this.#log.proved(() => this.#log.extends(older.size, head))
    return { checkpoint: note, consistency: consistency.map(toBase64) }
  }

  /** Entries from leaf index `from` on, with proofs under `start`'s checkpoint. @throws {Denied} `request_malformed` beyond it */
  async page({ head, size, seqs }: Pick<EvidenceStart, 'head' | 'size' | 'seqs'>, from: number): Promise<EvidencePage> {
    if (size > this.#log.size) throw new Denied('request_malformed', 'evidence beyond the log')
    const wanted = seqs ?? Array.from({ length: Math.max(0, Math.min(MAX_PAGE_ENTRIES, size - from)) }, (_, i) => from + i)
    const page = wanted.filter((seq) => seq >= from && seq < size).slice(0, MAX_PAGE_ENTRIES)
    const entries: BundleEntry[] = []
    let bytes = 0
    for (const run of runs(page)) {
      const bodies = await this.#bodies(run)
      for (const one of await this.#log.readRun(run.from, run.count)) {
        const entry = await this.#prove(one, { size, note: head.checkpoint }, bodies.get(one.seq) ?? [])
        bytes += JSON.stringify(entry).length
        entries.push(entry)
        if (bytes > MAX_PAGE_BYTES) return { entries, next: nextOf(seqs, one.seq, size) }
        if (entries.length % PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve)) // gates wait for their answers meanwhile
      }
    }
    return { entries, next: nextOf(seqs, page.at(-1) ?? size, size) }
  }

  async #prove(one: Committed, head: SignedHead, bodies: readonly Body[]): Promise<BundleEntry> {
    return { ...(await this.#log.proved(() => this.#log.seal(one, head))), bodies }
  }

  async #bodies({ from, count }: Run): Promise<ReadonlyMap<number, readonly Body[]>> {
    const out = new Map<number, Body[]>()
    for (const stored of await this.#ports.store.bodies(from, count)) out.set(stored.seq, [...(out.get(stored.seq) ?? []), exportBody(stored)])
    return out
  }

  /** The texts of a policy set. @throws {Denied} `request_malformed` when it is not kept */
  async policies(digest: Digest): Promise<Bundle['policies'][number]> {
    const files = await this.#policyFiles(digest)
    if (files === undefined) throw new Denied('request_malformed', 'no policy set with this digest')
    return { digest, files: { ...files } }
  }

  /** All of it at once, for what is small. */
  async whole(wanted: readonly number[] | undefined, since?: string): Promise<Bundle> {
    const start = await this.start(wanted, since)
    const policies: Bundle['policies'][number][] = []
    for (const digest of start.policies) policies.push(await this.policies(digest))
    const entries: BundleEntry[] = []
    for (let from: number | undefined = 0; from !== undefined; ) {
      const page: EvidencePage = await this.page(start, from)
      entries.push(...page.entries)
      from = page.next
    }
    return { ...start.head, checkpoints: start.checkpoints, anchors: start.anchors, policies, entries }
  }
}

interface Run {
  readonly from: number
  count: number
}

/** The neighbours among `seqs`, in order, so that a commit group is read once and not once an entry. */
function runs(seqs: readonly number[]): readonly Run[] {
  const out: Run[] = []
  for (const seq of seqs) {
    const last = out.at(-1)
    if (last !== undefined && last.from + last.count === seq) last.count++
    else out.push({ from: seq, count: 1 })
  }
  return out
}

function nextOf(seqs: readonly number[] | undefined, last: number, size: number): number | undefined {
  if (seqs === undefined) return last + 1 < size ? last + 1 : undefined
  return seqs.find((seq) => seq > last)
}

function exportBody({ purpose, commit, salt, digest, text }: StoredBody): Body {
  return present<Body>({ purpose, commit, salt, digest, body: text === undefined ? undefined : parseStrictText(text) })
}
