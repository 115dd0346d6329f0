import type { JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Bench, codeOf, honest, meta, type ServerScript, stateless } from './support/bench.ts'

const reply = (message: Parameters<ServerScript>[0], result: object): string => JSON.stringify({ jsonrpc: '2.0', id: message.id, result })
const told = (bench: Bench, method: string): number => bench.received.filter((line) => line.includes(`"method":"${method}"`)).length
async function eventually(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 200 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 5))
  expect(holds()).toBe(true)
}

const killAll = (bench: Bench): number => bench.gate.leases.prohibit({ kind: 'kill', event: 'killed', selector: 'all', by: 'user:1', seq: 1_000 })

describe('a call that its client took back', () => {
  const silent: ServerScript = (message, send) => (message.method === 'tools/call' ? undefined : honest()(message, send))
  async function takenBack(): Promise<Bench> {
    const bench = await new Bench({ script: silent }).initialize()
    bench.raw('{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"read_file","arguments":{}}}\n')
    await eventually(() => bench.calls().length === 1)
    bench.raw('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}\n')
    await eventually(() => told(bench, 'notifications/cancelled') === 1)
    await eventually(() => bench.gate.leases.running === 0)
    return bench
  }

  it('does not evade a kill: its server is ended, since nothing else shows that it stopped', async () => {
    const bench = await takenBack()
    expect(killAll(bench)).toBe(1)
    expect(bench.closedFor).toContain('taken back')
  })

  it('ends no server that nothing forbids', async () => {
    const bench = await takenBack()
    expect(bench.gate.leases.prohibit({ kind: 'kill', event: 'killed', selector: 'target:mcp:other', by: 'user:1', seq: 1_000 })).toBe(0)
    expect(bench.closedFor).toBeUndefined()
  })
})

describe('a subscription', () => {
  it('ends when its permit is killed: the server is told', async () => {
    const bench = await new Bench().initialize()
    expect(codeOf(await bench.request('resources/subscribe', { uri: 'x:y' }))).toBe('ran')
    await eventually(() => bench.gate.leases.running === 0)
    expect(killAll(bench)).toBe(1)
    await eventually(() => told(bench, 'resources/unsubscribe') === 1)
    expect(killAll(bench)).toBe(0)
  })

  it('that its client ended is watched no longer', async () => {
    const bench = await new Bench().initialize()
    await bench.request('resources/subscribe', { uri: 'x:y' })
    await bench.request('resources/unsubscribe', { uri: 'x:y' })
    await eventually(() => told(bench, 'resources/unsubscribe') === 1)
    await bench.settle()
    expect(killAll(bench)).toBe(0)
  })

  it('of a stateless client ends when one of its permits is killed', async () => {
    const bench = new Bench()
    await bench.gate.connect()
    const listening = bench.ask('subscriptions/listen', { notifications: { resourceSubscriptions: ['x:y'] } })
    await eventually(() => told(bench, 'resources/subscribe') === 1)
    await bench.settle()
    expect(killAll(bench)).toBe(1)
    await listening
    await eventually(() => told(bench, 'resources/unsubscribe') === 1)
  })

  it('that its client takes back while it is being made is over, and the server is told', async () => {
    let answer = (): void => undefined
    const script: ServerScript = (message, send) => {
      if (message.method === 'resources/subscribe') answer = () => send(reply(message, {}))
      else honest()(message, send)
    }
    const bench = new Bench({ script })
    await bench.gate.connect()
    const ends = new AbortController()
    const seat = bench.servers[0]?.openSeat({ notify: () => undefined, ask: () => Promise.reject(new Error('none')), ended: () => undefined })
    const listening = seat?.request({ id: 's', method: 'subscriptions/listen', params: { notifications: { resourceSubscriptions: ['x:y'] }, _meta: meta() }, client: { revision: '2026-07-28', name: 'c', version: '1', capabilities: {} }, signal: ends.signal, notify: () => undefined })
    await eventually(() => told(bench, 'resources/subscribe') === 1)
    ends.abort()
    answer()
    await listening
    await eventually(() => told(bench, 'resources/unsubscribe') === 1)
  })

  it('that the server ends before it acknowledged it is refused', async () => {
    const bench = new Bench({ script: stateless((method) => (method === 'subscriptions/listen' ? {} : undefined)) })
    await bench.gate.connect()
    expect(codeOf(await bench.ask('subscriptions/listen', { notifications: { toolsListChanged: true } }))).toBe('unavailable')
  })

  it('that the server refuses is refused, and its receipt says so', async () => {
    const script: ServerScript = (message, send) => {
      if (message.method === 'resources/subscribe') return send(JSON.stringify({ jsonrpc: '2.0', id: message.id, error: { code: -32602, message: 'no such resource' } }))
      honest()(message, send)
    }
    const bench = await new Bench({ script }).initialize()
    expect(codeOf(await bench.request('resources/subscribe', { uri: 'x:y' }))).not.toBe('ran')
    await bench.settle()
    const outcomes = bench.plane.entries.flatMap((e) => (e.kind === 'receipt' ? [(JSON.parse(Buffer.from(e.receipt.split('.')[1] as string, 'base64url').toString()) as JsonObject)['outcome']] : []))
    expect(outcomes).toEqual(['failed'])
  })

  it('to lists begins once, however often a client says that it is initialized', async () => {
    const bench = await new Bench().initialize()
    for (let i = 0; i < 100; i++) bench.raw('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    await bench.settle()
    expect(told(bench, 'notifications/initialized')).toBe(1)
    bench.fromServer('{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}\n')
    await bench.settle()
    expect(bench.answers.filter((a) => a['method'] === 'notifications/tools/list_changed')).toHaveLength(1)
    expect(codeOf(await bench.request('resources/subscribe', { uri: 'x:y' }))).toBe('ran')
  })

  it('is not begun by who has no session', async () => {
    const bench = new Bench()
    await bench.gate.connect()
    await bench.ask('tools/list')
    const before = told(bench, 'notifications/initialized')
    bench.raw('{"jsonrpc":"2.0","method":"notifications/initialized"}\n')
    await bench.settle()
    expect(told(bench, 'notifications/initialized')).toBe(before)
  })
})

describe('tasks', () => {
  const CAPABLE = { protocolVersion: '2025-11-25', capabilities: { tools: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }, serverInfo: { name: 's', version: '1' } }
  const serving = (status: (id: string) => string, get: (message: Parameters<ServerScript>[0], send: Parameters<ServerScript>[1]) => boolean = () => false): ServerScript => {
    let next = 0
    return (message, send) => {
      const { taskId } = (message.params ?? {}) as { taskId?: string }
      if (message.method === 'initialize') return send(reply(message, CAPABLE))
      if (message.method === 'tools/call') return send(reply(message, { task: { taskId: `t${next++}`, status: 'working' } }))
      if (message.method === 'tasks/get') return get(message, send) ? undefined : send(reply(message, { taskId, status: status(taskId as string), pollInterval: 5_000 }))
      if (message.method === 'tasks/cancel') return send(reply(message, { taskId, status: 'cancelled' }))
      honest()(message, send)
    }
  }
  const begin = (bench: Bench): Promise<JsonObject> => bench.request('tools/call', { name: 'read_file', arguments: {}, task: {} })

  it('that ended make room for others: more than are remembered can be begun one after another', async () => {
    const bench = await new Bench({ script: serving(() => 'completed') }).initialize()
    for (let i = 0; i < 260; i++) expect(codeOf(await begin(bench)), `${i}`).toBe('ran')
    await eventually(() => bench.plane.entries.filter(({ kind }) => kind === 'receipt').length === 260)
    expect(codeOf(await bench.request('tasks/get', { taskId: 't259' }))).toBe('ran')
  }, 60_000)

  it.each([255, 256, 257])('of %i that are to run at once the 257th is refused before the server hears of it', async (count) => {
    const bench = await new Bench({ script: serving(() => 'working') }).initialize()
    const answers: JsonObject[] = []
    for (let i = 0; i < count; i++) answers.push(await begin(bench))
    expect(answers.filter((answer) => codeOf(answer) === 'ran')).toHaveLength(Math.min(count, 256))
    expect(told(bench, 'tools/call')).toBe(Math.min(count, 256))
  }, 60_000)

  it('are cancelled at once where they may not go on, though the server is being asked about them', async () => {
    const bench = await new Bench({ script: serving(() => 'working', () => true) }).initialize()
    await begin(bench)
    await eventually(() => told(bench, 'tasks/get') === 1)
    bench.gate.leases.prohibit({ kind: 'kill', event: 'killed', selector: 'all', by: 'user:1', seq: 1_000 })
    await eventually(() => told(bench, 'tasks/cancel') === 1)
  })

  it('of which the server does not say how they stand are cancelled', async () => {
    const bench = await new Bench({ script: serving(() => 'working', (message, send) => (send(JSON.stringify({ jsonrpc: '2.0', id: message.id, error: { code: -32603, message: 'busy' } })), true)) }).initialize()
    await begin(bench)
    await eventually(() => told(bench, 'tasks/cancel') === 1)
  })
})
