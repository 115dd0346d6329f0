import { nodeCryptography } from '@sealwrit/gate'
import type { ListedHold, ShownAction, ShownHold } from '@sealwrit/control-plane'
import { type Action, type DelegationTerms, parseDelegationTerms, canonicalText, commitment, Denied, type Digest, digestOf, type EntryHead, type HoldEntry, leafDigest, type NoteKey, parseAction, parseEntry, parseSealed, parseStrictText, scopeOf, utf8, verifyCheckpoint, verifyInclusion, leafHash } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'

/** A hold that was checked: it is in the log, and its commitment is to this action. What is shown and signed is made from nothing else. */
export interface CheckedHold {
  readonly entry: HoldEntry & EntryHead
  readonly leafHash: Digest
  readonly action: Action
  /** Whether `action` is only what `@redact` leaves: the rest is kept nowhere, and approved unseen. */
  readonly isRedacted: boolean
  /** What it is to delegate. */
  readonly delegation: DelegationTerms | undefined
  readonly listed: ListedHold
  /** The last approved action of the same tool, and the index of its hold. */
  readonly last: { readonly seq: number; readonly action: Action } | undefined
}

/** @throws {CliError} exit 13 when what the plane shows is not what the log holds */
export function checkHold(shown: ShownHold, id: string, logKey: NoteKey): CheckedHold {
  try {
    const { entry, leafHash: leaf, action, isRedacted } = opened(shown, logKey)
    if (entry.hold !== id) throw new Denied('action_mismatch', 'another hold was shown')
    const last = shown.last === undefined ? undefined : opened(shown.last, logKey)
    return { entry, leafHash: leaf, action, isRedacted, delegation: termsOf(entry, shown.delegation), listed: shown.listed, last: last === undefined ? undefined : { seq: last.entry.seq, action: last.action } }
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    throw new CliError(`the plane shows a hold that is not the one in the log: ${error.message}`, { exit: EXIT.unverified, code: error.code, hint: 'approve nothing; `sealwrit fsck` and `sealwrit log` say more' })
  }
}

/** What a hold commits to delegate; nothing else is shown or signed. @throws {Denied} */
function termsOf({ delegates }: HoldEntry, shown: ShownHold['delegation']): DelegationTerms | undefined {
  if (delegates === undefined) return undefined
  if (shown === undefined) throw new Denied('evidence_unavailable', 'what it is to delegate is not kept any more')
  const value = parseStrictText(shown.text)
  const { sha256 } = nodeCryptography
  if (commitment('delegation', shown.salt, digestOf(utf8(canonicalText(value)), sha256), sha256) !== delegates.terms_commit) throw new Denied('action_mismatch', 'it is to delegate something else')
  return parseDelegationTerms(value)
}

function opened({ sealed, action: { purpose, salt, text } }: { readonly sealed: ShownHold['sealed']; readonly action: ShownAction }, logKey: NoteKey): Pick<CheckedHold, 'entry' | 'leafHash' | 'action' | 'isRedacted'> {
  const { sha256 } = nodeCryptography
  const seal = parseSealed({ entry: sealed.entry, proof: sealed.proof })
  const checkpoint = verifyCheckpoint(seal.proof.checkpoint, logKey, nodeCryptography)
  const leaf = leafHash(utf8(seal.entry), sha256)
  const { index, hashes } = seal.proof
  verifyInclusion({ index, size: checkpoint.size, leaf, root: checkpoint.root, proof: hashes }, sha256)
  const entry = parseEntry(seal.entry)
  if (entry.kind !== 'hold' || entry.seq !== index) throw new Denied('type_mismatch', 'not a hold')
  const value = parseStrictText(text)
  const action = parseAction(value)
  const committed = purpose === 'action' ? entry.action_commit : purpose === 'redacted' ? entry.policy?.redacted_commit : undefined
  if (committed === undefined || commitment(purpose, salt, digestOf(utf8(canonicalText(value)), sha256), sha256) !== committed) throw new Denied('action_mismatch', 'the action is not the one that the hold commits to')
  if (canonicalText({ ...scopeOf(action) }) !== canonicalText({ ...entry.scope })) throw new Denied('action_mismatch', 'the scope is another')
  return { entry, leafHash: leafDigest(leaf), action, isRedacted: purpose === 'redacted' }
}
