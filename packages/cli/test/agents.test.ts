import type { ChildProcess } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Provider, signingPair, token } from '../../control-plane/test/support/identity.ts'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-agents-')))
const dir = path.join(root, '.sealwrit')
const canary = path.join(root, 'canary')
const server = path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs')
const POLICY = '@id("touch") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch") when { context has identity };\n'
const pair = signingPair('ES256', 'k1')
const AUDIENCE = 'https://plane.example'
let provider: Provider
let plane: ChildProcess
let url: string
const gateways: ChildProcess[] = []

beforeAll(async () => {
  provider = await Provider.start(pair)
  fs.writeFileSync(path.join(root, 'sealwrit.yaml'), `policies: .sealwrit/policies\nowner: team:platform\nidentity:\n  agents: registered\n  issuers:\n    - issuer: ${provider.url}\n      audience: ${AUDIENCE}\n      algorithms: [ES256]\n      jwks_uri: ${provider.url}/jwks\n      agent: agent_name\n`)
  await end((await startPlane(dir)).child) // the first run writes the folder
  fs.writeFileSync(path.join(dir, 'policies', 'touch.cedar'), POLICY)
  fs.writeFileSync(canary, '')
  ;({ child: plane, url } = await startPlane(dir))
})
afterAll(async () => {
  for (const gateway of gateways) await end(gateway)
  await end(plane)
  await provider.stop()
  fs.rmSync(root, { recursive: true, force: true })
})
async function wrapped(...args: string[]): Promise<Agent> {
  const gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'canary', ...args, '--', process.execPath, server, canary])
  gateway.stderr?.resume()
  gateways.push(gateway)
  const agent = new Agent(gateway)
  expect(await agent.initialize()).toBe(true)
  return agent
}
const agentCommand = (...args: string[]): ReturnType<typeof run> => run(['agent', ...args, '--dir', dir])
const touched = (): string[] => fs.readFileSync(canary, 'utf8').split('\n').filter((line) => line !== '')
const parsed = async (asked: ReturnType<typeof run>): Promise<Record<string, unknown>> => {
  const { exit, stdout, stderr } = await asked
  expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' })
  return JSON.parse(stdout) as Record<string, unknown>
}

describe('sealwrit agent', () => {
  let file: string
  it('add makes a key that only its owner can read, and the agent that holds it runs its tools', async () => {
    const added = await parsed(agentCommand('add', 'coder', '--owner', 'team:payments', '--expires', '90d', '--json'))
    file = added['file'] as string
    expect(fs.statSync(file).mode & 0o777).toBe(0o600)
    expect(added).toMatchObject({ agent: 'coder', key: expect.stringMatching(/^[\w-]{43}$/), seq: expect.any(Number) })
    const agent = await wrapped('--agent', 'coder', '--agent-key', file)
    expect(await agent.touch('with key')).toBe('ran')
    const { entries } = (await parsed(run(['log', '--dir', dir, '--kind', 'permit', '--json']))) as unknown as { entries: { cnf: string; owner: string; act: object }[] }
    expect(entries[0]).toMatchObject({ owner: 'team:payments', act: { sub: 'agent:coder', verified: true } })
    const { agents } = (await parsed(agentCommand('list', '--json'))) as unknown as { agents: { keys: { thumbprint: string }[] }[] }
    expect(agents[0]?.keys[0]?.thumbprint).toBe(entries[0]?.cnf)
  })
  it('ATK-049: without the key, with another’s, and as nobody known, nothing runs', async () => {
    const other = (await parsed(agentCommand('add', 'reviewer', '--json')))['file'] as string
    const before = touched()
    expect(await (await wrapped('--agent', 'coder')).touch('no key')).toBe('identity_invalid')
    expect(await (await wrapped('--agent', 'coder', '--agent-key', other)).touch('other key')).toBe('identity_invalid')
    expect(await (await wrapped('--agent', 'stranger')).touch('stranger')).toBe('identity_invalid')
    expect(await (await wrapped()).touch('nobody')).toBe('identity_invalid')
    expect(touched()).toEqual(before)
    const { entries } = (await parsed(run(['log', '--dir', dir, '--kind', 'deny', '--limit', '4', '--json']))) as unknown as { entries: { code: string }[] }
    expect(entries.map(({ code }) => code).sort()).toEqual(['identity_missing', 'identity_unknown', 'identity_unknown', 'proof_of_possession_failed'])
  })
  it('issue binds what is carried to the key: at a gateway that proves it, once, and at no other', async () => {
    const { gates } = (await parsed(run(['gate', 'list', '--dir', dir, '--json']))) as unknown as { gates: { gate: string; open: boolean; level: string }[] }
    expect(gates[0]).toMatchObject({ open: true, level: 'software' })
    const agent = await wrapped('--agent', 'coder', '--agent-key', file)
    const bare = await wrapped('--agent', 'coder')
    const all = ((await parsed(run(['gate', 'list', '--dir', dir, '--json']))) as unknown as { gates: { gate: string; expires: number }[] }).gates.map(({ gate }) => gate)
    const action = path.join(root, 'action.json')
    fs.writeFileSync(action, JSON.stringify({ type: 'mcp.tool_call', target: 'mcp://canary', name: 'touch', arguments: { id: 'carried' } }))
    const artifactFor = async (gate: string): Promise<unknown> => {
      const { exit, stdout, stderr } = await run(['issue', action, '--dir', dir, '--audience', gate, '--agent', 'coder', '--agent-key', file])
      expect({ exit, stderr }).toEqual({ exit: 0, stderr: '' })
      return JSON.parse(stdout)
    }
    const present = async (at: Agent, artifact: unknown): Promise<string> => {
      const answer = await at.request('tools/call', { name: 'touch', arguments: { id: 'carried' }, _meta: { 'sealwrit/artifact': artifact } })
      return (answer?.['result'] as { _meta?: { 'sealwrit/denial'?: { code: string } } } | undefined)?._meta?.['sealwrit/denial']?.code ?? 'ran'
    }
    const [own, others] = [all.at(-2) as string, all.at(-1) as string]
    expect(await present(bare, await artifactFor(others))).toBe('proof_of_possession_failed')
    const artifact = await artifactFor(own)
    expect(await present(agent, artifact)).toBe('ran')
    expect(await present(agent, artifact)).toBe('artifact_spent')
    expect(touched().filter((line) => line === 'carried')).toHaveLength(1)
    const unproved = await run(['issue', action, '--dir', dir, '--audience', own, '--agent', 'coder'])
    expect([unproved.exit, unproved.stderr]).toEqual([10, expect.stringMatching(/identity_invalid/)])
  })
  it('a token of an issuer is presented by the client or from a file, and read anew for each request', async () => {
    const claims = (change: object = {}): object => ({ iss: provider.url, sub: 'somebody', aud: AUDIENCE, exp: Math.floor(Date.now() / 1_000) + 60, agent_name: 'robot', ...change })
    const tokenFile = path.join(root, 'token')
    fs.writeFileSync(tokenFile, token(pair, claims()), { mode: 0o600 })
    const agent = await wrapped('--agent', 'robot', '--token-file', tokenFile)
    expect(await agent.touch('token')).toBe('ran')
    fs.writeFileSync(tokenFile, token(pair, claims({ exp: 1 })))
    expect(await agent.touch('expired')).toBe('identity_invalid')
    const call = async (identity: unknown): Promise<string> => {
      const answer = await agent.request('tools/call', { name: 'touch', arguments: { id: 'meta' }, _meta: { 'sealwrit/identity': identity } })
      const result = answer?.['result'] as { _meta?: { 'sealwrit/denial'?: { code: string } } } | undefined
      return result?._meta?.['sealwrit/denial']?.code ?? (answer?.['error'] as { data?: { code: string } } | undefined)?.data?.code ?? 'ran'
    }
    expect(await call({ form: 'oidc', token: token(pair, claims()) })).toBe('ran')
    expect(await call({ form: 'oidc', token: token(pair, claims({ agent_name: 'other' })) })).toBe('identity_invalid')
    expect(await call({ form: 'agent-key', proof: 'x.y.z' })).toBe('identity_invalid')
    for (const bad of [null, 'x', {}, { form: 'oidc' }, { form: 'oidc', token: 'x', more: 1 }, { form: 'none', token: 'x' }]) expect(await call(bad)).toBe('request_malformed')
    expect(touched().filter((line) => line === 'meta')).toHaveLength(1)
    fs.chmodSync(tokenFile, 0o644)
    expect(await agent.touch('open file')).toBe('unavailable')
  })
  it('rotate gives a new key and ends the old one; remove ends all of them', async () => {
    const rotated = await parsed(agentCommand('rotate', 'coder', '--overlap', '1h', '--json'))
    const next = rotated['file'] as string
    expect(next).not.toBe(file)
    expect(await (await wrapped('--agent', 'coder', '--agent-key', next)).touch('new key')).toBe('ran')
    expect(await (await wrapped('--agent', 'coder', '--agent-key', file)).touch('old key in its overlap')).toBe('ran')
    const last = (await parsed(agentCommand('rotate', 'coder', '--overlap', '0', '--json')))['file'] as string
    expect(await (await wrapped('--agent', 'coder', '--agent-key', next)).touch('removed key')).toBe('identity_invalid')
    const agent = await wrapped('--agent', 'coder', '--agent-key', last)
    expect(await agent.touch('last key')).toBe('ran')
    expect((await agentCommand('remove', 'coder')).stdout).toMatch(/^removed {2}coder, recorded at index \d+; its keys never come back\n$/)
    expect(await agent.touch('removed agent')).toBe('identity_invalid')
    expect((await agentCommand('list')).stdout).not.toContain('coder')
  })
  it('lists for a person, over HTTP with the token, and in the log', async () => {
    expect((await agentCommand('list')).stdout).toMatch(/^reviewer {2}owner team:platform\n {2}[\w-]{43} {2}does not end\n$/)
    expect((await run(['gate', 'list', '--dir', dir])).stdout).toMatch(/^[\w-]{43} {2}(open|ended) {2}software/)
    expect((await run(['log', '--dir', dir, '--kind', 'agent'])).stdout).toMatch(/key_removed {2}coder[\s\S]*removed {2}coder/)
    const bearer = { authorization: `Bearer ${fs.readFileSync(path.join(dir, 'token'), 'utf8').trim()}` }
    const get = async (at: string, headers: Record<string, string> = bearer): Promise<{ status: number; body: Record<string, unknown> }> => {
      const answer = await fetch(`${url}${at}`, { headers })
      return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
    }
    expect((await get('/v1/agents')).body).toMatchObject({ agents: [{ agent: 'reviewer' }] })
    expect((await get('/v1/gates?limit=1')).body).toMatchObject({ gates: [{ gate: expect.any(String) }], next: expect.any(String) })
    expect(await get('/v1/agents', {})).toMatchObject({ status: 401, body: { code: 'identity_invalid' } })
    for (const query of ['?limit=x', '?cursor=-1', '?limit=1001', '?other=1']) expect((await get(`/v1/agents${query}`)).body).toMatchObject({ code: 'request_malformed' })
    const exported = path.join(root, 'evidence.json')
    expect((await run(['export', 'all', '--dir', dir, '-o', exported])).exit).toBe(0)
    const verdict = await run(['verify', exported, '--key', path.join(dir, 'log.vkey'), '--replay'])
    expect([verdict.exit, verdict.stdout]).toEqual([0, expect.stringContaining('established')])
    expect((await run(['log', 'export', '--dir', dir, '--format', 'ocsf'])).stdout).toContain('"Agent"')
  })
  it.each<[string, readonly string[], number, RegExp]>([
    ['a bad name', ['add', 'a b'], 2, /an agent name is 1 to 64/],
    ['a bad time', ['add', 'x', '--expires', '90'], 2, /--expires takes a time/],
    ['a bad key', ['add', 'x', '--key', 'AAAA'], 2, /--key takes an Ed25519 public key/],
    ['a name that is taken', ['add', 'reviewer'], 10, /request_malformed/],
    ['nobody to rotate', ['rotate', 'ghost'], 10, /no agent `ghost` is registered\n {2}hint: list them/],
    ['nobody to remove', ['remove', 'ghost'], 10, /identity_unknown/],
  ])('%s: says what is wrong', async (_what, args, exit, message) => {
    const done = await agentCommand(...args)
    expect(done.exit).toBe(exit)
    expect(done.stderr).toMatch(message)
  })
  it('every help shows an example', async () => {
    for (const command of [['agent'], ['agent', 'add'], ['agent', 'list'], ['agent', 'rotate'], ['agent', 'remove'], ['gate', 'list']]) expect((await run([...command, '--help'])).stdout).toMatch(/Example:\n {2}sealwrit /)
  })
  it.each<[string, readonly string[], RegExp]>([
    ['a key without a name', ['--agent-key', 'k.pem'], /--agent-key needs --agent/],
    ['two ways at once', ['--agent', 'a', '--agent-key', 'k.pem', '--token-file', 't'], /exclude each other/],
    ['an SVID without its key', ['--svid', 'c.pem'], /belong together/],
  ])('mcp with %s does not start', async (_what, args, message) => {
    const { exit, stderr } = await run(['mcp', '--pin', '--dir', dir, '--name', 'canary', ...args, '--', process.execPath, server, canary])
    expect([exit, stderr]).toEqual([expect.any(Number), expect.stringMatching(message)])
    expect(exit).not.toBe(0)
  })
})
