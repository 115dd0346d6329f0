import { Numbering, peekClaims } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'

/** Entries looked at in one turn. */
const PAGE = 1_024
/** Sessions, and open permits, that are named one by one. */
const MAX_NAMED = 1_000

/** What the log does not hold though it should. */
export interface Gaps {
  /** Gate sessions with numbers missing below the highest one: receipts that were lost on their way. */
  readonly sessions: readonly { readonly gate: string; readonly session: string; readonly missing: number; readonly first?: number }[]
  /** Permits without an ending, oldest first; overdue ones are about to become `indeterminate`. */
  readonly open: readonly { readonly jti: string; readonly seq: number; readonly overdue: boolean }[]
  readonly openCount: number
  readonly denialsLost: readonly { readonly gate: string; readonly count: number }[]
}

/** Reads the whole log, a page a turn. */
export async function findGaps(log: Sequencer, nowMs: number): Promise<Gaps> {
  const numbering = new Numbering()
  const lost = new Map<string, number>()
  for (let from = 0; from < log.size; from += PAGE) {
    for (const { entry } of await log.readRun(from, PAGE)) {
      if (entry.kind === 'receipt') {
        const { gate, session, sequence } = peekClaims(entry.receipt) // verified when it was logged
        numbering.use(`${String(gate)} ${String(session)}`, Number(sequence))
      } else if (entry.kind === 'gate' && entry.event === 'denials_lost') lost.set(entry.gate, (lost.get(entry.gate) ?? 0) + (entry.count ?? 0))
    }
  }
  const sessions: Gaps['sessions'][number][] = []
  for (const { session: key, missing, first } of numbering.gaps()) {
    const [gate, session] = key.split(' ') as [string, string]
    if (sessions.length < MAX_NAMED) sessions.push({ gate, session, missing, ...(first === undefined ? {} : { first }) })
  }
  const open: Gaps['open'][number][] = []
  for (const [jti, { seq, deadlineMs }] of log.state.open) if (open.length < MAX_NAMED) open.push({ jti, seq, overdue: deadlineMs <= nowMs })
  return { sessions, open, openCount: log.state.open.size, denialsLost: [...lost].map(([gate, count]) => ({ gate, count })) }
}
