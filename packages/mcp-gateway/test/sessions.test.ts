import type { JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Bench, codeOf, honest, type ServerScript, TOOL } from './support/bench.ts'

/** An honest server that also answers these methods, and does something besides when it is called. */
const withAnswers = (answers: Record<string, object>, besides: (message: Parameters<ServerScript>[0], send: Parameters<ServerScript>[1]) => void = () => undefined): ServerScript => (message, send) => {
  besides(message, send)
  const result = answers[message.method ?? '']
  if (result !== undefined && message.id !== undefined) return send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }))
  honest()(message, send)
}
const asking = (method: string, params: object, id: number | string = 900): ServerScript => withAnswers({}, (message, send) => void (message.method === 'tools/call' && send(JSON.stringify({ jsonrpc: '2.0', id, method, params }))))
const answerTo = (bench: Bench, id: string | number): string | undefined => bench.received.findLast((line) => !line.includes('"method"') && line.includes(`"id":${JSON.stringify(id)}`))
const permitted = (bench: Bench): string[] => bench.plane.entries.flatMap((e) => (e.kind === 'permit' ? [e.scope.type] : []))
const receipts = (bench: Bench): number => bench.plane.entries.filter(({ kind }) => kind === 'receipt').length

describe('what a server with sessions asks of its client', () => {
  it.each<[string, JsonObject, JsonObject, string]>([
    ['sampling/createMessage', { messages: [], maxTokens: 10 }, { role: 'assistant', content: { type: 'text', text: 'hi' }, model: 'm' }, 'mcp.sampling'],
    ['elicitation/create', { mode: 'form', message: 'name?', requestedSchema: { type: 'object', properties: {} } }, { action: 'decline' }, 'mcp.elicitation'],
    ['roots/list', {}, { roots: [{ uri: 'file:///w' }] }, 'mcp.roots'],
  ])('%s reaches it under a permit of its own, with the canonical request, and the answer goes back', async (method, params, result, type) => {
    const bench = await new Bench({ script: asking(method, params) }).initialize()
    void bench.call()
    const question = await bench.told(method)
    expect(question['params']).toEqual(params)
    expect(question['id']).not.toBe(900)
    bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id: question['id'], result })}\n`)
    for (let i = 0; i < 200 && answerTo(bench, 900) === undefined; i++) await bench.settle()
    expect(JSON.parse(answerTo(bench, 900) as string)).toEqual({ id: 900, jsonrpc: '2.0', result })
    expect(permitted(bench)).toContain(type)
    await bench.settle()
    expect(receipts(bench)).toBe(2)
  })

  it('ATK-094: what the client did not offer is refused, whatever policy says', async () => {
    const bench = new Bench({ script: asking('sampling/createMessage', {}) })
    await bench.gate.connect()
    await bench.request('initialize', { protocolVersion: '2025-11-25', capabilities: { roots: {} }, clientInfo: { name: 'c', version: '1' } })
    await bench.call()
    await bench.settle()
    expect(answerTo(bench, 900)).toContain('method_unknown')
    expect(bench.answers.some((a) => 'method' in a)).toBe(false)
    expect(permitted(bench)).toEqual(['mcp.tool_call'])
  })

  it('ATK-094: a server that asks for it again and again does not fill the log', async () => {
    const script = withAnswers({}, (message, send) => {
      if (message.method === 'tools/call') for (let i = 0; i < 2_000; i++) send(JSON.stringify({ jsonrpc: '2.0', id: 1_000 + i, method: 'evil/ask', params: {} }))
    })
    const bench = await new Bench({ script }).initialize()
    await bench.call()
    for (let i = 0; i < 200 && answerTo(bench, 2_999) === undefined; i++) await bench.settle()
    await bench.settle()
    expect(bench.denials().filter((code) => code === 'method_unknown').length).toBeLessThanOrEqual(600)
    expect(codeOf(await bench.call())).toBe('ran')
  })

  it('ATK-095: an answer of the client to what nobody asked, twice, or under another id is dropped and recorded', async () => {
    const bench = await new Bench({ script: asking('roots/list', {}) }).initialize()
    void bench.call()
    const { id } = await bench.told('roots/list')
    for (const wrong of [4_711, String(id)]) bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id: wrong, result: { roots: ['wrong'] } })}\n`)
    bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id, result: { roots: [] } })}\n`)
    bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id, result: { roots: ['again'] } })}\n`)
    await bench.settle()
    expect(bench.received.filter((line) => line.includes('"id":900'))).toEqual(['{"id":900,"jsonrpc":"2.0","result":{"roots":[]}}'])
    expect(bench.denials().filter((code) => code === 'method_unknown')).toHaveLength(3)
  })

  it('a question that the server takes back is cancelled at the client, and not answered', async () => {
    const bench = await new Bench({ script: asking('roots/list', {}, 'q') }).initialize()
    void bench.call()
    const { id } = await bench.told('roots/list')
    bench.fromServer('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"q"}}\n')
    expect((await bench.told('notifications/cancelled'))['params']).toMatchObject({ requestId: id })
    await bench.settle()
    expect(answerTo(bench, 'q')).toBeUndefined()
  })

  it('bounds how much a server may ask at once', async () => {
    const script = withAnswers({}, (message, send) => {
      if (message.method === 'tools/call') for (let i = 0; i < 40; i++) send(JSON.stringify({ jsonrpc: '2.0', id: 1_000 + i, method: 'roots/list', params: {} }))
    })
    const bench = await new Bench({ script }).initialize()
    await bench.call()
    await bench.settle()
    expect(bench.answers.filter((a) => a['method'] === 'roots/list').length).toBeLessThanOrEqual(16)
    expect(bench.denials()).toContain('overloaded')
  })
})

describe('tasks', () => {
  const TASKS = { initialize: { protocolVersion: '2025-11-25', capabilities: { tools: {}, tasks: { list: {}, cancel: {}, requests: { tools: { call: {} } } } }, serverInfo: { name: 's', version: '1' } } }
  const withTask = (status: () => string): ServerScript => (message, send) => {
    const task = { taskId: 't1', status: status(), pollInterval: 1 }
    const reply = (result: object): void => send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result }))
    if (message.method === 'tools/call' && (message.params as JsonObject)['task'] !== undefined) return reply({ task })
    if (message.method === 'tasks/get') return reply(task)
    if (message.method === 'tasks/list') return reply({ tasks: [task, { taskId: 'of somebody else', status: 'working' }] })
    if (message.method === 'tasks/result') return reply({ content: [] })
    if (message.method === 'tasks/cancel') return reply({ ...task, status: 'cancelled' })
    withAnswers(TASKS)(message, send)
  }
  const begin = (bench: Bench): Promise<JsonObject> => bench.request('tools/call', { name: 'read_file', arguments: {}, task: { ttl: 60_000 } })

  it('a call that begins one is answered at once, and its execution lasts until the task ends', async () => {
    let status = 'working'
    const bench = await new Bench({ script: withTask(() => status) }).initialize()
    expect((await begin(bench))['result']).toMatchObject({ task: { taskId: 't1' } })
    await bench.settle()
    expect(receipts(bench)).toBe(0)
    status = 'completed'
    for (let i = 0; i < 200 && receipts(bench) === 0; i++) await bench.settle()
    expect(receipts(bench)).toBe(1)
    expect(codeOf(await bench.request('tasks/result', { taskId: 't1' }))).toBe('ran')
    expect(permitted(bench)).toEqual(['mcp.tool_call', 'mcp.task'])
  })

  it('a revocation while it runs cancels it at the server', async () => {
    const bench = await new Bench({ script: withTask(() => 'working') }).initialize()
    await begin(bench)
    await bench.settle()
    bench.gate.leases.prohibit({ kind: 'kill', event: 'killed', selector: 'all', by: 'user:1', seq: 1_000 })
    for (let i = 0; i < 200 && !bench.received.some((line) => line.includes('tasks/cancel')); i++) await bench.settle()
    expect(bench.received.find((line) => line.includes('tasks/cancel'))).toContain('"taskId":"t1"')
  })

  it('ATK-101: a task of somebody else cannot be asked about, and is in no list', async () => {
    const bench = await new Bench({ script: withTask(() => 'completed') }).initialize()
    await begin(bench)
    for (const method of ['tasks/get', 'tasks/result', 'tasks/cancel']) expect(codeOf(await bench.request(method, { taskId: 'of somebody else' })), method).toBe('subject_mismatch')
    expect((await bench.request('tasks/list', {}))['result']).toEqual({ tasks: [{ taskId: 't1', status: 'completed', pollInterval: 1 }] })
    bench.fromServer('{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"of somebody else","status":"completed"}}\n')
    bench.fromServer('{"jsonrpc":"2.0","method":"notifications/tasks/status","params":{"taskId":"t1","status":"completed"}}\n')
    expect((await bench.told('notifications/tasks/status'))['params']).toMatchObject({ taskId: 't1' })
    expect(bench.answers.filter((a) => a['method'] === 'notifications/tasks/status')).toHaveLength(1)
  })

  it('a server without tasks is asked for none', async () => {
    const bench = await new Bench().initialize()
    expect(codeOf(await begin(bench))).toBe('request_malformed')
    expect(codeOf(await bench.request('tasks/get', { taskId: 't1' }))).toBe('method_unknown')
    expect(bench.calls()).toEqual([])
  })
})

describe('what else a client with a session may ask', () => {
  it('completion is an action: its arguments are judged, and only they go on', async () => {
    const asked: JsonObject[] = []
    const decide = (action: JsonObject): 'permit' => {
      asked.push(action)
      return 'permit'
    }
    const bench = await new Bench({ script: withAnswers({ 'completion/complete': { completion: { values: ['a'] } } }), decide }).initialize()
    const params = { ref: { type: 'ref/prompt', name: 'p' }, argument: { name: 'x', value: 'a' } }
    expect((await bench.request('completion/complete', { ...params, _meta: { secret: 1 } }))['result']).toEqual({ completion: { values: ['a'] } })
    expect(asked[0]).toEqual({ type: 'mcp.completion', target: 'mcp://fs', name: 'completion/complete', arguments: params })
    expect(codeOf(await bench.request('completion/complete', { ...params, more: 1 }))).toBe('request_malformed')
    expect(bench.received.at(-1)).not.toContain('secret')
  })

  it('a resource is subscribed to once for all, told of while it is, and not after', async () => {
    const bench = await new Bench({ decide: (action) => ((action['arguments'] as JsonObject)['uri'] === 'x:evil' ? 'policy_denied' : 'permit') }).initialize()
    const update = (uri: string): void => bench.fromServer(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri, payload: 'smuggled' } })}\n`)
    expect(codeOf(await bench.request('resources/subscribe', { uri: 'x:1' }))).toBe('ran')
    expect(codeOf(await bench.request('resources/subscribe', { uri: 'x:evil' }))).toBe('policy_denied')
    update('x:evil')
    update('x:1')
    expect((await bench.told('notifications/resources/updated'))['params']).toEqual({ uri: 'x:1' })
    expect(codeOf(await bench.request('resources/unsubscribe', { uri: 'x:1' }))).toBe('ran')
    update('x:1')
    await bench.settle()
    expect(bench.answers.filter((a) => a['method'] === 'notifications/resources/updated')).toHaveLength(1)
    expect(bench.received.filter((line) => line.includes('resources/unsubscribe'))).toHaveLength(1)
  })

  it('a log level goes on as one of the known ones, and messages come back', async () => {
    const bench = await new Bench({ script: withAnswers({ 'logging/setLevel': {} }) }).initialize()
    expect(codeOf(await bench.request('logging/setLevel', { level: 'info' }))).toBe('ran')
    expect(codeOf(await bench.request('logging/setLevel', { level: 'everything' }))).toBe('request_malformed')
    bench.fromServer('{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"x"}}\n')
    expect((await bench.told('notifications/message'))['params']).toEqual({ level: 'info', data: 'x' })
  })
})

describe('while a call runs', () => {
  it('a cancelled call is cancelled at the server, and its late result is dropped and recorded with what it was', async () => {
    let late: (() => void) | undefined
    const script: ServerScript = (message, send) => {
      if (message.method !== 'tools/call') return honest()(message, send)
      late = () => send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { content: [{ type: 'text', text: 'too late' }] } }))
    }
    const bench = await new Bench({ script }).initialize()
    bench.raw('{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"read_file","arguments":{}}}\n')
    for (let i = 0; i < 100 && late === undefined; i++) await bench.settle()
    bench.raw('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}\n')
    await bench.settle()
    expect(bench.received.at(-1)).toContain('notifications/cancelled')
    late?.()
    await bench.settle()
    expect(JSON.stringify(bench.answers)).not.toContain('too late')
    expect(bench.plane.entries.flatMap((e) => (e.kind === 'deny' ? [`${e.code} ${e.scope?.name ?? ''}`] : []))).toEqual(['unavailable read_file'])
    expect(receipts(bench)).toBe(1)
  })

  it('a result beyond its limit is recorded and not passed on; one of just that length is', async () => {
    const text = (length: number): object => ({ content: [{ type: 'text', text: 'x'.repeat(length) }] })
    const [limit, overhead] = [500, JSON.stringify(text(0)).length]
    for (const more of [0, 1]) {
      const bench = await new Bench({ script: withAnswers({ 'tools/call': text(limit - overhead + more) }), maxResultBytes: limit }).initialize()
      expect(codeOf(await bench.call()), `${more}`).toBe(more === 0 ? 'ran' : 'limit_exceeded')
      await bench.settle()
      expect(receipts(bench)).toBe(1)
    }
  })

  it('says of a hold how it is approved, where an agent reads it', async () => {
    const bench = await new Bench({ decide: () => 'hold' }).initialize()
    const result = (await bench.call())['result'] as { structuredContent: JsonObject; content: { text: string }[] }
    expect(result.structuredContent).toMatchObject({ code: 'approval_required', approve: `sealwrit approve ${result.structuredContent['hold'] as string}` })
    expect(result.content[0]?.text).toContain('A person approves it with')
    expect(TOOL.name).toBe('read_file')
  })
})

describe('progress of a call that was ended', () => {
  it('is dropped, and no reason to end the server', async () => {
    const bench = await new Bench({ script: (message, send) => (message.method === 'tools/call' && (message.params as JsonObject)['_meta'] !== undefined ? undefined : honest()(message, send)) }).initialize()
    bench.raw('{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"read_file","arguments":{},"_meta":{"progressToken":"p"}}}\n')
    for (let i = 0; i < 100 && bench.calls().length === 0; i++) await bench.settle()
    const token = (JSON.parse(bench.calls()[0] as string) as JsonObject)['id']
    bench.raw('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c"}}\n')
    await bench.settle()
    for (let i = 0; i < 1_100; i++) bench.fromServer(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: token, progress: i } })}\n`)
    await bench.settle()
    expect(bench.closedFor).toBeUndefined()
    expect(codeOf(await bench.call())).toBe('ran')
    expect(bench.answers.some((a) => a['method'] === 'notifications/progress')).toBe(false)
  })
})
