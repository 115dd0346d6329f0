// A stdio server whose one tool goes on until it is cancelled (`obeys`) or for ever (`deaf`). What it does it says in a file, with
// wall time in milliseconds: when it began and stopped, and, while it goes on, every millisecond that it still does.
import * as fs from 'node:fs'
import { Server } from '@modelcontextprotocol/sdk/server/index.js'
import { StdioServerTransport } from '@modelcontextprotocol/sdk/server/stdio.js'
import { CallToolRequestSchema, ListToolsRequestSchema } from '@modelcontextprotocol/sdk/types.js'

const [, , folder, how] = process.argv
const server = new Server({ name: 'hanging', version: '1' }, { capabilities: { tools: {} } })
const say = (word) => fs.writeFileSync(`${folder}/${word}`, String(performance.timeOrigin + performance.now()))
server.setRequestHandler(ListToolsRequestSchema, async () => ({ tools: [{ name: 'read_file', inputSchema: { type: 'object' } }] }))
server.setRequestHandler(CallToolRequestSchema, async (_request, { signal }) => {
  const going = setInterval(() => say('going'), 1)
  say('going')
  await new Promise((resolve) => how === 'obeys' && signal.addEventListener('abort', resolve))
  clearInterval(going)
  return { content: [] }
})
await server.connect(new StdioServerTransport())
process.stdin.removeAllListeners('end')
