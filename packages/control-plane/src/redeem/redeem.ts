import {
  type Action, actionDigest, type Actor, commitment, Denied, type DenialCode, isLegal, leafDigest, leafHash, localAncestors, type OpenedSeal, parseAction, parseSealed, parseStrictText, type Permit, prohibition,
  readPermit, type RedeemReply, type RedeemRequest, toBase64, utf8, verifyTimeWindow,
} from '@sealwrit/protocol'
import type { Committed, Written } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import { endedAbove } from '../log/lineage.ts'
import { show, type Shown } from '../log/shown.ts'
import { isOpen, type LogState, MAX_REDEEMED } from '../log/state.ts'
import { toolRefusal } from '../log/tools.ts'
import type { PlanePorts } from '../ports.ts'

/** The gate that redeems, as the plane authenticated it. */
export interface Redeemer {
  readonly gate: string
  readonly session: string
  /** The local user, who is the principal where nothing else is asserted. */
  readonly sub: string
  /** Verifies who presents the artifact, for exactly this challenge and action. */
  identify(permit: Permit, action: Action): Promise<Presenter>
  /** The policy set in force, and why nothing may run under it here, where that is so. */
  active(): Promise<Ruling>
}

interface Ruling {
  readonly epoch: number
  readonly void?: DenialCode | undefined
}

/** Who presents an artifact, verified. */
export interface Presenter {
  readonly sub: string
  readonly act: Actor
  readonly cnf?: string
  readonly holds: (state: LogState, timeMs: number) => boolean
}

/**
 * Spends a carried artifact for a challenge of the gate that it names: once for ever. Whatever was true when it was issued is
 * looked at again in the turn in which the redemption gets its place. The same gate with the same challenge gets the same
 * redemption again, since its answer may have been lost; any other is too late.
 *
 * INVARIANT: I2, the spent key is durable in the transaction that holds the redemption, before anybody hears of it.
 *
 * @throws {Denied} `artifact_missing`, `artifact_malformed`, `encoding_invalid`, `type_mismatch`, `key_unknown`, `issuance_not_logged`,
 *   `tenant_mismatch`, `audience_mismatch`, `subject_mismatch`, `proof_of_possession_failed`, `artifact_spent`, `artifact_expired`, `artifact_not_yet_valid`, `lifetime_exceeded`,
 *   `identity_unknown`, `identity_invalid`, `revoked`, `killed`, `ancestor_revoked`, `policy_superseded`, `policy_missing`, `policy_stale`, `environment_mismatch`, `tool_not_pinned`, `tool_changed`,
 *   `action_mismatch`, `overloaded`, `evidence_unavailable`
 */
export async function redeem(request: RedeemRequest, redeemer: Redeemer, log: Sequencer, ports: PlanePorts, shown: Shown): Promise<RedeemReply> {
  const seal = parseSealed(request.artifact)
  const permit = readCarried(seal, redeemer.gate, log)
  const leaf = leafDigest(leafHash(utf8(seal.entry), ports.crypto.sha256))
  const issued = await issuedEntry(seal, log)
  const action = await committedAction(permit, seal.salt, ports)
  const holds = await verifyPresenter(permit, action, request, redeemer)
  if (permit.policy.epoch > log.state.epoch) await log.latest() // another plane of this log may have activated the set that it rests on
  const active = await redeemer.active()
  const redemption = await log.submit((state, _seq, timeMs) => {
    if (!holds(state, timeMs)) throw new Denied('proof_of_possession_failed', 'the key was removed or the token ended meanwhile')
    return spend(permit, leaf, action, request.challenge, redeemer, active, state, timeMs)
  })
  return reply(redemption, issued, seal.salt, log, shown)
}

/** What can be said of the artifact by itself. A pull artifact answers a challenge already, so it is as good as spent. */
function readCarried(seal: OpenedSeal, gate: string, log: Sequencer): Permit {
  const permit = readPermit(seal.entry, seal.proof.index, log.origin)
  if (permit.use !== 'redeem') throw new Denied('artifact_spent', 'it answers a challenge and cannot be redeemed')
  if (permit.tenant !== log.tenant) throw new Denied('tenant_mismatch')
  if (permit.aud !== gate) throw new Denied('audience_mismatch')
  return permit
}

/** The leaf itself decides, read back from the store; the proof that was carried is not looked at. */
async function issuedEntry(seal: OpenedSeal, log: Sequencer): Promise<Committed> {
  const [issued] = await log.readRun(seal.proof.index, 1)
  if (issued === undefined || issued.text !== seal.entry) throw new Denied('issuance_not_logged')
  return issued
}

/**
 * What the permit commits to, from the plane's own record. The salt must be the carried one: it is what a reader of the log
 * alone does not have.
 */
async function committedAction(permit: Permit, salt: string | undefined, { store, crypto }: PlanePorts): Promise<Action> {
  const text = (await store.bodies(permit.seq)).find(({ purpose }) => purpose === 'action')?.text
  if (text === undefined) throw new Denied('evidence_unavailable', 'the action of this artifact is not kept any more')
  const action = parseAction(parseStrictText(text))
  if (salt === undefined || commitment('action', salt, actionDigest(action, crypto.sha256), crypto.sha256) !== permit.action_commit) throw new Denied('action_mismatch', 'another salt')
  return action
}

/**
 * An artifact that is bound to a key, or issued to somebody else than the local user, is for who proves to be that one (ATK-049).
 * @throws {Denied} `proof_of_possession_failed`, `subject_mismatch`, `unavailable`
 */
async function verifyPresenter(permit: Permit, action: Action, { identity }: RedeemRequest, redeemer: Redeemer): Promise<Presenter['holds']> {
  if (identity === undefined) {
    if (permit.cnf !== undefined) throw new Denied('proof_of_possession_failed', 'it is bound to a key, and nothing was proved')
    if (permit.sub !== redeemer.sub) throw new Denied('subject_mismatch', 'it was issued to somebody else')
    return () => true
  }
  const { sub, act, cnf, holds } = await redeemer.identify(permit, action).catch((error: unknown) => {
    throw error instanceof Denied && error.code !== 'unavailable' ? new Denied('proof_of_possession_failed', error.message) : error
  })
  if (sub !== permit.sub || act.sub !== permit.act.sub || act.verified !== permit.act.verified) throw new Denied('subject_mismatch', 'it was issued to somebody else')
  if (cnf !== permit.cnf) throw new Denied('proof_of_possession_failed', 'it is bound to another key')
  return holds
}

function spend(permit: Permit, leaf: string, action: Action, challenge: string, redeemer: Redeemer, active: Ruling, state: LogState, timeMs: number): Written | { readonly repeat: number } {
  const { jti, aud, exp } = permit
  const gate = state.gates.get(aud)
  if (gate === undefined) throw new Denied('identity_unknown')
  if (!isOpen(gate, redeemer.session, timeMs)) throw new Denied('identity_invalid', 'the session has ended, or a newer one of this gate is open')
  const before = state.redemptionOf(jti)
  if (before !== undefined) {
    if (before.challenge !== challenge || before.aud !== redeemer.gate) throw new Denied('artifact_spent', `redeemed at index ${before.seq}`)
    return { repeat: before.seq }
  }
  verifyTimeWindow(permit, Math.floor(timeMs / 1_000))
  if (!isLegal(state.open.get(jti)?.standing ?? 'expired', 'admitted')) throw new Denied('artifact_spent', 'the permit has its ending')
  const forbidden = prohibition(permit, state)
  if (forbidden !== undefined) throw new Denied(forbidden)
  const ended = endedAbove(localAncestors(permit), state, timeMs)
  if (ended !== undefined) throw new Denied(ended, 'its parent is over, or void')
  if (permit.seq < state.voidBefore) throw new Denied('revoked', 'it was issued before the log was re-anchored')
  if (permit.policy.epoch !== state.epoch || active.epoch !== state.epoch) throw new Denied('policy_superseded')
  // It may have been issued by another plane of this log, which is held to less.
  if (active.void !== undefined) throw new Denied(active.void)
  if (gate.env === undefined || gate.env.commit !== permit.env.commit || gate.env.level !== permit.env.level) throw new Denied('environment_mismatch')
  const refusal = toolRefusal(action, state)
  if (refusal !== undefined) throw new Denied(refusal)
  if (state.redeemedCount >= MAX_REDEEMED) throw new Denied('overloaded', 'too many redemptions are remembered')
  return { body: { kind: 'redemption', jti, leaf_hash: leaf, aud, challenge, exp }, bodies: [], spends: `jti ${jti}` }
}

/** Both entries under one checkpoint, so that the gate verifies one signature and one step of the log. */
function reply(redemption: Committed, issued: Committed, salt: string | undefined, log: Sequencer, shown: Shown): Promise<RedeemReply> {
  return log.sealed(Math.max(redemption.seq, issued.seq) + 1, (head): RedeemReply => {
    // In one turn: what is shown on a connection leaves in the order in which each extends the one before.
    const sealed = { redemption: log.seal(redemption, head), artifact: log.seal(issued, head, salt) }
    const consistency = log.extends(shown.size, head).map(toBase64)
    return show(shown, head.size, { ...sealed, consistency })
  })
}
