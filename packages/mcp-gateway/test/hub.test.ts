import { Hub } from '@sealwrit/mcp-gateway'
import { Denied, type JsonObject } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { qualified, qualifiedUri, split, splitUri } from '../src/qualified.ts'
import { Bench, codeOf, Governed, honest, meta, type ServerScript, stateless, TOOL } from './support/bench.ts'

const INFO = { name: 'both', version: '1' }
const RESOURCE = { uri: 'file:///x', name: 'x' }
/** An honest server with a resource, a template and a prompt besides. */
const rich = (own: string, tools: readonly JsonObject[] = [TOOL]): ServerScript => (message, send) => {
  const lists: Record<string, object> = { 'resources/list': { resources: [RESOURCE] }, 'resources/templates/list': { resourceTemplates: [{ uriTemplate: 'file:///{p}', name: 't' }] }, 'prompts/list': { prompts: [{ name: 'greet' }] } }
  const list = lists[message.method ?? '']
  if (list !== undefined) return send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: list }))
  if (message.method === 'resources/read') return send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { contents: [{ uri: (message.params as JsonObject)['uri'], text: own }] } }))
  honest(() => tools)(message, send)
}
const both = (a: ServerScript = rich('a'), b: ServerScript = rich('b'), decide?: (action: JsonObject) => 'permit' | 'policy_denied'): Bench => {
  const servers = [new Governed({ script: a, target: 'mcp://a', ...(decide === undefined ? {} : { decide }) }), new Governed({ script: b, target: 'mcp://b' })]
  const refused = (denied: Denied): void => void servers[0]?.gate.reporter.denial(denied, {}).catch(() => undefined)
  return new Bench(servers, (port) => new Hub({ members: [{ name: 'a', openSeat: servers[0]?.openSeat as never }, { name: 'b', openSeat: servers[1]?.openSeat as never }], info: INFO, refused, memberMs: 200 }, port))
}
const namesOf = (answer: JsonObject, list: string, member = 'name'): string[] => (answer['result'] as Record<string, JsonObject[]>)[list]?.map((item) => item[member] as string) ?? []

describe('several servers for one client', () => {
  it('are one server to it, in either revision, and each is asked as itself', async () => {
    const bench = await both().initialize()
    expect((await bench.answer('r1'))['result']).toMatchObject({ protocolVersion: '2025-11-25', serverInfo: INFO, capabilities: { tools: { listChanged: true } } })
    expect((await bench.ask('server/discover'))['result']).toMatchObject({ resultType: 'complete', supportedVersions: ['2026-07-28', '2025-11-25'] })
    expect(namesOf(await bench.request('tools/list', {}), 'tools')).toEqual(['a__read_file', 'b__read_file'])
    expect(namesOf(await bench.request('prompts/list', {}), 'prompts')).toEqual(['a__greet', 'b__greet'])
    expect(namesOf(await bench.request('resources/list', {}), 'resources', 'uri')).toEqual(['a+file:///x', 'b+file:///x'])
    expect(namesOf(await bench.request('resources/templates/list', {}), 'resourceTemplates', 'uriTemplate')).toEqual(['a+file:///{p}', 'b+file:///{p}'])
    expect(codeOf(await bench.call('b__read_file'))).toBe('ran')
    expect((await bench.request('resources/read', { uri: 'b+file:///x' }))['result']).toMatchObject({ contents: [{ uri: 'file:///x', text: 'b' }] })
    const [a, b] = bench.servers
    expect(a?.received.some((line) => line.includes('tools/call'))).toBe(false)
    expect(b?.received.find((line) => line.includes('tools/call'))).toContain('"name":"read_file"')
    expect(b?.plane.entries.flatMap((e) => (e.kind === 'permit' ? [`${e.scope.target} ${e.scope.name}`] : []))).toEqual(['mcp://b read_file', 'mcp://b resources/read'])
  })

  it('ATK-092: a name without its server is tool_ambiguous, also where one server alone has it, and reaches none', async () => {
    const bench = await both().initialize()
    await bench.request('tools/list', {})
    expect(codeOf(await bench.call('read_file'))).toBe('tool_ambiguous')
    expect(codeOf(await bench.call('c__read_file'))).toBe('tool_not_pinned')
    expect(bench.servers.flatMap(({ received }) => received).some((line) => line.includes('tools/call'))).toBe(false)
    await bench.settle()
    expect(bench.denials()).toEqual(['tool_ambiguous', 'tool_not_pinned'])
  })

  it('ATK-092: a server cannot list a tool under the name of another server’s', async () => {
    const bench = await both(rich('a', [TOOL, { ...TOOL, name: 'b__read_file' }, { ...TOOL, name: '_read_file' }])).initialize()
    const names = namesOf(await bench.request('tools/list', {}), 'tools')
    expect(names).toEqual(['a__read_file', 'a__b__read_file', 'a___read_file', 'b__read_file'])
    expect(codeOf(await bench.call('a__b__read_file'))).toBe('ran')
    expect(bench.servers[0]?.received.at(-1)).toContain('"name":"b__read_file"')
    expect(bench.servers[1]?.received.some((line) => line.includes('tools/call'))).toBe(false)
  })

  it('ATK-092, ATK-101: policies see the server that was asked, whatever the other one permits', async () => {
    const bench = await both(undefined, undefined, () => 'policy_denied').initialize()
    expect(codeOf(await bench.call('a__read_file'))).toBe('policy_denied')
    expect(codeOf(await bench.call('b__read_file'))).toBe('ran')
  })

  it('what is asked of one is its own: states of another are action_mismatch', async () => {
    const asking = (): ServerScript => stateless((method, params) => (method === 'tools/call' && params['requestState'] === undefined ? { resultType: 'input_required', requestState: 's' } : undefined))
    const bench = both(asking(), asking())
    await Promise.all(bench.servers.map(({ gate }) => gate.connect()))
    const { requestState } = (await bench.ask('tools/call', { name: 'a__read_file', arguments: {} }))['result'] as { requestState: string }
    expect(codeOf(await bench.ask('tools/call', { name: 'b__read_file', arguments: {}, requestState }))).toBe('action_mismatch')
    expect(codeOf(await bench.ask('tools/call', { name: 'a__read_file', arguments: {}, requestState }))).toBe('ran')
  })

  it('a subscription over several is acknowledged once, and resources are told under their server', async () => {
    const script: ServerScript = (message, send) => {
      if (message.method === 'resources/subscribe') setImmediate(() => send(JSON.stringify({ jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'x:1' } })))
      honest()(message, send)
    }
    const bench = both(script)
    await Promise.all(bench.servers.map(({ gate }) => gate.connect()))
    void bench.request('subscriptions/listen', { notifications: { resourceSubscriptions: ['a+x:1', 'b+x:1'] }, _meta: meta() }, 'sub').catch(() => undefined)
    expect((await bench.told('notifications/subscriptions/acknowledged'))['params']).toEqual({ _meta: { 'io.modelcontextprotocol/subscriptionId': 'sub' }, notifications: { resourceSubscriptions: ['a+x:1', 'b+x:1'] } })
    expect((await bench.told('notifications/resources/updated'))['params']).toEqual({ _meta: { 'io.modelcontextprotocol/subscriptionId': 'sub' }, uri: 'a+x:1' })
  })

  it('one that cannot be opened is said, and the others serve', async () => {
    const bench = await both(({ id }, send) => send(JSON.stringify({ jsonrpc: '2.0', id, error: { code: -1, message: 'no' } }))).initialize()
    expect((await bench.answer('r1'))['result']).toMatchObject({ instructions: 'Not available: a.' })
    expect(namesOf(await bench.request('tools/list', {}), 'tools')).toEqual(['b__read_file'])
    expect(codeOf(await bench.call('b__read_file'))).toBe('ran')
  })

  it.each(['initialize', 'tools/list', 'resources/list', 'prompts/list', 'logging/setLevel'])('one that never answers %s does not stop the others', async (method) => {
    const bench = await both((message, send) => (message.method === method ? undefined : rich('a')(message, send))).initialize()
    if (method === 'initialize') expect((await bench.answer('r1'))['result']).toMatchObject({ instructions: 'Not available: a.' })
    else expect(codeOf(await bench.request(method, { level: 'info' }))).toBe('ran')
    expect(codeOf(await bench.call('b__read_file'))).toBe('ran')
  })

  it('one whose words cannot be read again, or that lists without end, does not stop the others', async () => {
    // Written out, each of these numbers is five times as long: five pages are more than is taken.
    const long = `[${Array.from({ length: 90_000 }, () => '1e20').join(',')}]`
    const script: ServerScript = (message, send) => {
      if (message.method === 'resources/list') return send(`{"jsonrpc":"2.0","id":${message.id},"result":{"nextCursor":"again","resources":[{"name":"x","uri":"file:///x","_meta":{"v":${long}}}]}}`)
      rich('a')(message, send)
    }
    const bench = await both(script).initialize()
    const shown = namesOf(await bench.request('resources/list', {}), 'resources', 'uri')
    expect(shown.at(-1)).toBe('b+file:///x')
    expect(shown.length).toBeLessThanOrEqual(5)
  }, 20_000)

  it('a call that would begin a task, which nobody could ask about, reaches none of them', async () => {
    const able: ServerScript = (message, send) => (message.method === 'initialize' ? send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { protocolVersion: '2025-11-25', capabilities: { tools: {}, tasks: { requests: { tools: { call: {} } } } }, serverInfo: { name: 's', version: '1' } } })) : rich('a')(message, send))
    const bench = await both(able).initialize()
    expect(codeOf(await bench.request('tools/call', { name: 'a__read_file', arguments: {}, task: {} }))).toBe('request_malformed')
    expect(bench.calls()).toEqual([])
  })

  it('a subscription is acknowledged also where one of them never does, or ends meanwhile', async () => {
    const ending: ServerScript = (message, send) => {
      if (message.method === 'resources/subscribe') return
      honest()(message, send)
    }
    const bench = both(ending)
    await Promise.all(bench.servers.map(({ gate }) => gate.connect()))
    void bench.request('subscriptions/listen', { notifications: { resourceSubscriptions: ['a+x:1', 'b+x:1'] }, _meta: meta() }, 'sub').catch(() => undefined)
    expect((await bench.told('notifications/subscriptions/acknowledged'))['params']).toMatchObject({ notifications: { resourceSubscriptions: ['b+x:1'] } })
  })

  it.each(['', 'a_b', '1a', 'a+b', 'a b', '__proto__', 'x'.repeat(33)])('a server cannot be called %j', (name) => {
    const port = { notify: () => undefined, ask: () => Promise.reject(new Denied('unavailable')), ended: () => undefined }
    expect(() => new Hub({ members: [{ name, openSeat: () => ({}) as never }], info: INFO, refused: () => undefined }, port)).toThrow(Denied)
  })

  it('qualified names and URIs are read in one way only', () => {
    const server = fc.stringMatching(/^[A-Za-z][A-Za-z0-9.-]{0,31}$/)
    fc.assert(fc.property(server, fc.stringMatching(/^[A-Za-z0-9_.-]{1,90}$/), (name, own) => {
      const whole = qualified(name, own)
      return whole === undefined || JSON.stringify(split(whole)) === JSON.stringify({ server: name, own })
    }))
    fc.assert(fc.property(server, fc.string({ maxLength: 200 }), (name, own) => JSON.stringify(splitUri(qualifiedUri(name, own) as string)) === JSON.stringify({ server: name, own })))
  })
})
