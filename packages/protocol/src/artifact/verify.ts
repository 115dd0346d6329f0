import { type Action, actionDigest, scopeOf } from '../action.ts'
import type { Crypto } from '../crypto.ts'
import { type Check, type Checks, DENIALS, Denied } from '../denial.ts'
import { commitment, type Digest } from '../digest.ts'
import type { ExpectedSubject } from '../identity.ts'
import type { JsonValue } from '../json/value.ts'
import type { ParentRef } from '../lineage/lineage.ts'
import type { Checkpoint } from '../log/checkpoint.ts'
import { parseEntry } from '../log/entry.ts'
import type { KeyRing } from '../log/keys.ts'
import type { NoteKey } from '../log/note.ts'
import type { WitnessQuorum } from '../log/quorum.ts'
import { type AssuranceLevel, MAX_SKEW_SECONDS, MAX_START_SECONDS, type Permit } from './artifact.ts'
import { assuranceOf, type Grounds, initiatorOf, shortfall } from './assurance.ts'
import { Checklist, needed } from './checklist.ts'
import { verifyObserves } from './observed.ts'
import { leafDigest, type OpenedSeal, parseSealed, verifyExtends, verifySealCheckpoint, verifySealInclusion } from './seal.ts'

/** What a gate knows about revocation, kills and policy when it verifies. */
export interface Governance {
  /** Permits under an older policy epoch are void. */
  readonly epochFloor: number | undefined
  /** Whether the state is fresh enough for a permit at leaf index `seq`. */
  isFresh(seq: number): boolean
  isRevoked(permit: Permit): boolean
  isKilled(permit: Permit): boolean
  /** Whether an ancestor was revoked or killed. */
  isAncestorRevoked(permit: Permit): boolean
}

/**
 * Everything that a gate verifies against. A member that is `undefined` is an input that is missing, and a missing
 * input denies: there is no default.
 */
export interface GateState {
  readonly crypto: Crypto
  readonly logKey: NoteKey | KeyRing | undefined
  /** Which cosignatures a checkpoint needs; that none are needed is a policy too, and is said. */
  readonly witnesses: WitnessQuorum | undefined
  readonly tenant: string
  readonly gateId: string
  /** The newest checkpoint this gate has verified; undefined only before its first. */
  readonly newest: Checkpoint | undefined
  /** The note of `newest`, verified before: the same bytes are not verified twice. */
  readonly newestNote: string | undefined
  /** Takes a checkpoint that is signed and extends `newest`, whatever becomes of the artifact. */
  accept(checkpoint: Checkpoint, note: string): void
  /** Consistency proof from `newest` to the checkpoint in the seal. */
  readonly consistency: readonly Uint8Array[]
  /** Removes the challenge in the step that finds it; answers whether it was outstanding for this very request. */
  takeChallenge(challenge: string): boolean
  /** From a clock that never goes back, in seconds. */
  readonly nowSeconds: number
  readonly governance: Governance | undefined
  /** Who asked, as this gate authenticated it. */
  readonly subject: ExpectedSubject | undefined
  /** Measures the environment again and gives its commitment. */
  readonly measureEnvironment: (() => Digest) | undefined
  /** What is about to run. */
  readonly action: Action | undefined
  /** The intent that this gate declared; undefined where it asked for nothing, and the artifact was carried to it. */
  readonly declared?: { readonly intent: string | undefined } | undefined
  /** Obligations that this gate understands and can keep now. */
  readonly capabilities: (obligation: string) => boolean
  /** Whether this gate was started to run also what policy denies, where the plane observes. Absent: it enforces. */
  readonly observes?: true | undefined
  /** Below which permit this gate asked for it; `undefined` as `parent`: below none. What is carried has the parent that it was issued below. */
  readonly lineage: 'as carried' | { readonly parent: ParentRef | undefined } | undefined
}

declare const verified: unique symbol
/** A permit that passed all eight checks. Only {@link verifySealedArtifact} makes one, and only it can be executed. */
export interface VerifiedArtifact {
  readonly [verified]: true
  readonly permit: Permit
  readonly leafHash: Digest
  readonly checkpoint: Checkpoint
  readonly checks: Checks
  /** What an execution reaches that begins now. */
  readonly assurance: AssuranceLevel
}

const issued = new WeakSet<VerifiedArtifact>()
/** Whether `value` came out of {@link verifySealedArtifact}; a cast does not make one. */
export function isVerifiedArtifact(value: VerifiedArtifact): boolean {
  return issued.has(value)
}

/**
 * Verifies that `sealed` authorizes exactly `at.action` at this gate, now.
 *
 * @param sealed `{entry, proof}` as the strict parser gave it
 * @throws {Denied} the first check that fails, in the order of spec/artifact.md#verification, with the checks so far
 */
export function verifySealedArtifact(sealed: JsonValue | undefined, at: GateState): VerifiedArtifact {
  return verifyProved((step) => {
    const { seal, checkpoint, leaf, logKey, isWitnessed } = proveSealed(sealed, at, step)
    const permit = step('cryptography', () => readPermit(seal.entry, seal.proof.index, logKey.name))
    return { permit, leafHash: leafDigest(leaf), checkpoint, isWitnessed, salt: seal.salt, challenge: permit.challenge }
  }, at)
}

/** Runs one step of a check. */
export type Step = <T>(check: Check, run: () => T) => T

/** A permit that is proved to be in the log, and the challenge that came back with it: its own, or its redemption's. */
export interface Proved {
  readonly permit: Permit
  readonly leafHash: Digest
  readonly checkpoint: Checkpoint
  /** Whether a quorum that this gate asks for cosigned the checkpoint. */
  readonly isWitnessed: boolean
  readonly salt: string | undefined
  readonly challenge: string | undefined
}

/**
 * The one order of verification: what `prove` proves to be in the log is held against `at`, check by check.
 * @throws {Denied} the first check that fails, with the checks so far
 */
export function verifyProved(prove: (step: Step) => Proved, at: GateState): VerifiedArtifact {
  const list = new Checklist()
  const step: Step = (check, run) => list.step(check, run)

  const { permit, leafHash, checkpoint, isWitnessed, salt, challenge } = prove(step)
  list.pass('cryptography')
  step('authorization', () => verifyAudience(permit, at))
  step('authorization', () => verifyChallenge(challenge, at))
  list.permit = { jti: permit.jti, leafHash } // ours from here on: a refusal ends it as `not_started`
  step('authorization', () => verifyTimeWindow(permit, at.nowSeconds))
  list.pass('authorization')
  step('identity', () => verifySubject(permit, at))
  list.pass('identity')
  step('policy', () => verifyEpoch(permit, at.governance))
  list.pass('policy')
  step('state', () => verifyState(permit, at.governance))
  list.pass('state')
  step('lineage', () => verifyLineage(permit, at))
  list.pass('lineage')
  step('environment', () => verifyEnvironment(permit, at.measureEnvironment))
  list.pass('environment')
  step('conditions', () => verifyActionCommitment(permit, salt, at))
  step('conditions', () => verifyIntent(permit, at.declared))
  step('conditions', () => verifyObligations(permit, at.capabilities))
  step('conditions', () => verifyObserves(permit, at.observes))
  list.pass('conditions')
  // No gate of this version contains anything, and what begins now nobody has decided again.
  const grounds: Grounds = { initiator: initiatorOf(permit), environment: permit.env.level, isContained: false, isWitnessed, isReplayed: false, isObserved: permit.observed !== undefined }
  verifyAssurance(permit, grounds, step)

  const checks = list.snapshot()
  const artifact = Object.freeze({ permit, leafHash, checkpoint, checks, assurance: assuranceOf(checks, grounds) }) as VerifiedArtifact
  issued.add(artifact)
  return artifact
}

/** Proves that a sealed entry is in the log that this gate always saw, and takes its checkpoint. @throws {Denied} */
export function proveSealed(sealed: JsonValue | undefined, at: GateState, step: Step): { seal: OpenedSeal; checkpoint: Checkpoint; isWitnessed: boolean; leaf: Uint8Array; logKey: NoteKey | KeyRing } {
  const seal = step('authorization', () => parseSealed(sealed))
  const logKey = step('cryptography', () => needed(at.logKey, 'key_unknown', 'log key'))
  const checkpoint = step('cryptography', () => verifySealCheckpoint(seal, logKey, at))
  const isWitnessed = step('cryptography', () => {
    const witnesses = needed(at.witnesses, 'witness_quorum_not_met', 'witness policy')
    witnesses.verify(seal.proof.checkpoint, at.nowSeconds, at.crypto)
    return witnesses.asks
  })
  step('state', () => verifyExtends(at.newest, checkpoint, at.consistency, at.crypto))
  at.accept(checkpoint, seal.proof.checkpoint)
  const leaf = step('cryptography', () => verifySealInclusion(seal, checkpoint, at.crypto))
  return { seal, checkpoint, isWitnessed, leaf, logKey }
}

/** @throws {Denied} `artifact_malformed`, `type_mismatch`, `seal_invalid`, `key_unknown` */
export function readPermit(text: string, index: number, origin: string): Permit {
  const entry = parseEntry(text)
  if (entry.kind !== 'permit') throw new Denied('type_mismatch', `a ${entry.kind} entry is not a permit`)
  if (entry.seq !== index) throw new Denied('seal_invalid', 'seq is not the leaf index')
  if (entry.iss !== origin) throw new Denied('key_unknown', 'issuer is another log')
  return entry
}

export function verifyAudience(permit: Permit, at: Pick<GateState, 'tenant' | 'gateId'>): void {
  if (permit.tenant !== at.tenant) throw new Denied('tenant_mismatch')
  if (permit.aud !== at.gateId) throw new Denied('audience_mismatch')
}

function verifyChallenge(challenge: string | undefined, at: GateState): void {
  if (challenge === undefined || !at.takeChallenge(challenge)) throw new Denied('challenge_mismatch')
}

/**
 * `nbf` ≤ now < `exp`, within the stated skew for the beginning only; the start window has a maximum.
 * @throws {Denied} `lifetime_exceeded`, `artifact_not_yet_valid`, `artifact_expired`
 */
export function verifyTimeWindow(permit: Permit, nowSeconds: number): void {
  if (permit.exp <= permit.nbf || permit.exp - permit.nbf > MAX_START_SECONDS || permit.exp - permit.iat > MAX_START_SECONDS) throw new Denied('lifetime_exceeded')
  if (nowSeconds < permit.nbf - MAX_SKEW_SECONDS) throw new Denied('artifact_not_yet_valid')
  if (nowSeconds >= permit.exp) throw new Denied('artifact_expired')
}

export function verifySubject(permit: Permit, at: Pick<GateState, 'subject'>): void {
  const subject = needed(at.subject, 'identity_missing', 'subject')
  // The principal of another plane is nobody that a gate knows: what such a permit is bound to is the agent's key.
  const isForeign = permit.par?.foreign !== undefined
  if (isForeign && permit.cnf === undefined) throw new Denied('proof_of_possession_failed', 'it is bound to no key')
  if ((!isForeign && permit.sub !== subject.sub) || permit.act.sub !== subject.act) throw new Denied('subject_mismatch')
  // A name that something vouched for when it was issued must be vouched for here too (ATK-049).
  if (subject.verified !== undefined && permit.act.verified !== subject.verified) throw new Denied('subject_mismatch', 'the agent is only who it says it is')
  // The key is the one whose proof was passed on with this very request, and where there was none it is bound to none.
  if (permit.cnf !== subject.cnf) throw new Denied('proof_of_possession_failed', 'bound to another key')
}

function verifyEpoch(permit: Permit, governance: Governance | undefined): void {
  const floor = needed(needed(governance, 'policy_missing', 'governance state').epochFloor, 'policy_missing', 'epoch floor')
  if (permit.policy.epoch < floor) throw new Denied('policy_rollback')
}

/** Revocation, kill and freshness; looked at once more by the gate right before the effect. */
export function verifyState(permit: Permit, governance: Governance | undefined): void {
  const state = needed(governance, 'state_stale', 'governance state')
  if (!state.isFresh(permit.seq)) throw new Denied('state_stale')
  if (state.isRevoked(permit)) throw new Denied('revoked')
  if (state.isKilled(permit)) throw new Denied('killed')
}

/** It descends from what this gate named, and from nothing that was revoked or killed meanwhile. @throws {Denied} `parent_unknown`, `ancestor_revoked` */
function verifyLineage(permit: Permit, { lineage, governance }: Pick<GateState, 'lineage' | 'governance'>): void {
  const asked = needed(lineage, 'parent_unknown', 'what was asked for')
  if (asked !== 'as carried' && (permit.par?.jti !== asked.parent?.jti || permit.par?.leaf_hash !== asked.parent?.leaf_hash)) throw new Denied('parent_unknown', 'another parent than was asked for')
  verifyAncestors(permit, governance)
}

/** What stops an ancestor stops it; looked at once more by the gate right before the effect. @throws {Denied} `ancestor_revoked` */
export function verifyAncestors(permit: Permit, governance: Governance | undefined): void {
  if (permit.depth > 0 && needed(governance, 'ancestor_revoked', 'governance state').isAncestorRevoked(permit)) throw new Denied('ancestor_revoked')
}

function verifyEnvironment(permit: Permit, measure: (() => Digest) | undefined): void {
  const commit = needed(measure, 'environment_unattested', 'environment measurement')()
  if (permit.env.level === 'none') throw new Denied('environment_unattested')
  if (permit.env.commit !== commit) throw new Denied('environment_mismatch')
}

export function verifyActionCommitment(permit: Permit, salt: string | undefined, at: Pick<GateState, 'action' | 'crypto'>): void {
  const action = needed(at.action, 'request_malformed', 'action')
  const known = needed(salt, 'action_mismatch', 'salt')
  const scope = scopeOf(action)
  const { sha256 } = at.crypto
  if (permit.action_commit !== commitment('action', known, actionDigest(action, sha256), sha256)) throw new Denied('action_mismatch')
  if (permit.scope.type !== scope.type || permit.scope.name !== scope.name || permit.scope.target !== scope.target) throw new Denied('action_mismatch')
}

function verifyIntent(permit: Permit, declared: GateState['declared']): void {
  if (declared !== undefined && permit.intent !== declared.intent) throw new Denied('action_mismatch', 'another intent')
}

function verifyObligations(permit: Permit, capable: (obligation: string) => boolean): void {
  for (const obligation of permit.constraints.obligations) if (!capable(obligation)) throw new Denied('obligation_unknown', obligation)
}

/** What falls short of the level that the permit demands fails its own check. @throws {Denied} `identity_missing`, `environment_unattested`, `witness_quorum_not_met`, `evidence_unavailable` */
function verifyAssurance({ assurance: demanded }: Permit, grounds: Grounds, step: Step): void {
  const code = shortfall(demanded, grounds)
  if (code === undefined) return
  step(DENIALS[code].check, () => {
    throw new Denied(code, `it demands assurance ${demanded}`)
  })
}
