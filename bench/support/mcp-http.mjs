// Over HTTP, on the official SDK: a minimal server (`server`), or an ungoverned pass-through proxy in front of one (its address). Says where it serves.
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:http'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StreamableHTTPServerTransport } from '@modelcontextprotocol/sdk/server/streamableHttp.js'
import { CallToolRequestSchema, CallToolResultSchema, ListToolsRequestSchema, ListToolsResultSchema } from '@modelcontextprotocol/sdk/types.js'

const upstream = process.argv[2]
const sessions = new Map()

async function begin() {
  const server = new Server({ name: 'bench', version: '1' }, { capabilities: { tools: {} } })
  if (upstream === 'server') {
    server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools: [{ name: 'read_file', inputSchema: { type: 'object' } }] }))
    server.setRequestHandler(CallToolRequestSchema, async () => ({ content: [{ type: 'text', text: 'done' }] }))
  } else {
    const client = new Client({ name: 'proxy', version: '1' })
    await client.connect(new StreamableHTTPClientTransport(new URL(upstream)))
    server.setRequestHandler(ListToolsRequestSchema, (request) => client.request(request, ListToolsResultSchema))
    server.setRequestHandler(CallToolRequestSchema, (request) => client.request(request, CallToolResultSchema))
  }
  const transport = new StreamableHTTPServerTransport({ sessionIdGenerator: randomUUID, enableJsonResponse: true, onsessioninitialized: (id) => sessions.set(id, transport) })
  await server.connect(transport)
  return transport
}

createServer(async (req, res) => {
  const transport = sessions.get(req.headers['mcp-session-id']) ?? (await begin())
  await transport.handleRequest(req, res)
}).listen(0, '127.0.0.1', function () {
  console.log(JSON.stringify({ endpoint: `http://127.0.0.1:${this.address().port}/mcp` }))
})
