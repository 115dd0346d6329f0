import * as fs from 'node:fs'
import * as net from 'node:net'
import * as path from 'node:path'
import { MAX_SOCKET_PATH, serveSocket, SocketError } from '@sealwrit/control-plane'
import type { JsonObject } from '@sealwrit/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Rig, TestGate } from './support/rig.ts'

let rig: Rig
let server: { close(): Promise<void> }
let socketPath: string
const clients: net.Socket[] = []

beforeEach(async () => {
  rig = await Rig.open()
  socketPath = path.join(rig.folder, 'plane.sock')
  server = await serveSocket(rig.plane, socketPath)
})
afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy()
  await server.close()
  await rig.remove()
})

/** One connection that sends raw bytes and collects answer lines. */
async function connect(): Promise<{ send: (bytes: string | Buffer) => void; line: () => Promise<JsonObject>; closed: Promise<void> }> {
  const client = net.connect({ path: socketPath })
  clients.push(client)
  const lines: string[] = []
  const waiting: ((line: string) => void)[] = []
  let rest = ''
  client.on('data', (chunk) => {
    const parts = (rest + chunk.toString('utf8')).split('\n')
    rest = parts.pop() as string
    for (const part of parts) (waiting.shift() ?? ((line: string) => lines.push(line)))(part)
  })
  client.on('error', () => undefined)
  const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
  await new Promise<void>((resolve, reject) => client.once('connect', resolve).once('error', reject))
  return {
    send: (bytes) => client.write(bytes),
    line: () => new Promise<string>((resolve) => (lines.length > 0 ? resolve(lines.shift() as string) : waiting.push(resolve))).then((text) => JSON.parse(text) as JsonObject),
    closed,
  }
}
const call = (id: number, method: string, params: unknown = {}): string => `${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`
const codeOf = (answer: JsonObject): unknown => ((answer['error'] as JsonObject)['data'] as JsonObject)['code']

describe('the plane’s socket', () => {
  it('is 0600 from its first moment, and removed when the plane ends', async () => {
    expect(fs.statSync(socketPath).mode & 0o777).toBe(0o600)
    await server.close()
    expect(fs.existsSync(socketPath)).toBe(false)
    server = await serveSocket(rig.plane, socketPath)
  })
  it('takes over a stale socket, and leaves a live one and other files alone', async () => {
    await expect(serveSocket(rig.plane, socketPath)).rejects.toThrow(/another plane answers/)
    const stale = path.join(rig.folder, 'stale.sock')
    const dead = net.createServer().listen(stale)
    await new Promise((resolve) => dead.once('listening', resolve))
    const copy = path.join(rig.folder, 'kept.sock')
    fs.linkSync(stale, copy) // what a killed process leaves behind: the file without its listener
    await new Promise((resolve) => dead.close(resolve))
    const second = await serveSocket(rig.plane, copy)
    await second.close()
    const file = path.join(rig.folder, 'file.sock')
    fs.writeFileSync(file, 'precious')
    await expect(serveSocket(rig.plane, file)).rejects.toThrow(SocketError)
    expect(fs.readFileSync(file, 'utf8')).toBe('precious')
  })
  it('says what to do about a path that the system cannot hold', async () => {
    const long = path.join(rig.folder, 'x'.repeat(MAX_SOCKET_PATH))
    await expect(serveSocket(rig.plane, long)).rejects.toThrow(/longer than the \d+ bytes .* use --dir/)
  })

  it.each<[string, string, string]>([
    ['no JSON', 'hello\n', 'request_malformed'],
    ['a batch', `[${call(1, 'status').trim()}]\n`, 'request_malformed'],
    ['a member twice', '{"jsonrpc":"2.0","id":1,"id":2,"method":"status","params":{}}\n', 'request_malformed'],
    ['id null', '{"jsonrpc":"2.0","id":null,"method":"status","params":{}}\n', 'request_malformed'],
    ['a notification', '{"jsonrpc":"2.0","method":"status","params":{}}\n', 'request_malformed'],
    ['an unknown member', '{"jsonrpc":"2.0","id":1,"method":"status","params":{},"x":1}\n', 'request_malformed'],
    ['an unknown method', call(1, 'no.such'), 'method_unknown'],
    ['a method of Object', call(1, 'constructor'), 'method_unknown'],
    ['__proto__ as method', call(1, '__proto__'), 'method_unknown'],
    ['params that are none', call(1, 'authorize', []), 'request_malformed'],
    ['a number beyond 2^53', '{"jsonrpc":"2.0","id":9007199254740993,"method":"status","params":{}}\n', 'arguments_not_canonical'],
    ['depth 10^5', `{"jsonrpc":"2.0","id":1,"method":"status","params":${'['.repeat(100_000)}\n`, 'limit_exceeded'],
    ['bad UTF-8', '', 'encoding_invalid'],
  ])('ATK-020, ATK-021: %s is refused with its code, and the connection goes on', async (name, line, code) => {
    const client = await connect()
    client.send(name === 'bad UTF-8' ? Buffer.from([0x22, 0xc0, 0xaf, 0x22, 0x0a]) : line)
    expect(codeOf(await client.line())).toBe(code)
    client.send(call(2, 'status'))
    expect(await client.line()).toMatchObject({ id: 2, result: { tenant: 'default' } })
  })
  it('ATK-085: a line without end is refused at its limit, and its memory given back', async () => {
    const client = await connect()
    const before = process.memoryUsage().rss
    const mebibyte = Buffer.alloc(1_048_576, 0x61)
    for (let i = 0; i < 64; i++) client.send(mebibyte)
    expect(codeOf(await client.line())).toBe('limit_exceeded')
    await client.closed
    expect(process.memoryUsage().rss - before).toBeLessThan(200 * 1_048_576)
    const next = await connect()
    next.send(call(1, 'status'))
    expect(await next.line()).toMatchObject({ id: 1 })
  })

  it('ATK-049: a connection speaks only for the session that it opened itself', async () => {
    const gate = new TestGate(rig)
    const [owner, thief] = [await connect(), await connect()]
    owner.send(call(1, 'gates.enrol', gate.enrolment()))
    expect(await owner.line()).toMatchObject({ id: 1, result: { epoch: 1 } })
    const tools = { session: gate.session, target: 'mcp://fs', tools: [{ name: 'read_file', digest: `sha256:${'a'.repeat(64)}` }] }
    owner.send(call(2, 'tools.record', tools))
    await owner.line()
    await rig.plane.tools.pin({ target: 'mcp://fs', tools: tools.tools }, rig.plane.sub)
    for (const [method, params] of [['authorize', gate.request()], ['tools.record', tools], ['tools.permissible', { session: gate.session, agent: { name: 'x', verified: false }, target: 'mcp://fs', scopes: [] }], ['identity.verify', { session: gate.session, token: 'x', audience: 'y' }], ['receipts', { session: gate.session, receipt: 'x' }], ['denials', { session: gate.session, denial: 'x' }]] as const) {
      thief.send(call(3, method, params))
      expect(codeOf(await thief.line()), method).toBe('identity_invalid')
    }
    owner.send(call(4, 'authorize', gate.request()))
    expect(await owner.line()).toMatchObject({ id: 4, result: { decision: 'permit' } })
  })
  it('answers hundreds of requests of one write, each once', async () => {
    const client = await connect()
    client.send(Array.from({ length: 500 }, (_, id) => call(id, 'status')).join(''))
    const ids = new Set<unknown>()
    for (let i = 0; i < 500; i++) ids.add((await client.line())['id'])
    expect(ids.size).toBe(500)
  })
  it('explains a decision without logging it', async () => {
    const client = await connect()
    const { size } = rig.plane.log
    client.send(call(1, 'decide', { action: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'x', arguments: {}, tool_digest: `sha256:${'a'.repeat(64)}` } }))
    expect(await client.line()).toMatchObject({ result: { decision: 'permit', policy: { determining: ['test/0'] } } })
    expect(rig.plane.log.size).toBe(size)
  })
})
