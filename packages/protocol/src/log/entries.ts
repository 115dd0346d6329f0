import { type ApprovalDemand, readDemand } from '../approval/approval.ts'
import { type ApproverEntry, readApprover } from '../approval/persons.ts'
import { type PersonEntry, readPerson } from '../govern/person.ts'
import { type Actor, type PolicyState, readActor, readPolicyState, readScope, type Risk, RISKS } from '../artifact/artifact.ts'
import type { Scope } from '../action.ts'
import { Denied, type DenialCode, isDenialCode } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { MAX_SELECTOR, parseSelector } from '../govern/selector.ts'
import { fromBase64Url } from '../encoding.ts'
import { isAgentName } from '../identity.ts'
import { readIntent } from '../intent.ts'
import { Fields } from '../json/fields.ts'
import { present } from '../json/present.ts'
import { type CommittedDelegation, readCommittedDelegation } from '../lineage/delegation.ts'
import { type ParentRef, parseParentRef } from '../lineage/lineage.ts'
import type { JsonValue } from '../json/value.ts'
import { type GateKeyEntry, type LogKeyEntry, readGateKey, readLogKey } from './keys.ts'

/** Longest compact JWS inside an entry, in characters. */
export const MAX_JWS = 8_192

/** Who asked for what where, as far as it was known when it was refused or held. */
export interface Asked {
  readonly scope?: Scope
  readonly action_commit?: Digest
  readonly sub?: string
  readonly act?: Actor
  readonly aud?: string
  readonly challenge?: string
  readonly policy?: PolicyState
  /** The permit below which it was asked for, as it was named. */
  readonly par?: ParentRef
  /** What it would have delegated. */
  readonly delegates?: CommittedDelegation
  /** The purpose that was declared. */
  readonly intent?: string
  /** Commitment to the asker's own words about it. */
  readonly purpose_commit?: Digest
}

/** A refusal: by the plane, or reported and signed by a gate (`denial`). */
export interface DenyEntry extends Asked {
  readonly kind: 'deny'
  readonly code: DenialCode
  /** Its id: nothing descends from what was denied, and a request that names it says so. */
  readonly jti?: string
  /** The gate's own signed account, where a gate refused. @see spec/denial.md */
  readonly denial?: string
}
/** A decision that waits for an approval. */
export interface HoldEntry extends Asked {
  readonly kind: 'hold'
  readonly hold: string
  /** Who has to approve it until when; without it nobody can. */
  readonly approval?: ApprovalDemand
  readonly risk?: Risk
}
/** A gate's account of an outcome; every claim is inside the embedded JWS. */
export interface ReceiptEntry {
  readonly kind: 'receipt'
  readonly jti: string
  readonly receipt: string
  /** Leaf index of the `indeterminate` ending that this late receipt replaces. */
  readonly resolves?: number
}
/** The plane's record that a carried permit was spent: once, by this gate, for this challenge. @see spec/artifact.md#redemption */
export interface RedemptionEntry {
  readonly kind: 'redemption'
  readonly jti: string
  /** Leaf hash of the permit. */
  readonly leaf_hash: Digest
  readonly aud: string
  /** The gate's challenge. */
  readonly challenge: string
  /** That of the permit, seconds since 1970, exclusive. */
  readonly exp: number
}
/** The plane's own ending of a permit that no receipt ended in time. */
export interface ExpiryEntry {
  readonly kind: 'expiry'
  readonly jti: string
  readonly leaf_hash: Digest
  readonly outcome: 'expired' | 'indeterminate'
}
/** What became of a policy set: it is the active one from here on, or will be, or is evaluated beside it. @see spec/policy.md */
export interface PolicyEntry {
  readonly kind: 'policy'
  readonly digest: Digest
  /** The epoch from this entry on: one more where the active set changes or is confirmed, else the same. */
  readonly epoch: number
  /** Ids of its policies, in order. */
  readonly policies: readonly string[]
  /**
   * Absent: `activated`. `withdrawn` ends what was staged, or the shadow mode. `observing`: from here on the plane also permits what the
   * active set denies, marked, to gates that ask for it; `enforcing` ends that.
   */
  readonly event?: 'activated' | 'staged' | 'rolled_back' | 'withdrawn' | 'observing' | 'enforcing'
  /** Absent: `enforce`. */
  readonly mode?: 'enforce' | 'shadow'
  /** Digest of its protected rules, where it has some. */
  readonly base?: Digest
  /** When a staged set shall become the active one, milliseconds since 1970; the entry that activates it is what counts. */
  readonly from?: number
  /** The set that it replaces. */
  readonly previous?: Digest
  /** Permits of earlier epochs are void from here on, wherever they are. */
  readonly urgent?: true
  /** Who brought it about, where somebody did; older logs do not say. */
  readonly by?: string
}
/** What the selector names is void from here on, for good. */
export interface RevocationEntry {
  readonly kind: 'revocation'
  readonly selector: string
  readonly by: string
}
/** What the selector names is stopped and refused, until enough people lift it. */
export interface KillEntry {
  readonly kind: 'kill'
  readonly selector: string
  /** `lift_asked`: one of those whose word it takes; `lifted`: the last of them. */
  readonly event: 'killed' | 'lift_asked' | 'lifted'
  readonly by: string
}
/** A gate goes on with what it runs: one renewal for all of it. What it asked for and what is not here must stop. */
export interface LeaseEntry {
  readonly kind: 'lease'
  readonly gate: string
  readonly session: string
  /** The gate's own, fresh for each renewal. */
  readonly nonce: string
  readonly jtis: readonly string[]
}
export type KeyEntry = LogKeyEntry | GateKeyEntry | ApproverEntry | PersonEntry
/** Bodies and salts of these entries were deleted; the entries and their proofs stay. */
export interface ErasureEntry {
  readonly kind: 'erasure'
  /** Leaf indices, `to` exclusive; in order, none touching the next. */
  readonly ranges: readonly { readonly from: number; readonly to: number }[]
  readonly cause: 'request' | 'retention'
  /** Who asked, where somebody did. */
  readonly by?: string
}
/** A gate enrolled with its key, or opened a session. */
export interface GateEntry {
  readonly kind: 'gate'
  readonly gate: string
  readonly event: 'enrolled' | 'session' | 'denials_lost'
  /** Public key of the receipts, base64url of 32 bytes; when enrolled. */
  readonly key?: string
  /** The session's id and environment; when one was opened. */
  readonly session?: string
  readonly env?: { readonly commit: Digest; readonly level: EnvironmentLevel }
  /** Commitment to the signed statement that the level rests on; there exactly where it is more than `software`. */
  readonly attestation_commit?: Digest
  /** When the session ends unless it is opened again, seconds since 1970, exclusive. */
  readonly expires?: number
  /** Digest of the log key that the gate was given; where it said so. */
  readonly anchor?: Digest
  /** How many signed denials overflowed the gate's bounded queue. */
  readonly count?: number
}
/** An agent was registered with a key, got or lost one, or is no longer registered. @see spec/identity.md */
export interface AgentEntry {
  readonly kind: 'agent'
  readonly agent: string
  readonly event: 'added' | 'key_added' | 'key_removed' | 'removed'
  /** Public key, base64url of 32 bytes; absent only where all of them go. */
  readonly key?: string
  /** The person or team that answers for the agent; when added. */
  readonly owner?: string
  /** When the key ends, seconds since 1970, exclusive. */
  readonly expires?: number
  /** Who did it; older logs do not say. */
  readonly by?: string
}
export const ENVIRONMENT_LEVELS = ['none', 'software', 'signed', 'hardware'] as const
export type EnvironmentLevel = (typeof ENVIRONMENT_LEVELS)[number]

function readAsked(fields: Fields): Asked {
  return present<Asked>({
    scope: fields.optional('scope', (name) => readScope(fields.object(name))),
    action_commit: fields.optional('action_commit', (name) => fields.digest(name)),
    sub: fields.optional('sub', (name) => fields.text(name)),
    act: fields.optional('act', (name) => readActor(fields.object(name))),
    aud: fields.optional('aud', (name) => fields.text(name)),
    challenge: fields.optional('challenge', (name) => fields.token(name)),
    policy: fields.optional('policy', (name) => readPolicyState(fields.object(name))),
    par: fields.optional('par', (name) => parseParentRef(fields.object(name))),
    delegates: fields.optional('delegates', (name) => readCommittedDelegation(fields.object(name))),
    intent: fields.optional('intent', (name) => readIntent(fields, name)),
    purpose_commit: fields.optional('purpose_commit', (name) => fields.digest(name)),
  })
}

export function readDeny(fields: Fields): DenyEntry {
  const code = fields.value('code')
  if (!isDenialCode(code)) throw new Denied('artifact_malformed', 'deny: unknown code')
  return present<DenyEntry>({ kind: 'deny', code, jti: fields.optional('jti', (name) => fields.token(name)), ...readAsked(fields), denial: fields.optional('denial', (name) => fields.text(name, MAX_JWS)) })
}

export function readHold(fields: Fields): HoldEntry {
  return present<HoldEntry>({
    kind: 'hold',
    hold: fields.token('hold'),
    ...readAsked(fields),
    approval: fields.optional('approval', (name) => readDemand(fields.object(name))),
    risk: fields.optional('risk', (name) => fields.oneOf(name, RISKS)),
  })
}

export function readReceipt(fields: Fields): ReceiptEntry {
  return present<ReceiptEntry>({
    kind: 'receipt',
    jti: fields.token('jti'),
    receipt: fields.text('receipt', MAX_JWS),
    resolves: fields.optional('resolves', (name) => fields.integer(name)),
  })
}

export function readRedemption(fields: Fields): RedemptionEntry {
  return {
    kind: 'redemption',
    jti: fields.token('jti'),
    leaf_hash: fields.digest('leaf_hash'),
    aud: fields.text('aud'),
    challenge: fields.token('challenge'),
    exp: fields.integer('exp'),
  }
}

export function readExpiry(fields: Fields): ExpiryEntry {
  return {
    kind: 'expiry',
    jti: fields.token('jti'),
    leaf_hash: fields.digest('leaf_hash'),
    outcome: fields.oneOf('outcome', ['expired', 'indeterminate']),
  }
}

export function readPolicy(fields: Fields): PolicyEntry {
  const entry = present<PolicyEntry>({
    kind: 'policy',
    digest: fields.digest('digest'),
    epoch: fields.integer('epoch'),
    policies: fields.strings('policies', 1_000),
    event: fields.optional('event', (name) => fields.oneOf<NonNullable<PolicyEntry['event']>>(name, ['activated', 'staged', 'rolled_back', 'withdrawn', 'observing', 'enforcing'])),
    mode: fields.optional('mode', (name) => fields.oneOf<NonNullable<PolicyEntry['mode']>>(name, ['enforce', 'shadow'])),
    base: fields.optional('base', (name) => fields.digest(name)),
    from: fields.optional('from', (name) => fields.integer(name)),
    previous: fields.optional('previous', (name) => fields.digest(name)),
    urgent: fields.optional('urgent', (name) => fields.literal(name, true)),
    by: readBy(fields),
  })
  const { event = 'activated', mode, from, previous, urgent } = entry
  const isAboutMode = event === 'observing' || event === 'enforcing'
  const isWrong = (isAboutMode && (mode ?? entry.base ?? previous ?? urgent) !== undefined) || (event === 'staged') !== (from !== undefined) || (event === 'rolled_back' && previous === undefined) || (mode === 'shadow' && (event === 'staged' || event === 'rolled_back' || urgent === true)) || (urgent === true && event === 'withdrawn')
  if (isWrong) throw new Denied('artifact_malformed', 'policy: its members disagree')
  return entry
}

export function readKey(fields: Fields): KeyEntry {
  switch (fields.peek('purpose')) {
    case 'approver':
      return readApprover(fields)
    case 'person':
      return readPerson(fields)
    case 'gate':
      return readGateKey(fields)
    default:
      return readLogKey(fields)
  }
}

export function readRevocation(fields: Fields): RevocationEntry {
  return { kind: 'revocation', selector: readSelector(fields), by: fields.text('by') }
}

export function readKill(fields: Fields): KillEntry {
  return { kind: 'kill', selector: readSelector(fields), event: fields.oneOf<KillEntry['event']>('event', ['killed', 'lift_asked', 'lifted']), by: fields.text('by') }
}

function readSelector(fields: Fields): string {
  const selector = fields.text('selector', MAX_SELECTOR)
  parseSelector(selector)
  return selector
}

/** Executions that one renewal may name. */
export const MAX_RENEWED = 1_000

export function readLease(fields: Fields): LeaseEntry {
  return { kind: 'lease', gate: fields.text('gate'), session: fields.token('session'), nonce: fields.token('nonce'), jtis: fields.tokens('jtis', MAX_RENEWED) }
}

/** Ranges in one erasure. */
export const MAX_RANGES = 256

export function readErasure(fields: Fields): ErasureEntry {
  const list = fields.value('ranges')
  if (!Array.isArray(list) || list.length === 0 || list.length > MAX_RANGES) throw new Denied('artifact_malformed', 'erasure: ranges')
  let last = -1
  const ranges = list.map((item: JsonValue) => {
    const range = new Fields(item, 'artifact_malformed', 'range')
    const [from, to] = [range.integer('from'), range.integer('to')]
    range.end()
    if (from <= last || to <= from) throw new Denied('artifact_malformed', 'erasure: ranges are not in order')
    last = to
    return { from, to }
  })
  const entry = present<ErasureEntry>({ kind: 'erasure', ranges, cause: fields.oneOf<ErasureEntry['cause']>('cause', ['request', 'retention']), by: fields.optional('by', (name) => fields.text(name)) })
  if ((entry.cause === 'request') !== (entry.by !== undefined)) throw new Denied('artifact_malformed', 'erasure: cause and by disagree')
  return entry
}

const GATE_MEMBERS = ['key', 'session', 'env', 'count'] as const

export function readGate(fields: Fields): GateEntry {
  const entry = present<GateEntry>({
    kind: 'gate',
    gate: fields.text('gate'),
    event: fields.oneOf<GateEntry['event']>('event', ['enrolled', 'session', 'denials_lost']),
    key: fields.optional('key', (name) => fields.text(name, 64)),
    session: fields.optional('session', (name) => fields.token(name)),
    env: fields.optional('env', (name) => readEnvironment(fields.object(name))),
    attestation_commit: fields.optional('attestation_commit', (name) => fields.digest(name)),
    expires: fields.optional('expires', (name) => fields.integer(name)),
    anchor: fields.optional('anchor', (name) => fields.digest(name)),
    count: fields.optional('count', (name) => fields.integer(name)),
  })
  if ((entry.expires ?? entry.anchor) !== undefined && entry.event !== 'session') throw new Denied('artifact_malformed', 'gate: event and members disagree')
  if ((entry.attestation_commit !== undefined) !== isSigned(entry.env?.level)) throw new Denied('artifact_malformed', 'gate: level and attestation disagree')
  const has = GATE_MEMBERS.filter((name) => entry[name] !== undefined).join()
  if (has !== { enrolled: 'key', session: 'session,env', denials_lost: 'count' }[entry.event]) throw new Denied('artifact_malformed', 'gate: event and members disagree')
  return entry
}

/** Whether a level is the word of more than the gate alone. */
function isSigned(level: EnvironmentLevel | undefined): boolean {
  return level === 'signed' || level === 'hardware'
}

export function readAgent(fields: Fields): AgentEntry {
  const entry = present<AgentEntry>({
    kind: 'agent',
    agent: fields.text('agent', 64),
    event: fields.oneOf<AgentEntry['event']>('event', ['added', 'key_added', 'key_removed', 'removed']),
    key: fields.optional('key', (name) => fields.text(name, 43)),
    owner: fields.optional('owner', (name) => fields.text(name, 128)),
    expires: fields.optional('expires', (name) => fields.integer(name)),
    by: readBy(fields),
  })
  if (!isAgentName(entry.agent)) throw new Denied('artifact_malformed', 'agent: name')
  if (entry.key !== undefined && fromBase64Url(entry.key).length !== 32) throw new Denied('artifact_malformed', 'agent: key')
  const [isAdded, bringsKey] = [entry.event === 'added', entry.event === 'added' || entry.event === 'key_added']
  if ((entry.event === 'removed') !== (entry.key === undefined)) throw new Denied('artifact_malformed', 'agent: event and key disagree')
  if (isAdded !== (entry.owner !== undefined)) throw new Denied('artifact_malformed', 'agent: event and owner disagree')
  if (entry.expires !== undefined && !bringsKey) throw new Denied('artifact_malformed', 'agent: event and expires disagree')
  return entry
}

/** Who did it, an opaque id, where the entry says so. */
export function readBy(fields: Fields): string | undefined {
  return fields.optional('by', (name) => fields.text(name, 128))
}

export function readEnvironment(fields: Fields): { commit: Digest; level: EnvironmentLevel } {
  const env = { commit: fields.digest('commit'), level: fields.oneOf('level', ENVIRONMENT_LEVELS) }
  fields.end()
  return env
}
