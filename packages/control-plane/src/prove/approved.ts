import { type Entry, parseApprovalRefs, peekClaims } from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'

/** `wanted` and what shows that it was approved: the hold, everybody's word on it, and where the log says who they are. */
export async function withApprovals(wanted: readonly number[], log: Sequencer): Promise<ReadonlySet<number>> {
  const seqs = new Set(wanted)
  const { approvals } = log.state
  const addHold = (id: string): void => {
    const held = approvals.holds.get(id)
    if (held === undefined) return
    seqs.add(held.seq)
    for (const { seq, person } of held.given) addApproval(seq, person)
    if (held.endedSeq !== undefined) seqs.add(held.endedSeq)
  }
  const addApproval = (seq: number, person: string | undefined): void => {
    seqs.add(seq)
    for (const at of approvals.persons.get(person ?? '')?.seqs ?? []) seqs.add(at)
  }
  for (const seq of wanted) {
    const { entry } = await log.read(seq)
    if (entry.kind === 'hold') addHold(entry.hold)
    for (const given of await approvalsOf(entry, log)) {
      if (given.kind !== 'approval') continue
      addApproval(given.seq, given.person)
      addHold(given.hold)
      // The signature says where the hold is, also where nobody remembers it any more.
      const index = given.signature === undefined ? undefined : peekClaims(given.signature)['index']
      if (typeof index === 'number' && index < log.size) seqs.add(index)
    }
  }
  return seqs
}

async function approvalsOf(entry: Entry, log: Sequencer): Promise<readonly Entry[]> {
  if (entry.kind === 'approval') return [entry]
  if (entry.kind !== 'permit') return []
  const found: Entry[] = []
  for (const { seq } of parseApprovalRefs(entry.approvals)) if (seq < log.size) found.push((await log.read(seq)).entry)
  return found
}
