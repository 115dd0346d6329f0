import { enforce, type Gate } from '@sealwrit/gate'
import { LineFront, LineLink, McpGateway } from '@sealwrit/mcp-gateway'
import { type Action, Denied, type JsonObject } from '@sealwrit/protocol'

/** One kind of gate under test: one attempt at an effect, and how many effects really happened. */
export interface GateUnderTest {
  readonly kind: string
  /** The denial code, or `ran`. */
  attempt(): Promise<string>
  effects(): number
}

const DIGEST = 'sha256:19f1b7f8b9f7a3a3c8d4b9b8a2c4d1c1a7e9f3b2c8d1e4f5a6b7c8d9e0f1a2b3'
const TOOL = { name: 'read_file', inputSchema: { type: 'object' } }

/** The pipeline itself, as an adapter uses it. */
export function pipelineGate(gate: Gate): GateUnderTest {
  let effects = 0
  const action: Action = { type: 'mcp.tool_call', target: 'mcp://pipeline', name: 'read_file', arguments: { path: '/srv/q3.txt' }, tool_digest: DIGEST }
  let isRecorded = false
  return {
    kind: 'pipeline (gate)',
    effects: () => effects,
    attempt: async () => {
      try {
        if (!isRecorded) await gate.recordTools('mcp://pipeline', [{ name: 'read_file', digest: DIGEST }])
        isRecorded = true
        await enforce(gate, { action, agent: { name: 'tester', verified: true }, facts: () => ({ paths: 'inside' }) }, async () => {
          effects++
          return { outcome: 'completed', resultBytes: new Uint8Array(1), value: undefined }
        })
        return 'ran'
      } catch (error) {
        return error instanceof Denied ? error.code : `threw ${String(error)}`
      }
    },
  }
}

/** The stdio MCP gateway with a server in memory that counts the calls it gets. */
export function stdioGate(gate: Gate): GateUnderTest {
  let effects = 0
  let nextId = 1
  const waiting = new Map<number, (answer: JsonObject) => void>()
  const front = new LineFront(
    {
      write: (line) => {
        const message = JSON.parse(line) as { id: number } & JsonObject
        waiting.get(message.id)?.(message)
      },
      refused: () => undefined,
      ended: () => undefined,
    },
    (port) => new McpGateway({
      gate, target: 'mcp://stdio', agent: 'tester', facts: () => ({ paths: 'inside' }), receiptOrder: 'before_reply',
      open: (events) => {
        const link = new LineLink(events, (line) => {
          const { id, method } = JSON.parse(line) as { id?: number; method: string }
          if (method === 'tools/call') effects++
          const result = method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 's', version: '1' } } : method === 'tools/list' ? { tools: [TOOL] } : { content: [] }
          if (id !== undefined) setImmediate(() => link.data(Buffer.from(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`)))
        }, () => undefined)
        return link
      },
    }, port),
  )
  const request = (method: string, params: object): Promise<JsonObject> => {
    const id = nextId++
    return new Promise((resolve) => {
      waiting.set(id, resolve)
      front.data(Buffer.from(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`))
    })
  }
  let isReady = false
  return {
    kind: 'mcp (stdio)',
    effects: () => effects,
    attempt: async () => {
      if (!isReady) await request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'c', version: '1' } })
      isReady = true
      const answer = await request('tools/call', { name: 'read_file', arguments: { path: '/srv/q3.txt' } })
      const meta = (answer['result'] as { _meta?: { 'sealwrit/denial'?: { code: string } } } | undefined)?._meta
      return meta?.['sealwrit/denial']?.code ?? (answer['error'] as { data?: { code?: string } } | undefined)?.data?.code ?? 'ran'
    },
  }
}
