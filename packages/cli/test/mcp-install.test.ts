import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import fc from 'fast-check'
import { parse } from 'smol-toml'
import { afterAll, beforeEach, describe, expect, it } from 'vitest'
import { run } from '../../../test/support/processes.ts'
import { type ClientName, clientNamed } from '../src/clients/clients.ts'
import { BACKUP, readConfigFile, replaceConfig } from '../src/clients/file.ts'
import { type Plan, planInstall, planUninstall } from '../src/clients/plan.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-install-')))
const [home, project, dir] = ['home', 'project', 'plane'].map((name) => path.join(root, name)) as [string, string, string]
afterAll(() => fs.rmSync(root, { recursive: true, force: true }))
beforeEach(() => {
  for (const folder of [home, project, dir]) fs.rmSync(folder, { recursive: true, force: true })
  for (const folder of [home, project, dir]) fs.mkdirSync(folder)
  fs.writeFileSync(path.join(dir, 'log.vkey'), '')
  fs.writeFileSync(path.join(project, 'server.js'), '')
})
const write = (file: string, text: string): string => {
  fs.mkdirSync(path.dirname(file), { recursive: true })
  fs.writeFileSync(file, text)
  return file
}
const read = (file: string): string => fs.readFileSync(file, 'utf8')
const command = (verb: string, client: string, ...more: string[]): ReturnType<typeof run> => run(['mcp', verb, '--client', client, '--dir', dir, ...more], { cwd: project, env: { HOME: home, XDG_CONFIG_HOME: '', CODEX_HOME: undefined, CLAUDE_CONFIG_DIR: undefined } })

const gateway = { command: '/usr/bin/node', args: ['/opt/sealwrit.js'], dir: '/plane', further: [] }
const look = { pathVariable: `${path.dirname(process.execPath)}:/usr/bin:/bin`, node: process.execPath, searchFrom: [process.cwd()] }
/** What installing would make of a text. */
function plan(text: string, client: ClientName = 'cursor', record?: Parameters<typeof planInstall>[2]['record']): Plan {
  const bytes = new TextEncoder().encode(text)
  return planInstall({ file: '/x.json', bytes, text, mode: 0o644, uid: 0, gid: 0 }, clientNamed(client), { gateway, record, cwd: project, look })
}
const server = (entry: object, name = 'fs'): string => JSON.stringify({ mcpServers: { [name]: entry } }, null, 2)
const reasonOf = (text: string, client: ClientName = 'cursor'): string => {
  const [one] = plan(text, client).servers
  return one?.state === 'left' ? one.reason : `${one?.state}`
}
const NODE = { command: 'node', args: ['server.js'] }
const BEFORE = ['/opt/sealwrit.js', 'mcp', '--dir', '/plane', '--name', 'fs']

/** Realistic files of each client, with two servers that can stand behind the gateway. */
const FILES: readonly (readonly [ClientName, string, string])[] = [
  ['claude-code', '.claude.json', JSON.stringify({ numStartups: 7, mcpServers: { fs: { type: 'stdio', ...NODE, env: {} } }, projects: { '/home/x/p': { allowedTools: [], mcpServers: { other: { ...NODE, env: { LEVEL: '${LEVEL:-info}' } } } } } }, null, 2)],
  ['cursor', '.cursor/mcp.json', '{\n  // mine\n  "mcpServers": {\n    "fs": {\n      "command": "node", // the runtime\n      "args": [\n        "server.js",\n        // where\n        "${workspaceFolder}"\n      ],\n      "env": { "API_KEY": "sk-very-secret-1" }\n    },\n    "other": { "command": "node", "args": ["server.js"], "env": {"A": "${env:A}"}, },\n  }\n}\n'],
  ['vscode', '.config/Code/User/mcp.json', '{\n\t"inputs": [{ "type": "promptString", "id": "key", "password": true }],\n\t"servers": {\n\t\t"fs": { "type": "stdio", "command": "node", "args": ["server.js"], "env": { "KEY": "${input:key}" } },\n\t\t"other": {\n\t\t\t"command": "node",\n\t\t\t"args": ["server.js"]\n\t\t}\n\t}\n}\n'],
  ['codex', '.codex/config.toml', 'model = "o" # mine\n\n[mcp_servers.fs]\n# the files\ncommand = "node"\nargs = [\n  "server.js", # it\n]\nenv_vars = ["TOKEN"]\n\n[mcp_servers.fs.env]\nLEVEL = "1"\n\n[mcp_servers."other"]\ncommand = \'node\'\nargs = ["server.js"]\nstartup_timeout_sec = 20\n\n[projects."/x"]\ntrust_level = "trusted"\n'],
  ['gemini', '.gemini/settings.json', '{"theme":"Dracula","mcpServers":{"fs":{"command":"node","args":["server.js"],"cwd":".","trust":false},"other":{"command":"node","args":["server.js","$HOME"],"env":{"K":"$K"}}}}'],
]

describe.each(FILES)('mcp install --client %s', (client, name, text) => {
  it('puts every server behind the gateway, shows it first, and uninstall gives every byte back', async () => {
    const file = write(path.join(home, name), text)
    fs.chmodSync(file, 0o640)
    const shown = await command('install', client, '--dry-run')
    expect(shown).toMatchObject({ exit: 0, stderr: '' })
    expect(shown.stdout).toMatch(/wrap {5}.*fs[\s\S]*wrap {5}.*other/)
    expect(shown.stdout).not.toContain('sk-very-secret-1')
    expect(read(file)).toBe(text)
    expect((await command('install', client)).stderr).toContain('add --yes')
    expect(read(file)).toBe(text)

    expect(await command('install', client, '--yes')).toMatchObject({ exit: 0, stderr: '' })
    const installed = read(file)
    expect(installed).not.toBe(text)
    const value = (client === 'codex' ? parse(installed) : JSON.parse(installed.replaceAll(/(?<=\s)\/\/.*|,(?=\s*\})/g, ''))) as Record<string, Record<string, { command: string; args: string[] }>>
    const fsEntry = (value['mcpServers'] ?? value['servers'] ?? value['mcp_servers'])?.['fs']
    expect(fsEntry?.command).toBe(process.execPath)
    expect(fsEntry?.args.slice(fsEntry.args.indexOf('mcp'))).toEqual(expect.arrayContaining(['--dir', dir, '--name', 'fs', '--', 'node', 'server.js']))
    expect(fs.statSync(file).mode & 0o777).toBe(0o640)
    expect(read(file + BACKUP)).toBe(text)
    expect(fs.statSync(file + BACKUP).mode & 0o777).toBe(0o600)
    for (const line of text.split('\n')) if (/\/\/|#/.test(line) && !line.includes('"node"')) expect(installed).toContain(/(\/\/|#).*/.exec(line)?.[0])

    expect((await command('install', client, '--yes')).stdout).toContain('nothing to change')
    expect([read(file), read(file + BACKUP)]).toEqual([installed, text])

    expect(await command('uninstall', client, '--yes')).toMatchObject({ exit: 0, stderr: '' })
    expect(read(file)).toBe(text)
    expect(fs.readdirSync(path.dirname(file)).filter((one) => one.includes('sealwrit'))).toEqual([])
    expect(fs.readdirSync(path.join(dir, 'clients')).filter((one) => one.endsWith('.json'))).toEqual([])
  })
})

describe('a server that is reached over HTTP', () => {
  const headers = { Authorization: 'Bearer lin_secret_value', 'X-Team': '${env:TEAM}' }
  it('stands behind the gateway with its headers in a file that only its owner may read, never on the command line', async () => {
    const file = write(path.join(home, '.cursor/mcp.json'), server({ url: 'https://mcp.example.com/mcp', headers, disabled: true }, 'web'))
    expect((await command('install', 'cursor', '--yes')).exit).toBe(0)
    const { mcpServers } = JSON.parse(read(file)) as { mcpServers: { web: { command: string; args: string[]; env: object; type: string } } }
    const { args } = mcpServers.web
    expect(mcpServers.web).toEqual({ type: 'stdio', command: process.execPath, args, env: { SEALWRIT_HEADER_1: '${env:TEAM}' }, disabled: true })
    expect(args.slice(-5)).toEqual(['web', '--url', 'https://mcp.example.com/mcp', '--header-file', args.at(-1)])
    expect(args.join(' ')).not.toContain('lin_secret')
    expect(read(args.at(-1) as string)).toBe('Authorization: Bearer lin_secret_value\nX-Team: ${SEALWRIT_HEADER_1}\n')
    expect(fs.statSync(args.at(-1) as string).mode & 0o777).toBe(0o600)
    await command('uninstall', 'cursor', '--yes')
    expect(fs.existsSync(args.at(-1) as string)).toBe(false)
  })
  it('Codex: variables that hold tokens stay variables, and are handed on', () => {
    const [one] = plan('[mcp_servers.web]\nurl = "https://a.example/mcp"\nbearer_token_env_var = "TOKEN"\nenv_http_headers = { "X-Key" = "KEY" }\nhttp_headers = { "X-A" = "b" }\nrequired = true\n', 'codex').servers
    expect(one).toMatchObject({ state: 'wrap', headers: [{ name: 'X-A', value: 'b' }, { name: 'X-Key', value: '${KEY}' }, { name: 'Authorization', value: 'Bearer ${TOKEN}' }] })
    expect(one?.state === 'wrap' && parse(one.kept.now)).toMatchObject({ mcp_servers: { web: { command: '/usr/bin/node', env_vars: ['KEY', 'TOKEN'], required: true } } })
    expect(one?.state === 'wrap' && one.kept.now).not.toMatch(/^(url|bearer|http_headers)/m)
  })
  it.each(['http://example.com/mcp', 'ftp://a.example/', 'file:///etc/passwd', 'javascript:alert(1)', 'data:text/plain,x', 'https://user:pw@a.example/', 'https://a.example/?key=1', 'https://a.example/#x', 'http://169.254.169.254/latest', 'https://169.254.169.254/', 'https://0xA9FEA9FE/', 'https://2852039166/', 'https://[::ffff:169.254.169.254]/', 'https://[fe80::1]/', 'https://[fd00:ec2::254]/', 'https://metadata.google.internal/', 'https://metadata.google.internal./', 'http://localhost.evil.example/', 'http://127.0.0.1.evil.example/', 'http:\\\\localhost/', 'https:a.example', '//a.example', 'mcp', 'https://a.example/sse'])('ATK-098: %s is not gone to', (url) => {
    expect(reasonOf(server({ url }))).toMatch(/^its (`url`|transport)/)
  })
  it.each(['https://a.example/mcp', 'http://localhost:3000/mcp', 'http://127.0.0.1:1/', 'http://[::1]:3/'])('%s is', (url) => expect(reasonOf(server({ url }))).toBe('wrap'))
  it.each([['Host', 'x'], ['Mcp-Session-Id', 'x'], ['content-length', '1'], ['X Y', 'z'], ['Transfer-Encoding', 'chunked']])('no configuration sets the header %s', (name, value) => expect(reasonOf(server({ url: 'https://a.example/', headers: { [name]: value } }))).toContain('no header that a configuration may set'))
})

describe('ATK-098: a hostile configuration', () => {
  it.each([
    ['a line break in the command', { command: 'node\nrm -rf ~' }, 'control characters'],
    ['an escape sequence in an argument', { ...NODE, args: ['server.js', '\u001b[2Kinnocent'] }, 'control characters'],
    ['a command line in place of a command', { command: 'node server.js; touch pwned' }, 'environment_unattested'],
    ['a substitution in place of a command', { command: '$(touch pwned)' }, 'environment_unattested'],
    ['a shell', { command: 'sh', args: ['-c', 'touch pwned'] }, 'interpreter_unbound'],
    ['code as an argument', { command: 'node', args: ['-e', 'require("fs").writeFileSync("pwned","")'] }, 'interpreter_unbound'],
    ['a preloaded module', { command: 'node', args: ['--require', './evil.js', 'server.js'] }, 'interpreter_unbound'],
    ['a program that starts others', { command: 'env', args: ['-S', 'sh -c x'] }, 'starts something else'],
    ['a container, whose image is not measured', { command: 'docker', args: ['run', '-i', 'x'] }, 'starts something else'],
    ['a runner that downloads', { command: 'uvx', args: ['mcp-server-git'] }, 'environment_unattested'],
    ['a package that is not installed', { command: 'npx', args: ['-y', 'mcp-remote@0.1.0'] }, 'environment_unattested'],
    ['a way out of the package folder', { command: 'npx', args: ['../../evil'] }, 'environment_unattested'],
    ['a variable that loads code into the gateway', { ...NODE, env: { NODE_OPTIONS: '--require ./evil.js' } }, 'reach into the gateway'],
    ['a planted search path', { ...NODE, env: { PATH: '/tmp/evil:/usr/bin' } }, 'reach into the gateway'],
    ['another plane', { ...NODE, env: { SEALWRIT_DIR: '/tmp/evil' } }, 'reach into the gateway'],
    ['a loader variable', { ...NODE, env: { LD_PRELOAD: './evil.so' } }, 'reach into the gateway'],
    ['a variable that brings code into the server', { ...NODE, env: { PYTHONSTARTUP: './evil.py' } }, 'other code into the server'],
    ['a file of variables', { ...NODE, envFile: '.env' }, 'envFile'],
    ['a command for headers', { type: 'http', url: 'https://a.example/mcp', headersHelper: 'touch pwned' }, 'headersHelper'],
    ['two transports', { ...NODE, url: 'https://a.example/' }, 'readers disagree'],
    ['an unknown transport', { type: 'ws', url: 'wss://a.example/' }, 'transport'],
    ['SSE alone', { type: 'sse', url: 'https://a.example/mcp' }, 'SSE'],
    ['an address that the client completes', { url: 'https://${env:HOST}/mcp' }, 'write it out'],
    ['no command at all', {}, 'neither'],
    ['arguments that are no texts', { ...NODE, args: [1] }, 'no list of texts'],
  ])('%s is left alone, with the reason', (_, entry, reason) => {
    expect(reasonOf(server(entry))).toContain(reason)
  })
  it.each(['..', '.', 'a/b', '../../x', 'a b', 'é', 'a\u200bb', 'x'.repeat(65), '', '--dir', '__proto__/x'])('the name %j is refused where it cannot be one', (name) => {
    const isName = /^[A-Za-z0-9_.-]{1,64}$/.test(name) && !/^\.+$/.test(name)
    expect(reasonOf(server(NODE, name))).toBe(isName ? 'wrap' : 'a server’s name takes up to 64 letters, digits, dots, dashes or underscores')
  })
  it('what only looks like a gateway is not believed, and neither is a gateway that somebody changed', () => {
    expect(reasonOf(server({ command: '/tmp/evil/node', args: [...BEFORE, '--', 'node', 'server.js'] }))).toContain('looks like a gateway')
    expect(reasonOf(server({ command: '/usr/bin/node', args: ['/opt/sealwrit.js', 'mcp', '--dir', '/tmp/evil', '--name', 'fs', '--', 'node'] }))).toContain('looks like a gateway')
    expect(reasonOf(server({ command: '/usr/bin/node', args: [...BEFORE, '--', 'node', 'server.js'] }))).toContain('somebody changed it')
    const made = plan(server(NODE))
    const record = { file: '/x.json', client: 'cursor', servers: made.servers.flatMap((one) => (one.state === 'wrap' ? [one.kept] : [])) }
    expect(plan(made.text, 'cursor', record).servers[0]?.state).toBe('wrapped')
    expect(plan(made.text.replace('"args"', '"env": { "NODE_OPTIONS": "--require ./evil.js" },\n      "args"'), 'cursor', record).servers[0]).toMatchObject({ state: 'left', reason: expect.stringContaining('somebody changed it') })
  })
  it('nothing in it is started, and names and words are shown with their control characters visible', async () => {
    const canary = write(path.join(project, 'canary.sh'), `#!/bin/sh\ntouch ${path.join(root, 'pwned')}\n`)
    fs.chmodSync(canary, 0o755)
    write(path.join(project, '.mcp.json'), JSON.stringify({ mcpServers: { good: { command: './canary.sh', args: ['$(touch pwned)', '; touch pwned'] }, 'evil\u001b[31m\u202e': { command: './canary.sh' }, odd: { command: './canary.sh\u001b]0;x\u0007' } } }))
    const { stdout } = await command('install', 'claude-code', '--yes')
    expect(stdout).toMatch(/a project shares this file/)
    expect(stdout).toMatch(/wrap {5}good[\s\S]*left {5}evil\\u\{?1b/)
    // oxlint-disable-next-line no-control-regex -- they are what must not be there
    expect(stdout).not.toMatch(/[\u001b\u0007\u202e]/)
    expect(fs.existsSync(path.join(root, 'pwned')) || fs.existsSync(path.join(project, 'pwned'))).toBe(false)
  })
  it('a link is not followed: neither the file nor the folder of a project', async () => {
    const victim = write(path.join(root, 'victim', 'mcp.json'), server(NODE))
    fs.mkdirSync(path.join(project, '.cursor'))
    fs.symlinkSync(victim, path.join(project, '.cursor', 'mcp.json'))
    expect((await command('install', 'cursor', '--yes')).stderr).toContain('is a link')
    fs.rmSync(path.join(project, '.cursor'), { recursive: true })
    fs.symlinkSync(path.dirname(victim), path.join(project, '.cursor'))
    expect((await command('install', 'cursor', '--yes')).stderr).toContain('is a link to another folder')
    expect(read(victim)).toBe(server(NODE))
  })
  it('a pipe in its place does not hold the program up', async () => {
    const { spawnSync } = await import('node:child_process')
    fs.mkdirSync(path.join(project, '.cursor'))
    spawnSync('mkfifo', [path.join(project, '.cursor', 'mcp.json')])
    expect((await command('install', 'cursor', '--yes')).stderr).toContain('no plain file')
  })
  it('two servers of one name in two files are said to be one for policies', async () => {
    write(path.join(home, '.cursor/mcp.json'), server(NODE))
    await command('install', 'cursor', '--yes')
    write(path.join(project, '.mcp.json'), server({ command: 'node', args: ['server.js', '--evil'] }))
    expect((await command('install', 'claude-code', '--dry-run')).stdout).toContain('policies cannot tell them apart')
  })
})

describe('writing', () => {
  it('a file that was changed meanwhile is left as it is', () => {
    const file = write(path.join(home, 'a.json'), 'old')
    const before = readConfigFile(file)
    fs.writeFileSync(file, 'newer')
    expect(() => replaceConfig(before as NonNullable<typeof before>, 'mine')).toThrow('was changed meanwhile')
    expect(read(file)).toBe('newer')
    expect(fs.readdirSync(home)).toEqual(['a.json'])
  })
  it('undoing keeps what others changed since, and leaves alone what they changed of a server', async () => {
    const file = write(path.join(home, '.claude.json'), JSON.stringify({ mcpServers: { fs: NODE, other: NODE }, count: 1 }))
    await command('install', 'claude-code', '--yes')
    const value = JSON.parse(read(file)) as { mcpServers: Record<string, { args: string[] }>; count: number }
    value.count = 2
    value.mcpServers['other']?.args.push('--more')
    fs.writeFileSync(file, JSON.stringify(value, null, 4)) // as the client writes it: set anew
    const undone = await command('uninstall', 'claude-code', '--yes')
    expect(undone.stdout).toMatch(/restore {2}fs[\s\S]*left {2}other/)
    const after = JSON.parse(read(file)) as typeof value
    expect(after).toEqual({ count: 2, mcpServers: { fs: NODE, other: value.mcpServers['other'] } })
    expect(fs.existsSync(file + BACKUP)).toBe(true)
  })
  it('what is not there is said, and a plane is needed', async () => {
    expect((await command('install', 'cursor')).stderr).toMatch(/no configuration of this client[\s\S]*\.cursor/)
    expect((await command('install', 'emacs')).exit).toBe(2)
    write(path.join(home, '.cursor/mcp.json'), server(NODE))
    expect(await command('install', 'cursor', '--server', 'nope', '--yes')).toMatchObject({ exit: 2 })
    expect((await command('uninstall', 'cursor', '--yes')).stderr).toContain('installed nothing')
    fs.rmSync(path.join(dir, 'log.vkey'))
    expect((await command('install', 'cursor', '--yes')).exit).toBe(14)
  })
  it('any words and any way of writing them come back exactly', () => {
    const word = fc.string({ maxLength: 12 }).filter((one) => one.isWellFormed() && !/[\p{Cc}\u2028\u2029]/u.test(one))
    const entry = fc.record({ args: fc.array(word, { maxLength: 4 }), env: fc.dictionary(fc.stringMatching(/^A[A-Z_]{0,6}$/), word, { maxKeys: 3 }), timeout: fc.nat() }, { requiredKeys: [] })
    fc.assert(fc.property(fc.dictionary(fc.stringMatching(/^[a-z][a-z0-9-]{0,8}$/), entry, { minKeys: 1, maxKeys: 4 }), fc.constantFrom(0, 1, 2, '\t'), fc.boolean(), (entries, indent, isLast) => {
      const servers = Object.fromEntries(Object.entries(entries).map(([name, one]) => [name, isLast ? { ...one, args: ['server.js', ...(one.args ?? [])], command: 'node' } : { command: 'node', ...one, args: ['server.js', ...(one.args ?? [])] }]))
      const text = JSON.stringify({ before: 1, mcpServers: servers, after: [] }, null, indent)
      const made = plan(text)
      expect(made.servers.every(({ state }) => state === 'wrap')).toBe(true)
      const value = JSON.parse(made.text) as { mcpServers: Record<string, { args: string[] }> }
      for (const [name, one] of Object.entries(servers)) expect(value.mcpServers[name]?.args.slice(-one.args.length - 2)).toEqual(['--', 'node', ...one.args])
      const kept = made.servers.flatMap((one) => (one.state === 'wrap' ? [one.kept] : []))
      expect(planUninstall({ ...made.read, text: made.text }, made.client, kept).text).toBe(text)
      const anew = JSON.stringify(JSON.parse(made.text), null, 3)
      expect(JSON.parse(planUninstall({ ...made.read, text: anew }, made.client, kept).text)).toEqual(JSON.parse(text))
    }), { numRuns: 60 })
  })
})
