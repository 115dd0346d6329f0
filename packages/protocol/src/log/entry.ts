import { type ApprovalEntry, readApproval } from '../approval/approval.ts'
import { type Artifact, parseArtifactFields } from '../artifact/artifact.ts'
import { Denied } from '../denial.ts'
import { utf8 } from '../encoding.ts'
import { readVoucher, type VoucherEntry } from '../federation/voucher.ts'
import { type AssessmentEntry, readAssessment } from '../govern/assessment.ts'
import { readTool, type ToolEntry } from '../govern/tool.ts'
import { canonicalText } from '../json/canonicalize.ts'
import { asCode, Fields } from '../json/fields.ts'
import { parseFormed } from '../json/parse.ts'
import { JSON_LIMITS, type JsonLimits } from '../json/value.ts'
import { type AgentEntry, type DenyEntry, type ErasureEntry, type ExpiryEntry, type GateEntry, type HoldEntry, type KeyEntry, type KillEntry, type LeaseEntry, type PolicyEntry, type ReceiptEntry, type RedemptionEntry, type RevocationEntry, readAgent, readDeny, readErasure, readExpiry, readGate, readHold, readKey, readKill, readLease, readPolicy, readReceipt, readRedemption, readRevocation } from './entries.ts'

/** Largest leaf in bytes. */
export const MAX_ENTRY = 32_768
export const ENTRY_VERSION = 1
const ENTRY_LIMITS: JsonLimits = Object.freeze({ ...JSON_LIMITS, maxBytes: MAX_ENTRY })

/** Every kind of entry that the format knows. */
export const ENTRY_KINDS = [
  'permit', 'deny', 'hold', 'redemption', 'lease', 'receipt', 'expiry', 'state', 'approval',
  'revocation', 'kill', 'policy', 'key', 'gate', 'agent', 'tool', 'erasure', 'assessment', 'voucher',
] as const
export type EntryKind = (typeof ENTRY_KINDS)[number]

/** What every entry begins with. */
export interface EntryHead {
  readonly v: 1
  /** Leaf index in the log. */
  readonly seq: number
  /** Milliseconds since 1970, never smaller than in the entry before. */
  readonly time: number
  readonly tenant: string
}

/** The kinds that this version writes; the others are refused with `type_mismatch` until their issue brings them. */
export type Entry = EntryHead &
  (Artifact | DenyEntry | HoldEntry | RedemptionEntry | ReceiptEntry | ExpiryEntry | PolicyEntry | KeyEntry | GateEntry | ToolEntry | ErasureEntry | RevocationEntry | KillEntry | LeaseEntry | ApprovalEntry | AgentEntry | VoucherEntry | AssessmentEntry)
export type EntryBody = Entry extends infer E ? (E extends Entry ? Omit<E, keyof EntryHead> : never) : never

/** The leaf bytes of an entry: UTF-8 of its canonical JSON, no newline. @throws {Denied} `limit_exceeded` beyond {@link MAX_ENTRY} */
export function entryText(entry: Entry): string {
  const text = canonicalText(entry as never)
  if (text.length > MAX_ENTRY || utf8(text).length > MAX_ENTRY) throw new Denied('limit_exceeded', 'entry too large')
  return text
}

export function isTenant(value: string): boolean {
  if (value.length < 1 || value.length > 63) return false
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i)
    if (!((c >= 97 && c <= 122) || (c >= 48 && c <= 57) || c === 45)) return false
  }
  return true
}

/**
 * Reads a leaf back. It must be canonical and closed: one text, one meaning.
 * @throws {Denied} `artifact_malformed` for its form, `type_mismatch` for a kind or version that is not read here
 */
export function parseEntry(text: string): Entry {
  return asCode('artifact_malformed', () => {
    if (text.length > MAX_ENTRY) throw new Denied('artifact_malformed', 'entry too large')
    const { value, isCanonical } = parseFormed(text, ENTRY_LIMITS)
    if (!isCanonical) throw new Denied('artifact_malformed', 'entry is not canonical')
    const fields = new Fields(value, 'artifact_malformed', 'entry')
    if (fields.value('v') !== ENTRY_VERSION) throw new Denied('type_mismatch', 'entry version')
    const kind = fields.oneOf('kind', ENTRY_KINDS)
    const tenant = fields.text('tenant', 63)
    if (!isTenant(tenant)) throw new Denied('artifact_malformed', 'tenant')
    const head: EntryHead = { v: ENTRY_VERSION, seq: fields.integer('seq'), time: fields.integer('time'), tenant }
    const body = readBody(kind, fields)
    fields.end()
    return { ...head, ...body } as Entry
  })
}

function readBody(kind: EntryKind, fields: Fields): EntryBody {
  switch (kind) {
    case 'permit':
      return parseArtifactFields(fields)
    case 'deny':
      return readDeny(fields)
    case 'hold':
      return readHold(fields)
    case 'redemption':
      return readRedemption(fields)
    case 'receipt':
      return readReceipt(fields)
    case 'expiry':
      return readExpiry(fields)
    case 'policy':
      return readPolicy(fields)
    case 'key':
      return readKey(fields)
    case 'gate':
      return readGate(fields)
    case 'agent':
      return readAgent(fields)
    case 'tool':
      return readTool(fields)
    case 'erasure':
      return readErasure(fields)
    case 'revocation':
      return readRevocation(fields)
    case 'kill':
      return readKill(fields)
    case 'approval':
      return readApproval(fields)
    case 'lease':
      return readLease(fields)
    case 'voucher':
      return readVoucher(fields)
    case 'assessment':
      return readAssessment(fields)
    case 'state':
      throw new Denied('type_mismatch', `entry kind ${kind} is not read by this version`)
  }
}
