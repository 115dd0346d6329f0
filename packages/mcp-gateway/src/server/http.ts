// oxlint-disable-next-line typescript/triple-slash-reference -- a declaration of a part of a package that has none of its own
/// <reference path="./undici-pool.d.ts" />
import { type Clock, Denied } from '@sealwrit/protocol'
import type { Dispatcher } from 'undici'
import Pool from 'undici/lib/dispatcher/pool.js'
import { parseServerMessage } from '../messages.ts'
import { toHeader } from '../mirror.ts'
import { SESSIONS, STATELESS } from '../revision.ts'
import { ResponseReader } from './http-response.ts'
import type { LinkEvents, OpenLink, Route, ServerLink } from './link.ts'
import { loopbackLookup } from './server-url.ts'

/** Connections to a server at once: one for each call that waits, each answer to it, and its stream. */
export const MAX_CONNECTIONS = 320
/** Messages that wait until the server took `notifications/initialized`. */
export const MAX_HELD_BACK = 512
/** Messages without an answer that the server has not taken yet. */
export const MAX_TOLD = 512
/** Times that a stream is resumed without an event in between before its request counts as failed. */
export const MAX_RESUMES = 20
/** Longest session id, in characters. */
export const MAX_SESSION_ID = 512
/** Longest headers of a response, in bytes. */
const MAX_HEADER_BYTES = 16_384
/** Time to connect, for a side request, and to say goodbye, in milliseconds; calls have the time of their permit. */
const [CONNECT_MS, SIDE_MS, BYE_MS] = [10_000, 30_000, 2_000]
/** Unused connections are closed before the usual server closes them: what is sent into a closing one is lost. */
const IDLE_MS = 4_000
/** How long to wait before a stream is resumed, where the server says nothing, at least and at most, in milliseconds. */
const [RETRY_MS, MIN_RETRY_MS, MAX_RETRY_MS] = [1_000, 50, 30_000]
/** A stream that goes on after its answer is ended after this time, in milliseconds. */
const LINGER_MS = 5_000

export interface HttpServer {
  /** From `serverUrl`. */
  readonly url: URL
  /** The operator's own headers, as credentials; read for each request, so that they can be replaced. Nothing of a client gets here. */
  readonly headers: () => Readonly<Record<string, string>>
  readonly clock: Clock
}

/** One request whose answer is waited for. */
interface Exchange {
  readonly id: number
  reader: ResponseReader | undefined
  /** Where its stream can be resumed. */
  after: string | undefined
  retryMs: number
  resumes: number
  isAnswered: boolean
  /** Ends what goes on after its answer. */
  cancelLinger: () => void
}

/**
 * Links to a server over streamable HTTP, in both revisions; each with connections of its own.
 * @returns also what to wait for before the process ends: servers are told that their sessions are over
 */
export function httpLinks(server: HttpServer): { readonly open: OpenLink; readonly goodbyes: () => Promise<unknown> } {
  const goodbyes = new Set<Promise<void>>()
  return {
    open: (events) => new HttpLink(server, events, (goodbye) => void goodbyes.add(goodbye.finally(() => goodbyes.delete(goodbye)))),
    goodbyes: () => Promise.all(goodbyes),
  }
}

/**
 * @see MCP 2026-07-28, basic/transports/streamable-http; MCP 2025-11-25, basic/transports. Nothing is sent twice: what broke after it was
 * sent may have happened.
 */
class HttpLink implements ServerLink {
  readonly #server: HttpServer
  readonly #events: LinkEvents
  readonly #leaving: (goodbye: Promise<void>) => void
  readonly #pool: InstanceType<typeof Pool>
  readonly #exchanges = new Map<number, Exchange>()
  /** What waits for the server to take `notifications/initialized`. */
  #heldBack: (readonly [string, Route])[] | undefined
  #session: string | undefined
  #told = 0
  #listening: ResponseReader | undefined
  #open = true

  constructor(server: HttpServer, events: LinkEvents, leaving: (goodbye: Promise<void>) => void) {
    this.#leaving = leaving
    this.#server = server
    this.#events = events
    this.#pool = new Pool(server.url.origin, {
      connections: MAX_CONNECTIONS, pipelining: 1, allowH2: false, maxHeaderSize: MAX_HEADER_BYTES, keepAliveTimeout: IDLE_MS, keepAliveMaxTimeout: 60_000, connectTimeout: CONNECT_MS,
      connect: { rejectUnauthorized: true, timeout: CONNECT_MS, ...(server.url.protocol === 'http:' ? { lookup: loopbackLookup } : {}) },
    })
  }

  send(text: string, route: Route): void {
    if (!this.#open) return this.#fail(route.id, new Denied('unavailable', 'the server is gone'))
    if (route.revision === SESSIONS && this.#heldBack !== undefined) {
      if (this.#heldBack.length >= MAX_HELD_BACK) return this.#fail(route.id, new Denied('overloaded', 'the server did not take its initialization'))
      this.#heldBack.push([text, route])
      return
    }
    if (route.id !== undefined) return this.#ask(text, route, route.id)
    // Closing the response is the cancellation there, and there is no other notification by a client.
    if (route.revision === STATELESS && route.method === 'notifications/cancelled') return
    this.#tell(text, route)
  }

  drop(id: number): void {
    const exchange = this.#exchanges.get(id)
    this.#exchanges.delete(id)
    exchange?.cancelLinger()
    exchange?.reader?.abort()
    if (this.#heldBack !== undefined) this.#heldBack = this.#heldBack.filter(([, route]) => route.id !== id)
  }

  /** A stream that nobody ends would hold its connection for ever. */
  answered(id: number): void {
    const exchange = this.#exchanges.get(id)
    if (exchange === undefined || exchange.isAnswered) return
    exchange.isAnswered = true
    exchange.cancelLinger = this.#server.clock.after(LINGER_MS, () => {
      if (this.#exchanges.get(id) === exchange) this.drop(id)
    })
  }

  close(): void {
    this.#end()
  }

  /** As {@link close}: the server is another machine's, and is told that the session is over. */
  kill(): void {
    this.#end()
  }

  // ---- one message

  #ask(text: string, route: Route, id: number): void {
    const exchange: Exchange = { id, reader: undefined, after: undefined, retryMs: RETRY_MS, resumes: 0, isAnswered: false, cancelLinger: () => undefined }
    this.#exchanges.set(id, exchange)
    this.#read(exchange, 'answer', { method: 'POST', body: text, headers: this.#headersFor(route), headersTimeout: 0 }, route)
  }

  #read(exchange: Exchange, wants: 'answer' | 'stream', request: Sending, route: Route): void {
    const { id } = exchange
    exchange.reader = new ResponseReader(wants, {
      started: (status, header) => {
        if (status < 300 && route.method === 'initialize' && route.revision === SESSIONS) this.#begin(header('mcp-session-id'))
        if (status === 202 || status === 204) throw new Denied('unavailable', 'the server took a request and answered nothing')
      },
      message: (bytes) => {
        exchange.resumes = 0
        this.#events.message(bytes, id)
      },
      refused: (status, body) => this.#refused(exchange, status, body, route),
      id: (after) => {
        if (after !== exchange.after) exchange.resumes = 0
        exchange.after = after
      },
      retry: (ms) => {
        exchange.retryMs = ms
      },
      ended: (broken) => this.#ended(exchange, broken, route),
    })
    this.#dispatch(request, exchange.reader)
  }

  /** An error status whose body is the answer to this very request is that answer. */
  #refused(exchange: Exchange, status: number, body: Uint8Array | undefined, route: Route): void {
    if (body !== undefined && isAnswer(body, exchange.id)) return this.#events.message(body, exchange.id)
    this.#exchanges.delete(exchange.id)
    this.#fail(exchange.id, refusal(status))
    if (status === 404 && route.revision === SESSIONS && this.#session !== undefined) this.#gone('the server ended the session')
  }

  /** A stream that ended before its answer is resumed where it can be; what is over twice is ignored by whom it is told. */
  #ended(exchange: Exchange, broken: Denied | undefined, route: Route): void {
    const { id, after } = exchange
    if (this.#exchanges.get(id) !== exchange) return
    const canResume = route.revision === SESSIONS && after !== undefined && this.#open && broken?.code !== 'limit_exceeded' && !exchange.isAnswered
    if (!canResume || exchange.resumes >= MAX_RESUMES) {
      exchange.cancelLinger()
      this.#exchanges.delete(id)
      return this.#fail(id, broken ?? new Denied('unavailable', 'the server ended its response without an answer'))
    }
    exchange.resumes++
    this.#server.clock.after(waitMs(exchange.retryMs), () => {
      if (this.#exchanges.get(id) === exchange && this.#open) this.#read(exchange, 'stream', { method: 'GET', headers: { ...this.#streamHeaders(), 'last-event-id': after }, headersTimeout: SIDE_MS }, { revision: SESSIONS })
    })
  }

  /** A notification, or an answer to the server: nothing comes back. */
  #tell(text: string, route: Route): void {
    const isInitialized = route.revision === SESSIONS && route.method === 'notifications/initialized'
    if (isInitialized) this.#heldBack = []
    if (this.#told >= MAX_TOLD) return this.#gone('the server does not take what it is told')
    this.#told++
    this.#dispatch({ method: 'POST', body: text, headers: this.#headersFor(route), headersTimeout: SIDE_MS }, new ResponseReader('nothing', {
      message: () => undefined,
      refused: (status) => {
        if (status === 404 && this.#session !== undefined && route.revision === SESSIONS) this.#gone('the server ended the session')
      },
      ended: () => {
        this.#told--
        if (isInitialized) this.#initialized()
      },
    }))
  }

  // ---- sessions

  #begin(session: string | undefined): void {
    if (session === undefined) return
    if (session.length > MAX_SESSION_ID || !/^[!-~]+$/.test(session)) throw new Denied('unavailable', 'the server gave a session id that is none')
    this.#session = session
  }

  #initialized(): void {
    const waiting = this.#heldBack ?? []
    this.#heldBack = undefined
    if (!this.#open) return
    this.#listen(undefined, 0, RETRY_MS)
    for (const [text, route] of waiting) this.send(text, route)
  }

  /** The stream of what belongs to no request. A server need not have one. */
  #listen(after: string | undefined, resumes: number, retryMs: number): void {
    let [at, tries, wait, has] = [after, resumes, retryMs, true]
    this.#listening = new ResponseReader('stream', {
      message: (bytes) => {
        tries = 0
        this.#events.message(bytes)
      },
      refused: (status) => {
        has = false
        if (status === 404 && this.#session !== undefined) this.#gone('the server ended the session')
      },
      id: (id) => {
        at = id
      },
      retry: (ms) => {
        wait = ms
      },
      ended: () => {
        if (!has || !this.#open || tries >= MAX_RESUMES) return
        this.#server.clock.after(waitMs(wait), () => {
          if (this.#open) this.#listen(at, tries + 1, wait)
        })
      },
    })
    this.#dispatch({ method: 'GET', headers: { ...this.#streamHeaders(), ...(after === undefined ? {} : { 'last-event-id': after }) }, headersTimeout: SIDE_MS }, this.#listening)
  }

  // ---- how it is sent

  #dispatch(request: Sending, reader: ResponseReader): void {
    const { url, headers } = this.#server
    try {
      this.#pool.dispatch({ path: `${url.pathname}${url.search}`, bodyTimeout: 0, ...request, headers: { ...headers(), ...request.headers } }, reader)
    } catch {
      reader.onResponseError({} as Dispatcher.DispatchController, new Error('not sent'))
    }
  }

  #headersFor({ revision, method, name, mirrored }: Route): Record<string, string> {
    const headers: Record<string, string> = { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }
    if (revision === SESSIONS) return method === 'initialize' ? headers : { ...headers, ...this.#sessionHeaders() }
    headers['mcp-protocol-version'] = STATELESS
    if (method !== undefined) headers['mcp-method'] = toHeader(method)
    if (name !== undefined) headers['mcp-name'] = toHeader(name)
    for (const [param, value] of mirrored ?? []) headers[`mcp-param-${param}`] = toHeader(value)
    return headers
  }

  #sessionHeaders(): Record<string, string> {
    return { 'mcp-protocol-version': SESSIONS, ...(this.#session === undefined ? {} : { 'mcp-session-id': this.#session }) }
  }

  #streamHeaders(): Record<string, string> {
    return { accept: 'text/event-stream', ...this.#sessionHeaders() }
  }

  // ---- ends

  /** Later, so that nobody is called back while sending. */
  #fail(id: number | undefined, denied: Denied): void {
    if (id !== undefined) queueMicrotask(() => this.#events.failed(id, denied))
  }

  #gone(reason: string): void {
    this.#session = undefined
    if (!this.#open) return
    this.#end()
    this.#events.closed(reason)
  }

  #end(): void {
    if (!this.#open) return
    this.#open = false
    for (const id of this.#exchanges.keys()) this.drop(id)
    this.#heldBack = undefined
    this.#listening?.abort()
    const destroy = (): void => void this.#pool.destroy().catch(() => undefined)
    if (this.#session === undefined) return destroy()
    this.#leaving(new Promise((resolve) => {
      const cancel = this.#server.clock.after(BYE_MS, () => ended())
      const ended = (): void => {
        cancel()
        destroy()
        resolve()
      }
      this.#dispatch({ method: 'DELETE', headers: this.#sessionHeaders(), headersTimeout: BYE_MS }, new ResponseReader('nothing', { message: () => undefined, refused: () => undefined, ended }))
    }))
  }
}

type Sending = Pick<Dispatcher.DispatchOptions, 'method' | 'body' | 'headersTimeout'> & { readonly headers: Readonly<Record<string, string>> }

function waitMs(asked: number): number {
  return Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, asked))
}

/** Whether these bytes are the answer to request `id`: a second look, for what an error status brought. */
function isAnswer(bytes: Uint8Array, id: number): boolean {
  try {
    const message = parseServerMessage(bytes)
    return (message.kind === 'result' || message.kind === 'error') && message.id === id
  } catch {
    return false
  }
}

function refusal(status: number): Denied {
  if (status === 429) return new Denied('overloaded', 'the server is asked too much: HTTP 429')
  if (status === 401 || status === 403) return new Denied('unavailable', `the server wants other credentials: HTTP ${status}; see --header-file`)
  return new Denied('unavailable', `the server answered HTTP ${status}`)
}

export { serverHeaders, serverUrl } from './server-url.ts'
