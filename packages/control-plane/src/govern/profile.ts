import { Denied, type FactsOf, LEAST_ASSURANCE, leastCosignatures, MAX_QUORUM, type Profile, type Requirement, unmet, type WitnessPolicy } from '@sealwrit/protocol'
import { DEFAULT_MAX_RUNTIME_SECONDS } from '../decide/decide.ts'
import type { Policy, PolicySet } from '../decide/policy-set.ts'
import type { Keychain, LogKey } from '../ports.ts'

const DAY_MS = 86_400_000
const MINUTE_MS = 60_000
const CUSTODY = { plain: 0, encrypted: 1, apart: 2 } as const
const LEVELS = { none: 0, software: 1, signed: 2, hardware: 3 } as const

/** What a profile asks for is not there, so nothing starts; each requirement says what to do. */
export class ProfileUnmet extends Error {
  readonly profiles: readonly Profile[]
  readonly requirements: readonly Requirement[]

  constructor(profiles: readonly Profile[], requirements: readonly Requirement[]) {
    super(sentence(profiles, requirements))
    this.profiles = profiles
    this.requirements = requirements
  }
}

/** What a plane is set up with, as far as profiles ask. */
export interface SetUp {
  readonly owner: string | undefined
  readonly isLogPublic: boolean
  readonly logKey: Pick<LogKey, 'key' | 'custody'>
  readonly nextLogKey?: SetUp['logKey'] | undefined
  readonly isHighWaterApart?: boolean | undefined
  readonly witnesses?: { readonly policy: WitnessPolicy; readonly maxAgeSeconds: number } | undefined
  readonly anchors: { readonly sinks: readonly unknown[]; readonly intervalMs: number }
  readonly retentionMs?: number | undefined
  readonly identity?: { readonly agents: string; readonly issuers: readonly unknown[]; readonly trust_domains: readonly unknown[] } | undefined
  readonly logins?: readonly unknown[] | undefined
  readonly attestationTrust?: readonly unknown[]
  readonly liftQuorum?: number | undefined
  readonly policyRules?: { readonly observes?: boolean | undefined; readonly base?: string | undefined; readonly maxAgeMs?: number | undefined } | undefined
}

const yes = (is: boolean): number => (is ? 1 : 0)

/** The facts of a plane: of what it runs with, not of what a file says. @see spec/profile.md#facts */
export function planeFacts({ owner, isLogPublic, logKey, isHighWaterApart, witnesses, anchors, retentionMs, identity, logins, attestationTrust, liftQuorum, policyRules }: SetUp): FactsOf<'plane'> {
  return {
    observes: yes(policyRules?.observes === true),
    owner_named: yes(owner !== undefined),
    log_private: yes(!isLogPublic),
    ...keyFacts(logKey),
    high_water_apart: yes(isHighWaterApart === true),
    witnesses: witnesses === undefined ? 0 : leastCosignatures(witnesses.policy.quorum),
    ...(witnesses === undefined ? {} : { witness_max_age_seconds: witnesses.maxAgeSeconds }),
    anchors: anchors.sinks.length,
    ...(anchors.sinks.length === 0 ? {} : { anchor_interval_minutes: anchors.intervalMs / MINUTE_MS }),
    ...(retentionMs === undefined ? {} : { bodies_days: retentionMs / DAY_MS }),
    agents_registered: yes(identity?.agents === 'registered'),
    issuers: (identity?.issuers.length ?? 0) + (identity?.trust_domains.length ?? 0),
    login_issuers: logins?.length ?? 0,
    attestation_rules: attestationTrust?.length ?? 0,
    lift_quorum: liftQuorum ?? 1,
    protected_rules: yes(policyRules?.base !== undefined),
    ...(policyRules?.maxAgeMs === undefined ? {} : { policy_max_age_days: policyRules.maxAgeMs / DAY_MS }),
  }
}

const keyFacts = ({ key, custody }: SetUp['logKey']): Pick<FactsOf<'plane'>, 'log_key_custody' | 'hybrid_checkpoints'> => ({ log_key_custody: CUSTODY[custody ?? 'plain'], hybrid_checkpoints: yes(key.pq !== undefined) })

/** The facts of a policy set: what the least of its policies that permit says. @see spec/profile.md#facts */
export function policyFacts({ policies, sees }: PolicySet): FactsOf<'policy'> {
  const permits = policies.filter(({ json }) => json.effect === 'permit')
  const least = (value: (policy: Policy) => number, none: number): number => permits.reduce((least, policy) => Math.min(least, value(policy)), none)
  return {
    blanket_permits: permits.filter(isBlanket).length,
    unstated_risk: permits.filter(({ obligations: { risk } }) => risk === undefined).length,
    high_risk_quorum: least(({ obligations: { risk, approval } }) => (risk === 'high' || risk === 'critical' ? (approval?.quorum ?? 0) : MAX_QUORUM), MAX_QUORUM),
    least_assurance: least(({ obligations: { assurance } }) => Number((assurance ?? LEAST_ASSURANCE).slice(1)), 5),
    least_environment: least(({ obligations: { environment } }) => LEVELS[environment?.level ?? 'software'], LEVELS.hardware),
    longest_runtime_seconds: Math.max(0, ...permits.map(({ obligations: { maxRuntimeSeconds } }) => maxRuntimeSeconds ?? DEFAULT_MAX_RUNTIME_SECONDS)),
    purposes: sees.purposes.size,
  }
}

/** Whether it permits whatever there is: no resource is named, and no condition is set but `when { true }`. It is read, not proved: a condition that always holds in another way is one. */
function isBlanket({ json: { resource, conditions } }: Policy): boolean {
  const namesNothing = resource.op === 'All' || (resource.op === 'is' && !('in' in resource))
  return namesNothing && conditions.every(({ kind, body }) => kind === 'when' && 'Value' in body && body.Value === true)
}

/** What profiles demand of one plane: of how it is set up, at its start, and of every policy set that is in force. */
export class ProfileDemands {
  readonly #profiles: readonly Profile[]
  readonly #plane: FactsOf<'plane'>
  /** What was found out of a set: it never changes. */
  readonly #judged = new WeakMap<PolicySet, readonly Requirement[]>()

  /** @throws {ProfileUnmet} where a plane that is set up so is not what `profiles` ask for */
  constructor(profiles: readonly Profile[], setUp: SetUp) {
    this.#profiles = profiles
    this.#plane = planeFacts(setUp)
    // One that is to take over, or does so already, must do as well.
    const found = [setUp.logKey, setUp.nextLogKey].flatMap((key) => (key === undefined ? [] : this.#unmetWith(key)))
    if (found.length > 0) throw new ProfileUnmet(profiles, [...new Set(found)])
  }

  get names(): readonly string[] {
    return this.#profiles.map(({ name }) => name)
  }

  #unmetWith(logKey: SetUp['logKey']): readonly Requirement[] {
    return unmet(this.#profiles, 'plane', { ...this.#plane, ...keyFacts(logKey) })
  }

  /** As `keychain`, but no key takes over that the plane could not start with: `next` throws `request_malformed`. */
  ofKeys(keychain: Keychain): Keychain {
    return {
      ...keychain,
      next: async () => {
        const next = await keychain.next()
        const found = this.#unmetWith(next)
        if (found.length > 0) throw new Denied('request_malformed', sentence(this.#profiles, found))
        return next
      },
    }
  }

  /** What is asked of a policy set that it does not have. */
  #missing(set: PolicySet): readonly Requirement[] {
    const missing = this.#judged.get(set) ?? unmet(this.#profiles, 'policy', policyFacts(set))
    this.#judged.set(set, missing)
    return missing
  }

  /** @throws {ProfileUnmet} where a plane cannot start with `set` in force */
  demandOf(set: PolicySet): void {
    const missing = this.#missing(set)
    if (missing.length > 0) throw new ProfileUnmet(this.#profiles, missing)
  }

  /** What is asked of a policy set that it does not have: a sentence, or undefined. */
  refusal(set: PolicySet): string | undefined {
    const missing = this.#missing(set)
    return missing.length === 0 ? undefined : sentence(this.#profiles, missing)
  }

  /** The facts that a profile looks at, as they are now. */
  told(active: PolicySet): ProfileFacts {
    return { profiles: this.names, plane: this.#plane, policy: policyFacts(active) }
  }
}

/** Under which profiles a plane was started, and what any profile would look at. */
export interface ProfileFacts {
  readonly profiles: readonly string[]
  readonly plane: FactsOf<'plane'>
  readonly policy: FactsOf<'policy'>
}

/** Names what is missing, each with its id. */
function sentence(profiles: readonly Profile[], missing: readonly Requirement[]): string {
  return `profile ${profiles.map(({ name }) => name).join(' and ')} asks for what is not there: ${missing.map(({ id, says }) => `${says} (${id})`).join('; ')}`
}
