import type { ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-policy-')))
const dir = path.join(root, '.sealwrit')
const policies = path.join(dir, 'policies')
const OPEN = '@id("open") permit (principal, action, resource);\n'
let plane: Awaited<ReturnType<typeof startPlane>>
const policy = (...args: string[]): ReturnType<typeof run> => run(['policy', ...args, '--dir', dir])
const jsonOf = async (...args: string[]): Promise<Record<string, unknown>> => JSON.parse((await policy(...args, '--json')).stdout) as Record<string, unknown>
/** A copy of the plane's policies with a file more. */
function candidate(name: string, files: Record<string, string>): string {
  const folder = path.join(root, name)
  fs.cpSync(policies, folder, { recursive: true })
  for (const [file, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(folder, file)), { recursive: true })
    fs.writeFileSync(path.join(folder, file), text)
  }
  return folder
}
/** What `up` prints, without `--activate`. */
function announced(): Promise<{ child: ChildProcess; text: string }> {
  const child = sealwrit(['up', '--dir', dir, '--listen', '127.0.0.1:0'])
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (text.includes('Ctrl-C')) resolve({ child, text })
    })
    child.once('exit', () => reject(new Error(text)))
  })
}

beforeAll(async () => {
  plane = await startPlane(dir)
  expect((await run(['doctor', '--dir', dir])).exit).toBe(0) // a permit and a deny on record
}, 60_000)
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('policy test', { timeout: 120_000 }, () => {
  it('says what was decided instead, by which policy, and exits with 1', async () => {
    const folder = candidate('failing', { 'x.test.yaml': '- name: writes pass\n  action: { type: mcp.tool_call, target: "mcp://fs", name: write_file, arguments: {} }\n  expect: permit\n  determining: [x/y]\n  risk: high\n' })
    const { exit, stdout } = await policy('test', folder)
    expect(stdout).toContain('x.test.yaml\n  FAIL  writes pass\n          decision: expected permit, got policy_denied (decided by filesystem/no-writes)\n          determining: expected ["x/y"], got ["filesystem/no-writes"]\n          risk: expected high, got none\n3 of 4 passed\n')
    expect(exit).toBe(1)
    expect(await jsonOf('test', folder)).toMatchObject({ failed: 1, cases: expect.arrayContaining([expect.objectContaining({ file: 'x.test.yaml', name: 'writes pass' })]) })
    expect((await policy('test')).exit).toBe(0)
  })
  it('names the case that cannot be read', async () => {
    const folder = candidate('unreadable', { 'x.test.yaml': '- name: a\n  expect: permit\n' })
    expect(await policy('test', folder)).toMatchObject({ exit: 2, stderr: expect.stringContaining('x.test.yaml: case 1: member action is not present') })
  })
})

describe('the life cycle, at a plane that runs', { timeout: 180_000 }, () => {
  it('replay and diff say beforehand what a set would change; --fail-on-permit exits with 1', async () => {
    const folder = candidate('open', { 'open.cedar': OPEN })
    const { stdout, exit } = await policy('replay', folder, '--since', '0', '--fail-on-permit')
    expect(stdout).toMatch(/^newly permitted \(1\)\n +1 × {2}agent:sealwrit-doctor {2}mcp:\/\/doctor\/touch_forbidden {2}by open\/open {2}as at index \d+\n3 recorded requests under sha256:[0-9a-f]{64}: 2 stay as they are\n$/)
    expect(exit).toBe(1)
    expect(await jsonOf('replay', folder)).toMatchObject({ requests: 3, unreadable: 0, counts: { newly_permitted: 1, same: 2 } })
    expect((await policy('replay', policies)).stdout).toContain('nothing changes')
    expect((await policy('replay', folder, '--since', 'yesterday')).exit).toBe(2)
    expect((await policy('diff', 'active', folder)).stdout).toContain('added    permit open/open\n           permit added: may permit more\n')
    expect((await policy('diff', '1', policies)).stdout).toBe('the sets are the same\n')
    expect((await policy('diff', 'nowhere', policies)).exit).toBe(2)
  })
  it('activate refuses a set whose own tests fail, and says so of one that has none', async () => {
    const folder = candidate('untested', { 'open.cedar': OPEN })
    const refused = await policy('activate', folder)
    expect(refused.stdout).toBe('refused  1 of its 3 tests fail; the first is `a read outside is not`\n  FAIL  a read outside is not\n          decision: expected policy_no_match, got permit (decided by open/open)\nnothing was activated; the active set stays\n')
    expect(refused.exit).toBe(1)
    fs.rmSync(path.join(folder, 'filesystem.test.yaml'))
    const { stdout, exit } = await policy('activate', folder)
    expect(stdout).toMatch(/^activated {2}sha256:[0-9a-f]{64} is epoch 2 from index \d+ on\nit has no tests: nothing but its form was checked\n$/)
    expect(exit).toBe(0)
    expect((await policy('rollback')).stdout).toMatch(/^activated {2}sha256:[0-9a-f]{64} is epoch 3 from index \d+ on\n$/)
    expect((await policy('rollback', '99')).stderr).toContain('there was no epoch 99')
    expect((await policy('activate', folder, '--from', 'tomorrow')).exit).toBe(2)
    expect((await run(['log', '--kind', 'policy', '--dir', dir])).stdout).toMatch(/epoch 1 [\s\S]*activated {2}epoch 2 [\s\S]*rolled_back {2}epoch 3 /)
  })
  it('a shadow set is recorded beside what is enforced, and `policy shadow` prints the difference', async () => {
    const folder = candidate('shadowed', { 'open.cedar': OPEN })
    fs.rmSync(path.join(folder, 'filesystem.test.yaml'))
    expect((await policy('activate', folder, '--shadow')).stdout).toMatch(/^shadow {5}sha256:.* is evaluated beside epoch 3 from index \d+ on; it governs nothing/)
    expect((await run(['doctor', '--dir', dir])).stdout).toContain('deny: a forbidden call answered policy_no_match, canary unchanged')
    expect((await policy('shadow')).stdout).toMatch(/^newly permitted \(1\)\n +1 × {2}agent:sealwrit-doctor {2}mcp:\/\/doctor\/touch_forbidden {2}by open\/open/)
    expect(await jsonOf('status')).toMatchObject({ epoch: 3, shadow: expect.stringMatching(/^sha256:/) })
    expect((await policy('withdraw', 'shadow')).stdout).toMatch(/^withdrawn {2}sha256:/)
    expect((await policy('withdraw', 'shadow')).stdout).toBe('there is nothing to withdraw\n')
    const bundle = path.join(root, 'evidence.json')
    expect((await run(['export', 'all', '-o', bundle, '--dir', dir])).exit).toBe(0)
    expect((await run(['verify', bundle, '--dir', dir, '--replay'])).exit).toBe(0)
  })
  it('recommend drafts policies and tests that load, pass, and are no wider than what was recorded', async () => {
    const draft = path.join(root, 'draft')
    const { stdout, exit } = await policy('recommend', '--agent', 'sealwrit-doctor', '-o', draft)
    expect([exit, stdout]).toEqual([0, `2 policies from 5 requests in ${draft}/recommended.cedar, with their tests; read them before you activate anything\n`])
    fs.copyFileSync(path.join(policies, 'schema.cedarschema'), path.join(draft, 'schema.cedarschema'))
    expect((await policy('test', draft)).stdout).toContain('6 of 6 passed')
    expect(await jsonOf('replay', draft)).toMatchObject({ counts: { newly_permitted: 2, newly_denied: 0 } }) // what the shadow set would have permitted
    expect((await policy('recommend', '--agent', 'nobody')).stderr).toContain('no recorded request matches')
    expect((await policy('recommend', '-o', draft)).stderr).toContain('cannot be written')
  })
  it('analyze tells what is shadowed and unused, and reads sets that do not load', async () => {
    const folder = candidate('odd', { 'odd.cedar': '@id("dead") permit (principal, action == Action::"mcp.prompt_get", resource is Tool);\n@id("gone") permit (principal == Agent::"x", action, resource);\n@id("none") forbid (principal == Agent::"x", action, resource);\n' })
    const { stdout, exit } = await policy('analyze', folder)
    expect(stdout).toMatch(/unreachable odd\/dead\n[\s\S]*shadowed {4}odd\/gone\n {12}odd\/none forbids everything that it permits/)
    expect(exit).toBe(1)
    expect((await policy('analyze', '--since', '0')).stdout).toMatch(/unused {6}filesystem\/read-inside[\s\S]*6 recorded requests were looked at|unused {6}filesystem\/read-inside/)
  })
  it('protected rules of policies/base are part of the set, and cannot be dropped without saying so', async () => {
    const rules = candidate('with-base', { 'base/never.cedar': '@id("x") forbid (principal == Agent::"mallory", action, resource);\n' })
    expect((await policy('validate', rules)).stdout).toMatch(/^valid {2}5 policies, 1 of them protected rules, sha256:/)
    expect((await policy('activate', rules)).stdout).toContain('is epoch 4')
    expect((await policy('activate')).stdout).toContain('refused  it drops or changes the protected rules of the active set')
    expect((await policy('rollback')).stderr).toContain('lacks the protected rules')
    expect((await policy('activate', '--new-base')).stdout).toContain('is epoch 5')
  })
})

describe('a start', () => {
  it('keeps the active set, whatever became of the folder, and says what to do', { timeout: 180_000 }, async () => {
    await end(plane.child)
    fs.writeFileSync(path.join(policies, 'open.cedar'), OPEN)
    const changed = await announced()
    expect(changed.text).toMatch(/policy epoch 5\n {2}policy {3}the folder differs from the active set, which stays; look at it, and activate it:\n {11}.*policy activate --dir/)
    await end(changed.child)
    fs.writeFileSync(path.join(policies, 'open.cedar'), 'permit (')
    const broken = await announced()
    expect(broken.text).toMatch(/policy epoch 5\n {2}policy {3}policies in .*open\.cedar: .*; the active set stays\n/)
    await end(broken.child)
    const forced = await run(['up', '--activate', '--dir', dir, '--listen', '127.0.0.1:0'])
    expect([forced.exit, forced.stderr]).toEqual([1, expect.stringContaining('open.cedar: ')])
    fs.rmSync(path.join(policies, 'open.cedar'))
    fs.writeFileSync(path.join(root, 'sealwrit.yaml'), 'policies: .sealwrit/policies\nbase: rules\n')
    fs.mkdirSync(path.join(root, 'rules'))
    expect((await run(['up', '--dir', dir, '--listen', '127.0.0.1:0'])).stderr).toContain('no rule in a *.cedar of')
    fs.writeFileSync(path.join(root, 'rules', 'never.cedar'), 'forbid (principal == Agent::"mallory", action, resource);')
    const demanding = await announced()
    expect(demanding.text).toContain('nothing is permitted: policy_missing; activate a set that holds')
    expect((await run(['doctor', '--dir', dir])).stdout).toContain('policy_missing')
    expect((await policy('activate')).stdout).toContain('is epoch 6')
    expect((await run(['doctor', '--dir', dir])).exit).toBe(0)
    await end(demanding.child)
  })
})
