import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import * as os from 'node:os'
import * as path from 'node:path'
import { Client } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHROMIUM, IS_BROWSER_REQUIRED } from '../support/chromium.ts'
import { gatewayWords } from '../support/conformance/through.ts'
import { end } from '../support/processes.ts'
import { freePort, passThrough } from '../support/pass-through.ts'
import { PermittingPlane } from '../support/conformance/ways.ts'

// Servers from the registry, as they are, each behind the gateway: what it lists, what is permitted of it, and that what is not
// permitted has no effect. Effects are seen where they would be (files, a web server), and every byte that a server gets is kept.
const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-real-')))
const files = path.join(root, 'files')
const graph = path.join(root, 'memory.jsonl')
const modules = path.resolve(import.meta.dirname, '../../node_modules')
const bin = (name: string): string => path.join(modules, '.bin', name)

const visits: string[] = []
const web = createServer((request, response) => {
  visits.push(request.url ?? '')
  response.setHeader('content-type', 'text/html').end(`<title>${request.url === '/honest' ? 'an honest page' : 'another page'}</title>`)
})
let origin = ''

interface Call {
  readonly tool: string
  readonly args: Record<string, unknown>
}
interface RealServer {
  readonly name: string
  /** The program and its arguments. */
  readonly command: () => readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** How it is started to serve over HTTP at this port, where it offers that. */
  readonly http?: (port: number) => { readonly words: readonly string[]; readonly env?: Readonly<Record<string, string>> }
  readonly honest: () => Call & { readonly shows: string }
  readonly forbidden: () => Call
  /** All that the forbidden call could have done. */
  readonly effects?: () => string
  readonly isVoid?: boolean
}

const contents = (folder: string): string => fs.readdirSync(folder).sort().map((name) => `${name}=${fs.readFileSync(path.join(folder, name), 'utf8')}`).join('|')

const SERVERS: readonly RealServer[] = [
  {
    name: 'filesystem',
    command: () => [bin('mcp-server-filesystem'), files],
    honest: () => ({ tool: 'read_text_file', args: { path: path.join(files, 'q3.txt') }, shows: 'revenue grew' }),
    forbidden: () => ({ tool: 'write_file', args: { path: path.join(files, 'x.txt'), content: 'x' } }),
    effects: () => contents(files),
  },
  {
    name: 'everything',
    command: () => [bin('mcp-server-everything')],
    http: (port) => ({ words: ['streamableHttp'], env: { PORT: `${port}` } }),
    honest: () => ({ tool: 'echo', args: { message: 'hello there' }, shows: 'hello there' }),
    forbidden: () => ({ tool: 'get-env', args: {} }),
  },
  {
    name: 'memory',
    command: () => [bin('mcp-server-memory')],
    env: { MEMORY_FILE_PATH: graph },
    honest: () => ({ tool: 'read_graph', args: {}, shows: 'a remembered thing' }),
    forbidden: () => ({ tool: 'create_entities', args: { entities: [{ name: 'planted', entityType: 'thing', observations: [] }] } }),
    effects: () => fs.readFileSync(graph, 'utf8'),
  },
  {
    name: 'sequential-thinking',
    command: () => [bin('mcp-server-sequential-thinking')],
    honest: () => ({ tool: 'sequentialthinking', args: { thought: 'first', nextThoughtNeeded: true, thoughtNumber: 1, totalThoughts: 2 }, shows: '"thoughtHistoryLength": 1' }),
    forbidden: () => ({ tool: 'sequentialthinking', args: { thought: 'branched', nextThoughtNeeded: true, thoughtNumber: 2, totalThoughts: 2, branchFromThought: 1, branchId: 'b' } }),
  },
  {
    name: 'browser',
    command: () => [bin('playwright-mcp'), '--headless', '--isolated', '--no-sandbox', '--executable-path', `/usr/bin/${CHROMIUM ?? ''}`, '--output-dir', path.join(root, 'browser')],
    http: (port) => ({ words: ['--port', `${port}`, '--allowed-hosts', '*'] }),
    honest: () => ({ tool: 'browser_navigate', args: { url: `${origin}/honest` }, shows: 'an honest page' }),
    forbidden: () => ({ tool: 'browser_navigate', args: { url: `${origin}/secret` } }),
    effects: () => visits.filter((url) => url === '/secret').join('|'),
    isVoid: CHROMIUM === undefined && !IS_BROWSER_REQUIRED,
  },
]

const policy = (): string => `
@id("reads") permit (principal, action == Action::"mcp.tool_call", resource) when {
  [Tool::"mcp://filesystem/read_text_file", Tool::"mcp://everything/echo", Tool::"mcp://memory/read_graph"].contains(resource)
};
@id("thinks") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://sequential-thinking/sequentialthinking") unless { context.args has branchId };
@id("visits") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://browser/browser_navigate") when { context.args has url && context.args.url == "${origin}/honest" };
`

let plane: PermittingPlane
beforeAll(async () => {
  fs.mkdirSync(files)
  fs.writeFileSync(path.join(files, 'q3.txt'), 'revenue grew')
  fs.writeFileSync(graph, `${JSON.stringify({ type: 'entity', name: 'a remembered thing', entityType: 'thing', observations: ['seen'] })}\n`)
  await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve))
  origin = `http://127.0.0.1:${(web.address() as AddressInfo).port}`
  plane = await new PermittingPlane().start(policy(), (schema) => schema.replace('type Arguments = {', 'type Arguments = {\n  url?: String,\n  branchId?: String,'))
})
afterAll(async () => {
  await plane.end()
  web.close()
  fs.rmSync(root, { recursive: true, force: true })
})

/** A tool that could never be permitted is as one that is not there. */
const REFUSED = ['policy_no_match', 'policy_denied', 'tool_not_pinned']
const denial = (result: Record<string, unknown>): string | undefined => (result['_meta'] as { 'sealwrit/denial'?: { code: string } } | undefined)?.['sealwrit/denial']?.code

/** Waits until something listens at `port`. */
async function listens(port: number): Promise<void> {
  for (let i = 0; i < 300; i++) {
    if (await fetch(`http://127.0.0.1:${port}/`).then(() => true, () => false)) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error(`nothing listens at ${port}`)
}
/** Beside calls a server gets lists, and answers to its own pings. */
const callsIn = (received: string): number => fs.readFileSync(received, 'utf8').split('\n').filter((line) => line.includes('"method":"tools/call"')).length

describe.each(SERVERS)('$name, as it is in the registry', ({ name, command, env = {}, http, honest, forbidden, effects, isVoid }) => {
  const attempt = async (words: readonly string[], received: string): Promise<void> => {
    const client = new Client({ name: 'real-servers', version: '1' })
    await client.connect(new StdioClientTransport({ command: process.execPath, args: gatewayWords(plane.dir, name, words), env: { ...(process.env as Record<string, string>), ...env }, stderr: 'ignore' }))
    try {
      const [good, bad] = [honest(), forbidden()]
      expect((await client.listTools()).tools.map((tool) => tool.name)).toContain(good.tool)
      const first = await client.callTool({ name: good.tool, arguments: good.args })
      expect([denial(first), JSON.stringify(first).replaceAll('\\"', '"')]).toEqual([undefined, expect.stringContaining(good.shows)])
      const before = effects?.()
      expect(callsIn(received)).toBe(1)
      expect(REFUSED).toContain(denial(await client.callTool({ name: bad.tool, arguments: bad.args })))
      expect(callsIn(received), 'calls that reached the server').toBe(1)
      expect(effects?.()).toBe(before)
      expect(denial(await client.callTool({ name: good.tool, arguments: good.args }))).toBeUndefined()
      expect(callsIn(received)).toBe(2)
    } finally {
      await client.close()
    }
  }

  it.skipIf(isVoid)('over stdio: lists its tools, does what is permitted, and gets nothing of what is not (I1)', async () => {
    const received = path.join(root, `${name}.received`)
    await attempt([...Object.keys(env).flatMap((variable) => ['--env', variable]), '--', process.execPath, path.resolve(import.meta.dirname, '../support/record.mjs'), received, ...command()], received)
  }, 90_000)

  it.skipIf(isVoid || http === undefined)('over HTTP: the same', async () => {
    const [port, received] = [await freePort(), path.join(root, `${name}.received-over-http`)]
    const { words, env: more } = (http as NonNullable<typeof http>)(port)
    const child = spawn(process.execPath, [...command(), ...words], { env: { ...process.env, ...more }, stdio: 'ignore' })
    const recorder = await passThrough(new URL(`http://127.0.0.1:${port}/mcp`), { body: (bytes) => fs.appendFileSync(received, Buffer.concat([bytes, Buffer.from('\n')])) })
    try {
      await listens(port)
      await attempt(['--url', recorder.url], received)
    } finally {
      recorder.close()
      await end(child)
    }
  }, 90_000)
})
