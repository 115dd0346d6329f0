import { type Bundle, Denied, type Entry, fromBase64Url, parseEntry, parseStrictText, type JsonValue } from '@sealwrit/protocol'
import { catchUp, redemptionSeq } from '../log/executions.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { Store, StoredBody } from '../store/store.ts'
import { exportBundle, MAX_EXPORT, type PolicyFiles } from './evidence.ts'

/** Entries on one page of a listing. */
export const MAX_PAGE = 1_000

export interface Shown {
  readonly entries: readonly Entry[]
  readonly bodies: readonly { readonly purpose: string; readonly body: JsonValue | undefined }[]
}

/** The read side of the log: lists, single executions, evidence. */
export class Reader {
  readonly #log: Sequencer
  readonly #store: Store
  readonly #policyFiles: PolicyFiles

  constructor(log: Sequencer, store: Store, files: PolicyFiles) {
    this.#log = log
    this.#store = store
    this.#policyFiles = files
  }

  /** Entries before leaf index `before`, newest first. */
  async list(before: number, limit: number, kinds: ReadonlySet<string> | undefined): Promise<{ entries: Entry[]; next: number | undefined }> {
    await this.#log.refresh()
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

  /** One execution by its `jti`, or one entry by its leaf index. @throws {Denied} `request_malformed` when there is none */
  async show(id: string): Promise<Shown> {
    const entries: Entry[] = []
    const bodies: StoredBody[] = []
    for (const seq of await this.#seqs(id)) {
      entries.push((await this.#log.read(seq)).entry)
      bodies.push(...(await this.#store.bodies(seq)))
    }
    return { entries, bodies: bodies.map(({ purpose, text }) => ({ purpose, body: text === undefined ? undefined : parseStrictText(text) })) }
  }

  /** Evidence for `all`, for one execution, or for one entry. @throws {Denied} `request_malformed`, `limit_exceeded` */
  async evidence(selector: string): Promise<Bundle> {
    const seqs = selector === 'all' ? await this.#all() : await this.#seqs(selector)
    return exportBundle(seqs, this.#log, this.#store, this.#policyFiles)
  }

  async #all(): Promise<number[]> {
    await this.#log.refresh()
    if (this.#log.size > MAX_EXPORT) throw new Denied('limit_exceeded', `the log has more than ${MAX_EXPORT} entries; export single executions`)
    return Array.from({ length: this.#log.size }, (_, i) => i)
  }

  async #seqs(id: string): Promise<number[]> {
    await this.#log.refresh()
    if (/^\d{1,15}$/.test(id)) {
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

function isId(id: string): boolean {
  try {
    return fromBase64Url(id).length === 16
  } catch {
    return false
  }
}
