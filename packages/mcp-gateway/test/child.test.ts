import { execFileSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { PassThrough } from 'node:stream'
import { McpGateway, openChild, runStdioGateway, serverEnvironment } from '@sealwrit/mcp-gateway'
import { afterAll, describe, expect, it } from 'vitest'
import { Bench } from './support/bench.ts'

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-child-'))
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))

/** Variables that make loaders, interpreters, shells and tools run other code or look elsewhere. */
const LOADERS = [
  'LD_PRELOAD', 'LD_LIBRARY_PATH', 'LD_AUDIT', 'LD_DEBUG', 'LD_DEBUG_OUTPUT', 'LD_BIND_NOW', 'LD_ORIGIN_PATH', 'LD_PROFILE', 'LD_PROFILE_OUTPUT', 'LD_SHOW_AUXV', 'LD_USE_LOAD_BIAS', 'GLIBC_TUNABLES', 'GCONV_PATH', 'GETCONF_DIR', 'HOSTALIASES', 'LOCALDOMAIN', 'LOCPATH', 'MALLOC_TRACE', 'NIS_PATH', 'NLSPATH', 'RESOLV_HOST_CONF', 'RES_OPTIONS', 'TZDIR', 'DYLD_INSERT_LIBRARIES', 'DYLD_LIBRARY_PATH',
  'NODE_OPTIONS', 'NODE_PATH', 'NODE_EXTRA_CA_CERTS', 'NODE_TLS_REJECT_UNAUTHORIZED', 'NODE_REPL_EXTERNAL_MODULE', 'NODE_V8_COVERAGE', 'NPM_CONFIG_REGISTRY', 'npm_config_registry', 'DENO_DIR', 'BUN_INSTALL',
  'PYTHONPATH', 'PYTHONSTARTUP', 'PYTHONHOME', 'PYTHONINSPECT', 'PYTHONUSERBASE', 'PERL5LIB', 'PERL5OPT', 'PERL5DB', 'RUBYLIB', 'RUBYOPT', 'JAVA_TOOL_OPTIONS', '_JAVA_OPTIONS', 'CLASSPATH',
  'BASH_ENV', 'ENV', 'IFS', 'PS4', 'PROMPT_COMMAND', 'SHELLOPTS', 'BASHOPTS', 'CDPATH', 'GLOBIGNORE', 'ZDOTDIR',
  'GIT_SSH_COMMAND', 'GIT_SSH', 'GIT_EXTERNAL_DIFF', 'GIT_CONFIG_GLOBAL', 'GIT_EXEC_PATH', 'GIT_PROXY_COMMAND', 'EDITOR', 'VISUAL', 'PAGER', 'BROWSER', 'SSH_ASKPASS', 'SSH_AUTH_SOCK',
  'AWS_SECRET_ACCESS_KEY', 'GITHUB_TOKEN', 'SEALWRIT_DIR', 'SEALWRIT_TOKEN', 'http_proxy', 'HTTPS_PROXY', 'ALL_PROXY', 'SSL_CERT_FILE',
]

describe('the governed server process', () => {
  it(`ATK-028: none of ${LOADERS.length} loader variables and secrets reaches it, unless the operator named it`, () => {
    const all = { ...Object.fromEntries(LOADERS.map((name) => [name, 'planted'])), PATH: '/usr/bin', HOME: '/root' }
    expect(serverEnvironment(all, [])).toEqual({ PATH: '/usr/bin', HOME: '/root' })
    expect(serverEnvironment(all, ['GITHUB_TOKEN'])).toEqual({ PATH: '/usr/bin', HOME: '/root', GITHUB_TOKEN: 'planted' })
    expect(serverEnvironment({ __proto__: null, path: 'x', Path: 'y' } as never, [])).toEqual({})
  })

  it('ATK-032: sees its three streams, the allowed variables, and nothing else of the gate', async () => {
    const report = path.join(root, 'report.json')
    const script = path.join(root, 'server.mjs')
    fs.writeFileSync(script, `
      import * as fs from 'node:fs'
      const links = fs.readdirSync('/proc/self/fd').map((n) => { try { return [n, fs.readlinkSync('/proc/self/fd/' + n)] } catch { return [n, 'gone'] } })
      fs.writeFileSync(${JSON.stringify(report)}, JSON.stringify({ env: process.env, fds: links, argv: process.argv }))
      process.stdin.resume().on('end', () => process.exit(0))`)
    const planted = fs.openSync(path.join(root, 'secret'), 'w+')
    const input = new PassThrough()
    const { gate } = new Bench()
    const ended = runStdioGateway({
      gate, input, output: new PassThrough(),
      openSeat: (port) => new McpGateway({
        gate, target: 'mcp://x', agent: undefined, facts: () => ({ paths: 'none' }), receiptOrder: 'before_reply',
        open: openChild({ executable: process.execPath, args: [script, 'one argument; $(touch x)'], cwd: root, environment: serverEnvironment({ ...process.env, LD_PRELOAD: '/tmp/evil.so', NODE_OPTIONS: '--require /tmp/evil.js' }, []) }, new PassThrough()),
      }, port),
    })
    for (let i = 0; i < 200 && !(fs.existsSync(report) && fs.statSync(report).size > 0); i++) await new Promise((resolve) => setTimeout(resolve, 25))
    input.end()
    await ended
    fs.closeSync(planted)
    const seen = JSON.parse(fs.readFileSync(report, 'utf8')) as { env: Record<string, string>; fds: [string, string][]; argv: string[] }
    expect(Object.keys(seen.env)).not.toContain('LD_PRELOAD')
    expect(Object.keys(seen.env)).not.toContain('NODE_OPTIONS')
    expect(seen.argv.at(-1)).toBe('one argument; $(touch x)') // no shell anywhere
    expect(seen.fds.filter(([, target]) => target.includes('secret') || target.includes('store.db') || target.endsWith('.pem'))).toEqual([])
    expect(seen.fds.filter(([, target]) => target.startsWith('/') && !target.startsWith('/proc') && !target.startsWith('/dev'))).toEqual([])
  })

  it('that the system cannot start, since nothing more can be opened, is told of as any other end, and the gateway lives on', () => {
    const script = path.join(root, 'full.mjs')
    fs.writeFileSync(script, `
      import * as fs from 'node:fs'
      import { openChild } from ${JSON.stringify(new URL('../src/server/lines.ts', import.meta.url).href)}
      const held = []
      try { for (;;) held.push(fs.openSync('/dev/null', 'r')) } catch {}
      const link = openChild({ executable: process.execPath, args: [], cwd: '/', environment: {} }, process.stderr)({ message() {}, failed() {}, closed: (reason) => console.log(reason) })
      link.send('{}')
      link.close('over')
      for (const fd of held) fs.closeSync(fd)
      setTimeout(() => console.log('lives'), 50)`)
    const said = execFileSync('/bin/sh', ['-c', 'ulimit -n 64; exec "$0" "$1"', process.execPath, script], { encoding: 'utf8' })
    expect(said.trim().split('\n')).toEqual([expect.stringContaining('EMFILE'), 'lives'])
  })

  it('is one of 256 at most: the 257th is told of as any other end, where one ended there is room again, and nothing is warned of', { timeout: 20_000 }, () => {
    const script = path.join(root, 'many.mjs')
    fs.writeFileSync(script, `
      import { MAX_CHILDREN, openChild } from ${JSON.stringify(new URL('../src/server/lines.ts', import.meta.url).href)}
      process.on('warning', (warning) => console.log(warning.name))
      let tell
      const open = openChild({ executable: '/bin/cat', args: [], cwd: '/', environment: {} }, process.stderr)
      const link = () => open({ message() {}, failed() {}, closed: (reason) => tell(reason) })
      const told = () => new Promise((resolve) => (tell = resolve))
      const links = Array.from({ length: MAX_CHILDREN }, link)
      const refused = told()
      link().send('{}')
      console.log(links.length, await refused)
      const ended = told()
      links[0].close('over')
      console.log(await ended)
      tell = console.log
      link()
      await new Promise((resolve) => setTimeout(resolve, 50))
      process.exit(0)`)
    const said = execFileSync(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', script], { encoding: 'utf8' })
    expect(said.trim().split('\n')).toEqual(['256 the server could not be started: as many run as may', 'the server ended (0)'])
  })

  it('ATK-128, I4: is ended where a call was stopped, though it ignores that: no sign of life a second later', { timeout: 20_000 }, async () => {
    const sign = path.join(root, 'sign')
    const script = path.join(root, 'deaf.mjs')
    fs.writeFileSync(script, `
      import * as fs from 'node:fs'
      const tools = [{ name: 'read_file', inputSchema: { type: 'object' } }]
      const answers = { initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'deaf', version: '1' } }, 'tools/list': { tools } }
      process.on('SIGTERM', () => undefined)
      process.stdin.on('data', (chunk) => {
        for (const line of chunk.toString().split('\\n').filter((one) => one !== '')) {
          const { id, method } = JSON.parse(line)
          if (answers[method] !== undefined) process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result: answers[method] }) + '\\n')
          else if (method === 'tools/call') setInterval(() => fs.writeFileSync(${JSON.stringify(sign)}, String(Date.now())), 1)
        }
      })`)
    const [input, output] = [new PassThrough(), new PassThrough()]
    const { gate } = new Bench()
    await gate.connect()
    const ended = runStdioGateway({
      gate, input, output,
      openSeat: (port) => new McpGateway({
        gate, target: 'mcp://fs', agent: 'tester', facts: () => ({ paths: 'inside' }), receiptOrder: 'before_reply',
        open: openChild({ executable: process.execPath, args: [script], cwd: root, environment: serverEnvironment(process.env, []) }, new PassThrough()),
      }, port),
    })
    const ask = (id: number, method: string, params: object): void => void input.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
    ask(1, 'initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'client', version: '1' } })
    await new Promise((resolve) => output.once('data', resolve))
    input.write('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    ask(2, 'tools/call', { name: 'read_file', arguments: { path: '/x' } })
    for (let i = 0; i < 400 && !fs.existsSync(sign); i++) await new Promise((resolve) => setTimeout(resolve, 25))
    expect(gate.leases.prohibit({ kind: 'kill', event: 'killed', selector: 'all', by: 'user:1', seq: 1_000 })).toBe(1)
    expect(await ended).toMatchObject({ serverFailed: true })
    const last = fs.readFileSync(sign, 'utf8')
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(fs.readFileSync(sign, 'utf8')).toBe(last)
  })
})
