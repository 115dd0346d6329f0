import { CHECKS, type Checks, type DenialCode } from '../denial.ts'
import { ownText } from '../encoding.ts'
import type { EnvironmentLevel } from '../log/entries.ts'
import { type Artifact, ASSURANCE_LEVELS, type AssuranceLevel } from './artifact.ts'

/** What names the initiator: the operating system of the plane's host, an issuer, or a key that was proved; `none` where nothing that is known does. */
export type InitiatorForm = 'none' | 'os' | 'issuer' | 'key'

/** What an execution rests on beside its checks. What is not known is the weakest of its kind. @see spec/receipt.md#assurance */
export interface Grounds {
  readonly initiator: InitiatorForm
  readonly environment: EnvironmentLevel
  /** Containment was demanded, and all that was demanded is in force. */
  readonly isContained: boolean
  /** The checkpoint of the seal is cosigned by a quorum that is asked for. */
  readonly isWitnessed: boolean
  /** Somebody else decided it again, and got the same. */
  readonly isReplayed: boolean
  /** Policy denies it, and it runs because plane and gate only observe. */
  readonly isObserved?: boolean
}

/** What every permit demands; below it no gate runs anything. */
export const LEAST_ASSURANCE: AssuranceLevel = 'A3'

/** Nothing is known. */
export const NO_GROUNDS: Grounds = Object.freeze({ initiator: 'none', environment: 'none', isContained: false, isWitnessed: false, isReplayed: false })

/**
 * The assurance level of one execution, from the checks that were really made and what it rests on. The one place where that is
 * decided: gate, plane and verifiers all ask it. Less of anything never gives more.
 */
export function assuranceOf(checks: Checks, grounds: Grounds): AssuranceLevel {
  const passed = CHECKS.filter((check) => checks[check] === 'pass').length
  if (passed === 0) return 'A0'
  if (checks.cryptography !== 'pass' || grounds.isObserved === true) return 'A1' // observed: no seal shows that a policy permitted it
  if (passed < CHECKS.length) return 'A2'
  return (['A5', 'A4', 'A3'] as const).find((level) => shortfall(level, grounds) === undefined) ?? 'A2'
}

/** What falls short of `demanded` in an execution that passes its checks, as the code that refuses it; undefined where nothing does. */
export function shortfall(demanded: AssuranceLevel, { initiator, environment, isContained, isWitnessed, isReplayed }: Grounds): DenialCode | undefined {
  if (isBelow('A2', demanded)) {
    if (initiator === 'none') return 'identity_missing'
    if (environment === 'none') return 'environment_unattested'
  }
  if (isBelow('A3', demanded)) {
    if (initiator === 'os') return 'identity_missing'
    if (environment === 'software' && !isContained) return 'environment_unattested'
    if (!isWitnessed) return 'witness_quorum_not_met'
  }
  if (isBelow('A4', demanded)) {
    if (environment !== 'hardware') return 'environment_unattested'
    if (!isReplayed) return 'evidence_unavailable'
  }
  return undefined
}

export function isBelow(level: AssuranceLevel, other: AssuranceLevel): boolean {
  return ASSURANCE_LEVELS.indexOf(level) < ASSURANCE_LEVELS.indexOf(other)
}

/** The highest of `levels`, and never less than every permit demands. */
export function highest(levels: readonly AssuranceLevel[]): AssuranceLevel {
  return levels.reduce((high, level) => (isBelow(high, level) ? level : high), LEAST_ASSURANCE)
}

/**
 * What names the initiator of a permit. That is the principal, `sub`: whether something vouches for the name of the agent that
 * acts for it (`act.verified`) is another question, which policies may ask.
 */
export function initiatorOf({ sub, cnf }: Pick<Artifact, 'sub' | 'cnf'>): InitiatorForm {
  if (cnf !== undefined) return 'key'
  if (sub.startsWith('oidc:') || sub.startsWith('spiffe:')) return 'issuer'
  // The principal of another plane is nobody that is known here: what such a permit is bound to is the key.
  return sub === '' || sub.startsWith('plane:') ? 'none' : 'os'
}

/** Whether everything that a permit demands is in force; where nothing is demanded, nothing is contained. */
export function isContained(obligations: readonly string[], containment: readonly string[]): boolean {
  return obligations.length > 0 && obligations.every((one) => containment.includes(one))
}

/** What a permit itself shows of the grounds of its execution, and the level that it demands. */
export interface ShownGrounds {
  readonly initiator: InitiatorForm
  readonly environment: EnvironmentLevel
  readonly obligations: readonly string[]
  readonly demanded: AssuranceLevel
  /** Policy denies it: what ran of it was only observed. */
  readonly isObserved: boolean
}

export function shownGrounds(permit: Pick<Artifact, 'sub' | 'cnf' | 'env' | 'constraints' | 'assurance' | 'observed'>): ShownGrounds {
  return { initiator: initiatorOf(permit), environment: permit.env.level, obligations: permit.constraints.obligations.map(ownText), demanded: permit.assurance, isObserved: permit.observed !== undefined }
}

/** The most that a receipt may state about its permit. What only the gate or somebody else could see, witnesses and replays, is granted. */
export function supported({ checks, containment, started }: { readonly checks: Checks; readonly containment: readonly string[]; readonly started?: number }, { initiator, environment, obligations, isObserved }: ShownGrounds): AssuranceLevel {
  return assuranceOf(checks, { initiator, environment, isContained: isContained(obligations, containment), isWitnessed: true, isReplayed: true, isObserved: isObserved && started !== undefined })
}
