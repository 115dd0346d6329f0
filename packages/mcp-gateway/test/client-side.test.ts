import { MAX_CLIENT_LINE, MAX_REMEMBERED, UsedIds } from '@sealwrit/mcp-gateway'
import { describe, expect, it } from 'vitest'
import { Bench, codeOf, meta } from './support/bench.ts'

describe('what a client sends', () => {
  it('passes lists, ping and permitted calls, and the server gets only messages that the gateway built', async () => {
    const bench = await new Bench().initialize()
    expect(codeOf(await bench.request('ping', {}))).toBe('ran')
    expect(codeOf(await bench.request('tools/list', {}))).toBe('ran')
    expect(codeOf(await bench.call())).toBe('ran')
    expect(codeOf(await bench.request('resources/read', { uri: 'file:///x' }))).toBe('ran')
    expect(codeOf(await bench.request('prompts/get', { name: 'p' }))).toBe('ran')
    for (const line of bench.received) expect(line.startsWith('{"')).toBe(true)
    expect(bench.calls()[0]).toBe('{"id":3,"jsonrpc":"2.0","method":"tools/call","params":{"arguments":{"path":"/x"},"name":"read_file"}}')
  })

  it('tells the server only of what can be asked of the client, and the client only of what is carried', async () => {
    const bench = new Bench()
    await bench.gate.connect()
    await bench.request('initialize', { protocolVersion: '2025-11-25', capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {}, experimental: { evil: {} }, evil: {} }, clientInfo: { name: 'client', version: '1', title: 'x' } })
    expect(JSON.parse(bench.received[0] as string)).toMatchObject({ method: 'initialize', params: { capabilities: { roots: { listChanged: true }, sampling: {}, elicitation: {} }, clientInfo: { name: 'client', version: '1' }, protocolVersion: '2025-11-25' } })
    expect(bench.received[0]).not.toContain('evil')
    expect(((await bench.answer('r1'))['result'] as { capabilities: object }).capabilities).toEqual({ tools: { listChanged: true }, resources: { subscribe: true }, prompts: {}, completions: {}, logging: {} })
  })

  it.each(['2024-11-05', '2025-03-26', '2025-06-18', '2026-07-28', '', null, 7])('refuses revision %j by name and does not wake the server', async (protocolVersion) => {
    const bench = new Bench()
    const answer = await bench.request('initialize', { protocolVersion, capabilities: {}, clientInfo: { name: 'c', version: '1' } })
    expect(answer['error']).toMatchObject({ code: -32602, data: { supported: ['2025-11-25'] } })
    expect(bench.received).toEqual([])
  })

  it('refuses everything but ping before it is initialized', async () => {
    const bench = new Bench()
    expect(codeOf(await bench.call())).toBe('request_malformed')
    expect(bench.received).toEqual([])
  })

  it.each(['tools/execute', 'subscriptions/listen', 'sampling/createMessage', 'elicitation/create', 'tasks/cancel', 'roots/list', 'tools/Call', 'TOOLS/CALL', 'tools/call ', '__proto__', 'constructor'])(
    'ATK-095: refuses the method %s with a code, a hint and a record',
    async (method) => {
      const bench = await new Bench().initialize()
      const before = bench.received.length
      const answer = await bench.request(method, { name: 'read_file', arguments: {} })
      expect(answer['error']).toMatchObject({ code: -32601, data: { code: 'method_unknown' } })
      await bench.settle()
      expect(bench.received).toHaveLength(before)
      expect(bench.denials()).toContain('method_unknown')
    },
  )

  it('ATK-095: notifications that look like calls, and answers to nothing, reach nobody', async () => {
    const bench = await new Bench().initialize()
    const before = bench.received.length
    bench.raw('{"jsonrpc":"2.0","method":"tools/call","params":{"name":"read_file","arguments":{}}}\n')
    bench.raw('{"jsonrpc":"2.0","method":"notifications/evil"}\n')
    bench.raw('{"jsonrpc":"2.0","id":1,"result":{}}\n{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"x"}}\n')
    await bench.settle()
    expect(bench.received).toHaveLength(before)
    expect(bench.denials().filter((code) => code === 'method_unknown')).toHaveLength(4)
  })

  it.each<[string, string]>([
    ['a batch', '[{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file","arguments":{}}}]'],
    ['a null id', '{"jsonrpc":"2.0","id":null,"method":"tools/call","params":{"name":"read_file","arguments":{}}}'],
    ['a fractional id', '{"jsonrpc":"2.0","id":1.5,"method":"ping"}'],
    ['an object as id', '{"jsonrpc":"2.0","id":{},"method":"ping"}'],
    ['another version', '{"jsonrpc":"1.0","id":1,"method":"ping"}'],
    ['no version', '{"id":1,"method":"ping"}'],
    ['a further member', '{"jsonrpc":"2.0","id":1,"method":"ping","extra":1}'],
    ['method and result', '{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}'],
    ['a list of params', '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":["read_file"]}'],
    ['a duplicate method', '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call","params":{}}'],
    ['an escaped duplicate', '{"jsonrpc":"2.0","id":1,"method":"ping","\\u006dethod":"tools/call","params":{}}'],
    ['plain text', 'hello'],
  ])('ATK-096, ATK-011: %s is -32600 request_malformed and nothing is forwarded', async (_name, text) => {
    const bench = await new Bench().initialize()
    const before = bench.received.length
    bench.answers.length = 0
    bench.raw(`${text}\n`)
    await bench.settle()
    expect(bench.answers[0]?.['error']).toMatchObject({ code: -32600, data: { code: 'request_malformed' } })
    expect(bench.received).toHaveLength(before)
    expect(codeOf(await bench.call())).toBe('ran') // the connection is intact
  })

  it('ATK-096: an id that was used before is refused, in flight and after; "1" is not 1', async () => {
    const bench = await new Bench().initialize()
    await bench.request('tools/call', { name: 'read_file', arguments: {} }, 1)
    bench.raw('{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"read_file","arguments":{}}}\n')
    await bench.settle()
    expect(bench.calls()).toHaveLength(1)
    expect(codeOf(await bench.request('tools/call', { name: 'read_file', arguments: {} }, '1'))).toBe('ran')
    const both = '{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"read_file","arguments":{}}}\n'
    bench.raw(both + both)
    await bench.settle()
    expect(bench.calls()).toHaveLength(3)
    expect(bench.answers.filter((a) => a['id'] === 2)).toHaveLength(1)
  })

  it('ATK-088: remembers counted ids in one range and refuses when scattered ones cannot be remembered', () => {
    const ids = new UsedIds()
    for (let i = 0; i < 100_000; i++) if (ids.take(i) !== 'new') throw new Error('a new id was refused')
    expect(ids.take(50_000)).toBe('used')
    for (let i = 0; i < MAX_REMEMBERED; i++) ids.take(`x${i}`)
    expect(ids.take('one more')).toBe('full')
    expect(ids.take('x1')).toBe('used')
  })

  it.each<[string, string, string]>([
    ['invalid UTF-8', '\xff\xfe', 'encoding_invalid'],
    ['a lone surrogate', '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"read_file","arguments":{"path":"\\ud800"}}}', 'encoding_invalid'],
    ['an integer beyond 2^53', '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"read_file","arguments":{"n":9007199254740993}}}', 'arguments_not_canonical'],
    ['depth 10^6', `{"jsonrpc":"2.0","id":9,"method":"x","params":${'['.repeat(400_000)}`, 'limit_exceeded'],
    ['duplicate arguments', '{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"read_file","arguments":{"path":"/a","path":"/b"}}}', 'request_malformed'],
    ['NUL', '{"jsonrpc":"2.0","id":9,"method":"ping"}\0', 'request_malformed'],
  ])('ATK-097, ATK-017, ATK-021: %s is %3$s and the server sees no byte of it', async (_name, text, code) => {
    const bench = await new Bench().initialize()
    await bench.call()
    const before = bench.received.length
    bench.answers.length = 0
    bench.raw(Buffer.concat([Buffer.from(text, text.startsWith('\xff') ? 'latin1' : 'utf8'), Buffer.from('\n')]))
    await bench.settle()
    expect(codeOf(bench.answers[0] ?? {})).toBe(code)
    expect(bench.received).toHaveLength(before)
    expect(bench.denials()).toContain(code)
    expect(codeOf(await bench.call())).toBe('ran')
  })

  it.each([1_023, 1_024, 1_025])('of %i requests that wait for a server that does not open, the 1,025th is overloaded', async (count) => {
    const bench = new Bench({ script: () => undefined })
    await bench.gate.connect()
    for (let i = 0; i < count; i++) bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id: i, method: 'tools/list', params: { _meta: meta() } })}\n`)
    await bench.settle()
    expect(bench.answers.map((answer) => [answer['id'], codeOf(answer)])).toEqual(count > 1_024 ? [[1_024, 'overloaded']] : [])
    bench.front.close('over')
  })

  it('ATK-097: a line of 1 GB is limit_exceeded in bounded memory, and the connection goes on', async () => {
    const bench = await new Bench().initialize()
    const chunk = Buffer.alloc(1_048_576, 'a')
    const before = process.memoryUsage().rss
    for (let i = 0; i < 1_024; i++) bench.raw(chunk)
    expect(process.memoryUsage().rss - before).toBeLessThan(100 * MAX_CLIENT_LINE)
    bench.raw('\n')
    expect(codeOf(bench.answers.at(-1) ?? {})).toBe('limit_exceeded')
    expect(codeOf(await bench.call())).toBe('ran')
  })

  it('ATK-020: __proto__ in arguments is data, forwarded as it was judged', async () => {
    const bench = await new Bench().initialize()
    bench.raw('{"jsonrpc":"2.0","id":77,"method":"tools/call","params":{"name":"read_file","arguments":{"__proto__":{"polluted":1}}}}\n')
    expect(codeOf(await bench.answer(77))).toBe('ran')
    expect(bench.calls()[0]).toContain('"arguments":{"__proto__":{"polluted":1}}')
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })

  it('forwards nothing of _meta but a progress token of its own, and refuses further params', async () => {
    const bench = await new Bench().initialize()
    await bench.request('tools/call', { name: 'read_file', arguments: {}, _meta: { progressToken: 'mine', secret: 'x' } })
    expect(JSON.parse(bench.calls()[0] as string)).toMatchObject({ id: 3, params: { _meta: { progressToken: 3 } } })
    expect(bench.calls()[0]).not.toContain('secret')
    expect(codeOf(await bench.request('tools/call', { name: 'read_file', arguments: {}, task: {} }))).toBe('request_malformed')
  })

  it('denies a resource and a prompt with code and hint in the error’s data', async () => {
    const bench = await new Bench({ decide: () => 'policy_denied' }).initialize()
    for (const [method, params] of [['resources/read', { uri: 'file:///etc/passwd' }], ['prompts/get', { name: 'p', arguments: {} }]] as const) {
      expect((await bench.request(method, params))['error']).toMatchObject({ code: -32004, data: { code: 'policy_denied', hint: expect.stringContaining('decide') } })
    }
    expect(bench.calls()).toEqual([])
  })

  it('answers a denied tool call as a tool result that an agent can read', async () => {
    const bench = await new Bench({ decide: () => 'policy_no_match' }).initialize()
    const result = (await bench.call())['result'] as { isError: boolean; structuredContent: object; content: { text: string }[] }
    expect(result.isError).toBe(true)
    expect(result.structuredContent).toMatchObject({ code: 'policy_no_match' })
    expect(result.content[0]?.text).toContain('policy_no_match')
  })

  it('a cancelled call gets no answer, and the server is told under the gateway’s own id', async () => {
    const bench = await new Bench({ script: ({ id, method }, send) => (method === 'tools/call' || id === undefined ? undefined : send(JSON.stringify({ jsonrpc: '2.0', id, result: method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: {}, serverInfo: {} } : { tools: [{ name: 'read_file', inputSchema: {} }] } }))) }).initialize()
    bench.raw('{"jsonrpc":"2.0","id":50,"method":"tools/call","params":{"name":"read_file","arguments":{}}}\n')
    for (let i = 0; i < 500 && bench.calls().length === 0; i++) await bench.settle()
    bench.raw('{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":50}}\n')
    await bench.settle()
    const { id } = JSON.parse(bench.calls()[0] as string) as { id: number }
    expect(bench.received.at(-1)).toBe(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"reason":"ended by the gate","requestId":${id}}}`)
    expect(bench.answers.some((a) => a['id'] === 50)).toBe(false)
    expect(bench.plane.entries.at(-1)?.kind).toBe('receipt')
  })
})
