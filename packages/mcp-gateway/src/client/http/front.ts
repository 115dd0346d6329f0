import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Clock, Denied, DENIALS, type JsonObject, type Rng } from '@sealwrit/protocol'
import { Bytes } from '../../bytes.ts'
import { BadMessage, MAX_CLIENT_LINE, type Message, parseClientMessage, type RequestId } from '../../messages.ts'
import { HEADER_MISMATCH, namedRevision, SESSIONS, STATELESS, UNSUPPORTED_VERSION } from '../../revision.ts'
import { answerLine, refusal } from '../answers.ts'
import { factsOfInitialize, UnsupportedRevision } from '../facts.ts'
import type { Answer, OpenSeat } from '../seat.ts'
import { sendJson } from './exchange.ts'
import { accepts, type Headers, isJson, readHeaders, verifyHeaders } from './headers.ts'
import type { Places } from './places.ts'
import { Refusals } from '../refusals.ts'
import { SESSION_HEADER } from './session.ts'
import { Sessions } from './sessions.ts'
import { Stateless } from './stateless.ts'
import { type Authorize, NotAuthorized, type Visitor } from './visitor.ts'

/** The one path that messages are sent to. */
export const ENDPOINT = '/mcp'
/** Connections at once. */
export const MAX_CONNECTIONS = 512
/** Headers of one request, in bytes. */
export const MAX_HEADER_BYTES = 16_384
/** A stream that only tells ends after this time at the latest, in milliseconds: its client asks anew. */
const MAX_LISTEN_MS = 86_400_000
/** Time for the headers, and for a whole request to arrive, in milliseconds. */
const [HEADERS_MS, REQUEST_MS, IDLE_MS] = [10_000, 30_000, 65_000]

export interface FrontOptions {
  readonly openSeat: OpenSeat
  readonly authorize: Authorize
  readonly places: Places
  /** Documents that anybody may read, by path: what tells clients how to be authorized. */
  readonly documents?: ReadonlyMap<string, JsonObject>
  /** Records what was refused before any seat saw it. */
  readonly refused: (denied: Denied) => void
  /** Says why a server was lost to a client, or what leads to it: its session is over. */
  readonly lost?: (reason: string) => void
  readonly clock: Clock
  readonly rng: Rng
}

/**
 * Clients over streamable HTTP, in both revisions. What a request has to pass, in this order: limits of the connection, from where it is
 * asked, who asks, what it is, and only then its body is read, up to its limit, and parsed once, strictly.
 */
export class HttpFront {
  readonly #options: FrontOptions
  readonly #server: http.Server
  readonly #sessions: Sessions
  readonly #stateless: Stateless
  readonly #refusals: Refusals

  constructor(options: FrontOptions) {
    this.#options = options
    const { clock, rng, lost = () => undefined } = options
    this.#refusals = new Refusals(clock, options.refused)
    this.#sessions = new Sessions(options.openSeat, { clock, rng, lost })
    this.#stateless = new Stateless(options.openSeat, clock, lost)
    this.#server = http.createServer({ maxHeaderSize: MAX_HEADER_BYTES, headersTimeout: HEADERS_MS, requestTimeout: REQUEST_MS, keepAliveTimeout: IDLE_MS, connectionsCheckingInterval: 5_000, requireHostHeader: false })
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.on('request', (req: http.IncomingMessage, res: http.ServerResponse) => void this.#handle(req, res))
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => this.#noRequest(error, socket))
    this.#server.on('checkContinue', (req: http.IncomingMessage, res: http.ServerResponse) => void this.#handle(req, res))
  }

  /** @throws what the system refuses with */
  listen(host: string, port: number): Promise<AddressInfo> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host, port }, () => {
        this.#server.off('error', reject)
        resolve(this.#server.address() as AddressInfo)
      })
    })
  }

  /** Ends every seat and every connection. */
  async close(reason: string): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    this.#sessions.close(reason)
    this.#stateless.close(reason)
    setImmediate(() => this.#server.closeAllConnections())
    await closed
  }

  async #handle(req: http.IncomingMessage, res: http.ServerResponse): Promise<void> {
    res.on('error', () => undefined)
    const about: About = { id: null, isStateless: false }
    try {
      const headers = readHeaders(req.rawHeaders)
      this.#options.places.verify(headers.get('host'), headers.get('origin'))
      const origin = headers.get('origin')
      if (origin !== undefined) for (const [name, value] of Object.entries(crossOrigin(origin))) res.setHeader(name, value)
      if (this.#isDocument(req, res)) return
      if (req.url !== ENDPOINT) throw new HttpRefusal(404, new Denied('request_malformed', `nothing is at this path; the endpoint is ${ENDPOINT}`))
      if (req.method === 'OPTIONS' && origin !== undefined) return void res.writeHead(204, PREFLIGHT).end()
      if (req.method !== 'POST' && req.method !== 'GET' && req.method !== 'DELETE') throw notAllowed('POST, GET, DELETE')
      const visitor = await this.#options.authorize(headers.get('authorization'))
      if (req.method === 'POST') return await this.#post(req, res, headers, visitor, about)
      this.#overSession(req.method, res, headers, visitor)
    } catch (error) {
      this.#refuse(req, res, error, about)
    }
  }

  // ---- POST

  async #post(req: http.IncomingMessage, res: http.ServerResponse, headers: Headers, visitor: Visitor, about: About): Promise<void> {
    if (!isJson(headers.get('content-type')) || (headers.get('content-encoding') ?? 'identity') !== 'identity') throw new HttpRefusal(415, new Denied('request_malformed', 'a message is application/json in UTF-8'))
    if (!accepts(headers.get('accept'), 'application/json') || !accepts(headers.get('accept'), 'text/event-stream')) throw new HttpRefusal(406, new Denied('request_malformed', 'a client takes application/json and text/event-stream'))
    const message = parseClientMessage(await readBody(req, res, headers))
    if (message.kind === 'request') about.id = message.id
    const said = headers.get('mcp-protocol-version')
    const named = 'params' in message ? namedRevision(message.params) : undefined
    if ((named !== undefined && named !== SESSIONS) || said === STATELESS) return this.#alone(message, headers, visitor, res, about)
    if (said !== undefined && said !== SESSIONS) throw new UnsupportedRevision(said, UNSUPPORTED_VERSION)
    await this.#inSession(message, headers, visitor, res)
  }

  async #alone(message: Message, headers: Headers, visitor: Visitor, res: http.ServerResponse, about: About): Promise<void> {
    if (message.kind === 'result' || message.kind === 'error') throw new Denied('request_malformed', 'an answer to nothing')
    const { method, params } = message
    about.isStateless = true
    if (message.kind === 'notification') {
      this.#stateless.notification(method, params, visitor)
      return void res.writeHead(202).end()
    }
    const mirrored = verifyHeaders(headers, method, params)
    if (namedRevision(params) === undefined) throw new Denied('request_malformed', 'a request says its revision in _meta')
    if (method === 'subscriptions/listen') this.#endsInTime(res, visitor)
    await this.#stateless.request(message.id, method, params, mirrored, visitor, res)
  }

  async #inSession(message: Message, headers: Headers, visitor: Visitor, res: http.ServerResponse): Promise<void> {
    if (message.kind === 'request' && message.method === 'initialize') {
      if (headers.has(SESSION_HEADER)) throw new Denied('request_malformed', 'a session begins without an id')
      const client = factsOfInitialize(message.params)
      return this.#sessions.begin(visitor).initialize(message.id, message.params, client, visitor, res)
    }
    const session = this.#find(headers, visitor)
    if (message.kind === 'request') return session.request(message.id, message.method, message.params, visitor, res)
    if (message.kind === 'notification') session.notification(message.method, message.params)
    else if (!session.answer(message.id, message.kind === 'result' ? { result: message.result } : { error: message.error })) throw new HttpRefusal(400, new Denied('method_unknown', 'an answer to nothing')) // ATK-095
    res.writeHead(202).end()
  }

  // ---- GET and DELETE

  #overSession(method: 'GET' | 'DELETE', res: http.ServerResponse, headers: Headers, visitor: Visitor): void {
    const said = headers.get('mcp-protocol-version')
    if (!headers.has(SESSION_HEADER) || said === STATELESS) throw notAllowed('POST')
    if (said !== undefined && said !== SESSIONS) throw new UnsupportedRevision(said, UNSUPPORTED_VERSION)
    const session = this.#find(headers, visitor)
    if (method === 'DELETE') {
      session.end('ended by the client')
      return void res.writeHead(204).end()
    }
    if (!accepts(headers.get('accept'), 'text/event-stream')) throw new HttpRefusal(406, new Denied('request_malformed', 'a client takes text/event-stream'))
    this.#endsInTime(res, visitor)
    if (!session.listen(res, headers.get('last-event-id'))) throw new HttpRefusal(404, new Denied('request_malformed', 'nothing is kept after this event'))
  }

  /** What only tells is told no longer than the credential is good that it was asked for with. */
  #endsInTime(res: http.ServerResponse, { untilMs = Number.POSITIVE_INFINITY }: Visitor): void {
    const { clock } = this.#options
    res.once('close', clock.after(Math.min(MAX_LISTEN_MS, Math.max(0, untilMs - clock.wallMs())), () => res.end()))
  }

  #find(headers: Headers, visitor: Visitor): ReturnType<Sessions['begin']> {
    const id = headers.get(SESSION_HEADER)
    if (id === undefined) throw new Denied('request_malformed', 'no session: begin with initialize, or say what each request has to say')
    try {
      const session = this.#sessions.find(id, visitor)
      if (session !== undefined) return session
    } catch (error) {
      throw new NoSession(error as Denied)
    }
    throw new NoSession(new Denied('request_malformed', 'no such session'))
  }

  // ---- documents and refusals

  #isDocument(req: http.IncomingMessage, res: http.ServerResponse): boolean {
    const document = this.#options.documents?.get(req.url ?? '')
    if (document === undefined) return false
    if (req.method !== 'GET') throw notAllowed('GET')
    sendJson(res, 200, JSON.stringify(document))
    return true
  }

  /** Bytes that are no HTTP request, or too many of them, or too late: the connection ends, with nothing of it passed on. */
  #noRequest({ code }: NodeJS.ErrnoException, socket: Duplex): void {
    if (code === 'ECONNRESET' || !socket.writable) return void socket.destroy()
    const isLimit = code === 'HPE_HEADER_OVERFLOW' || code === 'ERR_HTTP_REQUEST_TIMEOUT'
    this.#refusals.take(new Denied(isLimit ? 'limit_exceeded' : 'request_malformed', 'no HTTP request'))
    const status = code === 'HPE_HEADER_OVERFLOW' ? '431 Request Header Fields Too Large' : code === 'ERR_HTTP_REQUEST_TIMEOUT' ? '408 Request Timeout' : '400 Bad Request'
    socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
  }

  #refuse(req: http.IncomingMessage, res: http.ServerResponse, error: unknown, about: About): void {
    const denied = error instanceof HttpRefusal || error instanceof NoSession ? error.denied : error instanceof Denied ? error : new Denied('unavailable')
    this.#refusals.take(denied)
    if (res.headersSent || res.destroyed) return void res.destroy()
    // What of the request was not read will not be.
    if (!req.complete) res.setHeader('connection', 'close')
    const id = error instanceof BadMessage ? error.id : about.id
    const { status, headers, answer } = answerTo(error, denied, about.isStateless)
    sendJson(res, status, answerLine(id, answer), headers)
  }
}

/** What is known of a request when it is refused. */
interface About {
  id: RequestId | null
  isStateless: boolean
}

/** A refusal with a status of its own. */
class HttpRefusal extends Error {
  readonly status: number
  readonly denied: Denied
  readonly headers: Readonly<Record<string, string>>
  constructor(status: number, denied: Denied, headers: Readonly<Record<string, string>> = {}) {
    super(denied.message)
    this.status = status
    this.denied = denied
    this.headers = headers
  }
}

/** Whoever asks for a session that there is not, or that is somebody else's, learns one and the same. */
class NoSession extends Error {
  readonly denied: Denied
  constructor(denied: Denied) {
    super('no such session')
    this.denied = denied
  }
}

function notAllowed(allow: string): HttpRefusal {
  return new HttpRefusal(405, new Denied('request_malformed', 'this method has no meaning here'), { allow })
}

function answerTo(error: unknown, denied: Denied, isStateless: boolean): { status: number; headers: Readonly<Record<string, string>>; answer: Answer } {
  if (error instanceof NoSession) return { status: 404, headers: {}, answer: refusal('request_malformed', { hint: 'begin a new session with initialize' }) }
  if (error instanceof HttpRefusal) return { status: error.status, headers: error.headers, answer: refusal(denied.code) }
  if (error instanceof NotAuthorized) return { status: error.status, headers: { 'www-authenticate': error.challenge }, answer: refusal(denied.code) }
  if (denied instanceof UnsupportedRevision) return { status: 400, headers: {}, answer: denied.answer() }
  if (denied.code === 'action_mismatch') return { status: 400, headers: {}, answer: refusal(denied.code, {}, HEADER_MISMATCH) }
  // A body that cannot be read is a bad request, whatever is wrong with it.
  const status = denied instanceof BadMessage && denied.code !== 'limit_exceeded' ? 400 : DENIALS[denied.code].http
  const headers: Record<string, string> = status === 429 || status === 503 ? { 'retry-after': '1' } : {}
  return { status, headers, answer: refusal(denied.code, {}, isStateless && denied.code === 'request_malformed' ? -32602 : undefined) }
}

/** @throws {Denied} `limit_exceeded`; `unavailable` where it breaks off */
function readBody(req: http.IncomingMessage, res: http.ServerResponse, headers: Headers): Promise<Uint8Array> {
  const length = Number(headers.get('content-length') ?? 0)
  if (length > MAX_CLIENT_LINE) return Promise.reject(new Denied('limit_exceeded', 'a longer message than is taken'))
  if (headers.get('expect') !== undefined) res.writeContinue()
  return new Promise((resolve, reject) => {
    const bytes = new Bytes(MAX_CLIENT_LINE)
    bytes.expect(length)
    req.on('data', (chunk: Uint8Array) => {
      if (bytes.append(chunk)) return
      req.removeAllListeners('data').pause()
      reject(new Denied('limit_exceeded', 'a longer message than is taken'))
    })
    req.once('end', () => resolve(bytes.take()))
    req.once('close', () => reject(new Denied('unavailable', 'the request broke off')))
  })
}

/** A page that may ask here may also read what is answered. */
function crossOrigin(origin: string): Record<string, string> {
  return { 'access-control-allow-origin': origin, 'access-control-expose-headers': 'Mcp-Session-Id, WWW-Authenticate', vary: 'Origin' }
}
const PREFLIGHT = { 'access-control-allow-methods': 'POST, GET, DELETE', 'access-control-allow-headers': '*, Authorization', 'access-control-max-age': '600' }

export { Places } from './places.ts'
export { oauth, type OAuthOptions } from './oauth.ts'
export { localToken } from './token.ts'
export { type Authorize, NotAuthorized, type Visitor } from './visitor.ts'
