import { type Body, type Bundle, type Entry, parseEntry, parseStrictText, present, type SealedEntry } from '@sealwrit/protocol'
import type { Committed, Sequencer } from '../log/sequencer.ts'
import type { Store, StoredBody } from '../store/store.ts'

/** Entries in one exported bundle; a whole log beyond it is exported in parts. */
export const MAX_EXPORT = 100_000

/** Gives the policy files behind a digest, where the plane still has them. */
export type PolicyFiles = (digest: string) => Promise<Readonly<Record<string, string>> | undefined>

/**
 * Makes an evidence bundle of the entries at `seqs`, all proved against one checkpoint that covers the whole log.
 * What a stranger needs to check them goes along: the gates' enrolments, bodies that were not erased, policy texts.
 */
export async function exportBundle(seqs: Iterable<number>, log: Sequencer, store: Store, policyFiles: PolicyFiles): Promise<Bundle> {
  const head = await log.cover()
  const committed = new Map<number, Committed>()
  const read = async (wanted: Iterable<number>): Promise<void> => {
    for (const { from, count } of runs(wanted)) for (const one of await log.readRun(from, count)) committed.set(one.seq, one)
  }
  await read(seqs)
  const gates = new Set([...committed.values()].flatMap(({ entry }) => ('aud' in entry && entry.aud !== undefined ? [entry.aud] : [])))
  await read(await enrolments(gates, log, store))
  const ordered = [...committed.values()].sort((a, b) => a.seq - b.seq)
  const entries: SealedEntry[] = []
  for (const one of ordered) {
    entries.push(await log.proved(() => log.seal(one, head)))
    if (entries.length % PER_TURN === 0) await new Promise((resolve) => setImmediate(resolve)) // gates wait for their answers meanwhile
  }
  const bodies: Body[] = []
  for (const { from, count } of runs(committed.keys())) bodies.push(...(await store.bodies(from, count)).map(exportBody))
  return {
    v: 1,
    origin: log.origin,
    tenant: log.tenant,
    checkpoint: head.note,
    entries,
    bodies,
    policies: await policySets(ordered.map(({ entry }) => entry), policyFiles),
  }
}

/** Proofs made before others get their turn. */
const PER_TURN = 64
/** Entries read from the store at once. */
const MAX_RUN = 1_024

/** The neighbours among `seqs`, in order, so that a commit group is read once and not once an entry. */
function runs(seqs: Iterable<number>): readonly { from: number; count: number }[] {
  const out: { from: number; count: number }[] = []
  for (const seq of [...new Set(seqs)].sort((a, b) => a - b)) {
    const last = out.at(-1)
    if (last !== undefined && last.from + last.count === seq && last.count < MAX_RUN) last.count++
    else out.push({ from: seq, count: 1 })
  }
  return out
}

function exportBody({ purpose, commit, salt, digest, text }: StoredBody): Body {
  return present<Body>({ purpose, commit, salt, digest, body: text === undefined ? undefined : parseStrictText(text) })
}

/** Where the given gates were enrolled; a log has few of these entries, and they stand before the first permit. */
async function enrolments(gates: ReadonlySet<string>, log: Sequencer, store: Store): Promise<number[]> {
  const found = new Map<string, number>()
  const page = 1_024
  for (let from = 0; from < log.size && found.size < gates.size; from += page) {
    for (const text of await store.entries(from, page)) {
      if (!text.includes('"kind":"gate"')) continue
      const entry = parseEntry(text)
      if (entry.kind === 'gate' && entry.event === 'enrolled' && gates.has(entry.gate) && !found.has(entry.gate)) found.set(entry.gate, entry.seq)
    }
  }
  return [...found.values()]
}

async function policySets(entries: readonly Entry[], policyFiles: PolicyFiles): Promise<Bundle['policies']> {
  const digests = new Set(entries.flatMap((entry) => ('policy' in entry && entry.policy !== undefined ? [entry.policy.digest] : [])))
  const sets: { digest: string; files: Record<string, string> }[] = []
  for (const digest of digests) {
    const files = await policyFiles(digest)
    if (files !== undefined) sets.push({ digest, files: { ...files } })
  }
  return sets
}
