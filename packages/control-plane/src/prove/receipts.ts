import { type Crypto, Denied, type DenialRequest, fromBase64Url, isBelow, isLegal, type ReceiptRequest, type SigningKey, signingKey, supported, verifyDenialReport, verifyReceipt } from '@sealwrit/protocol'
import { type LogState, refuseRevoked } from '../log/state.ts'
import type { Committed, Written } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'

/**
 * Logs a gate's receipt: signed by the key that the gate enrolled with, about a permit that is open and was issued to it.
 * @throws {Denied} what the receipt fails; `artifact_spent` when the permit has its ending already
 */
export async function recordReceipt(request: ReceiptRequest, gate: string, log: Sequencer, crypto: Crypto): Promise<Committed> {
  const receipt = verifyReceipt(request.receipt, gateKey(gate, log.state, crypto), crypto)
  if (receipt.gate !== gate || receipt.session !== request.session || receipt.tenant !== log.tenant) throw new Denied('subject_mismatch')
  const committed = await log.submit((state) => {
    refuseRevoked(gate, state)
    const known = state.receiptOf(receipt.jti)
    if (known !== undefined && !state.indeterminate.has(receipt.jti)) return { repeat: known }
    const open = state.open.get(receipt.jti)
    const late = state.indeterminate.get(receipt.jti)
    const permit = open ?? late?.permit
    if (permit === undefined) throw new Denied('artifact_spent', 'the permit has its ending, or is not known')
    if (permit.aud !== gate) throw new Denied('audience_mismatch')
    if (!isLegal(permit.standing, receipt.outcome)) throw new Denied('challenge_mismatch', 'a carried permit that was never redeemed cannot have started')
    if (permit.leafHash !== receipt.leaf_hash) throw new Denied('seal_invalid', 'the receipt is about another entry')
    const number = state.numbers.refusal(receipt.session, receipt.sequence)
    if (number !== undefined) throw new Denied(number, 'the number of the receipt was used before in its session, or leaves too many out')
    // Evidence that no verifier could believe is not taken; that less was reached than was demanded is.
    if (isBelow(supported(receipt, permit.grounds), receipt.assurance)) throw new Denied('artifact_malformed', 'the receipt states more assurance than its permit and checks support')
    const body = { kind: 'receipt', jti: receipt.jti, receipt: request.receipt, ...(open === undefined && late !== undefined ? { resolves: late.seq } : {}) } as const
    const { result } = request
    if (result === undefined || receipt.result_commit === undefined) return { body, bodies: [] }
    return { body, bodies: [{ purpose: 'result', commit: receipt.result_commit, salt: result.salt, digest: result.digest, text: undefined }] }
  })
  // One that is sent again, because its answer was lost, is answered as before; any other comes too late.
  if (committed.entry.kind !== 'receipt' || committed.entry.receipt !== request.receipt) throw new Denied('artifact_spent', 'the permit has its ending')
  return committed
}

/** Logs what a gate refused by itself, with its own signed account. @throws {Denied} what the report fails */
export async function recordDenial(request: DenialRequest, gate: string, log: Sequencer, crypto: Crypto): Promise<Committed> {
  const report = verifyDenialReport(request.denial, gateKey(gate, log.state, crypto), crypto)
  if (report.gate !== gate || report.session !== request.session || report.tenant !== log.tenant) throw new Denied('subject_mismatch')
  const committed = await log.submit((state): Written => {
    refuseRevoked(gate, state)
    const { code, scope } = report
    return { body: { kind: 'deny', code, aud: gate, denial: request.denial, ...(scope === undefined ? {} : { scope }) }, bodies: [] }
  })
  const { lost } = request
  if (lost !== undefined && lost > 0) await log.submit((): Written => ({ body: { kind: 'gate', gate, event: 'denials_lost', count: lost }, bodies: [] }))
  return committed
}

function gateKey(gate: string, state: LogState, crypto: Crypto): SigningKey {
  const known = state.gates.get(gate)
  if (known === undefined) throw new Denied('identity_unknown')
  return signingKey(fromBase64Url(known.key), crypto.sha256)
}
