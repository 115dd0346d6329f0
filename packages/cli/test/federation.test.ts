import type { ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane, startWitness } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-federated-')))
const at = (...names: string[]): string => path.join(root, ...names)
const dirs = { away: at('away', '.sealwrit'), home: at('home', '.sealwrit') }
const canary = at('canary')
const server = path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs')
/** Long enough for a machine that is busy, short enough to be waited for. */
const MAX_AGE_SECONDS = 20
const children: ChildProcess[] = []
let origins: { away: string; home: string }
let away: ChildProcess
let agent: Agent
let agentKey: string
let digest: string

interface Answer {
  readonly planes: readonly { readonly newest?: { readonly size: number } }[]
  readonly entries: readonly { readonly digest: string; readonly gate: string; readonly jti: string }[]
  readonly holds: readonly { readonly hold: string }[]
  readonly file: string
  readonly key: string
}
const parsed = async (asked: ReturnType<typeof run>): Promise<Answer> => {
  const { exit, stdout, stderr } = await asked
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' })
  return JSON.parse(stdout) as Answer
}
const touched = (): string[] => fs.readFileSync(canary, 'utf8').split('\n').filter((line) => line !== '')
const known = async (): Promise<string> => String((await parsed(run(['federation', 'list', '--dir', dirs.home, '--json']))).planes[0]?.newest?.size ?? 0)
const borrowed = at('borrowed.json')
/** Has away permit one call for home, in the file that the gateway looks at. */
async function borrow(id: string, more: object = {}): ReturnType<typeof run> {
  fs.rmSync(borrowed, { force: true })
  const action = at(`${id}.action.json`)
  fs.writeFileSync(action, JSON.stringify({ type: 'mcp.tool_call', target: 'mcp://canary', name: 'touch', arguments: { id, ...more }, tool_digest: digest }))
  return run(['issue', action, '--dir', dirs.away, '--audience', origins.home, '--known', await known(), '--agent', 'coder', '--agent-key', agentKey, '-o', borrowed])
}

beforeAll(async () => {
  for (const name of ['away', 'home']) fs.mkdirSync(at(name))
  const first = { away: await startPlane(dirs.away), home: await startPlane(dirs.home) } // the first run makes keys and origins
  origins = { away: first.away.origin, home: first.home.origin }
  await Promise.all([end(first.away.child), end(first.home.child)])
  const witness = await startWitness(at('witness'), path.join(dirs.away, 'log.vkey'))
  children.push(witness.child)
  fs.writeFileSync(at('away.policy'), `${witness.policy_line}\nquorum ${witness.name}\n`)
  fs.writeFileSync(at('away', 'sealwrit.yaml'), `policies: .sealwrit/policies\nwitnesses: ../away.policy\nfederation_audiences: [${origins.home}]\n`)
  fs.writeFileSync(at('home', 'sealwrit.yaml'), `policies: .sealwrit/policies
federation:
  - origin: ${origins.away}
    key: ${path.join(dirs.away, 'log.vkey')}
    witnesses: ../away.policy
    max_age_seconds: ${MAX_AGE_SECONDS}
    accepts: [artifacts, approvals]
    groups: {leads: secops}
    scopes: [{type: mcp.tool_call, target: mcp://canary, name: touch}]
`)
  const scope = 'principal == Agent::"coder", action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch"'
  fs.writeFileSync(path.join(dirs.away, 'policies', 'lend.cedar'), `@id("lend") permit (${scope}) when { context has federation && context.federation.direction == "to" };\n`)
  fs.writeFileSync(path.join(dirs.home, 'policies', 'take.cedar'), `@id("take") permit (${scope}) when { context has federation && context.federation.origin == "${origins.away}" };\n@id("ask") @approval("group:secops timeout:10m") permit (${scope}) when { context.args has uri };\n`)
  fs.writeFileSync(canary, '')
  away = (await startPlane(dirs.away)).child
  children.push(away, (await startPlane(dirs.home)).child)
  const added = await parsed(run(['agent', 'add', 'coder', '--dir', dirs.home, '--json']))
  agentKey = added.file
  await parsed(run(['agent', 'add', 'coder', '--dir', dirs.away, '--key', added.key, '--json']))
  const gateway = sealwrit(['mcp', '--pin', '--dir', dirs.home, '--name', 'canary', '--agent', 'coder', '--agent-key', agentKey, '--foreign-artifact', borrowed, '--', process.execPath, server, canary])
  gateway.stderr?.resume()
  children.push(gateway)
  agent = new Agent(gateway)
  expect(await agent.initialize()).toBe(true)
  expect(await agent.touch('nobody permitted it')).toBe('policy_no_match')
  digest = (await parsed(run(['log', '--dir', dirs.home, '--kind', 'tool', '--json']))).entries[0]?.digest as string
}, 120_000)
afterAll(async () => {
  for (const child of children.toReversed()) await end(child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('two planes, a witness, a gate and a canary, each a process of its own', () => {
  it('what away permits runs at the gate of home, once', async () => {
    const { exit, stdout, stderr } = await borrow('one')
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' })
    expect(stdout).toBe(`artifact in ${borrowed}; the plane ${origins.home} can take it once, within 60 s\n`)
    expect(fs.statSync(borrowed).mode & 0o777).toBe(0o600)
    expect((await run(['federation', 'check', borrowed, '--dir', dirs.home])).stdout).toMatch(/^holds {2}a permit of /)
    expect(await agent.touch('another')).toBe('action_mismatch')
    expect([await agent.touch('one'), await agent.touch('one')]).toEqual(['ran', 'artifact_spent'])
    expect(touched()).toEqual(['one'])
    const [permit] = (await parsed(run(['log', '--dir', dirs.home, '--kind', 'permit', '--json']))).entries
    expect((await run(['lineage', permit?.jti as string, '--dir', dirs.home])).stdout).toContain(`lent by ${origins.away} as `)
    expect((await run(['federation', 'list', '--dir', dirs.home])).stdout).toMatch(new RegExp(`${origins.away} {2}artifacts, approvals {2}known to size \\d+, taken \\d+ s ago at index \\d+`))
  }, 60_000)

  it('what was overtaken is sealed anew; a client may present it with the call itself', async () => {
    await borrow('two')
    const shown = fs.readFileSync(borrowed, 'utf8')
    await borrow('three')
    expect(await agent.touch('three')).toBe('ran')
    fs.writeFileSync(borrowed, shown, { mode: 0o600 })
    expect(await agent.touch('two')).toBe('state_diverged')
    expect((await run(['federation', 'seal', borrowed, '--known', await known(), '--dir', dirs.away])).exit).toBe(0)
    const foreign = JSON.parse(fs.readFileSync(borrowed, 'utf8')) as object
    fs.rmSync(borrowed)
    expect(await agent.touch('two')).toBe('policy_no_match') // without it nothing permits it here
    const answer = await agent.request('tools/call', { name: 'touch', arguments: { id: 'two' }, _meta: { 'sealwrit/foreign': foreign } })
    expect(answer?.['result']).toEqual({ content: [] })
    expect(touched()).toEqual(['one', 'three', 'two'])
  }, 60_000)

  it('an artifact is issued below it for the gate, and redeemed by the key', async () => {
    await borrow('four')
    const [gate] = (await parsed(run(['log', '--dir', dirs.home, '--kind', 'gate', '--json']))).entries
    const carried = at('carried.json')
    expect((await run(['issue', at('four.action.json'), '--dir', dirs.home, '--audience', gate?.gate as string, '--agent', 'coder', '--agent-key', agentKey, '--foreign-artifact', borrowed, '-o', carried])).exit).toBe(0)
    fs.rmSync(borrowed)
    const call = async (): Promise<unknown> => (await agent.request('tools/call', { name: 'touch', arguments: { id: 'four' }, _meta: { 'sealwrit/artifact': JSON.parse(fs.readFileSync(carried, 'utf8')) } }))?.['result']
    expect(await call()).toEqual({ content: [] })
    expect(JSON.stringify(await call())).toContain('artifact_spent')
    expect(touched().filter((id) => id === 'four')).toEqual(['four'])
  }, 60_000)

  it('an approver of away approves a hold of home under a voucher', async () => {
    const ask = async (hold?: string): Promise<string> => JSON.stringify(await agent.request('tools/call', { name: 'touch', arguments: { id: 'five', uri: 'x' }, ...(hold === undefined ? {} : { _meta: { 'sealwrit/hold': hold } }) }))
    expect(await ask()).toContain('approval_required')
    const [held] = (await parsed(run(['approvals', '--dir', dirs.home, '--json']))).holds
    const ann = await parsed(run(['approver', 'add', 'ann', '--group', 'leads', '--dir', dirs.away, '--json']))
    fs.mkdirSync(path.join(dirs.home, 'approvers'), { mode: 0o700 })
    fs.copyFileSync(ann.file, path.join(dirs.home, 'approvers', 'ann.pem'))
    const file = at('ann.voucher')
    const { exit, stdout } = await run(['approver', 'voucher', 'ann', '--for', origins.home, '--known', await known(), '-o', file, '--dir', dirs.away])
    expect({ exit, stdout }).toEqual({ exit: 0, stdout: expect.stringMatching(/^voucher for ann in .*, recorded at index \d+; it can be used at .* until 20/) })
    expect((await run(['approve', held?.hold as string, '--as', 'ann', '--dir', dirs.home])).stderr).toContain('this key belongs to no approver')
    const approved = await run(['approve', held?.hold as string, '--as', 'ann', '--voucher', file, '--dir', dirs.home])
    expect(approved.stderr).toBe('')
    expect(approved.stdout).toMatch(/approved {2}recorded at index \d+; 1 of 1/)
    expect(await ask(held?.hold)).toContain('"result":{"content":[]}')
  }, 60_000)

  it('the evidence of home verifies, and with the key of away also what was taken', async () => {
    const file = at('evidence.json')
    expect((await run(['export', 'all', '-o', file, '--dir', dirs.home])).exit).toBe(0)
    const verify = (...more: string[]): ReturnType<typeof run> => run(['verify', file, '--key', path.join(dirs.home, 'log.vkey'), '--replay', ...more])
    const plain = await verify()
    expect(plain.exit).toBe(0)
    expect(plain.stdout).toContain('said what 5 entries were taken from: give its key with --foreign-key')
    const full = await verify('--foreign-key', path.join(dirs.away, 'log.vkey'), '--foreign-witness-policy', at('away.policy'))
    expect(full.exit).toBe(0)
    expect(full.stdout).toContain('the other plane permitted what this permit descends from, and no less (4 times)')
    expect(full.stdout).toContain('the other plane vouched for the approver')
    const wrong = await verify('--foreign-key', fs.readFileSync(path.join(dirs.home, 'log.vkey'), 'utf8').trim().replace(origins.home, origins.away))
    expect(wrong.exit).not.toBe(0)
  }, 60_000)

  it('a killed plane is believed while its cosignatures are fresh, and not a moment longer', async () => {
    await borrow('six')
    const shown = fs.readFileSync(borrowed, 'utf8')
    await borrow('seven')
    await end(away, 'SIGKILL')
    expect(await agent.touch('seven')).toBe('ran')
    fs.writeFileSync(borrowed, shown, { mode: 0o600 })
    await new Promise((resolve) => setTimeout(resolve, (MAX_AGE_SECONDS + 1) * 1_000))
    expect(await agent.touch('six')).toBe('witness_quorum_not_met')
    const { exit, stderr } = await run(['federation', 'check', borrowed, '--dir', dirs.home])
    expect({ exit, stderr }).toEqual({ exit: 10, stderr: expect.stringContaining('witness_quorum_not_met') })
    expect(touched()).not.toContain('six')
  }, 90_000)

  it('a trust list without witnesses, or with another key, starts no plane', async () => {
    const config = fs.readFileSync(at('home', 'sealwrit.yaml'), 'utf8')
    const dir = at('third', '.sealwrit')
    fs.mkdirSync(at('third'))
    const start = async (yaml: string): Promise<string> => {
      fs.writeFileSync(at('third', 'sealwrit.yaml'), yaml)
      const { exit, stderr } = await run(['up', '--dir', dir, '--listen', '127.0.0.1:0'])
      expect(exit).not.toBe(0)
      return stderr
    }
    fs.writeFileSync(at('none.policy'), 'quorum none\n')
    expect(await start(config.replace('away.policy', 'none.policy'))).toContain('asks for no cosignature')
    expect(await start(config.replace(`key: ${path.join(dirs.away, 'log.vkey')}`, `key: ${path.join(dirs.home, 'log.vkey')}`))).toContain('the key is that of')
    expect(await start(config.replace('accepts: [artifacts, approvals]', 'accepts: [everything]'))).toContain('federation.0.accepts')
    expect(await start(config.replace(`max_age_seconds: ${MAX_AGE_SECONDS}`, 'max_age_seconds: 3601'))).toContain('max_age_seconds')
    expect(await start(config.replace('groups: {leads: secops}', 'groups: {leads: "No Group"}'))).toContain('its groups')
  }, 60_000)
})
