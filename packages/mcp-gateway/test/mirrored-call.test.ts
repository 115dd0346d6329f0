import { type Asked, type ClientPort, McpGateway, type Route } from '@sealwrit/mcp-gateway'
import { canonicalText, Denied, isObject, type JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Governed, stateless, TOOL } from './support/bench.ts'

const SCHEMA = { type: 'object', properties: { region: { type: 'string', 'x-mcp-header': 'Region' }, query: { type: 'string' } } }
const tool = (inputSchema: JsonObject): JsonObject => ({ ...TOOL, inputSchema })

/** A seat before a server that lists `inputSchema`, and every route by which something went to that server. */
async function seated(inputSchema: JsonObject = SCHEMA): Promise<{ ask: (args: JsonObject, mirrored?: Record<string, string>, method?: string) => Promise<JsonObject>; routes: Route[] }> {
  const governed = new Governed()
  await governed.gate.connect()
  const port: ClientPort = { notify: () => undefined, ask: () => Promise.reject(new Denied('unavailable')), ended: () => undefined }
  const routes: Route[] = []
  const script = stateless(undefined, [tool(inputSchema)])
  const seat = new McpGateway({
    gate: governed.gate, target: 'mcp://fs', agent: 'tester', facts: () => ({ paths: 'inside' }), receiptOrder: 'before_reply',
    open: (events) => ({
      send: (text, route) => {
        routes.push(route)
        script(JSON.parse(text) as never, (out) => setImmediate(() => events.message(Buffer.from(out), route.id)))
      },
      drop: () => undefined,
      close: () => undefined,
      kill: () => undefined,
    }),
  }, port)
  const ask = async (args: JsonObject, mirrored?: Record<string, string>, method = 'tools/call'): Promise<JsonObject> => {
    const asked: Asked = { id: 1, method, params: method === 'tools/call' ? { name: 'read_file', arguments: args } : {}, client: { revision: '2026-07-28', name: 'c', version: '1', capabilities: {} }, signal: new AbortController().signal, notify: () => undefined, ...(mirrored === undefined ? {} : { mirrored: new Map(Object.entries(mirrored)) }) }
    const answer = await seat.request(asked)
    const value: unknown = JSON.parse(answer.text)
    expect(canonicalText(value as JsonObject)).toBe(answer.text)
    return isObject(value as JsonObject) ? (value as JsonObject) : {}
  }
  return { ask, routes }
}
const callsOf = (routes: readonly Route[]): Route[] => routes.filter(({ method }) => method === 'tools/call')

describe('arguments that headers mirror', () => {
  it('go to the server in its headers, from the action that was judged', async () => {
    const { ask, routes } = await seated()
    await ask({ region: 'us-west1', query: 'x' })
    expect(callsOf(routes)).toMatchObject([{ revision: '2026-07-28', name: 'read_file', mirrored: new Map([['Region', 'us-west1']]) }])
  })

  it.each<[string, JsonObject, Record<string, string>, boolean]>([
    ['the same', { region: 'us-west1' }, { region: 'us-west1' }, true],
    ['the same, encoded', { region: 'Zürich' }, { region: '=?base64?WsO8cmljaA==?=' }, true],
    ['nothing of an argument that is not there', { query: 'x' }, {}, true],
    ['something of a header that the tool does not know', { region: 'a' }, { region: 'a', other: 'b' }, true],
    ['something else', { region: 'us-west1' }, { region: 'us-west2' }, false],
    ['nothing of an argument that is there', { region: 'us-west1' }, {}, false],
    ['something of an argument that is not there', { query: 'x' }, { region: 'us-west1' }, false],
    ['something that cannot be decoded', { region: 'a' }, { region: '=?base64?*?=' }, false],
  ])('ATK-103: where they say %s', async (_name, args, shown, passes) => {
    const { ask, routes } = await seated()
    const answer = await ask(args, shown)
    if (!passes) expect(answer).toMatchObject({ code: -32020, data: { code: 'action_mismatch' } })
    expect(callsOf(routes)).toHaveLength(passes ? 1 : 0)
  })

  it('a tool that has them mirrored in another way than the specification lets it is not shown, and not called', async () => {
    const { ask, routes } = await seated({ type: 'object', properties: { list: { type: 'array', items: { type: 'string', 'x-mcp-header': 'Item' } } } })
    expect(await ask({}, undefined, 'tools/list')).toMatchObject({ tools: [] })
    expect(await ask({ list: ['a'] })).toMatchObject({ isError: true, structuredContent: { code: 'tool_not_pinned' } })
    expect(callsOf(routes)).toEqual([])
  })
})
