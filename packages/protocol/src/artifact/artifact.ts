import { parseApprovalRefs } from '../approval/approval.ts'
import { ACTION_TYPES, MAX_NAME, type Scope } from '../action.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { type Budget, readBudgets } from '../govern/budgets.ts'
import { type ForeignRef, readForeignRef } from '../federation/reference.ts'
import { MAX_SELECTOR, parseSelector } from '../govern/selector.ts'
import { readIntent } from '../intent.ts'
import { asCode, type Fields } from '../json/fields.ts'
import { type CommittedDelegation, readCommittedDelegation } from '../lineage/delegation.ts'
import { type ParentRef, verifyPlace } from '../lineage/lineage.ts'
import type { EntryHead } from '../log/entry.ts'
import { type EnvironmentLevel, readEnvironment } from '../log/entries.ts'
import { present } from '../json/present.ts'
import { OBSERVED_CODES, type ObservedCode, verifyObservedForm } from './observed.ts'

/** A permit may be started for at most this long, in seconds. */
export const MAX_START_SECONDS = 60
/** Clocks of plane and gate may differ by at most this much, in seconds. */
export const MAX_SKEW_SECONDS = 30
export const MAX_DEPTH_LINEAGE = 8
const MAX_LIST = 64

/** The agent that acts for the principal. `verified` says whether anything but its own word names it. @see RFC 8693 section 4.1 */
export interface Actor {
  readonly sub: string
  readonly verified: boolean
}

/** Under which policies it was decided. */
export interface PolicyState {
  /** Digest of the whole policy set. */
  readonly digest: Digest
  readonly epoch: number
  /** Our ids of the policies that determined the decision. */
  readonly determining: readonly string[]
  /** Commitment to the inputs that the policies saw, for replay. */
  readonly inputs_commit?: Digest
  /** Commitment to what a policy set in shadow mode would have decided; it governs nothing. @see spec/policy.md#shadow-mode */
  readonly shadow_commit?: Digest
  /** Commitment to the action as it is kept, where a policy has members of it redacted. @see spec/policy.md#obligations */
  readonly redacted_commit?: Digest
}

export const ASSURANCE_LEVELS = ['A0', 'A1', 'A2', 'A3', 'A4', 'A5'] as const
export type AssuranceLevel = (typeof ASSURANCE_LEVELS)[number]
export const RISKS = ['low', 'medium', 'high', 'critical'] as const
export type Risk = (typeof RISKS)[number]

/** What a permit descends from: a permit of this log, or of another plane's where `foreign` says which. */
export interface Parent extends ParentRef {
  readonly foreign?: ForeignRef
}

/** The authorization artifact: an entry of kind `permit`. Its signature is its seal. @see spec/artifact.md */
export interface Artifact {
  readonly kind: 'permit'
  readonly scope: Scope
  readonly action_commit: Digest
  /** The principal, an opaque id. */
  readonly sub: string
  readonly act: Actor
  /** Key thumbprint that the initiator must prove to hold. */
  readonly cnf?: string
  readonly env: { readonly commit: Digest; readonly level: EnvironmentLevel }
  readonly policy: PolicyState
  /** Seconds since 1970. */
  readonly iat: number
  readonly nbf: number
  /** Exclusive. */
  readonly exp: number
  readonly constraints: {
    readonly lease_seconds: number
    readonly max_runtime_seconds: number
    readonly obligations: readonly string[]
    /** What it is counted against. @see spec/policy.md#budgets */
    readonly budgets?: readonly Budget[]
  }
  /** Origin of the log. */
  readonly iss: string
  readonly owner: string
  readonly jti: string
  /** `jti` of the root of the lineage. */
  readonly txn: string
  readonly par?: Parent
  readonly depth: number
  /** What stops an ancestor, and is no selector of its own; present exactly below a root. @see spec/lineage.md */
  readonly above?: readonly string[]
  /** What others may ask for below it; absent: nothing. */
  readonly delegates?: CommittedDelegation
  /** The approvals that it rests on: `INDEX:LEAF HASH` of each, `grant:` before it where a grant covers it. @see spec/approval.md */
  readonly approvals: readonly string[]
  readonly risk: Risk
  /** The level that is demanded; the receipt states what was reached. */
  readonly assurance: AssuranceLevel
  /** The one gate that may execute it. */
  readonly aud: string
  readonly use: 'challenge' | 'redeem'
  /** The gate's challenge; present exactly when `use` is `challenge`. */
  readonly challenge?: string
  /** The registered purpose that was declared. */
  readonly intent?: string
  /** Commitment to the asker's own words about it. */
  readonly purpose_commit?: Digest
  /** What policy denies it with: it runs unenforced, at a gate that only observes. Absent: it is governed. @see spec/policy.md#observation */
  readonly observed?: ObservedCode
}

export type Permit = EntryHead & Artifact

/** Reads the members of a permit after its entry head. @throws {Denied} `artifact_malformed` */
export function parseArtifactFields(fields: Fields): Artifact {
  const use = fields.oneOf('use', ['challenge', 'redeem'])
  const cnf = fields.optional('cnf', (name) => fields.text(name, 64))
  const par = fields.optional('par', (name) => readParent(fields.object(name)))
  const above = fields.optional('above', (name) => readAbove(fields, name))
  const delegates = fields.optional('delegates', (name) => readCommittedDelegation(fields.object(name)))
  const challenge = fields.optional('challenge', (name) => fields.token(name))
  const intent = fields.optional('intent', (name) => readIntent(fields, name))
  const purpose = fields.optional('purpose_commit', (name) => fields.digest(name))
  const observed = fields.optional('observed', (name) => fields.oneOf(name, OBSERVED_CODES))
  if ((use === 'challenge') !== (challenge !== undefined)) throw new Denied('artifact_malformed', 'use and challenge disagree')
  const artifact: Artifact = {
    kind: 'permit',
    scope: readScope(fields.object('scope')),
    action_commit: fields.digest('action_commit'),
    sub: fields.text('sub'),
    act: readActor(fields.object('act')),
    ...(cnf === undefined ? {} : { cnf }),
    env: readEnvironment(fields.object('env')),
    policy: readPolicyState(fields.object('policy')),
    iat: fields.integer('iat'),
    nbf: fields.integer('nbf'),
    exp: fields.integer('exp'),
    constraints: readConstraints(fields.object('constraints')),
    iss: fields.text('iss'),
    owner: fields.text('owner'),
    jti: fields.token('jti'),
    txn: fields.token('txn'),
    ...(par === undefined ? {} : { par }),
    depth: fields.integer('depth', MAX_DEPTH_LINEAGE),
    ...(above === undefined ? {} : { above }),
    ...(delegates === undefined ? {} : { delegates }),
    approvals: readApprovals(fields.strings('approvals', MAX_LIST)),
    risk: fields.oneOf('risk', RISKS),
    assurance: fields.oneOf('assurance', ASSURANCE_LEVELS),
    aud: fields.text('aud'),
    use,
    ...(challenge === undefined ? {} : { challenge }),
    ...(intent === undefined ? {} : { intent }),
    ...(purpose === undefined ? {} : { purpose_commit: purpose }),
    ...(observed === undefined ? {} : { observed }),
  }
  if (artifact.policy.inputs_commit === undefined) throw new Denied('artifact_malformed', 'a permit commits to what its policies saw')
  if (artifact.constraints.budgets?.some(({ policy }) => !artifact.policy.determining.includes(policy)) === true) throw new Denied('artifact_malformed', 'a budget of a policy that does not determine it')
  verifyPlace(artifact)
  verifyObservedForm(artifact)
  if (par?.foreign !== undefined && (par.foreign.iss === artifact.iss || delegates !== undefined)) throw new Denied('artifact_malformed', 'what descends from another plane names that one, and delegates nothing')
  return artifact
}

/** Selectors that one permit inherits: each ancestor has its policies, and few more. */
const MAX_ABOVE = 640

function readAbove(fields: Fields, name: string): readonly string[] {
  const above = fields.strings(name, MAX_ABOVE, MAX_SELECTOR)
  for (const selector of above) asCode('artifact_malformed', () => parseSelector(selector))
  return above
}

function readApprovals(texts: readonly string[]): readonly string[] {
  parseApprovalRefs(texts)
  return texts
}

export function readScope(fields: Fields): Scope {
  const scope = { type: fields.oneOf('type', ACTION_TYPES), name: fields.text('name', MAX_NAME), target: fields.text('target') }
  fields.end()
  return scope
}

export function readActor(fields: Fields): Actor {
  const actor = { sub: fields.text('sub'), verified: fields.boolean('verified') }
  fields.end()
  return actor
}

export function readPolicyState(fields: Fields): PolicyState {
  const commits = (['inputs_commit', 'shadow_commit', 'redacted_commit'] as const).flatMap((name) => (fields.has(name) ? [[name, fields.digest(name)] as const] : []))
  const policy = {
    digest: fields.digest('digest'),
    epoch: fields.integer('epoch'),
    determining: fields.strings('determining', MAX_LIST),
    ...Object.fromEntries(commits),
  }
  fields.end()
  return policy
}

function readParent(fields: Fields): Parent {
  const parent = present<Parent>({
    jti: fields.token('jti'),
    leaf_hash: fields.digest('leaf_hash'),
    foreign: fields.optional('foreign', (name) => readForeignRef(fields.object(name))),
  })
  fields.end()
  return parent
}

function readConstraints(fields: Fields): Artifact['constraints'] {
  const budgets = fields.optional('budgets', (name) => readBudgets(fields.value(name)))
  const constraints = {
    lease_seconds: fields.integer('lease_seconds', 86_400),
    max_runtime_seconds: fields.integer('max_runtime_seconds', 86_400),
    obligations: fields.strings('obligations', MAX_LIST),
    ...(budgets === undefined ? {} : { budgets }),
  }
  fields.end()
  return constraints
}
