import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-up-')))
const dir = path.join(root, '.sealwrit')
let plane: Awaited<ReturnType<typeof startPlane>>
beforeAll(async () => {
  plane = await startPlane(dir)
})
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})
/** Every file of a folder with the digest of its bytes, sockets left out. */
const snapshot = (folder: string): Map<string, string> =>
  new Map(fs.readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => fs.lstatSync(path.join(folder, name)).isFile()).map((name) => [name, createHash('sha256').update(fs.readFileSync(path.join(folder, name))).digest('hex')]))
const printedBy = (child: ChildProcess, until: RegExp): Promise<string> =>
  new Promise((resolve, reject) => {
    let text = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      if (until.test(text)) resolve(text)
    })
    child.once('exit', () => reject(new Error(`ended early: ${text}`)))
  })

describe('the first run', () => {
  it('makes its files 0600 in folders 0700', () => {
    expect(fs.statSync(dir).mode & 0o777).toBe(0o700)
    for (const name of ['keys/log.pem', 'log.vkey', 'token', 'store.db', 'plane.sock']) expect((fs.statSync(path.join(dir, name)).mode & 0o777).toString(8), name).toBe('600')
  })
  it('serves on loopback: healthz, readyz, checkpoint, and a page that says that there is no console', async () => {
    const get = async (name: string): Promise<string> => (await fetch(`${plane.url}${name}`)).text()
    expect(JSON.parse(await get('/healthz'))).toEqual({ status: 'ok' })
    expect(JSON.parse(await get('/readyz'))).toEqual({ status: 'ready' })
    expect(await get('/t/default/checkpoint')).toContain(plane.origin)
    expect(await get('/')).toContain('There is no console')
  })
})

describe('evidence', () => {
  const bundle = path.join(root, 'evidence.json')
  const key = path.join(root, 'log.vkey')
  it('doctor shows a real permit, a real deny and a real kill', async () => {
    const { exit, stdout, stderr } = await run(['doctor', '--dir', dir])
    expect(stderr).toBe('')
    expect(stdout).toMatch(/✓ permit: a permitted call ran once\n✓ deny: a forbidden call answered policy_no_match, canary unchanged\n✓ kill: a running call was killed .*it ended with killed after \d+ ms\n✓ record: new in the log: permit, receipt, deny\n/)
    expect(exit).toBe(0)
    expect(JSON.parse((await run(['doctor', '--dir', dir, '--json'])).stdout)).toMatchObject({ findings: expect.arrayContaining([{ check: 'kill', detail: expect.any(String), status: 'ok' }]) })
  })
  it('log lists, show explains, each also as JSON', async () => {
    const { stdout } = await run(['log', '--dir', dir, '--kind', 'permit', 'deny', '--limit', '3'])
    expect(stdout).toMatch(/permit {3}mcp:\/\/doctor\/touch .*\n.*deny {5}policy_no_match {2}mcp:\/\/doctor\/touch_forbidden/)
    const { entries } = JSON.parse((await run(['log', '--dir', dir, '--json'])).stdout) as { entries: { kind: string; jti: string; seq: number }[] }
    const { jti } = entries.findLast((e) => e.kind === 'permit') as { jti: string }
    expect((await run(['show', jti, '--dir', dir])).stdout).toMatch(/permit[\s\S]*receipt[\s\S]*completed[\s\S]*action \{"arguments"/)
    expect(JSON.parse((await run(['show', '0', '--dir', dir, '--json'])).stdout)).toMatchObject({ entries: [{ kind: 'key' }] })
    const missing = await run(['show', '99999', '--dir', dir])
    expect(missing.exit).toBe(1)
    expect(missing.stderr).toContain('the log holds no entry or execution `99999`')
  })
  it('export writes a file once; the line it prints verifies it from any folder', async () => {
    const first = await run(['export', 'all', '-o', bundle, '--dir', dir])
    expect(first.exit).toBe(0)
    expect((await run(['export', 'all', '-o', bundle, '--dir', dir])).stderr).toContain('exists already')
    const line = first.stdout.split('\n').find((text) => text.includes(' verify ')) as string
    const verified = spawnSync('sh', ['-c', line], { cwd: '/', encoding: 'utf8' })
    expect(verified.stdout).toContain('established')
    expect(verified.status).toBe(0)
  })
  it('verify needs only the bundle and the key, and refuses every tampering with 13', async () => {
    fs.copyFileSync(path.join(dir, 'log.vkey'), key)
    const empty = fs.mkdtempSync(path.join(root, 'empty-'))
    const check = async (content: string, keyText = key): Promise<number> => {
      const at = path.join(empty, 'bundle.json')
      fs.writeFileSync(at, content)
      return (await run(['verify', at, '--key', keyText], { cwd: empty })).exit
    }
    const text = fs.readFileSync(bundle, 'utf8')
    expect(await check(text)).toBe(0)
    expect(await check(text, fs.readFileSync(key, 'utf8').trim())).toBe(0)
    expect(await check(text.replace('policy_no_match', 'policy_denied'))).toBe(13)
    expect(await check(text.replace(/"salt":"(.)/, (_all, first) => `"salt":"${first === 'A' ? 'B' : 'A'}`))).toBe(13)
    expect(await check(text.slice(0, -20))).toBe(13)
    expect(await check('{}')).toBe(13)
    const other = await run(['verify', bundle, '--key', 'x.test/y+00000000+AAAA'])
    expect(other.exit).toBe(1)
    expect(other.stderr).toContain('neither a verifier key nor a file that holds one')
    expect((await run(['verify', bundle, '--dir', empty])).exit).toBe(2) // no key anywhere
    expect(JSON.parse((await run(['verify', bundle, '--dir', dir, '--json'])).stdout)).toMatchObject({ verdict: 'established' })
  })
  it('decide explains without logging', async () => {
    const action = path.join(root, 'action.json')
    fs.writeFileSync(action, '{"type":"mcp.tool_call","target":"mcp://fs","name":"write_file","arguments":{"path":"x","content":"y"}}')
    const { exit, stdout } = await run(['decide', action, '--dir', dir])
    expect(exit).toBe(10)
    expect(stdout).toMatch(/deny policy_denied.*\n {2}decided by filesystem\/no-writes\n[\s\S]*permits cannot override it/)
    expect(JSON.parse((await run(['decide', action, '--dir', dir, '--json'])).stdout)).toMatchObject({ decision: 'deny', code: 'policy_denied' })
  })
})

describe('a start that cannot be', () => {
  it('a second one on the same folder says so, and the first goes on', async () => {
    const { exit, stderr } = await run(['up', '--dir', dir, '--listen', '127.0.0.1:0'])
    expect(stderr).toBe(`sealwrit: a plane runs on ${dir} already\n  hint: use that one, or give this one a folder of its own with --dir\n`)
    expect(exit).toBe(1)
    expect((await fetch(`${plane.url}/healthz`)).status).toBe(200)
  })
  it('a busy port is named, with the option that chooses another', async () => {
    const port = new URL(plane.url).port
    const other = path.join(root, 'busy')
    const { exit, stderr } = await run(['up', '--dir', other, '--listen', `127.0.0.1:${port}`])
    expect(stderr).toContain(`port ${port} on 127.0.0.1 is in use; stop what uses it, or choose another with --listen`)
    expect(exit).toBe(1)
    const second = await startPlane(other) // what the failed start left behind is no obstacle
    await end(second.child)
  })
  it('a socket path that is too long is refused before anything is served', async () => {
    const { exit, stderr } = await run(['up', '--dir', path.join(root, 'x'.repeat(120)), '--listen', '127.0.0.1:0'])
    expect(stderr).toMatch(/longer than the 107 bytes that the system allows; use --dir with a shorter folder/)
    expect(exit).toBe(1)
  })
  it('a socket that a killed plane left behind is taken over', async () => {
    const killed = path.join(root, 'killed')
    const first = await startPlane(killed)
    await end(first.child, 'SIGKILL')
    expect(fs.existsSync(path.join(killed, 'plane.sock'))).toBe(true)
    const again = await startPlane(killed)
    expect(again.origin).toBe(first.origin)
    await end(again.child)
  })

  const damage: [string, (folder: string) => string, RegExp][] = [
    ['ATK-066: a key that others can read', (f) => chmod(`${f}/keys/log.pem`, 0o644), /can be read by others \(mode 644\): run `chmod 600/],
    ['ATK-066: a token that others can read', (f) => chmod(`${f}/token`, 0o640), /can be read by others \(mode 640\)/],
    ['a key that is none', (f) => write(`${f}/keys/log.pem`, 'garbage'), /is not an Ed25519 private key/],
    ['a key of another plane', (f) => write(`${f}/keys/log.pem`, fs.readFileSync(path.join(dir, 'keys/log.pem'), 'utf8')), /do not belong together/],
    ['a missing key', (f) => remove(`${f}/keys/log.pem`), /log\.pem is missing, while .* are there/],
    ['a missing verifier key', (f) => remove(`${f}/log.vkey`), /log\.vkey is missing/],
    ['a missing store', (f) => remove(`${f}/store.db`), /store\.db is missing/],
    ['a store that is none', (f) => write(`${f}/store.db`, 'garbage'.repeat(1_000)), /store .*store\.db is not a usable SQLite database/],
    ['an empty store', (f) => write(`${f}/store.db`, ''), /store/],
  ]
  function chmod(file: string, mode: number): string {
    fs.chmodSync(file, mode)
    return file
  }
  function write(file: string, text: string): string {
    fs.writeFileSync(file, text)
    return file
  }
  function remove(file: string): string {
    fs.rmSync(file, { recursive: true })
    return file
  }
  it.each(damage)('%s: the plane refuses, names the file, and changes nothing', async (_name, harm, message) => {
    const folder = fs.mkdtempSync(path.join(root, 'harm-'))
    const first = await startPlane(path.join(folder, 's'))
    await end(first.child)
    harm(path.join(folder, 's'))
    const before = snapshot(path.join(folder, 's'))
    const { exit, stderr, stdout } = await run(['up', '--dir', path.join(folder, 's'), '--listen', '127.0.0.1:0'])
    expect(stderr).toMatch(message)
    expect({ exit, stdout }).toEqual({ exit: 1, stdout: '' })
    expect(snapshot(path.join(folder, 's'))).toEqual(before)
  })
})

describe('what is printed can be pasted', () => {
  /** A Node that is older than the project's, where the machine has one: what a fresh machine would start with. */
  const olderNode = (process.env['PATH'] ?? '').split(path.delimiter).map((folder) => path.join(folder, 'node')).find((file) => fs.existsSync(file) && Number(/^v(\d+)/.exec(spawnSync(file, ['--version'], { encoding: 'utf8' }).stdout)?.[1] ?? 99) < 24)

  it.skipIf(olderNode === undefined)('`npm start` under an older Node prints a line that wraps a real server from /', async () => {
    const env = { ...process.env, NO_COLOR: '1', PATH: `${path.dirname(olderNode as string)}:/usr/bin:/bin` }
    const bootstrap = path.resolve(import.meta.dirname, '../../../tools/bootstrap.mjs')
    const folder = path.join(root, 'with space')
    const up = spawn(olderNode as string, [bootstrap, 'start', '--dir', folder, '--listen', '127.0.0.1:0'], { cwd: '/', env, stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      const printed = await printedBy(up, /Ctrl-C/)
      const line = printed.split('\n').find((text) => text.includes(' mcp ')) as string
      expect(line).toContain(`'${folder}'`)
      const gateway = spawn('sh', ['-c', `exec ${line}`], { cwd: '/', env, stdio: ['pipe', 'pipe', 'inherit'] })
      const agent = new Agent(gateway)
      expect(await agent.initialize()).toBe(true)
      const files = path.resolve(import.meta.dirname, '../../../examples/filesystem/files')
      const read = await agent.request('tools/call', { name: 'read_text_file', arguments: { path: path.join(files, 'welcome.txt') } })
      expect(JSON.stringify(read)).toContain(fs.readFileSync(path.join(files, 'welcome.txt'), 'utf8').slice(0, 10))
      const written = await agent.request('tools/call', { name: 'write_file', arguments: { path: path.join(files, 'hack.txt'), content: 'x' } })
      expect(JSON.stringify(written)).toContain('policy_denied')
      expect(fs.existsSync(path.join(files, 'hack.txt'))).toBe(false)
      await end(gateway)
      const see = printed.split('\n').find((text) => text.startsWith('See it: ')) as string
      const log = spawnSync('sh', ['-c', see.slice('See it: '.length)], { cwd: '/', env, encoding: 'utf8' })
      expect(log.stdout).toMatch(/permit {3}mcp:\/\/fs\/read_text_file[\s\S]*deny {5}policy_denied/)
    } finally {
      await end(up)
    }
  })
  it('demo: every condition is denied with its own code, and the evidence verifies elsewhere', async () => {
    const output = path.join(root, 'demo.json')
    const child = sealwrit(['demo', '--json', '--output', output], { cwd: '/' })
    let [out, errors] = ['', '']
    child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()))
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    const code = await new Promise((resolve) => child.once('close', resolve))
    expect(errors).toBe('')
    const shown = JSON.parse(out) as { conditions: { condition: string; code: string; control: boolean; canaryUnchanged: boolean }[]; verified: boolean }
    expect(shown.verified).toBe(true)
    expect(shown.conditions.map((c) => [c.condition, c.control, c.canaryUnchanged])).toEqual(['missing', 'invalid', 'policy mismatch', 'replayed', 'environment mismatch', 'integrity failure', 'expired'].map((name) => [name, true, true]))
    expect(new Set(shown.conditions.map((c) => c.code)).size).toBe(7)
    expect(code).toBe(0)
    expect((await run(['verify', output, '--key', `${output}.vkey`])).exit).toBe(0)
  })
})
