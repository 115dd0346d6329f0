import type { JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Bench, codeOf, honest, meta, type ServerScript, stateless, TOOL } from './support/bench.ts'

const ELICIT = { method: 'elicitation/create', params: { mode: 'form', message: 'your name?', requestedSchema: { type: 'object', properties: {} } } }
const CAPABLE = { elicitation: {}, sampling: {}, roots: {} }
const connected = async (options?: ConstructorParameters<typeof Bench>[0]): Promise<Bench> => {
  const bench = new Bench(options)
  await bench.gate.connect()
  return bench
}
/** Asks for a name once, with a state, and greets when it has it. */
const asking = (requests: JsonObject = { who: ELICIT }, state: string | undefined = 'step=1'): ServerScript =>
  stateless((method, params) => {
    if (method !== 'tools/call') return undefined
    if (params['inputResponses'] !== undefined) return { content: [{ type: 'text', text: JSON.stringify({ inputs: params['inputResponses'], state: params['requestState'] }) }] }
    return { resultType: 'input_required', inputRequests: requests, ...(state === undefined ? {} : { requestState: state }) }
  })
const textOf = (answer: JsonObject): string => (answer['result'] as { content: { text: string }[] }).content[0]?.text as string

describe('the stateless revision, on both sides', () => {
  it('answers server/discover with what it carries, and asks the server once', async () => {
    const bench = await connected({ script: stateless() })
    const result = (await bench.ask('server/discover'))['result']
    expect(result).toMatchObject({ resultType: 'complete', supportedVersions: ['2026-07-28', '2025-11-25'], capabilities: { tools: {}, resources: { subscribe: true }, prompts: {} }, instructions: 'be kind', cacheScope: 'private' })
    await bench.ask('server/discover')
    await bench.ask('tools/list')
    expect(bench.received.filter((line) => line.includes('server/discover'))).toHaveLength(1)
    expect(bench.received.some((line) => line.includes('initialize'))).toBe(false)
  })

  it('stamps every request to the server with what the revision asks, and nothing more of the client’s _meta', async () => {
    const bench = await connected({ script: stateless() })
    await bench.ask('tools/call', { name: 'read_file', arguments: {}, _meta: { progressToken: 'p', secret: 'x', 'com.example/y': 1 } })
    const sent = JSON.parse(bench.calls()[0] as string) as { id: number; params: { _meta: JsonObject } }
    expect(sent.params._meta).toEqual({ ...meta(), progressToken: sent.id })
  })

  it('ATK-104: a list or a resource is for its asker alone, whatever the server says', async () => {
    const bench = await connected({ script: stateless() })
    expect((await bench.ask('tools/list'))['result']).toMatchObject({ ttlMs: 60_000, cacheScope: 'private' })
    expect((await bench.ask('resources/read', { uri: 'x:y' }))['result']).toMatchObject({ cacheScope: 'private' })
  })

  it.each<[string, JsonObject | undefined, number]>([
    ['no _meta', undefined, -32600],
    ['another version', { ...meta(), 'io.modelcontextprotocol/protocolVersion': '2027-01-01' }, -32022],
    ['an older version', { ...meta(), 'io.modelcontextprotocol/protocolVersion': '2025-06-18' }, -32022],
    ['the revision of sessions', { ...meta(), 'io.modelcontextprotocol/protocolVersion': '2025-11-25' }, -32022],
    ['a version that is no text', { ...meta(), 'io.modelcontextprotocol/protocolVersion': 7 }, -32022],
    ['no capabilities', { 'io.modelcontextprotocol/protocolVersion': '2026-07-28' }, -32602],
    ['capabilities that are no object', { ...meta(), 'io.modelcontextprotocol/clientCapabilities': [] }, -32602],
    ['an unknown log level', { ...meta(), 'io.modelcontextprotocol/logLevel': 'all' }, -32602],
    ['client information of another form', { ...meta(), 'io.modelcontextprotocol/clientInfo': 'me' }, -32602],
  ])('refuses a request with %s, and the server hears nothing', async (_name, _meta, code) => {
    const bench = await connected({ script: stateless() })
    const answer = await bench.request('tools/call', { name: 'read_file', arguments: {}, ...(_meta === undefined ? {} : { _meta }) })
    expect(answer['error']).toMatchObject({ code })
    if (code === -32022) expect(answer['error']).toMatchObject({ data: { supported: ['2026-07-28', '2025-11-25'] } })
    expect(bench.received).toEqual([])
  })

  it.each(['initialize', 'ping', 'logging/setLevel', 'resources/subscribe', 'resources/unsubscribe', 'roots/list', 'sampling/createMessage'])('does not know %s', async (method) => {
    const bench = await connected({ script: stateless() })
    const answer = await bench.ask(method, { uri: 'x:y' })
    expect(answer['error']).toMatchObject({ code: -32601 })
    expect(bench.calls()).toEqual([])
  })

  it('a result that says it is something unknown is not passed on', async () => {
    const bench = await connected({ script: stateless((method) => (method === 'tools/call' ? { resultType: 'task', task: {} } : undefined)) })
    expect(codeOf(await bench.ask('tools/call', { name: 'read_file', arguments: {} }))).toBe('type_mismatch')
  })

  it('ATK-094: a request by a server, which this revision does not have, is refused and never reaches the client', async () => {
    const script: ServerScript = (message, send) => {
      if (message.method === 'tools/call') send(JSON.stringify({ jsonrpc: '2.0', id: 900, ...ELICIT }))
      stateless()(message, send)
    }
    const bench = await connected({ script })
    expect(codeOf(await bench.ask('tools/call', { name: 'read_file', arguments: {} }, CAPABLE))).toBe('ran')
    await bench.settle()
    expect(bench.answers.some((a) => 'method' in a)).toBe(false)
    expect(bench.denials()).toContain('method_unknown')
  })

  it('a subscription is acknowledged with what was permitted and agreed to, and brings announcements without content', async () => {
    const listens: number[] = []
    const script: ServerScript = (message, send) => {
      if (message.method !== 'subscriptions/listen') return stateless()(message, send)
      listens.push(message.id as number)
      const tag = { _meta: { 'io.modelcontextprotocol/subscriptionId': message.id } }
      send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/subscriptions/acknowledged', params: { ...tag, notifications: (message.params as JsonObject)['notifications'] } }))
      send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { ...tag, uri: 'x:good', payload: 'smuggled' } }))
      send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { ...tag, uri: 'x:evil' } }))
      send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/prompts/list_changed', params: tag }))
    }
    const bench = await connected({ script, decide: (action) => ((action['arguments'] as JsonObject)['uri'] === 'x:evil' ? 'policy_denied' : 'permit') })
    void bench.request('subscriptions/listen', { notifications: { toolsListChanged: true, resourceSubscriptions: ['x:good', 'x:evil'] }, _meta: meta() }, 'sub').catch(() => undefined)
    const acknowledged = await bench.told('notifications/subscriptions/acknowledged')
    expect(acknowledged['params']).toEqual({ _meta: { 'io.modelcontextprotocol/subscriptionId': 'sub' }, notifications: { toolsListChanged: true, resourceSubscriptions: ['x:good'] } })
    expect((await bench.told('notifications/resources/updated'))['params']).toEqual({ _meta: { 'io.modelcontextprotocol/subscriptionId': 'sub' }, uri: 'x:good' })
    await bench.settle()
    expect(bench.answers.filter((a) => 'method' in a)).toHaveLength(2)
    bench.raw('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"sub"}}\n')
    await bench.settle()
    expect(bench.received.at(-1)).toContain(`"requestId":${listens[0]}`)
  })
})

describe('input that a server asks for before it goes on', () => {
  it('is passed on once it is permitted, and the retry gets a permit of its own with what was answered in it', async () => {
    const bench = await connected({ script: asking() })
    const first = (await bench.ask('tools/call', { name: 'read_file', arguments: { path: '/x' } }, CAPABLE))['result'] as { inputRequests: object; requestState: string }
    expect(first).toMatchObject({ resultType: 'input_required', inputRequests: { who: ELICIT } })
    expect(first.requestState).not.toBe('step=1')
    const responses = { who: { action: 'accept', content: { name: 'octo' } } }
    const second = await bench.ask('tools/call', { name: 'read_file', arguments: { path: '/x' }, inputResponses: responses, requestState: first.requestState }, CAPABLE)
    expect(JSON.parse(textOf(second))).toEqual({ inputs: responses, state: 'step=1' })
    const permits = bench.plane.entries.flatMap((e) => (e.kind === 'permit' ? [e.scope.type] : []))
    expect(permits).toEqual(['mcp.tool_call', 'mcp.elicitation', 'mcp.tool_call'])
  })

  it('has no resources/subscribe: that is the other revision’s', async () => {
    const bench = await connected()
    expect(await bench.ask('resources/subscribe', { uri: 'test://x' })).toMatchObject({ error: { code: -32601, data: { code: 'method_unknown' } } })
  })

  it('a state goes along for as many rounds as the server asks, each with one of its own', async () => {
    const script = stateless((method, { requestState }) => {
      if (method !== 'tools/call') return undefined
      const round = requestState === undefined ? 1 : Number(requestState) + 1
      return round > 3 ? { content: [{ type: 'text', text: `round ${round}` }] } : { resultType: 'input_required', inputRequests: { who: ELICIT }, requestState: `${round}` }
    })
    const bench = await connected({ script })
    const call = async (retry: JsonObject): Promise<JsonObject> => (await bench.ask('tools/call', { name: 'read_file', arguments: { path: '/x' }, ...retry }, CAPABLE))['result'] as JsonObject
    let result = await call({})
    for (let i = 0; i < 3; i++) result = await call({ inputResponses: { who: { action: 'accept', content: { i } } }, requestState: result['requestState'] as string })
    expect(result).toMatchObject({ content: [{ text: 'round 4' }] })
  })

  it.each<[string, (state: string) => JsonObject]>([
    ['altered', (state) => ({ arguments: { path: '/x' }, requestState: `${state}0` })],
    ['for other arguments', (state) => ({ arguments: { path: '/y' }, requestState: state })],
    ['without its seal', () => ({ arguments: { path: '/x' }, requestState: 'step=1' })],
    ['with another seal', (state) => ({ arguments: { path: '/x' }, requestState: `${state.startsWith('A') ? 'B' : 'A'}${state.slice(1)}` })],
    ['empty', () => ({ arguments: { path: '/x' }, requestState: '' })],
  ])('ATK-094: a state that comes back %s is action_mismatch, and the server does not see it', async (_name, retry) => {
    const bench = await connected({ script: asking() })
    const { requestState } = (await bench.ask('tools/call', { name: 'read_file', arguments: { path: '/x' } }, CAPABLE))['result'] as { requestState: string }
    const before = bench.calls().length
    const answer = await bench.ask('tools/call', { name: 'read_file', inputResponses: {}, ...retry(requestState) }, CAPABLE)
    expect(answer).toMatchObject({ error: { code: -32602, data: { code: 'action_mismatch' } } }) // not a result: nothing was called
    expect(bench.calls()).toHaveLength(before)
    await bench.settle()
    expect(bench.denials()).toContain('action_mismatch')
  })

  it.each<[string, JsonObject, JsonObject, string]>([
    ['that no policy permits', { who: ELICIT }, CAPABLE, 'policy_no_match'],
    ['that the client does not offer', { who: ELICIT }, {}, 'method_unknown'],
    ['of an unknown kind', { who: { method: 'tools/call', params: {} } }, CAPABLE, 'method_unknown'],
    ['one of which is not permitted', { roots: { method: 'roots/list' }, who: ELICIT }, CAPABLE, 'policy_no_match'],
    ['of another form', { who: 'ELICIT' }, CAPABLE, 'request_malformed'],
  ])('ATK-094: input %s never reaches the client', async (_name, requests, capabilities, code) => {
    const bench = await connected({ script: asking(requests), decide: ({ type }) => (type === 'mcp.elicitation' ? 'policy_no_match' : 'permit') })
    const answer = await bench.ask('tools/call', { name: 'read_file', arguments: {} }, capabilities)
    expect(codeOf(answer)).toBe(code)
    expect(JSON.stringify(answer)).not.toContain('your name?')
  })

  it('is asked of a client with a session by the gateway, which makes the request again with the answers', async () => {
    const bench = await new Bench({ script: asking() }).initialize()
    void bench.call()
    const { id, params } = (await bench.told('elicitation/create')) as { id: number; params: object }
    expect(params).toEqual(ELICIT.params)
    bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id, result: { action: 'decline' } })}\n`)
    expect(JSON.parse(textOf(await bench.answer('r2')))).toEqual({ inputs: { who: { action: 'decline' } }, state: 'step=1' })
    expect(bench.plane.entries.flatMap((e) => (e.kind === 'permit' ? [e.scope.type] : []))).toEqual(['mcp.tool_call', 'mcp.elicitation', 'mcp.tool_call'])
  })

  it('ends after a number of rounds', async () => {
    const bench = await new Bench({ script: stateless((method) => (method === 'tools/call' ? { resultType: 'input_required', requestState: 'again' } : undefined)) }).initialize()
    expect(codeOf(await bench.call())).toBe('limit_exceeded')
    expect(bench.calls()).toHaveLength(8)
  })
})

describe('a client and a server of different revisions', () => {
  it('a stateless client at a server with sessions: one handshake, results with all that the revision asks', async () => {
    const bench = await connected({ script: honest() })
    expect((await bench.ask('server/discover'))['result']).toMatchObject({ resultType: 'complete', _meta: { 'io.modelcontextprotocol/serverInfo': { name: 'server' } } })
    expect((await bench.ask('tools/list'))['result']).toMatchObject({ resultType: 'complete', ttlMs: 0, cacheScope: 'private', tools: [TOOL] })
    expect((await bench.ask('tools/call', { name: 'read_file', arguments: {} }))['result']).toMatchObject({ resultType: 'complete', content: [{}] })
    expect(bench.received.map((line) => (JSON.parse(line) as { method: string }).method)).toEqual(['server/discover', 'initialize', 'notifications/initialized', 'tools/list', 'tools/call'])
    expect(bench.calls()[0]).not.toContain('_meta')
  })

  it('a server with sessions cannot ask a stateless client: nothing of that reaches it', async () => {
    const bench = await connected({ script: (message, send) => {
      if (message.method === 'tools/call') send(JSON.stringify({ jsonrpc: '2.0', id: 900, ...ELICIT }))
      honest()(message, send)
    } })
    expect(codeOf(await bench.ask('tools/call', { name: 'read_file', arguments: {} }, CAPABLE))).toBe('ran')
    expect(bench.received.find((line) => line.includes('"initialize"'))).toContain('"capabilities":{}')
    await bench.settle()
    expect(bench.answers.some((a) => 'method' in a)).toBe(false)
  })

  it('a client with a session at a stateless server: no handshake there, and results as its revision has them', async () => {
    const bench = await new Bench({ script: stateless() }).initialize()
    expect((await bench.answer('r1'))['result']).toMatchObject({ protocolVersion: '2025-11-25', serverInfo: { name: 'server', version: '1' }, instructions: 'be kind' })
    expect((await bench.request('tools/list', {}))['result']).toEqual({ tools: [TOOL] })
    expect((await bench.call())['result']).toEqual({ content: [{ type: 'text', text: 'called "read_file"' }] })
    expect(bench.received.some((line) => line.includes('notifications/initialized'))).toBe(false)
    expect(JSON.parse(bench.calls()[0] as string)).toMatchObject({ params: { _meta: meta({ roots: { listChanged: true }, sampling: {}, elicitation: {} }) } })
  })

  it.each(['2024-11-05', '2025-06-18', '2026-07-28', '1.0', ''])('a server that answers initialize with revision %j is refused by name and ended', async (protocolVersion) => {
    const bench = await connected({ script: ({ id, method }, send) => method === 'initialize' && send(JSON.stringify({ jsonrpc: '2.0', id, result: { protocolVersion, capabilities: {}, serverInfo: { name: 's', version: '1' } } })) })
    const answer = await bench.request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } })
    expect(answer['error']).toMatchObject({ code: -32602, data: { requested: protocolVersion } })
    await bench.settle()
    expect(bench.closedFor).toContain('another revision')
  })

  it.each([
    ['the same once more', ['2027-01-01', '2026-07-28'], ['server/discover', 'server/discover']],
    ['the other one', ['2025-11-25'], ['server/discover', 'initialize']],
    ['none of ours', ['2024-11-05'], ['server/discover']],
    ['something else', 'all', ['server/discover']],
  ])('a server that supports %s is asked in a revision that it named', async (_name, supported, asked) => {
    const bench = await connected({ script: ({ id }, send) => send(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32022, message: 'unsupported', data: { supported } } })) })
    expect(codeOf(await bench.ask('tools/list'))).toBe('unavailable')
    expect(bench.received.map((line) => (JSON.parse(line) as { method: string }).method)).toEqual(asked)
  })

  it('a server that speaks neither is refused with what it said', async () => {
    const bench = await connected({ script: ({ id }, send) => send(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -32601, message: 'I speak 2024-11-05' } })) })
    expect(codeOf(await bench.ask('tools/list'))).toBe('unavailable')
    expect(bench.calls()).toEqual([])
  })

  it('both eras go over one connection, each request in its own', async () => {
    const bench = await new Bench({ script: honest() }).initialize()
    expect((await bench.ask('tools/list'))['result']).toMatchObject({ resultType: 'complete' })
    expect((await bench.request('tools/list', {}))['result']).not.toHaveProperty('resultType')
  })
})
