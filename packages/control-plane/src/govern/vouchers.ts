import { canonicalText, commitment, Denied, digestOf, foreignPerson, foreignSubject, type ForeignVoucher, localGroups, type Person, present, rootDigest, type TakenVoucher, toBase64Url, TOKEN_BYTES, utf8, vouchedPerson } from '@sealwrit/protocol'
import type { LogState } from '../log/state.ts'
import type { PlanePorts } from '../ports.ts'
import type { StoredBody } from '../store/store.ts'

/** A person of another plane, as far as that plane vouches for them. */
export interface Guest {
  readonly vouched: ForeignVoucher
  readonly person: string
  readonly voucher: TakenVoucher
  readonly body: Omit<StoredBody, 'seq'>
}

/** What a verified voucher makes of its person here. @throws {Denied} `identity_unknown` where none of their groups counts */
export function takeVoucher(vouched: ForeignVoucher, origin: string, { rng, crypto }: PlanePorts): Guest {
  const { entry, plane, checkpoint, leafHash, sealed } = vouched
  const iss = plane.key.name
  const groups = localGroups(plane, entry.groups)
  if (groups.length === 0) throw new Denied('identity_unknown', 'none of their groups counts here')
  const text = canonicalText(sealed)
  const [salt, digest] = [toBase64Url(rng.bytes(TOKEN_BYTES)), digestOf(utf8(text), crypto.sha256)]
  const commit = commitment('foreign', salt, digest, crypto.sha256)
  const sub = entry.sub === undefined ? undefined : foreignSubject(iss, entry.sub, origin, crypto.sha256)
  const voucher = present<TakenVoucher>({ leaf_hash: leafHash, key: entry.key, groups, sub, exp: entry.exp, foreign: { iss, size: checkpoint.size, root: rootDigest(checkpoint), commit } })
  return { vouched, person: foreignPerson(entry.person, iss), voucher, body: { purpose: 'foreign', commit, salt, digest, text } }
}

/**
 * The person at this place in the log. A key that somebody here holds is that person's: whoever vouches for it would make two of one.
 * @throws {Denied} `subject_mismatch`, and what the voucher fails by now
 */
export function guestOf({ vouched, person, voucher }: Guest, { approvals, foreign }: LogState, timeMs: number): Person {
  const stale = foreign.stale(vouched, timeMs)
  if (stale !== undefined) throw new Denied(stale)
  if (approvals.holdsKey(voucher.key)) throw new Denied('subject_mismatch', 'somebody here holds this key')
  return vouchedPerson(person, voucher)
}
