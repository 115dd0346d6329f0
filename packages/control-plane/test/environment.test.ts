import { decide, DecisionReplay, type DecisionInput, nodeCryptography, parseCases, PolicyEngine, RequestReplay, runCases } from '@sealwrit/control-plane'
import { canonicalText, type Entry, formatBundle, type JsonObject, type JsonValue, parseBundle, parseEntry, parseStrictText, utf8, verifyBundle } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { askIssue, issue, issueRequest, redeem } from './support/push.ts'
import { environmentDocument, loads, openRigs, outcome, PERMIT_ALL, pinTools, policySet, type Rig, SCHEMA, sha256, TestGate, told, toolCall } from './support/rig.ts'

const FACTS = 'level: String, executable_digest?: String, git_commit?: String, git_ref?: String, lock_digest?: String, image_digest?: String, script_digest?: String, os?: String, uid?: Long, host?: String, kernel?: String, arch?: String, cgroup?: String, gate_version?: String, tools_digest?: String'
const WIDE = SCHEMA.replace('environment: { level: String }', `environment: { ${FACTS} }`)
const open = openRigs()
const openWith = async (text: string, schema = WIDE): Promise<Rig> => {
  const rig = await open()
  rig.policies = policySet(text, schema)
  await rig.restart()
  return rig
}
const measured = async (rig: Rig, change: JsonObject = {}): Promise<TestGate> => {
  const gate = await rig.gate()
  gate.environment = { ...gate.environment, document: environmentDocument(change) }
  await gate.enrol()
  return gate
}
const last = async (rig: Rig): Promise<Entry> => parseEntry((await rig.store.entries(0, 100_000)).at(-1) as string)
const inputsOf = async (rig: Rig, seq: number): Promise<JsonValue> => parseStrictText((await rig.store.bodies(seq)).find(({ purpose }) => purpose === 'inputs')?.text ?? 'null')
const report = async (rig: Rig): Promise<ReturnType<typeof verifyBundle>> =>
  verifyBundle(parseBundle(utf8(formatBundle(await rig.plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [], replay: new DecisionReplay(sha256) })
const COMMIT = 'c'.repeat(40)
const input = (change: Partial<DecisionInput> = {}): DecisionInput => ({ action: toolCall(), agent: { name: 'tester', verified: true }, sub: 'user:1', environment: { level: 'software' }, facts: { paths: 'inside' }, ...change })

describe('what policies see of the environment', () => {
  it('is level and facts of the open session, as far as the schema names them, and a replay sees the same', async () => {
    const rig = await openWith(`permit (principal, action, resource) when { context.environment has git_commit && context.environment.git_commit == "${COMMIT}" && context.environment.os == "linux" && context.environment.uid == 1000 };`.replace('context.environment.os', 'context.environment has os && context.environment.os').replace('context.environment.uid', 'context.environment has uid && context.environment.uid'))
    const gate = await measured(rig)
    const { permit } = await gate.permit()
    expect(await inputsOf(rig, permit.seq)).toMatchObject({ context: { environment: { level: 'software', git_commit: COMMIT, git_ref: 'refs/heads/main', executable_digest: `sha256:${'e'.repeat(64)}`, uid: 1_000, tools_digest: expect.stringMatching(/^sha256:/) } } })
    const other = await measured(rig, { git: { commit: 'd'.repeat(40) } })
    expect(told(await other.authorize())).toBe('policy_no_match')
    expect(await report(rig)).toMatchObject({ verdict: 'established' })
  })
  it('the document says nothing in a leaf: only its salted commitment', async () => {
    const rig = await openWith(PERMIT_ALL)
    const gate = await measured(rig)
    await gate.permit()
    const leaves = (await rig.store.entries(0, 100)).join('\n')
    for (const text of [COMMIT, 'e'.repeat(64), '6.1.0', 'f'.repeat(64)]) expect(leaves).not.toContain(text)
  })
  it('a set of policies from before there were facts goes on as it is, with the level alone', async () => {
    const rig = await openWith('permit (principal, action, resource) when { context.environment.level == "software" };', SCHEMA)
    const gate = await measured(rig)
    const { permit } = await gate.permit()
    expect(await inputsOf(rig, permit.seq)).toMatchObject({ context: { environment: { level: 'software' } } })
    expect(canonicalText(await inputsOf(rig, permit.seq))).not.toContain(COMMIT)
    expect(await report(rig)).toMatchObject({ verdict: 'established' })
  })
  it('facts survive a restart of the plane, and are absent once they are erased', async () => {
    const rig = await openWith(`@environment("fact:git_commit") ${PERMIT_ALL}`)
    const gate = await measured(rig)
    await rig.restart()
    expect(told(await gate.authorize())).toBe('permit')
    const session = (await rig.store.entries(0, 100)).map(parseEntry).findLast((entry) => entry.kind === 'gate') as Entry
    await rig.store.eraseBodies(session.seq, session.seq + 1)
    await rig.restart()
    expect(told(await gate.authorize())).toBe('environment_unattested')
  })
  it('the set of tools is bound: another recorded definition is another digest', async () => {
    const rig = await openWith(PERMIT_ALL)
    const gate = await measured(rig)
    const seen = async (): Promise<unknown> => ((await inputsOf(rig, (await gate.permit()).permit.seq)) as { context: { environment: JsonObject } }).context.environment['tools_digest']
    const before = await seen()
    expect(await seen()).toBe(before)
    await pinTools(rig.plane, gate, ['new_tool'], 'mcp://fs', `sha256:${'b'.repeat(64)}`)
    expect(await seen()).not.toBe(before)
    const after = await seen()
    await pinTools(rig.plane, gate, ['new_tool'], 'mcp://other', `sha256:${'b'.repeat(64)}`)
    expect(await seen()).toBe(after)
  })
  it('a candidate that asks for other facts is replayed over what was recorded', async () => {
    const rig = await openWith(PERMIT_ALL)
    const gate = await measured(rig)
    await gate.permit()
    const { requests } = await rig.plane.requests('0')
    const candidate = policySet('permit (principal, action, resource) when { context.environment has git_ref && context.environment.git_ref == "refs/heads/release" };', WIDE)
    const replay = new RequestReplay(new PolicyEngine(candidate), async () => rig.policies.files, sha256)
    expect(await replay.verdicts(requests[0] as never)).toMatchObject({ before: { decision: 'permit' }, after: { decision: 'deny', code: 'policy_no_match' } })
  })
})

describe('evidence that is weaker than what is demanded', () => {
  it.each<[string, string, DecisionInput['environment'], string]>([
    ['a condition on the level', 'permit (principal, action, resource) when { context.environment.level == "signed" };', { level: 'software' }, 'policy_no_match'],
    ['a condition on the level that holds', 'permit (principal, action, resource) when { context.environment.level == "signed" };', { level: 'signed' }, 'permit'],
    ['a prohibition of software-only evidence', `${PERMIT_ALL} forbid (principal, action, resource) when { context.environment.level == "software" };`, { level: 'software' }, 'policy_denied'],
    ['an obligation of a level', `@environment("level:signed") ${PERMIT_ALL}`, { level: 'software' }, 'environment_unattested'],
    ['an obligation of a level that is reached', `@environment("level:signed") ${PERMIT_ALL}`, { level: 'signed' }, 'permit'],
    ['an obligation of a level that is exceeded', `@environment("level:signed") ${PERMIT_ALL}`, { level: 'hardware' }, 'permit'],
    ['an obligation without a level asks for software', `@environment("fact:os") ${PERMIT_ALL}`, { level: 'none', os: 'linux' }, 'environment_unattested'],
    ['an obligation of a fact that is absent', `@environment("fact:image_digest") ${PERMIT_ALL}`, { level: 'signed' }, 'environment_unattested'],
    ['an obligation of two facts, one absent', `@environment("fact:image_digest fact:os") ${PERMIT_ALL}`, { level: 'signed', os: 'linux' }, 'environment_unattested'],
    ['an obligation of a fact that is told', `@environment("fact:image_digest") ${PERMIT_ALL}`, { level: 'software', image_digest: `sha256:${'a'.repeat(64)}` }, 'permit'],
    ['the obligation of one of two permits', `${PERMIT_ALL} @environment("level:hardware") ${PERMIT_ALL}`, { level: 'signed' }, 'environment_unattested'],
    ['what is held, too', `@approval("group:ops") @environment("level:signed") ${PERMIT_ALL}`, { level: 'software' }, 'environment_unattested'],
    ['the obligation of a permit that does not match', `${PERMIT_ALL} @environment("level:hardware") permit (principal == Agent::"other", action, resource);`, { level: 'none' }, 'permit'],
  ])('ATK-014: %s: %s', (_name, text, environment, expected) => {
    const decision = decide(input({ environment }), { engine: new PolicyEngine(policySet(text, WIDE)), epoch: 1 })
    expect(decision.kind === 'deny' ? decision.code : decision.kind).toBe(expected)
    if (expected === 'environment_unattested') expect(decision.errors.join()).toMatch(/demand of the environment: /)
  })
  it('ATK-014: a gate that calls its own evidence signed or hardware is refused, and opens no session', async () => {
    const rig = await openWith(PERMIT_ALL)
    const gate = await measured(rig)
    const before = rig.plane.log.size
    for (const level of ['signed', 'hardware'] as const) {
      gate.environment = { ...gate.environment, level }
      expect(await outcome(gate.enrol())).toBe('environment_unattested')
    }
    expect(rig.plane.log.size).toBe(before)
    gate.environment = { ...gate.environment, level: 'software' }
    await gate.enrol()
    expect((await gate.permit()).permit.env.level).toBe('software')
  })
  it('ATK-014: no session is opened with a document that is not of its form', async () => {
    const rig = await openWith(PERMIT_ALL)
    const gate = await measured(rig)
    for (const change of [{ extra: 1 }, { kind: 'other' }, { uid: '0' }, { git: { commit: 'short' } }, { image: { digest: `sha256:${'a'.repeat(64)}`, from: 'file' } }]) {
      gate.environment = { ...gate.environment, document: environmentDocument(change as JsonObject) }
      expect(await outcome(gate.enrol()), JSON.stringify(change)).toBe('request_malformed')
    }
  })
  it('ATK-014: a denial by obligation is replayed as what it was', async () => {
    const rig = await openWith(`@environment("level:signed fact:git_commit") ${PERMIT_ALL}`)
    const gate = await measured(rig)
    expect(told(await gate.authorize())).toBe('environment_unattested')
    expect(await last(rig)).toMatchObject({ kind: 'deny', code: 'environment_unattested', policy: { determining: ['test/0'] } })
    expect(await report(rig)).toMatchObject({ verdict: 'established' })
  })
  it('ATK-014: a session that is opened anew elsewhere between decision and log denies what was decided, also what is to be carried', async () => {
    const rig = await openWith(`permit (principal, action, resource) when { context.environment has git_commit && context.environment.git_commit == "${COMMIT}" };`)
    const gate = await measured(rig)
    const { policies } = rig.plane
    const active = policies.active.bind(policies)
    policies.active = async () => { // decided on what is known by now
      policies.active = active
      gate.environment = { ...gate.environment, document: environmentDocument({ git: { commit: 'd'.repeat(40) } }) }
      await gate.enrol()
      return active()
    }
    expect(told(await askIssue(rig.plane, issueRequest(gate)))).toBe('environment_mismatch')
    expect(told(await askIssue(rig.plane, issueRequest(gate)))).toBe('policy_no_match')
  })
  it('ATK-014: an artifact that was issued for one environment is not redeemed in another', async () => {
    const rig = await openWith(PERMIT_ALL)
    const gate = await measured(rig)
    const issued = await issue(rig.plane, gate)
    gate.environment = { ...gate.environment, document: environmentDocument({ git: { commit: 'd'.repeat(40) } }) }
    await gate.enrol()
    expect(await outcome(redeem(rig.plane, gate, issued, rig.token()))).toBe('environment_mismatch')
    expect(told(await askIssue(rig.plane, issueRequest(gate)))).toBe('permit')
  })
})

describe('schema and policies', () => {
  const withFacts = (facts: string): string => SCHEMA.replace('environment: { level: String }', `environment: { level: String, ${facts} }`)
  it.each<[string, string, string, RegExp]>([
    ['a fact that no environment tells', PERMIT_ALL, withFacts('weather?: String'), /weather is nothing that an environment tells/],
    ['a fact of another type', PERMIT_ALL, withFacts('uid?: String'), /uid\?: Long/],
    ['a fact that is always demanded', PERMIT_ALL, withFacts('git_commit: String'), /git_commit\?: String/],
    ['an obligation of a fact that the schema does not declare', `@environment("fact:git_commit") ${PERMIT_ALL}`, SCHEMA, /@environment demands git_commit/],
    ['an obligation of nothing that is known', `@environment("fact:weather") ${PERMIT_ALL}`, WIDE, /@environment takes/],
    ['an obligation of a level that nobody knows', `@environment("level:tpm") ${PERMIT_ALL}`, WIDE, /@environment takes/],
    ['an obligation of no level at all', `@environment("level:none") ${PERMIT_ALL}`, WIDE, /@environment takes/],
    ['an obligation twice', `@environment("level:signed level:software") ${PERMIT_ALL}`, WIDE, /@environment takes/],
    ['an empty obligation', `@environment("") ${PERMIT_ALL}`, WIDE, /@environment takes/],
    ['a fact that is read without `has`', 'permit (principal, action, resource) when { context.environment.git_commit == "x" };', WIDE, /git_commit/],
  ])('with %s does not load, and the message says why', (_name, text, schema, message) => expect(loads(text, schema)).toMatch(message))
  it('a test of policies names a level, or level and facts', () => {
    const engine = new PolicyEngine(policySet('permit (principal, action, resource) when { context.environment has os && context.environment.os == "linux" };', WIDE))
    const action = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: {} }
    const cases = parseCases([
      { name: 'a', action, expect: 'policy_no_match', environment: 'software' },
      { name: 'b', action, expect: 'permit', environment: { level: 'signed', os: 'linux' } },
    ], 'test')
    expect(runCases(cases, engine).flatMap(({ failures }) => failures)).toEqual([])
    for (const environment of ['tpm', { os: 'linux' }, { level: 'signed', weather: 'fine' }, { level: 'signed', uid: '1' }]) expect(() => parseCases([{ name: 'a', action, expect: 'permit', environment } as JsonValue], 'test'), JSON.stringify(environment)).toThrow()
  })
})
