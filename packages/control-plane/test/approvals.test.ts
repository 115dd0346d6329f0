import { expireHolds, MAX_HOLDS_A_MINUTE, MAX_OPEN_HOLDS } from '@sealwrit/control-plane'
import { type AuthorizeRequest, type Entry, parseApprovalRefs, parseEntry, type Permit } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { TestApprover } from './support/approver.ts'
import { outcome, policySet, Rig, type TestGate, TOOL_DIGEST, told, toolCall } from './support/rig.ts'

const HELD = '@approval("group:secops quorum:2") @risk("high") permit (principal, action, resource);'
const rigs: Rig[] = []
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})
async function open(policy = HELD, quorumPeople = ['ann', 'bob', 'cyd']): Promise<{ rig: Rig; gate: TestGate; people: TestApprover[] }> {
  const rig = await Rig.open('approvals', policySet(policy))
  rigs.push(rig)
  const gate = await rig.gate()
  const people: TestApprover[] = []
  for (const name of quorumPeople) people.push(await TestApprover.registered(rig.plane, name))
  return { rig, gate, people }
}
const entries = async (rig: Rig): Promise<Entry[]> => (await rig.store.entries(0, 10_000)).map(parseEntry)
const count = async (rig: Rig, kind: Entry['kind']): Promise<number> => (await entries(rig)).filter((e) => e.kind === kind).length
/** Asks until it is held. @returns the id of the hold, and the request to ask with again */
async function hold(gate: TestGate, action = toolCall()): Promise<{ id: string; again: (change?: Partial<AuthorizeRequest>) => Promise<string> }> {
  const reply = await gate.authorize(gate.request(action))
  if (reply.decision !== 'hold') throw new Error(`not held: ${told(reply)}`)
  return { id: reply.hold, again: async (change = {}) => told(await gate.authorize(gate.request(action, { hold: reply.hold, ...change }))) }
}
const last = async <K extends Entry['kind']>(rig: Rig, kind: K): Promise<Extract<Entry, { kind: K }>> => (await entries(rig)).findLast((e) => e.kind === kind) as Extract<Entry, { kind: K }>

describe('a held request', () => {
  it('ATK-108: is permitted once a quorum of distinct persons signed the commitment of its hold, which the permit reuses', async () => {
    const { rig, gate, people: [ann, bob] } = await open()
    const { id, again } = await hold(gate)
    const held = await last(rig, 'hold')
    expect(held).toMatchObject({ hold: id, risk: 'high', approval: { groups: ['secops'], quorum: 2, expires: Math.floor(held.time / 1_000) + 600 } })
    expect(await again(), 'nobody approved').toBe('hold')
    expect(await ann?.approve(rig.plane, id)).toMatchObject({ event: 'approved', approvals: 1, quorum: 2 })
    expect(await again(), 'one of two').toBe('hold')
    await bob?.approve(rig.plane, id)
    expect(await again()).toBe('permit')
    const permit = (await last(rig, 'permit')) as Permit
    expect(permit.action_commit).toBe(held.action_commit)
    expect(permit.risk).toBe('high')
    const approvals = (await entries(rig)).filter((e) => e.kind === 'approval').map(({ seq }) => seq)
    expect(parseApprovalRefs(permit.approvals).map(({ seq, isGrant }) => [seq, isGrant])).toEqual(approvals.map((seq) => [seq, false]))
    expect(await count(rig, 'hold'), 'one prompt').toBe(1)
  })
  it('runs on when it is just asked again, by whoever does not know the id', async () => {
    const { rig, gate, people } = await open()
    const { id } = await hold(gate)
    for (const person of people.slice(0, 2)) await person.approve(rig.plane, id)
    expect(told(await gate.authorize())).toBe('permit')
  })
  it('ATK-111: an approval is spent with its first execution, also after a restart', async () => {
    const { rig, gate, people } = await open()
    const { id, again } = await hold(gate)
    for (const person of people) await person.approve(rig.plane, id)
    expect([await again(), await again()]).toEqual(['permit', 'approval_required'])
    await rig.restart()
    expect(await again()).toBe('approval_required')
    expect(told(await gate.authorize()), 'a new request is a new hold').toBe('hold')
    expect([await count(rig, 'permit'), await count(rig, 'hold')]).toEqual([1, 2])
  })
  it('ATK-108: other arguments, another tool, agent or gate have no approval: nothing is permitted on it', async () => {
    const { rig, gate, people } = await open()
    const { id, again } = await hold(gate)
    for (const person of people) await person.approve(rig.plane, id)
    expect(await again({ action: toolCall('read_file', { path: '/etc/shadow' }) })).toBe('approval_required')
    expect(await again({ action: toolCall('write_file') })).toBe('approval_required')
    expect(await again({ agent: { name: 'other', verified: true } })).toBe('approval_required')
    expect(await again({ agent: { name: 'tester', verified: false } })).toBe('approval_required')
    const other = await rig.gate()
    expect(told(await other.authorize(other.request(toolCall(), { hold: id })))).toBe('approval_required')
    expect(await again({ hold: rig.token() }), 'no such hold').toBe('approval_required')
    expect(await count(rig, 'permit')).toBe(0)
    expect(await again()).toBe('permit')
  })
  it('a lost answer is given again for its challenge, with the salt that was approved', async () => {
    const { rig, gate, people } = await open()
    const { id } = await hold(gate)
    for (const person of people) await person.approve(rig.plane, id)
    const request = gate.request(toolCall(), { hold: id })
    const [first, second] = [await gate.authorize(request), await gate.authorize(request)]
    expect(second).toEqual(first)
    await rig.restart()
    expect(told(await gate.authorize(request))).toBe('permit')
    expect(await count(rig, 'permit')).toBe(1)
  })
  it('the policies are asked again: a forbid of a newer epoch wins, a changed demand asks anew', async () => {
    const { rig, gate, people } = await open()
    const { id, again } = await hold(gate)
    for (const person of people) await person.approve(rig.plane, id)
    rig.policies = policySet(`${HELD} forbid (principal, action, resource);`)
    await rig.restart()
    expect(await again()).toBe('policy_denied')
    rig.policies = policySet(HELD.replace('quorum:2', 'quorum:3'))
    await rig.restart()
    expect(await again(), 'approved under another demand').toBe('approval_required')
    expect(told(await gate.authorize())).toBe('hold')
    rig.policies = policySet(HELD)
    await rig.restart()
    expect(await again(), 'the demand that was met').toBe('permit')
  })
  it('a tool that changed meanwhile is not run on the old approval', async () => {
    const { rig, gate, people } = await open()
    const { id, again } = await hold(gate)
    for (const person of people) await person.approve(rig.plane, id)
    expect(await again({ action: toolCall('read_file', { path: '/srv/q3.txt' }, { tool_digest: `sha256:${'b'.repeat(64)}` }) })).toBe('tool_changed')
  })
  it('a carried artifact is held, approved and issued in the same way', async () => {
    const { rig, gate, people } = await open()
    const issue = { action: toolCall(), agent: { name: 'tester', verified: true }, audience: gate.id, form: 'redeem', seconds: 60 } as const
    const reply = await rig.plane.issue(issue, { size: 0 })
    if (reply.decision !== 'hold') throw new Error('not held')
    for (const person of people) await person.approve(rig.plane, reply.hold)
    expect(told(await rig.plane.issue({ ...issue, hold: reply.hold }, { size: 0 }))).toBe('permit')
    expect(told(await rig.plane.issue({ ...issue, hold: reply.hold }, { size: 0 }))).toBe('approval_required')
  })
})

describe('who may approve (ATK-109)', () => {
  it('one person counts once, whatever they sign with', async () => {
    const { rig, gate, people: [ann] } = await open()
    const { id, again } = await hold(gate)
    const first = await ann?.approve(rig.plane, id)
    expect(await ann?.approve(rig.plane, id)).toEqual(first)
    const spare = new TestApprover('ann')
    await spare.register(rig.plane)
    expect(spare.person, 'a further key of the same person').toBe(ann?.person)
    expect(await spare.approve(rig.plane, id)).toMatchObject({ approvals: 1 })
    expect(await again()).toBe('hold')
    expect(await count(rig, 'approval')).toBe(1)
  })
  it('a key or a principal that is one person’s cannot be a second person’s', async () => {
    const { rig, people: [ann] } = await open()
    const twin = new TestApprover('twin', ann?.keys)
    expect(await outcome(twin.register(rig.plane))).toBe('subject_mismatch')
    await TestApprover.registered(rig.plane, 'dee', ['secops'], 'user:dee')
    expect(await outcome(TestApprover.registered(rig.plane, 'eve', ['secops'], 'user:dee'))).toBe('subject_mismatch')
  })
  it('the requester does not approve its own request, nor does who answers for it', async () => {
    const { rig, gate } = await open()
    const { id } = await hold(gate)
    const self = await TestApprover.registered(rig.plane, 'self', ['secops'], rig.plane.sub)
    const owner = await TestApprover.registered(rig.plane, 'owner', ['secops'], 'team:rig')
    expect(await outcome(self.approve(rig.plane, id))).toBe('quorum_not_met')
    expect(await outcome(owner.approve(rig.plane, id))).toBe('quorum_not_met')
  })
  it('strangers, other groups and removed persons do not count', async () => {
    const { rig, gate } = await open()
    const { id } = await hold(gate)
    const stranger = new TestApprover('stranger')
    stranger.person = 'person:nobody'
    expect(await outcome(stranger.approve(rig.plane, id))).toBe('identity_unknown')
    const legal = await TestApprover.registered(rig.plane, 'lea', ['legal'])
    expect(await outcome(legal.approve(rig.plane, id))).toBe('identity_unknown')
    await rig.plane.people.removeApprover('ann', undefined, rig.plane.sub)
    expect(await outcome(new TestApprover('x').approve(rig.plane, id, { person: 'person:x' }))).toBe('identity_unknown')
  })
  it('a role that was lost, a key that was removed, or a person who left between approval and use: quorum_not_met', async () => {
    for (const lose of [
      (rig: Rig, ann: TestApprover) => ann.register(rig.plane, ['interns']),
      (rig: Rig) => rig.plane.people.removeApprover('ann', undefined, rig.plane.sub),
      async (rig: Rig, ann: TestApprover) => {
        await new TestApprover('ann').register(rig.plane)
        await rig.plane.people.removeApprover('ann', ann.publicKey, rig.plane.sub)
      },
      (rig: Rig, ann: TestApprover) => ann.register(rig.plane, ['secops'], rig.plane.sub),
    ] as const) {
      const { rig, gate, people: [ann, bob, cyd] } = await open()
      const { id, again } = await hold(gate)
      await ann?.approve(rig.plane, id)
      await bob?.approve(rig.plane, id)
      await lose(rig, ann as TestApprover)
      expect(await again()).toBe('quorum_not_met')
      await cyd?.approve(rig.plane, id)
      expect(await again(), 'two that count').toBe('permit')
    }
  })
  it.each([
    ['another action', { action_commit: `sha256:${'0'.repeat(64)}` }, 'action_mismatch'],
    ['another leaf', { leaf_hash: `sha256:${'0'.repeat(64)}` }, 'action_mismatch'],
    ['another index', { index: 1 }, 'action_mismatch'],
    ['another gate', { aud: 'x' }, 'subject_mismatch'],
    ['another requester', { sub: 'user:x' }, 'subject_mismatch'],
    ['another tenant', { tenant: 'other' }, 'tenant_mismatch'],
    ['the future', { iat: 4_000_000_000 }, 'artifact_not_yet_valid'],
    ['the time before the hold', { iat: 1 }, 'artifact_expired'],
    ['another hold', { hold: 'AAAAAAAAAAAAAAAAAAAAAA' }, 'action_mismatch'],
  ] as const)('ATK-108: a signature about %s is refused', async (_name, change, code) => {
    const { rig, gate, people: [ann] } = await open()
    const { id } = await hold(gate)
    expect(await outcome(ann?.approve(rig.plane, id, change) as Promise<unknown>)).toBe(code)
    expect(await count(rig, 'approval')).toBe(0)
  })
  it('ATK-108: a signature for one hold approves no other, and one of another key or a changed one none at all', async () => {
    const { rig, gate, people: [ann, bob] } = await open()
    const { id } = await hold(gate)
    const { id: other } = await hold(gate, toolCall('write_file'))
    const { signature } = await (ann as TestApprover).request(rig.plane, id)
    expect(await outcome(rig.plane.people.decideHold({ hold: other, signature }))).toBe('action_mismatch')
    const forged = bob?.sign(await (ann as TestApprover).statement(rig.plane, id)) as string
    expect(await outcome(rig.plane.people.decideHold({ hold: id, signature: forged }))).toBe('key_unknown')
    const [head, , mark] = signature.split('.') as [string, string, string]
    const claims = Buffer.from(JSON.stringify({ decision: 'approved' })).toString('base64url')
    expect(await outcome(rig.plane.people.decideHold({ hold: id, signature: `${head}.${claims}.${mark}` }))).toBe('identity_unknown')
  })
})

describe('rejection and expiry', () => {
  it('ATK-112: what was rejected stays rejected: approvals after it are refused, and asking again until it would have expired', async () => {
    const { rig, gate, people: [ann, bob, cyd] } = await open()
    const { id, again } = await hold(gate)
    await ann?.approve(rig.plane, id)
    await bob?.approve(rig.plane, id)
    await cyd?.reject(rig.plane, id)
    expect(await again()).toBe('approval_rejected')
    expect(await outcome(ann?.approve(rig.plane, id) as Promise<unknown>)).toBe('approval_rejected')
    expect(told(await gate.authorize()), 'the same request, without the id').toBe('approval_rejected')
    await rig.restart()
    expect(await again()).toBe('approval_rejected')
    rig.clock.advance(601_000)
    expect(told(await gate.authorize())).toBe('hold')
  })
  it('ATK-110: silence is no: the plane writes the expiry, and nothing approves or uses it any more', async () => {
    const { rig, gate, people: [ann, bob] } = await open(HELD.replace('quorum:2', 'quorum:2 timeout:5m'))
    const { id, again } = await hold(gate)
    await ann?.approve(rig.plane, id)
    rig.clock.advance(299_000)
    expect(await expireHolds(rig.plane.log, rig.clock.wallMs())).toEqual([])
    rig.clock.advance(2_000)
    expect(await again(), 'also before it is written').toBe('approval_expired')
    expect(await outcome(bob?.approve(rig.plane, id) as Promise<unknown>)).toBe('approval_expired')
    expect(await expireHolds(rig.plane.log, rig.clock.wallMs())).toEqual([id])
    expect(await expireHolds(rig.plane.log, rig.clock.wallMs()), 'once').toEqual([])
    expect(await last(rig, 'approval')).toMatchObject({ hold: id, event: 'expired' })
    expect(await again()).toBe('approval_expired')
    expect(await outcome(bob?.approve(rig.plane, id) as Promise<unknown>)).toBe('approval_expired')
  })
  it('ATK-112: a rejection goes before the approvals of its commit group, whatever came first', async () => {
    const { rig, gate, people: [ann, bob, cyd] } = await open()
    const { id, again } = await hold(gate)
    const requests = [await ann?.request(rig.plane, id), await bob?.request(rig.plane, id), await cyd?.request(rig.plane, id, { decision: 'rejected' })]
    const outcomes = await Promise.all(requests.map((request) => outcome(rig.plane.people.decideHold(request as never))))
    expect(outcomes).toEqual(['approval_rejected', 'approval_rejected', 'ok'])
    expect(await again()).toBe('approval_rejected')
  })
})

describe('against fatigue (ATK-110)', () => {
  it('the same request while its hold waits is the same hold: 1,000 of them ask once', async () => {
    const { rig, gate } = await open()
    const replies = await Promise.all(Array.from({ length: 1_000 }, () => gate.authorize()))
    expect(new Set(replies.map((reply) => (reply.decision === 'hold' ? reply.hold : 'no'))).size).toBe(1)
    expect(await count(rig, 'hold')).toBe(1)
    await rig.restart()
    expect(told(await gate.authorize())).toBe('hold')
    expect(await count(rig, 'hold')).toBe(1)
  })
  it('1,000 different requests of one requester leave a bounded number to look at; the rest is budget_exceeded', async () => {
    const { rig, gate } = await open()
    const replies = await Promise.all(Array.from({ length: 1_000 }, (_, i) => gate.authorize(gate.request(toolCall('read_file', { path: `/${i}` })))))
    expect(replies.filter(({ decision }) => decision === 'hold')).toHaveLength(MAX_OPEN_HOLDS)
    expect(new Set(replies.map(told))).toEqual(new Set(['hold', 'budget_exceeded']))
    expect(await count(rig, 'deny')).toBe(1_000 - MAX_OPEN_HOLDS)
  })
  it('a name costs nothing: agents that only say who they are share one budget, verified ones have their own', async () => {
    const { gate } = await open()
    const ask = async (name: string, verified: boolean, i: number): Promise<string> => told(await gate.authorize(gate.request(toolCall('read_file', { path: `/${i}` }), { agent: { name, verified } })))
    for (let i = 0; i < MAX_OPEN_HOLDS; i++) expect(await ask(`bot-${i}`, false, i)).toBe('hold')
    expect(await ask('bot-new', false, 99)).toBe('budget_exceeded')
    expect(await ask('coder', true, 99)).toBe('hold')
  })
  it('holds a minute are limited too, however fast they are rejected', async () => {
    const { rig, gate, people: [ann] } = await open()
    let held = 0
    for (let i = 0; i < MAX_HOLDS_A_MINUTE + 5; i++) {
      const reply = await gate.authorize(gate.request(toolCall('read_file', { path: `/${i}` })))
      if (reply.decision !== 'hold') continue
      held++
      await ann?.reject(rig.plane, reply.hold)
    }
    expect(held).toBe(MAX_HOLDS_A_MINUTE)
    rig.clock.advance(61_000)
    expect(told(await gate.authorize(gate.request(toolCall('read_file', { path: '/later' }))))).toBe('hold')
  })
})

describe('a grant', () => {
  const bounds = { path: { prefix: '/srv/' } }
  it('covers later requests that fit, as often as it says and no oftener', async () => {
    const { rig, gate, people: [ann, bob] } = await open()
    const { id, again } = await hold(gate)
    await ann?.grant(rig.plane, id, 3, bounds)
    await bob?.grant(rig.plane, id, 5, bounds)
    expect(await again(), 'the held call itself').toBe('permit')
    const ask = async (path: string): Promise<string> => told(await gate.authorize(gate.request(toolCall('read_file', { path }))))
    expect(await Promise.all(['/srv/a', '/srv/b', '/srv/c', '/srv/d'].map(ask))).toEqual(['permit', 'permit', 'permit', 'hold'])
    const permits = (await entries(rig)).filter((e) => e.kind === 'permit') as Permit[]
    expect(permits.map(({ approvals }) => approvals.map((ref) => ref.startsWith('grant:')))).toEqual([[false, false], [true, true], [true, true], [true, true]])
    await rig.restart()
    expect(await ask('/srv/e'), 'counted by the log').toBe('hold')
  })
  it.each([
    ['another folder', toolCall('read_file', { path: '/etc/x' })],
    ['a way out of it', toolCall('read_file', { path: '/srv/../etc/x' })],
    ['an encoded way out', toolCall('read_file', { path: '/srv/%2e%2e/etc' })],
    ['a further argument', toolCall('read_file', { path: '/srv/a', force: true })],
    ['no argument', toolCall('read_file', {})],
    ['another argument', toolCall('read_file', { paths: ['/srv/a'] })],
    ['another tool', toolCall('write_file', { path: '/srv/a' })],
    ['answers that nobody bounded', toolCall('read_file', { path: '/srv/a' }, { input_responses: { go: { action: 'accept' } } })],
    ['a task', toolCall('read_file', { path: '/srv/a' }, { task: {} })],
  ] as const)('does not cover %s', async (_name, action) => {
    const { rig, gate, people } = await open()
    const { id } = await hold(gate)
    for (const person of people) await person.grant(rig.plane, id, 3, bounds)
    expect(told(await gate.authorize(gate.request(action)))).toBe('hold')
  })
  it('one granting approver among two does not make the quorum', async () => {
    const { rig, gate, people: [ann, bob] } = await open()
    const { id, again } = await hold(gate)
    await ann?.grant(rig.plane, id, 100, bounds)
    await bob?.approve(rig.plane, id)
    expect(await again()).toBe('permit')
    expect(told(await gate.authorize(gate.request(toolCall('read_file', { path: '/srv/a' }))))).toBe('hold')
  })
  it('ends by its time, with the role of who gave it, and by a rejection', async () => {
    const { rig, gate, people: [ann, bob, cyd] } = await open()
    const ask = async (path: string): Promise<string> => told(await gate.authorize(gate.request(toolCall('read_file', { path }))))
    const fresh = async (): Promise<string> => {
      const { id, again } = await hold(gate, toolCall('read_file', { path: `/first/${rig.token()}` }))
      await ann?.grant(rig.plane, id, 100, bounds)
      await bob?.grant(rig.plane, id, 100, bounds)
      expect(await again()).toBe('permit')
      expect(await ask('/srv/a')).toBe('permit')
      return id
    }
    await fresh()
    rig.clock.advance(3_601_000)
    await gate.enrol()
    expect(await ask('/srv/b')).toBe('hold')
    await fresh()
    await bob?.register(rig.plane, ['interns'])
    expect(await ask('/srv/c')).toBe('hold')
    await bob?.register(rig.plane, ['secops'])
    expect(await ask('/srv/d')).toBe('permit')
    rig.clock.advance(3_601_000)
    await gate.enrol()
    const id = await fresh()
    await cyd?.reject(rig.plane, id)
    expect(await ask('/srv/e')).toBe('hold')
  })
  it('is refused with other bounds than were signed, for another definition, or for too long', async () => {
    const { rig, gate, people: [ann] } = await open()
    const { id } = await hold(gate)
    expect(await outcome(ann?.grant(rig.plane, id, 3, bounds, 2_592_001) as Promise<unknown>)).toBe('lifetime_exceeded')
    expect(await outcome(ann?.grant(rig.plane, id, 1_001, bounds) as Promise<unknown>)).toBe('artifact_malformed')
    expect(await outcome(ann?.grant(rig.plane, id, 0, bounds) as Promise<unknown>)).toBe('artifact_malformed')
    expect(await outcome(ann?.grant(rig.plane, id, 3, bounds, 60, `sha256:${'b'.repeat(64)}`) as Promise<unknown>)).toBe('tool_changed')
    const grant = { uses: 3, until: Math.floor(rig.plane.nowMs / 1_000) + 60, tool_digest: TOOL_DIGEST, arguments_commit: `sha256:${'0'.repeat(64)}` }
    const { signature } = await (ann as TestApprover).request(rig.plane, id, { grant })
    expect(await outcome(rig.plane.people.decideHold({ hold: id, signature }))).toBe('action_mismatch')
    expect(await outcome(rig.plane.people.decideHold({ hold: id, signature, grant: { salt: rig.token(), value: bounds } }))).toBe('action_mismatch')
    expect(await count(rig, 'approval')).toBe(0)
  })
})
