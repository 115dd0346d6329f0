import { type Anchor, ANCHOR_TYPES, canonicalText, Denied, Fields, type JsonObject, parseAnchor, parseStrictText, present } from '@sealwrit/protocol'
import type { Store } from '../store/store.ts'
import type { AnchorSink } from './sink.ts'

/** Sinks that one log remembers, those of earlier configurations included. */
export const MAX_KNOWN_SINKS = 64
/** Anchors that are kept of one sink: a century of hourly ones. */
export const MAX_KEPT = 1_000_000
/** Longest reason of a failure, in UTF-16 units. */
export const MAX_REASON = 256

/** What became of the checkpoints at one sink. */
export interface SinkRecord {
  readonly type: Anchor['type']
  readonly where: string
  /** Anchors that are kept. */
  readonly count: number
  /** The newest one: size of its checkpoint, and when by the plane's clock. */
  readonly success?: { readonly size: number; readonly time: number }
  /** The last failure, also where a success came after it. */
  readonly failure?: { readonly time: number; readonly reason: string }
}

/** Whether both name one place. */
export function isSame(a: Pick<AnchorSink, 'type' | 'where'>, b: Pick<AnchorSink, 'type' | 'where'>): boolean {
  return a.type === b.type && a.where === b.where
}

/**
 * Anchors in the store's meta values: `anchor sinks` counts the sinks, `anchor sink <i>` is a {@link SinkRecord}, and
 * `anchor <i> <n>` the anchor number `n` of sink `i`, with the size of its checkpoint. Sizes never fall with `n`.
 */
export class KeptAnchors {
  readonly #store: Store

  constructor(store: Store) {
    this.#store = store
  }

  /** @throws {Denied} `evidence_unavailable` when what is stored cannot be read */
  async records(): Promise<readonly SinkRecord[]> {
    const count = Number((await this.#store.getMeta('anchor sinks')) ?? '0')
    if (!Number.isSafeInteger(count) || count < 0 || count > MAX_KNOWN_SINKS) throw damaged()
    const records: SinkRecord[] = []
    for (let i = 0; i < count; i++) records.push(await this.#record(i))
    return records
  }

  /** The place of `sink` among the records, made where it has none. @throws {Denied} `limit_exceeded`, `evidence_unavailable` */
  async place(sink: Pick<AnchorSink, 'type' | 'where'>): Promise<number> {
    const records = await this.records()
    const known = records.findIndex((record) => isSame(record, sink))
    if (known >= 0) return known
    if (records.length >= MAX_KNOWN_SINKS) throw new Denied('limit_exceeded', `more than ${MAX_KNOWN_SINKS} places for anchors`)
    // The record first: a crash between the two leaves a record that is written over.
    await this.#put(records.length, { type: sink.type, where: sink.where, count: 0 })
    await this.#store.putMeta('anchor sinks', String(records.length + 1))
    return records.length
  }

  /** Keeps an anchor. The anchor first, then the count: a crash between the two loses it here, and its sink still has it. */
  async add(place: number, anchor: Anchor, size: number, timeMs: number): Promise<void> {
    const record = await this.#record(place)
    if (record.count >= MAX_KEPT) throw new Denied('limit_exceeded', `more than ${MAX_KEPT} anchors`)
    await this.#store.putMeta(`anchor ${place} ${record.count}`, canonicalText({ size, anchor } as unknown as JsonObject))
    await this.#put(place, { ...record, count: record.count + 1, success: { size, time: timeMs } })
  }

  async fail(place: number, reason: string, timeMs: number): Promise<void> {
    await this.#put(place, { ...(await this.#record(place)), failure: { time: timeMs, reason: reason.slice(0, MAX_REASON).toWellFormed() } })
  }

  /** The anchor number `n` of a sink, with the size of its checkpoint. */
  async at(place: number, n: number): Promise<{ size: number; anchor: Anchor }> {
    const text = await this.#store.getMeta(`anchor ${place} ${n}`)
    if (text === undefined) throw damaged()
    const fields = new Fields(parseStrictText(text), 'evidence_unavailable', 'kept anchor')
    const out = { size: fields.integer('size'), anchor: parseAnchor(fields.value('anchor')) }
    fields.end()
    return out
  }

  /** The newest anchor of a sink. */
  async newest(place: number): Promise<Anchor | undefined> {
    const { count } = await this.#record(place)
    return count === 0 ? undefined : (await this.at(place, count - 1)).anchor
  }

  async #record(place: number): Promise<SinkRecord> {
    const text = await this.#store.getMeta(`anchor sink ${place}`)
    if (text === undefined) throw damaged()
    const fields = new Fields(parseStrictText(text), 'evidence_unavailable', 'kept sink')
    const record = present<SinkRecord>({
      type: fields.oneOf('type', ANCHOR_TYPES),
      where: fields.text('where'),
      count: fields.integer('count', MAX_KEPT),
      success: fields.optional('success', (name) => {
        const success = fields.object(name)
        const out = { size: success.integer('size'), time: success.integer('time') }
        success.end()
        return out
      }),
      failure: fields.optional('failure', (name) => {
        const failure = fields.object(name)
        const out = { time: failure.integer('time'), reason: failure.string('reason', MAX_REASON) }
        failure.end()
        return out
      }),
    })
    fields.end()
    return record
  }

  #put(place: number, record: SinkRecord): Promise<void> {
    return this.#store.putMeta(`anchor sink ${place}`, canonicalText(record as unknown as JsonObject))
  }
}

function damaged(): Denied {
  return new Denied('evidence_unavailable', 'the kept anchors are damaged')
}

/**
 * The earliest anchor of each sink that covers the entry at `index`: at most {@link MAX_KNOWN_SINKS}. Evidence takes them along.
 * @throws {Denied} `evidence_unavailable`
 */
export async function anchorsFor(store: Store, index: number): Promise<readonly Anchor[]> {
  const kept = new KeptAnchors(store)
  const out: Anchor[] = []
  for (const [place, { count }] of (await kept.records()).entries()) {
    let [low, high] = [0, count]
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if ((await kept.at(place, middle)).size > index) high = middle
      else low = middle + 1
    }
    if (low < count) out.push((await kept.at(place, low)).anchor)
  }
  return out
}
