import { Denied } from '../denial.ts'
import { Fields } from '../json/fields.ts'
import type { JsonValue } from '../json/value.ts'
import { type Bound, isWithin, readBound } from './bound.ts'

/**
 * What a requirement can be about, and by which names: how a plane is set up, how a gate is, and what a policy set says. What the
 * evidence shows goes by the names of measures. All are numbers; yes is 1, no is 0.
 * @see spec/profile.md
 */
export const FACTS = {
  plane: [
    'observes', 'owner_named', 'log_private', 'log_key_custody', 'hybrid_checkpoints', 'high_water_apart', 'witnesses', 'witness_max_age_seconds', 'anchors', 'anchor_interval_minutes',
    'bodies_days', 'agents_registered', 'issuers', 'login_issuers', 'attestation_rules', 'lift_quorum', 'protected_rules', 'policy_max_age_days',
  ],
  gate: ['observes', 'receipt_before_reply', 'witnesses'],
  policy: ['blanket_permits', 'unstated_risk', 'high_risk_quorum', 'least_assurance', 'least_environment', 'longest_runtime_seconds', 'purposes'],
} as const
export type Subject = keyof typeof FACTS
/** Numbers by their names. What is not there was not told, and meets nothing. */
export type FactsOf<S extends Subject> = Readonly<Partial<Record<(typeof FACTS)[S][number], number>>>

/** Longest list of requirements, and of profiles. */
const MAX_REQUIREMENTS = 200
const MAX_PROFILES = 32
const SUBJECTS = ['plane', 'gate', 'policy', 'evidence'] as const

/** One thing that a profile asks for. */
export interface Requirement extends Bound {
  readonly id: string
  readonly of: (typeof SUBJECTS)[number]
  /** Of {@link FACTS}, or the name of a measure. */
  readonly fact: string
  /** What holds when it is met: a sentence without its full stop. */
  readonly says: string
  /** What to do where it is not. */
  readonly step: string
}

/** A named set of requirements, with those of the profiles that it extends. */
export interface Profile {
  readonly name: string
  readonly says: string
  readonly extends: string | undefined
  readonly requirements: readonly Requirement[]
}

/** What no profile can leave out: that nothing runs which policy denies, and that no effect goes without its receipt. */
const FAIL_CLOSED: readonly Omit<Requirement, 'id' | 'says' | 'step'>[] = [
  { of: 'plane', fact: 'observes', at_most: 0 },
  { of: 'gate', fact: 'observes', at_most: 0 },
  { of: 'gate', fact: 'receipt_before_reply', at_least: 1 },
]

/**
 * Reads the profiles. A profile has every requirement of the one that it extends, and takes none away; one that would let something
 * run which policy denies is none.
 * @throws {Denied} `request_malformed`
 */
export function parseProfiles(value: JsonValue): readonly Profile[] {
  const fields = new Fields(value, 'request_malformed', 'profiles')
  fields.text('version', 64)
  const list = fields.value('profiles')
  fields.end()
  if (!Array.isArray(list) || list.length > MAX_PROFILES) throw new Denied('request_malformed', 'profiles: a list')
  const known = new Map<string, Profile>()
  for (const one of list) {
    const profile = readProfile(one, known)
    if (known.has(profile.name)) throw new Denied('request_malformed', `profile ${profile.name}: it is there twice`)
    known.set(profile.name, profile)
  }
  return [...known.values()]
}

function readProfile(value: JsonValue, known: ReadonlyMap<string, Profile>): Profile {
  const fields = new Fields(value, 'request_malformed', 'profile')
  const name = fields.text('name', 32)
  const says = fields.text('says', 300)
  const above = fields.optional('extends', (member) => fields.text(member, 32))
  const list = fields.value('requirements')
  fields.end()
  const extended = above === undefined ? undefined : known.get(above)
  if (above !== undefined && extended === undefined) throw new Denied('request_malformed', `profile ${name}: it extends ${above}, which is none before it`)
  if (!Array.isArray(list)) throw new Denied('request_malformed', `profile ${name}: requirements`)
  const requirements = [...(extended?.requirements ?? []), ...list.map((one: JsonValue) => readRequirement(one))]
  if (requirements.length > MAX_REQUIREMENTS) throw new Denied('request_malformed', `profile ${name}: more than ${MAX_REQUIREMENTS} requirements`)
  if (new Set(requirements.map(({ id }) => id)).size !== requirements.length) throw new Denied('request_malformed', `profile ${name}: a requirement is there twice`)
  const missing = FAIL_CLOSED.find((rule) => !requirements.some((one) => one.of === rule.of && one.fact === rule.fact && one.at_least === rule.at_least && one.at_most === rule.at_most))
  if (missing !== undefined) throw new Denied('request_malformed', `profile ${name}: it does not ask for ${missing.of} ${missing.fact}, without which something could run that policy denies`)
  return { name, says, extends: above, requirements }
}

function readRequirement(value: JsonValue): Requirement {
  const fields = new Fields(value, 'request_malformed', 'requirement')
  const bound = readBound(fields)
  const requirement: Requirement = { id: fields.text('id', 64), of: fields.oneOf('of', SUBJECTS), fact: fields.text('fact', 64), ...bound, says: fields.text('says', 200), step: fields.text('step', 300) }
  fields.end()
  const { of, fact } = requirement
  if (of !== 'evidence' && !(FACTS[of] as readonly string[]).includes(fact)) throw new Denied('request_malformed', `requirement ${requirement.id}: nothing of a ${of} is called ${fact}`)
  return requirement
}

/** What `profiles` ask of one thing, each requirement once. */
export function requirementsOf(profiles: readonly Profile[], of: Requirement['of']): readonly Requirement[] {
  return [...new Map(profiles.flatMap(({ requirements }) => requirements.filter((one) => one.of === of)).map((one) => [one.id, one])).values()]
}

/** What of that is not met. A fact that was not told meets nothing. */
export function unmet(profiles: readonly Profile[], of: Requirement['of'], facts: Readonly<Record<string, number | undefined>>): readonly Requirement[] {
  return requirementsOf(profiles, of).filter((requirement) => !isWithin(requirement, Object.hasOwn(facts, requirement.fact) ? facts[requirement.fact] : undefined))
}
