// The MCP server of the day: reports that can be read, deleted and followed. It writes a line for everything that it really does.
import * as fs from 'node:fs'
import * as path from 'node:path'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'

const [, , folder] = process.argv
const did = (what) => fs.appendFileSync(path.join(folder, '..', 'did.txt'), `${what}\n`)
const inputSchema = { type: 'object', properties: { path: { type: 'string' } }, required: ['path'] }
const text = (value) => ({ content: [{ type: 'text', text: value }] })

const tools = {
  read_report: async (file) => text(fs.readFileSync(file, 'utf8')),
  delete_report: async (file) => {
    fs.rmSync(file)
    return text('deleted')
  },
  // Goes on until somebody stops it.
  follow_report: (file, signal) =>
    new Promise((resolve) => {
      const going = setInterval(() => did(`following ${path.basename(file)}`), 50)
      signal.addEventListener('abort', () => {
        clearInterval(going)
        resolve(text('stopped'))
      })
    }),
}

const server = new Server({ name: 'reports', version: '1' }, { capabilities: { tools: {} } })
server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools: Object.keys(tools).map((name) => ({ name, description: name, inputSchema })) }))
server.setRequestHandler(CallToolRequestSchema, async ({ params }, { signal }) => {
  const file = String(params.arguments?.path)
  // Under which permit it runs: what it asks of others it asks below that.
  const parent = params._meta?.['sealwrit/parent']
  if (parent !== undefined) fs.writeFileSync(path.join(folder, '..', 'parent.json'), JSON.stringify(parent))
  did(`${params.name} ${path.basename(file)}`)
  return tools[params.name](file, signal)
})
await server.connect(new StdioServerTransport())
