import { actorOf, type Entry, type EntryBody, entryText, verifyActor } from '@sealwrit/protocol'
import type { Group, StoredBody } from '../store/store.ts'
import type { History } from './history.ts'
import type { LogState } from './state.ts'

/** Entries in one group. */
export const MAX_GROUP = 4_096

/** What goes into the log next, decided in the turn in which it gets its place. */
export interface Written {
  readonly body: EntryBody
  readonly bodies: readonly Omit<StoredBody, 'seq'>[]
  /** Identifies the request that a challenge was answered for. */
  readonly request?: string
  /** A key that may be spent once for ever. */
  readonly spends?: string
}

/**
 * Builds an entry for the place `seq` against the state of everything before it. Throws `Denied` to refuse without an
 * entry; an existing answer is given back by returning its `seq`. It may be asked again for another place, when another
 * writer was first, so it changes nothing itself.
 */
export type Draft = (state: LogState, seq: number, timeMs: number) => Written | { readonly repeat: number }

/** A place in the log, durable. */
export interface Committed {
  readonly seq: number
  readonly text: string
  readonly entry: Entry
}

export interface Queued {
  readonly draft: Draft
  /** Whether it gets its place before the others of its group: what refuses wins over what it is settled with. */
  readonly goesFirst: boolean
  readonly resolve: (committed: Committed) => void
  readonly reject: (error: unknown) => void
}
/** Asks for a checkpoint that covers everything before it, and first, where `follows`, for what other writers added. */
export interface Cover {
  readonly draft: undefined
  readonly follows: boolean
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export interface Placed {
  readonly queued: Queued
  readonly written: Written
  readonly entry: Entry
  readonly text: string
}

/** A group under way. */
export interface Attempt {
  readonly refused: readonly { readonly queued: Queued; readonly error: unknown }[]
  readonly placed: readonly Placed[]
  readonly repeats: readonly { readonly queued: Queued; readonly seq: number }[]
  readonly covers: readonly Cover[]
}

/** Gives each draft its place, in order, against the state of everything before it: one that throws is refused, and has none. */
export function place(items: readonly (Queued | Cover)[], history: History, tenant: string, timeMs: number): Attempt {
  const placed: Placed[] = []
  const repeats: { queued: Queued; seq: number }[] = []
  const covers: Cover[] = []
  const refused: { queued: Queued; error: unknown }[] = []
  history.begin()
  const goesFirst = (item: Queued | Cover): boolean => item.draft !== undefined && item.goesFirst
  for (const item of items.some(goesFirst) ? [...items.filter(goesFirst), ...items.filter((item) => !goesFirst(item))] : items) {
    if (item.draft === undefined) {
      covers.push(item)
      continue
    }
    try {
      const seq = history.size
      const written = item.draft(history.state, seq, timeMs)
      if ('repeat' in written) {
        repeats.push({ queued: item, seq: written.repeat })
        continue
      }
      const entry = { v: 1, seq, time: timeMs, tenant, ...written.body } as Entry
      verifyActor(entry, history.state.people.get(actorOf(entry) ?? '')) // a role that was taken meanwhile does nothing more
      const text = entryText(entry)
      history.add(entry, text, written.request)
      placed.push({ queued: item, written, entry, text })
    } catch (error) {
      refused.push({ queued: item, error })
    }
  }
  return { placed, repeats, covers, refused }
}

/** The placed entries as rows that belong together. @param after as in {@link Group.after} */
export async function packed(placed: readonly Placed[], history: History, signs: boolean, after: string | undefined): Promise<Group> {
  const checkpoint = signs ? await history.sign() : undefined
  return {
    firstSeq: history.size - placed.length,
    entries: placed.map(({ text }) => text),
    bodies: placed.flatMap(({ written, entry }) => written.bodies.map((body) => ({ seq: entry.seq, ...body }))),
    checkpoint,
    after,
    tiles: history.takeFilled(),
    spent: placed.flatMap(({ written }) => written.spends ?? []),
  }
}

/** Everything of a group that did not make it; what was refused against a fresh log is refused again there. */
export function kept({ placed, repeats, covers, refused }: Attempt): (Queued | Cover)[] {
  return [...placed, ...repeats, ...refused].map<Queued | Cover>(({ queued }) => queued).concat(covers)
}
