import { spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { Client as OlderClient } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PermittingPlane } from '../support/conformance/ways.ts'
import { end } from '../support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-several-')))
const bin = (name: string): string => path.resolve(import.meta.dirname, '../../node_modules/.bin', name)
const main = path.resolve(import.meta.dirname, '../../packages/cli/src/main.ts')
const NODE = ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', main]
const file = path.join(root, 'servers.json')
const words = (dir: string, ...more: string[]): string[] => [...NODE, 'mcp', '--pin', '--dir', dir, '--servers', file, ...more]
const POLICY = `
@id("reads") permit (principal, action == Action::"mcp.tool_call", resource in Server::"mcp://a") when { resource.name == "read_text_file" };
@id("graph") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://graph/read_graph");
`
let plane: PermittingPlane

beforeAll(async () => {
  for (const name of ['a', 'b']) {
    fs.mkdirSync(path.join(root, name))
    fs.writeFileSync(path.join(root, name, 'x.txt'), `this is ${name}`)
  }
  fs.writeFileSync(path.join(root, 'graph.jsonl'), `${JSON.stringify({ type: 'entity', name: 'a remembered thing', entityType: 'thing', observations: [] })}\n`)
  // Two servers of one kind offer the same names, and a third one gets a variable of its own.
  const mcpServers = { a: { command: bin('mcp-server-filesystem'), args: ['./a'] }, b: { command: bin('mcp-server-filesystem'), args: ['./b'] }, graph: { command: bin('mcp-server-memory'), env: { MEMORY_FILE_PATH: path.join(root, 'graph.jsonl') } } }
  fs.writeFileSync(file, JSON.stringify({ mcpServers }))
  plane = await new PermittingPlane().start(POLICY)
})
afterAll(async () => {
  await plane.end()
  fs.rmSync(root, { recursive: true, force: true })
})

const denial = (result: Record<string, unknown>): string | undefined => (result['_meta'] as { 'sealwrit/denial'?: { code: string } } | undefined)?.['sealwrit/denial']?.code
interface AnyClient {
  listTools(): Promise<{ tools: { name: string }[] }>
  callTool(params: { name: string; arguments: Record<string, unknown> }): Promise<Record<string, unknown>>
  close(): Promise<void>
}

async function tried(client: AnyClient): Promise<void> {
  try {
    // What cannot be permitted is not shown: nothing of b, and one tool of each of the others.
    expect((await client.listTools()).tools.map(({ name }) => name).sort()).toEqual(['a__read_text_file', 'graph__read_graph'])
    expect(JSON.stringify(await client.callTool({ name: 'a__read_text_file', arguments: { path: path.join(root, 'a', 'x.txt') } }))).toContain('this is a')
    expect(JSON.stringify(await client.callTool({ name: 'graph__read_graph', arguments: {} }))).toContain('a remembered thing')
    expect(denial(await client.callTool({ name: 'b__read_text_file', arguments: { path: path.join(root, 'b', 'x.txt') } }))).toBe('policy_no_match')
    expect(denial(await client.callTool({ name: 'read_text_file', arguments: { path: path.join(root, 'a', 'x.txt') } }))).toMatch(/^tool_/)
  } finally {
    await client.close()
  }
}

describe('several real servers behind one gateway', () => {
  it('ATK-092: each is asked under its own name, over stdio', async () => {
    const client = new Client({ name: 'several', version: '1' })
    await client.connect(new StdioClientTransport({ command: process.execPath, args: words(plane.dir), env: process.env as Record<string, string>, stderr: 'ignore', cwd: os.tmpdir() }))
    await tried(client as unknown as AnyClient)
  }, 60_000)

  it('and over HTTP, with a session', async () => {
    const front = spawn(process.execPath, words(plane.dir, '--listen', '127.0.0.1:0', '--json'), { stdio: ['ignore', 'pipe', 'ignore'] })
    try {
      const line = await new Promise<string>((resolve) => front.stdout.once('data', (chunk: Buffer) => resolve(chunk.toString())))
      const { endpoint, token_file: tokenFile } = JSON.parse(line) as { endpoint: string; token_file: string }
      const client = new OlderClient({ name: 'several', version: '1' })
      const headers = { Authorization: `Bearer ${fs.readFileSync(tokenFile, 'utf8').trim()}` }
      await client.connect(new StreamableHTTPClientTransport(new URL(endpoint), { requestInit: { headers } }) as never)
      await tried(client as unknown as AnyClient)
    } finally {
      await end(front)
    }
  }, 60_000)

  it.each<[string, unknown, string[], string]>([
    ['a name with an underscore', { mcpServers: { a_b: { command: 'x' } } }, [], 'no underscore'],
    ['no servers', { mcpServers: {} }, [], '0 servers'],
    ['a member that is not known', { mcpServers: { a: { command: 'x', sandbox: true } } }, [], 'mcpServers.a'],
    ['a command beside it', { mcpServers: { a: { command: 'x' } } }, ['--', 'node', 'x.js'], 'no command beside it'],
    ['--name beside it', { mcpServers: { a: { command: 'x' } } }, ['--name', 'x'], '--name'],
  ])('a file with %s is refused with a usage error', (_name, content, more, says) => {
    const other = path.join(root, 'wrong.json')
    fs.writeFileSync(other, JSON.stringify(content))
    const { status, stderr } = spawnSync(process.execPath, [...NODE, 'mcp', '--pin', '--dir', plane.dir, '--servers', other, ...more], { encoding: 'utf8', input: '' })
    expect([status, stderr]).toEqual([2, expect.stringContaining(says)])
  })
})
