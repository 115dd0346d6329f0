import { Denied, type Entry, MAX_RANGES } from '@sealwrit/protocol'
import type { Committed } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import { CHALLENGE_LIFE_MS } from '../log/state.ts'
import type { PlaneClock } from '../ports.ts'
import type { Store } from '../store/store.ts'

/** Leaf indices, `to` exclusive. */
export interface Range {
  readonly from: number
  readonly to: number
}

export interface Erasure {
  /** Leaf indices of the entries that record it. */
  readonly recorded: readonly number[]
  /** Bodies that were deleted. */
  readonly bodies: number
  /** Entries that are too young to be erased: a lost reply may still be asked for again. */
  readonly tooYoung: number
}

/** Entries looked at in one turn while a selection is made. */
const PAGE = 1_024
/** Under this name the store keeps the leaf index below which every erasure was carried out. */
const DONE = 'erased_below'
const RETENTION_INTERVAL_MS = 3_600_000

/**
 * Deletes the bodies and salts of entries. What is deleted is logged first, durably; a crash in between is made up for at the
 * next start. Entries and proofs stay: their commitments say nothing without the salts (ATK-079).
 * @param by who asks; undefined for a rule of retention
 */
export async function erase(ranges: readonly Range[], by: string | undefined, log: Sequencer, store: Store, clock: PlaneClock): Promise<Erasure> {
  const { kept, tooYoung } = await oldEnough(ranges, log, clock)
  const recorded: number[] = []
  for (let i = 0; i < kept.length; i += MAX_RANGES) {
    const some = kept.slice(i, i + MAX_RANGES)
    const body = { kind: 'erasure', ranges: some, cause: by === undefined ? 'retention' : 'request', ...(by === undefined ? {} : { by }) } as const
    recorded.push((await log.submit(() => ({ body, bodies: [] }))).seq)
  }
  const bodies = recorded.length === 0 ? 0 : await completeErasures(log, store)
  return { recorded, bodies, tooYoung }
}

/** Carries out every erasure that the log holds and the store has not seen yet. @returns how many bodies were deleted */
export async function completeErasures(log: Sequencer, store: Store): Promise<number> {
  const done = Number((await store.getMeta(DONE)) ?? '0')
  let bodies = 0
  let last = done
  for (const { seq, ranges } of log.state.erasures.values()) {
    if (seq < done) continue
    for (const { from, to } of ranges) bodies += await store.eraseBodies(from, to)
    last = seq + 1
  }
  if (last > done) await store.putMeta(DONE, String(last))
  return bodies
}

/** The part of `ranges` that stands before the first entry that is too young. */
async function oldEnough(ranges: readonly Range[], log: Sequencer, clock: PlaneClock): Promise<{ kept: Range[]; tooYoung: number }> {
  const limit = await firstSince(clock.wallMs() - CHALLENGE_LIFE_MS, log)
  const kept = ranges.map(({ from, to }) => ({ from, to: Math.min(to, limit) })).filter(({ from, to }) => from < to)
  const count = (list: readonly Range[]): number => list.reduce((sum, { from, to }) => sum + to - from, 0)
  return { kept, tooYoung: count(ranges) - count(kept) }
}

/** Leaf index of the first entry whose time is `timeMs` or later; times never go back in a log. */
export async function firstSince(timeMs: number, log: Sequencer): Promise<number> {
  let [low, high] = [0, log.size]
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    if ((await log.read(middle)).entry.time < timeMs) low = middle + 1
    else high = middle
  }
  return low
}

/** Entries that `isMeant` picks, as ranges. Reads the whole log, a page a turn. */
async function select(isMeant: (entry: Entry) => boolean, log: Sequencer): Promise<Range[]> {
  const ranges: { from: number; to: number }[] = []
  for (let from = 0; from < log.size; from += PAGE) {
    for (const { seq, entry } of await log.readRun(from, PAGE)) if (isMeant(entry)) add(ranges, seq)
  }
  return ranges
}

/** The places of `entries` as ranges. */
function rangesOf(entries: readonly Pick<Committed, 'seq'>[]): Range[] {
  const ranges: { from: number; to: number }[] = []
  for (const seq of entries.map((entry) => entry.seq).sort((a, b) => a - b)) add(ranges, seq)
  return ranges
}

function add(ranges: { from: number; to: number }[], seq: number): void {
  const last = ranges.at(-1)
  if (last?.to === seq) last.to++
  else if (last === undefined || last.to < seq) ranges.push({ from: seq, to: seq + 1 })
}

/** Erases what is older than `retentionMs`, every hour, until the result is called. */
export function watchRetention(retentionMs: number, log: Sequencer, store: Store, clock: PlaneClock): () => void {
  let cancel = (): void => undefined
  let stopped = false
  const again = (): void => {
    if (!stopped) cancel = clock.after(RETENTION_INTERVAL_MS, () => void eraseOld(retentionMs, log, store, clock).catch(() => 0).finally(again))
  }
  void eraseOld(retentionMs, log, store, clock).catch(() => 0).finally(again)
  return () => {
    stopped = true
    cancel()
  }
}

/** One run of the retention rule. @returns how many bodies were deleted */
export async function eraseOld(retentionMs: number, log: Sequencer, store: Store, clock: PlaneClock): Promise<number> {
  const to = await firstSince(clock.wallMs() - retentionMs, log)
  const from = log.state.retainedFrom
  return from < to ? (await erase([{ from, to }], undefined, log, store, clock)).bodies : 0
}

/** @throws {Denied} `request_malformed` */
export function parseInstant(text: string): number {
  const timeMs = /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?Z)?$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(timeMs)) throw new Denied('request_malformed', 'a time is YYYY-MM-DD or YYYY-MM-DDTHH:MM:SSZ')
  return timeMs
}

/** The first leaf that `since` means: an index, or a time. @throws {Denied} `request_malformed` */
export async function leafAt(since: string, log: Sequencer): Promise<number> {
  return /^\d{1,15}$/.test(since) ? Number(since) : firstSince(parseInstant(since), log)
}

/**
 * The entries that a selector names: `agent:NAME`, `sub:ID`, `before:TIME`, or one execution or index.
 * @param shown the entries of one execution, or the one of an index
 * @throws {Denied} `request_malformed`
 */
export async function selected(selector: string, log: Sequencer, shown: (id: string) => Promise<readonly Pick<Committed, 'seq'>[]>): Promise<Range[]> {
  await log.latest()
  const [, kind, value] = /^(agent|sub|before):(.+)$/.exec(selector) ?? []
  if (value === undefined) return rangesOf(await shown(selector))
  if (kind === 'before') {
    const to = await firstSince(parseInstant(value), log)
    return to === 0 ? [] : [{ from: 0, to }]
  }
  const isMeant = (entry: Entry): boolean => (kind === 'agent' ? 'act' in entry && entry.act?.sub === selector : 'sub' in entry && entry.sub === value)
  return select(isMeant, log)
}
