import type { Identity, JsonObject } from '@sealwrit/protocol'
import { describe, expect, it, vi } from 'vitest'
import type { Asked } from '../src/client/seat.ts'
import { Bench, Governed, honest, meta, type ServerScript, stateless } from './support/bench.ts'

const ALICE = { form: 'oidc', token: 'a.b.c' } as unknown as Identity
const ASKED = { aud: '', agent: '', gate: '', challenge: '', action_digest: '' } as never

/** Whom the plane was told of, for each thing that it was asked. */
function watched(gate: Governed['gate']): { readonly authorized: Map<string, unknown>; readonly shown: unknown[] } {
  const [authorized, shown] = [new Map<string, unknown>(), [] as unknown[]]
  const [authorize, permissible] = [gate.authorize.bind(gate), gate.permissible.bind(gate)]
  vi.spyOn(gate, 'authorize').mockImplementation(async ({ identify, ...request }) => {
    authorized.set(request.action.type, await identify?.(ASKED))
    return authorize(request)
  })
  vi.spyOn(gate, 'permissible').mockImplementation(async ({ identify, ...question }) => {
    shown.push(await identify?.(ASKED))
    return permissible(question)
  })
  return { authorized, shown }
}

describe('who asks', () => {
  it('for a question of a server that belongs to no call, is who the transport said last, and not the gateway (ATK-101)', async () => {
    const script: ServerScript = (message, send) => {
      honest()(message, send)
      if (message.method === 'notifications/initialized') send('{"jsonrpc":"2.0","id":900,"method":"roots/list"}')
    }
    const { gate, openSeat } = new Governed({ script })
    await gate.connect()
    const { authorized } = watched(gate)
    const seat = openSeat({ notify: () => undefined, ask: () => Promise.resolve({ result: { roots: [] } }), ended: () => undefined })
    const asked: Asked = { id: 1, method: 'initialize', params: {}, client: { revision: '2025-11-25', name: 'c', version: '1', capabilities: { roots: {} } }, signal: new AbortController().signal, identify: () => ALICE, notify: () => undefined }
    await seat.request(asked)
    seat.notification('notifications/initialized', {})
    await vi.waitFor(() => expect(authorized.has('mcp.roots')).toBe(true))
    expect(authorized.get('mcp.roots')).toEqual(ALICE)
    seat.close('over')
  })

  it('is who the request says, also for what it is shown, and for what the server asks on its behalf', async () => {
    const elicit = { method: 'elicitation/create', params: { mode: 'form', message: 'who?', requestedSchema: { type: 'object', properties: {} } } }
    const bench = new Bench({ script: stateless((method) => (method === 'tools/call' ? { resultType: 'input_required', inputRequests: { a: elicit } } : undefined)) })
    await bench.gate.connect()
    const { authorized, shown } = watched(bench.gate)
    const _meta = { 'sealwrit/identity': ALICE as unknown as JsonObject }
    await bench.ask('tools/list', { _meta })
    expect(shown).toEqual([ALICE])
    await bench.ask('tools/call', { name: 'read_file', arguments: {}, _meta }, { elicitation: { form: {} } })
    expect([...authorized]).toEqual([['mcp.tool_call', ALICE], ['mcp.elicitation', ALICE]])
  })

  it('and what it offers, is told for each client, and not as another one of the same principal said it; nothing goes along with it', async () => {
    const bench = new Bench({ script: stateless() })
    await bench.gate.connect()
    const offers = [{ elicitation: { form: {} } }, { elicitation: { url: {} } }, { elicitation: { url: { smuggled: 'x' } }, sampling: { smuggled: true } }]
    for (const offer of offers) await bench.ask('resources/list', { _meta: meta(offer) }, offer)
    const seen = bench.received.filter((line) => line.includes('resources/list')).map((line) => ((JSON.parse(line) as { params: { _meta: JsonObject } }).params._meta)['io.modelcontextprotocol/clientCapabilities'])
    expect(seen).toEqual([{ elicitation: { form: {} } }, { elicitation: { url: {} } }, { elicitation: { url: {} }, sampling: {} }])
  })
})
