import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { MEASURES } from '@sealwrit/assessor'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { end, run, startPlane } from '../../../test/support/processes.ts'
import { knownProfiles } from '../src/local/profiles.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-profile-')))
const dir = path.join(root, '.sealwrit')
const config = path.join(root, 'sealwrit.yaml')
const HEALTH = `owner: team-ward
policies: policies
identity: { agents: registered }
retention: { bodies_days: 365 }
anchors: [{ type: file, path: ${path.join(root, 'elsewhere', 'anchors')} }]
policy_max_age_days: 90
`
const set = (text: string, at = config): void => fs.writeFileSync(at, text)
const here = (...words: string[]): ReturnType<typeof run> => run([...words, '--dir', dir], { cwd: root })
const up = (...words: string[]): ReturnType<typeof run> => here('up', '--listen', '127.0.0.1:0', ...words)
/** Requirements that a refusal names. */
const missing = (stderr: string): string[] => [...stderr.matchAll(/^ {2}([a-z]+\.[a-z_]+): /gm)].map(([, id]) => id as string)
let plane: Awaited<ReturnType<typeof startPlane>> | undefined

beforeAll(async () => {
  fs.mkdirSync(path.join(root, 'elsewhere'))
  expect((await run(['init'], { cwd: root })).exit).toBe(0)
})
afterAll(async () => {
  if (plane !== undefined) await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('sealwrit profile', () => {
  it('asks for evidence only by measures that are taken', () => {
    for (const { requirements } of knownProfiles()) for (const { of, fact, id } of requirements) if (of === 'evidence') expect(MEASURES as readonly string[], id).toContain(fact)
  })

  it('lists what there is, and names what a mistyped one could have been', async () => {
    const { exit, stdout } = await here('profile', '--json')
    expect([exit, (JSON.parse(stdout) as { profiles: { name: string }[] }).profiles.map(({ name }) => name)]).toEqual([0, ['core', 'health', 'federal', 'defense']])
    expect(await here('profile', 'hospital')).toMatchObject({ exit: 2, stderr: expect.stringMatching(/no profile `hospital`[\s\S]*core, health, federal, defense/) as string })
  })

  it('says what one asks for where no plane answers, and claims nothing to be met', async () => {
    const { exit, stdout } = await here('profile', 'defense')
    expect([exit, stdout]).toEqual([0, expect.stringContaining('no plane answers here')])
    for (const { id } of knownProfiles().find(({ name }) => name === 'defense')?.requirements ?? []) expect(stdout).toContain(id)
    expect(stdout).not.toContain('✓')
  })
})

describe('a plane under a profile', () => {
  it.each<[string, string, string[]]>([
    ['core', 'policies: policies\nmode: shadow\n', ['core.enforced', 'core.owner']],
    ['health', HEALTH.replace(/^retention.*\n/m, ''), ['health.bodies']],
    ['health', `${HEALTH}log_entries: public\n`, ['health.private_log']],
    ['health', HEALTH.replace('registered', 'named'), ['health.registered_agents']],
    ['federal', HEALTH, ['federal.logins', 'federal.lift_quorum', 'federal.protected_rules', 'federal.witnesses', 'federal.witness_age']],
    ['defense', HEALTH, ['federal.logins', 'federal.lift_quorum', 'federal.protected_rules', 'federal.witnesses', 'federal.witness_age', 'defense.two_witnesses', 'defense.witness_age', 'defense.hybrid', 'defense.log_key', 'defense.high_water', 'defense.attestation']],
  ])('%s does not start where something is missing, and says what', async (profile, text, expected) => {
    set(text)
    const { exit, stderr } = await up('--profile', profile)
    expect([exit, missing(stderr)]).toEqual([1, expected])
    set(`profile: ${profile}\n${text}`) // what the configuration says counts as much
    const again = await up()
    expect([again.exit, missing(again.stderr)]).toEqual([1, expected])
  })

  it('does not start with policies that it does not take either', async () => {
    set(HEALTH)
    const { exit, stderr } = await up('--profile', 'health')
    expect([exit, missing(stderr)]).toEqual([1, ['health.purposes']])
  })

  it('a profile that is none is refused in the configuration', async () => {
    set('profile: hospital\n')
    expect(await up()).toMatchObject({ exit: 1, stderr: expect.stringContaining('core, health, federal, defense') as string })
    set(HEALTH)
    expect((await up('--profile', 'hospital')).exit).toBe(2)
    for (const words of [['up', '--listen', '127.0.0.1:0'], ['assess'], ['conformance', '--target', 'unix:/none']]) for (const none of ['', ' , ']) expect(await here(...words, '--profile', none)).toMatchObject({ exit: 2, stderr: expect.stringContaining('--profile names no profile') as string })
  })

  it.each([
    ['an owner who is nobody', 'owner: " -"\n', 'owner: names nobody'],
    ['protected rules that are comments alone', 'base: none\n', 'no rule in a *.cedar of'],
    ['trust without a key', 'environment: { trust: [{ name: a, predicate_types: [x], builder: y, keys: {} }] }\n', 'so no statement could count'],
    ['logins that give nobody a role', 'people: { issuers: [{ issuer: "https://a.test", client_id: a, authorization_endpoint: "https://a.test", token_endpoint: "https://a.test", algorithms: [EdDSA], jwks_uri: "https://a.test", role_claim: r, roles: {} }] }\n', 'so nobody could log in'],
    ['an anchor in a device', 'anchors: [{ type: file, path: /dev/null }]\n', 'anchors.0.path: is not a regular file'],
  ])('%s meets nothing: it does not start', async (_name, text, expected) => {
    fs.mkdirSync(path.join(root, 'none'), { recursive: true })
    fs.writeFileSync(path.join(root, 'none', 'rules.cedar'), '// forbid (principal, action, resource);\n')
    set(`policies: policies\n${text}`)
    expect(await up()).toMatchObject({ exit: 1, stderr: expect.stringContaining(expected) as string })
  })

  it('starts where everything is there, says so, and takes no policy that would not do', async () => {
    set(`profile: core\n${HEALTH.replace('identity: { agents: registered }\n', '')}`)
    plane = await startPlane(dir)
    const { stdout } = await here('profile', 'core')
    expect(stdout).not.toContain('✗')
    expect(stdout.match(/✓/g)?.length).toBe(7)
    fs.writeFileSync(path.join(root, 'policies', 'wide.cedar'), '@id("wide")\npermit (principal, action == Action::"mcp.prompt_get", resource);\n')
    const refused = await here('policy', 'activate', path.join(root, 'policies'))
    expect([refused.exit, refused.stdout]).toEqual([1, expect.stringContaining('core.no_blanket_permit')])
    fs.writeFileSync(path.join(root, 'policies', 'wide.cedar'), '@id("risky") @risk("high")\npermit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://fs/write_file");\n')
    expect((await here('policy', 'activate', path.join(root, 'policies'))).stdout).toContain('core.high_risk_approved')
    fs.rmSync(path.join(root, 'policies', 'wide.cedar'))
  })

  it('its gates keep to it: none starts that would run what is denied, or answer before its receipt', async () => {
    const mcp = (...words: string[]): ReturnType<typeof run> => run(['mcp', '--dir', dir, '--name', 'fs', ...words, '--', process.execPath, '-e', '0'], { cwd: root })
    const shadow = await mcp('--shadow')
    expect([shadow.exit, missing(shadow.stderr)]).toEqual([1, ['core.enforced_at_gates']])
    set(`${fs.readFileSync(config, 'utf8')}receipt: after_reply\n`)
    const early = await mcp()
    expect([early.exit, missing(early.stderr)]).toEqual([1, ['core.receipts']])
  })

  it('is assessed: what the plane tells and what its evidence shows, with exit 1 where something is missing', async () => {
    set(fs.readFileSync(config, 'utf8').replace('receipt: after_reply\n', ''))
    const { exit, stdout, stderr } = await here('assess', '--profile', 'core', '--json', '--html', path.join(root, 'report.html'))
    const { profile } = JSON.parse(stdout) as { profile: { names: string[]; requirements: { id: string; met: boolean }[] } }
    expect([exit, profile.names]).toEqual([1, ['core']])
    expect(profile.requirements.filter(({ met }) => !met).map(({ id }) => id)).toEqual(['core.observed', 'core.canary', 'core.pinned'])
    expect(stderr).toContain('3 of 14 requirements of profile core are not met')
    expect(fs.readFileSync(path.join(root, 'report.html'), 'utf8')).toMatch(/<h2>profile core<\/h2>[\s\S]*met<\/td><td>plane<\/td>[\s\S]*not met<\/td><td>evidence<\/td>/)
    const saved = path.join(root, 'report.json')
    fs.writeFileSync(saved, stdout)
    expect(await here('assess', '--compare', saved)).toMatchObject({ exit: 0, stdout: expect.stringContaining('since then') as string })
  })
})

describe('tenants', () => {
  it('each has its own profile, and one that is not met keeps all of them closed', async () => {
    if (plane !== undefined) await end(plane.child)
    plane = undefined
    expect((await here('tenant', 'add', 'ward')).exit).toBe(0)
    const own = path.join(dir, 'tenants', 'ward', 'sealwrit.yaml')
    fs.writeFileSync(own, `profile: [core, defense]\nhigh_water: ../../mark\npolicies: ${path.join(root, 'policies')}\n`)
    const { exit, stderr } = await up()
    expect(exit).toBe(1)
    expect(stderr).toMatch(/tenant ward: the plane is not what profile core and defense asks for/)
    for (const id of ['federal.anchored', 'defense.high_water']) expect(missing(stderr)).toContain(id) // its mark lies in the folder of the plane
    fs.appendFileSync(own, 'anchors: [{ type: file, path: ../../anchors }]\n')
    expect(await up()).toMatchObject({ exit: 1, stderr: expect.stringContaining('lies in the plane’s own folder') as string })
  })
})
