import type { Action } from '../action.ts'
import { type Artifact, MAX_DEPTH_LINEAGE, MAX_SKEW_SECONDS, type Permit } from '../artifact/artifact.ts'
import { highest, isBelow } from '../artifact/assurance.ts'
import { leafDigest, type OpenedSeal, parseSealed, verifyExtends, verifySealInclusion } from '../artifact/seal.ts'
import { readPermit, verifyActionCommitment, verifyTimeWindow } from '../artifact/verify.ts'
import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { utf8 } from '../encoding.ts'
import type { JsonValue } from '../json/value.ts'
import { ancestorsOf, type ParentRef } from '../lineage/lineage.ts'
import { type Checkpoint, verifyCheckpoint } from '../log/checkpoint.ts'
import { type EntryHead, parseEntry } from '../log/entry.ts'
import { leafHash, type TreeHead } from '../log/merkle.ts'
import { formatProof } from '../log/proof.ts'
import { verifyQuorum } from '../log/quorum.ts'
import { parseShownEntry } from '../wire.ts'
import { type ForeignKind, type ForeignPlane, mayDelegate, type TrustList } from './trust.ts'
import { MAX_VOUCHER_SECONDS, type VoucherEntry } from './voucher.ts'

/** What something of another plane is verified against. */
export interface ForeignState {
  readonly crypto: Crypto
  /** Origin of the log of this plane: what is for it names it. */
  readonly origin: string
  readonly trusted: TrustList
  /** The newest checkpoint of that log that anything was taken under here. */
  readonly newest: (origin: string) => TreeHead | undefined
  readonly nowSeconds: number
}

declare const foreign: unique symbol
/** An entry of another plane's log that is trusted now. Only {@link verifyForeignPermit} and {@link verifyForeignVoucher} make one. */
export interface ForeignEntry<T> {
  readonly [foreign]: true
  readonly entry: T
  readonly plane: ForeignPlane
  readonly checkpoint: Checkpoint
  readonly leafHash: Digest
  /** What was known of its log when it was verified. */
  readonly known: TreeHead | undefined
  /** The last second at which every cosignature that counted still does. */
  readonly freshUntilSeconds: number
  /** Salt of the action commitment. */
  readonly salt: string | undefined
  /** As it was shown, without the proof from what was known before. */
  readonly sealed: { readonly entry: string; readonly proof: string }
}
export type ForeignPermit = ForeignEntry<Permit>
export type ForeignVoucher = ForeignEntry<EntryHead & VoucherEntry>

/**
 * Verifies that a permit of another plane may be the parent of a request for exactly `action` here, now.
 *
 * @param shown `{sealed, consistency}` as the strict parser gave it
 * @throws {Denied} the first check that fails, in the order of spec/federation.md#verification
 */
export function verifyForeignPermit(shown: JsonValue, action: Action, at: ForeignState): ForeignPermit {
  const opened = open(shown, 'artifacts', at)
  const { seal, plane } = opened
  const permit = readPermit(seal.entry, seal.proof.index, plane.key.name)
  verifyAddressed(permit, plane, at.origin)
  if (permit.use !== 'redeem') throw new Denied('artifact_spent', 'it answers a challenge and cannot be carried')
  verifyTimeWindow(permit, at.nowSeconds)
  // Whoever holds its bytes does not yet hold its key: nobody here could be authenticated as the principal of another plane.
  if (permit.cnf === undefined) throw new Denied('proof_of_possession_failed', 'it is bound to no key')
  if (permit.depth >= MAX_DEPTH_LINEAGE) throw new Denied('lineage_depth')
  verifyActionCommitment(permit, seal.salt, { action, crypto: at.crypto })
  if (!mayDelegate(plane, permit.scope)) throw new Denied('delegation_widens', 'nothing of this scope may be delegated from there')
  return branded(permit, opened)
}

/**
 * Verifies that another plane says of a person, for this plane and now, that they are one of its approvers.
 * @throws {Denied} the first check that fails, in the order of spec/federation.md#verification
 */
export function verifyForeignVoucher(shown: JsonValue, at: ForeignState): ForeignVoucher {
  const opened = open(shown, 'approvals', at)
  const voucher = readVoucherEntry(opened.seal)
  verifyAddressed(voucher, opened.plane, at.origin)
  verifyVoucherTime(voucher, at.nowSeconds)
  return branded(voucher, opened)
}

/**
 * Verifies whatever it is that another plane shows as far as it is the same for everything: that a log that is trusted holds it, under a fresh checkpoint.
 * @throws {Denied} the first check that fails, in the order of spec/federation.md#verification
 */
export function verifyForeign(shown: JsonValue, at: Pick<ForeignState, 'crypto' | 'trusted' | 'nowSeconds'>): Omit<Opened, 'seal'> {
  return open(shown, undefined, { ...at, newest: () => undefined })
}

interface Opened extends Omit<ForeignEntry<unknown>, typeof foreign | 'entry' | 'sealed' | 'salt'> {
  readonly seal: OpenedSeal
}

/** The part that is the same for everything: a sealed entry of a log that is trusted, under a fresh checkpoint that leads on from the newest. */
function open(shown: JsonValue, kind: ForeignKind | undefined, at: Omit<ForeignState, 'origin'>): Opened {
  const { sealed, consistency } = parseShownEntry(shown)
  const seal = parseSealed(sealed)
  const plane = trustedFor(originOf(seal), kind, at.trusted)
  const checkpoint = verifyCheckpoint(seal.proof.checkpoint, plane.key, at.crypto)
  const counted = verifyQuorum(seal.proof.checkpoint, plane.witnesses, { nowSeconds: at.nowSeconds, maxAgeSeconds: plane.maxAgeSeconds }, at.crypto)
  const known = at.newest(plane.key.name)
  verifyExtends(known, checkpoint, consistency, at.crypto)
  const leafHash = leafDigest(verifySealInclusion(seal, checkpoint, at.crypto))
  return { seal, plane, checkpoint, leafHash, known, freshUntilSeconds: Math.min(...counted.map(({ time }) => time)) + plane.maxAgeSeconds }
}

/** It is of the tenant that its log is of, and for this plane. @throws {Denied} `tenant_mismatch`, `audience_mismatch` */
export function verifyAddressed({ tenant, aud }: { readonly tenant: string; readonly aud: string }, { key }: Pick<ForeignPlane, 'key'>, origin: string): void {
  if (!key.name.endsWith(`/${tenant}`)) throw new Denied('tenant_mismatch')
  if (aud !== origin) throw new Denied('audience_mismatch', 'it is not for this plane')
}

/** The log that a seal claims to be of; whether it is, its key says. */
export function originOf({ proof }: OpenedSeal): string {
  return proof.checkpoint.slice(0, proof.checkpoint.indexOf('\n'))
}

/** @throws {Denied} `key_unknown` */
export function trustedFor(origin: string, kind: ForeignKind | undefined, trusted: TrustList): ForeignPlane {
  const plane = trusted.get(origin)
  if (plane === undefined) throw new Denied('key_unknown', 'no plane of this origin is trusted')
  if (kind !== undefined && !plane.accepts.includes(kind)) throw new Denied('key_unknown', `no ${kind} of this plane are taken`)
  return plane
}

/** @throws {Denied} `artifact_malformed`, `type_mismatch`, `seal_invalid` */
export function readVoucherEntry({ entry: text, proof }: OpenedSeal): EntryHead & VoucherEntry {
  const entry = parseEntry(text)
  if (entry.kind !== 'voucher') throw new Denied('type_mismatch', `a ${entry.kind} entry is not a voucher`)
  if (entry.seq !== proof.index) throw new Denied('seal_invalid', 'seq is not the leaf index')
  return entry
}

/** @throws {Denied} `lifetime_exceeded`, `artifact_not_yet_valid`, `artifact_expired` */
function verifyVoucherTime({ time, exp }: EntryHead & VoucherEntry, nowSeconds: number): void {
  const from = Math.floor(time / 1_000)
  if (exp <= from || exp - from > MAX_VOUCHER_SECONDS) throw new Denied('lifetime_exceeded', `a voucher is good for at most ${MAX_VOUCHER_SECONDS} s`)
  if (nowSeconds < from - MAX_SKEW_SECONDS) throw new Denied('artifact_not_yet_valid')
  if (nowSeconds >= exp) throw new Denied('artifact_expired', 'ask for a new voucher')
}

/** The seal has one spelling, so that this is what was shown. */
function branded<T>(entry: T, { seal, ...opened }: Opened): ForeignEntry<T> {
  const sealed = Object.freeze({ entry: seal.entry, proof: formatProof(seal.proof) })
  return Object.freeze({ ...opened, entry, salt: seal.salt, sealed }) as unknown as ForeignEntry<T>
}

/** The permit that is shown, as one that descends from it names it; nothing of it is verified. @throws {Denied} its form, `type_mismatch` */
export function foreignParent(shown: JsonValue, sha256: Crypto['sha256']): ParentRef {
  const { entry: text } = parseSealed(parseShownEntry(shown).sealed)
  const entry = parseEntry(text)
  if (entry.kind !== 'permit') throw new Denied('type_mismatch', `a ${entry.kind} entry is not a permit`)
  return { jti: entry.jti, leaf_hash: leafDigest(leafHash(utf8(text), sha256)) }
}

/** What stops a permit that descends from one of another plane beside its own selectors: that one by its id, and its ancestors. */
export function aboveForeign(parent: Permit): readonly string[] {
  return [...ancestorsOf(parent), parent.jti].map((jti) => `artifact:${jti}`).sort()
}

type Bounds = Pick<Artifact, 'nbf' | 'exp' | 'constraints' | 'assurance'>

/** The permit that is wanted, with whatever would be wider than its parent's in its place. */
export function narrowed<T extends Bounds>(wanted: T, parent: Bounds): T {
  const { lease_seconds: lease, max_runtime_seconds: runtime, obligations } = parent.constraints
  const own = wanted.constraints
  return {
    ...wanted,
    nbf: Math.max(wanted.nbf, parent.nbf),
    exp: Math.min(wanted.exp, parent.exp),
    assurance: highest([wanted.assurance, parent.assurance]),
    constraints: {
      ...own,
      lease_seconds: Math.min(own.lease_seconds, lease),
      max_runtime_seconds: Math.min(own.max_runtime_seconds, runtime),
      obligations: [...new Set([...own.obligations, ...obligations])],
    },
  }
}

/** Whether `own` begins, ends, runs and is bound as `parent` is, or more narrowly. */
export function isNarrower(own: Bounds, parent: Bounds): boolean {
  if (isBelow(own.assurance, parent.assurance)) return false
  const [mine, theirs] = [own.constraints, parent.constraints]
  return own.nbf >= parent.nbf && own.exp <= parent.exp && isTighter(mine, theirs)
}

/** Whether an execution under `own` is bound as one under `other` is, or more. */
export function isTighter(own: Artifact['constraints'], other: Artifact['constraints']): boolean {
  return own.lease_seconds <= other.lease_seconds && own.max_runtime_seconds <= other.max_runtime_seconds && other.obligations.every((one) => own.obligations.includes(one))
}
