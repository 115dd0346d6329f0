import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import type { ChildProcess } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-issue-')))
const dir = path.join(root, '.sealwrit')
const canary = path.join(root, 'canary')
const server = path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs')
const POLICY = '@id("touch") permit (principal == Agent::"coder", action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch");\n'
let plane: ChildProcess
let url = ''
let gateway: ChildProcess
let agent: Agent
let gate: string

beforeAll(async () => {
  await end((await startPlane(dir)).child) // the first run writes the folder
  fs.writeFileSync(path.join(dir, 'policies', 'touch.cedar'), POLICY)
  fs.writeFileSync(canary, '')
  const running = await startPlane(dir)
  plane = running.child
  url = running.url
  gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'canary', '--agent', 'coder', '--', process.execPath, server, canary])
  gateway.stderr?.resume()
  agent = new Agent(gateway)
  expect(await agent.initialize()).toBe(true)
  expect(await agent.touch('first')).toBe('ran') // with its first call a tool is recorded
  const { entries } = JSON.parse((await run(['log', '--dir', dir, '--kind', 'gate', '--json'])).stdout) as { entries: { gate: string }[] }
  gate = entries[0]?.gate as string
})
afterAll(async () => {
  await end(gateway)
  await end(plane)
  fs.rmSync(root, { recursive: true, force: true })
})

const action = (id: string): string => {
  const file = path.join(root, `${id}.action.json`)
  fs.writeFileSync(file, JSON.stringify({ type: 'mcp.tool_call', target: 'mcp://canary', name: 'touch', arguments: { id } }))
  return file
}
const issue = (...args: string[]): ReturnType<typeof run> => run(['issue', '--dir', dir, ...args])
async function call(id: string, artifact: unknown): Promise<string> {
  const answer = await agent.request('tools/call', { name: 'touch', arguments: { id }, _meta: { 'sealwrit/artifact': artifact } })
  const meta = (answer?.['result'] as { _meta?: { 'sealwrit/denial'?: { code: string } } } | undefined)?._meta
  return meta?.['sealwrit/denial']?.code ?? (answer?.['result'] === undefined ? 'error' : 'ran')
}
const touched = (): string[] => fs.readFileSync(canary, 'utf8').split('\n').filter((line) => line !== '')

describe('sealwrit issue', () => {
  it('writes an artifact that runs once at the gate it names, and its evidence verifies', async () => {
    const file = path.join(root, 'artifact.json')
    const { exit, stdout, stderr } = await issue(action('one'), '--audience', gate, '--agent', 'coder', '-o', file)
    expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' })
    expect(stdout).toBe(`artifact in ${file}; it can be started once, within 60 s, at gate ${gate}\n`)
    expect(fs.statSync(file).mode & 0o777).toBe(0o600)
    const artifact = JSON.parse(fs.readFileSync(file, 'utf8')) as { entry: string }
    expect(Object.keys(artifact)).toEqual(['entry', 'proof'])
    expect(await call('another', artifact), 'not for other arguments').toBe('action_mismatch')
    expect(await call('one', artifact)).toBe('ran')
    expect(await call('one', artifact)).toBe('artifact_spent')
    expect(touched()).toEqual(['first', 'one'])
    const { jti } = JSON.parse(artifact.entry) as { jti: string }
    const shown = JSON.parse((await run(['show', jti, '--dir', dir, '--json'])).stdout) as { entries: { kind: string }[] }
    expect(shown.entries.map(({ kind }) => kind)).toEqual(['permit', 'redemption', 'receipt'])
    const bundle = path.join(root, 'evidence.json')
    expect((await run(['export', jti, '--dir', dir, '-o', bundle])).exit).toBe(0)
    expect((await run(['verify', bundle, '--key', path.join(dir, 'log.vkey')])).exit).toBe(0)
    const again = await issue(action('one'), '--audience', gate, '--agent', 'coder', '-o', file)
    expect([again.exit, again.stderr]).toEqual([1, expect.stringMatching(/exists already\n {2}hint: choose another file/)])
  })
  it('writes it as a JWS too, of the key that is published', async () => {
    const [file, jws] = [path.join(root, 'beside.json'), path.join(root, 'artifact.jwt')]
    expect((await issue(action('jws'), '--audience', gate, '--agent', 'coder', '--jws', jws, '-o', file)).exit).toBe(0)
    const [head] = fs.readFileSync(jws, 'utf8').split('.') as [string]
    const { keys } = (await (await fetch(`${url}/.well-known/jwks.json`)).json()) as { keys: { kid: string }[] }
    expect(JSON.parse(Buffer.from(head, 'base64url').toString())).toEqual({ alg: 'Ed25519', kid: keys[0]?.kid, typ: 'authorization-artifact+jwt' })
  })
  it('prints it without -o, for the seconds that were asked for', async () => {
    const { exit, stdout } = await issue(action('two'), '--audience', gate, '--agent', 'coder', '--seconds', '7')
    expect(exit).toBe(0)
    const entry = JSON.parse((JSON.parse(stdout) as { entry: string }).entry) as { exp: number; iat: number; use: string; aud: string }
    expect([entry.exp - entry.iat, entry.use, entry.aud]).toEqual([7, 'redeem', gate])
    expect(await call('two', JSON.parse(stdout))).toBe('ran')
  })
  it('a call without one is governed as before, and one that is no artifact is denied', async () => {
    expect(await agent.touch('plain')).toBe('ran')
    expect(await call('three', null)).toBe('artifact_missing')
    expect(await call('three', { entry: 'x', proof: 'y' })).toBe('artifact_malformed')
    expect(touched()).toEqual(['first', 'one', 'two', 'plain'])
  })
  it.each([
    ['another agent', ['--agent', 'stranger'], 10, /policy_no_match: no policy permits this; recorded at index \d+\n {2}hint: /],
    ['nobody', [], 10, /policy_no_match/],
    ['a gate that nobody knows', ['--agent', 'coder', '--audience', 'x'], 10, /identity_unknown/],
    ['too long', ['--agent', 'coder', '--seconds', '61'], 2, /--seconds takes a whole number from 1 to 60/],
    ['no number', ['--agent', 'coder', '--seconds', 'x'], 2, /--seconds takes/],
  ] as const)('%s: refused, with its exit code and nothing on stdout', async (_name, args, exit, message) => {
    const answer = await issue(action('no'), ...(args.includes('--audience' as never) ? [] : ['--audience', gate]), ...args)
    expect({ exit: answer.exit, stdout: answer.stdout }).toEqual({ exit, stdout: '' })
    expect(answer.stderr).toMatch(message)
  })
  it('says what is wrong with the file, and with a tool that nobody listed', async () => {
    const file = (name: string, text: string): string => {
      fs.writeFileSync(path.join(root, name), text)
      return path.join(root, name)
    }
    expect((await issue(path.join(root, 'absent.json'), '--audience', gate)).stderr).toMatch(/cannot be read \(ENOENT\)/)
    expect((await issue(file('list.json', '[]'), '--audience', gate)).stderr).toMatch(/does not hold an action\n {2}hint: /)
    expect((await issue(file('twice.json', '{"a":1,"a":2}'), '--audience', gate)).exit).toBe(10)
    const unlisted = await issue(file('unlisted.json', '{"type":"mcp.tool_call","target":"mcp://canary","name":"none","arguments":{}}'), '--audience', gate, '--agent', 'coder')
    expect([unlisted.exit, unlisted.stderr]).toEqual([10, expect.stringMatching(/tool_not_pinned/)])
    expect((await issue(action('x'))).exit, 'no audience').not.toBe(0)
    expect((await run(['issue', '--help'])).stdout).toContain('sealwrit issue action.json --audience GATE')
    expect((await run(['issue', action('x'), '--audience', gate, '--dir', path.join(root, 'nowhere')])).exit).toBe(14)
  })
})
