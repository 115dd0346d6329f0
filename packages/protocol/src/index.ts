export * from './action.ts'
export type * from './artifact/artifact.ts'
export { ASSURANCE_LEVELS, MAX_DEPTH_LINEAGE, MAX_SKEW_SECONDS, MAX_START_SECONDS, RISKS } from './artifact/artifact.ts'
export { leafDigest, parseSealed, type SealedEntry, verifyExtends } from './artifact/seal.ts'
export {
  type GateState,
  type Governance,
  isVerifiedArtifact,
  type VerifiedArtifact,
  verifySealedArtifact,
  verifyState,
} from './artifact/verify.ts'
export {
  type Body, type Bundle, type BundleEntry, type BundleHead, bundleLines, type BundleListener, BundleReader, closeLine, formatBundle, headLine,
  type LinkedCheckpoint, MAX_BUNDLE_LINE, openLine, parseBundle, type PolicyTexts,
} from './bundle/bundle.ts'
export { Numbering } from './bundle/numbering.ts'
export type { Finding, Report, Verdict } from './bundle/report.ts'
export { BundleVerifier, type DecisionEntry, type Replay, type Trust, verifyBundle } from './bundle/verify.ts'
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
export { ENVIRONMENT_LEVELS, MAX_JWS, MAX_RANGES, present } from './log/entries.ts'
export { ENTRY_KINDS, ENTRY_VERSION, type Entry, type EntryBody, type EntryHead, type EntryKind, entryText, isTenant, MAX_ENTRY, parseEntry } from './log/entry.ts'
export { Frontier } from './log/frontier.ts'
export { decodeEntries, decodeHashes, encodeEntries, type HashTile, parseTilePath, TILE_WIDTH, type TileName, tilePath, tilesOf, TileStack, widthOf } from './log/tiles.ts'
export { emptyRoot, HASH_BYTES, type InclusionClaim, leafHash, nodeHash, type TreeHead, verifyConsistency, verifyInclusion } from './log/merkle.ts'
export { formatSignature, formatVerifierKey, type Note, type NoteKey, noteKey, parseNote, parseVerifierKey, verifyNote } from './log/note.ts'
export { formatProof, type LogProof, MAX_PROOF_LENGTH, parseProof } from './log/proof.ts'
export { consistencyProof, inclusionProof, type SubtreeHash, treeRoot } from './log/tree.ts'
export { type DenialReport, verifyDenialReport } from './receipt/denial-report.ts'
export { attachSignature, openJws, type SignedType, type SigningKey, signingInput, signingKey } from './receipt/jws.ts'
export { OUTCOMES, type Outcome, type Receipt, verifyReceipt } from './receipt/receipt.ts'
export { cryptoFrom, type NodeCryptoModule } from './node-crypto.ts'
export type { Clock, Rng } from './ports.ts'
export { formatTraceparent, parseTraceparent, type TraceParent } from './traceparent.ts'
export * from './wire.ts'
export { LineReader } from './lines.ts'
