import type { Permit } from '../artifact/artifact.ts'
import type { ApprovalEntry } from '../approval/approval.ts'
import { type Action, actionDigest } from '../action.ts'
import { leafDigest, parseSealed, verifySealInclusion } from '../artifact/seal.ts'
import { readPermit } from '../artifact/verify.ts'
import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { commitment, type Digest } from '../digest.ts'
import type { JsonValue } from '../json/value.ts'
import { type Checkpoint, verifyCheckpoint } from '../log/checkpoint.ts'
import type { EntryHead } from '../log/entry.ts'
import type { NoteKey } from '../log/note.ts'
import { verifyQuorum } from '../log/quorum.ts'
import type { WitnessPolicy } from '../log/witness-policy.ts'
import { type ForeignRef, foreignPerson, foreignSubject, rootDigest } from './reference.ts'
import { MAX_FOREIGN_AGE_SECONDS } from './trust.ts'
import { aboveForeign, isNarrower, readVoucherEntry, verifyAddressed } from './verify.ts'

/** A plane whose key a verifier holds, and which cosignatures it asks for, where it does. */
export interface HeldForeignKey {
  readonly key: NoteKey
  readonly witnesses?: WitnessPolicy | undefined
}

/** What stands in a log here and what it was taken from: both, and when it was taken. */
export interface TakenFrom {
  readonly ref: ForeignRef
  readonly leafHash: Digest
  /** The sealed object as it is kept. */
  readonly sealed: JsonValue
  readonly timeMs: number
  /** Origin of the log that it was taken into. */
  readonly origin: string
}

function reopened({ ref, leafHash, sealed, timeMs }: TakenFrom, held: HeldForeignKey, crypto: Crypto): ReturnType<typeof parseSealed> {
  const seal = parseSealed(sealed)
  const checkpoint: Checkpoint = verifyCheckpoint(seal.proof.checkpoint, held.key, crypto)
  if (checkpoint.size !== ref.size || rootDigest(checkpoint) !== ref.root) throw new Denied('state_diverged', 'it was taken under another checkpoint')
  const time = { nowSeconds: Math.floor(timeMs / 1_000), maxAgeSeconds: MAX_FOREIGN_AGE_SECONDS }
  if (held.witnesses !== undefined) verifyQuorum(seal.proof.checkpoint, held.witnesses, time, crypto)
  if (leafDigest(verifySealInclusion(seal, checkpoint, crypto)) !== leafHash) throw new Denied('seal_invalid', 'another leaf was taken')
  return seal
}

/**
 * Holds a permit against the permit of another plane that it descends from: nothing of it is wider.
 * @param action what the permit permits, where its body is at hand; without it that both permit one action is not shown
 * @throws {Denied}
 */
export function verifyForeignParent(permit: Permit, taken: TakenFrom, action: Action | undefined, held: HeldForeignKey, crypto: Crypto): void {
  const seal = reopened(taken, held, crypto)
  const parent = readPermit(seal.entry, seal.proof.index, held.key.name)
  if (parent.jti !== permit.par?.jti || parent.txn !== permit.txn || parent.depth + 1 !== permit.depth) throw new Denied('parent_unknown', 'it descends from another permit')
  if (permit.above?.join() !== aboveForeign(parent).join()) throw new Denied('parent_unknown', 'what stops its ancestors would not stop it')
  verifyAddressed(parent, held, taken.origin)
  if (parent.use !== 'redeem') throw new Denied('type_mismatch', 'it could not be carried')
  if (parent.cnf === undefined || parent.cnf !== permit.cnf) throw new Denied('proof_of_possession_failed', 'they are bound to different keys')
  if (foreignSubject(held.key.name, parent.sub, taken.origin, crypto.sha256) !== permit.sub) throw new Denied('subject_mismatch')
  const { type, target, name } = parent.scope
  if (type !== permit.scope.type || target !== permit.scope.target || name !== permit.scope.name) throw new Denied('delegation_widens', 'another scope')
  const digest = action === undefined || seal.salt === undefined ? undefined : commitment('action', seal.salt, actionDigest(action, crypto.sha256), crypto.sha256)
  if (digest !== undefined && digest !== parent.action_commit) throw new Denied('action_mismatch', 'another action')
  if (!isNarrower(permit, parent)) throw new Denied('delegation_widens', 'it may begin, end or run otherwise than its parent')
}

/** Holds an approval against the voucher that it rests on. Which groups count as which is the plane's own configuration. @throws {Denied} */
export function verifyForeignVouching({ person, voucher }: ApprovalEntry & EntryHead, taken: TakenFrom, held: HeldForeignKey, crypto: Crypto): void {
  const vouched = readVoucherEntry(reopened(taken, held, crypto))
  if (foreignPerson(vouched.person, held.key.name) !== person || vouched.key !== voucher?.key) throw new Denied('subject_mismatch', 'somebody else is vouched for')
  verifyAddressed(vouched, held, taken.origin)
  if (vouched.exp !== voucher.exp) throw new Denied('seal_invalid', 'the voucher ends at another time')
  const sub = vouched.sub === undefined ? undefined : foreignSubject(held.key.name, vouched.sub, taken.origin, crypto.sha256)
  if (sub !== voucher.sub) throw new Denied('subject_mismatch', 'they are somebody else when asking')
}
