import { decide, DecisionReplay, type DecisionInput, nodeCryptography, parseCases, PolicyEngine, recommendPolicies, RequestReplay, runCases } from '@sealwrit/control-plane'
import { type Entry, formatBundle, type JsonObject, type JsonValue, parseBundle, parseEntry, utf8, verifyBundle } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { TestApprover } from './support/approver.ts'
import { askIssue, issue, issueRequest } from './support/push.ts'
import { loads, openRigs, PERMIT_ALL, policySet, type Rig, SCHEMA, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const purposeful = (ids: string): string => `entity Purpose enum [${ids}];\n${SCHEMA.replace('lineage: { depth: Long }', 'lineage: { depth: Long }, intent?: Purpose')}`
const WITH = purposeful('"invoice-review", "deploy"')
const REVIEW = 'permit (principal, action, resource) when { context has intent && context.intent == Purpose::"invoice-review" };'
const open = openRigs()
const openWith = async (text: string, schema = WITH): Promise<{ rig: Rig; gate: TestGate }> => {
  const rig = await open()
  rig.policies = policySet(text, schema)
  await rig.restart()
  return { rig, gate: await rig.gate() }
}
const entries = async (rig: Rig): Promise<Entry[]> => (await rig.store.entries(0, 100_000)).map(parseEntry)
const last = async (rig: Rig): Promise<Entry> => (await entries(rig)).at(-1) as Entry
const report = async (rig: Rig): Promise<ReturnType<typeof verifyBundle>> =>
  verifyBundle(parseBundle(utf8(formatBundle(await rig.plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [], replay: new DecisionReplay(sha256) })
const asking = async (gate: TestGate, intent?: string, more: object = {}): Promise<string> => told(await gate.authorize(gate.request(toolCall(), { ...(intent === undefined ? {} : { intent }), ...more })))

describe('the intent of a request', () => {
  it('is matched by policy, stands in the entry whatever is decided, and a replay sees the same', async () => {
    const { rig, gate } = await openWith(REVIEW)
    expect([await asking(gate, 'invoice-review'), await asking(gate, 'deploy'), await asking(gate)]).toEqual(['permit', 'policy_no_match', 'policy_no_match'])
    const decided = (await entries(rig)).filter(({ kind }) => kind === 'permit' || kind === 'deny')
    expect(decided.map((entry) => ('intent' in entry ? entry.intent : undefined))).toEqual(['invoice-review', 'deploy', undefined])
    expect(await report(rig)).toMatchObject({ verdict: 'established' })
  })
  it('can be required of everything', async () => {
    const { gate } = await openWith(`${PERMIT_ALL} forbid (principal, action, resource) unless { context has intent };`)
    expect([await asking(gate, 'deploy'), await asking(gate)]).toEqual(['permit', 'policy_denied'])
  })
  it('that nobody registered is request_malformed, recorded with what was said, though everything is permitted', async () => {
    const { rig, gate } = await openWith(PERMIT_ALL)
    expect(await asking(gate, 'depoly')).toBe('request_malformed')
    expect(await last(rig)).toMatchObject({ kind: 'deny', code: 'request_malformed', intent: 'depoly' })
    expect(await report(rig), 'and so says the replay').toMatchObject({ verdict: 'established' })
    const { gate: other } = await openWith(PERMIT_ALL, SCHEMA) // a set that registers none
    expect([await asking(other, 'deploy'), await asking(other)]).toEqual(['request_malformed', 'permit'])
  })
  it('is registered by an activation: what the next set registers, the former did not', async () => {
    const { rig, gate } = await openWith(PERMIT_ALL)
    expect(await asking(gate, 'migration')).toBe('request_malformed')
    rig.policies = policySet(PERMIT_ALL, purposeful('"migration"'))
    await rig.restart()
    expect([await asking(gate, 'migration'), await asking(gate, 'deploy')]).toEqual(['permit', 'request_malformed'])
    expect(await report(rig)).toMatchObject({ verdict: 'established' })
  })
  it('goes into a carried artifact', async () => {
    const { rig, gate } = await openWith(REVIEW)
    expect((await issue(rig.plane, gate, toolCall(), { intent: 'invoice-review' })).permit.intent).toBe('invoice-review')
    expect(told(await askIssue(rig.plane, issueRequest(gate)))).toBe('policy_no_match')
  })
  it('the asker’s own words are an erasable body behind a commitment; policies never see them', async () => {
    const { rig, gate } = await openWith(REVIEW)
    expect(await asking(gate, 'invoice-review', { purpose_text: 'permit everything; I am the admin' })).toBe('permit')
    const permit = await last(rig)
    const bodies = await rig.store.bodies(permit.seq)
    expect(bodies.map(({ purpose }) => purpose)).toEqual(['action', 'inputs', 'purpose'])
    expect(permit).toMatchObject({ purpose_commit: bodies[2]?.commit })
    expect(bodies[2]?.text).toBe('"permit everything; I am the admin"')
    expect(bodies[1]?.text).not.toContain('admin')
    expect((await rig.store.entries(0, 100)).join()).not.toContain('admin')
    expect(await report(rig)).toMatchObject({ verdict: 'established' })
    await rig.store.eraseBodies(permit.seq, permit.seq + 1)
    expect((await report(rig)).findings.filter(({ verdict }) => verdict === 'contradicted')).toEqual([])
  })
  it('the words are kept nowhere where the arguments are redacted: they could quote them', async () => {
    const { rig, gate } = await openWith(`@redact("args.path") ${PERMIT_ALL}`)
    expect(await asking(gate, 'deploy', { purpose_text: 'for /srv/q3.txt' })).toBe('permit')
    const bodies = await rig.store.bodies((await last(rig)).seq)
    expect(bodies.find(({ purpose }) => purpose === 'purpose')).toMatchObject({ text: undefined })
  })
  it('a permit that runs goes on under a new epoch only for what its intent still permits', async () => {
    const { rig, gate } = await openWith(PERMIT_ALL)
    const reply = await gate.authorize(gate.request(toolCall(), { intent: 'deploy' }))
    const { jti } = parseEntry((reply as { sealed: { entry: string } }).sealed.entry) as { jti: string }
    const renewed = async (): Promise<string> => (await rig.plane.renew({ session: gate.session, nonce: rig.token(), jtis: [jti] }, gate.id, { size: 0 })).sealed.entry
    rig.policies = policySet('permit (principal, action, resource) when { context has intent && context.intent == Purpose::"deploy" };', WITH)
    await rig.restart()
    expect(await renewed()).toContain(jti)
    rig.policies = policySet(REVIEW, WITH)
    await rig.restart()
    expect(await renewed()).not.toContain(jti)
  })
})

describe('ATK-108: what was approved for one purpose', () => {
  const HELD = '@approval("group:secops") permit (principal, action, resource);'
  it('is not permitted for another, nor for none', async () => {
    const { rig, gate } = await openWith(HELD)
    const ann = await TestApprover.registered(rig.plane, 'ann')
    const reply = await gate.authorize(gate.request(toolCall(), { intent: 'deploy' }))
    const hold = reply.decision === 'hold' ? reply.hold : ''
    await ann.approve(rig.plane, hold)
    for (const intent of ['invoice-review', undefined]) {
      expect(await asking(gate, intent, { hold })).toBe('approval_required')
      expect(await asking(gate, intent), 'it is a request of its own').toBe('hold')
    }
    expect(await asking(gate, 'deploy', { hold })).toBe('permit')
    expect(await last(rig)).toMatchObject({ kind: 'permit', intent: 'deploy' })
    expect((await entries(rig)).filter(({ kind }) => kind === 'hold')).toHaveLength(3)
    expect((await report(rig)).verdict).toBe('established')
  })
})

describe('registered purposes', () => {
  it.each<[string, string, RegExp]>([
    ['an intent without purposes', SCHEMA.replace('lineage: { depth: Long }', 'lineage: { depth: Long }, intent?: String'), /entity Purpose enum/],
    ['purposes that are no list', `entity Purpose; ${SCHEMA.replace('lineage: { depth: Long }', 'lineage: { depth: Long }, intent?: Purpose')}`, /entity Purpose enum/],
    ['a purpose in capitals', purposeful('"Deploy"'), /no id of a purpose/],
    ['a purpose of 65 characters', purposeful(`"${'x'.repeat(65)}"`), /no id of a purpose/],
    ['a purpose that hides something', purposeful('"deploy\u202e"'), /no id of a purpose/],
    ['more purposes than are told apart', purposeful(Array.from({ length: 1_001 }, (_, i) => `"p${i}"`).join()), /more than 1000/],
  ])('with %s a set does not load', (_name, schema, message) => expect(loads(PERMIT_ALL, schema)).toMatch(message))
  it('64 characters and 1,000 purposes load', () => {
    expect(loads(PERMIT_ALL, purposeful(`"${'x'.repeat(64)}"`))).toBe('loaded')
    expect(loads(PERMIT_ALL, purposeful(Array.from({ length: 1_000 }, (_, i) => `"p${i}"`).join()))).toBe('loaded')
  })
  it('a policy that asks for a purpose that nobody registered does not load: a slip of the pen is no prohibition', () => {
    expect(loads(REVIEW.replace('invoice-review', 'invoice-reveiw'), WITH)).toMatch(/invoice-reveiw/)
  })
  it('are part of the set’s digest', () => {
    expect(policySet(PERMIT_ALL, WITH).digest).not.toBe(policySet(PERMIT_ALL, purposeful('"deploy"')).digest)
  })
})

describe('around it', () => {
  const action = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: {} } satisfies JsonObject
  it('tests of policies, replays under a candidate and recommendations know the intent', async () => {
    const engine = new PolicyEngine(policySet(REVIEW, WITH))
    const cases: JsonValue = [{ name: 'a', action, expect: 'permit', intent: 'invoice-review' }, { name: 'b', action, expect: 'policy_no_match', intent: 'deploy' }, { name: 'c', action, expect: 'request_malformed', intent: 'nothing' }]
    expect(runCases(parseCases(cases, 'test'), engine).flatMap(({ failures }) => failures)).toEqual([])
    const { rig, gate } = await openWith(PERMIT_ALL)
    await asking(gate, 'deploy')
    const { requests } = await rig.plane.requests('0')
    expect(await new RequestReplay(engine, async () => rig.policies.files, sha256).verdicts(requests[0] as never)).toMatchObject({ before: { decision: 'permit' }, after: { code: 'policy_no_match' } })
    const input: DecisionInput = { action: toolCall(), agent: { name: 'tester', verified: true }, sub: 'user:1', environment: { level: 'software' }, facts: { paths: 'inside' }, intent: 'deploy' }
    const { text } = recommendPolicies([input], WITH, false, sha256)
    const drafted = new PolicyEngine(policySet(text, WITH))
    expect([decide(input, { engine: drafted, epoch: 0 }).kind, decide({ ...input, intent: 'invoice-review' }, { engine: drafted, epoch: 0 }).kind]).toEqual(['permit', 'deny'])
  })
  it('a dry run takes it, and says what was wrong with one that nobody registered', async () => {
    const { rig } = await openWith(REVIEW)
    const asked = { action: toolCall(), agent: { name: 'tester', verified: true }, facts: { paths: 'inside' as const } }
    expect((await rig.plane.decide({ ...asked, intent: 'invoice-review' })).kind).toBe('permit')
    const decision = await rig.plane.decide({ ...asked, intent: 'depoly' })
    expect(decision).toMatchObject({ kind: 'deny', code: 'request_malformed' })
    expect(decision.errors.join()).toContain('`depoly` is no registered purpose (invoice-review, deploy)')
  })
})
