import { type Anchor, anchoredBytes, type Crypto, Denied, fromUtf8, type NoteKey } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'
import type { PlaneClock } from '../ports.ts'
import { type Store, StoreFailure } from '../store/store.ts'
import { isSame, KeptAnchors, type SinkRecord } from './kept.ts'
import { type AnchorSink, SinkFailure } from './sink.ts'

/** Sinks of one plane. */
export const MAX_SINKS = 8
/** How long after a failure a sink is tried again, in milliseconds; sooner where the interval is shorter. */
export const RETRY_MS = 300_000
/** How long after a start the first round begins, in milliseconds. */
const FIRST_ROUND_MS = 5_000
/** The longest that one timer waits: a longer interval is looked at again in between. */
const MAX_WAIT_MS = 3_600_000

export interface AnchorsOptions {
  readonly sinks: readonly AnchorSink[]
  readonly intervalMs: number
  /** Hears of every failure, in one sentence. */
  readonly report: (sentence: string) => void
}

export interface AnchorsPorts {
  readonly clock: PlaneClock
  readonly crypto: Crypto
  readonly store: Store
  readonly logKey: { readonly key: NoteKey }
}

/** What one sink answered in one round. */
export type AnchorOutcome =
  | { readonly type: Anchor['type']; readonly where: string; readonly size: number; readonly anchor: Anchor }
  | { readonly type: Anchor['type']; readonly where: string; readonly failure: string }

/** A {@link SinkRecord} with whether it is configured now, and its newest anchor. */
export type ListedSink = SinkRecord & { readonly isConfigured: boolean; readonly newest?: Anchor }

/**
 * Anchors the newest checkpoint at every sink, each interval in which the log grew. A failure is kept, reported and tried
 * again; it holds up nobody, and the plane stays ready: an anchor is evidence about the past, not a condition of the next call.
 */
export class Anchors {
  readonly #log: Sequencer
  readonly #ports: AnchorsPorts
  readonly #options: AnchorsOptions
  readonly #kept: KeptAnchors
  readonly #ending = new AbortController()
  #cancel: () => void = () => undefined
  /** Rounds run one after the other: the records are read, changed and written. */
  #round: Promise<unknown> = Promise.resolve()
  /** When each sink failed last in this process, by the monotonic clock. */
  readonly #failedAt = new Map<AnchorSink, number>()

  constructor(log: Sequencer, ports: AnchorsPorts, options: AnchorsOptions) {
    if (options.sinks.length > MAX_SINKS) throw new TypeError(`more than ${MAX_SINKS} sinks`)
    this.#log = log
    this.#ports = ports
    this.#options = options
    this.#kept = new KeptAnchors(ports.store)
    if (options.sinks.length > 0) this.#wait(Math.min(FIRST_ROUND_MS, options.intervalMs))
  }

  get count(): number {
    return this.#options.sinks.length
  }

  /** Anchors at every sink, due or not. @throws {Denied} `request_malformed` where none is configured, `evidence_unavailable` */
  now(): Promise<readonly AnchorOutcome[]> {
    if (this.#options.sinks.length === 0) throw new Denied('request_malformed', 'no place for anchors is configured')
    return this.#inTurn(() => this.#anchorAt(this.#options.sinks))
  }

  /** Every sink that the log remembers, those of earlier configurations included. @throws {Denied} `evidence_unavailable` */
  async list(): Promise<readonly ListedSink[]> {
    const { sinks } = this.#options
    const listed: ListedSink[] = []
    for (const [place, record] of (await this.#kept.records()).entries()) {
      const newest = await this.#kept.newest(place)
      listed.push({ ...record, isConfigured: sinks.some((sink) => isSame(record, sink)), ...(newest === undefined ? {} : { newest }) })
    }
    for (const sink of sinks) if (!listed.some((one) => isSame(one, sink))) listed.push({ type: sink.type, where: sink.where, count: 0, isConfigured: true })
    return listed
  }

  /** As {@link Anchors.list} for the sinks of now, without the anchors; it answers also where the store does not. */
  async status(): Promise<readonly SinkRecord[]> {
    try {
      const records = await this.#kept.records()
      return this.#options.sinks.map((sink) => records.find((one) => isSame(one, sink)) ?? { type: sink.type, where: sink.where, count: 0 })
    } catch {
      const failure = { time: Math.floor(this.#ports.clock.wallMs()), reason: 'the kept anchors cannot be read' }
      return this.#options.sinks.map(({ type, where }) => ({ type, where, count: 0, failure }))
    }
  }

  /** Ends what is under way; nothing is anchored because the plane ends. */
  async close(): Promise<void> {
    this.#ending.abort()
    this.#cancel()
    await this.idle()
  }

  /** Resolves when no round is under way. */
  async idle(): Promise<void> {
    await this.#round
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const result = this.#round.then(run)
    this.#round = result.catch(() => undefined)
    return result
  }

  #wait(ms: number): void {
    if (this.#ending.signal.aborted) return
    this.#cancel = this.#ports.clock.after(Math.min(ms, MAX_WAIT_MS), () => {
      void this.#inTurn(async () => {
        try {
          await this.#due()
        } catch (error) {
          this.#options.report(`checkpoints were not anchored: ${reasonOf(error)}`)
        }
        this.#wait(Math.min(this.#options.intervalMs, RETRY_MS))
      })
    })
  }

  /** Anchors where the interval has passed and the log has grown; another plane of this log may have done it already. */
  async #due(): Promise<void> {
    const { clock } = this.#ports
    const records = await this.#kept.records()
    const due = this.#options.sinks.filter((sink) => {
      const failedAt = this.#failedAt.get(sink)
      if (failedAt !== undefined) return clock.monotonicMs() - failedAt >= Math.min(this.#options.intervalMs, RETRY_MS)
      const { success } = records.find((one) => isSame(one, sink)) ?? {}
      if (success === undefined) return true
      const passedMs = clock.wallMs() - success.time
      // A clock that went back must not keep a sink waiting.
      return (passedMs >= this.#options.intervalMs || passedMs < 0) && success.size < this.#log.size
    })
    if (due.length > 0) await this.#anchorAt(due)
  }

  async #anchorAt(sinks: readonly AnchorSink[]): Promise<readonly AnchorOutcome[]> {
    const { note, size } = await this.#log.refresh()
    const bytes = anchoredBytes(note, this.#log.signing.keys(this.#log.state).named, this.#ports.crypto)
    const given = { note: fromUtf8(bytes), bytes }
    const asked = sinks.map((sink) => sink.anchor(given, this.#ending.signal).then((anchor) => ({ sink, anchor }), (error: unknown) => ({ sink, error })))
    const outcomes: AnchorOutcome[] = []
    // One after the other: two new sinks must not get the same place.
    for (const answer of await Promise.all(asked)) outcomes.push(await this.#keep(answer, size))
    return outcomes
  }

  async #keep(answer: { sink: AnchorSink; anchor: Anchor } | { sink: AnchorSink; error: unknown }, size: number): Promise<AnchorOutcome> {
    const { type, where } = answer.sink
    const timeMs = Math.floor(this.#ports.clock.wallMs())
    let failed = 'error' in answer ? answer.error : undefined
    if ('anchor' in answer) {
      try {
        await this.#kept.add(await this.#kept.place(answer.sink), answer.anchor, size, timeMs)
        this.#failedAt.delete(answer.sink)
        return { type, where, size, anchor: answer.anchor }
      } catch (error) {
        failed = error
      }
    }
    const failure = reasonOf(failed)
    this.#failedAt.set(answer.sink, this.#ports.clock.monotonicMs())
    if (!this.#ending.signal.aborted) {
      this.#options.report(`the checkpoint of ${size} entries was not anchored at ${type} ${where}: ${failure}`)
      await this.#kept.place(answer.sink).then((place) => this.#kept.fail(place, failure, timeMs)).catch((error: unknown) => this.#options.report(`a failure could not be kept: ${reasonOf(error)}`))
    }
    return { type, where, failure }
  }
}

/** What may be shown of a failure: the sentences of our own; of anything else that it happened. */
function reasonOf(error: unknown): string {
  if (error instanceof SinkFailure) return error.message
  if (error instanceof Denied) return `${error.code}: ${error.message}`
  return error instanceof StoreFailure ? 'the store failed' : 'an unknown failure'
}
