import type { JsonObject } from '@sealwrit/protocol'
import type { Frame } from './mutate.ts'
import type { Random } from './random.ts'

export type Era = '2026-07-28' | '2025-11-25'
export const ERAS: readonly Era[] = ['2026-07-28', '2025-11-25']

const CLIENT = { name: 'client', version: '1' }
const CAPABILITIES = { sampling: {}, elicitation: {}, roots: { listChanged: true } }
const ENVELOPE = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': CLIENT, 'io.modelcontextprotocol/clientCapabilities': CAPABILITIES }

export const frame = (value: JsonObject): Frame => ({ value, text: JSON.stringify(value) })

/** What an honest client says before anything else. */
export function opening(era: Era): Frame[] {
  if (era === '2026-07-28') return []
  return [frame({ jsonrpc: '2.0', id: 'open', method: 'initialize', params: { protocolVersion: era, capabilities: CAPABILITIES, clientInfo: CLIENT } }), frame({ jsonrpc: '2.0', method: 'notifications/initialized' })]
}

/** An honest message of a client; `n` makes it one of its own. */
export function clientFrame(era: Era, n: number, random: Random): Frame {
  const [method, params] = random.pick<readonly [string, JsonObject]>([
    ['tools/call', { name: 'read_file', arguments: { n } }], ['tools/call', { name: 'read_file', arguments: { n } }], ['tools/call', { name: 'read_file', arguments: { n, text: 'é\u{1F600}' } }],
    ['resources/read', { uri: `test://r/${n}` }], ['prompts/get', { name: 'greet', arguments: { n: `${n}` } }], ['completion/complete', { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'n', value: `${n}` } }],
    ['tools/list', {}], ['resources/list', { cursor: 'next' }],
    ...(era === '2025-11-25' ? [['ping', {}], ['resources/subscribe', { uri: 'test://watched' }]] as const : [['server/discover', {}]] as const),
  ])
  return frame({ jsonrpc: '2.0', id: n, method, params: era === '2026-07-28' ? { ...params, _meta: ENVELOPE } : params })
}

/** An honest message of a server that nobody asked for. */
export function serverFrame(n: number, random: Random): Frame {
  return frame(random.pick<JsonObject>([
    { jsonrpc: '2.0', method: 'notifications/tools/list_changed' },
    { jsonrpc: '2.0', method: 'notifications/message', params: { level: 'info', data: `m${n}` } },
    { jsonrpc: '2.0', method: 'notifications/progress', params: { progressToken: 1 + random.below(50), progress: n } },
    { jsonrpc: '2.0', method: 'notifications/resources/updated', params: { uri: 'test://watched' } },
    { jsonrpc: '2.0', id: `s${n}`, method: 'sampling/createMessage', params: { messages: [{ role: 'user', content: { type: 'text', text: `q${n}` } }], maxTokens: 1 } },
    { jsonrpc: '2.0', id: `s${n}`, method: 'roots/list' },
    { jsonrpc: '2.0', id: `s${n}`, method: 'ping' },
    { jsonrpc: '2.0', id: 1 + random.below(50), result: { content: [{ type: 'text', text: `late ${n}` }] } },
    { jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: `s${n}` } },
  ]))
}

export const TOOL = { name: 'read_file', description: 'reads', inputSchema: { type: 'object' } }
const OFFERED = { tools: { listChanged: true }, resources: { subscribe: true, listChanged: true }, prompts: { listChanged: true }, completions: {}, logging: {} }

/** Takes a message, and sends bytes. */
export type Server = (message: { id?: number; method?: string; params?: JsonObject }, send: (bytes: Buffer) => void) => void

/** An honest server of one revision. `alter` makes of its answer what is sent instead. */
export function server(era: Era, alter: (answer: Frame, method: string) => Buffer = ({ text }) => Buffer.from(`${text}\n`)): Server {
  const isCurrent = era === '2026-07-28'
  const results: Readonly<Record<string, (params: JsonObject) => JsonObject>> = {
    ...(isCurrent ? { 'server/discover': () => ({ supportedVersions: [era], capabilities: OFFERED }) } : { initialize: () => ({ protocolVersion: era, capabilities: OFFERED, serverInfo: { name: 'server', version: '1' } }) }),
    'tools/list': () => ({ tools: [TOOL] }),
    'resources/list': () => ({ resources: [] }),
    'resources/templates/list': () => ({ resourceTemplates: [] }),
    'prompts/list': () => ({ prompts: [] }),
    'tools/call': ({ arguments: args }) => ({ content: [{ type: 'text', text: `did ${JSON.stringify(args)}` }] }),
    'resources/read': ({ uri }) => ({ contents: [{ uri: uri ?? '', text: 'here' }] }),
    'prompts/get': () => ({ messages: [] }),
    'completion/complete': () => ({ completion: { values: [] } }),
    'resources/subscribe': () => ({}),
  }
  return ({ id, method, params }, send) => {
    if (id === undefined || method === undefined) return
    const make = Object.hasOwn(results, method) ? results[method] : undefined
    const answer = make === undefined ? { error: { code: -32601, message: 'no such method' } } : { result: { ...(isCurrent ? { resultType: 'complete', ttlMs: 0, cacheScope: 'private' } : {}), ...make(params ?? {}) } }
    send(alter(frame({ jsonrpc: '2.0', id, ...answer }), method))
  }
}
