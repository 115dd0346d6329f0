import { Denied } from '../denial.ts'
import type { JsonValue } from '../json/value.ts'
import type { RedemptionEntry } from '../log/entries.ts'
import { type EntryHead, parseEntry } from '../log/entry.ts'
import type { Permit } from './artifact.ts'
import { needed } from './checklist.ts'
import { leafDigest, type OpenedSeal, parseSealed, verifySealCheckpoint, verifySealInclusion } from './seal.ts'
import { type GateState, proveSealed, readPermit, type VerifiedArtifact, verifyActionCommitment, verifyAudience, verifyProved, verifySubject, verifyTimeWindow } from './verify.ts'

export type Redemption = EntryHead & RedemptionEntry

/** What the plane answers to a gate that redeems: two entries under one checkpoint. */
export interface RedeemedSeals {
  /** The sealed redemption. */
  readonly redemption: JsonValue | undefined
  /** The permit that was carried, sealed anew. */
  readonly artifact: JsonValue | undefined
}

/**
 * Verifies that a carried artifact was redeemed for this gate's challenge and authorizes exactly `at.action`, now. The
 * order is that of {@link verifySealedArtifact}; what it adds is the second seal, and that the two agree.
 *
 * @param carried leaf text of the artifact as it was presented to this gate
 * @throws {Denied} the first check that fails, in the order of spec/artifact.md#redemption, with the checks so far
 */
export function verifyRedeemedArtifact(seals: RedeemedSeals, carried: string, at: GateState): VerifiedArtifact {
  return verifyProved((step) => {
    const { seal, checkpoint, isWitnessed, logKey } = proveSealed(seals.redemption, at, step)
    const redemption = step('cryptography', () => readRedemption(seal))
    const second = step('authorization', () => parseSealed(seals.artifact))
    const leafHash = step('cryptography', () => {
      // One checkpoint, verified once: a permit under another one would be of a log that this gate was not shown.
      if (second.proof.checkpoint !== seal.proof.checkpoint) throw new Denied('seal_invalid', 'the two seals lead to different checkpoints')
      return leafDigest(verifySealInclusion(second, checkpoint, at.crypto))
    })
    const permit = step('cryptography', () => readPermit(second.entry, second.proof.index, logKey.name))
    step('authorization', () => verifyAgreement(redemption, permit, leafHash, second.entry === carried))
    return { permit, leafHash, checkpoint, isWitnessed, salt: second.salt, challenge: redemption.challenge }
  }, at)
}

/** What a gate knows before it asks the plane. */
export type CarriedState = Omit<GateState, 'accept' | 'consistency' | 'takeChallenge' | 'governance' | 'measureEnvironment' | 'capabilities' | 'lineage'>

/**
 * Looks at an artifact that an agent carries, before the plane is asked to spend it, so that what cannot run here is not used
 * up: another's, another gate's, one for another action. It proves nothing yet: how its checkpoint stands to the newest one
 * is shown by the plane's answer, which seals it anew, and then everything is verified.
 *
 * @returns the leaf text of the artifact
 * @throws {Denied} the first check that fails; `challenge_mismatch` for an artifact that answers a challenge and cannot be carried
 */
export function openCarried(carried: JsonValue | undefined, at: CarriedState): string {
  const seal = parseSealed(carried)
  const logKey = needed(at.logKey, 'key_unknown', 'log key')
  verifySealInclusion(seal, verifySealCheckpoint(seal, logKey, at), at.crypto)
  const permit = readPermit(seal.entry, seal.proof.index, logKey.name)
  verifyAudience(permit, at)
  if (permit.use !== 'redeem') throw new Denied('challenge_mismatch', 'an artifact that answers a challenge cannot be carried')
  verifyTimeWindow(permit, at.nowSeconds)
  verifySubject(permit, at)
  verifyActionCommitment(permit, seal.salt, at)
  return seal.entry
}

/** @throws {Denied} `artifact_malformed`, `type_mismatch`, `seal_invalid` */
function readRedemption({ entry: text, proof }: OpenedSeal): Redemption {
  const entry = parseEntry(text)
  if (entry.kind !== 'redemption') throw new Denied('type_mismatch', `a ${entry.kind} entry is not a redemption`)
  if (entry.seq !== proof.index) throw new Denied('seal_invalid', 'seq is not the leaf index')
  return entry
}

/** The redemption is of this very permit, which is the one that was carried; where two members could disagree they must be equal. */
function verifyAgreement(redemption: Redemption, permit: Permit, leafHash: string, isCarried: boolean): void {
  if (!isCarried) throw new Denied('seal_invalid', 'another artifact than the one that was presented')
  if (permit.use !== 'redeem') throw new Denied('challenge_mismatch', 'an artifact that answers a challenge cannot be redeemed')
  if (redemption.jti !== permit.jti || redemption.leaf_hash !== leafHash) throw new Denied('seal_invalid', 'the redemption is of another artifact')
  if (redemption.aud !== permit.aud) throw new Denied('audience_mismatch', 'redemption and artifact name different gates')
  if (redemption.tenant !== permit.tenant) throw new Denied('tenant_mismatch', 'redemption and artifact name different tenants')
  if (redemption.exp !== permit.exp) throw new Denied('seal_invalid', 'redemption and artifact end at different times')
  if (redemption.seq <= permit.seq) throw new Denied('seal_invalid', 'the redemption stands before its artifact')
}
