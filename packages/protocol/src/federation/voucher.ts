import { readGroups } from '../approval/approval.ts'
import type { Person } from '../approval/persons.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { fromBase64Url } from '../encoding.ts'
import type { Fields } from '../json/fields.ts'
import { present } from '../json/present.ts'
import { type ForeignRef, MAX_FOREIGN_ORIGIN, readForeignRef } from './reference.ts'

/** How long the word of a plane about one of its approvers may be used, in seconds: what it does not show is their removal meanwhile. */
export const MAX_VOUCHER_SECONDS = 300
/** Longest id of a person that is vouched for. */
const MAX_VOUCHED_PERSON = 31

/**
 * A plane's word to another one: at this place in its log this person is an approver, with this key and in these groups. It is made on
 * demand, so that the place is a new one: an older entry could be shown for ever after the person was removed.
 * @see spec/federation.md#vouchers
 */
export interface VoucherEntry {
  readonly kind: 'voucher'
  readonly person: string
  /** Public key, base64url of 32 bytes. */
  readonly key: string
  readonly groups: readonly string[]
  /** The principal that this person is when asking over there: never its own approver here either. */
  readonly sub?: string
  /** Origin of the plane that it is for. */
  readonly aud: string
  /** Seconds since 1970, exclusive. */
  readonly exp: number
}

export function readVoucher(fields: Fields): VoucherEntry {
  const entry = present<VoucherEntry>({
    kind: 'voucher',
    person: fields.text('person', MAX_VOUCHED_PERSON),
    key: readKey(fields),
    groups: readGroups(fields, 'groups', 'artifact_malformed'),
    sub: fields.optional('sub', (name) => fields.text(name)),
    aud: fields.text('aud', MAX_FOREIGN_ORIGIN),
    exp: fields.integer('exp'),
  })
  if (entry.person.includes('@')) throw new Denied('artifact_malformed', 'voucher: the person is of another plane')
  return entry
}

/** What stands with an approval by a person of another plane: where that plane vouches for them, and what it counts as here. */
export interface TakenVoucher {
  readonly leaf_hash: Digest
  readonly key: string
  /** Groups of this plane. */
  readonly groups: readonly string[]
  /** Their principal, as an opaque id of this plane. */
  readonly sub?: string
  /** The approval counts until here, seconds since 1970, exclusive. */
  readonly exp: number
  readonly foreign: ForeignRef
}

export function readTakenVoucher(fields: Fields): TakenVoucher {
  const taken = present<TakenVoucher>({
    leaf_hash: fields.digest('leaf_hash'),
    key: readKey(fields),
    groups: readGroups(fields, 'groups', 'artifact_malformed'),
    sub: fields.optional('sub', (name) => fields.text(name)),
    exp: fields.integer('exp'),
    foreign: readForeignRef(fields.object('foreign')),
  })
  fields.end()
  return taken
}

/** The person that a voucher makes of them here; they hold no other key. */
export function vouchedPerson(person: string, { key, groups, sub }: TakenVoucher): Person {
  return { person, groups, keys: [key], sub }
}

function readKey(fields: Fields): string {
  const key = fields.text('key', 43)
  if (fromBase64Url(key).length !== 32) throw new Denied('artifact_malformed', 'voucher: key')
  return key
}
