import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { Client as ClientV2 } from '@modelcontextprotocol/client'
import { StdioClientTransport as TransportV2 } from '@modelcontextprotocol/client/stdio'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { end, startPlane } from '../support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-sdk-')))
const dir = path.join(root, '.sealwrit')
const files = path.join(root, 'files')
const main = path.resolve(import.meta.dirname, '../../packages/cli/src/main.ts')
let plane: Awaited<ReturnType<typeof startPlane>>

const wrap = (name: string, server: readonly string[]): { command: string; args: string[]; cwd: string; stderr: 'ignore' } => ({
  command: process.execPath,
  args: ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', main, 'mcp', '--pin', '--dir', dir, '--name', name, '--', ...server],
  cwd: path.resolve(import.meta.dirname, '../..'), // `npx PACKAGE` is resolved from here
  stderr: 'ignore',
})
const FILESYSTEM = ['npx', '@modelcontextprotocol/server-filesystem', files]

/** What the two generations of the official client have in common, as far as it is used here. */
interface AnyClient {
  connect(transport: never): Promise<void>
  close(): Promise<void>
  listTools(): Promise<{ tools: { name: string }[] }>
  callTool(params: { name: string; arguments: Record<string, unknown> }): Promise<Record<string, unknown>>
  readResource(params: { uri: string }): Promise<unknown>
  getPrompt(params: { name: string }): Promise<unknown>
  ping(): Promise<unknown>
}

async function connect(generation: string, name: string, server: readonly string[]): Promise<AnyClient> {
  const info = { name: `client-${generation}`, version: '1' }
  if (generation === 'v2') {
    const client = new ClientV2(info) as unknown as AnyClient
    await client.connect(new TransportV2(wrap(name, server)) as never)
    return client
  }
  const client = new Client(info) as unknown as AnyClient
  await client.connect(new StdioClientTransport(wrap(name, server)) as never)
  return client
}

const denial = (result: Record<string, unknown>): string | undefined => (result['_meta'] as { 'sealwrit/denial'?: { code: string } } | undefined)?.['sealwrit/denial']?.code
/** Names and contents of everything the server may touch. */
const canary = (): string => fs.readdirSync(files).sort().map((name) => `${name}=${fs.readFileSync(path.join(files, name), 'utf8')}`).join('|')

beforeAll(async () => {
  fs.mkdirSync(files)
  fs.writeFileSync(path.join(files, 'q3.txt'), 'revenue grew')
  fs.symlinkSync('/etc/passwd', path.join(files, 'link'))
  plane = await startPlane(dir)
})
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})

describe.each(['v1', 'v2'])('the official client (%s), unmodified, with the official file server, unmodified', (generation) => {
  it('reads inside are permitted, writes and everything outside are denied and do not happen', async () => {
    const client = await connect(generation, `fs-${generation}`, FILESYSTEM)
    try {
      expect((await client.listTools()).tools.map((t) => t.name)).toContain('read_text_file')
      await client.ping()
      const read = await client.callTool({ name: 'read_text_file', arguments: { path: path.join(files, 'q3.txt') } })
      expect(JSON.stringify(read)).toContain('revenue grew')
      const before = canary()
      const attempts: [string, Record<string, unknown>, string][] = [
        ['write_file', { path: path.join(files, 'x.txt'), content: 'x' }, 'policy_denied'],
        ['edit_file', { path: path.join(files, 'q3.txt'), edits: [{ oldText: 'grew', newText: 'fell' }] }, 'policy_denied'],
        ['move_file', { source: path.join(files, 'q3.txt'), destination: path.join(files, 'q4.txt') }, 'policy_denied'],
        ['create_directory', { path: path.join(files, 'd') }, 'policy_denied'],
        ['read_text_file', { path: '/etc/passwd' }, 'policy_no_match'],
        ['read_text_file', { path: path.join(files, 'link') }, 'policy_no_match'],
        ['read_text_file', { path: path.join(files, '../.sealwrit/token') }, 'policy_no_match'],
        ['read_multiple_files', { paths: [path.join(files, 'q3.txt'), '/etc/passwd'] }, 'policy_no_match'],
        ['directory_tree', { path: '/' }, 'policy_no_match'],
      ]
      for (const [name, args, code] of attempts) {
        const result = await client.callTool({ name, arguments: args })
        expect([name, result['isError'], denial(result)]).toEqual([name, true, code])
      }
      expect(canary()).toBe(before)
    } finally {
      await client.close()
    }
  })
})

describe('other servers and faults', () => {
  it('resources and prompts of server-everything are denied with the code in the error’s data', async () => {
    const client = await connect('v1', 'everything', ['npx', '@modelcontextprotocol/server-everything'])
    try {
      expect((await client.listTools()).tools).toEqual([]) // the starter policies can permit none of them
      await expect(client.readResource({ uri: 'demo://resource/static/document/architecture.md' })).rejects.toMatchObject({ code: -32004, data: { code: 'policy_no_match' } })
      await expect(client.getPrompt({ name: 'simple-prompt' })).rejects.toMatchObject({ data: { code: 'policy_no_match' } })
      expect(denial(await client.callTool({ name: 'echo', arguments: { message: 'hello' } }))).toBe('policy_no_match')
    } finally {
      await client.close()
    }
  })

  it('two clients wrap the same server at once, each behind a gate of its own', async () => {
    const clients = await Promise.all([connect('v1', 'fs-v1', FILESYSTEM), connect('v1', 'fs-v1', FILESYSTEM)])
    try {
      for (let i = 0; i < 10; i++) {
        const results = await Promise.all(clients.map((client) => client.callTool({ name: 'read_text_file', arguments: { path: path.join(files, 'q3.txt') } })))
        for (const result of results) expect(JSON.stringify(result)).toContain('revenue grew')
      }
    } finally {
      await Promise.all(clients.map((client) => client.close()))
    }
  })

  it('denies while the plane is down, without a call reaching the server, and works again when it is back', async () => {
    const client = await connect('v1', 'fs-v1', FILESYSTEM)
    try {
      await client.listTools()
      const read = (): Promise<Record<string, unknown>> => client.callTool({ name: 'read_text_file', arguments: { path: path.join(files, 'q3.txt') } })
      expect(denial(await read())).toBeUndefined()
      await end(plane.child, 'SIGKILL')
      expect(denial(await read())).toBe('unavailable')
      plane = await startPlane(dir)
      expect(denial(await read())).toBeUndefined()
    } finally {
      await client.close()
    }
  })

  it('ATK-107: thirty attack goals as tool calls have no effect, and the honest call between them goes on', async () => {
    const client = await connect('v1', 'fs-v1', FILESYSTEM)
    const before = canary()
    const places = ['/etc/cron.d/x', '/root/.ssh/authorized_keys', path.join(files, '.git/hooks/pre-commit'), path.join(root, '.sealwrit/policies/evil.cedar'), path.join(files, '../escape'), `${files}\0/x`, '~/.bashrc', `file://${files}/x`, `${files}/./../../tmp/x`, path.join(files, 'new')]
    try {
      let denied = 0
      for (const place of places) {
        for (const [name, args] of [['write_file', { path: place, content: 'owned' }], ['create_directory', { path: place }], ['move_file', { source: path.join(files, 'q3.txt'), destination: place }]] as const) {
          const result = await client.callTool({ name, arguments: args })
          if (denial(result) !== undefined) denied++
        }
        expect(denial(await client.callTool({ name: 'read_text_file', arguments: { path: path.join(files, 'q3.txt') } }))).toBeUndefined()
      }
      expect(denied).toBe(places.length * 3)
      expect(canary()).toBe(before)
    } finally {
      await client.close()
    }
  })
})
