import { type Activating, type Keychain, loadPolicySet, nodeCryptography, planeFacts, policyFacts, ProfileDemands, ProfileUnmet, type SetUp } from '@sealwrit/control-plane'
import { noteKey, NO_WITNESSES, parseProfiles, type Profile, requirementsOf } from '@sealwrit/protocol'
import profiles from '@sealwrit/protocol/profiles.json' with { type: 'json' }
import { afterEach, describe, expect, it } from 'vitest'
import { issue, redeem } from './support/push.ts'
import { outcome, PERMIT_ALL, policySet, Rig, SCHEMA, sha256, told } from './support/rig.ts'

const known = parseProfiles(profiles)
const named = (name: string): Profile => known.find((one) => one.name === name) as Profile
const HOW: Activating = { mode: 'enforce', urgent: false, confirm: false, rebase: false }
const NAMED = 'permit (principal, action, resource) when { context.facts.paths == "inside" };'
const witness = (name: string): never => ({ kind: 'witness', witness: { name } }) as never
const group = (threshold: number, ...members: never[]): never => ({ kind: 'group', threshold, members }) as never
const KEY = noteKey('rig.test/default', new Uint8Array(32), sha256)
/** As little as a plane can be set up with. */
const BARE: SetUp = { owner: undefined, isLogPublic: true, logKey: { key: KEY }, anchors: { sinks: [], intervalMs: 3_600_000 } }
/** As much as any profile asks for. */
const FULL: SetUp = {
  owner: 'team:x', isLogPublic: false, logKey: { key: { ...KEY, pq: {} as never }, custody: 'apart' }, isHighWaterApart: true, anchors: { sinks: [{}], intervalMs: 3_600_000 }, retentionMs: 90 * 86_400_000,
  witnesses: { policy: { ...NO_WITNESSES, quorum: group(2, witness('a'), witness('b'), witness('c')) }, maxAgeSeconds: 600 }, identity: { agents: 'registered', issuers: [], trust_domains: [] },
  logins: [{}], attestationTrust: [{}], liftQuorum: 2, policyRules: { base: 'sha256:x', maxAgeMs: 30 * 86_400_000 },
}
const rigs: Rig[] = []
const open = async (seed: string, text: string, profile?: string): Promise<Rig> => {
  const rig = new Rig(seed)
  rigs.push(rig)
  rig.policies = policySet(text)
  rig.policyRules = { demands: new ProfileDemands(profile === undefined ? [] : [named(profile)], { ...FULL }) }
  await rig.start()
  return rig
}
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})

describe('how a plane is set up', () => {
  it('is told by numbers: as little as there can be, and as much as any profile asks for', () => {
    expect(planeFacts(BARE)).toEqual({ observes: 0, owner_named: 0, log_private: 0, log_key_custody: 0, hybrid_checkpoints: 0, high_water_apart: 0, witnesses: 0, anchors: 0, agents_registered: 0, issuers: 0, login_issuers: 0, attestation_rules: 0, lift_quorum: 1, protected_rules: 0 })
    expect(planeFacts(FULL)).toEqual({
      observes: 0, owner_named: 1, log_private: 1, log_key_custody: 2, hybrid_checkpoints: 1, high_water_apart: 1, witnesses: 2, witness_max_age_seconds: 600, anchors: 1, anchor_interval_minutes: 60, bodies_days: 90, agents_registered: 1, issuers: 0,
      login_issuers: 1, attestation_rules: 1, lift_quorum: 2, protected_rules: 1, policy_max_age_days: 30,
    })
  })

  it('meets every profile where everything is there, and misses exactly what is taken away', () => {
    for (const profile of known) expect(new ProfileDemands([profile], FULL).names).toEqual([profile.name])
    const without: [string, Partial<SetUp>, string[]][] = [
      ['core', { policyRules: { observes: true } }, ['core.enforced']],
      ['core', { owner: undefined }, ['core.owner']],
      ['core', { logKey: { key: KEY, custody: 'plain' } }, ['core.log_key']],
      ['core', { logKey: { key: KEY } }, ['core.log_key']],
      ['health', { isLogPublic: true }, ['health.private_log']],
      ['health', { retentionMs: undefined }, ['health.bodies']],
      ['health', { anchors: { sinks: [], intervalMs: 1 } }, ['health.anchored', 'health.anchored_daily']],
      ['health', { anchors: { sinks: [{}], intervalMs: 86_460_000 } }, ['health.anchored_daily']],
      ['federal', { witnesses: undefined }, ['federal.witnesses', 'federal.witness_age']],
      ['federal', { liftQuorum: undefined }, ['federal.lift_quorum']],
      ['federal', { policyRules: { maxAgeMs: 181 * 86_400_000, base: 'x' } }, ['federal.policy_age']],
      ['defense', { witnesses: { policy: { ...NO_WITNESSES, quorum: group(1, group(2, witness('a'), witness('b')), witness('c')) }, maxAgeSeconds: 60 } }, ['defense.two_witnesses']],
      ['defense', { logKey: { key: { ...KEY, pq: {} as never }, custody: 'encrypted' } }, ['defense.log_key']],
      ['defense', { nextLogKey: { key: KEY, custody: 'apart' } }, ['defense.hybrid']],
      ['core', { nextLogKey: { key: KEY, custody: 'plain' } }, ['core.log_key']],
      ['defense', { isHighWaterApart: undefined }, ['defense.high_water']],
    ]
    for (const [profile, change, missing] of without) {
      let found: readonly string[] = []
      try {
        new ProfileDemands([named(profile)], { ...FULL, ...change })
      } catch (error) {
        if (!(error instanceof ProfileUnmet)) throw error
        found = error.requirements.map(({ id }) => id)
        for (const id of missing) expect(error.message).toContain(id)
      }
      expect(found, JSON.stringify(change)).toEqual(missing)
    }
  })
})

describe('what a policy set says', () => {
  const facts = (text: string, schema = SCHEMA): ReturnType<typeof policyFacts> => policyFacts(loadPolicySet({ 'test.cedar': text, 'schema.cedarschema': schema }, nodeCryptography.sha256))

  it.each<[string, string, Partial<ReturnType<typeof policyFacts>>]>([
    ['a permit of everything is a blanket one', PERMIT_ALL, { blanket_permits: 1, unstated_risk: 1, high_risk_quorum: 16, least_assurance: 3, least_environment: 1, longest_runtime_seconds: 300, purposes: 0 }],
    ['so is one of every tool', 'permit (principal, action == Action::"mcp.tool_call", resource is Tool);', { blanket_permits: 1 }],
    ['so is one whose condition is `true`', 'permit (principal, action, resource) when { true };', { blanket_permits: 1 }],
    ['one of a server’s tools is not', 'permit (principal, action == Action::"mcp.tool_call", resource in Server::"mcp://fs");', { blanket_permits: 0 }],
    ['nor is one with a condition', NAMED, { blanket_permits: 0 }],
    ['prohibitions are not looked at', `@risk("low") ${NAMED} @risk("high") forbid (principal, action, resource);`, { blanket_permits: 0, unstated_risk: 0, high_risk_quorum: 16 }],
    ['high risk without approval is asked of nobody', `@risk("high") ${NAMED} @risk("critical") @approval("group:a quorum:2") ${NAMED}`, { high_risk_quorum: 0 }],
    ['the least quorum counts', `@risk("high") @approval("group:a") ${NAMED} @risk("critical") @approval("group:a quorum:2") ${NAMED}`, { high_risk_quorum: 1 }],
    ['approval of what is of low risk does not', `@risk("low") @approval("group:a") ${NAMED} @risk("critical") @approval("group:a quorum:3") ${NAMED}`, { high_risk_quorum: 3 }],
    ['the least assurance and environment count', `@assurance("A5") @environment("level:hardware") ${NAMED} @assurance("A4") @environment("level:signed") ${NAMED}`, { least_assurance: 4, least_environment: 2 }],
    ['the longest runtime counts, where none is said the usual one', `@max_runtime("1m") ${NAMED} @max_runtime("2h") ${NAMED} ${NAMED}`, { longest_runtime_seconds: 7_200 }],
  ])('%s', (_name, text, expected) => {
    expect(facts(text)).toMatchObject(expected)
  })

  it('of prohibitions alone nothing is asked for in vain', () => {
    expect(facts('forbid (principal, action, resource);')).toMatchObject({ blanket_permits: 0, unstated_risk: 0, high_risk_quorum: 16, least_assurance: 5, least_environment: 3, longest_runtime_seconds: 0 })
  })
})

describe('under a profile', () => {
  it('a plane does not start with policies that are not what it asks for', async () => {
    await expect(open('start', PERMIT_ALL, 'core')).rejects.toThrow(/core\.no_blanket_permit/)
    const rig = await open('later', PERMIT_ALL)
    await rig.stop()
    rig.policyRules = { activateAtStart: false, demands: new ProfileDemands([named('core')], FULL) }
    await expect(rig.start()).rejects.toThrow(ProfileUnmet) // the active one is what the log says
  })

  it('no such set is activated, staged or rolled back to, and what was in force stays', async () => {
    const rig = await open('activate', PERMIT_ALL)
    const bare = rig.plane.policies
    await bare.activate(policySet(NAMED), HOW)
    await rig.stop()
    rig.policyRules = { activateAtStart: false, demands: new ProfileDemands([named('core')], FULL) }
    await rig.start()
    const { policies } = rig.plane
    const size = rig.plane.log.size
    for (const how of [{}, { fromMs: rig.clock.wallMs() + 1 }, { urgent: true, rebase: true }]) await expect(policies.activate(policySet(PERMIT_ALL), { ...HOW, ...how })).rejects.toMatchObject({ code: 'policy_error' })
    await expect(policies.rollback(1, false, true)).rejects.toMatchObject({ code: 'policy_error' })
    expect(rig.plane.log.size).toBe(size)
    expect(await rig.plane.activate({ files: policySet(PERMIT_ALL).files, tests: [], how: HOW })).toMatchObject({ outcome: 'refused', reason: expect.stringContaining('core.no_blanket_permit') as string })
    expect(told(await (await rig.gate()).authorize())).toBe('permit')
  })

  it('one that came into force elsewhere permits nothing here', async () => {
    const rig = await open('elsewhere', PERMIT_ALL) // as another plane of the same log would, without the profile
    await rig.plane.policies.activate(policySet(NAMED), HOW)
    await rig.stop()
    const demands = new ProfileDemands([named('core')], FULL)
    rig.policyRules = { activateAtStart: false, demands }
    await rig.start()
    const gate = await rig.gate()
    expect(told(await gate.authorize())).toBe('permit')
    const refusal = demands.refusal.bind(demands)
    demands.refusal = () => undefined // what the other plane asks: nothing
    await rig.plane.policies.activate(policySet(PERMIT_ALL), HOW)
    demands.refusal = refusal
    expect(told(await gate.authorize())).toBe('policy_missing')
    demands.refusal = () => undefined
    const { sealed } = await issue(rig.plane, gate) // by the other plane, under its set
    demands.refusal = refusal
    expect(await outcome(redeem(rig.plane, gate, { sealed }, 'c'))).toBe('policy_missing')
  })

  it('no log key takes over that it could not start with', async () => {
    const { logKey } = FULL
    const chain = (next: SetUp['logKey']): Keychain => ({ next: () => Promise.resolve({ ...next, sign: () => new Uint8Array(64) }), adopt: () => undefined })
    const demands = new ProfileDemands([named('defense')], FULL)
    expect((await demands.ofKeys(chain(logKey)).next()).key).toBe(logKey.key)
    await expect(demands.ofKeys(chain({ ...logKey, key: KEY })).next()).rejects.toMatchObject({ code: 'request_malformed', message: expect.stringContaining('defense.hybrid') as string })
    await expect(demands.ofKeys(chain({ ...logKey, custody: 'encrypted' })).next()).rejects.toThrow(/defense\.log_key/)
  })

  it('and what it looks at is told to whoever may read', async () => {
    const rig = await open('told', NAMED, 'core')
    expect(await rig.plane.policies.profileFacts()).toEqual({ profiles: ['core'], plane: planeFacts(FULL), policy: policyFacts(policySet(NAMED)) })
    expect(requirementsOf([named('core')], 'policy').length).toBeGreaterThan(0)
  })
})
