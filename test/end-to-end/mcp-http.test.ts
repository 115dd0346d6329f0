import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import * as net from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { Client as ClientV2, StreamableHTTPClientTransport as HttpV2 } from '@modelcontextprotocol/client'
import { Client as ClientV1 } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { StreamableHTTPClientTransport as HttpV1 } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freePort } from '../support/pass-through.ts'
import { until } from '../../packages/mcp-gateway/test/http/server.ts'
import { HttpServerOf } from '../../packages/mcp-gateway/test/http/through.ts'
import { end, PROGRAM, run, sealwrit, startPlane } from '../support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-http-')))
const dir = path.join(root, '.sealwrit')
const files = path.join(root, 'files')
const repository = path.resolve(import.meta.dirname, '../..')
const FILESYSTEM = ['--', 'npx', '@modelcontextprotocol/server-filesystem', files]
const POLICY = '@id("test-echo") permit (principal, action == Action::"mcp.tool_call", resource is Tool) when { ["echo", "get-sum", "test_simple_text", "trigger-long-running-operation"].contains(resource.name) };\n'
const children: ChildProcess[] = []
let plane: Awaited<ReturnType<typeof startPlane>>

interface AnyClient {
  connect(transport: never): Promise<void>
  close(): Promise<void>
  listTools(): Promise<{ tools: { name: string }[] }>
  callTool(params: { name: string; arguments: Record<string, unknown> }, schema?: undefined, options?: object): Promise<Record<string, unknown>>
}

/** A gateway that listens. */
interface Gateway {
  readonly url: string
  readonly token: string
  readonly child: ChildProcess
}

async function gateway(name: string, words: readonly string[]): Promise<Gateway> {
  const child = sealwrit(['mcp', '--pin', '--json', '--dir', dir, '--name', name, '--listen', '127.0.0.1:0', ...words], { cwd: repository })
  children.push(child)
  let [out, errors] = ['', '']
  child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const said = await new Promise<{ endpoint: string; token_file: string }>((resolve, reject) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      out += chunk.toString()
      if (out.trimEnd().endsWith('}')) resolve(JSON.parse(out) as { endpoint: string; token_file: string })
    })
    child.once('exit', (code) => reject(new Error(`the gateway ended (${code}): ${errors}`)))
  })
  expect(fs.statSync(said.token_file).mode & 0o777).toBe(0o600)
  return { url: said.endpoint, token: fs.readFileSync(said.token_file, 'utf8').trim(), child }
}

async function client(generation: 'v1' | 'v2' | 'v2 stateless', { url, token }: Pick<Gateway, 'url' | 'token'>): Promise<AnyClient> {
  const init = { requestInit: { headers: { authorization: `Bearer ${token}` } } }
  const info = { name: 'client', version: '1' }
  if (generation === 'v1') {
    const made = new ClientV1(info) as unknown as AnyClient
    await made.connect(new HttpV1(new URL(url), init) as never)
    return made
  }
  const made = new ClientV2(info, generation === 'v2' ? {} : { versionNegotiation: { mode: { pin: '2026-07-28' } } }) as unknown as AnyClient
  await made.connect(new HttpV2(new URL(url), init) as never)
  return made
}

const denial = (result: Record<string, unknown>): string | undefined => (result['_meta'] as { 'sealwrit/denial'?: { code: string } } | undefined)?.['sealwrit/denial']?.code
const canary = (): string => fs.readdirSync(files).sort().map((name) => `${name}=${fs.readFileSync(path.join(files, name), 'utf8')}`).join('|')

async function everything(): Promise<string> {
  const port = await freePort()
  const child = spawn(process.execPath, [path.join(repository, 'node_modules/@modelcontextprotocol/server-everything/dist/index.js'), 'streamableHttp'], { env: { ...process.env, PORT: String(port) }, stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  await new Promise<void>((resolve, reject) => {
    child.stderr.on('data', (chunk: Buffer) => chunk.toString().includes('listening') && resolve())
    child.once('exit', () => reject(new Error('the server ended')))
  })
  return `http://127.0.0.1:${port}/mcp`
}

/** The server of the newest official SDK, stateless. */
async function stateless(): Promise<string> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--conditions=@sealwrit/source', path.join(repository, 'test/support/conformance/server.ts'), 'http'], { stdio: ['ignore', 'pipe', 'pipe'] })
  children.push(child)
  for await (const chunk of child.stdout) {
    const found = /http:\/\/[^\s"']+/.exec(String(chunk))?.[0]
    if (found !== undefined) return found
  }
  throw new Error('the server ended')
}

beforeAll(async () => {
  fs.mkdirSync(files)
  fs.writeFileSync(path.join(files, 'q3.txt'), 'revenue grew')
  await end((await startPlane(dir)).child)
  fs.writeFileSync(path.join(dir, 'policies', 'test.cedar'), POLICY)
  plane = await startPlane(dir)
})
afterAll(async () => {
  for (const child of children) await end(child)
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('clients over HTTP, a server as a child', () => {
  it.each(['v1', 'v2', 'v2 stateless'] as const)('the official client (%s): reads inside are permitted, all else is denied and does not happen', async (generation) => {
    const at = await gateway(`fs-${generation.replace(' ', '-')}`, FILESYSTEM)
    const agent = await client(generation, at)
    expect((await agent.listTools()).tools.map(({ name }) => name)).toContain('read_text_file')
    const before = canary()
    expect(JSON.stringify(await agent.callTool({ name: 'read_text_file', arguments: { path: path.join(files, 'q3.txt') } }))).toContain('revenue grew')
    for (const [name, args, code] of [
      ['write_file', { path: path.join(files, 'x.txt'), content: 'x' }, 'policy_denied'],
      ['read_text_file', { path: '/etc/passwd' }, 'policy_no_match'],
    ] as const) {
      const result = await agent.callTool({ name, arguments: args })
      expect([result['isError'], denial(result)]).toEqual([true, code])
    }
    expect(canary()).toBe(before)
    await agent.close()
    await expect(client(generation, { ...at, token: `${at.token}x` })).rejects.toThrow()
    await end(at.child)
    expect(at.child.exitCode).toBe(0)
  })

  it('two clients of one gateway call at once, each with a server of its own', async () => {
    const at = await gateway('fs-two', FILESYSTEM)
    const agents = [await client('v1', at), await client('v2 stateless', at), await client('v2', at)]
    for (let i = 0; i < 5; i++) {
      for (const result of await Promise.all(agents.map((agent) => agent.callTool({ name: 'read_text_file', arguments: { path: path.join(files, 'q3.txt') } })))) expect(JSON.stringify(result)).toContain('revenue grew')
    }
    for (const agent of agents) await agent.close()
  })
})

describe('a server over HTTP', () => {
  it('in sessions, for a client over stdio: what is permitted is called, with progress, and the rest is denied', async () => {
    const url = await everything()
    const agent = new ClientV1({ name: 'client', version: '1' }) as unknown as AnyClient
    await agent.connect(new StdioClientTransport({ command: process.execPath, args: [...PROGRAM, 'mcp', '--pin', '--dir', dir, '--name', 'everything', '--url', url], cwd: repository, stderr: 'ignore' }) as never)
    expect((await agent.listTools()).tools.map(({ name }) => name)).toContain('echo')
    expect(JSON.stringify(await agent.callTool({ name: 'echo', arguments: { message: 'hello' } }))).toContain('Echo: hello')
    const progress: unknown[] = []
    await agent.callTool({ name: 'trigger-long-running-operation', arguments: { duration: 1, steps: 3 } }, undefined, { onprogress: (one: unknown) => progress.push(one) })
    expect(progress.length).toBeGreaterThan(1)
    expect(denial(await agent.callTool({ name: 'get-env', arguments: {} }))).toBe('policy_no_match')
    await agent.close()
  })

  it.each(['v1', 'v2', 'v2 stateless'] as const)('in sessions and stateless, for the official client (%s) over HTTP', async (generation) => {
    for (const [name, url, tool] of [['old', await everything(), 'echo'], ['new', await stateless(), 'test_simple_text']] as const) {
      const at = await gateway(`${name}-${generation.replace(' ', '-')}`, ['--url', url])
      const agent = await client(generation, at)
      const tools = (await agent.listTools()).tools.map((one) => one.name)
      expect(tools).toContain(tool)
      const called = await agent.callTool({ name: tool, arguments: name === 'old' ? { message: 'hello' } : {} })
      expect([called['isError'] ?? false, JSON.stringify(called).includes(name === 'old' ? 'Echo: hello' : 'text')]).toEqual([false, true])
      expect(tools.filter((one) => /env|error/.test(one))).toEqual([]) // what could not be permitted is not shown
      await agent.close()
      await end(at.child)
    }
  })
})

describe('a kill while a call runs', () => {
  it.each(['2026-07-28', '2025-11-25'] as const)('ends it for the client, and at a server of %s over HTTP', async (revision) => {
    const server = new HttpServerOf(revision, [{ name: 'echo', inputSchema: { type: 'object' } }])
    let [reached, closed] = [false, false]
    server.onCall = (_got, res) => {
      reached = true
      res.on('close', () => (closed = true))
      return true
    }
    const name = `kill-${revision}`
    const at = await gateway(name, ['--url', await server.server.listen()])
    const agent = await client('v1', at)
    await agent.listTools()
    const called = agent.callTool({ name: 'echo', arguments: {} })
    await until(() => reached, 10_000)
    expect((await run(['kill', `tool:mcp://${name}/echo`, '--dir', dir])).exit).toBe(0)
    expect(denial(await called)).toBe('killed')
    await until(() => closed, 5_000)
    if (revision === '2025-11-25') await until(() => server.of('notifications/cancelled').length === 1 && server.server.got.some(({ method }) => method === 'DELETE'), 5_000)
    await end(at.child)
    await server.server.close()
  })
})

describe('the command', () => {
  it.each<[string, readonly string[], string]>([
    ['neither a command nor an address', [], '--url'],
    ['both', ['--url', 'https://example.com/mcp', '--', 'node', 'x'], 'either'],
    ['plain http to elsewhere', ['--url', 'http://example.com/mcp'], 'loopback'],
    ['a listener for everybody', ['--listen', '0.0.0.0:0', ...FILESYSTEM], '--oauth-issuer'],
    ['a listener that is none', ['--listen', '4181', ...FILESYSTEM], 'HOST:PORT'],
    ['headers for a child', ['--header-file', 'x', ...FILESYSTEM], '--url'],
    ['an origin that is none', ['--listen', '127.0.0.1:0', '--allow-origin', '*', '--', 'npx', '@modelcontextprotocol/server-filesystem', files], '--allow-origin'],
  ])('refuses %s with a hint', async (_what, words, hint) => {
    const { exit, stderr } = await run(['mcp', '--pin', '--dir', dir, '--name', 'x', ...words], { cwd: repository })
    expect([exit, stderr.includes(hint), stderr.includes('    at ')]).toEqual([2, true, false])
  })

  it('shows no header, takes one from a variable, and sends the new one when the file changes', async () => {
    const got: (string | undefined)[] = []
    const http = await import('node:http')
    const server = http.createServer((req, res) => {
      got.push(req.headers.authorization)
      res.writeHead(401).end()
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const headers = path.join(root, 'headers')
    fs.writeFileSync(headers, 'Authorization: Bearer ${UPSTREAM_TOKEN}\n', { mode: 0o600 })
    const words = ['mcp', '--pin', '--json', '--dir', dir, '--name', 'secret', '--listen', '127.0.0.1:0', '--url', `http://127.0.0.1:${(server.address() as net.AddressInfo).port}/mcp`, '--header-file', headers]
    const child = sealwrit(words, { cwd: repository, env: { UPSTREAM_TOKEN: 'very-secret' } })
    children.push(child)
    let told = ''
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (told += chunk.toString()))
    while (!told.trimEnd().endsWith('}')) await new Promise((resolve) => setTimeout(resolve, 20))
    const { endpoint, token_file: file } = JSON.parse(told) as { endpoint: string; token_file: string }
    const at = { url: endpoint, token: fs.readFileSync(file, 'utf8').trim() }
    await expect(client('v1', at)).rejects.toThrow()
    expect(new Set(got)).toEqual(new Set(['Bearer very-secret']))
    expect(fs.readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')).not.toContain('very-secret')
    await new Promise((resolve) => setTimeout(resolve, 1_100))
    fs.writeFileSync(headers, 'Authorization: Bearer another\n', { mode: 0o600 })
    await expect(client('v1', at)).rejects.toThrow()
    expect(got.at(-1)).toBe('Bearer another')
    expect(told).not.toContain('very-secret')
    expect(got.some((authorization) => authorization?.includes(at.token))).toBe(false) // the client's own token goes nowhere
    await end(child)
    server.close()
  })
})
