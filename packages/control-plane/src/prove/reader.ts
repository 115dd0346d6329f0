import { type Bundle, Denied, type Digest, type Entry, fromBase64Url, parseApprovalRefs, parseEntry, parseStrictText, type JsonValue } from '@sealwrit/protocol'
import { catchUp, redemptionSeq } from '../log/executions.ts'
import { fsck, type FsckReport } from '../log/fsck.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { Page } from '../page.ts'
import type { PlanePorts } from '../ports.ts'
import type { Store, StoredBody } from '../store/store.ts'
import { withApprovals } from './approved.ts'
import { Evidence, type EvidencePage, type EvidenceStart, type PolicyFiles } from './evidence.ts'
import type { ExecutionIndex } from './execution-index.ts'
import { findGaps, type Gaps } from './gaps.ts'
import { type FoundPage, type SearchRequest, searchExecutions } from './search.ts'
import { type LineageAnswer, lineageOf } from './lineage.ts'
import { readTile } from './tiles.ts'

/** Entries on one page of a listing. */
export const MAX_PAGE = 1_000
/** Characters of leaves on one page of a reading, so that whoever reads a log needs memory for a page and not for the log. */
export const MAX_PAGE_CHARACTERS = 4_194_304

export interface Shown {
  readonly entries: readonly Entry[]
  readonly bodies: readonly { readonly purpose: string; readonly body: JsonValue | undefined }[]
}

interface FsckJob {
  done: number
  of: number
  report: FsckReport | undefined
}

/** The read side of the log: lists, single executions, evidence. */
export class Reader {
  readonly #log: Sequencer
  readonly #store: Store
  readonly #ports: PlanePorts
  readonly #evidence: Evidence
  readonly #index: ExecutionIndex
  readonly #unwatch: () => void
  #fsck: FsckJob | undefined

  /** @param index what it heard of the log so far */
  constructor(log: Sequencer, ports: PlanePorts, files: PolicyFiles, index: ExecutionIndex) {
    this.#log = log
    this.#index = index
    this.#unwatch = log.watch(({ entry }) => index.take(entry))
    this.#store = ports.store
    this.#ports = ports
    this.#evidence = new Evidence(log, ports, files, index.sessions)
  }

  /** Entries before leaf index `before`, newest first. */
  async list(before: number, limit: number, kinds: ReadonlySet<string> | undefined): Promise<{ entries: Entry[]; next: number | undefined }> {
    await this.#log.latest()
    const entries: Entry[] = []
    let end = Math.min(before, this.#log.size)
    const wanted = Math.min(limit, MAX_PAGE)
    while (end > 0 && entries.length < wanted) {
      const from = Math.max(0, end - MAX_PAGE)
      const page = (await this.#store.entries(from, end - from)).map(parseEntry)
      for (let i = page.length - 1; i >= 0 && entries.length < wanted; i--) {
        const entry = page[i] as Entry
        end = entry.seq
        if (kinds === undefined || kinds.has(entry.kind)) entries.push(entry)
      }
    }
    return { entries, next: end > 0 ? end : undefined }
  }

  /** Entries from leaf index `from` on, oldest first; `next` is where the following page begins. */
  async read(from: number, limit: number): Promise<{ origin: string; entries: Entry[]; next: number; size: number }> {
    await this.#log.latest()
    const { size, origin } = this.#log
    const entries: Entry[] = []
    if (from < size) {
      let characters = 0
      for (const text of await this.#store.entries(from, Math.min(limit, MAX_PAGE, size - from))) {
        characters += text.length
        if (entries.length > 0 && characters > MAX_PAGE_CHARACTERS) break
        entries.push(parseEntry(text))
      }
    }
    return { origin, entries, next: from + entries.length, size }
  }

  /** The entries that are about one execution alone, or one entry. @throws {Denied} `request_malformed` when there is none */
  async own(id: string): Promise<readonly Entry[]> {
    return Promise.all((await this.#seqs(id)).map(async (seq) => (await this.#log.read(seq)).entry))
  }

  /**
   * One execution by its `jti`, with the hold that it waited in and what was said of that; or one entry by its leaf index.
   * @throws {Denied} `request_malformed` when there is none
   */
  async show(id: string): Promise<Shown> {
    const own = await this.own(id)
    const entries = isIndex(id) ? own : [...(await this.#heldBefore(own)), ...own]
    const bodies: StoredBody[] = []
    for (const { seq } of own) bodies.push(...(await this.#store.bodies(seq)))
    return { entries, bodies: bodies.map(({ purpose, text }) => ({ purpose, body: text === undefined ? undefined : parseStrictText(text) })) }
  }

  async #heldBefore(own: readonly Entry[]): Promise<readonly Entry[]> {
    const permits = own.filter((entry) => entry.kind === 'permit' && parseApprovalRefs(entry.approvals).some(({ isGrant }) => !isGrant)) // a grant was given to another request
    if (permits.length === 0) return []
    const seqs = [...(await withApprovals(permits.map(({ seq }) => seq), this.#log))].sort((a, b) => a - b)
    const found = await Promise.all(seqs.map(async (seq) => (await this.#log.read(seq)).entry))
    return found.filter(({ kind }) => kind === 'hold' || kind === 'approval')
  }

  /** As {@link lineageOf}. */
  lineage(id: string, page: Page): Promise<LineageAnswer> {
    return lineageOf(id, page, this.#log, this.#store)
  }

  /** As {@link searchExecutions}. */
  search(request: SearchRequest): Promise<FoundPage> {
    return searchExecutions(request, this.#index, this.#log)
  }

  close(): void {
    this.#unwatch()
  }

  /** As {@link findGaps}. */
  async gaps(nowMs: number): Promise<Gaps> {
    await this.#log.latest()
    return findGaps(this.#log, nowMs)
  }

  /** Checks the whole store while the plane goes on; asked again, tells how far it is, and at last what was found. @param begin begins anew */
  fsck(begin: boolean): { readonly done: number; readonly of: number; readonly report?: FsckReport } {
    if (begin && (this.#fsck === undefined || this.#fsck.report !== undefined)) {
      const job: FsckJob = { done: 0, of: this.#log.size, report: undefined }
      this.#fsck = job
      void fsck(this.#store, { logKey: this.#log.signing.current(this.#log.state).at(-1)?.key ?? this.#ports.logKey.key, crypto: this.#ports.crypto, tenant: this.#log.tenant, highWater: this.#ports.highWater.read() }, (done, of) => Object.assign(job, { done, of })).then(
        (report) => (job.report = report),
        (error: unknown) => (job.report = { entries: job.done, groups: 0, bodies: 0, tiles: 0, checkpoints: 0, problems: [`the store cannot be read: ${error instanceof Error ? error.message : 'unknown error'}`], omitted: 0 }),
      )
    }
    const { done = 0, of = 0, report } = this.#fsck ?? {}
    return { done, of, ...(report === undefined ? {} : { report }) }
  }

  /** As {@link readTile}. */
  tile(path: string): Promise<Uint8Array> {
    return readTile(path, this.#log, this.#store)
  }

  /**
   * Begins evidence for `all`, for one execution, or for one entry.
   * @param since an earlier signed checkpoint to link it with
   * @throws {Denied} `request_malformed`, `state_diverged`, and what the checkpoint fails
   */
  async evidenceStart(selector: string, since?: string): Promise<EvidenceStart> {
    return this.#evidence.start(await this.#selected(selector), since)
  }

  evidencePage(start: Pick<EvidenceStart, 'head' | 'size' | 'seqs'>, from: number): Promise<EvidencePage> {
    return this.#evidence.page(start, from)
  }

  policies(digest: Digest): Promise<Bundle['policies'][number]> {
    return this.#evidence.policies(digest)
  }

  /** All evidence at once, for what is small. @throws {Denied} as {@link Reader.evidenceStart} */
  async evidence(selector: string, since?: string): Promise<Bundle> {
    return this.#evidence.whole(await this.#selected(selector), since)
  }

  async #selected(selector: string): Promise<readonly number[] | undefined> {
    if (selector !== 'all') return this.#seqs(selector)
    await this.#log.latest()
    return undefined
  }

  async #seqs(id: string): Promise<number[]> {
    await this.#log.latest()
    if (isIndex(id)) {
      if (Number(id) >= this.#log.size) throw new Denied('request_malformed', 'no entry with this index')
      return [Number(id)]
    }
    await catchUp(this.#store)
    if (!isId(id)) throw new Denied('request_malformed', 'neither an index nor the id of an execution')
    const row = await this.#store.execution(id)
    if (row === undefined) throw new Denied('request_malformed', 'no execution with this id')
    return [row.seq, await redemptionSeq(id, this.#store), row.expiry, row.ending].filter((seq, i, all): seq is number => seq !== undefined && all.indexOf(seq) === i)
  }
}

function isIndex(id: string): boolean {
  return /^\d{1,15}$/.test(id)
}

function isId(id: string): boolean {
  try {
    return fromBase64Url(id).length === 16
  } catch {
    return false
  }
}
