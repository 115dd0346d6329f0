import * as fs from 'node:fs'
import * as path from 'node:path'
import {
  type Artifact, type Check, CHECKS, type Checks, type DenialCode, Denied, formatVerifierKey, type GateState, isDenialCode, isVerifiedArtifact, type JsonObject, type JsonValue, noteKey, openCarried, parseEntry, parseStrict,
  parseIssueRequest, parseRedeemReply, parseRedeemRequest, parseVerifierKey, isIssueRequest, utf8, type VerifiedArtifact, verifyRedeemedArtifact, verifySealedArtifact, MAX_FOREIGN_ORIGIN,
} from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { type Carried, carriedAndRedeemed, carriedBody, leafOf } from './support/carried.ts'
import { ACTION, CHALLENGE, ENV_COMMIT, GATE, GATE_KEY, gateState, JTI, keyPair, LOG_KEY, NOW, receiptToken, SESSION, sealedPermit, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const parsed = (value: unknown): JsonValue => parseStrict(utf8(JSON.stringify(value)))
const verify = ({ seals, carried }: Pick<Carried, 'seals' | 'carried'>, at: GateState = gateState()): VerifiedArtifact => verifyRedeemedArtifact(parsed(seals) as never, carried.entry, at)
const code = (given: Pick<Carried, 'seals' | 'carried'>, at: GateState = gateState()): DenialCode | 'ok' => outcome(() => verify(given, at))
const open = (value: unknown, at: GateState = gateState()): DenialCode | 'ok' => outcome(() => openCarried(value as JsonValue, at))

describe('a redeemed artifact', () => {
  it('passes all eight checks, and is the permit that was carried', () => {
    const given = carriedAndRedeemed()
    const artifact = verify(given)
    expect(isVerifiedArtifact(artifact)).toBe(true)
    expect(Object.values(artifact.checks)).toEqual(CHECKS.map(() => 'pass'))
    expect(artifact.permit).toEqual(parseEntry(given.carried.entry))
    expect(artifact.leafHash).toBe(leafOf(given.carried.entry))
  })
  it('takes the challenge of its redemption once, in the step that finds it', () => {
    const outstanding = new Set([CHALLENGE])
    const at = gateState({ takeChallenge: (shown) => outstanding.delete(shown) })
    expect(code(carriedAndRedeemed(), at)).toBe('ok')
    expect(code(carriedAndRedeemed(), at)).toBe('challenge_mismatch')
  })
  it('ATK-004: with any single character of any of its texts changed it is denied', () => {
    const given = carriedAndRedeemed()
    for (const which of ['redemption', 'artifact'] as const) {
      for (const part of ['entry', 'proof'] as const) {
        const text = given.seals[which][part]
        for (let i = 0; i < text.length; i++) {
          const changed = text.slice(0, i) + (text[i] === 'A' ? 'B' : 'A') + text.slice(i + 1)
          const seals = { ...given.seals, [which]: { ...given.seals[which], [part]: changed } }
          expect(code({ ...given, seals }), `${which}.${part}[${i}]`).not.toBe('ok')
        }
      }
    }
  })
})

describe('two seals that do not belong together', () => {
  const other = { jti: SESSION, txn: SESSION }
  it('a redemption of another permit is seal_invalid', () => {
    expect(code(carriedAndRedeemed({}, { jti: SESSION }))).toBe('seal_invalid')
    expect(code(carriedAndRedeemed({}, { leaf_hash: `sha256:${'0'.repeat(64)}` }))).toBe('seal_invalid')
    const given = carriedAndRedeemed()
    const second = given.log.add(carriedBody(other))
    const third = given.log.add({ kind: 'redemption', jti: SESSION, leaf_hash: leafOf(given.log.leaves[second] as string), aud: GATE_KEY.kid, challenge: CHALLENGE, exp: NOW + 60 })
    const seal = (index: number): { entry: string; proof: string } => given.log.seal(index)
    const own = { redemption: seal(given.at.redemption), artifact: seal(given.at.permit) }
    expect(code({ ...given, seals: own })).toBe('ok')
    expect(code({ ...given, seals: { ...own, redemption: seal(third) } })).toBe('seal_invalid')
    expect(code({ ...given, seals: { ...own, artifact: seal(second) } }), 'another artifact than was carried').toBe('seal_invalid')
    expect(code({ ...given, seals: { redemption: seal(third), artifact: seal(second) } }), 'both of another').toBe('seal_invalid')
  })
  it('where members could disagree they must be equal: gate, end, tenant, order', () => {
    expect(code(carriedAndRedeemed({}, { aud: 'another' }))).toBe('audience_mismatch')
    expect(code(carriedAndRedeemed({}, { exp: NOW + 59 }))).toBe('seal_invalid')
    expect(code(carriedAndRedeemed({}, { tenant: 'other' }))).toBe('tenant_mismatch')
    expect(code(carriedAndRedeemed({}, { seq: 5 })), 'another index').toBe('seal_invalid')
    const log = new TestLog()
    const permit = { ...carriedBody() }
    const early = log.add({ kind: 'redemption', jti: JTI, leaf_hash: leafOf(JSON.stringify({})), aud: GATE_KEY.kid, challenge: CHALLENGE, exp: NOW + 60 })
    const late = log.add(permit)
    const leaf = leafOf(log.leaves[late] as string)
    log.leaves[early] = (log.leaves[early] as string).replace(/"leaf_hash":"[^"]*"/, `"leaf_hash":"${leaf}"`)
    expect(code({ carried: log.seal(late), seals: { redemption: log.seal(early), artifact: log.seal(late) } }), 'before its permit').toBe('seal_invalid')
  })
  it('under different checkpoints they are seal_invalid, although each alone holds', () => {
    const given = carriedAndRedeemed()
    const { log, at } = given
    const older = at.redemption + 1
    expect(code({ ...given, seals: { ...given.seals, artifact: log.seal(at.permit, undefined, older) } })).toBe('seal_invalid')
    expect(code({ ...given, seals: { ...given.seals, redemption: log.seal(at.redemption, undefined, older) } })).toBe('seal_invalid')
    const stranger = new TestLog(LOG_KEY, keyPair('stranger').sign)
    for (const leaf of log.leaves) stranger.addText(leaf)
    expect(code({ ...given, seals: { ...given.seals, artifact: stranger.seal(at.permit) } })).toBe('seal_invalid')
    expect(code({ ...given, seals: { ...given.seals, redemption: stranger.seal(at.redemption) } })).toBe('signature_invalid')
  })
  it('one that is missing is artifact_missing', () => {
    const given = carriedAndRedeemed()
    for (const absent of [null, '']) {
      expect(code({ ...given, seals: { ...given.seals, redemption: absent as never } })).toBe('artifact_missing')
      expect(code({ ...given, seals: { ...given.seals, artifact: absent as never } })).toBe('artifact_missing')
    }
    expect(outcome(() => verifyRedeemedArtifact({ redemption: undefined, artifact: undefined }, given.carried.entry, gateState()))).toBe('artifact_missing')
  })
  it('under a checkpoint that does not extend the newest one is state_diverged', () => {
    const given = carriedAndRedeemed()
    const fork = new TestLog()
    for (let i = 0; i < given.log.leaves.length; i++) fork.add({ kind: 'deny', code: 'policy_denied' })
    expect(code(given, gateState({ newest: fork.head() }))).toBe('state_diverged')
  })
})

describe('ATK-010: only a redemption is one, and only a permit is one', () => {
  it('every other kind of entry in either place is type_mismatch', () => {
    const given = carriedAndRedeemed()
    const { log, at } = given
    const others = [
      { kind: 'hold', hold: SESSION }, { kind: 'receipt', jti: JTI, receipt: receiptToken() }, { kind: 'expiry', jti: JTI, leaf_hash: leafOf('x'), outcome: 'expired' },
      { kind: 'policy', digest: ENV_COMMIT, epoch: 3, policies: [] }, { kind: 'gate', gate: GATE_KEY.kid, event: 'denials_lost', count: 1 },
    ].map((body) => log.add(body))
    const seal = (index: number): { entry: string; proof: string } => log.seal(index)
    const own = { redemption: seal(at.redemption), artifact: seal(at.permit) }
    expect(code({ ...given, seals: own })).toBe('ok')
    for (const index of [0, 1, at.permit, log.leaves.length - 6, ...others]) {
      expect(code({ ...given, seals: { ...own, redemption: seal(index) } }), log.leaves[index] as string).toBe('type_mismatch')
    }
    for (const index of [0, 1, at.redemption, ...others]) expect(code({ ...given, seals: { ...own, artifact: seal(index) } }), log.leaves[index] as string).toBe('type_mismatch')
  })
  it('a carried permit shown as the answer to a challenge is challenge_mismatch, a redemption type_mismatch', () => {
    const { seals } = carriedAndRedeemed()
    expect(outcome(() => verifySealedArtifact(parsed(seals.artifact), gateState()))).toBe('challenge_mismatch')
    expect(outcome(() => verifySealedArtifact(parsed(seals.redemption), gateState()))).toBe('type_mismatch')
  })
  it('a pull permit is challenge_mismatch when it is carried, and when a redemption of it is shown', () => {
    const { log, sealed } = sealedPermit()
    expect(open(sealed)).toBe('challenge_mismatch')
    const redemption = log.add({ kind: 'redemption', jti: JTI, leaf_hash: leafOf(sealed.entry), aud: GATE_KEY.kid, challenge: CHALLENGE, exp: NOW + 60 })
    expect(code({ carried: sealed, seals: { redemption: log.seal(redemption), artifact: log.seal(2) } })).toBe('challenge_mismatch')
  })
  it.each(['jti', 'leaf_hash', 'aud', 'challenge', 'exp'])('a redemption without %s, or with it of another form, is artifact_malformed', (member) => {
    const text = carriedAndRedeemed().log.leaves[4] as string
    const entry = JSON.parse(text) as Record<string, unknown>
    const canonical = (value: object): string => JSON.stringify(Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1))))
    expect(canonical(entry)).toBe(text)
    const { [member]: _, ...without } = entry
    for (const bad of [without, { ...entry, [member]: null }, { ...entry, [member]: -1 }, { ...entry, [member]: [] }]) expect(outcome(() => parseEntry(canonical(bad)))).toBe('artifact_malformed')
    expect(outcome(() => parseEntry(canonical({ ...entry, z: 1 })))).toBe('artifact_malformed')
  })
})

describe('the one order of verification holds for redeemed artifacts too', () => {
  const governance = gateState().governance as NonNullable<GateState['governance']>
  const rows: readonly [string, Partial<GateState>, Partial<Artifact>, DenialCode][] = [
    ['ATK-014: another gate', { gateId: 'other' }, {}, 'audience_mismatch'],
    ['another tenant', { tenant: 'other' }, {}, 'tenant_mismatch'],
    ['no outstanding challenge', { takeChallenge: () => false }, {}, 'challenge_mismatch'],
    ['ATK-002: the second it ends', { nowSeconds: NOW + 60 }, {}, 'artifact_expired'],
    ['ATK-003: 31 s early', { nowSeconds: NOW - 31 }, {}, 'artifact_not_yet_valid'],
    ['ATK-003: a start window of 61 s', {}, { exp: NOW + 61 }, 'lifetime_exceeded'],
    ['ATK-049: another principal', { subject: { sub: 'user:2', act: 'agent:tester', verified: true } }, {}, 'subject_mismatch'],
    ['ATK-049: another agent', { subject: { sub: 'user:1', act: 'agent:other', verified: true } }, {}, 'subject_mismatch'],
    ['ATK-049: an agent that only says so', { subject: { sub: 'user:1', act: 'agent:tester', verified: false } }, {}, 'subject_mismatch'],
    ['nobody', { subject: undefined }, {}, 'identity_missing'],
    ['an older epoch', { governance: { ...governance, epochFloor: 4 } }, {}, 'policy_rollback'],
    ['stale state', { governance: { ...governance, isFresh: () => false } }, {}, 'state_stale'],
    ['revoked', { governance: { ...governance, isRevoked: () => true } }, {}, 'revoked'],
    ['killed', { governance: { ...governance, isKilled: () => true } }, {}, 'killed'],
    ['a parent that is not known', {}, { depth: 1, txn: SESSION, par: { jti: SESSION, leaf_hash: ENV_COMMIT }, above: [`artifact:${SESSION}`] }, 'parent_unknown'],
    ['ATK-014: another environment', { measureEnvironment: () => `sha256:${'1'.repeat(64)}` }, {}, 'environment_mismatch'],
    ['another action', { action: { ...ACTION, arguments: { path: '/etc/shadow' } } as never }, {}, 'action_mismatch'],
    ['an obligation nobody knows', {}, { constraints: { lease_seconds: 300, max_runtime_seconds: 300, obligations: ['x'] } }, 'obligation_unknown'],
  ]
  it.each(rows)('%s', (_name, state, permit, expected) => {
    const denied = (run: () => unknown): { code: DenialCode; checks: Checks | undefined } => {
      try {
        run()
      } catch (error) {
        if (error instanceof Denied) return { code: error.code, checks: error.checks }
        throw error
      }
      throw new Error('it passed')
    }
    const redeemed = denied(() => verify(carriedAndRedeemed(permit), gateState(state)))
    const pulled = denied(() => verifySealedArtifact(parsed(sealedPermit(permit).sealed), gateState(state)))
    expect(redeemed.code).toBe(expected)
    expect(redeemed, 'the same answer, with the same checks, as for a pulled one').toEqual(pulled)
  })
  it('what the gate refuses after the challenge came back ends the permit, and what it refuses before does not', () => {
    const permitOf = (state: Partial<GateState>): unknown => {
      try {
        verify(carriedAndRedeemed(), gateState(state))
      } catch (error) {
        return (error as Denied).permit
      }
      throw new Error('it passed')
    }
    expect(permitOf({ action: undefined })).toEqual({ jti: JTI, leafHash: leafOf(carriedAndRedeemed().carried.entry) })
    expect(permitOf({ takeChallenge: () => false })).toBeUndefined()
  })
})

describe('what an agent presents is looked at before it is spent', () => {
  it.each([
    ['ATK-001: absent', undefined, {}, 'artifact_missing'], ['ATK-001: null', null, {}, 'artifact_missing'], ['ATK-001: empty', '', {}, 'artifact_missing'],
    ['ATK-001: blank', ' ', {}, 'artifact_malformed'], ['a list', [], {}, 'artifact_malformed'], ['a number', 0, {}, 'artifact_malformed'], ['an empty object', {}, {}, 'artifact_malformed'],
    ['further members', { ...carriedAndRedeemed().carried, x: 1 }, {}, 'artifact_malformed'],
    ['of another log', carriedAndRedeemed({}, {}, new TestLog(noteKey('x.test/default', GATE.publicKey, sha256), GATE.sign)).carried, {}, 'key_unknown'],
    ['of a stranger under the log’s name', carriedAndRedeemed({}, {}, new TestLog(LOG_KEY, keyPair('stranger').sign)).carried, {}, 'signature_invalid'],
    ['with another entry', { ...carriedAndRedeemed().carried, entry: carriedAndRedeemed({ risk: 'high' }).carried.entry }, {}, 'seal_invalid'],
    ['a redemption', carriedAndRedeemed().seals.redemption, {}, 'type_mismatch'],
    ['ATK-014: for another gate', carriedAndRedeemed().carried, { gateId: 'other' }, 'audience_mismatch'],
    ['ATK-002: expired', carriedAndRedeemed().carried, { nowSeconds: NOW + 60 }, 'artifact_expired'],
    ['ATK-049: of another agent', carriedAndRedeemed().carried, { subject: { sub: 'user:1', act: 'agent:thief', verified: true } }, 'subject_mismatch'],
    ['for another action', carriedAndRedeemed().carried, { action: { ...ACTION, name: 'write_file' } }, 'action_mismatch'],
    ['without its salt', carriedAndRedeemed().log.seal(2, ''), {}, 'action_mismatch'],
    ['no log key', carriedAndRedeemed().carried, { logKey: undefined }, 'key_unknown'],
  ] as [string, unknown, Partial<GateState>, DenialCode][])('%s', (_name, value, state, expected) => {
    expect(open(value, gateState(state))).toBe(expected)
  })
  it('gives the leaf text of one that can run here, whatever the gate has seen since', () => {
    const { carried, log } = carriedAndRedeemed()
    expect(openCarried(parsed(carried), gateState())).toBe(carried.entry)
    expect(openCarried(parsed(carried), gateState({ newest: log.head() }))).toBe(carried.entry)
  })
})

describe('the wire', () => {
  const action = ACTION as unknown as JsonObject
  const issue = { action, agent: { name: 'coder', verified: true }, audience: GATE_KEY.kid, form: 'redeem' }
  it('reads what asks for a carried artifact, closed', () => {
    expect(parseIssueRequest(parsed(issue))).toEqual({ ...issue, seconds: 60 })
    expect(parseIssueRequest(parsed({ ...issue, seconds: 1 })).seconds).toBe(1)
    for (const bad of [{ ...issue, form: 'jwt' }, { ...issue, session: SESSION }, { ...issue, challenge: CHALLENGE }, { ...issue, seconds: 0 }, { ...issue, seconds: 1.5 }, { ...issue, seconds: -1 }, { ...issue, audience: '' }, { ...issue, audience: 'x'.repeat(MAX_FOREIGN_ORIGIN + 1) }, { ...issue, facts: { paths: 'inside' } }]) {
      expect(outcome(() => parseIssueRequest(parsed(bad))), JSON.stringify(bad)).toBe('request_malformed')
    }
    for (const member of ['action', 'agent', 'audience', 'form'] as const) expect(outcome(() => parseIssueRequest(parsed({ ...issue, [member]: undefined })))).toBe('request_malformed')
  })
  it('ATK-003: a start window over 60 s is lifetime_exceeded at issue', () => {
    for (const seconds of [61, 3_600, 2 ** 53 - 1]) expect(outcome(() => parseIssueRequest(parsed({ ...issue, seconds })))).toBe('lifetime_exceeded')
  })
  it('tells it apart from a gate’s request by the members that a gate never sends', () => {
    expect([issue, { form: 'redeem' }, { audience: 'x' }].map((value) => isIssueRequest(parsed(value)))).toEqual([true, true, true])
    expect([{ session: SESSION, challenge: CHALLENGE, action }, {}, [], null, 'audience'].map((value) => isIssueRequest(parsed(value)))).toEqual([false, false, false, false, false])
  })
  it('reads redemptions and their answers, closed', () => {
    const request = { session: SESSION, artifact: { entry: 'e', proof: 'p' }, challenge: CHALLENGE }
    expect(parseRedeemRequest(parsed(request))).toEqual(request)
    expect(outcome(() => parseRedeemRequest(parsed({ ...request, agent: 'x' })))).toBe('request_malformed')
    expect(outcome(() => parseRedeemRequest(parsed({ session: SESSION, challenge: CHALLENGE })))).toBe('request_malformed')
    expect(parseRedeemReply(parsed({ redemption: 1, artifact: 2, consistency: [] }))).toEqual({ redemption: 1, artifact: 2, consistency: [] })
    expect(outcome(() => parseRedeemReply(parsed({ redemption: 1, consistency: [] })))).toBe('request_malformed')
    expect(outcome(() => parseRedeemReply(parsed({ redemption: 1, artifact: 2, consistency: ['AAAA'] })))).toBe('request_malformed')
  })
})

/** The vectors for readers of other languages, made once with `SEALWRIT_UPDATE=1`; the test reads the file. */
const FILE = path.resolve(import.meta.dirname, '../../../spec/vectors/redemption.json')
interface Vector {
  readonly name: string
  /** Leaf text that was presented to the gate, and what the plane answered. */
  readonly carried: string
  readonly redemption: JsonValue
  readonly artifact: JsonValue
  readonly expect: DenialCode | 'ok'
}
function vectors(): Vector[] {
  const vector = (name: string, { carried, seals }: Pick<Carried, 'carried' | 'seals'>, expected: Vector['expect'], change: object = {}): Vector => ({ name, carried: carried.entry, ...seals, expect: expected, ...change })
  const given = carriedAndRedeemed()
  const { log, at } = given
  const pull = sealedPermit()
  const ofPull = pull.log.add({ kind: 'redemption', jti: JTI, leaf_hash: leafOf(pull.sealed.entry), aud: GATE_KEY.kid, challenge: CHALLENGE, exp: NOW + 60 })
  return [
    vector('valid', given, 'ok'),
    vector('no redemption', given, 'artifact_missing', { redemption: null }),
    vector('no artifact', given, 'artifact_missing', { artifact: null }),
    vector('the artifact in the place of its redemption', given, 'type_mismatch', { redemption: given.seals.artifact }),
    vector('the redemption in the place of its artifact', given, 'type_mismatch', { artifact: given.seals.redemption }),
    vector('the artifact under an older checkpoint', given, 'seal_invalid', { artifact: log.seal(at.permit, undefined, at.redemption + 1) }),
    vector('another artifact was presented', given, 'seal_invalid', { carried: carriedAndRedeemed({ risk: 'high' }).carried.entry }),
    vector('a redemption of another jti', carriedAndRedeemed({}, { jti: SESSION }), 'seal_invalid'),
    vector('a redemption of another leaf', carriedAndRedeemed({}, { leaf_hash: ENV_COMMIT }), 'seal_invalid'),
    vector('a redemption for another gate', carriedAndRedeemed({}, { aud: 'another' }), 'audience_mismatch'),
    vector('another end', carriedAndRedeemed({}, { exp: NOW + 1 }), 'seal_invalid'),
    vector('another challenge', carriedAndRedeemed({}, { challenge: SESSION }), 'challenge_mismatch'),
    vector('a pull artifact that was redeemed', { carried: pull.sealed, seals: { redemption: pull.log.seal(ofPull, ''), artifact: pull.log.seal(2) } }, 'challenge_mismatch'),
    vector('a start window of 61 s', carriedAndRedeemed({ exp: NOW + 61 }), 'lifetime_exceeded'),
    vector('an artifact for another agent', carriedAndRedeemed({ act: { sub: 'agent:other', verified: true } }), 'subject_mismatch'),
    vector('an artifact in another environment', carriedAndRedeemed({ env: { commit: `sha256:${'0'.repeat(64)}`, level: 'software' } }), 'environment_mismatch'),
  ]
}
if (process.env['SEALWRIT_UPDATE'] === '1') {
  const about = 'Made from fixed keys by packages/protocol/test/redemption.test.ts. Apache-2.0. The gate is that of artifact.json.'
  fs.writeFileSync(FILE, `${JSON.stringify({ about, log_key: formatVerifierKey(LOG_KEY), vectors: vectors() }, null, 1)}\n`)
}
describe('spec/vectors/redemption.json', () => {
  const file = parseStrict(fs.readFileSync(FILE)) as unknown as { log_key: string; vectors: Vector[] }
  it('shows denials of several checks', () => {
    const checks = new Set<Check>(file.vectors.flatMap((v) => (v.expect === 'ok' ? [] : [new Denied(v.expect).check])))
    expect([...checks].sort()).toEqual(['authorization', 'cryptography', 'environment', 'identity'])
  })
  it.each(file.vectors.map((vector) => ({ vector, title: `${vector.name}: ${vector.expect}` })))('$title', ({ vector }) => {
    if (vector.expect !== 'ok' && !isDenialCode(vector.expect)) throw new Error(`unknown expect value: ${String(vector.expect)}`)
    const state = gateState({ logKey: parseVerifierKey(file.log_key, sha256) })
    expect(outcome(() => verifyRedeemedArtifact({ redemption: vector.redemption, artifact: vector.artifact }, vector.carried, state))).toBe(vector.expect)
  })
})
