import { generateKeyPairSync } from 'node:crypto'
import { ENDING_MARGIN_MS, endOverdue } from '@sealwrit/control-plane'
import { type Entry, parseEntry, parseProof } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { outcome, openRigs, PERMIT_ALL, policySet, type Rig, TestGate, told, toolCall } from './support/rig.ts'

const open = openRigs()
const entries = async (rig: Rig): Promise<Entry[]> => (await rig.store.entries(0, 10_000)).map(parseEntry)
const count = async (rig: Rig, kind: Entry['kind']): Promise<number> => (await entries(rig)).filter((e) => e.kind === kind).length

describe('authorize', () => {
  it('I3: answers with a permit that is in the store already', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit } = await gate.permit()
    expect((await rig.store.entries(permit.seq, 1)).map(parseEntry)).toEqual([permit])
    expect(permit).toMatchObject({ aud: gate.id, use: 'challenge', iss: 'rig.test/default', owner: 'team:rig', depth: 0, txn: permit.jti, exp: permit.iat + 60 })
  })

  it('ATK-045: a lost reply is given again for the same challenge and request: 100 times, one permit', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const request = gate.request()
    const replies = await Promise.all(Array.from({ length: 100 }, () => gate.authorize(request)))
    const texts = replies.map((reply) => (reply.decision === 'permit' ? `${reply.sealed.entry} ${parseProof(reply.sealed.proof).extra?.join()}` : 'no'))
    expect(new Set(texts).size).toBe(1)
    expect(await count(rig, 'permit')).toBe(1)
    await rig.restart()
    const again = await gate.authorize(request)
    expect(again.decision === 'permit' ? `${again.sealed.entry} ${parseProof(again.sealed.proof).extra?.join()}` : again).toBe(texts[0])
    expect(await count(rig, 'permit')).toBe(1)
  })
  it('ATK-045: the same challenge with another request is challenge_mismatch, also after a restart, and issues nothing', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const request = gate.request()
    await gate.authorize(request)
    const other = { ...request, action: toolCall('read_file', { path: '/etc/shadow' }) }
    expect(await outcome(gate.authorize(other))).toBe('challenge_mismatch')
    await rig.restart()
    expect(await outcome(gate.authorize(other))).toBe('challenge_mismatch')
    expect(await count(rig, 'permit')).toBe(1)
  })
  it.each([
    ['another agent', { agent: { name: 'somebody-else', verified: true } }],
    ['an agent that is not verified', { agent: { name: 'tester', verified: false } }],
    ['other facts', { facts: { paths: 'outside' } }],
    ['a parent', { parent: { jti: 'AAAAAAAAAAAAAAAAAAAAAA', leaf_hash: `sha256:${'a'.repeat(64)}` } }],
  ] as const)('ATK-045: the same challenge and action with %s is another request, also after a restart', async (_what, change) => {
    const rig = await open()
    const gate = await rig.gate()
    const request = gate.request()
    await gate.authorize(request)
    const isRefused = async (): Promise<void> => expect(['challenge_mismatch', 'parent_unknown']).toContain(await gate.authorize({ ...request, ...change }).then(told, (error: unknown) => (error as { code: string }).code))
    await isRefused()
    await rig.restart()
    await isRefused()
    expect(told(await gate.authorize(request))).toBe('permit')
    expect(await count(rig, 'permit')).toBe(1)
  })
  it('a denial is repeated too, and logged once', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const request = gate.request(toolCall('unlisted'))
    expect([told(await gate.authorize(request)), told(await gate.authorize(request))]).toEqual(['tool_not_pinned', 'tool_not_pinned'])
    expect(await count(rig, 'deny')).toBe(1)
  })
  it('two gates may draw the same challenge: each has its own answer', async () => {
    const rig = await open()
    const [a, b] = [await rig.gate(), await rig.gate()]
    const challenge = rig.token()
    const [first, second] = [await a.permit(a.request(toolCall(), { challenge })), await b.permit(b.request(toolCall(), { challenge }))]
    expect([first.permit.aud, second.permit.aud]).toEqual([a.id, b.id])
    expect(first.permit.jti).not.toBe(second.permit.jti)
  })

  it('ATK-048: 10^4 ids never repeat, and a repeated jti is never issued', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const permits = (await Promise.all(Array.from({ length: 10_000 }, () => gate.permit()))).map(({ permit }) => permit)
    expect(new Set(permits.map((p) => p.jti)).size).toBe(10_000)
    expect(new Set(permits.map((p) => p.action_commit)).size).toBe(10_000) // a fresh salt each
    rig.rng.bytes = (length) => new Uint8Array(length).fill(7)
    expect(await outcome(gate.authorize(gate.request(toolCall(), { challenge: 'AAAAAAAAAAAAAAAAAAAAAA' })))).toBe('ok')
    expect(await outcome(gate.authorize(gate.request(toolCall(), { challenge: 'AQAAAAAAAAAAAAAAAAAAAA' })))).toBe('unavailable')
  })
})

describe('the state at the very place in the log decides', () => {
  it('ATK-049: a session that a newer one of the same gate fenced is refused', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const old = gate.request()
    gate.session = rig.token()
    await gate.enrol()
    expect(told(await gate.authorize(old))).toBe('identity_invalid')
    expect(told(await gate.authorize())).toBe('permit')
  })
  it('a gate that never enrolled is identity_unknown', async () => {
    const rig = await open()
    await rig.gate()
    const stranger = new TestGate(rig)
    expect(told(await stranger.authorize())).toBe('identity_unknown')
  })
  it('an environment other than the session’s is environment_mismatch', async () => {
    const rig = await open()
    const gate = await rig.gate()
    expect(told(await gate.authorize(gate.request(toolCall(), { environment: `sha256:${'0'.repeat(64)}` })))).toBe('environment_mismatch')
  })
  it('a commitment that is not of the document it came with does not enrol', async () => {
    const rig = await open()
    const gate = new TestGate(rig)
    const environment = { ...gate.environment, commit: `sha256:${'0'.repeat(64)}` }
    expect(await outcome(rig.plane.enrol(gate.enrolment({ environment }), { size: 0 }))).toBe('environment_mismatch')
    expect(await outcome(rig.plane.enrol(gate.enrolment({ key: 'AAAA' }), { size: 0 }))).toBe('encoding_invalid')
    expect(await count(rig, 'gate')).toBe(0)
  })
  it('a tool that nobody listed is tool_not_pinned, one whose definition changed is tool_changed', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const changed = `sha256:${'b'.repeat(64)}`
    expect(told(await gate.authorize(gate.request(toolCall('other'))))).toBe('tool_not_pinned')
    expect(told(await gate.authorize(gate.request(toolCall('read_file', {}, { tool_digest: changed }))))).toBe('tool_changed')
    expect(told(await gate.authorize(gate.request(toolCall('read_file', {}, { target: 'mcp://other' }))))).toBe('tool_not_pinned')
    // Listing it again does not accept the change.
    expect(await rig.plane.tools.record({ session: gate.session, target: 'mcp://fs', tools: [{ name: 'read_file', digest: changed }] })).toEqual([{ name: 'read_file', pinned: `sha256:${'a'.repeat(64)}` }])
    expect(told(await gate.authorize(gate.request(toolCall('read_file', {}, { tool_digest: changed }))))).toBe('tool_changed')
  })
  it('I9: every refusal has its entry, with what was asked and by whom', async () => {
    const rig = await open()
    rig.policies = policySet(`${PERMIT_ALL} forbid (principal, action, resource == Tool::"mcp://fs/write_file");`)
    await rig.restart()
    const gate = await rig.gate()
    const reply = await gate.authorize(gate.request(toolCall('write_file')))
    expect(reply).toMatchObject({ decision: 'deny', code: 'policy_denied' })
    expect((await entries(rig)).at(-1)).toMatchObject({ kind: 'deny', code: 'policy_denied', aud: gate.id, act: { sub: 'agent:tester' }, scope: { name: 'write_file' }, policy: { determining: ['test/1'] } })
  })
  it('a policy with @approval is a hold: logged, and never a permit', async () => {
    const rig = await open()
    rig.policies = policySet(`@approval("group:ops quorum:1") ${PERMIT_ALL}`)
    await rig.restart()
    const gate = await rig.gate()
    expect(told(await gate.authorize())).toBe('hold')
    expect((await entries(rig)).at(-1)).toMatchObject({ kind: 'hold', scope: { name: 'read_file' } })
  })
})

describe('receipts', () => {
  it('end their permit once: a second one, and any other, is artifact_spent', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    const receipt = gate.receiptFor(permit.jti, leaf)
    const seq = await gate.report(receipt)
    expect(await gate.report(receipt)).toBe(seq) // its answer was lost: the same one again
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('artifact_spent')
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf, { outcome: 'failed', cause: 'tool_error' })))).toBe('artifact_spent')
    expect(await outcome(gate.report(gate.receiptFor(rig.token(), leaf)))).toBe('artifact_spent')
    await rig.restart()
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('artifact_spent')
    expect(await count(rig, 'receipt')).toBe(1)
  })
  it('sent twice at once still end it once', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    const codes = await Promise.all(Array.from({ length: 20 }, () => outcome(gate.report(gate.receiptFor(permit.jti, leaf)))))
    expect(codes.filter((code) => code === 'ok')).toHaveLength(1)
  })
  it('that are forged, of another gate, leaf, session or tenant are refused', async () => {
    const rig = await open()
    const [gate, other] = [await rig.gate(), await rig.gate()]
    const { permit, leaf } = await gate.permit()
    const evil = generateKeyPairSync('ed25519').privateKey
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf, {}, evil)))).toBe('signature_invalid')
    expect(await outcome(other.report(other.receiptFor(permit.jti, leaf)))).toBe('audience_mismatch')
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, `sha256:${'0'.repeat(64)}`)))).toBe('seal_invalid')
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf, { session: rig.token() })))).toBe('subject_mismatch')
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf, { tenant: 'other' })))).toBe('subject_mismatch')
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf, { gate: other.id })))).toBe('subject_mismatch')
    expect(await outcome(rig.plane.receipt({ session: other.session, receipt: gate.receiptFor(permit.jti, leaf) }, other.id))).toBe('key_unknown')
    expect(await count(rig, 'receipt')).toBe(0)
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('ok')
  })
  it('ATK-074: a permit without one becomes indeterminate after start window, lease and margin, once; a late receipt resolves it, once', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    const deadlineMs = (permit.exp + permit.constraints.lease_seconds) * 1_000 + ENDING_MARGIN_MS
    expect(await endOverdue(rig.plane.log, deadlineMs - 1)).toBe(0)
    expect(await Promise.all([endOverdue(rig.plane.log, deadlineMs), endOverdue(rig.plane.log, deadlineMs)])).toContain(1)
    expect(await count(rig, 'expiry')).toBe(1)
    const ending = (await entries(rig)).find((e) => e.kind === 'expiry') as Entry
    expect(ending).toMatchObject({ jti: permit.jti, leaf_hash: leaf, outcome: 'indeterminate' })
    await rig.restart()
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('ok')
    expect((await entries(rig)).at(-1)).toMatchObject({ kind: 'receipt', resolves: ending.seq })
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('artifact_spent')
    expect(await endOverdue(rig.plane.log, deadlineMs * 2)).toBe(0)
  })
  it('the watch runs by itself', async () => {
    const rig = await open()
    const gate = await rig.gate()
    await gate.permit()
    for (const step of [400_000, 5_000]) {
      rig.clock.advance(step)
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    expect(await count(rig, 'expiry')).toBe(1)
  })
})

describe('enrolment', () => {
  it('that is refused as a whole is heard as a whole: no rejection is left over that would end the plane', async () => {
    const rig = await open()
    const unheard: unknown[] = []
    const listen = (reason: unknown): void => void unheard.push(reason)
    process.on('unhandledRejection', listen)
    rig.clock.jump(3_600_000)
    expect(await outcome(new TestGate(rig).enrol())).toBe('clock_rollback')
    await new Promise((resolve) => setTimeout(resolve, 20))
    process.off('unhandledRejection', listen)
    expect(unheard).toEqual([])
  })
})
