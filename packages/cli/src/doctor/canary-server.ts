import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { CANARY_TOOLS } from './canary-tools.ts'

/**
 * A small, honest MCP server for `sealwrit doctor`: its tools append one line to the file it was given, so that what ran
 * can be read from outside. `touch` is permitted by the starter policies, `touch_forbidden` by none.
 */
const file = process.argv[2]
if (file === undefined) throw new Error('usage: canary-server FILE')

function answer(method: string, params: { name?: string; protocolVersion?: string }): unknown {
  switch (method) {
    case 'initialize':
      return { protocolVersion: params.protocolVersion, capabilities: { tools: {} }, serverInfo: { name: 'sealwrit-canary', version: '1' } }
    case 'tools/list':
      return { tools: CANARY_TOOLS }
    case 'tools/call':
      appendFileSync(file as string, `${params.name}\n`)
      return { content: [{ type: 'text', text: 'done' }] }
    default:
      return {}
  }
}

createInterface({ input: process.stdin }).on('line', (line) => {
  const message = JSON.parse(line) as { id?: number; method: string; params?: { name?: string; protocolVersion?: string; arguments?: { linger_ms?: number } } } // oxlint-disable-line no-restricted-properties -- a test server behind the gate
  if (message.id === undefined) return
  const reply = `${JSON.stringify({ jsonrpc: '2.0', id: message.id, result: answer(message.method, message.params ?? {}) })}\n`
  setTimeout(() => process.stdout.write(reply), message.params?.arguments?.linger_ms ?? 0)
})
