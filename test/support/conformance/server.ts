// The server that the suite's server scenarios are run against: `server.ts stdio`, or `server.ts http [FILE]`, which says its address, and
// writes every message that it gets into that file.
import { randomUUID } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import type { ReadableStream } from 'node:stream/web'
import { createMcpHandler, type EventStore, hostHeaderValidationResponse, isLegacyRequest, type JSONRPCMessage, localhostAllowedHostnames, localhostAllowedOrigins, originValidationResponse, WebStandardStreamableHTTPServerTransport } from '@modelcontextprotocol/server'
import { serveStdio } from '@modelcontextprotocol/server/stdio'
import { fixtureServer } from './fixture.ts'

const current = createMcpHandler(() => fixtureServer({ tools: () => current.notify.toolsChanged(), prompts: () => current.notify.promptsChanged() }), { legacy: 'reject' })
const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>()

/** Keeps every event, so that a stream can be taken up again. */
function eventStore(): EventStore {
  const events: { id: string; stream: string; message: JSONRPCMessage }[] = []
  return {
    storeEvent: async (stream, message) => {
      const id = randomUUID()
      events.push({ id, stream, message })
      return id
    },
    getStreamIdForEventId: async (id) => events.find((event) => event.id === id)?.stream,
    replayEventsAfter: async (last, { send }) => {
      const from = events.findIndex(({ id }) => id === last)
      const stream = events[from]?.stream ?? ''
      for (const event of events.slice(from + 1)) if (event.stream === stream && 'jsonrpc' in event.message) await send(event.id, event.message)
      return stream
    },
  }
}

async function answer(request: Request): Promise<Response> {
  const refused = hostHeaderValidationResponse(request, localhostAllowedHostnames()) ?? originValidationResponse(request, localhostAllowedOrigins())
  if (refused !== undefined) return refused
  const session = request.headers.get('mcp-session-id')
  if (session !== null) return sessions.get(session)?.handleRequest(request) ?? Response.json({ jsonrpc: '2.0', id: null, error: { code: -32001, message: 'no such session' } }, { status: 404 })
  if (!(await isLegacyRequest(request))) return current.fetch(request)
  const transport: WebStandardStreamableHTTPServerTransport = new WebStandardStreamableHTTPServerTransport({
    sessionIdGenerator: randomUUID,
    eventStore: eventStore(),
    retryInterval: 100,
    onsessioninitialized: (id) => void sessions.set(id, transport),
    onsessionclosed: (id) => void sessions.delete(id),
  })
  await fixtureServer().connect(transport)
  return transport.handleRequest(request)
}

async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const gone = new AbortController()
  outgoing.once('close', () => gone.abort())
  const headers = new Headers()
  for (const [name, value] of Object.entries(incoming.headers)) if (value !== undefined) headers.set(name, [value].flat().join(', '))
  const body = Buffer.concat(await incoming.toArray())
  if (process.argv[3] !== undefined && body.length > 0) appendFileSync(process.argv[3], Buffer.concat([body, Buffer.from('\n')]))
  const response = await answer(new Request(`http://localhost${incoming.url ?? '/'}`, { method: incoming.method ?? 'GET', headers, signal: gone.signal, ...(body.length > 0 ? { body } : {}) }))
  outgoing.writeHead(response.status, Object.fromEntries(response.headers))
  outgoing.flushHeaders()
  if (response.body === null) outgoing.end()
  else Readable.fromWeb(response.body as unknown as ReadableStream).on('error', () => outgoing.end()).pipe(outgoing)
}

if (process.argv[2] === 'stdio') serveStdio(() => fixtureServer())
else {
  const listener = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: unknown) => {
      process.stderr.write(`${String(error)}\n`)
      outgoing.destroy()
    })
  })
  listener.listen(0, '127.0.0.1', () => process.stdout.write(`http://127.0.0.1:${(listener.address() as AddressInfo).port}/mcp\n`))
}
