import { Denied, type DecisionEntry, type JsonObject, type JsonValue, parseStrictText, present } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'
import type { Store, StoredBody } from '../store/store.ts'

/** Entries that one page of recorded requests looks at, and characters of bodies on it. */
export const MAX_REQUEST_PAGE = 512
const MAX_PAGE_CHARACTERS = 1_048_576

/** A request that was decided, as far as it is kept. */
export interface RecordedRequest {
  readonly entry: DecisionEntry
  /** Absent where it was erased or redacted. */
  readonly action?: JsonValue
  readonly inputs?: JsonValue
  /** What a set in shadow mode would have decided. */
  readonly shadow?: JsonObject
}

/** Requests that were decided by policy from leaf index `from` on; `next` is where the following page begins. @throws {Denied} `request_malformed` beyond the log */
export async function recordedRequests(from: number, log: Sequencer, store: Store): Promise<{ requests: RecordedRequest[]; next: number; size: number }> {
  await log.latest()
  const { size } = log
  if (from > size) throw new Denied('request_malformed', 'no entry with this index')
  const count = Math.min(MAX_REQUEST_PAGE, size - from)
  if (count === 0) return { requests: [], next: size, size }
  const bodies = new Map<number, StoredBody[]>()
  for (const body of await store.bodies(from, count)) bodies.set(body.seq, [...(bodies.get(body.seq) ?? []), body])
  const requests: RecordedRequest[] = []
  let [next, characters] = [from, 0]
  for (const { seq, entry } of await log.readRun(from, count)) {
    const own = bodies.get(seq) ?? []
    characters += own.reduce((sum, { text }) => sum + (text?.length ?? 0), 0)
    if (next > from && characters > MAX_PAGE_CHARACTERS) break
    next = seq + 1
    if ((entry.kind !== 'permit' && entry.kind !== 'deny' && entry.kind !== 'hold') || entry.policy === undefined) continue
    const body = (purpose: StoredBody['purpose']): JsonValue | undefined => {
      const text = own.find((one) => one.purpose === purpose)?.text
      return text === undefined ? undefined : parseStrictText(text)
    }
    requests.push(present<RecordedRequest>({ entry: entry as DecisionEntry, action: body('action'), inputs: body('inputs'), shadow: body('shadow') as JsonObject | undefined }))
  }
  return { requests, next, size }
}
