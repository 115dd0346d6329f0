import type { SealedEntry } from '@sealwrit/protocol'
import type { Committed } from './group.ts'
import type { SignedHead } from './history.ts'
import type { Sequencer } from './sequencer.ts'

/** What the log says of its own keys: what leads from an older key to the newest, and what a gate must know to follow the next one. */
export async function keyStatements(log: Sequencer): Promise<readonly Committed[]> {
  return Promise.all(log.state.keyEntries.map(({ seq }) => log.read(seq)))
}

/** As {@link keyStatements}, where they say more than which key it began with, and what it says of revoked keys of gates, each with its proof under `head`. */
export async function sealedKeys(log: Sequencer, head: SignedHead): Promise<readonly SealedEntry[]> {
  const { keyEntries, revokedGates } = log.state
  if (keyEntries.length < 2 && revokedGates.size === 0) return []
  const seqs = [...keyEntries.map(({ seq }) => seq), ...[...revokedGates.values()].flatMap((one) => one.seqs)].filter((seq) => seq < head.size).sort((a, b) => a - b)
  const sealed: SealedEntry[] = []
  for (const seq of seqs) {
    const at = await log.read(seq)
    sealed.push(await log.proved(() => log.seal(at, head)))
  }
  return sealed
}
