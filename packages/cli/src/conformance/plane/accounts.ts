import { canonicalText, DENIALS, type Entry, isDenialCode, isObject, type JsonValue } from '@sealwrit/protocol'
import type { PlaneSide } from './side.ts'

/** Entries that are read back at the end, at most. */
const MAX_READ = 20_000

/** What the log holds since the run began, read back. @throws {Denied} where it is not shown */
export async function entriesSince(side: PlaneSide): Promise<readonly Entry[]> {
  const { size } = await side.must('asker', 'status', {})
  const end = Math.min(Number(size), side.firstSize + MAX_READ)
  const found: Entry[] = []
  for (let seq = side.firstSize; seq < end; seq++) {
    const { entries } = await side.must('asker', 'executions', { id: String(seq) })
    const own = (entries as readonly JsonValue[]).find((entry) => isObject(entry) && entry['seq'] === seq)
    if (own !== undefined) found.push(own as unknown as Entry)
  }
  return found
}

/** Whether every permit of the log that is the runner's was given to it, is what it was given, and has its ending. @returns what is wrong, or how many there are */
export function permitsAccounted({ given, ended, gate, other }: PlaneSide, entries: readonly Entry[]): { readonly problem: string } | { readonly count: string } {
  const receipts = new Set(entries.flatMap((entry) => (entry.kind === 'receipt' ? [entry.jti] : [])))
  const redeemed = new Set(entries.flatMap((entry) => (entry.kind === 'redemption' ? [entry.jti] : [])))
  let [permits, open] = [0, 0]
  for (const entry of entries) {
    if (entry.kind !== 'permit' || (entry.aud !== gate.id && entry.aud !== other.id)) continue
    permits++
    const own = given.get(entry.jti)
    if (own === undefined) return { problem: `the log holds a permit at index ${entry.seq} that nobody was given` }
    if (canonicalText(entry as never) !== own.sealed['entry']) return { problem: `the permit at index ${entry.seq} is not the one that was given` }
    const mustEnd = entry.use === 'challenge' || redeemed.has(entry.jti)
    if (mustEnd && ended.has(entry.jti) !== receipts.has(entry.jti)) return { problem: `a receipt was ${ended.has(entry.jti) ? 'taken, and is not in the log' : 'refused, and is in the log'} (permit at index ${entry.seq})` }
    if (mustEnd && !ended.has(entry.jti)) return { problem: `the permit at index ${entry.seq} took no receipt` }
    if (!mustEnd) open++
  }
  if (permits !== given.size) return { problem: `${given.size} permits were given, and the log holds ${permits}` }
  return { count: `${permits} permits, each in the log as it was given; ${permits - open} ended by their receipts, ${open} carried and never spent` }
}

/** Whether every denial stands where the plane said; the record may be more precise than the answer, within its check. @returns what is wrong, or how many there are */
export function denialsRecorded({ denied }: PlaneSide, entries: readonly Entry[]): { readonly problem: string } | { readonly count: string } {
  for (const [seq, code] of denied) {
    const entry = entries.find((one) => one.seq === seq)
    if (entry?.kind !== 'deny' || !isDenialCode(code) || DENIALS[entry.code].check !== DENIALS[code].check) return { problem: `the denial ${code} is not at index ${seq}, where the plane said` }
  }
  return denied.size === 0 ? { problem: 'nothing was denied' } : { count: `${denied.size} denials, each where the plane said` }
}
