import type { ActivePolicy } from '../decide/decide.ts'
import { PolicyEngine } from '../decide/engine.ts'
import type { PolicySet } from '../decide/policy-set.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { Store } from '../store/store.ts'

/**
 * Makes `set` the active policy set: a logged entry under the next epoch, unless it is the active one already. Its texts
 * are kept by digest, so that decisions made under it can be replayed.
 */
export async function activatePolicies(set: PolicySet, log: Sequencer, store: Store): Promise<ActivePolicy> {
  const engine = new PolicyEngine(set)
  if (log.state.policyDigest !== set.digest) {
    await store.putMeta(`policy ${set.digest}`, JSON.stringify(set.files))
    const policies = set.policies.slice(0, MAX_LISTED).map(({ id }) => id)
    // Another plane of this log may be first.
    await log.ensure((state) => (state.policyDigest === set.digest ? undefined : { body: { kind: 'policy', digest: set.digest, epoch: state.epoch + 1, policies }, bodies: [] }))
  }
  return { engine, epoch: log.state.epoch }
}

/** Ids that a policy entry names; the digest binds all of them. */
const MAX_LISTED = 200

/** The policy files behind `digest`, where this plane activated them. */
export async function policyFiles(digest: string, store: Store): Promise<Readonly<Record<string, string>> | undefined> {
  const text = await store.getMeta(`policy ${digest}`)
  return text === undefined ? undefined : (JSON.parse(text) as Record<string, string>) // oxlint-disable-line no-restricted-properties -- written by activatePolicies
}
