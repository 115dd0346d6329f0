import { generateKeyPairSync } from 'node:crypto'
import { MAX_AGENT_KEYS, NONCE_LIFE_MS, SESSION_SECONDS } from '@sealwrit/control-plane'
import { type AuthorizeReply, type DenyEntry, type Entry, type EntryBody, entryText, parseEntry, toBase64Url, utf8 } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { TestAgent } from './support/identity.ts'
import { askIssue, issue, issueRequest, redeem } from './support/push.ts'
import { outcome, PERMIT_ALL, policySet, Rig, sha256, TestGate, told, toolCall } from './support/rig.ts'

const rigs: Rig[] = []
const open = async (identity?: Rig['identity'], policies = PERMIT_ALL): Promise<Rig> => {
  const rig = new Rig('agents')
  rig.identity = identity
  rig.policies = policySet(policies)
  await rig.start()
  rigs.push(rig)
  return rig
}
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})
const seconds = (rig: Rig): number => Math.floor(rig.clock.wallMs() / 1_000)
const add = (rig: Rig, agent: TestAgent, change: object = {}): Promise<number> => rig.plane.registry.changeAgent({ agent: agent.name, event: 'added', key: agent.key, owner: 'team:payments', ...change })
async function registered(rig: Rig, name = 'coder'): Promise<{ agent: TestAgent; gate: TestGate }> {
  const agent = new TestAgent(name)
  await add(rig, agent)
  return { agent, gate: await rig.gate() }
}
/** Asks as `agent`, with its proof unless another is given. */
async function ask(rig: Rig, gate: TestGate, agent: TestAgent, how: { proof?: Parameters<TestAgent['proof']>; verified?: boolean; identity?: 'none' } = {}): Promise<AuthorizeReply> {
  const action = toolCall()
  const challenge = rig.token()
  const identity = how.identity === 'none' ? {} : { identity: agent.proof(...(how.proof ?? [rig, gate, challenge, action])) }
  return gate.authorize(gate.request(action, { challenge, agent: { name: agent.name, verified: how.verified ?? true }, ...identity }))
}
const newest = async (rig: Rig): Promise<Entry> => parseEntry((await rig.store.entries(rig.plane.log.size - 1, 1))[0] as string)
/** The code outside, and the one in the record. */
async function codes(rig: Rig, asked: Promise<AuthorizeReply>): Promise<[string, string]> {
  const reply = await asked
  return [told(reply), ((await newest(rig)) as unknown as DenyEntry).code]
}

describe('an agent with a key of its own', () => {
  it('gets a permit that is bound to the key that it proved, with its owner and the principal apart', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    expect(told(await ask(rig, gate, agent))).toBe('permit')
    expect(await newest(rig)).toMatchObject({ kind: 'permit', sub: rig.plane.sub, act: { sub: 'agent:coder', verified: true }, cnf: agent.kid, owner: 'team:payments' })
  })
  it('policies see that a key was proved', async () => {
    const rig = await open(undefined, 'permit (principal, action, resource) when { context has identity && context.identity.form == "agent-key" };')
    const { agent, gate } = await registered(rig)
    expect(told(await ask(rig, gate, agent))).toBe('permit')
    expect(told(await gate.authorize(gate.request()))).toBe('policy_no_match')
  })

  const now = (rig: Rig): number => Math.floor(rig.clock.wallMs() / 1_000)
  it.each<[string, (rig: Rig, agent: TestAgent, gate: TestGate, other: TestGate) => Promise<AuthorizeReply>, string]>([
    ['no proof', (rig, agent, gate) => ask(rig, gate, agent, { identity: 'none' }), 'identity_missing'],
    ['the proof of another challenge', (rig, agent, gate) => ask(rig, gate, agent, { proof: [rig, gate, rig.token(), toolCall()] }), 'proof_of_possession_failed'],
    ['the proof for another gate', async (rig, agent, gate, other) => {
      const challenge = rig.token()
      return other.authorize(other.request(toolCall(), { challenge, agent: { name: 'coder', verified: true }, identity: agent.proof(rig, gate, challenge, toolCall()) }))
    }, 'proof_of_possession_failed'],
    ['the proof for other arguments', async (rig, agent, gate) => {
      const challenge = rig.token()
      return gate.authorize(gate.request(toolCall('read_file', { path: '/etc/shadow' }), { challenge, agent: { name: 'coder', verified: true }, identity: agent.proof(rig, gate, challenge, toolCall()) }))
    }, 'proof_of_possession_failed'],
    ...[{ aud: 'other.log/default' }, { iat: 0 }, { extra: 1 }, { agent: 'reviewer' }].map((change): [string, (rig: Rig, agent: TestAgent, gate: TestGate) => Promise<AuthorizeReply>, string] => [
      `a proof with ${JSON.stringify(change)}`,
      async (rig, agent, gate) => {
        const challenge = rig.token()
        return gate.authorize(gate.request(toolCall(), { challenge, agent: { name: 'coder', verified: true }, identity: agent.proof(rig, gate, challenge, toolCall(), change) }))
      },
      'proof_of_possession_failed',
    ]),
    ['another key under its name', (rig, _agent, gate) => ask(rig, gate, new TestAgent('coder')), 'proof_of_possession_failed'],
    ['another key under its key id', async (rig, agent, gate) => {
      const challenge = rig.token()
      return gate.authorize(gate.request(toolCall(), { challenge, agent: { name: 'coder', verified: true }, identity: agent.proof(rig, gate, challenge, toolCall(), {}, generateKeyPairSync('ed25519').privateKey) }))
    }, 'proof_of_possession_failed'],
    ['an agent that nobody knows', (rig, _agent, gate) => ask(rig, gate, new TestAgent('stranger')), 'identity_unknown'],
  ])('ATK-049, ATK-123: %s is identity_invalid outside, and the record says why', async (_what, attack, code) => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const other = await rig.gate()
    expect(now(rig)).toBeGreaterThan(60)
    expect(told(await ask(rig, gate, agent)), 'control').toBe('permit')
    expect(await codes(rig, attack(rig, agent, gate, other))).toEqual(['identity_invalid', code])
    const entries = (await rig.store.entries(0, 100)).map(parseEntry)
    expect(entries.filter(({ kind }) => kind === 'permit')).toHaveLength(1)
  })
  it('I9: a refusal is signed into the log with the action’s commitment and the name that nobody proved', async () => {
    const rig = await open()
    const { gate } = await registered(rig)
    await ask(rig, gate, new TestAgent('stranger'))
    expect(await newest(rig)).toMatchObject({ kind: 'deny', code: 'identity_unknown', act: { sub: 'agent:stranger', verified: false }, aud: gate.id, action_commit: expect.stringMatching(/^sha256:/) })
    expect(rig.plane.log.checkpoint.size).toBe(rig.plane.log.size)
  })
  it('ATK-040: 1,000 replays of one proof make one permit', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const challenge = rig.token()
    const request = gate.request(toolCall(), { challenge, agent: { name: 'coder', verified: true }, identity: agent.proof(rig, gate, challenge, toolCall()) })
    await Promise.all(Array.from({ length: 1_000 }, () => gate.authorize(request)))
    expect((await rig.store.entries(0, 10_000)).map(parseEntry).filter(({ kind }) => kind === 'permit')).toHaveLength(1)
  })
  it('who could not say who it is gets no permit that was issued before, whatever the challenge', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const challenge = rig.token()
    const request = gate.request(toolCall(), { challenge, agent: { name: 'coder', verified: true } })
    expect(told(await gate.authorize({ ...request, identity: agent.proof(rig, gate, challenge, toolCall()) }))).toBe('permit')
    expect(told(await gate.authorize(request))).toBe('identity_invalid')
  })
  it('a type that is not a proof of an agent is refused: ATK-010', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const gateProof = gate.proof()
    for (const proof of [gateProof, gate.receiptFor(rig.token(), `sha256:${'0'.repeat(64)}`), 'x.y.z', '', 'a'.repeat(8_192)]) {
      const request = gate.request(toolCall(), { agent: { name: agent.name, verified: true }, identity: { form: 'agent-key', proof } })
      expect(await codes(rig, gate.authorize(request))).toEqual(['identity_invalid', 'proof_of_possession_failed'])
    }
  })
})

describe('registered agents', () => {
  it('must all have keys where the configuration says so', async () => {
    const rig = await open({ agents: 'registered' })
    const { agent, gate } = await registered(rig)
    expect(told(await ask(rig, gate, agent))).toBe('permit')
    expect(await codes(rig, ask(rig, gate, new TestAgent('stranger'), { identity: 'none' }))).toEqual(['identity_invalid', 'identity_unknown'])
    expect(await codes(rig, ask(rig, gate, agent, { identity: 'none' }))).toEqual(['identity_invalid', 'identity_missing'])
  })
  it('ATK-063: old and new key both count while they overlap, then the old one does not', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const next = new TestAgent('coder')
    await rig.plane.registry.changeAgent({ agent: 'coder', event: 'key_added', key: next.key })
    await rig.plane.registry.changeAgent({ agent: 'coder', event: 'key_added', key: agent.key, expires: seconds(rig) + 100 })
    expect([told(await ask(rig, gate, agent)), told(await ask(rig, gate, next))]).toEqual(['permit', 'permit'])
    rig.clock.advance(99_000)
    expect(told(await ask(rig, gate, agent))).toBe('permit')
    rig.clock.advance(1_000)
    expect([told(await ask(rig, gate, agent)), told(await ask(rig, gate, next))]).toEqual(['identity_invalid', 'permit'])
    await rig.restart()
    expect([told(await ask(rig, gate, agent)), told(await ask(rig, gate, next))]).toEqual(['identity_invalid', 'permit'])
  })
  it('a key that is removed stops at once, and with it the agent when it is removed; also after a restart', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const next = new TestAgent('coder')
    await rig.plane.registry.changeAgent({ agent: 'coder', event: 'key_added', key: next.key })
    await rig.plane.registry.changeAgent({ agent: 'coder', event: 'key_removed', key: agent.key })
    expect([told(await ask(rig, gate, agent)), told(await ask(rig, gate, next))]).toEqual(['identity_invalid', 'permit'])
    await rig.plane.registry.changeAgent({ agent: 'coder', event: 'removed' })
    await rig.restart()
    expect(await codes(rig, ask(rig, gate, next))).toEqual(['identity_invalid', 'identity_unknown'])
  })
  it('a key that is removed while its request waits for its place gets no permit', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const removed = rig.plane.registry.changeAgent({ agent: 'coder', event: 'removed' })
    const asked = ask(rig, gate, agent) // verified against the state of now, in which the key is still there
    await removed
    expect(told(await asked)).toBe('identity_invalid')
  })
  it('a key never comes back, belongs to one agent only, and is no gate’s; the end of one only moves forward', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const change = (what: object): Promise<string> => outcome(rig.plane.registry.changeAgent({ agent: 'coder', event: 'key_added', key: agent.key, ...what } as never))
    expect(await outcome(add(rig, agent))).toBe('request_malformed')
    expect(await change({ agent: 'reviewer' })).toBe('identity_unknown')
    expect(await outcome(rig.plane.registry.changeAgent({ agent: 'reviewer', event: 'added', key: agent.key }))).toBe('request_malformed')
    expect(await change({ key: Buffer.from(gate.publicKey).toString('base64url') })).toBe('request_malformed')
    expect(await change({})).toBe('request_malformed')
    expect(await change({ expires: seconds(rig) })).toBe('request_malformed')
    expect([await change({ expires: seconds(rig) + 10 }), await change({ expires: seconds(rig) + 11 }), await change({ expires: seconds(rig) + 9 })]).toEqual(['ok', 'request_malformed', 'ok'])
    expect([await change({ event: 'key_removed' }), await change({ event: 'key_removed' }), await change({})]).toEqual(['ok', 'identity_unknown', 'request_malformed'])
    expect(await outcome(rig.plane.registry.changeAgent({ agent: 'coder', event: 'removed' }))).toBe('ok')
    expect(await outcome(add(rig, agent)), 'not under its old name either').toBe('request_malformed')
    expect(await change({ key: 'AAAA' })).toBe('encoding_invalid')
    for (const name of ['', 'a b', '../x', 'a'.repeat(65), 'é', 'a\n']) expect(await outcome(rig.plane.registry.changeAgent({ agent: name, event: 'added', key: new TestAgent('x').key }))).toBe('request_malformed')
  })
  it('an agent holds a bounded number of keys', async () => {
    const rig = await open()
    await registered(rig)
    for (let i = 1; i < MAX_AGENT_KEYS; i++) await rig.plane.registry.changeAgent({ agent: 'coder', event: 'key_added', key: new TestAgent('coder').key })
    expect(await outcome(rig.plane.registry.changeAgent({ agent: 'coder', event: 'key_added', key: new TestAgent('coder').key }))).toBe('overloaded')
  })
  it('are listed page by page, with their gates', async () => {
    const rig = await open()
    for (const name of ['a', 'b', 'c']) await add(rig, new TestAgent(name))
    const gate = await rig.gate()
    const first = rig.plane.registry.agents({ cursor: undefined, limit: 2 })
    expect([first.agents.map(({ agent }) => agent), first.next]).toEqual([['a', 'b'], expect.any(String)])
    expect(rig.plane.registry.agents({ cursor: first.next, limit: 2 })).toMatchObject({ agents: [{ agent: 'c', owner: 'team:payments', keys: [{ thumbprint: expect.any(String) }] }] })
    expect(rig.plane.registry.gates({ cursor: undefined, limit: 10 }).gates).toMatchObject([{ gate: gate.id, open: true, level: 'software' }])
  })

  it.each<[string, object]>([
    ['no key', { event: 'added', owner: 'o' }],
    ['no owner', { event: 'added', key: new TestAgent('a').key }],
    ['an owner of a key', { event: 'key_added', key: new TestAgent('a').key, owner: 'o' }],
    ['a key of nobody', { event: 'removed', key: new TestAgent('a').key }],
    ['an end without a key', { event: 'removed', expires: 5 }],
    ['an end of what is gone', { event: 'key_removed', key: new TestAgent('a').key, expires: 5 }],
    ['a short key', { event: 'key_added', key: 'AAAA' }],
    ['a bad name', { agent: 'a b', event: 'removed' }],
    ['another event', { event: 'promoted' }],
    ['a further member', { event: 'removed', more: 'me' }],
  ])('ATK-015: an entry with %s is malformed', (_what, change) => {
    const entry = { v: 1, seq: 0, time: 0, tenant: 'default', kind: 'agent', agent: 'a', ...change }
    expect(() => parseEntry(entryText(entry as Entry))).toThrow(/artifact_malformed|agent|unknown|member/)
  })
  it('an entry is read back as it was written', () => {
    const body: EntryBody = { kind: 'agent', agent: 'coder', event: 'added', key: new TestAgent('a').key, owner: 'team:x', expires: 7 }
    const text = entryText({ v: 1, seq: 0, time: 0, tenant: 'default', ...body } as Entry)
    expect(entryText(parseEntry(text))).toBe(text)
  })
})

describe('a carried artifact that is bound to a key', () => {
  it('ATK-049: is issued under a nonce that is good once, and redeemed by who proves the key', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const ask = (nonce: string, proofNonce = nonce) => askIssue(rig.plane, issueRequest(gate, toolCall(), { agent: { name: 'coder', verified: true }, nonce, identity: agent.proof(rig, gate, proofNonce, toolCall()) }))
    const nonce = rig.plane.nonce()
    expect(told(await ask(nonce))).toBe('permit')
    expect(await newest(rig)).toMatchObject({ cnf: agent.kid, use: 'redeem' })
    expect(await codes(rig, ask(nonce)), 'replayed').toEqual(['identity_invalid', 'proof_of_possession_failed'])
    expect(told(await ask(rig.token())), 'a nonce of one’s own').toBe('identity_invalid')
    expect(told(await ask(rig.plane.nonce(), nonce))).toBe('identity_invalid')
    const late = rig.plane.nonce()
    rig.clock.advance(NONCE_LIFE_MS)
    expect(told(await ask(late))).toBe('identity_invalid')
    expect(told(await askIssue(rig.plane, issueRequest(gate, toolCall(), { agent: { name: 'coder', verified: true }, identity: agent.proof(rig, gate, rig.token(), toolCall()) }))), 'without any').toBe('identity_invalid')
  })
  it('ATK-049: A’s connection with B’s artifact: without the proof, with another’s, for another challenge, nothing is spent', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const other = new TestAgent('reviewer')
    await add(rig, other)
    const nonce = rig.plane.nonce()
    const carried = await issue(rig.plane, gate, toolCall(), { agent: { name: 'coder', verified: true }, nonce, identity: agent.proof(rig, gate, nonce, toolCall()) })
    const challenge = rig.token()
    const present = (identity?: object): Promise<string> => outcome(rig.plane.redeem({ session: gate.session, artifact: { ...carried.sealed }, challenge, ...(identity === undefined ? {} : { identity: identity as never }) }, gate.id, { size: 0 }))
    expect(await present()).toBe('proof_of_possession_failed')
    expect(await present(other.proof(rig, gate, challenge, toolCall()))).toBe('proof_of_possession_failed')
    expect(await present(agent.proof(rig, gate, rig.token(), toolCall()))).toBe('proof_of_possession_failed')
    expect(await present(agent.proof(rig, gate, nonce, toolCall()))).toBe('proof_of_possession_failed')
    expect(await present(agent.proof(rig, gate, challenge, toolCall('write_file')))).toBe('proof_of_possession_failed')
    expect((await rig.store.entries(0, 100)).map(parseEntry).filter(({ kind }) => kind === 'redemption')).toEqual([])
    expect(await present(agent.proof(rig, gate, challenge, toolCall()))).toBe('ok')
  })
  it('a key that was removed since redeems nothing; an unbound artifact is redeemed as before', async () => {
    const rig = await open()
    const { agent, gate } = await registered(rig)
    const nonce = rig.plane.nonce()
    const carried = await issue(rig.plane, gate, toolCall(), { agent: { name: 'coder', verified: true }, nonce, identity: agent.proof(rig, gate, nonce, toolCall()) })
    const unbound = await issue(rig.plane, gate)
    await rig.plane.registry.changeAgent({ agent: 'coder', event: 'removed' })
    const challenge = rig.token()
    expect(await outcome(rig.plane.redeem({ session: gate.session, artifact: { ...carried.sealed }, challenge, identity: agent.proof(rig, gate, challenge, toolCall()) }, gate.id, { size: 0 }))).toBe('proof_of_possession_failed')
    expect(await outcome(redeem(rig.plane, gate, unbound, rig.token()))).toBe('ok')
  })
})

describe('a gate speaks for itself alone', () => {
  it.each<[string, (rig: Rig, gate: TestGate, other: TestGate) => string]>([
    ['no signature of its key', (rig, gate, other) => gate.proof(gate.session, rig.plane.nonce(), other.keys.privateKey)],
    ['the proof of another gate', (_rig, _gate, other) => other.proof()],
    ['a proof for another session', (rig, gate) => gate.proof(rig.token())],
    ['a proof for another log', (rig, gate) => gate.proof(gate.session, rig.plane.nonce(), gate.keys.privateKey, 'other.log/default')],
    ['a nonce that the plane did not give', (rig, gate) => gate.proof(gate.session, rig.token())],
    ['a receipt in place of a proof', (rig, gate) => gate.receiptFor(rig.token(), `sha256:${'0'.repeat(64)}`)],
    ['nothing', () => 'x'],
  ])('ATK-049: %s enrols nobody', async (_what, proof) => {
    const rig = await open()
    const [gate, other] = [new TestGate(rig), await rig.gate()]
    const before = rig.plane.log.size
    expect(await outcome(gate.enrol({ proof: proof(rig, gate, other) }))).toBe('identity_invalid')
    expect(rig.plane.log.size).toBe(before)
    expect(await outcome(gate.enrol())).toBe('ok')
  })
  it('ATK-040: an enrolment that was overheard is good once', async () => {
    const rig = await open()
    const gate = new TestGate(rig)
    const enrolment = gate.enrolment()
    await rig.plane.enrol(enrolment, { size: 0 })
    expect(await outcome(rig.plane.enrol(enrolment, { size: 0 }))).toBe('identity_invalid')
    await rig.restart()
    expect(await outcome(rig.plane.enrol(enrolment, { size: 0 }))).toBe('identity_invalid')
  })
  it('one gate cannot take the session id of another', async () => {
    const rig = await open()
    const [gate, other] = [await rig.gate(), new TestGate(rig)]
    other.session = gate.session
    expect(await outcome(other.enrol())).toBe('identity_invalid')
    expect(told(await gate.authorize())).toBe('permit')
  })
  it('its session ends, and is opened again under the same id before or after', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const carried = await issue(rig.plane, gate)
    rig.clock.advance((SESSION_SECONDS - 60) * 1_000)
    expect(told(await gate.authorize())).toBe('permit')
    rig.clock.advance(60_000)
    expect(told(await gate.authorize())).toBe('identity_invalid')
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('identity_invalid')
    expect(await outcome(rig.plane.openGateOf(gate.session))).toBe('identity_invalid')
    expect(await outcome(rig.plane.renew({ session: gate.session, nonce: rig.token(), jtis: [] }, gate.id, { size: 0 }))).toBe('identity_invalid')
    expect(rig.plane.registry.gates({ cursor: undefined, limit: 1 }).gates).toMatchObject([{ open: false }])
    await gate.enrol()
    expect(told(await gate.authorize())).toBe('permit')
    await rig.restart()
    expect(told(await gate.authorize())).toBe('permit')
  })
  it('I3: the receipt of an ended session is taken all the same, since it proves itself', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    rig.clock.advance(SESSION_SECONDS * 1_000)
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('ok')
  })
})

describe('10,000 agents', () => {
  it('cost a request what ten do: none of them is looked through (the ratio is printed, and bounded nowhere)', async () => {
    const [few, many] = await Promise.all([10, 10_000].map(async (count) => {
      const rig = await open()
      const { agent, gate } = await registered(rig)
      await Promise.all(Array.from({ length: count - 1 }, (_, i) => rig.plane.registry.changeAgent({ agent: `a${i}`, event: 'added', key: toBase64Url(sha256(utf8(`agent ${i}`))) })))
      const { agents } = rig.plane.log.state
      const looked = (): never => {
        throw new Error('all agents were looked through')
      }
      for (const method of ['forEach', 'entries', 'keys', 'values', Symbol.iterator] as const) Object.defineProperty(agents, method, { value: looked })
      expect(agents.size).toBe(count)
      const times: number[] = []
      const round = async (): Promise<void> => {
        const from = performance.now()
        for (let i = 0; i < 50; i++) expect(told(await ask(rig, gate, agent))).toBe('permit')
        times.push(performance.now() - from)
      }
      return { round, times }
    }))
    for (let i = 0; i < 10; i++) for (const one of [few, many]) await one?.round()
    const [a, b] = [few, many].map((one) => Math.min(...(one?.times.slice(1) ?? [])) / 50) as [number, number]
    process.stdout.write(`authorize with a proof: ${a.toFixed(2)} ms among 10 agents, ${b.toFixed(2)} ms among 10,000 (${(b / a).toFixed(2)}×)\n`)
  }, 120_000)
})
