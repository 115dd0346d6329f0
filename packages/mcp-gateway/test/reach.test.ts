import { Denied, type JsonObject, type Scope } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Bench, codeOf, honest, type ServerScript, stateless, TOOL } from './support/bench.ts'

const TOOLS = [TOOL, { ...TOOL, name: 'write_file' }]
const script: ServerScript = (message, send) => {
  const lists: Record<string, object> = { 'resources/list': { resources: [{ uri: 'x:1', name: 'one' }] }, 'resources/templates/list': { resourceTemplates: [{ uriTemplate: 'x:{n}', name: 't' }] }, 'prompts/list': { prompts: [{ name: 'good' }, { name: 'evil' }, { title: 'nameless' }], nextCursor: 'more' } }
  const list = lists[message.method ?? '']
  if (list !== undefined) return send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: list }))
  honest(() => TOOLS)(message, send)
}
const without = (...names: string[]) => ({ name }: Scope): boolean => !names.includes(name)
const resultOf = async (answer: Promise<JsonObject>): Promise<JsonObject> => (await answer)['result'] as JsonObject

describe('what a client is shown', () => {
  it('is what it could be permitted: of tools and prompts each, of resources all or none; cursors stay', async () => {
    const bench = await new Bench({ script, permissible: without('write_file', 'evil', 'resources/read') }).initialize()
    expect(await resultOf(bench.request('tools/list', {}))).toEqual({ tools: [TOOL] })
    expect(await resultOf(bench.request('prompts/list', {}))).toEqual({ prompts: [{ name: 'good' }], nextCursor: 'more' })
    expect(await resultOf(bench.request('resources/list', {}))).toEqual({ resources: [] })
    expect(await resultOf(bench.request('resources/templates/list', {}))).toEqual({ resourceTemplates: [] })
    const open = await new Bench({ script }).initialize()
    expect(await resultOf(open.request('resources/list', {}))).toEqual({ resources: [{ uri: 'x:1', name: 'one' }] })
  })

  it('decides nothing: what is hidden is judged like everything else when it is called all the same', async () => {
    const bench = await new Bench({ script, permissible: () => false, decide: ({ name }) => (name === 'write_file' ? 'policy_denied' : 'permit') }).initialize()
    expect(codeOf(await bench.call())).toBe('ran')
    expect(codeOf(await bench.call('write_file'))).toBe('policy_denied')
  })

  it('is nothing where the plane does not say', async () => {
    let isBroken = false
    const permissible = (): boolean => {
      if (isBroken) throw new Denied('unavailable')
      return true
    }
    const bench = await new Bench({ script, permissible }).initialize()
    expect(codeOf(await bench.request('prompts/list', {}))).toBe('ran')
    isBroken = true
    expect(codeOf(await bench.request('prompts/list', {}))).toBe('unavailable')
  })
})

describe('what a server is told of its client', () => {
  it.each(['sessions', 'stateless'])('ATK-094: only what it could be permitted to ask for; another question is method_unknown, and no policy is asked (%s)', async (era) => {
    const asked: JsonObject[] = []
    const decide = (action: JsonObject): 'permit' => {
      asked.push(action)
      return 'permit'
    }
    const nosy: ServerScript = (message, send) => {
      if (message.method === 'tools/call') send(JSON.stringify({ jsonrpc: '2.0', id: 900, method: 'sampling/createMessage', params: { messages: [] } }))
      if (era === 'sessions') return honest()(message, send)
      stateless((method) => (method === 'tools/call' ? { resultType: 'input_required', inputRequests: { s: { method: 'sampling/createMessage', params: { messages: [] } } } } : undefined))(message, send)
    }
    const bench = await new Bench({ script: nosy, decide, permissible: without('sampling/createMessage', 'roots/list') }).initialize()
    const code = codeOf(await bench.call())
    await bench.settle()
    const told = bench.received.find((line) => line.includes(era === 'sessions' ? '"initialize"' : '"tools/call"'))
    expect(told).toContain('"elicitation":{}')
    expect(told).not.toContain('sampling')
    expect(code).toBe(era === 'sessions' ? 'ran' : 'method_unknown')
    expect(bench.denials()).toContain('method_unknown')
    expect(bench.answers.some((a) => a['method'] === 'sampling/createMessage')).toBe(false)
    expect(asked.map(({ type }) => type)).toEqual(['mcp.tool_call'])
  })
})
