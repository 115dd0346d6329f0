import * as fs from 'node:fs'
import * as path from 'node:path'
import { DIMENSIONS, grade, LogMeasures, type Measure, parseModel, WINDOW_DAYS } from '@sealwrit/assessor'
import { type Entry, parseEntry, parseStrict } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { richBundle } from '../../../test/support/evidence.ts'

const model = parseModel(parseStrict(fs.readFileSync(path.resolve(import.meta.dirname, '../maturity.json'))))
const entries = richBundle('default').drafts.map(({ text }) => parseEntry(text))
const lastMs = entries.at(-1)?.time as number
const measure = (given: readonly Entry[], nowMs = lastMs + 1): LogMeasures => {
  const measures = new LogMeasures(nowMs)
  for (const entry of given) measures.add(entry)
  return measures
}
const valueOf = (measures: LogMeasures, name: Measure): number | undefined => measures.measured().get(name)?.value
/** As the command grades a log: one that is not whole shows nothing. */
const levelsOf = (given: readonly Entry[], size: number): number[] => {
  const measures = measure(given)
  const invalid = [...(measures.broken === undefined ? [] : [measures.broken]), ...(measures.entries === size ? [] : ['entries are missing at the end'])]
  return grade(model, measures.measured(), invalid).dimensions.map(({ level }) => level)
}

describe('what a log shows', () => {
  it('counts what a rich log holds, and names entries that show it', () => {
    const measures = measure(entries)
    expect(measures.broken).toBeUndefined()
    const measured = measures.measured()
    const kinds = (kind: Entry['kind']): Entry[] => entries.filter((entry) => entry.kind === kind)
    expect(measured.get('entries')?.value).toBe(entries.length)
    expect(measured.get('executions')?.value).toBe(kinds('permit').length)
    expect(measured.get('denials')?.value).toBe(kinds('deny').length)
    for (const seq of measured.get('executions')?.proof ?? []) expect(entries[seq]?.kind).toBe('permit')
    expect(measured.get('receipt_gaps')?.value).toBe(0)
    expect(measured.get('determined_share')).toMatchObject({ value: 1 })
  })

  it('forgets what is older than its window, and keeps counting what is not over', () => {
    const later = measure(entries, lastMs + (WINDOW_DAYS + 1) * 86_400_000)
    for (const name of ['executions', 'denials', 'decisions'] as const) expect(valueOf(later, name), name).toBe(name === 'decisions' ? entries.filter(({ kind }) => kind === 'hold').length : 0)
    expect(valueOf(later, 'entries')).toBe(entries.length)
  })

  it('an execution that nobody accounts for lowers the share, and its late receipt raises it again', () => {
    const doubtful = entries.filter((entry) => entry.kind === 'expiry' && entry.outcome === 'indeterminate').length
    expect(doubtful).toBeGreaterThan(0)
    const resolved = entries.filter((entry) => entry.kind === 'receipt' && entry.resolves !== undefined).length
    expect(valueOf(measure(entries), 'indeterminate_share') as number > 0).toBe(doubtful > resolved)
  })

  it('a gate that skips a number of its receipts is seen to', () => {
    const token = (sequence: number): string => `e30.${Buffer.from(JSON.stringify({ session: 's', sequence, outcome: 'completed', assurance: 'A3', containment: [], finished: 1 })).toString('base64url')}.sig`
    const receipts = [0, 1, 4].map((sequence, seq) => ({ v: 1, kind: 'receipt', seq, time: 1, tenant: 'default', jti: 'x', receipt: token(sequence) }) as unknown as Entry)
    expect(valueOf(measure(receipts), 'receipt_gaps')).toBe(2)
    const late = [0, 4, 1, 2, 3].map((sequence, seq) => ({ v: 1, kind: 'receipt', seq, time: 1, tenant: 'default', jti: 'x', receipt: token(sequence) }) as unknown as Entry)
    expect(valueOf(measure(late), 'receipt_gaps')).toBe(0)
  })
})

describe('a log that is not whole', () => {
  it('of which any entry is missing is level 0 in everything', () => {
    for (let at = 0; at < entries.length; at++) expect(levelsOf(entries.filter((_, i) => i !== at), entries.length), `without ${at}`).toEqual(DIMENSIONS.map(() => 0))
  })

  it('taking evidence away, putting it in another order or twice never raises a level', () => {
    const whole = levelsOf(entries, entries.length)
    fc.assert(fc.property(fc.subarray([...entries.keys()], { minLength: 1 }), fc.nat(entries.length - 1), fc.nat(entries.length - 1), (kept, a, b) => {
      const swapped = [...entries]
      ;[swapped[a], swapped[b]] = [entries[b] as Entry, entries[a] as Entry]
      const doubled = [...entries.slice(0, a), entries[a] as Entry, ...entries.slice(a)]
      for (const given of [kept.map((i) => entries[i] as Entry), swapped, doubled]) levelsOf(given, entries.length).forEach((level, i) => expect(level).toBeLessThanOrEqual(whole[i] as number))
    }), { numRuns: 200 })
  })

  it('of nothing is level 0 with every dimension', () => {
    expect(levelsOf([], 0)).toEqual(DIMENSIONS.map(() => 0))
  })
})
