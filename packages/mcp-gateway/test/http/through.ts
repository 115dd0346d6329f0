import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { nodeClock } from '@sealwrit/gate'
import { httpLinks, serverUrl } from '@sealwrit/mcp-gateway/server-http'
import type { FrontOptions } from '@sealwrit/mcp-gateway/client-http'
import type { JsonObject } from '@sealwrit/protocol'
import { afterEach } from 'vitest'
import { type BenchOptions, Governed, honest, stateless } from '../support/bench.ts'
import { Fronted } from './front.ts'
import { type Got, json, ScriptedServer } from './server.ts'

/** What the server does with one call, instead of answering it. */
export type OnCall = (got: Got, res: ServerResponse) => boolean

/** A server of either revision on a real socket, which answers as its twin on lines does. */
export class HttpServerOf {
  readonly server: ScriptedServer
  onCall: OnCall = () => false

  constructor(revision: '2026-07-28' | '2025-11-25', tools: readonly JsonObject[]) {
    const script = revision === '2026-07-28' ? stateless(() => undefined, tools) : honest(() => tools)
    this.server = new ScriptedServer((got, res) => {
      if (got.method === 'GET') return void res.writeHead(405).end()
      if (got.method === 'DELETE') return void res.writeHead(204).end()
      const { id, method } = got.message as { id?: number; method?: string }
      if (id === undefined || method === undefined) return void res.writeHead(202).end()
      if (revision === '2025-11-25' && got.headers['mcp-protocol-version'] === '2026-07-28') return json(res, { jsonrpc: '2.0', id: null, error: { code: -32000, message: 'Bad Request: Unsupported protocol version' } }, {}, 400)
      if (method === 'tools/call' && this.onCall(got, res)) return
      script(got.message as never, (line) => json(res, JSON.parse(line) as object, method === 'initialize' ? { 'mcp-session-id': 'of-the-server' } : {}))
    })
  }

  /** What it got of this method. */
  of(method: string): Got[] {
    return this.server.got.filter(({ message }) => message?.['method'] === method)
  }
  /** Everything that ever reached it, as text. */
  get everything(): string {
    return JSON.stringify(this.server.got.map(({ headers, body }: { headers: IncomingHttpHeaders; body: string }) => [headers, body]))
  }
}

/** Clients over HTTP, a gateway, and a server over HTTP. */
export class Through {
  readonly governed: Governed
  readonly server: HttpServerOf
  readonly at: Fronted

  private constructor(governed: Governed, server: HttpServerOf, at: Fronted) {
    this.governed = governed
    this.server = server
    this.at = at
  }

  static async start(revision: '2026-07-28' | '2025-11-25', options: BenchOptions & { tools?: readonly JsonObject[]; front?: Partial<FrontOptions> } = {}): Promise<Through> {
    const server = new HttpServerOf(revision, options.tools ?? [{ name: 'read_file', description: 'reads', inputSchema: { type: 'object' } }])
    const url = serverUrl(await server.server.listen())
    const governed = new Governed({ ...options, open: httpLinks({ url, headers: () => ({ authorization: 'Bearer of-the-operator' }), clock: nodeClock }).open })
    await governed.gate.connect()
    const at = await new Fronted(undefined, { openSeat: (_guest, port) => governed.openSeat(port), refused: (denied) => void governed.gate.reporter.denial(denied, {}).catch(() => undefined), ...options.front }).listen()
    return new Through(governed, server, at)
  }

  denials(): string[] {
    return this.governed.plane.entries.flatMap((entry) => (entry.kind === 'deny' ? [entry.code] : []))
  }

  async end(): Promise<void> {
    await this.at.close()
    await this.server.server.close()
    this.governed.gate.close()
  }
}

const started: Through[] = []
/** Each is ended with the test that started it. */
export async function through(...args: Parameters<typeof Through.start>): Promise<Through> {
  const one = await Through.start(...args)
  started.push(one)
  return one
}
afterEach(async () => {
  for (const one of started.splice(0)) await one.end()
})
