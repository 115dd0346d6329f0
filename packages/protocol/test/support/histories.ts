import { type Artifact, attachSignature, type DenialCode, type Entry, formatApprovalRef, type JsonObject, type Outcome, OUTCOMES, signingInput, utf8 } from '@sealwrit/protocol'
import fc from 'fast-check'
import { GATE, GATE_KEY, JTI, NOW, permitBody, receiptClaims, receiptToken, SESSION } from './fixture.ts'

export const HOLD = 'QEFCQ0RFRkdISUpLTE1OTw'
export const LEAF = `sha256:${'f'.repeat(64)}` as const

/** What one execution may be asked, told and ended by. */
export interface History {
  readonly title: string
  readonly entries: readonly Entry[]
  readonly standing: string
}

type Body = { readonly kind: string } & JsonObject
const asEntries = (bodies: readonly object[]): readonly Entry[] => bodies.map((body, seq) => ({ v: 1, seq, time: NOW * 1_000 + seq, tenant: 'default', ...body }) as unknown as Entry)

const asked = (({ scope, action_commit, sub, act, aud, policy }: Artifact): object => ({ scope, action_commit, sub, act, aud, policy }))(permitBody())
export const hold: object = { kind: 'hold', hold: HOLD, ...asked, approval: { groups: ['secops'], quorum: 1, expires: NOW + 600 } }
export const said = (event: 'approved' | 'rejected' | 'expired'): object => ({ kind: 'approval', hold: HOLD, event, ...(event === 'expired' ? {} : { person: 'person:1', signature: 'x.y.z' }) })
export function permit(use: 'challenge' | 'redeem', approvedAt?: number): object {
  const { challenge, ...body } = permitBody({ use, approvals: approvedAt === undefined ? [] : [formatApprovalRef({ seq: approvedAt, leafHash: LEAF, isGrant: false })] })
  return use === 'challenge' ? { ...body, challenge } : body
}
export const redemption: object = { kind: 'redemption', jti: JTI, leaf_hash: LEAF, aud: GATE_KEY.kid, challenge: SESSION, exp: NOW + 60 }
export const expiry = (outcome: 'expired' | 'indeterminate'): object => ({ kind: 'expiry', jti: JTI, leaf_hash: LEAF, outcome })
export const lease: object = { kind: 'lease', gate: GATE_KEY.kid, session: SESSION, nonce: SESSION, jtis: [JTI] }
export function receipt(outcome: Outcome, resolves?: number, change: JsonObject = {}): object {
  const { started, ...claims } = receiptClaims({ outcome })
  const cause = { failed: 'tool_error', terminated: 'killed', not_started: 'action_mismatch' }[outcome as string]
  const failed = outcome === 'not_started' ? { checks: { ...(claims['checks'] as JsonObject), conditions: 'fail' } } : { started: started as number }
  return { kind: 'receipt', jti: JTI, receipt: receiptToken({ ...claims, ...failed, ...(cause === undefined ? {} : { cause }), ...change }), ...(resolves === undefined ? {} : { resolves }) }
}
export const deny = (code: DenialCode, more: object = {}): object => ({ kind: 'deny', code, ...asked, ...more })
export function gateDenial(code: DenialCode, checks?: JsonObject): object {
  const claims = { gate: GATE_KEY.kid, tenant: 'default', session: SESSION, sequence: 0, time: NOW * 1_000, code, ...(checks === undefined ? {} : { checks }) }
  const input = signingInput('execution-denial+jwt', GATE_KEY.kid, claims)
  const { scope } = permitBody()
  return { kind: 'deny', code, scope, aud: GATE_KEY.kid, denial: attachSignature(input, GATE.sign(utf8(input))) }
}

/** Every way through the life cycle, each leading on from the one before. */
export function* legalHistories(): Generator<History> {
  const say = (title: string, standing: string, ...bodies: object[]): History => ({ title, standing, entries: asEntries(bodies) })
  yield say('denied', 'denied', deny('policy_denied', { jti: JTI }))
  yield say('held', 'held', hold)
  for (const how of ['rejected', 'expired'] as const) {
    yield say(`held, ${how}`, 'denied', hold, said(how))
    yield say(`held, approved, ${how}`, 'denied', hold, said('approved'), said(how))
  }
  for (const first of [[], [hold, said('approved')]]) {
    const [held, at] = first.length === 0 ? ['', undefined] : ['held, approved, ', 1]
    const pulled = [...first, permit('challenge', at)]
    const carried = [...first, permit('redeem', at)]
    yield say(`${held}carried`, 'carried', ...carried)
    yield say(`${held}carried, expired`, 'expired', ...carried, expiry('expired'))
    for (const [name, open] of [['issued', pulled], ['carried, redeemed', [...carried, redemption]]] as const) {
      yield say(`${held}${name}`, name === 'issued' ? 'issued' : 'admitted', ...open)
      yield say(`${held}${name}, lost`, 'lost', ...open, lease, expiry('indeterminate'))
      for (const outcome of OUTCOMES) {
        yield say(`${held}${name}, ${outcome}`, outcome, ...open, receipt(outcome))
        yield say(`${held}${name}, lost, ${outcome}`, outcome, ...open, expiry('indeterminate'), receipt(outcome, open.length))
      }
    }
  }
}

const OTHER = 'YGFiY2RlZmdoaWprbG1ubw'
/** Entries that belong to no execution, or to another one. */
const FOREIGN: readonly object[] = [
  { kind: 'tool', target: 'mcp://fs', name: 'x', digest: LEAF }, { kind: 'gate', gate: GATE_KEY.kid, event: 'denials_lost', count: 1 }, { kind: 'revocation', selector: 'all', by: 'user:1' },
  { ...permit('challenge'), jti: OTHER }, { ...receipt('completed'), jti: OTHER }, { ...redemption, jti: OTHER }, { ...expiry('expired'), jti: OTHER }, { ...hold, hold: OTHER }, { ...said('approved'), hold: OTHER },
  { ...lease, jtis: [OTHER] }, deny('policy_denied', { jti: OTHER }),
]

/** A history by what happened in it; renewals, and further words on one hold, may be there or not. */
function keyOf(entries: readonly Entry[]): string {
  const steps = entries.flatMap((entry) => {
    if (entry.kind === 'lease') return entry.jtis.includes(JTI) ? [] : ['lease']
    const { kind, jti = '', hold: held = '', event = '', use = '', outcome = '', resolves = '', receipt: token = '', approvals = '' } = entry as unknown as Record<string, string>
    return [[kind, jti, held, event, use, outcome, resolves, token, String(approvals)].join()]
  })
  return steps.filter((step, i) => step !== steps[i - 1] || !step.includes('approved')).join(' ')
}
const LEGAL = new Set([...legalHistories()].map(({ entries }) => keyOf(entries)))

/** One step of a history that is not as it was, with a place in the log for each. */
export const corruption: fc.Arbitrary<{ readonly title: string; readonly entries: readonly Entry[] }> = fc
  .tuple(fc.constantFrom(...legalHistories()), fc.constantFrom('skip', 'swap', 'duplicate', 'foreign'), fc.nat(), fc.nat())
  .map(([{ title, entries }, how, at, which]) => {
    const bodies = entries.map(({ seq: _, ...body }) => body as unknown as Body)
    const i = at % bodies.length
    const place = (list: readonly object[]): readonly Entry[] => list.map((body, seq) => ({ ...body, seq }) as unknown as Entry)
    switch (how) {
      case 'skip': // the end of a history may be yet to come
        return { title: `${title}: without ${i}`, entries: i === bodies.length - 1 ? [] : entries.filter((_, n) => n !== i) }
      case 'swap': {
        const j = (i + 1 + (which % Math.max(1, bodies.length - 1))) % bodies.length
        const swapped = bodies.with(i, bodies[j] as Body).with(j, bodies[i] as Body)
        return { title: `${title}: ${i} and ${j} exchanged`, entries: i === j ? [] : place(swapped) }
      }
      case 'duplicate':
        return { title: `${title}: ${i} twice`, entries: place([...bodies.slice(0, i + 1), bodies[i] as Body, ...bodies.slice(i + 1)]) }
      default:
        return { title: `${title}: something else at ${i}`, entries: place([...bodies.slice(0, i), FOREIGN[which % FOREIGN.length] as object, ...bodies.slice(i)]) }
    }
  })
  .filter(({ entries }) => !LEGAL.has(keyOf(entries))) // what is legal in itself is another history
