// An ungoverned pass-through proxy on the official SDK: the baseline of P4.
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { CallToolRequestSchema, CallToolResultSchema, ListToolsRequestSchema, ListToolsResultSchema } from '@modelcontextprotocol/sdk/types.js'

const [command, ...args] = process.argv.slice(2)
const client = new Client({ name: 'proxy', version: '1' })
await client.connect(new StdioClientTransport({ command, args, stderr: 'ignore' }))
const server = new Server({ name: 'proxy', version: '1' }, { capabilities: { tools: {} } })
server.setRequestHandler(ListToolsRequestSchema, (request) => client.request(request, ListToolsResultSchema))
server.setRequestHandler(CallToolRequestSchema, (request) => client.request(request, CallToolResultSchema))
await server.connect(new StdioServerTransport())
