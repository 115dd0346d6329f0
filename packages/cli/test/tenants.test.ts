import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, PROGRAM, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-tenants-')))
const dir = path.join(root, '.sealwrit')
const at = (tenant: string): string => path.join(dir, 'tenants', tenant)
const passwordFile = path.join(root, 'password')
const PASSWORD = 'correct horse battery'
let plane: { child: ChildProcess; url: string; origin: string }
const cli = (...args: string[]): ReturnType<typeof run> => run([...args, '--dir', dir])
async function told<T>(...args: string[]): Promise<T> {
  const { stdout, stderr, exit } = await cli(...args, '--json')
  expect(exit, stderr).toBe(0)
  return JSON.parse(stdout) as T
}
const post = (url: string, body: object, headers: Record<string, string> = {}): Promise<Response> => fetch(`${plane.url}${url}`, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })
const token = (folder: string): string => fs.readFileSync(path.join(folder, 'token'), 'utf8').trim()

beforeAll(async () => {
  fs.writeFileSync(passwordFile, `${PASSWORD}\n`, { mode: 0o600 })
  plane = await startPlane(dir)
  for (const tenant of ['pay', 'payments']) await told('tenant', 'add', tenant)
  await end(plane.child)
  plane = await startPlane(dir)
}, 60_000)
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('sealwrit tenant', () => {
  it('makes tenants that the plane opens, each with its own log of the plane’s host, its keys, policies, token and socket', async () => {
    const { tenants } = await told<{ tenants: { tenant: string; origin: string; open: boolean; dir: string }[] }>('tenant', 'list')
    const host = plane.origin.slice(0, -'default'.length)
    expect(tenants.map(({ tenant, origin, open }) => [tenant, origin, open])).toEqual([['default', `${host}default`, true], ['pay', `${host}pay`, true], ['payments', `${host}payments`, true]])
    for (const file of ['keys/log.pem', 'log.vkey', 'token', 'store.db', 'policies']) expect(new Set(tenants.map((one) => fs.statSync(path.join(one.dir, file)).ino)).size, file).toBe(3)
    expect(new Set(tenants.map((one) => token(one.dir))).size).toBe(3)
    for (const one of tenants) expect(fs.statSync(path.join(one.dir, 'plane.sock')).mode & 0o777).toBe(0o600)
    expect(fs.statSync(at('pay')).mode & 0o777).toBe(0o700)
  })
  it.each(['default', 'pay'])('does not make %s a second time', async (name) => {
    const { exit, stderr } = await cli('tenant', 'add', name)
    expect([exit, stderr]).toEqual([2, expect.stringContaining('is there already')])
  })
  it.each(['PAY', 'pаy', 'a/b', '..', '../x', 'a_b', '', 'a'.repeat(64), '__proto__', 'pay '])('ATK-061: %j is no name of a tenant', async (name) => {
    const { exit, stderr } = await cli('tenant', 'add', name)
    expect([exit, stderr]).toEqual([2, expect.stringContaining('is no name of a tenant')])
    expect((await run(['log', '--dir', dir, `--tenant=${name}`])).exit).toBe(2)
    expect(fs.readdirSync(path.join(dir, 'tenants'))).toEqual(['pay', 'payments'])
  })
  it('ATK-061: a prefix of a tenant, and a tenant that another’s name begins with, are others; every command asks the one that is named', async () => {
    expect((await cli('log', '--tenant', 'paym')).stderr).toContain('has no tenant `paym`')
    await told('kill', 'all', '--tenant', 'pay')
    for (const [tenant, killed] of [['pay', 1], ['payments', 0], ['default', 0]] as const) expect((await told<{ killed: object[] }>('unkill', '--tenant', tenant)).killed, tenant).toHaveLength(killed)
    const { stdout } = await run(['unkill', '--dir', dir, '--json'], { env: { SEALWRIT_TENANT: 'pay' } })
    expect((JSON.parse(stdout) as { killed: object[] }).killed).toHaveLength(1)
    expect((await cli('kill', 'tenant:default', '--tenant', 'pay')).stderr).toContain('tenant_mismatch')
    expect((await cli('unkill', 'all', '--tenant', 'pay')).exit).toBe(0)
  })
  it('ATK-061: tokens, logs and evidence of one are nothing at another', async () => {
    for (const [mine, folder] of [['default', dir], ['pay', at('pay')], ['payments', at('payments')]] as const) {
      const headers = { authorization: `Bearer ${token(folder)}` }
      expect(((await (await fetch(`${plane.url}/v1/session`, { headers })).json()) as { tenant: string }).tenant).toBe(mine)
      for (const other of ['default', 'pay', 'payments']) {
        const note = await (await fetch(`${plane.url}/t/${other}/checkpoint`)).text()
        expect(note.split('\n')[0]).toMatch(new RegExp(`/${other}$`))
        const size = Number(note.split('\n')[1])
        expect((await fetch(`${plane.url}/t/${other}/tile/entries/000.p/${size}`, { headers })).status, `${mine} → ${other}`).toBe(mine === other ? 200 : 401)
      }
    }
    const bundle = path.join(root, 'pay.json')
    expect((await cli('export', 'all', '-o', bundle, '--tenant', 'pay')).exit).toBe(0)
    expect((await cli('verify', bundle, '--tenant', 'pay')).exit).toBe(0)
    for (const other of ['payments', 'default']) expect((await cli('verify', bundle, '--tenant', other)).exit, other).toBe(13)
  })
  it('governs an MCP server for one tenant, under its policies and in its log alone', async () => {
    const canary = path.join(root, 'canary')
    fs.writeFileSync(canary, '')
    const server = path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs')
    fs.writeFileSync(path.join(at('payments'), 'policies', 'touch.cedar'), 'permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch");\n')
    expect((await cli('policy', 'activate', path.join(at('payments'), 'policies'), '--tenant', 'payments')).stdout).toContain('is epoch 2')
    const before = await Promise.all(['default', 'pay', 'payments'].map((tenant) => told<{ entries: { seq: number }[] }>('log', '--tenant', tenant, '--limit', '1')))
    for (const [tenant, expected] of [['payments', 1], ['pay', 1]] as const) {
      const gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--tenant', tenant, '--name', 'canary', '--agent', 'coder', '--', process.execPath, server, canary])
      gateway.stderr?.resume()
      const agent = new Agent(gateway)
      expect(await agent.initialize()).toBe(true)
      await agent.request('tools/list', {})
      await agent.request('tools/call', { name: 'touch', arguments: { id: tenant } })
      await end(gateway)
      expect(fs.readFileSync(canary, 'utf8').split('\n').filter((line) => line !== '')).toHaveLength(expected)
    }
    const after = await Promise.all(['default', 'pay', 'payments'].map((tenant) => told<{ entries: { seq: number; kind: string }[] }>('log', '--tenant', tenant, '--limit', '1')))
    expect(after.map((log, i) => (log.entries[0]?.seq ?? 0) > (before[i]?.entries[0]?.seq ?? 0))).toEqual([false, true, true])
    const kinds = async (tenant: string): Promise<string[]> => (await told<{ entries: { kind: string }[] }>('log', '--tenant', tenant, '--limit', '100')).entries.map(({ kind }) => kind)
    expect((await kinds('payments')).filter((kind) => kind === 'permit')).toHaveLength(1)
    expect((await kinds('pay')).filter((kind) => kind === 'permit')).toHaveLength(0)
  }, 60_000)
  it('is not about `up`: it opens every tenant', async () => {
    expect((await cli('up', '--tenant', 'pay')).stderr).toContain('opens every tenant')
  })
})

describe('sealwrit person', () => {
  it('adds, lists, changes and removes people, with a password from a file or asked for, and never as an argument', async () => {
    const ann = await told<{ person: string }>('person', 'add', 'ann', '--role', 'operator', '--password-file', passwordFile, '--tenant', 'pay')
    expect(await told('person', 'list', '--tenant', 'pay')).toEqual({ people: [{ person: ann.person, name: 'ann', role: 'operator', login: 'local' }] })
    expect(await told('person', 'list')).toEqual({ people: [] })
    const login = async (tenant: string): Promise<number> => (await post('/v1/session', { name: 'ann', password: PASSWORD, tenant })).status
    expect([await login('pay'), await login('payments'), await login('default')]).toEqual([200, 401, 401])
    expect((await cli('person', 'role', 'ann', 'admin', '--tenant', 'pay')).stdout).toContain('ann is admin')
    expect((await cli('person', 'passwd', 'ann', '--tenant', 'pay', '--password-file', passwordFile)).exit).toBe(0)
    expect((await cli('person', 'remove', 'ann', '--tenant', 'pay')).stdout).toContain('removed')
    expect(await login('pay')).toBe(401)
    expect((await cli('log', '--tenant', 'pay', '--limit', '4')).stdout).toMatch(/person removed {2}person:.*\n|person role {2}person:/)
    expect((await cli('person', 'add', '--help')).stdout).not.toContain('--password ')
  }, 60_000)
  it.skipIf(spawnSync('python3', ['-c', 'import pty']).status !== 0)('asks at a terminal, twice, and shows nothing of what is typed', async () => {
    // A terminal of its own, on which the program runs; what it shows is what stands here in the end.
    const script = `import os, pty, select, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[3], sys.argv[3:])
shown, sent = b'', 0
while True:
    try:
        if select.select([fd], [], [], 20)[0]: shown += os.read(fd, 4096)
        else: break
    except OSError:
        break
    for n, prompt in enumerate((b'Password for eve', b'Again')):
        if sent == n and prompt in shown:
            time.sleep(0.2); os.write(fd, sys.argv[1 + n].encode() + b'\\n'); sent = n + 1
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))`
    const asked = (first: string, second: string): Promise<{ exit: number | null; shown: string }> => new Promise((resolve) => {
      const child = spawn('python3', ['-c', script, first, second, process.execPath, ...PROGRAM, 'person', 'add', 'eve', '--role', 'viewer', '--dir', dir], { stdio: ['ignore', 'pipe', 'inherit'] })
      let shown = ''
      child.stdout.on('data', (chunk: Buffer) => (shown += chunk.toString()))
      child.once('close', (exit) => resolve({ exit, shown }))
    })
    const differs = await asked(PASSWORD, `${PASSWORD}x`)
    expect([differs.exit, differs.shown]).toEqual([2, expect.stringContaining('the two passwords differ')])
    const { exit, shown } = await asked(PASSWORD, PASSWORD)
    expect([exit, shown]).toEqual([0, expect.stringContaining('eve as viewer')])
    for (const text of [shown, differs.shown]) expect(text).not.toContain(PASSWORD.slice(0, 8))
    expect((await post('/v1/session', { name: 'eve', password: PASSWORD })).status).toBe(200)
    expect((await cli('person', 'remove', 'eve')).exit).toBe(0)
  }, 60_000)
  it('says what is wrong: no terminal, a file that others read, a name, a role, a short password', async () => {
    const open = path.join(root, 'open')
    fs.writeFileSync(open, PASSWORD, { mode: 0o644 })
    const short = path.join(root, 'short')
    fs.writeFileSync(short, 'short', { mode: 0o600 })
    const add = (...args: string[]): ReturnType<typeof run> => cli('person', 'add', ...args)
    for (const [args, message] of [
      [['eve', '--role', 'viewer'], 'no terminal to ask for a password'],
      [['eve', '--role', 'viewer', '--password-file', open], 'can be read by others'],
      [['eve', '--role', 'viewer', '--password-file', path.join(root, 'none')], 'cannot be read (ENOENT)'],
      [['eve', '--role', 'root', '--password-file', passwordFile], 'a role is one of viewer, approver, operator, admin'],
      [['Eve', '--role', 'viewer', '--password-file', passwordFile], 'cannot be added'],
      [['eve', '--role', 'viewer', '--password-file', short], 'cannot be added'],
    ] as const) expect((await add(...args)).stderr, args.join(' ')).toContain(message)
    expect((await cli('person', 'remove', 'nobody')).stderr).toContain('identity_unknown')
  }, 60_000)
})

describe('a tenant that is not whole', () => {
  const broken = async (spoil: (folder: string) => void): Promise<{ exit: number; stderr: string; sockets: boolean[] }> => {
    const copy = fs.mkdtempSync(path.join(root, 'b-'))
    const folder = path.join(copy, '.sealwrit')
    await end((await startPlane(folder)).child)
    await run(['tenant', 'add', 'pay', '--dir', folder])
    await end((await startPlane(folder)).child)
    spoil(path.join(folder, 'tenants', 'pay'))
    const { exit, stderr } = await run(['up', '--dir', folder, '--listen', '127.0.0.1:0'])
    return { exit, stderr, sockets: [folder, path.join(folder, 'tenants', 'pay')].map((one) => fs.existsSync(path.join(one, 'plane.sock'))) }
  }
  it.each<[string, (folder: string) => void, RegExp]>([
    ['a key that is missing', (folder) => fs.rmSync(path.join(folder, 'keys', 'log.pem')), /tenant pay: .*log\.pem is missing.*; no tenant was opened/],
    ['a store that is cut', (folder) => fs.truncateSync(path.join(folder, 'store.db'), 4_096), /tenant pay: .*; no tenant was opened/],
    ['a token that others read', (folder) => fs.chmodSync(path.join(folder, 'token'), 0o644), /tenant pay: .*can be read by others.*; no tenant was opened/],
    ['the mark of another', (folder) => fs.writeFileSync(path.join(folder, 'tenant'), 'other\n'), /does not name the tenant of its folder/],
    ['no mark', (folder) => fs.rmSync(path.join(folder, 'tenant')), /is not the folder of a tenant/],
    ['the log key of the default tenant', (folder) => fs.copyFileSync(path.join(folder, '..', '..', 'log.vkey'), path.join(folder, 'log.vkey')), /tenant pay: .*do not belong together.*; no tenant was opened/],
  ])('by %s keeps all of them closed, and is named', async (_what, spoil, message) => {
    const { exit, stderr, sockets } = await broken(spoil)
    expect(exit).not.toBe(0)
    expect(stderr).toMatch(message)
    expect(sockets).toEqual([false, false])
  }, 60_000)
})
