import { spawnSync } from 'node:child_process'
import * as http from 'node:http'
import * as net from 'node:net'
import * as path from 'node:path'
import { METHOD_NAMES, ROUTES, serveSocket } from '@sealwrit/control-plane'
import { ADDRESSES, everything, HttpClient, type PlaneClient, PlaneUnreachable, type ServedMethod, SocketClient } from '@sealwrit/control-plane/client'
import { Denied, parseBundle, utf8 } from '@sealwrit/protocol'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Served, TOKEN } from './support/http.ts'
import { TestAgent } from './support/identity.ts'
import { outcome, Rig, type TestGate, toolCall } from './support/rig.ts'

let rig: Rig
let served: Served
let socket: { close(): Promise<void> }
let gate: TestGate
let clients: readonly (readonly [string, PlaneClient<ServedMethod>])[]
beforeAll(async () => {
  rig = await Rig.open('client')
  gate = await rig.gate()
  served = await Served.open(rig.plane)
  socket = await serveSocket(rig.plane, path.join(rig.folder, 'plane.sock'))
  clients = [['its socket', new SocketClient(path.join(rig.folder, 'plane.sock'))], ['HTTP', new HttpClient({ url: `http://127.0.0.1:${served.port}`, token: TOKEN })]]
})
afterAll(async () => {
  for (const [, client] of clients) client.close()
  await socket.close()
  await served.close()
  await rig.remove()
})

describe('a typed client of a plane', () => {
  it('asks the same over the socket and over HTTP, and hears the same', async () => {
    const agent = new TestAgent('coder')
    const answers: unknown[][] = []
    for (const [name, client] of clients) {
      const key = new TestAgent('other').key
      await client.request('agents.add', { agent: `coder-${answers.length}`, key: new TestAgent('coder').key })
      await client.request('agents.add_key', { agent: `coder-${answers.length}`, key, expires: Math.floor(rig.clock.wallMs() / 1_000) + 60 })
      await client.request('agents.remove_key', { agent: `coder-${answers.length}`, key })
      await client.request('agents.remove', { agent: `coder-${answers.length}` })
      const { digest } = await client.request('policies.status', {})
      answers.push([
        await client.request('decide', { action: toolCall(), agent: { name: agent.name, verified: true } }), await client.request('policies.text', { digest }), await client.request('gates.list', { limit: 5 }),
        (await client.request('executions.search', { agent: 'tester' })).executions, (await client.request('status', {})).origin, await outcome(client.request('executions', { id: 'AAAAAAAAAAAAAAAAAAAAAA' })),
        await outcome(client.request('agents.remove', { agent: 'nobody' })), await outcome(client.request('approvals.show', { hold: rig.token() })), (await client.request('nonce', {})).origin,
      ])
      expect(answers.at(-1)?.slice(-4), name).toEqual(['request_malformed', 'identity_unknown', 'approval_required', rig.plane.log.origin])
    }
    expect(answers[0]).toEqual(answers[1])
  })
  it('reads a list to its end, whatever a page holds', async () => {
    for (let i = 0; i < 5; i++) await rig.plane.tools.record({ session: gate.session, target: `mcp://s${i}`, tools: [{ name: 'x', digest: `sha256:${'b'.repeat(64)}` }] })
    for (const [name, client] of clients) {
      const all: string[] = []
      for await (const tool of everything(client.request, 'tools.list', { limit: 2 })) all.push(tool.target)
      expect([name, all]).toEqual([name, ['mcp://fs', 'mcp://fs', ...Array.from({ length: 5 }, (_, i) => `mcp://s${i}`)]])
    }
  })
  it('does not compile where a method, a parameter or the use of an answer is wrong', () => {
    const [, [, client]] = clients as [unknown, (typeof clients)[number]]
    const wrong = (): unknown => [
      // @ts-expect-error no such method
      client.request('agents.lost', {}),
      // @ts-expect-error a number is no name
      client.request('agents.remove', { agent: 7 }),
      // @ts-expect-error the key is missing
      client.request('agents.add', { agent: 'coder' }),
      // @ts-expect-error it is not served over HTTP
      client.request('fsck', { begin: true }),
      // @ts-expect-error no such member in the answer
      client.request('status', {}).then(({ colour }) => colour as unknown),
    ]
    expect(wrong).toBeTypeOf('function')
  })
  it('has an address for every method that HTTP serves, and says the same as the table of routes', () => {
    const served = ROUTES.filter(({ needs, run }) => needs !== undefined && run === undefined).map(({ needs, method, url }) => [needs as string, `${method} ${url}`])
    expect(Object.entries(ADDRESSES).sort()).toEqual(served.sort())
    expect(Object.keys(ADDRESSES).filter((name) => !METHOD_NAMES.includes(name))).toEqual([])
  })
  it('loads neither Fastify nor a database nor a policy engine', () => {
    const code = `import { registerHooks } from 'node:module'; const seen = []; registerHooks({ load(url, context, next) { seen.push(url); return next(url, context) } }); await import('@sealwrit/control-plane/client'); console.log(seen.filter((url) => url.includes('node_modules') || (!url.includes('/client/') && !url.includes('/protocol/') && url.startsWith('file:'))).join('\\n'))`
    const { stdout, stderr, status } = spawnSync(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', '--input-type=module', '-e', code], { cwd: path.resolve(import.meta.dirname, '..'), encoding: 'utf8' })
    expect([status, stdout.trim(), stderr]).toEqual([0, '', ''])
  })

  it('says that no plane answers: nobody there, silence, or somebody else', async () => {
    const silent = net.createServer(() => undefined).listen(path.join(rig.folder, 'silent.sock'))
    const babbler = net.createServer((peer) => void peer.on('error', () => undefined).write('hello\n')).listen(path.join(rig.folder, 'babbler.sock'))
    const page = http.createServer((_request, response) => void response.end('<html>')).listen(0, '127.0.0.1')
    await new Promise((resolve) => page.once('listening', resolve))
    const all: PlaneClient<ServedMethod>[] = [
      new SocketClient(path.join(rig.folder, 'nowhere.sock')), new SocketClient(path.join(rig.folder, 'silent.sock'), 50), new SocketClient(path.join(rig.folder, 'babbler.sock')),
      new HttpClient({ url: 'http://127.0.0.1:1', token: 'x' }), new HttpClient({ url: `http://127.0.0.1:${(page.address() as net.AddressInfo).port}`, token: 'x' }),
    ]
    for (const client of all) {
      await expect(client.request('status', {})).rejects.toThrow(PlaneUnreachable)
      client.close()
    }
    for (const server of [silent, babbler, page]) server.close()
    expect(() => new HttpClient({ url: 'ftp://x', token: 'x' })).toThrow(TypeError)
  })
  it('connects again after the plane was away, and fails what was under way', async () => {
    const file = path.join(rig.folder, 'again.sock')
    const first = await serveSocket(rig.plane, file)
    const client = new SocketClient(file)
    expect((await client.request('status', {})).ready).toBe(true)
    await first.close()
    await expect(client.request('status', {})).rejects.toThrow(PlaneUnreachable)
    const second = await serveSocket(rig.plane, file)
    expect((await client.request('status', {})).ready).toBe(true)
    client.close()
    await second.close()
  })
  it('a wrong token is a denial with its code, and the token is in no message', async () => {
    const client = new HttpClient({ url: `http://127.0.0.1:${served.port}`, token: 'secret-and-wrong' })
    const error = await client.request('status', {}).catch((caught: unknown) => caught)
    expect(error).toBeInstanceOf(Denied)
    expect([(error as Denied).code, String(error)]).toEqual(['identity_invalid', expect.not.stringContaining('secret')])
    client.close()
  })
})

describe('evidence over HTTP', () => {
  it('is the bundle that the socket gives, line by line, and verifies as one', async () => {
    const { permit, leaf } = await gate.permit()
    await gate.report(gate.receiptFor(permit.jti, leaf))
    const answer = await served.ask('GET', `/v1/evidence/${permit.jti}`)
    const bundle = parseBundle(utf8(answer.text))
    expect(bundle.entries.map(({ entry }) => (JSON.parse(entry) as { kind: string }).kind)).toEqual(['gate', 'gate', 'permit', 'receipt']) // its gate's enrolment and session
    const all = parseBundle(utf8((await served.ask('GET', '/v1/evidence/all')).text))
    expect(all.entries).toHaveLength(rig.plane.log.size)
    const linked = parseBundle(utf8((await served.ask('GET', `/v1/evidence/all?since=${encodeURIComponent(bundle.checkpoint)}`)).text))
    expect(linked.checkpoints.length + Number(linked.checkpoint === bundle.checkpoint)).toBe(1)
  })
  it('arrives at the client as it is made, refused as everything else', async () => {
    const [, [, client]] = clients as [unknown, [string, HttpClient]]
    const chunks: Uint8Array[] = []
    for await (const chunk of client.evidence('all')) chunks.push(chunk)
    expect(parseBundle(Buffer.concat(chunks)).entries).toHaveLength(rig.plane.log.size)
    expect(await outcome((async () => { for await (const _chunk of client.evidence('nothing')) continue })())).toBe('request_malformed')
  })
  it.each([['nothing', 400], ['999999', 400], ['AAAAAAAAAAAAAAAAAAAAAA', 400], ['all?since=x', 403], ['all?x=1', 400]])('refuses %s before a byte of it is sent', async (id, status) => {
    const answer = await served.ask('GET', `/v1/evidence/${id}`)
    expect([answer.status, answer.headers['content-type']]).toEqual([status, 'application/problem+json'])
  })
})
