// A minimal stdio server on the official SDK, with one tool that the starter policies permit.
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'

const server = new Server({ name: 'bench', version: '1' }, { capabilities: { tools: {} } })
server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools: [{ name: 'read_file', inputSchema: { type: 'object' } }] }))
server.setRequestHandler(CallToolRequestSchema, async ({ params }) => ({ content: [{ type: 'text', text: params.arguments?.bytes === undefined ? 'done' : 'x'.repeat(params.arguments.bytes) }] }))
await server.connect(new StdioServerTransport())
