import type { Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { fromBase64Url } from '../encoding.ts'
import type { Fields } from '../json/fields.ts'
import { readBy } from '../log/entries.ts'
import { present } from '../json/present.ts'
import { type SigningKey, signingKey } from '../receipt/jws.ts'
import { readGroups } from './approval.ts'

/** A person who may approve: added with a key and groups, or with a further key; removed altogether, or one key of them. */
export interface ApproverEntry {
  readonly kind: 'key'
  readonly purpose: 'approver'
  readonly event: 'added' | 'removed'
  /** An opaque id; the name is behind `name_commit`, and can be erased. */
  readonly person: string
  /** All groups from here on; where added. */
  readonly groups?: readonly string[]
  /** Public key, base64url of 32 bytes; where added, or where this key alone is removed. */
  readonly key?: string
  /** The principal that this person is when asking: never its own approver. */
  readonly sub?: string
  readonly name_commit?: Digest
  /** Who did it; older logs do not say. */
  readonly by?: string
}

/** A person as the log says now. */
export interface Person {
  readonly person: string
  readonly groups: readonly string[]
  /** Base64url of each public key. */
  readonly keys: readonly string[]
  readonly sub: string | undefined
}

export function readApprover(fields: Fields): ApproverEntry {
  const event = fields.oneOf<ApproverEntry['event']>('event', ['added', 'removed'])
  const entry = present<ApproverEntry>({
    kind: 'key',
    purpose: fields.literal('purpose', 'approver'),
    event,
    person: fields.text('person', 128),
    groups: fields.optional('groups', (name) => readGroups(fields, name, 'artifact_malformed')),
    key: fields.optional('key', (name) => fields.text(name, 43)),
    sub: fields.optional('sub', (name) => fields.text(name)),
    name_commit: fields.optional('name_commit', (name) => fields.digest(name)),
    by: readBy(fields),
  })
  const isAdded = event === 'added'
  if (isAdded !== (entry.groups !== undefined) || (isAdded && entry.key === undefined) || (!isAdded && (entry.sub ?? entry.name_commit) !== undefined)) throw new Denied('artifact_malformed', 'approver: event and members disagree')
  return entry
}

/** What `entry` makes of the person that it is about. */
export function withApprover(known: Person | undefined, { event, person, groups, key, sub }: ApproverEntry): Person {
  const keys = known?.keys ?? []
  if (event === 'added') return { person, groups: groups ?? [], keys: [...keys.filter((one) => one !== key), key as string], sub: sub ?? known?.sub }
  const left = key === undefined ? [] : keys.filter((one) => one !== key)
  return { person, groups: left.length === 0 ? [] : (known?.groups ?? []), keys: left, sub: known?.sub }
}

export function keysOf(person: Person, sha256: Sha256): readonly SigningKey[] {
  return person.keys.map((key) => signingKey(fromBase64Url(key), sha256))
}

/**
 * Whether this person's word counts for a request of `sub`, for which `owner` answers: in a group that is demanded, and neither the
 * one who asks nor the one who answers for it (ATK-109).
 */
export function mayApprove(person: Person | undefined, groups: readonly string[], asking: { readonly sub: string | undefined; readonly owner: string | undefined }): boolean {
  if (person === undefined || person.keys.length === 0) return false
  if (person.sub !== undefined && (person.sub === asking.sub || person.sub === asking.owner)) return false
  if (person.person === asking.sub || person.person === asking.owner) return false
  return person.groups.some((group) => groups.includes(group))
}
