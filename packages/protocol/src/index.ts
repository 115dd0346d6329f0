export * from './action.ts'
export {
  type ApprovalDemand, type ApprovalEntry, approvalInput, type ApprovalRef, type ApprovalStatement, formatApprovalRef, type GrantBounds, isGroup, MAX_GRANT_SECONDS, MAX_GRANT_USES, MAX_GROUPS,
  MAX_PERSON_KEYS, MAX_QUORUM, parseApprovalRefs, verifyApproval,
} from './approval/approval.ts'
export { type ArgumentBound, fitsGrant, isGrantWithin, type GrantArguments, parseGrantArguments } from './approval/grant.ts'
export { type ApproverEntry, keysOf, mayApprove, type Person, withApprover } from './approval/persons.ts'
export { type ApprovalRequest, parseApprovalRequest, type SaltedBody } from './approval/wire.ts'
export type { TsaCrypto } from './anchor/algorithms.ts'
export { type Anchor, ANCHOR_TYPES, anchoredBytes, type AnchorVerdict, MAX_ANCHOR_TEXT, MAX_TOKEN_BYTES, parseAnchor, verifyAnchor } from './anchor/anchor.ts'
export { certificateUse, USAGE } from './anchor/certificate.ts'
export { MAX_DER_BYTES, MAX_DER_DEPTH } from './anchor/der.ts'
export { tsaCryptoFrom } from './anchor/node-tsa.ts'
export { readCertificates } from './anchor/pem.ts'
export { AnchorRefused, type AnchorRefusal } from './anchor/refused.ts'
export { NONCE_BYTES, readTimestampReply, timestampRequest } from './anchor/rfc3161.ts'
export { TIME_KINDS, type TimeKind } from './anchor/time.ts'
export type { TsaTrust } from './anchor/tsa.ts'
export type * from './artifact/artifact.ts'
export { isObservable, OBSERVED_CODES, OBSERVED_TERMS, type ObservedCode } from './artifact/observed.ts'
export { ASSURANCE_LEVELS, MAX_DEPTH_LINEAGE, MAX_SKEW_SECONDS, MAX_START_SECONDS, RISKS } from './artifact/artifact.ts'
export { assuranceOf, type Grounds, highest, type InitiatorForm, initiatorOf, isBelow, isContained, LEAST_ASSURANCE, NO_GROUNDS, shortfall, type ShownGrounds, shownGrounds, supported } from './artifact/assurance.ts'
export { type CarriedState, openCarried, type RedeemedSeals, type Redemption, verifyRedeemedArtifact } from './artifact/redemption.ts'
export { leafDigest, type OpenedSeal, parseSealed, type SealedEntry, verifyExtends } from './artifact/seal.ts'
export {
  type GateState,
  type Governance,
  isVerifiedArtifact,
  type VerifiedArtifact,
  readPermit,
  verifyAncestors,
  verifySealedArtifact,
  verifyState,
  verifyTimeWindow,
} from './artifact/verify.ts'
export {
  type Body, type Bundle, type BundleEntry, type BundleHead, bundleLines, type BundleListener, BundleReader, closeLine, formatBundle, headLine,
  type LinkedCheckpoint, MAX_BUNDLE_LINE, openLine, parseBundle, type PolicyTexts,
} from './bundle/bundle.ts'
export { Numbering } from './bundle/numbering.ts'
export { Proofs, type Proved } from './bundle/proofs.ts'
export type { Finding, Report, ToldTime, Verdict } from './bundle/report.ts'
export { BundleVerifier, type DecisionEntry, type Replay, type Trust, verifyBundle } from './bundle/verify.ts'
export type { Crypto, Sha256, VerifyEd25519 } from './crypto.ts'
export * from './denial.ts'
export * from './digest.ts'
export * from './encoding.ts'
export * from './environment.ts'
export * from './identity.ts'
export { type AssessmentEntry, MEASURE_UNIT, readAssessment, verifyAssessment } from './govern/assessment.ts'
export { type ForeignRef, foreignPerson, foreignSubject, MAX_FOREIGN_ORIGIN, rootDigest } from './federation/reference.ts'
export { type ForeignKind, type ForeignPlane, type ForeignScope, localGroups, MAX_FOREIGN_AGE_SECONDS, MAX_FOREIGN_PLANES, MAX_FOREIGN_SCOPES, type TrustList, trustList } from './federation/trust.ts'
export type { HeldForeignKey } from './federation/agree.ts'
export { aboveForeign, type ForeignEntry, type ForeignPermit, type ForeignState, type ForeignVoucher, foreignParent, isTighter, narrowed, originOf, verifyAddressed, verifyForeign, verifyForeignPermit, verifyForeignVoucher } from './federation/verify.ts'
export { MAX_VOUCHER_SECONDS, type TakenVoucher, vouchedPerson, type VoucherEntry } from './federation/voucher.ts'
export * from './intent.ts'
export { type LifeCycle, lifecycleOf, type ShownStage, type StageState, unadmitted } from './lifecycle/lifecycle.ts'
export { type Stage, STAGE_CHECKS, STAGES } from './lifecycle/stages.ts'
export { type IllegalStep, Standings } from './lifecycle/standings.ts'
export { isEnding, isLegal, LIFE_CYCLE, type Standing } from './lifecycle/table.ts'
export { canonicalize, canonicalText } from './json/canonicalize.ts'
export { actorOf, type PersonEntry, type PersonStanding, verifyActor, withPerson } from './govern/person.ts'
export { isAtLeast, type Role, ROLES } from './govern/role.ts'
export { type Budget, BUDGET_SCOPES, Budgets, type BudgetScope, type Edits, MAX_BUDGET_COUNT, MAX_BUDGET_SECONDS, MAX_BUDGETS } from './govern/budgets.ts'
export { MAX_SELECTOR, parseSelector, type Prohibited, prohibition, type Selectable, selectableOf, SELECTOR_KINDS, type SelectorKind, selectorsOf } from './govern/selector.ts'
export {
  ANY_NAME, type Below, type CommittedDelegation, type DelegatedScope, type Delegation, type DelegationBounds, type DelegationTerms, isBoundedBy, isDelegated, isTermsWithin, MAX_DELEGATED_DEPTH,
  MAX_DELEGATED_SCOPES, MAX_DELEGATED_USES, MAX_DELEGATES, parseDelegation, parseDelegationTerms, termsOf,
} from './lineage/delegation.ts'
export { aboveOf, ancestorsOf, localAncestors, endOfDescent, type ParentRef, parseParentRef, verifyDescent, verifyPlace } from './lineage/lineage.ts'
export { copyPlain } from './json/copy.ts'
export { asCode, Fields, MAX_STRING } from './json/fields.ts'
export { readNumber, writeNumber } from './json/number.ts'
export { type FormedJson, parseFormed, parseStrict, parseStrictText } from './json/parse.ts'
export * from './json/value.ts'
export { type Checkpoint, checkpointText, parseCheckpointText, parseDecimal, verifyCheckpoint } from './log/checkpoint.ts'
export {
  anchorDigest, followKeys, type FollowedKeys, formatLogKey, type GateKeyEntry, keyMembers, keyOf, type KeyRing, keyText, type LogKeyEntry, MAX_KEY_ENTRIES, MAX_LOG_KEYS, parseLogKey, type Placed, type RingKey, verifyByRing,
} from './log/keys.ts'
export { cosignedMessage, type CosignerKey, cosignerKey, formatCosignature, formatCosignerKey, parseCosignerKey, verifyCosignature } from './log/cosignature.ts'
export { MAX_SEEN_DEFINITIONS, MAX_TOOL_DEFINITION, type ToolEntry, toolKey, type ToolStanding, verifyTool, withTool } from './govern/tool.ts'
export type * from './log/entries.ts'
export { ENVIRONMENT_LEVELS, MAX_JWS, MAX_RANGES, MAX_RENEWED } from './log/entries.ts'
export { present } from './json/present.ts'
export { ENTRY_KINDS, ENTRY_VERSION, type Entry, type EntryBody, type EntryHead, type EntryKind, entryText, isTenant, MAX_ENTRY, parseEntry } from './log/entry.ts'
export { Frontier } from './log/frontier.ts'
export { decodeEntries, decodeHashes, encodeEntries, type HashTile, parseTilePath, TILE_WIDTH, type TileName, tilePath, tilesOf, TileStack, widthOf } from './log/tiles.ts'
export { type ForkProof, forkProof, openCheckpoint, parseForkProof, verifyFork } from './log/fork.ts'
export { consistencyRoots, emptyRoot, HASH_BYTES, type InclusionClaim, isPowerOfTwo, leafHash, MAX_PROOF_HASHES, nodeHash, type TreeHead, verifyConsistency, verifyInclusion } from './log/merkle.ts'
export { formatPqKey, formatSignature, formatVerifierKey, isKeyName, MAX_NOTE_SIGNATURES, type Note, type NoteKey, noteKey, parseNote, parseVerifierKey, type PqKey, pqKey, sameKey, verifyNote } from './log/note.ts'
export { formatProof, type LogProof, MAX_PROOF_LENGTH, parseProof } from './log/proof.ts'
export { type Counted, isQuorumMet, MAX_COSIGNATURE_AGE_SECONDS, type QuorumTime, verifyQuorum, WitnessQuorum } from './log/quorum.ts'
export { consistencyProof, inclusionProof, type SubtreeHash, treeRoot } from './log/tree.ts'
export * from './log/witness-policy.ts'
export { type DenialReport, verifyDenialReport } from './receipt/denial-report.ts'
export { attachSignature, openJws, openJwsOf, peekClaims, peekKid, type SignedType, type SigningKey, signingInput, signingKey } from './receipt/jws.ts'
export { OUTCOMES, type Outcome, type Receipt, verifyReceipt } from './receipt/receipt.ts'
export { isStrictEd25519 } from './ed25519.ts'
export { cryptoFrom, type NodeCryptoModule } from './node-crypto.ts'
export { sha256 } from './sha256.ts'
export { type Subtle, verifiedBy } from './web-crypto.ts'
export type { Clock, Rng } from './ports.ts'
export { SingleUse } from './single-use.ts'
export { formatTraceparent, parseTraceparent, type TraceParent } from './traceparent.ts'
export * from './wire.ts'
export * from './wire-permissible.ts'
export * from './wire-redeem.ts'
export { LineReader } from './lines.ts'
