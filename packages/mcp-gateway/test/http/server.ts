import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import { nodeClock } from '@sealwrit/gate'
import type { Denied, JsonObject } from '@sealwrit/protocol'
import { httpLinks, serverUrl } from '@sealwrit/mcp-gateway/server-http'
import type { ServerLink } from '../../src/server/link.ts'

/** What a scripted server got. */
export interface Got {
  readonly method: string
  readonly headers: http.IncomingHttpHeaders
  readonly rawHeaders: readonly string[]
  readonly body: string
  readonly message: JsonObject | undefined
}

export type Script = (got: Got, res: http.ServerResponse) => void

/** A server on a real socket that does what it is told, and remembers every request. */
export class ScriptedServer {
  readonly got: Got[] = []
  readonly #server: http.Server
  script: Script

  constructor(script: Script) {
    this.script = script
    this.#server = http.createServer((req, res) => {
      const chunks: Buffer[] = []
      req.on('data', (chunk: Buffer) => chunks.push(chunk))
      req.on('end', () => {
        const body = Buffer.concat(chunks).toString()
        const got: Got = { method: req.method ?? '', headers: req.headers, rawHeaders: req.rawHeaders, body, message: body === '' ? undefined : (JSON.parse(body) as JsonObject) }
        this.got.push(got)
        this.script(got, res)
      })
    })
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve))
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/mcp`
  }
  get connections(): Promise<number> {
    return new Promise((resolve) => this.#server.getConnections((_error, count) => resolve(count)))
  }
  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

export function json(res: http.ServerResponse, body: object, headers: Record<string, string> = {}, status = 200): void {
  res.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

/** A link, and what it told; a request that was answered fails no more, as with the gateway's own bookkeeping. */
export class Linked {
  readonly link: ServerLink
  readonly messages: { readonly message: JsonObject; readonly answers: number | undefined }[] = []
  readonly failures = new Map<number, Denied>()
  readonly answered = new Set<number>()
  closed: string | undefined

  constructor(url: string, headers: () => Record<string, string> = () => ({})) {
    this.link = httpLinks({ url: serverUrl(url), headers, clock: nodeClock }).open({
      message: (bytes, answers) => {
        const message = JSON.parse(Buffer.from(bytes).toString()) as JsonObject
        this.messages.push({ message, answers })
        if ('method' in message || message['id'] !== answers) return
        this.answered.add(answers as number)
        this.link.answered?.(answers as number)
      },
      failed: (id, denied) => {
        if (!this.answered.has(id)) this.failures.set(id, denied)
      },
      closed: (reason) => {
        this.closed = reason
      },
    })
  }
}

/** Waits until something is so; fails after two seconds. */
export async function until(what: () => boolean | undefined | Promise<boolean>, ms = 2_000): Promise<void> {
  const end = performance.now() + ms
  while (!(await what())) {
    if (performance.now() > end) throw new Error(`it never came to be: ${what.toString()}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
