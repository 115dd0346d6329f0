// A stdio MCP server whose one tool appends its argument to a file: what is in the file really ran. Not part of the product.
import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'

const file = process.argv[2]
const tools = [{ name: 'touch', inputSchema: { type: 'object', properties: { id: { type: 'string' } } } }]
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method, params } = JSON.parse(line)
  if (id === undefined) return
  if (method === 'tools/call') appendFileSync(file, `${params.arguments.id}\n`)
  const result = method === 'initialize' ? { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'canary', version: '1' } } : method === 'tools/list' ? { tools } : { content: [] }
  process.stdout.write(`${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`)
})
