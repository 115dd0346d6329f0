import { Denied, type Digest, type PolicyEntry, present, type Sha256 } from '@sealwrit/protocol'
import type { ActivePolicy } from '../decide/decide.ts'
import { PolicyEngine } from '../decide/engine.ts'
import { loadPolicySet, PolicyError, type PolicySet } from '../decide/policy-set.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { LogState } from '../log/state.ts'
import type { PlanePorts } from '../ports.ts'
import type { Store } from '../store/store.ts'
import type { ProfileDemands, ProfileFacts } from './profile.ts'

/** Policy sets that one log may have seen active. */
export const MAX_EPOCHS = 1_000_000
/** Ids that a policy entry names; the digest binds all of them. */
const MAX_LISTED = 200

export interface PolicyRules {
  /** False: a set is activated at the start only where the log holds none yet; afterwards the log says which is the active one. */
  readonly activateAtStart?: boolean
  /** Digest of the protected rules that every set must hold. */
  readonly base?: Digest | undefined
  /** Nothing is permitted under a set that was activated or confirmed longer ago, milliseconds. */
  readonly maxAgeMs?: number | undefined
  /** What policy denies may run all the same, marked, at gates that were started for it. */
  readonly observes?: boolean | undefined
  /** What is asked of every set that is in force. */
  readonly demands?: ProfileDemands | undefined
}

/** How a set shall come into force. */
export interface Activating {
  readonly mode: 'enforce' | 'shadow'
  /** Only from this time on, milliseconds since 1970. */
  readonly fromMs?: number | undefined
  readonly urgent: boolean
  /** Makes a new epoch of the set that is the active one already: the operator's word that it still holds. */
  readonly confirm: boolean
  /** Replaces the protected rules of the active set; without it they cannot be changed by an activation. */
  readonly rebase: boolean
}

export interface Activated {
  readonly outcome: 'activated' | 'staged' | 'shadow' | 'unchanged' | 'withdrawn'
  readonly digest: Digest
  readonly epoch: number
  readonly seq: number
}

/** The policy sets of one log: which is active is what the log says, and nothing else. */
export class Policies {
  readonly #log: Sequencer
  readonly #ports: PlanePorts
  readonly #rules: PolicyRules
  #active: ActivePolicy
  #shadow: ActivePolicy | undefined

  private constructor(log: Sequencer, ports: PlanePorts, rules: PolicyRules, active: ActivePolicy) {
    this.#log = log
    this.#ports = ports
    this.#rules = rules
    this.#active = active
  }

  /**
   * @param set what is to be activated now, as the rules say; undefined where nothing is at hand
   * @throws {PolicyError} when the active set is not in the store as it was activated, or there is none
   * @throws {ProfileUnmet} when it is not what the profiles ask for
   */
  static async open(set: PolicySet | undefined, log: Sequencer, ports: PlanePorts, rules: PolicyRules): Promise<Policies> {
    const { state } = log
    if (log.stopped === undefined && set !== undefined && (rules.activateAtStart !== false || state.policyDigest === undefined)) {
      if (rules.base !== undefined && set.base !== rules.base) throw new PolicyError('the policy set lacks the protected rules that the configuration demands')
      rules.demands?.demandOf(set)
      await keep(set, ports.store)
      // Another plane of this log may be first.
      if (state.policyDigest !== set.digest) await log.ensure((at) => (at.policyDigest === set.digest ? undefined : { body: entryOf(set, at, {}), bodies: [] }))
    }
    const digest = state.policyDigest ?? set?.digest
    if (digest === undefined) throw new PolicyError('no policy set was ever activated, and none is at hand')
    const observes = rules.observes === true
    if (log.stopped === undefined && modeEntry(state, observes) !== undefined) await log.ensure((at) => modeEntry(at, observes))
    const active = digest === set?.digest ? set : await storedPolicySet(digest, ports.store, ports.crypto.sha256)
    if (log.stopped === undefined) rules.demands?.demandOf(active)
    return new Policies(log, ports, rules, { engine: new PolicyEngine(active), epoch: state.epoch })
  }

  get epoch(): number {
    return this.#active.epoch
  }

  /** The active set: one immutable snapshot. @throws {Denied} `policy_missing` when another plane activated one that the store does not hold */
  async active(): Promise<ActivePolicy> {
    const { epoch, policyDigest, standing } = this.#log.state
    if (this.#active.epoch !== epoch && policyDigest !== undefined) {
      const { engine } = this.#active
      this.#active = { engine: engine.set.digest === policyDigest ? engine : await this.#engine(policyDigest), epoch }
    }
    const { base, maxAgeMs } = this.#rules
    const { set } = this.#active.engine
    if ((base !== undefined && set.base !== base) || this.#rules.demands?.refusal(set) !== undefined) return { ...this.#active, void: 'policy_missing' }
    return maxAgeMs !== undefined && this.#ports.clock.wallMs() - standing.sinceMs > maxAgeMs ? { ...this.#active, void: 'policy_stale' } : this.#active
  }

  /** The profiles that it was started under, and what they look at; undefined where nobody told how it is set up. */
  async profileFacts(): Promise<ProfileFacts | undefined> {
    const { engine } = await this.active()
    return this.#rules.demands?.told(engine.set)
  }

  get profiles(): readonly string[] {
    return this.#rules.demands?.names ?? []
  }

  /** Whether this plane observes: it was started so, and the log says so. */
  get isObserving(): boolean {
    return this.#rules.observes === true && this.#log.state.standing.isObserving
  }

  /** The set in shadow mode. One that cannot be read is none: it governs nothing. */
  async shadow(): Promise<ActivePolicy | undefined> {
    const { shadow } = this.#log.state.standing
    if (shadow === undefined) return undefined
    if (this.#shadow?.engine.set.digest === shadow) return this.#shadow
    try {
      this.#shadow = { engine: await this.#engine(shadow), epoch: this.#log.state.epoch }
    } catch {
      return undefined
    }
    return this.#shadow
  }

  async #engine(digest: Digest): Promise<PolicyEngine> {
    try {
      return new PolicyEngine(await storedPolicySet(digest, this.#ports.store, this.#ports.crypto.sha256))
    } catch (error) {
      throw new Denied('policy_missing', error instanceof Error ? error.message : 'the active policy set is not in the store')
    }
  }

  /** What forbids that `set` becomes the active one; undefined when nothing does. */
  refusal(set: PolicySet, { mode, rebase }: Pick<Activating, 'mode' | 'rebase'>): string | undefined {
    if (mode === 'shadow') return undefined
    const short = this.#rules.demands?.refusal(set)
    if (short !== undefined) return short
    const { base } = this.#rules
    if (base !== undefined) return set.base === base ? undefined : 'it lacks the protected rules that the configuration demands, or changes them'
    const { base: now } = this.#log.state.standing
    return now === undefined || set.base === now || rebase ? undefined : 'it drops or changes the protected rules of the active set'
  }

  /**
   * Logs that `set` is the active one from here on, or will be, or is evaluated in shadow mode.
   * @param by who asks
   * @throws {Denied} `policy_error` for what {@link Policies.refusal} names, `overloaded`
   */
  async activate(set: PolicySet, how: Activating, by?: string): Promise<Activated> {
    const refusal = this.refusal(set, how)
    if (refusal !== undefined) throw new Denied('policy_error', refusal)
    await keep(set, this.#ports.store)
    const { state } = this.#log
    if (how.mode === 'shadow') {
      if (state.standing.shadow === set.digest) return { outcome: 'unchanged', digest: set.digest, epoch: state.epoch, seq: state.standing.sinceSeq }
      return this.#submit('shadow', set.digest, (at) => ({ ...entryOf(set, at, { event: 'activated', mode: 'shadow' }), epoch: at.epoch }), by)
    }
    if (how.fromMs !== undefined) return this.#submit('staged', set.digest, (at) => ({ ...entryOf(set, at, { event: 'staged', from: how.fromMs, ...urgently(how.urgent) }), epoch: at.epoch }), by)
    if (state.policyDigest === set.digest && !how.confirm) return { outcome: 'unchanged', digest: set.digest, epoch: state.epoch, seq: state.standing.sinceSeq }
    return this.#submit('activated', set.digest, (at) => entryOf(set, at, { event: 'activated', ...urgently(how.urgent) }), by)
  }

  /**
   * Makes the set of an earlier epoch the active one again, as a new epoch: epochs never go back.
   * @param epoch undefined for the one before the active one
   * @throws {Denied} `request_malformed` when there is none, `policy_missing` when its texts are not kept, `policy_error` as {@link Policies.refusal}
   */
  async rollback(epoch: number | undefined, urgent: boolean, rebase: boolean, by?: string): Promise<Activated> {
    const { state } = this.#log
    const wanted = epoch ?? previousEpoch(state)
    const digest = wanted === undefined ? undefined : state.epochs.get(wanted)
    if (digest === undefined) throw new Denied('request_malformed', 'no such epoch')
    if (digest === state.policyDigest) return { outcome: 'unchanged', digest, epoch: state.epoch, seq: state.standing.sinceSeq }
    const { set } = await this.#engine(digest)
    const refusal = this.refusal(set, { mode: 'enforce', rebase })
    if (refusal !== undefined) throw new Denied('policy_error', refusal)
    return this.#submit('activated', digest, (at) => entryOf(set, at, { event: 'rolled_back', previous: at.policyDigest ?? digest, ...urgently(urgent) }), by)
  }

  /** Ends what is staged, or the shadow mode; undefined where there is nothing to end. */
  async withdraw(what: 'staged' | 'shadow', by?: string): Promise<Activated | undefined> {
    const { standing } = this.#log.state
    const digest = what === 'shadow' ? standing.shadow : standing.staged?.digest
    if (digest === undefined) return undefined
    const mode = what === 'shadow' ? ({ mode: 'shadow' } as const) : {}
    return this.#submit('withdrawn', digest, (at) => ({ kind: 'policy', digest, epoch: at.epoch, policies: [], event: 'withdrawn', ...mode }), by)
  }

  /** Activates what is staged when its time has come. @returns whether it did */
  async activateDue(): Promise<boolean> {
    const { staged } = this.#log.state.standing
    if (staged === undefined || this.#ports.clock.wallMs() < staged.fromMs) return false
    let isDone = false
    await this.#log.ensure((at) => {
      const due = at.standing.staged
      isDone = due?.seq === staged.seq
      if (due === undefined || !isDone) return undefined // another plane was first, or it was withdrawn
      const { digest, policies, base, urgent } = due
      return { body: present<PolicyEntry>({ kind: 'policy', digest, policies, epoch: at.epoch + 1, event: 'activated', base, urgent, previous: at.policyDigest }), bodies: [] }
    })
    return isDone
  }

  async #submit(outcome: Activated['outcome'], digest: Digest, body: (state: LogState) => PolicyEntry, by: string | undefined): Promise<Activated> {
    const { seq, entry } = await this.#log.submit((state) => {
      if (state.epochs.size >= MAX_EPOCHS) throw new Denied('overloaded', 'too many epochs')
      return { body: present<PolicyEntry>({ ...body(state), by }), bodies: [] }
    })
    return { outcome, digest, epoch: (entry as PolicyEntry).epoch, seq }
  }
}

/** Says in the log whether the active set is enforced, where that changes: so that whoever reads it can tell at every index. */
function modeEntry({ standing, policyDigest, epoch }: LogState, observes: boolean): { readonly body: PolicyEntry; readonly bodies: readonly [] } | undefined {
  if (standing.isObserving === observes || policyDigest === undefined) return undefined
  return { body: { kind: 'policy', digest: policyDigest, epoch, policies: [], event: observes ? 'observing' : 'enforcing' }, bodies: [] }
}

const urgently = (urgent: boolean): { urgent?: true } => (urgent ? { urgent: true } : {})

function previousEpoch(state: LogState): number | undefined {
  for (let epoch = state.epoch - 1; epoch > 0; epoch--) if (state.epochs.get(epoch) !== state.policyDigest && state.epochs.has(epoch)) return epoch
  return undefined
}

function entryOf({ digest, policies, base }: PolicySet, { epoch, policyDigest }: LogState, how: Partial<Pick<PolicyEntry, 'event' | 'mode' | 'previous' | 'urgent'>> & { from?: number | undefined }): PolicyEntry {
  const ids = policies.slice(0, MAX_LISTED).map(({ id }) => id)
  return present<PolicyEntry>({ kind: 'policy', digest, epoch: epoch + 1, policies: ids, base, previous: how.event === undefined ? undefined : policyDigest, ...how })
}

/** Its texts are kept by digest before anything names it, so that decisions made under it can be replayed. */
async function keep(set: PolicySet, store: Store): Promise<void> {
  await store.putMeta(`policy ${set.digest}`, JSON.stringify(set.files))
}

/** The policy files behind `digest`, where this log has seen them. */
export async function policyFiles(digest: string, store: Store): Promise<Readonly<Record<string, string>> | undefined> {
  const text = await store.getMeta(`policy ${digest}`)
  return text === undefined ? undefined : (JSON.parse(text) as Record<string, string>) // oxlint-disable-line no-restricted-properties -- written by keep
}

/** The set behind `digest`, exactly as it was activated: a store that was altered gives none (ATK-055). @throws {PolicyError} */
export async function storedPolicySet(digest: Digest, store: Store, sha256: Sha256): Promise<PolicySet> {
  let files: Readonly<Record<string, string>> | undefined
  try {
    files = await policyFiles(digest, store)
  } catch {
    throw new PolicyError(`the policy set ${digest} in the store cannot be read`)
  }
  if (files === undefined) throw new PolicyError(`the policy set ${digest} is not in the store`)
  const set = loadPolicySet(files, sha256)
  if (set.digest !== digest) throw new PolicyError(`the policy set ${digest} in the store is not the one that was activated`)
  return set
}

/** How often it is looked whether a staged set is due, milliseconds. */
const INTERVAL_MS = 1_000

/** Activates staged sets when they are due, until the result is called. */
export function watchStaged(policies: Policies, after: (ms: number, run: () => void) => () => void): () => void {
  let cancel = (): void => undefined
  let stopped = false
  const again = (): void => {
    if (!stopped) cancel = after(INTERVAL_MS, () => void policies.activateDue().catch(() => false).finally(again))
  }
  void policies.activateDue().catch(() => false).finally(again)
  return () => {
    stopped = true
    cancel()
  }
}
