import { type FactsOf, leastCosignatures, parseProfiles, type Profile, type Requirement, requirementsOf, unmet, type WitnessQuorum } from '@sealwrit/protocol'
import profiles from '@sealwrit/protocol/profiles.json' with { type: 'json' }
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from './client.ts'
import { readConfig } from './config.ts'
import type { PlaneFolder } from './folder.ts'
import { splitNames } from './library.ts'
import { gateWitnesses } from './witnesses.ts'

/** The profiles of this version. @see spec/profile.md */
export function knownProfiles(): readonly Profile[] {
  return parseProfiles(profiles)
}

/** @throws {CliError} for a name that is none */
export function profilesNamed(names: readonly string[]): readonly Profile[] {
  const known = knownProfiles()
  return names.map((name) => {
    const found = known.find((one) => one.name === name)
    if (found === undefined) throw new CliError(`there is no profile \`${name.slice(0, 32)}\``, { exit: EXIT.usage, hint: `there are ${known.map((one) => one.name).join(', ')}` })
    return found
  })
}

/** What `--profile` names; without it none. @throws {CliError} for an empty list: a variable that is not set must not leave a plane without what it was to be held to */
export function profilesGiven(given: string | undefined): readonly Profile[] {
  const names = splitNames(given ?? '')
  if (given !== undefined && names.length === 0) throw new CliError('--profile names no profile', { exit: EXIT.usage, hint: `there are ${knownProfiles().map((one) => one.name).join(', ')}` })
  return profilesNamed(names)
}

/** Says what is missing, a line each, and what to do about it. */
export function profileError(missing: readonly Requirement[], profiles: readonly Profile[], who: string): CliError {
  return new CliError(`${who} is not what profile ${profiles.map(({ name }) => name).join(' and ')} asks for, and does not start`, {
    code: 'policy_missing',
    details: missing.map(({ id, says, step }) => `${id}: ${says}: ${step}`),
    hint: `each line says what is asked for, and what to do; all of it: \`sealwrit profile ${profiles.at(-1)?.name ?? 'core'}\``,
  })
}

/** What is known of a gate before it starts. */
export function gateFacts(observes: boolean, receipt: 'before_reply' | 'after_reply', witnesses: Pick<WitnessQuorum, 'policy'>): FactsOf<'gate'> {
  return { observes: observes ? 1 : 0, receipt_before_reply: receipt === 'before_reply' ? 1 : 0, witnesses: leastCosignatures(witnesses.policy.quorum) }
}

/** @throws {CliError} where a gate like this is not what the profiles ask for */
export function demandOfGate(names: readonly string[], facts: FactsOf<'gate'>): void {
  const chosen = profilesNamed(names)
  const missing = unmet(chosen, 'gate', facts)
  if (missing.length > 0) throw profileError(missing, chosen, 'the gate')
}

/** One requirement, and the number that decides it; undefined where nothing told it. */
export interface Judged {
  readonly requirement: Requirement
  readonly value: number | undefined
  readonly isMet: boolean
}

/** What is told of each thing that a profile asks about. */
export type Told = Readonly<Record<Requirement['of'], Readonly<Record<string, number>>>>

/** Each requirement of `profiles` about what `told` has, with what decides it. */
export function judged(profiles: readonly Profile[], told: Partial<Told>): readonly Judged[] {
  return (Object.keys(told) as (keyof Told)[]).flatMap((of) => {
    const facts = told[of] ?? {}
    const missing = new Set(unmet(profiles, of, facts).map(({ id }) => id))
    return requirementsOf(profiles, of).map((requirement) => ({ requirement, value: Object.hasOwn(facts, requirement.fact) ? facts[requirement.fact] : undefined, isMet: !missing.has(requirement.id) }))
  })
}

/** As where no plane answers. */
export const NOTHING_TOLD: Omit<Told, 'evidence'> = { plane: {}, gate: {}, policy: {} }

/** What the plane of `folder` tells of itself and its policies, and how gates of this folder would be started; undefined where no plane answers. */
export async function toldByPlane(folder: PlaneFolder): Promise<Omit<Told, 'evidence'> | undefined> {
  const facts = await askPlane(folder, 'profiles.facts', {}).catch((error: unknown) => {
    if (error instanceof CliError && error.exit === EXIT.unreachable) return undefined
    throw error
  })
  if (facts === undefined) return undefined
  const { plane, policy } = facts
  const config = readConfig(folder)?.config
  return { plane, gate: gateFacts(config?.mode === 'shadow', config?.receipt ?? 'before_reply', gateWitnesses(folder, undefined)), policy }
}
