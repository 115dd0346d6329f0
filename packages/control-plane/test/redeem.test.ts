import * as path from 'node:path'
import { ENDING_MARGIN_MS, endOverdue, LogState, REDEEMED_LIFE_MS, serveSocket } from '@sealwrit/control-plane'
import { type Entry, type JsonValue, parseEntry, type RedeemReply, toBase64Url, verifyBundle, formatBundle, parseBundle, utf8 } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/control-plane'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sized } from '../../../test/support/scoreboard.ts'
import { askIssue, carriedOf, issue, issueRequest, redeem, SocketClient } from './support/push.ts'
import { openRigs, outcome, PERMIT_ALL, pinTools, policySet, Rig, SCHEMA, TestGate, told, toolCall } from './support/rig.ts'

const open = openRigs()
const entries = async (rig: Rig): Promise<Entry[]> => (await rig.store.entries(0, 100_000)).map(parseEntry)
const count = async (rig: Rig, kind: Entry['kind']): Promise<number> => (await entries(rig)).filter((e) => e.kind === kind).length

describe('an artifact that is carried', () => {
  it('is a permit without a challenge, for one gate, in the environment of its session, for at most 60 s', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, sealed } = await issue(rig.plane, gate)
    expect(permit).toMatchObject({ use: 'redeem', aud: gate.id, env: { commit: gate.commit, level: 'software' }, act: { sub: 'agent:tester', verified: true }, sub: rig.plane.sub, exp: permit.iat + 60 })
    expect(permit).not.toHaveProperty('challenge')
    expect((await rig.store.entries(permit.seq, 1))[0]).toBe(sealed.entry)
    expect((await issue(rig.plane, gate, toolCall(), { seconds: 5 })).permit).toMatchObject({ exp: permit.iat + 5 })
  })
  it('is decided as any other, and every refusal has its entry (I9)', async () => {
    const rig = await open()
    rig.policies = policySet(`${PERMIT_ALL} forbid (principal, action, resource == Tool::"mcp://fs/write_file");`)
    await rig.restart()
    const gate = await rig.gate()
    const stranger = new TestGate(rig)
    const ask = async (change: Parameters<typeof issueRequest>): Promise<string> => told(await askIssue(rig.plane, issueRequest(...change)))
    expect(await ask([gate, toolCall('write_file')])).toBe('policy_denied')
    expect(await ask([gate, toolCall('unlisted')])).toBe('tool_not_pinned')
    expect(await ask([gate, toolCall('read_file', {}, { tool_digest: `sha256:${'b'.repeat(64)}` })])).toBe('tool_changed')
    expect(await ask([stranger])).toBe('identity_unknown')
    expect((await entries(rig)).filter((e) => e.kind === 'deny').map((e) => [e.kind === 'deny' && e.code, e.kind === 'deny' && e.aud])).toEqual([['policy_denied', gate.id], ['tool_not_pinned', gate.id], ['tool_changed', gate.id], ['identity_unknown', stranger.id]])
    rig.policies = policySet(`@approval("group:ops quorum:1") ${PERMIT_ALL}`)
    await rig.restart()
    expect(await ask([gate])).toBe('hold')
  })
  it('is decided with paths that nobody looked at', async () => {
    const rig = await open()
    rig.policies = policySet('permit (principal, action, resource) when { context.facts.paths == "inside" };', SCHEMA)
    await rig.restart()
    const gate = await rig.gate()
    expect(told(await gate.authorize())).toBe('permit')
    expect(told(await askIssue(rig.plane, issueRequest(gate)))).toBe('policy_no_match')
  })
  it('is issued over the socket and over HTTP’s body, to callers that are no gate', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const socketPath = path.join(rig.folder, 's')
    const server = await serveSocket(rig.plane, socketPath)
    const [caller, asGate] = [await SocketClient.connect(socketPath), await SocketClient.connect(socketPath)]
    expect(await caller.request('issue', issueRequest(gate))).toMatchObject({ decision: 'permit' })
    expect(await caller.request('authorize', issueRequest(gate)), 'the same body').toMatchObject({ decision: 'permit' })
    expect(await outcome(caller.request('authorize', { ...issueRequest(gate), session: gate.session }))).toBe('request_malformed')
    expect(await outcome(caller.request('issue', { ...issueRequest(gate), seconds: 61 })), 'ATK-003').toBe('lifetime_exceeded')
    await asGate.request('gates.enrol', gate.enrolment())
    expect(await outcome(asGate.request('issue', issueRequest(gate))), 'a gate never issues').toBe('identity_invalid')
    const { sealed } = await issue(rig.plane, gate)
    expect(await outcome(caller.request('redeem', { session: gate.session, artifact: sealed, challenge: rig.token() })), 'ATK-049: another’s session').toBe('identity_invalid')
    expect(await asGate.request('redeem', { session: gate.session, artifact: sealed, challenge: rig.token() })).toHaveProperty('redemption')
    caller.close()
    asGate.close()
    await server.close()
  })
})

describe('redeem', () => {
  it('I3: answers with a redemption that is in the store already, and its permit under the same checkpoint', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    const challenge = rig.token()
    const reply = await redeem(rig.plane, gate, carried, challenge)
    const redemption = parseEntry(reply.redemption.entry)
    expect(redemption).toMatchObject({ kind: 'redemption', jti: carried.permit.jti, leaf_hash: carried.leaf, aud: gate.id, challenge, exp: carried.permit.exp })
    expect(reply.artifact.entry).toBe(carried.sealed.entry)
    expect((await rig.store.entries(redemption.seq, 1))[0]).toBe(reply.redemption.entry)
    expect(await rig.store.spentAt(`jti ${carried.permit.jti}`)).toBe(redemption.seq)
  })
  it('ATK-040: of 10^4 replays at the plane none is a second redemption: artifact_spent', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    await redeem(rig.plane, gate, carried, rig.token())
    for (let i = 0; i < 100; i++) {
      const codes = await Promise.all(Array.from({ length: 100 }, () => outcome(redeem(rig.plane, gate, carried, rig.token()))))
      expect(new Set(codes)).toEqual(new Set(['artifact_spent']))
    }
    expect(await count(rig, 'redemption')).toBe(1)
  })
  it('ATK-042: also not after restarts, after its receipt, or after its time', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    await redeem(rig.plane, gate, carried, rig.token())
    await rig.restart()
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('artifact_spent')
    expect(await outcome(gate.report(gate.receiptFor(carried.permit.jti, carried.leaf)))).toBe('ok')
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('artifact_spent')
    rig.clock.advance(REDEEMED_LIFE_MS + 1_000)
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('artifact_spent')
    await redeem(rig.plane, gate, await issue(rig.plane, gate), rig.token()) // forgets the old one
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('artifact_expired')
    expect(await count(rig, 'redemption')).toBe(2)
  })
  it('ATK-045: a reply that is lost 10^3 times is given again for the same challenge: one redemption; another challenge is artifact_spent', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    const challenge = rig.token()
    const texts = new Set<string>()
    for (let i = 0; i < 1_000; i++) {
      if (i === 500) await rig.restart()
      const reply: RedeemReply = await redeem(rig.plane, gate, carried, challenge)
      texts.add(`${reply.redemption.entry}\n${reply.artifact.entry}`)
    }
    expect(texts.size).toBe(1)
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('artifact_spent')
    expect(await count(rig, 'redemption')).toBe(1)
  })
  it('ATK-041: shown to the plane 100 times at once, with one challenge or with many, it is redeemed once', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const [one, many] = [await issue(rig.plane, gate), await issue(rig.plane, gate)]
    const challenge = rig.token()
    const replies = await Promise.all(Array.from({ length: 100 }, () => redeem(rig.plane, gate, one, challenge)))
    expect(new Set(replies.map(({ redemption }) => redemption.entry)).size).toBe(1)
    const codes = await Promise.all(Array.from({ length: 100 }, () => outcome(redeem(rig.plane, gate, many, rig.token()))))
    expect(codes.filter((code) => code === 'ok')).toHaveLength(1)
    expect(await count(rig, 'redemption')).toBe(2)
  })

  it('ATK-001, ATK-010: what is no carried permit is refused, each with its code', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    const reply = await redeem(rig.plane, gate, carried, rig.token())
    const show = (artifact: unknown): Promise<string> => outcome(rig.plane.redeem({ session: gate.session, artifact: artifact as JsonValue, challenge: rig.token() }, gate.id, { size: 0 }))
    for (const absent of [null, '']) expect(await show(absent)).toBe('artifact_missing')
    for (const form of [[], {}, ' ', 0, { entry: carried.sealed.entry }, { ...carried.sealed, x: 1 }, { ...carried.sealed, proof: carried.sealed.proof.replace('index ', 'index 0') }]) expect(await show(form)).toBe('artifact_malformed')
    expect(await show(reply.redemption), 'a redemption').toBe('type_mismatch')
    const { text } = await rig.plane.log.read(0)
    expect(await show({ entry: text, proof: reply.redemption.proof }), 'a key entry').toBe('type_mismatch')
    expect(await count(rig, 'redemption')).toBe(1)
  })
  it('a pull artifact is as good as spent: artifact_spent', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const pulled = await gate.authorize()
    if (pulled.decision !== 'permit') throw new Error('not permitted')
    expect(await outcome(redeem(rig.plane, gate, pulled, rig.token()))).toBe('artifact_spent')
  })
  it('a text that is not exactly the leaf at its index is issuance_not_logged', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const [a, b] = [await issue(rig.plane, gate), await issue(rig.plane, gate)]
    const show = (entry: string, proof: string): Promise<string> => outcome(redeem(rig.plane, gate, { sealed: { entry, proof } }, rig.token()))
    expect(await show(a.sealed.entry.replace('"risk":"low"', '"risk":"high"'), a.sealed.proof)).toBe('issuance_not_logged')
    expect(await show(a.sealed.entry, b.sealed.proof)).toBe('seal_invalid')
    const beyond = rig.plane.log.size + 5
    expect(await show(a.sealed.entry.replace(`"seq":${a.permit.seq}`, `"seq":${beyond}`), a.sealed.proof.replace(`index ${a.permit.seq}`, `index ${beyond}`))).toBe('issuance_not_logged')
    expect(await outcome(redeem(rig.plane, gate, a, rig.token()))).toBe('ok')
  })
  it('without its salt, or with another, it is action_mismatch: a reader of the log alone cannot redeem', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { sealed } = await issue(rig.plane, gate)
    const line = sealed.proof.split('\n')[1] as string
    const other = `extra ${Buffer.alloc(16, 1).toString('base64')}`
    expect(await outcome(redeem(rig.plane, gate, { sealed: { ...sealed, proof: sealed.proof.replace(`${line}\n`, '') } }, rig.token()))).toBe('action_mismatch')
    expect(await outcome(redeem(rig.plane, gate, { sealed: { ...sealed, proof: sealed.proof.replace(line, other) } }, rig.token()))).toBe('action_mismatch')
    expect(await outcome(redeem(rig.plane, gate, { sealed }, rig.token()))).toBe('ok')
  })
  it('ATK-014: at three other gates it is audience_mismatch, and at its own it still runs', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    for (let i = 0; i < 3; i++) expect(await outcome(redeem(rig.plane, await rig.gate(), carried, rig.token()))).toBe('audience_mismatch')
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('ok')
  })
  it.each([[0, 'ok'], [58_999, 'ok'], [59_999, 'ok'], [60_000, 'artifact_expired'], [61_000, 'artifact_expired'], [120_000, 'artifact_expired']] as const)('ATK-002: %i ms after it was issued: %s', async (ms, code) => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    rig.clock.advance(ms)
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe(code)
  })
  it.each(['agent:tester', 'artifact', 'policy:test/0', 'key', 'all'])('ATK-124: issued before a kill or revocation of %s and redeemed after it, it is killed or revoked, and nothing is spent', async (what) => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    const selector = what === 'artifact' ? `artifact:${carried.permit.jti}` : what === 'key' ? `key:${gate.id}` : what
    await rig.plane.stops.kill(selector, rig.plane.sub)
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('killed')
    await rig.plane.stops.revoke(selector, rig.plane.sub)
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('revoked')
    await rig.restart()
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('revoked')
    expect(await count(rig, 'redemption')).toBe(0)
  })
  it('under a newer policy epoch it is policy_superseded', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    rig.policies = policySet(`${PERMIT_ALL} forbid (principal, action, resource == Tool::"mcp://fs/write_file");`)
    await rig.restart()
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('policy_superseded')
  })
  it('in another environment, or another session, of the same gate it is refused', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    const old = gate.session
    gate.session = rig.token()
    Object.assign(gate.environment, { document: { host: 'elsewhere' } })
    await gate.enrol()
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('environment_mismatch')
    expect(await outcome(rig.plane.redeem({ session: old, artifact: { ...carried.sealed }, challenge: rig.token() }, gate.id, { size: 0 })), 'the fenced session').toBe('identity_invalid')
    Object.assign(gate.environment, { document: { host: 'test' } })
    gate.session = rig.token()
    await gate.enrol()
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token())), 'the same environment again').toBe('ok')
  })
  it('a tool that is pinned in another definition at the redemption is tool_changed, one that is not pinned any more tool_not_pinned, an action that is not kept evidence_unavailable', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    await pinTools(rig.plane, gate, ['read_file'], 'mcp://fs', `sha256:${'b'.repeat(64)}`)
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('tool_changed')
    await rig.plane.tools.unpin('mcp://fs', ['read_file'], rig.plane.sub)
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('tool_not_pinned')
    await pinTools(rig.plane, gate, ['read_file'])
    const bodies = rig.store.bodies.bind(rig.store)
    rig.store.bodies = async (...args) => (await bodies(...args)).map((body) => ({ ...body, text: undefined }))
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('evidence_unavailable')
    rig.store.bodies = bodies
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('ok')
  })
  it('S12: a commit that fails redeems nothing; one that only seemed to fail is found again by the same challenge', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const [a, b] = [await issue(rig.plane, gate), await issue(rig.plane, gate)]
    const [first, second] = [rig.token(), rig.token()]
    rig.fault = { persisted: false, recoverable: true }
    expect(await outcome(redeem(rig.plane, gate, a, first))).toBe('evidence_unavailable')
    rig.fault = { persisted: true, recoverable: true }
    expect(await outcome(redeem(rig.plane, gate, b, second)), 'read back').toBe('ok')
    rig.fault = undefined
    expect(await outcome(redeem(rig.plane, gate, a, rig.token())), 'not spent by the failure').toBe('ok')
    expect(await outcome(redeem(rig.plane, gate, b, second))).toBe('ok')
    expect(await outcome(redeem(rig.plane, gate, b, rig.token()))).toBe('artifact_spent')
    expect(await count(rig, 'redemption')).toBe(2)
  })
  it('I2: the store refuses a second redemption by itself, even where the state had forgotten the first', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const [carried, other] = [await issue(rig.plane, gate), await issue(rig.plane, gate)]
    const { state } = rig.plane.log
    const before = state.open.get(carried.permit.jti)
    await redeem(rig.plane, gate, carried, rig.token())
    state.redemptionOf = () => undefined
    ;(state.open as Map<string, unknown>).set(carried.permit.jti, before)
    const codes = await Promise.all([carried, other].map((one) => outcome(redeem(rig.plane, gate, one, rig.token()))))
    expect(codes, 'and nobody else is refused for it').toEqual(['artifact_spent', 'ok'])
    expect(await count(rig, 'redemption')).toBe(2)
  })
  it('evidence of one execution shows permit, redemption and receipt, and verifies', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    await redeem(rig.plane, gate, carried, rig.token())
    await gate.report(gate.receiptFor(carried.permit.jti, carried.leaf))
    expect((await rig.plane.reader.show(carried.permit.jti)).entries.map((e) => e.kind)).toEqual(['permit', 'redemption', 'receipt'])
    const bundle = parseBundle(utf8(formatBundle(await rig.plane.reader.evidence(carried.permit.jti))))
    expect(verifyBundle(bundle, { crypto: nodeCryptography, logKey: rig.key, gateKeys: [] }).verdict).toBe('established')
  })
})

describe('the ending of a carried permit', () => {
  it('never redeemed it is expired after its time and the skew, not before, and then never redeemed', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf, sealed } = await issue(rig.plane, gate)
    const deadlineMs = (permit.exp + 30) * 1_000
    expect(await endOverdue(rig.plane.log, deadlineMs - 1)).toBe(0)
    expect(await endOverdue(rig.plane.log, deadlineMs)).toBe(1)
    expect((await entries(rig)).at(-1)).toMatchObject({ kind: 'expiry', jti: permit.jti, leaf_hash: leaf, outcome: 'expired' })
    expect(await outcome(redeem(rig.plane, gate, { sealed }, rig.token())), 'although this clock says that it could').toBe('artifact_spent')
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('artifact_spent')
  })
  it('never redeemed it cannot have a receipt', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await issue(rig.plane, gate)
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('challenge_mismatch')
    expect(await count(rig, 'receipt')).toBe(0)
  })
  it('ATK-074: redeemed without a receipt it is indeterminate after start window, lease and margin; a late receipt resolves it', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    const { permit, leaf } = carried
    await redeem(rig.plane, gate, carried, rig.token())
    await rig.restart()
    const deadlineMs = (permit.exp + permit.constraints.lease_seconds) * 1_000 + ENDING_MARGIN_MS
    expect(await endOverdue(rig.plane.log, deadlineMs - 1)).toBe(0)
    expect(await endOverdue(rig.plane.log, deadlineMs)).toBe(1)
    expect((await entries(rig)).at(-1)).toMatchObject({ kind: 'expiry', outcome: 'indeterminate' })
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('ok')
  })
  it('an expiry that lost to a redemption is not written', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    const redeeming = outcome(redeem(rig.plane, gate, carried, rig.token()))
    for (let i = 0; i < 50; i++) await Promise.resolve() // it waits for its place now, and the permit still looks overdue
    const ending = endOverdue(rig.plane.log, (carried.permit.exp + 30) * 1_000)
    expect([await redeeming, await ending]).toEqual(['ok', 0])
    expect(await count(rig, 'expiry')).toBe(0)
  })
})

describe('ATK-044: a redemption is remembered for longer than its permit can be shown', () => {
  it('whatever is redeemed when: to exp + skew + margin at least, and not for ever', () => {
    const id = (n: number): string => toBase64Url(new Uint8Array(16).fill(n & 255, 0, 1).fill((n >> 8) & 255, 1, 2))
    fc.assert(
      fc.property(fc.array(fc.record({ waitMs: fc.integer({ min: 0, max: 40_000 }), seconds: fc.integer({ min: 1, max: 60 }), usedMs: fc.nat(59_999) }), { minLength: 1, maxLength: 60 }), (steps) => {
        const state = new LogState()
        const redeemed: { jti: string; exp: number; timeMs: number }[] = []
        let timeMs = 1_800_000_000_000
        steps.forEach(({ waitMs, seconds, usedMs }, n) => {
          timeMs += waitMs
          // Issued before, by at most its whole life; never redeemed when it had ended.
          const iat = Math.floor((timeMs - Math.min(usedMs, seconds * 1_000 - 1)) / 1_000)
          const exp = iat + seconds
          if (Math.floor(timeMs / 1_000) >= exp) return
          state.apply({ v: 1, seq: n, time: timeMs, tenant: 'default', kind: 'redemption', jti: id(n), leaf_hash: `sha256:${'0'.repeat(64)}`, aud: 'g', challenge: id(n), exp }, `sha256:${'0'.repeat(64)}`)
          redeemed.push({ jti: id(n), exp, timeMs })
          for (const old of redeemed) if (timeMs < (old.exp + 30) * 1_000 + ENDING_MARGIN_MS) expect(state.redemptionOf(old.jti), 'still to be told apart').toBeDefined()
          expect(state.redeemedCount).toBe(redeemed.filter((old) => timeMs - old.timeMs < REDEEMED_LIFE_MS).length)
        })
      }),
      { numRuns: 500 },
    )
  })
  it('the key that it spent stays in the store', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    await redeem(rig.plane, gate, carried, rig.token())
    rig.clock.advance(10 * REDEEMED_LIFE_MS)
    await gate.enrol() // its session ended meanwhile
    await redeem(rig.plane, gate, await issue(rig.plane, gate), rig.token())
    expect(rig.plane.log.state.redemptionOf(carried.permit.jti)).toBeUndefined()
    expect(await rig.store.spentAt(`jti ${carried.permit.jti}`)).toBeTypeOf('number')
    const group = { firstSeq: rig.plane.log.size, entries: ['{}'], bodies: [], checkpoint: undefined, tiles: [], spent: [`jti ${carried.permit.jti}`] }
    expect(await rig.store.append(group)).toBe('spent')
  })
})

/** One step of what agents, gates, time and crashes may do, in any order. */
type Step =
  | { readonly do: 'issue'; readonly gate: number; readonly seconds: number }
  | { readonly do: 'redeem'; readonly artifact: number; readonly gate: number; readonly challenge: number }
  | { readonly do: 'receipt'; readonly artifact: number; readonly outcome: 'completed' | 'failed' }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'restart' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 3, arbitrary: fc.record({ do: fc.constant('issue' as const), gate: fc.constantFrom(0, 0, 0, 1), seconds: fc.integer({ min: 1, max: 60 }) }) },
  { weight: 6, arbitrary: fc.record({ do: fc.constant('redeem' as const), artifact: fc.nat(2), gate: fc.constantFrom(0, 0, 0, 1), challenge: fc.nat(1) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('receipt' as const), artifact: fc.nat(2), outcome: fc.constantFrom('completed' as const, 'failed' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.constantFrom(1, 999, 5_000, 20_000, 59_000, 61_000, 95_000, 400_000) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('restart' as const) }) },
)

interface Modelled {
  readonly artifact: Awaited<ReturnType<typeof issue>>
  readonly gate: number
  redeemedBy: { readonly challenge: string; readonly atMs: number } | undefined
  ending: 'receipt' | 'expired' | 'indeterminate' | undefined
}

describe('the life of a carried permit', () => {
  it('I2, I3: in every order of issue, redeem, receipt, time and restart there are never two redemptions, and exactly one effective ending', async () => {
    let seed = 0
    const seen = new Map<string, number>()
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 30 }), async (steps) => {
        const rig = await Rig.open(`life ${seed++}`)
        try {
          const gates = [await rig.gate(), await rig.gate()] as [TestGate, TestGate]
          const challenges = [rig.token(), rig.token()] as [string, string]
          const known: Modelled[] = []
          for (const one of [{ do: 'issue', gate: 0, seconds: 60 } as const, ...steps]) {
            const code = await perform(one, rig, gates, challenges, known)
            seen.set(`${one.do} ${code}`, (seen.get(`${one.do} ${code}`) ?? 0) + 1)
          }
          await wait(rig, 1_000_000, known)
          await judge(rig, known)
        } finally {
          await rig.remove()
        }
      }),
      { numRuns: sized(60, 2_000), seed: Number(process.env['SEALWRIT_SEED'] ?? 20_261_123) },
    )
    console.log(`lives of carried permits: ${JSON.stringify(Object.fromEntries([...seen].sort(([a], [b]) => (a < b ? -1 : 1))))}`)
    // The orders were really met, and not only the easy ones.
    for (const met of ['redeem ok', 'redeem artifact_spent', 'redeem artifact_expired', 'redeem audience_mismatch', 'receipt ok', 'receipt challenge_mismatch', 'receipt artifact_spent']) expect(seen.get(met) ?? 0, met).toBeGreaterThan(0)
  }, 600_000)
})

/** Performs one step, and holds the answer against what the model says. */
async function perform(one: Step, rig: Rig, gates: [TestGate, TestGate], challenges: [string, string], known: Modelled[]): Promise<string> {
  switch (one.do) {
    case 'issue': {
      const gate = gates[one.gate] as TestGate
      const reply = await askIssue(rig.plane, issueRequest(gate, toolCall(), { seconds: one.seconds }))
      if (reply.decision !== 'permit') throw new Error(JSON.stringify(reply))
      known.push({ artifact: carriedOf(reply.sealed), gate: one.gate, redeemedBy: undefined, ending: undefined })
      return 'ok'
    }
    case 'redeem': {
      const life = known[one.artifact]
      if (life === undefined) return 'none'
      const challenge = challenges[one.challenge] as string
      const code = await outcome(redeem(rig.plane, gates[one.gate] as TestGate, life.artifact, challenge))
      const nowMs = rig.plane.log.state.timeMs > rig.clock.wallMs() ? rig.plane.log.state.timeMs : rig.clock.wallMs()
      expect(expectedOf(life, one, challenge, nowMs)).toContain(code)
      if (code === 'ok') life.redeemedBy ??= { challenge, atMs: nowMs }
      return code
    }
    case 'receipt': {
      const life = known[one.artifact]
      if (life === undefined) return 'none'
      const gate = gates[life.gate] as TestGate
      const { permit, leaf } = life.artifact
      const change = one.outcome === 'completed' ? {} : { outcome: 'failed', cause: 'tool_error' }
      const code = await outcome(gate.report(gate.receiptFor(permit.jti, leaf, change)))
      const may = life.ending === 'receipt' || life.ending === 'expired' ? 'artifact_spent' : life.redeemedBy === undefined ? 'challenge_mismatch' : 'ok'
      expect(code).toBe(may)
      if (code === 'ok') life.ending = 'receipt'
      return code
    }
    case 'wait':
      await wait(rig, one.ms, known)
      return 'ok'
    case 'restart':
      await rig.restart()
      return 'ok'
  }
}

function expectedOf(life: Modelled, { gate }: { gate: number }, challenge: string, nowMs: number): string[] {
  if (gate !== life.gate) return ['audience_mismatch']
  const isOver = Math.floor(nowMs / 1_000) >= life.artifact.permit.exp
  if (life.redeemedBy === undefined) return [isOver ? 'artifact_expired' : 'ok']
  const answer = life.redeemedBy.challenge === challenge ? 'ok' : 'artifact_spent'
  return nowMs - life.redeemedBy.atMs >= REDEEMED_LIFE_MS ? [answer, 'artifact_expired'] : [answer] // it may be forgotten, and then it is over
}

async function wait(rig: Rig, ms: number, known: readonly Modelled[]): Promise<void> {
  rig.clock.advance(ms)
  await endOverdue(rig.plane.log, rig.clock.wallMs())
  for (const life of known) {
    if (life.ending !== undefined) continue
    const { exp, constraints } = life.artifact.permit
    const deadlineMs = life.redeemedBy === undefined ? (exp + 30) * 1_000 : (exp + constraints.lease_seconds) * 1_000 + ENDING_MARGIN_MS
    if (rig.clock.wallMs() >= deadlineMs) life.ending = life.redeemedBy === undefined ? 'expired' : 'indeterminate'
  }
}

async function judge(rig: Rig, known: readonly Modelled[]): Promise<void> {
  const logged = await entries(rig)
  for (const { artifact, redeemedBy, ending } of known) {
    const { jti } = artifact.permit
    const redemptions = logged.filter((e) => e.kind === 'redemption' && e.jti === jti)
    expect(redemptions).toHaveLength(redeemedBy === undefined ? 0 : 1)
    const expiries = logged.flatMap((e) => (e.kind === 'expiry' && e.jti === jti ? [e] : []))
    const receipts = logged.flatMap((e) => (e.kind === 'receipt' && e.jti === jti ? [e] : []))
    const effective = expiries.length + receipts.filter(({ resolves }) => resolves === undefined).length
    expect(effective, 'exactly one effective ending').toBe(1)
    expect(receipts.length).toBeLessThanOrEqual(1)
    expect(receipts.length > 0 ? 'receipt' : expiries[0]?.outcome).toBe(ending)
    if (redeemedBy === undefined) expect(expiries.map(({ outcome: how }) => how)).toEqual(['expired'])
    else expect(expiries.every(({ outcome: how }) => how === 'indeterminate')).toBe(true)
  }
  expect(verifyBundle(await rig.plane.reader.evidence('all'), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [] }).verdict).toBe('established')
}
