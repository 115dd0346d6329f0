import { type Action, ACTION_TYPES, type ActionType, MAX_NAME, scopeOf } from '../action.ts'
import { type GrantArguments, fitsGrant, isGrantWithin, parseGrantArguments } from '../approval/grant.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { Fields } from '../json/fields.ts'
import type { JsonValue } from '../json/value.ts'
import { ENVIRONMENT_LEVELS, type EnvironmentLevel } from '../log/entries.ts'
import { present } from '../json/present.ts'

/** Scopes of one delegation, agents and gates that it may name. */
export const MAX_DELEGATED_SCOPES = 64
export const MAX_DELEGATES = 64
/** Permits that may be issued below one. */
export const MAX_DELEGATED_USES = 1_000_000
/** Levels below one permit: the longest lineage has nine. */
export const MAX_DELEGATED_DEPTH = 8
/** As the name of a scope: every name. */
export const ANY_NAME = '*'

/** What may be asked for: one name, or every name, of one target; with arguments, exactly those, each within its bound. */
export interface DelegatedScope {
  readonly type: ActionType
  readonly target: string
  readonly name: string
  /** Absent: any. @see spec/approval.md */
  readonly arguments?: GrantArguments
}

/** What stands in the leaf in clear: how long, how often and how deep. */
export interface DelegationBounds {
  /** Nothing below runs past it, seconds since 1970. */
  readonly until: number
  /** Permits below, on all levels together. */
  readonly uses: number
  /** Levels below. */
  readonly depth: number
}

/** What stands beside the leaf: arguments may be nobody's business. */
export interface DelegationTerms {
  readonly scopes: readonly DelegatedScope[]
  /** Names of the agents that may ask; absent: any. */
  readonly agents?: readonly string[]
  /** Gates that it may run at; absent: any. */
  readonly audiences?: readonly string[]
  /** The environment is attested at least so well; absent: as policy says. */
  readonly environment?: EnvironmentLevel
}

/** What a permit lets others ask for below it. Without one it lets nobody. @see spec/lineage.md */
export type Delegation = DelegationBounds & DelegationTerms

/** A delegation as the leaf has it. */
export interface CommittedDelegation extends DelegationBounds {
  /** Commitment to the {@link DelegationTerms}. */
  readonly terms_commit: Digest
}

/** What is asked for below a permit. */
export interface Below {
  readonly action: Action
  /** Name of the agent. */
  readonly agent: string
  readonly audience: string
  readonly environment: EnvironmentLevel
}

/** @throws {Denied} `request_malformed` */
export function parseDelegation(fields: Fields): Delegation {
  const delegation = { ...readBounds(fields), ...readTerms(fields) }
  fields.end()
  return delegation
}

/** Reads the body behind a commitment. @throws {Denied} `request_malformed` */
export function parseDelegationTerms(value: JsonValue): DelegationTerms {
  const fields = new Fields(value, 'request_malformed', 'delegation')
  const terms = readTerms(fields)
  fields.end()
  return terms
}

/** @throws {Denied} the code of `fields` */
export function readCommittedDelegation(fields: Fields): CommittedDelegation {
  const delegation = { ...readBounds(fields), terms_commit: fields.digest('terms_commit') }
  fields.end()
  return delegation
}

/** The part of a delegation that is committed to. */
export function termsOf({ until: _until, uses: _uses, depth: _depth, ...terms }: Delegation): DelegationTerms {
  return terms
}

function readBounds(fields: Fields): DelegationBounds {
  return { until: fields.integer('until'), uses: fields.positive('uses', MAX_DELEGATED_USES), depth: fields.positive('depth', MAX_DELEGATED_DEPTH) }
}

function readTerms(fields: Fields): DelegationTerms {
  const list = fields.value('scopes')
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_DELEGATED_SCOPES) throw new Denied('request_malformed', `delegation: 1 to ${MAX_DELEGATED_SCOPES} scopes`)
  return present<DelegationTerms>({
    scopes: list.map((one: JsonValue) => readScope(new Fields(one, 'request_malformed', 'delegation.scopes'))),
    agents: fields.optional('agents', (name) => fields.names(name, MAX_DELEGATES)),
    audiences: fields.optional('audiences', (name) => fields.names(name, MAX_DELEGATES)),
    environment: fields.optional('environment', (name) => fields.oneOf(name, ENVIRONMENT_LEVELS)),
  })
}

function readScope(fields: Fields): DelegatedScope {
  const scope = present<DelegatedScope>({
    type: fields.oneOf('type', ACTION_TYPES),
    target: fields.text('target'),
    name: fields.text('name', MAX_NAME),
    arguments: fields.optional('arguments', (name) => parseGrantArguments(fields.value(name))),
  })
  fields.end()
  return scope
}

/** Whether what is asked for is within `terms`. Total: whatever cannot be told is outside. */
export function isDelegated({ action, agent, audience, environment }: Below, { scopes, agents, audiences, environment: least }: DelegationTerms): boolean {
  const { type, target, name } = scopeOf(action)
  return (
    scopes.some((scope) => scope.type === type && scope.target === target && (scope.name === ANY_NAME || scope.name === name) && (scope.arguments === undefined || fitsGrant(scope.arguments, action))) &&
    (agents === undefined || agents.includes(agent)) &&
    (audiences === undefined || audiences.includes(audience)) &&
    rank(environment) >= rank(least)
  )
}

/**
 * Whether the numbers of a delegation are within those of the one above it; it stands one level deeper.
 * They stand in leaves, so this is told without any body.
 */
export function isBoundedBy(inner: DelegationBounds, outer: DelegationBounds): boolean {
  return inner.until <= outer.until && inner.uses <= outer.uses && inner.depth < outer.depth
}

/**
 * Whether whatever `inner` lets ask for, `outer` does too. Each scope must be within one scope of `outer`: what only several of
 * them cover together counts as wider, and so does everything else that this language cannot tell.
 */
export function isTermsWithin(inner: DelegationTerms, outer: DelegationTerms): boolean {
  return (
    inner.scopes.every((scope) => outer.scopes.some((other) => isScopeWithin(scope, other))) &&
    isListWithin(inner.agents, outer.agents) &&
    isListWithin(inner.audiences, outer.audiences) &&
    rank(inner.environment) >= rank(outer.environment)
  )
}

function isScopeWithin(inner: DelegatedScope, outer: DelegatedScope): boolean {
  if (inner.type !== outer.type || inner.target !== outer.target || !(outer.name === ANY_NAME || outer.name === inner.name)) return false
  if (outer.arguments === undefined) return true
  if (inner.arguments === undefined) return false
  return isGrantWithin(inner.arguments, outer.arguments)
}

/** An absent list is one of everybody. */
function isListWithin(inner: readonly string[] | undefined, outer: readonly string[] | undefined): boolean {
  return outer === undefined || (inner !== undefined && inner.every((name) => outer.includes(name)))
}

function rank(level: EnvironmentLevel | undefined): number {
  return level === undefined ? 0 : ENVIRONMENT_LEVELS.indexOf(level)
}
