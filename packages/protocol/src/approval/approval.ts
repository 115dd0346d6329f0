import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { type Digest, isDigest } from '../digest.ts'
import { readTakenVoucher, type TakenVoucher } from '../federation/voucher.ts'
import { Fields } from '../json/fields.ts'
import type { JsonObject } from '../json/value.ts'
import { MAX_JWS } from '../log/entries.ts'
import { present } from '../json/present.ts'
import { openJws, peekKid, type SigningKey, signingInput } from '../receipt/jws.ts'

/** Groups that one demand may name. */
export const MAX_GROUPS = 16
export const MAX_QUORUM = 16
/** Keys that one person may hold at once. */
export const MAX_PERSON_KEYS = 8
/** Later requests that one grant may cover. */
export const MAX_GRANT_USES = 1_000
/** How long a grant may last, in seconds. */
export const MAX_GRANT_SECONDS = 2_592_000
const MAX_GROUP_NAME = 64

/** What a hold asks for: this many distinct persons, each in one of these groups, before `expires`. */
export interface ApprovalDemand {
  readonly groups: readonly string[]
  readonly quorum: number
  /** Seconds since 1970, exclusive. */
  readonly expires: number
}

/** Later requests that an approval covers too. What their arguments may be stands behind a commitment: a leaf holds no data. */
export interface GrantBounds {
  readonly uses: number
  /** Seconds since 1970, exclusive. */
  readonly until: number
  /** The definition of the tool; exactly where the held action is a tool call. */
  readonly tool_digest?: Digest
  readonly arguments_commit: Digest
}

/** What an approver signs: this very hold and what it commits to, and nothing else can be approved with it (ATK-108). @see spec/approval.md */
export interface ApprovalStatement {
  readonly tenant: string
  readonly person: string
  /** Id, leaf index and leaf hash of the hold. */
  readonly hold: string
  readonly index: number
  readonly leaf_hash: Digest
  readonly action_commit: Digest
  /** The gate where it would run. */
  readonly aud: string
  /** Who asked. */
  readonly sub: string
  readonly decision: 'approved' | 'rejected'
  readonly grant?: GrantBounds
  readonly reason_commit?: Digest
  /** Seconds since 1970. */
  readonly iat: number
}

/** An approval of a hold as the log holds it. `expired` is the plane's own and has no signature. */
export interface ApprovalEntry {
  readonly kind: 'approval'
  readonly hold: string
  readonly event: 'approved' | 'rejected' | 'expired'
  readonly person?: string
  /** Compact JWS of the person, `typ` `approval+jwt`. */
  readonly signature?: string
  /** Commitments to the arguments of the grant, and to why it was rejected; as the person signed them. */
  readonly grant_commit?: Digest
  readonly reason_commit?: Digest
  /** Who vouches for a person of another plane. */
  readonly voucher?: TakenVoucher
}

/** A group's name: lower-case letters, digits, dots, dashes and underscores. */
export function isGroup(value: string): boolean {
  return value.length <= MAX_GROUP_NAME && /^[a-z0-9][a-z0-9._-]*$/.test(value)
}

/** Names of groups, each once. @throws {Denied} the code of the object */
export function readGroups(fields: Fields, name: string, code: Denied['code']): readonly string[] {
  const groups = fields.strings(name, MAX_GROUPS, MAX_GROUP_NAME)
  if (groups.length === 0 || !groups.every(isGroup) || new Set(groups).size !== groups.length) throw new Denied(code, `${name}: names of groups, each once`)
  return groups
}

export function readDemand(fields: Fields): ApprovalDemand {
  const demand = { groups: readGroups(fields, 'groups', 'artifact_malformed'), quorum: fields.integer('quorum', MAX_QUORUM), expires: fields.integer('expires') }
  fields.end()
  if (demand.quorum === 0) throw new Denied('artifact_malformed', 'approval: a quorum of nobody')
  return demand
}

export function readApproval(fields: Fields): ApprovalEntry {
  const event = fields.oneOf<ApprovalEntry['event']>('event', ['approved', 'rejected', 'expired'])
  const entry = present<ApprovalEntry>({
    kind: 'approval',
    hold: fields.token('hold'),
    event,
    person: fields.optional('person', (name) => fields.text(name, 128)),
    signature: fields.optional('signature', (name) => fields.text(name, MAX_JWS)),
    grant_commit: fields.optional('grant_commit', (name) => fields.digest(name)),
    reason_commit: fields.optional('reason_commit', (name) => fields.digest(name)),
    voucher: fields.optional('voucher', (name) => readTakenVoucher(fields.object(name))),
  })
  const isSigned = entry.person !== undefined && entry.signature !== undefined
  const isBare = Object.keys(entry).length === 3
  if (event === 'expired' ? !isBare : !isSigned) throw new Denied('artifact_malformed', 'approval: event and members disagree')
  if (entry.grant_commit !== undefined && event !== 'approved') throw new Denied('artifact_malformed', 'approval: a grant in what approves nothing')
  const { voucher, person } = entry
  if (voucher !== undefined && person?.endsWith(`@${voucher.foreign.iss}`) !== true) throw new Denied('artifact_malformed', 'approval: person and voucher disagree')
  if (voucher === undefined && person?.includes('@') === true) throw new Denied('artifact_malformed', 'approval: nobody vouches for a person of another plane')
  if (voucher !== undefined && (event !== 'approved' || entry.grant_commit !== undefined)) throw new Denied('artifact_malformed', 'approval: a person of another plane approves one request, and nothing else')
  return entry
}

/** What is signed, as claims. */
export function approvalInput(statement: ApprovalStatement, kid: string): string {
  return signingInput('approval+jwt', kid, statement as unknown as JsonObject)
}

/**
 * Opens an approver's signature under whichever of `keys` its header names.
 * @throws {Denied} `key_unknown` when it names none of them, else as {@link openJws}, and `artifact_malformed` for claims of another form
 */
export function verifyApproval(token: string, keys: readonly SigningKey[], crypto: Crypto): ApprovalStatement {
  const named = keys.find(({ kid }) => kid === peekKid(token)) ?? keys[0]
  if (named === undefined) throw new Denied('key_unknown', 'this person holds no key')
  const fields = new Fields(openJws(token, 'approval+jwt', named, crypto), 'artifact_malformed', 'approval')
  const statement = present<ApprovalStatement>({
    tenant: fields.text('tenant', 63),
    person: fields.text('person', 128),
    hold: fields.token('hold'),
    index: fields.integer('index'),
    leaf_hash: fields.digest('leaf_hash'),
    action_commit: fields.digest('action_commit'),
    aud: fields.text('aud'),
    sub: fields.text('sub'),
    decision: fields.oneOf<ApprovalStatement['decision']>('decision', ['approved', 'rejected']),
    grant: fields.optional('grant', (name) => readBounds(fields.object(name))),
    reason_commit: fields.optional('reason_commit', (name) => fields.digest(name)),
    iat: fields.integer('iat'),
  })
  fields.end()
  const { grant, iat, decision } = statement
  if (grant === undefined) return statement
  if (decision !== 'approved') throw new Denied('artifact_malformed', 'approval: a grant in what approves nothing')
  if (grant.uses === 0) throw new Denied('artifact_malformed', 'approval: a grant of nothing')
  if (grant.until <= iat || grant.until - iat > MAX_GRANT_SECONDS) throw new Denied('lifetime_exceeded', 'a grant lasts at most 30 days')
  return statement
}

function readBounds(fields: Fields): GrantBounds {
  const bounds = present<GrantBounds>({
    uses: fields.integer('uses', MAX_GRANT_USES),
    until: fields.integer('until'),
    tool_digest: fields.optional('tool_digest', (name) => fields.digest(name)),
    arguments_commit: fields.digest('arguments_commit'),
  })
  fields.end()
  return bounds
}

/** An approval that a permit rests on: its leaf, and whether it approved this very action or its grant covers it. */
export interface ApprovalRef {
  readonly seq: number
  readonly leafHash: Digest
  readonly isGrant: boolean
}

const GRANT = 'grant:'

export function formatApprovalRef({ seq, leafHash, isGrant }: ApprovalRef): string {
  return `${isGrant ? GRANT : ''}${seq}:${leafHash}`
}

/** @throws {Denied} `artifact_malformed` for another spelling */
export function parseApprovalRef(text: string): ApprovalRef {
  const isGrant = text.startsWith(GRANT)
  const rest = isGrant ? text.slice(GRANT.length) : text
  const at = rest.indexOf(':')
  const [number, leafHash] = [rest.slice(0, at), rest.slice(at + 1)]
  if (!/^(0|[1-9]\d{0,14})$/.test(number) || !isDigest(leafHash)) throw new Denied('artifact_malformed', 'approvals: neither `INDEX:LEAF HASH` nor `grant:INDEX:LEAF HASH`')
  return { seq: Number(number), leafHash, isGrant }
}

/** What a permit's `approvals` name: each once, and either all of this very action or all grants. @throws {Denied} `artifact_malformed` */
export function parseApprovalRefs(texts: readonly string[]): readonly ApprovalRef[] {
  const refs = texts.map(parseApprovalRef)
  if (new Set(refs.map(({ seq }) => seq)).size !== refs.length) throw new Denied('artifact_malformed', 'approvals: one stands twice')
  if (refs.some(({ isGrant }) => isGrant !== refs[0]?.isGrant)) throw new Denied('artifact_malformed', 'approvals: grants among approvals')
  return refs
}
