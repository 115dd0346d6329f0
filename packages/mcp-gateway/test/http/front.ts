import * as http from 'node:http'
import * as net from 'node:net'
import { nodeClock, nodeRng } from '@sealwrit/gate'
import { HttpFront, type FrontOptions, localToken, Places, type Visitor } from '@sealwrit/mcp-gateway/client-http'
import type { Denied, JsonObject } from '@sealwrit/protocol'
import { afterEach } from 'vitest'
import type { Answer, Asked, ClientPort, Guest, Seat } from '../../src/client/seat.ts'
import { STATELESS } from '../../src/revision.ts'

export const TOKEN = 'token-of-ann'
/** Who holds which token. */
const PEOPLE: Readonly<Record<string, string>> = { [TOKEN]: 'ann', 'token-of-bob': 'bob' }

/** A seat that remembers what reached it: whatever is in there was forwarded. */
export class FakeSeat implements Seat {
  readonly asked: Asked[] = []
  readonly notifications: string[] = []
  closed: string | undefined
  readonly guest: Guest
  readonly port: ClientPort
  readonly #script: (asked: Asked, seat: FakeSeat) => Promise<Answer> | Answer
  constructor(guest: Guest, port: ClientPort, script: (asked: Asked, seat: FakeSeat) => Promise<Answer> | Answer) {
    this.guest = guest
    this.port = port
    this.#script = script
  }
  async request(asked: Asked): Promise<Answer> {
    this.asked.push(asked)
    if (asked.method === 'initialize') return { member: 'result', text: '{"capabilities":{},"protocolVersion":"2025-11-25","serverInfo":{"name":"s","version":"1"}}' }
    return this.#script(asked, this)
  }
  notification(method: string): void {
    this.notifications.push(method)
  }
  close(reason: string): void {
    this.closed = reason
  }
}

export const OK: Answer = { member: 'result', text: '{"content":[],"resultType":"complete"}' }

export interface Reply {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  readonly json: JsonObject
}

/** A front on a real socket, with seats that are fakes. */
export class Fronted {
  readonly seats: FakeSeat[] = []
  readonly denials: Denied[] = []
  /** Why seats ended. */
  readonly lost: string[] = []
  readonly front: HttpFront
  port = 0
  #agent = new http.Agent({ keepAlive: true })

  constructor(script: (asked: Asked, seat: FakeSeat) => Promise<Answer> | Answer = () => OK, options: Partial<FrontOptions> = {}) {
    this.front = new HttpFront({
      openSeat: (guest, port) => {
        const seat = new FakeSeat(guest, port, script)
        this.seats.push(seat)
        return seat
      },
      authorize: async (authorization): Promise<Visitor> => {
        const person = PEOPLE[authorization?.slice('Bearer '.length) ?? '']
        return person === undefined ? localToken('another', 'nobody')(authorization) : { principal: person }
      },
      places: new Places(),
      refused: (denied) => this.denials.push(denied),
      lost: (reason) => this.lost.push(reason),
      clock: nodeClock,
      rng: nodeRng,
      ...options,
    })
  }

  async listen(): Promise<this> {
    this.port = (await this.front.listen('127.0.0.1', 0)).port
    return this
  }
  get url(): string {
    return `http://127.0.0.1:${this.port}/mcp`
  }
  get codes(): string[] {
    return this.denials.map(({ code }) => code)
  }
  get reached(): string[] {
    return this.seats.flatMap(({ asked }) => asked.map(({ method }) => method))
  }
  async close(): Promise<void> {
    this.#agent.destroy()
    await this.front.close('the test ends')
  }

  /** One request; `headers` replace those that a client sends, and undefined leaves one out. */
  send(method: string, body: string | Buffer | undefined, headers: Record<string, string | string[] | undefined> = {}, path = '/mcp'): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const req = this.open(method, headers, path, reject, (res) => {
        const chunks: Buffer[] = []
        res.on('data', (chunk: Buffer) => chunks.push(chunk))
        res.on('error', reject)
        res.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          let json = {}
          try {
            json = JSON.parse(text.startsWith('{') ? text : (text.split('data: ').at(-1) ?? '{}')) as JsonObject
          } catch {
            // a stream, or nothing
          }
          resolve({ status: res.statusCode ?? 0, headers: res.headers, text, json })
        })
      })
      req.end(body)
    })
  }

  open(method: string, headers: Record<string, string | string[] | undefined>, path: string, onError: (error: Error) => void, onResponse: (res: http.IncomingMessage) => void): http.ClientRequest {
    const all: Record<string, string | string[] | undefined> = { authorization: `Bearer ${TOKEN}`, accept: 'application/json, text/event-stream', ...(method === 'POST' ? { 'content-type': 'application/json' } : {}), ...headers }
    const sent = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as http.OutgoingHttpHeaders
    const req = http.request({ agent: this.#agent, host: '127.0.0.1', port: this.port, path, method, headers: sent }, onResponse)
    req.on('error', onError)
    return req
  }

  /** A request of the stateless revision whose headers say what it says. */
  alone(method: string, params: JsonObject = {}, headers: Record<string, string | string[] | undefined> = {}, id: string | number = 1): Promise<Reply> {
    const name = params['name'] ?? params['uri']
    return this.send('POST', aloneBody(method, params, id), { 'mcp-protocol-version': STATELESS, 'mcp-method': method, ...(typeof name === 'string' ? { 'mcp-name': name } : {}), ...headers })
  }

  /** Begins a session. @returns its id */
  async session(token = TOKEN): Promise<string> {
    const params = { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'client', version: '1' } }
    const { status, headers } = await this.send('POST', JSON.stringify({ jsonrpc: '2.0', id: 'init', method: 'initialize', params }), { authorization: `Bearer ${token}` })
    if (status !== 200) throw new Error(`not initialized: ${status}`)
    return headers['mcp-session-id'] as string
  }
  inSession(session: string, message: object, headers: Record<string, string | undefined> = {}): Promise<Reply> {
    return this.send('POST', JSON.stringify({ jsonrpc: '2.0', ...message }), { 'mcp-session-id': session, 'mcp-protocol-version': '2025-11-25', ...headers })
  }

  /** Bytes as they are, over a socket of their own; what came back until it was closed, or nothing came for a while. */
  raw(text: string | Buffer): Promise<string> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(this.port, '127.0.0.1', () => socket.write(text))
      let got = ''
      const timer = setTimeout(() => socket.destroy(), 300)
      socket.on('data', (chunk) => (got += chunk.toString('latin1')))
      socket.on('error', reject)
      socket.on('close', () => {
        clearTimeout(timer)
        resolve(got)
      })
    })
  }
}

export function aloneBody(method: string, params: JsonObject, id: string | number = 1): string {
  const meta = { 'io.modelcontextprotocol/protocolVersion': STATELESS, 'io.modelcontextprotocol/clientCapabilities': {}, 'io.modelcontextprotocol/clientInfo': { name: 'client', version: '1' } }
  return JSON.stringify({ jsonrpc: '2.0', id, method, params: { _meta: meta, ...params } })
}

/** The code that an answer says it was refused with. */
export function codeIn({ json }: Reply): string | undefined {
  return (json['error'] as { data?: { code?: string } } | undefined)?.data?.code
}
export function rpcIn({ json }: Reply): number | undefined {
  return (json['error'] as { code?: number } | undefined)?.code
}

const listening: Fronted[] = []
/** Every front that a test listened with is closed when it ends. */
export async function fronted(...args: ConstructorParameters<typeof Fronted>): Promise<Fronted> {
  const front = await new Fronted(...args).listen()
  listening.push(front)
  return front
}
afterEach(async () => {
  for (const front of listening.splice(0)) await front.close()
})
