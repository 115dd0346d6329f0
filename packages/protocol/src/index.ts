export * from './action.ts'
export type * from './artifact/artifact.ts'
export { ASSURANCE_LEVELS, MAX_DEPTH_LINEAGE, MAX_SKEW_SECONDS, MAX_START_SECONDS, RISKS } from './artifact/artifact.ts'
export { type CarriedState, openCarried, type RedeemedSeals, type Redemption, verifyRedeemedArtifact } from './artifact/redemption.ts'
export { leafDigest, type OpenedSeal, parseSealed, type SealedEntry, verifyExtends } from './artifact/seal.ts'
export {
  type GateState,
  type Governance,
  isVerifiedArtifact,
  type VerifiedArtifact,
  readPermit,
  verifySealedArtifact,
  verifyState,
  verifyTimeWindow,
} from './artifact/verify.ts'
export { type Body, type Bundle, MAX_BUNDLE_BYTES, parseBundle } from './bundle/bundle.ts'
export type { Finding, Report, Verdict } from './bundle/report.ts'
export { type Trust, verifyBundle } from './bundle/verify.ts'
export type { Crypto, Sha256, VerifyEd25519 } from './crypto.ts'
export * from './denial.ts'
export * from './digest.ts'
export * from './encoding.ts'
export { canonicalize, canonicalText } from './json/canonicalize.ts'
export { copyPlain } from './json/copy.ts'
export { asCode, Fields } from './json/fields.ts'
export { readNumber, writeNumber } from './json/number.ts'
export { parseStrict, parseStrictText } from './json/parse.ts'
export * from './json/value.ts'
export { type Checkpoint, checkpointText, verifyCheckpoint } from './log/checkpoint.ts'
export type * from './log/entries.ts'
export { ENVIRONMENT_LEVELS, MAX_JWS, present } from './log/entries.ts'
export { ENTRY_KINDS, ENTRY_VERSION, type Entry, type EntryBody, type EntryHead, type EntryKind, entryText, isTenant, MAX_ENTRY, parseEntry } from './log/entry.ts'
export { emptyRoot, HASH_BYTES, type InclusionClaim, leafHash, nodeHash, type TreeHead, verifyConsistency, verifyInclusion } from './log/merkle.ts'
export { formatSignature, formatVerifierKey, type Note, type NoteKey, noteKey, parseNote, parseVerifierKey, verifyNote } from './log/note.ts'
export { formatProof, type LogProof, parseProof } from './log/proof.ts'
export { consistencyProof, inclusionProof, type SubtreeHash, treeRoot } from './log/tree.ts'
export { type DenialReport, verifyDenialReport } from './receipt/denial-report.ts'
export { attachSignature, openJws, type SignedType, type SigningKey, signingInput, signingKey } from './receipt/jws.ts'
export { OUTCOMES, type Outcome, type Receipt, verifyReceipt } from './receipt/receipt.ts'
export { cryptoFrom, type NodeCryptoModule } from './node-crypto.ts'
export type { Clock, Rng } from './ports.ts'
export * from './wire.ts'
export * from './wire-redeem.ts'
export { LineReader } from './lines.ts'
