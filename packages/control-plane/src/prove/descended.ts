import { MAX_DEPTH_LINEAGE } from '@sealwrit/protocol'
import { catchUp, redemptionSeq } from '../log/executions.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { Store } from '../store/store.ts'

/** `wanted`, and the permits above them with what became of those: what shows that each descends from what let it. */
export async function withAncestors(wanted: Iterable<number>, log: Sequencer, store: Store): Promise<ReadonlySet<number>> {
  const seqs = new Set(wanted)
  for (const seq of [...seqs]) {
    let at: number | undefined = seq
    for (let level = 0; at !== undefined && level <= MAX_DEPTH_LINEAGE; level++) {
      const { entry } = await log.read(at)
      const parent = 'par' in entry ? entry.par?.jti : undefined
      if (parent !== undefined) await catchUp(store)
      const row = parent === undefined ? undefined : await store.execution(parent)
      const spent = row === undefined ? undefined : await redemptionSeq(row.jti, store)
      for (const one of [row?.seq, spent, row?.ending]) if (one !== undefined && one < log.size) seqs.add(one)
      at = row?.seq
    }
  }
  return seqs
}
