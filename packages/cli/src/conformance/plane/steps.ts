import { nodeCryptography } from '@sealwrit/gate'
import { canonicalText, isObject, type JsonObject, type JsonValue, leafDigest, leafHash, parseEntry, utf8 } from '@sealwrit/protocol'
import { memberText } from '../../output.ts'
import { pause } from '../pause.ts'
import { RUNS } from '../rules.ts'
import { type Given, token } from './actor.ts'
import type { PlaneSide, Sealed } from './side.ts'
import type { Reply } from './wire.ts'

/** `runs`, the code that it was refused with, or what else came. */
export type Outcome = string

export function outcomeOf(reply: Reply): Outcome {
  if ('refused' in reply) return reply.refused === '' ? 'no answer with a code' : reply.refused
  const { decision, code } = reply.result
  if (decision === 'deny') return memberText(code)
  return decision === 'hold' ? 'approval_required' : RUNS
}

/** What takes more than one request. */
export const PLANE_STEPS: Readonly<Record<string, (side: PlaneSide) => Promise<Outcome>>> = {
  control: async (side) => {
    await side.permit()
    return RUNS
  },
  /** The same request under the same challenge gets the same answer. */
  'same again': async (side) => {
    const params = (await side.request('authorize', 'gate')).params
    const [first, second] = [await side.must('gate', 'authorize', params), await side.must('gate', 'authorize', params)]
    return entryIn(first) !== undefined && entryIn(first) === entryIn(second) ? RUNS : 'another answer'
  },
  'challenge again': async (side) => {
    const { params } = await side.request('authorize', 'gate')
    await side.must('gate', 'authorize', params)
    return outcomeOf(await side.ask('gate', 'authorize', { ...params, action: { ...(params['action'] as JsonObject), name: 'something_else' } }))
  },
  'challenge again with other facts': async (side) => {
    const { params } = await side.request('authorize', 'gate')
    await side.must('gate', 'authorize', params)
    return outcomeOf(await side.ask('gate', 'authorize', { ...params, facts: { paths: 'outside' } }))
  },
  'challenge again for another agent': async (side) => {
    const { params } = await side.request('authorize', 'gate')
    await side.must('gate', 'authorize', params)
    return outcomeOf(await side.ask('gate', 'authorize', { ...params, agent: { name: side.agentName, verified: false } }))
  },
  redeemed: async (side) => redeem(side, await side.issue()),
  'redeemed twice': async (side) => {
    const artifact = await side.issue()
    const first = await redeem(side, artifact)
    return first === RUNS ? redeem(side, artifact) : first
  },
  'redeemed again for the same challenge': async (side) => {
    const artifact = await side.issue()
    const params = { session: side.gate.session, artifact: artifact.sealed, challenge: token() }
    const [first, second] = [await side.must('gate', 'redeem', params), await side.must('gate', 'redeem', params)]
    await ended(side, artifact)
    return entryIn(first, 'redemption') === entryIn(second, 'redemption') ? RUNS : 'another redemption'
  },
  'redeemed by another gate': async (side) => outcomeOf(await side.ask('other gate', 'redeem', { session: side.other.session, artifact: (await side.issue()).sealed, challenge: token() })),
  'redeemed when it is over': async (side) => {
    const artifact = await side.issue({ seconds: 1 })
    await pause(2_100)
    return redeem(side, artifact)
  },
  'redeemed with a challenge of its own': async (side) => redeem(side, await side.permit()),
  'redeemed after a revocation': (side) => afterStop(side, 'revoke'),
  'redeemed after a kill': (side) => afterStop(side, 'kill'),
  'below a revoked one': async (side) => {
    const parent = await side.permit({ delegates: delegates(side, side.control.action.name) })
    await side.must('asker', 'revoke', { selector: `artifact:${parent.jti}` })
    return below(side, parent)
  },
  'below one that delegates': async (side) => below(side, await side.permit({ delegates: delegates(side, side.control.action.name) })),
  'below one that delegates nothing': async (side) => below(side, await side.permit()),
  'below one that delegates something else': async (side) => below(side, await side.permit({ delegates: delegates(side, 'something_else') })),
  'below a denied one': async (side) => {
    const { params } = await side.request('authorize', 'gate')
    const { seq } = await side.must('gate', 'authorize', { ...params, agent: { name: side.agentName, verified: false } })
    if (typeof seq !== 'number') return RUNS // what no policy permits was not denied
    const { entries } = await side.must('asker', 'executions', { id: String(seq) })
    const denied = (entries as readonly JsonValue[]).find((entry) => isObject(entry) && entry['seq'] === seq)
    return isObject(denied) ? below(side, { jti: memberText(denied['jti']), leaf: leafDigest(leafHash(utf8(canonicalText(denied)), nodeCryptography.sha256)) }) : 'the denial is not shown'
  },
  'below another leaf': async (side) => below(side, { ...(await side.permit({ delegates: delegates(side, side.control.action.name) })), leaf: `sha256:${'0'.repeat(64)}` }),
  'below one that is over': async (side) => {
    const parent = await side.permit({ delegates: delegates(side, side.control.action.name) })
    await side.settle()
    return below(side, parent)
  },
  renewed: async (side) => ((await renewed(side, 'gate', await side.permit())) ? RUNS : 'it was left out'),
  'renewed by another gate': async (side) => ((await renewed(side, 'other gate', await side.permit())) ? 'it was renewed' : RUNS),
  'renewed after a kill': async (side) => {
    const permit = await side.permit()
    await side.must('asker', 'kill', { selector: `artifact:${permit.jti}` })
    return (await renewed(side, 'gate', permit)) ? 'it was renewed' : RUNS
  },
  'renewed when it is over': async (side) => {
    const permit = await side.permit()
    await side.settle()
    return (await renewed(side, 'gate', permit)) ? 'it was renewed' : RUNS
  },
  /** A newer session of the same gate fences the older. */
  'session before': async (side) => {
    const { params } = await side.request('authorize', 'gate')
    side.gate.renew()
    await side.open('gate')
    return outcomeOf(await side.ask('gate', 'authorize', params))
  },
  'nonce again': async (side) => {
    const { params, jws } = await side.request('gates.enrol', 'gate')
    if (jws === undefined) return 'nothing to sign'
    const made = { ...params, proof: jws.by.sign(jws.typ, jws.claims) }
    await side.must('gate', 'gates.enrol', made)
    return outcomeOf(await side.ask('gate', 'gates.enrol', made))
  },
  /** The other gate signs, truly, for what was permitted to this one. */
  'receipt of another gate': async (side) => {
    const reply = await side.ask('other gate', 'receipts', { session: side.other.session, receipt: side.other.sign('execution-receipt+jwt', side.other.receiptClaims(await side.permit(), side.tenant)) })
    side.other.receiptRefused()
    return outcomeOf(reply)
  },
  'number again': async (side) => {
    const first = side.gate.receiptClaims(await side.permit(), side.tenant)
    await side.must('gate', 'receipts', { session: side.gate.session, receipt: side.gate.sign('execution-receipt+jwt', first) })
    side.ended.add(String(first['jti']))
    const again = { ...side.gate.receiptClaims(await side.permit(), side.tenant), sequence: first['sequence'] as number }
    const reply = await side.ask('gate', 'receipts', { session: side.gate.session, receipt: side.gate.sign('execution-receipt+jwt', again) })
    side.gate.receiptRefused()
    return outcomeOf(reply)
  },
  'another ending': async (side) => {
    const permit = await side.permit()
    await ended(side, permit)
    const reply = await side.ask('gate', 'receipts', { session: side.gate.session, receipt: side.gate.sign('execution-receipt+jwt', { ...side.gate.receiptClaims(permit, side.tenant), outcome: 'failed' }) })
    side.gate.receiptRefused()
    return outcomeOf(reply)
  },
  /** A registered agent that proves itself is known; what policy says of it is another matter. */
  'agent known': async (side) => {
    const { method, params } = await side.wrong({ ask: 'authorize as agent', as: 'gate' })
    const outcome = outcomeOf(await side.ask('gate', method, params))
    return outcome.startsWith('policy_') ? RUNS : outcome
  },
}

function entryIn(result: JsonObject, member = 'sealed'): string | undefined {
  const sealed: JsonValue | undefined = result[member]
  return isObject(sealed) ? memberText(sealed['entry']) : undefined
}

async function redeem(side: PlaneSide, artifact: Sealed): Promise<Outcome> {
  const outcome = outcomeOf(await side.ask('gate', 'redeem', { session: side.gate.session, artifact: artifact.sealed, challenge: token() }))
  if (outcome === RUNS && artifact.permit.use === 'redeem') await ended(side, artifact)
  return outcome
}

async function ended(side: PlaneSide, permit: Sealed): Promise<void> {
  await side.must('gate', 'receipts', { session: side.gate.session, receipt: side.gate.sign('execution-receipt+jwt', side.gate.receiptClaims(permit, side.tenant)) })
  side.ended.add(permit.jti)
}

async function afterStop(side: PlaneSide, method: 'revoke' | 'kill'): Promise<Outcome> {
  const artifact = await side.issue()
  await side.must('asker', method, { selector: `artifact:${artifact.jti}` })
  return redeem(side, artifact)
}

/** Whether the sealed answer names it. */
async function renewed(side: PlaneSide, as: 'gate' | 'other gate', { jti }: Given): Promise<boolean> {
  const entry = parseEntry(entryIn(await side.must(as, 'leases.renew', { session: side.actor(as).session, nonce: token(), jtis: [jti] })) ?? '')
  return entry.kind === 'lease' && entry.jtis.includes(jti)
}

function delegates(side: PlaneSide, name: string): JsonObject {
  const { type, target } = side.control.action
  return { until: Number(side.values('now+60')), uses: 1, depth: 1, scopes: [{ type, target, name }] }
}

async function below(side: PlaneSide, { jti, leaf }: Given): Promise<Outcome> {
  const { params } = await side.request('authorize', 'gate')
  return outcomeOf(await side.ask('gate', 'authorize', { ...params, parent: { jti, leaf_hash: leaf } }))
}
