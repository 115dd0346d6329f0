import { type Body, type Bundle, type Entry, parseEntry, parseStrictText, present } from '@sealwrit/protocol'
import type { Committed, Sequencer } from '../log/sequencer.ts'
import type { Store, StoredBody } from '../store/store.ts'

/** Entries in one exported bundle; a whole log beyond it is exported in parts. */
export const MAX_EXPORT = 100_000

/** Gives the policy files behind a digest, where the plane still has them. */
export type PolicyFiles = (digest: string) => Readonly<Record<string, string>> | undefined

/**
 * Makes an evidence bundle of the entries at `seqs`, all proved against one checkpoint that covers the whole log.
 * What a stranger needs to check them goes along: the gates' enrolments, bodies that were not erased, policy texts.
 */
export function exportBundle(seqs: Iterable<number>, log: Sequencer, store: Store, policyFiles: PolicyFiles): Bundle {
  log.cover()
  const wanted = new Set(seqs)
  const committed = new Map<number, Committed>()
  for (const seq of wanted) committed.set(seq, log.read(seq))
  const gates = new Set([...committed.values()].flatMap(({ entry }) => ('aud' in entry && entry.aud !== undefined ? [entry.aud] : [])))
  for (const seq of enrolments(gates, log, store)) if (!committed.has(seq)) committed.set(seq, log.read(seq))
  const ordered = [...committed.values()].sort((a, b) => a.seq - b.seq)
  return {
    v: 1,
    origin: log.origin,
    tenant: log.tenant,
    checkpoint: log.checkpointNote,
    entries: ordered.map((one) => log.seal(one)),
    bodies: ordered.flatMap(({ seq }) => store.bodies(seq).map(exportBody)),
    policies: policySets(ordered.map(({ entry }) => entry), policyFiles),
  }
}

function exportBody({ purpose, commit, salt, digest, text }: StoredBody): Body {
  return present<Body>({ purpose, commit, salt, digest, body: text === undefined ? undefined : parseStrictText(text) })
}

/** Where the given gates were enrolled; a log has few of these entries, and they stand before the first permit. */
function enrolments(gates: ReadonlySet<string>, log: Sequencer, store: Store): number[] {
  const found = new Map<string, number>()
  const page = 1_024
  for (let from = 0; from < log.size && found.size < gates.size; from += page) {
    for (const text of store.entries(from, page)) {
      if (!text.includes('"kind":"gate"')) continue
      const entry = parseEntry(text)
      if (entry.kind === 'gate' && entry.event === 'enrolled' && gates.has(entry.gate) && !found.has(entry.gate)) found.set(entry.gate, entry.seq)
    }
  }
  return [...found.values()]
}

function policySets(entries: readonly Entry[], policyFiles: PolicyFiles): Bundle['policies'] {
  const digests = new Set(entries.flatMap((entry) => ('policy' in entry && entry.policy !== undefined ? [entry.policy.digest] : [])))
  return [...digests].flatMap((digest) => {
    const files = policyFiles(digest)
    return files === undefined ? [] : [{ digest, files: { ...files } }]
  })
}
