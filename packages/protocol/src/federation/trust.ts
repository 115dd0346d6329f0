import { ACTION_TYPES, type Scope } from '../action.ts'
import { isGroup } from '../approval/approval.ts'
import { Denied } from '../denial.ts'
import type { NoteKey } from '../log/note.ts'
import { isQuorumMet } from '../log/quorum.ts'
import type { WitnessPolicy } from '../log/witness-policy.ts'
import { MAX_FOREIGN_ORIGIN } from './reference.ts'

/** Planes that one plane trusts. */
export const MAX_FOREIGN_PLANES = 64
/** Scopes that one of them may delegate. */
export const MAX_FOREIGN_SCOPES = 256
/** How old the cosignatures of a checkpoint from there may be at the most, in seconds. */
export const MAX_FOREIGN_AGE_SECONDS = 3_600

export type ForeignKind = 'artifacts' | 'approvals'

/** What may be delegated from another plane: exactly this, or without `name` everything at this target. */
export interface ForeignScope {
  readonly type: Scope['type']
  readonly target: string
  readonly name?: string | undefined
}

/** One plane that is trusted, and for what. */
export interface ForeignPlane {
  readonly key: NoteKey
  /** Which cosignatures its checkpoints need. */
  readonly witnesses: WitnessPolicy
  readonly maxAgeSeconds: number
  readonly accepts: readonly ForeignKind[]
  /** What its groups of approvers count as here; a group that does not stand here counts as nothing. */
  readonly groups: Readonly<Record<string, string>>
  readonly scopes: readonly ForeignScope[]
}

/** The planes that are trusted, by the origin of their logs. */
export type TrustList = ReadonlyMap<string, ForeignPlane>

/**
 * Makes a trust list, or refuses it whole. A checkpoint says nothing of its age, so that what is fresh is known from cosignatures alone:
 * a plane without a witness is not trusted.
 * @param origin this plane's own
 * @throws {Denied} `request_malformed`, saying which and why
 */
export function trustList(planes: readonly ForeignPlane[], origin: string): TrustList {
  if (planes.length > MAX_FOREIGN_PLANES) throw new Denied('request_malformed', `federation: more than ${MAX_FOREIGN_PLANES} planes`)
  const list = new Map<string, ForeignPlane>()
  for (const plane of planes) {
    const { name } = plane.key
    const refuse = (why: string): never => {
      throw new Denied('request_malformed', `federation: ${name}: ${why}`)
    }
    if (name === origin) refuse('this plane itself is none of the others')
    if (name.length > MAX_FOREIGN_ORIGIN) refuse(`an origin of more than ${MAX_FOREIGN_ORIGIN} characters`)
    if (list.has(name)) refuse('it stands here twice')
    if (isQuorumMet(plane.witnesses.quorum, new Set())) refuse('its witness policy asks for no cosignature, and nothing else shows that a checkpoint is fresh')
    if (!Number.isSafeInteger(plane.maxAgeSeconds) || plane.maxAgeSeconds < 1 || plane.maxAgeSeconds > MAX_FOREIGN_AGE_SECONDS) refuse(`max_age_seconds is not 1 to ${MAX_FOREIGN_AGE_SECONDS}`)
    if (plane.scopes.length > MAX_FOREIGN_SCOPES || !plane.scopes.every(({ type, target }) => ACTION_TYPES.includes(type) && target !== '')) refuse('its scopes')
    if (!Object.entries(plane.groups).flat().every(isGroup)) refuse('its groups')
    list.set(name, plane)
  }
  return list
}

export function mayDelegate({ scopes }: ForeignPlane, scope: { readonly type: string; readonly target: string; readonly name: string }): boolean {
  return scopes.some(({ type, target, name }) => type === scope.type && target === scope.target && (name === undefined || name === scope.name))
}

/** What the groups of a person over there count as here, each once and in order. */
export function localGroups({ groups }: ForeignPlane, theirs: readonly string[]): readonly string[] {
  return [...new Set(theirs.flatMap((group) => (Object.hasOwn(groups, group) ? [groups[group] as string] : [])))].sort()
}
