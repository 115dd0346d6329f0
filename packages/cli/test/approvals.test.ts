import type { ChildProcess } from 'node:child_process'
import { createHmac } from 'node:crypto'
import * as fs from 'node:fs'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-approvals-')))
const dir = path.join(root, '.sealwrit')
const canary = path.join(root, 'canary')
const server = path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs')
const SECRET = 'a secret that is long enough for HMAC 256'
const POLICY = '@id("touch") @approval("group:secops quorum:2 timeout:5m") @risk("high")\npermit (principal == Agent::"coder", action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch");\n'
const notices: { event: string; hold: string; body: string; signature: string }[] = []
let hook: http.Server
let plane: { child: ChildProcess; url: string }
let gateway: ChildProcess
let agent: Agent

beforeAll(async () => {
  await end((await startPlane(dir)).child) // the first run writes the folder
  hook = http.createServer((request, response) => {
    let body = ''
    request.on('data', (chunk: Buffer) => (body += chunk.toString()))
    request.once('end', () => {
      const { event, hold } = JSON.parse(body) as { event: string; hold: string }
      notices.push({ event, hold, body, signature: String(request.headers['sealwrit-signature']) })
      response.end()
    })
  })
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve))
  fs.writeFileSync(path.join(root, 'secret'), SECRET, { mode: 0o600 })
  fs.writeFileSync(path.join(root, 'sealwrit.yaml'), `policies: .sealwrit/policies\napprovals:\n  wait_seconds: 0\n  webhook:\n    url: http://127.0.0.1:${(hook.address() as AddressInfo).port}/holds\n    secret_file: secret\n`)
  fs.writeFileSync(path.join(dir, 'policies', 'touch.cedar'), POLICY)
  fs.writeFileSync(canary, '')
  plane = await startPlane(dir)
  gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'canary', '--agent', 'coder', '--', process.execPath, server, canary])
  gateway.stderr?.resume()
  agent = new Agent(gateway)
  expect(await agent.initialize()).toBe(true)
})
afterAll(async () => {
  await end(gateway)
  await end(plane.child)
  hook.close()
  fs.rmSync(root, { recursive: true, force: true })
})

const cli = (...args: string[]): ReturnType<typeof run> => run([...args, '--dir', dir])
const touched = (): string[] => fs.readFileSync(canary, 'utf8').split('\n').filter((line) => line !== '')
interface Told {
  readonly code?: string
  readonly hold?: string
}
/** Calls the tool. @returns the denial as the client reads it; empty when it ran */
async function call(id: string, hold?: string): Promise<Told> {
  const answer = await agent.request('tools/call', { name: 'touch', arguments: { id }, ...(hold === undefined ? {} : { _meta: { 'sealwrit/hold': hold } }) })
  const result = answer?.['result'] as { _meta?: { 'sealwrit/denial'?: Told }; structuredContent?: Told; isError?: boolean }
  expect(result.structuredContent).toEqual(result._meta?.['sealwrit/denial'])
  return result.structuredContent ?? {}
}
const held = async (id: string): Promise<string> => {
  const { code, hold } = await call(id)
  expect(code).toBe('approval_required')
  return hold as string
}

describe('sealwrit approvals, end to end', () => {
  it('approver add makes a key that only its owner reads, and list shows who may approve', async () => {
    for (const name of ['ann', 'bob']) {
      const { exit, stdout } = await cli('approver', 'add', name, '--group', 'secops')
      expect(exit).toBe(0)
      expect(stdout).toMatch(new RegExp(`^${name} is person:[\\w-]{22} in secops, recorded at index \\d+\n {2}key .*approvers/${name}.pem \\(made now; `))
      expect(fs.statSync(path.join(dir, 'approvers', `${name}.pem`)).mode & 0o777).toBe(0o600)
    }
    const { approvers } = JSON.parse((await cli('approver', 'list', '--json')).stdout) as { approvers: { name: string; groups: string[] }[] }
    expect(approvers.map(({ name, groups }) => [name, groups])).toEqual([['ann', ['secops']], ['bob', ['secops']]])
    expect((await cli('log', '--kind', 'key', '--json')).stdout, 'names are not in the log').not.toContain('ann')
  })

  it('ATK-108: a call is held, two persons approve it from the terminal, the call that is asked again runs once, and its evidence verifies', async () => {
    const hold = await held('one')
    expect(touched()).toEqual([])
    const listed = await cli('approvals')
    expect(listed.stdout).toContain(`${hold}  mcp://canary/touch  agent:coder  high  0 of 2 secops`)
    const shown = await cli('approvals', '--show', hold)
    expect(shown.exit).toBe(0)
    expect(shown.stdout).toContain('arguments\n  {\n    "id": "one"\n  }\n')
    expect(shown.stdout).toContain('held by    touch/touch\nneeds      2 of group secops, until ')
    expect(shown.stdout).toContain('nothing of this name was approved before')
    const first = await cli('approve', hold, '--as', 'ann')
    expect([first.exit, first.stderr]).toEqual([0, ''])
    expect(first.stdout).toMatch(/approved {2}recorded at index \d+; 1 of 2\n$/)
    expect(await call('one', hold), 'one of two').toMatchObject({ code: 'approval_required', hold })
    expect(await call('another', hold), 'another call').toMatchObject({ code: 'approval_required' })
    const second = await cli('approve', hold, '--as', 'bob')
    expect(second.stdout).toContain('2 of 2: the call runs when it is asked again')
    expect(await call('one', hold)).toEqual({})
    expect(touched()).toEqual(['one'])
    expect(await call('one', hold), 'ATK-111').toMatchObject({ code: 'approval_required' })
    expect(touched()).toEqual(['one'])

    const { entries } = JSON.parse((await cli('log', '--kind', 'permit', '--json')).stdout) as { entries: { jti: string; approvals: string[] }[] }
    const { jti, approvals } = entries[0] as { jti: string; approvals: string[] }
    expect(approvals).toHaveLength(2)
    for (const selector of [jti, 'all']) {
      const bundle = path.join(root, `${selector === 'all' ? 'all' : 'one'}.json`)
      expect((await cli('export', selector, '-o', bundle)).exit).toBe(0)
      const verified = await run(['verify', bundle, '--key', path.join(dir, 'log.vkey'), '--replay', '--json'])
      const report = JSON.parse(verified.stdout) as { verdict: string; established: { claim: string; count: number }[]; findings: unknown[] }
      expect([verified.exit, report.verdict, report.findings]).toEqual([0, 'established', []])
      const count = (claim: string): number => report.established.find((one) => one.claim.startsWith(claim))?.count ?? 0
      expect([count('the approver signed exactly this hold'), count('the permit rests on the approval of distinct persons')]).toEqual([2, 1])
    }
    // An approval of which one character differs is refused.
    const text = fs.readFileSync(path.join(root, 'one.json'), 'utf8')
    const tampered = text.replace(/(\\"signature\\":\\"[\w-]+\.[\w-]+\.)(\w)/, (_all, head: string, c: string) => `${head}${c === 'A' ? 'B' : 'A'}`)
    expect(tampered).not.toBe(text)
    fs.writeFileSync(path.join(root, 'tampered.json'), tampered)
    expect((await run(['verify', path.join(root, 'tampered.json'), '--key', path.join(dir, 'log.vkey')])).exit).toBe(13)
  })

  it('reject ends it for good; the reason is kept apart from the log', async () => {
    const hold = await held('two')
    const { exit, stdout } = await cli('reject', hold, '--as', 'ann', '--reason', 'not on a Friday')
    expect([exit, stdout]).toEqual([0, expect.stringMatching(/^rejected {2}mcp:\/\/canary\/touch, recorded at index \d+\n$/)])
    expect(await call('two', hold)).toMatchObject({ code: 'approval_rejected' })
    const late = await cli('approve', hold, '--as', 'bob')
    expect([late.exit, late.stderr]).toEqual([10, expect.stringContaining('approval_rejected')])
    expect(touched()).toEqual(['one'])
    const log = JSON.parse((await cli('log', '--kind', 'approval', '--json')).stdout) as { entries: { seq: number; event: string }[] }
    const rejected = log.entries.find(({ event }) => event === 'rejected')
    expect(JSON.stringify(log)).not.toContain('Friday')
    expect((await cli('show', String(rejected?.seq))).stdout).toContain('not on a Friday')
  })

  it('a grant is shown as one, and saves the prompts that it says', async () => {
    const hold = await held('/srv/a')
    for (const name of ['ann', 'bob']) {
      const { exit, stdout } = await cli('approve', hold, '--as', name, '--grant', 'uses=2,until=1h,id=prefix:/srv/')
      expect(exit).toBe(0)
      expect(stdout).toMatch(/GRANT {6}up to 2 later requests like it, without asking, until .* UTC, where\n {2}"id" is a path below "\/srv\/"\n {2}and there are no other arguments\n/)
    }
    expect(await call('/srv/a', hold)).toEqual({})
    expect([await call('/srv/b'), await call('/srv/c')]).toEqual([{}, {}])
    expect(await call('/srv/d')).toMatchObject({ code: 'approval_required' })
    expect(await call('/etc/x')).toMatchObject({ code: 'approval_required' })
    expect(touched()).toEqual(['one', '/srv/a', '/srv/b', '/srv/c'])
    const bundle = path.join(root, 'grants.json')
    await cli('export', 'all', '-o', bundle)
    const verified = await run(['verify', bundle, '--key', path.join(dir, 'log.vkey'), '--replay', '--json'])
    const { verdict, established, findings } = JSON.parse(verified.stdout) as { verdict: string; established: { claim: string; count: number }[]; findings: unknown[] }
    expect([verdict, findings]).toEqual(['established', []])
    expect(established).toContainEqual({ claim: 'the permit is one of the uses that a grant allowed', count: 2 })
    expect(established).toContainEqual({ claim: 'the arguments are those that the grant allows', count: 2 })
    const token = fs.readFileSync(path.join(dir, 'token'), 'utf8').trim()
    const metrics = await (await fetch(`${plane.url}/metrics`, { headers: { authorization: `Bearer ${token}` } })).text()
    expect(metrics).toContain('sealwrit_approval_prompts_saved_total 2')
  })

  it('HTTP lists and shows the same, with the token only', async () => {
    expect((await fetch(`${plane.url}/v1/approvals`)).status).toBe(401)
    const headers = { authorization: `Bearer ${fs.readFileSync(path.join(dir, 'token'), 'utf8').trim()}` }
    const { holds } = (await (await fetch(`${plane.url}/v1/approvals`, { headers })).json()) as { holds: { hold: string }[] }
    expect(holds.length).toBeGreaterThan(0)
    const one = (await (await fetch(`${plane.url}/v1/approvals/${holds[0]?.hold}`, { headers })).json()) as { listed: { hold: string } }
    expect(one.listed.hold).toBe(holds[0]?.hold)
    const refused = await fetch(`${plane.url}/v1/approvals`, { method: 'POST', headers: { ...headers, 'content-type': 'application/json' }, body: JSON.stringify({ hold: holds[0]?.hold, signature: 'x.y.z' }) })
    expect(refused.status).toBe(403)
  })

  it('the webhook was told of every hold, signed, and of no argument', () => {
    expect(notices.map(({ event }) => event)).toEqual(expect.arrayContaining(['hold.opened', 'hold.approved', 'hold.rejected']))
    for (const { body, signature } of notices) {
      const [, seconds, mark] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(signature) ?? []
      expect(mark).toBe(createHmac('sha256', SECRET).update(`${seconds}.${body}`).digest('hex'))
      expect(body).not.toMatch(/"arguments"|\/srv\/|Friday/)
    }
    const opened = notices.filter(({ event }) => event === 'hold.opened').map(({ hold }) => hold)
    expect(new Set(opened).size).toBe(opened.length)
  })

  it.each([
    [['approve', 'x'], 2, /no id of a hold/],
    [['approve', 'AAAAAAAAAAAAAAAAAAAAAA', '--as', 'ann'], 1, /no hold AAAAAAAAAAAAAAAAAAAAAA is known/],
    [['approvals', '--show', 'AAAAAAAAAAAAAAAAAAAAAA'], 1, /no hold/],
    [['approver', 'add', '../x', '--group', 'secops'], 2, /a name has/],
    [['approver', 'add', 'cyd', '--group', 'Sec Ops'], 10, /request_malformed/],
    [['approver', 'add', 'cyd', '--group', 'secops', '--key', 'short'], 2, /43 characters/],
    [['approver', 'remove', 'nobody'], 10, /identity_unknown/],
  ] as const)('%j says what is wrong', async (args, exit, message) => {
    const answer = await cli(...args)
    expect([answer.exit, answer.stdout]).toEqual([exit, ''])
    expect(answer.stderr).toMatch(message)
    expect(fs.existsSync(path.join(dir, 'approvers', 'cyd.pem')), 'no key of nobody is left').toBe(false)
  })
  it('says who has to say who they are, and refuses the key of a stranger', async () => {
    const hold = await held('three')
    expect((await cli('approve', hold)).stderr).toMatch(/2 keys of approvers are here\n {2}hint: say who you are with --as NAME/)
    expect((await cli('approve', hold, '--as', 'eve')).stderr).toMatch(/eve.pem cannot be read/)
    await cli('approver', 'remove', 'bob')
    const gone = await cli('approve', hold, '--as', 'bob')
    expect([gone.exit, gone.stderr]).toEqual([1, expect.stringMatching(/belongs to no approver/)])
  })
})
