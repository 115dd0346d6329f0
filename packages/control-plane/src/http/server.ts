import { createHash, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { Denied, type DenialCode, DENIALS, type JsonValue, parseStrict, WIRE_LIMITS } from '@sealwrit/protocol'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import type { Plane } from '../plane.ts'
import { METHODS } from '../rpc/methods.ts'
import type { Peer } from '../rpc/peer.ts'
import { eventStream } from './events.ts'

export interface HttpOptions {
  readonly host: string
  readonly port: number
  /** The first-run token that everything asks for that is not in {@link OPEN}. */
  readonly token: string
  /** Whether anybody who reaches the address may read the entries of the log. */
  readonly isLogPublic: boolean
  /** What `/metrics` answers; there is no such path without it. */
  readonly expose?: () => Promise<{ contentType: string; text: string }>
}

/** The address cannot be listened on; the message says why and what to do. */
export class ListenError extends Error {}

/** Time for a whole request, and for its headers, in milliseconds (ATK-084). */
const REQUEST_TIMEOUT_MS = 15_000
const HEADERS_TIMEOUT_MS = 5_000
const MAX_HTTP_CONNECTIONS = 1_024

const gzip = promisify(zlib.gzip)

/** Routes that need no token: they tell nothing but that a plane is there, and its public checkpoint. Tiles ask for it themselves. */
const OPEN: ReadonlySet<string> = new Set(['/', '/healthz', '/readyz', '/t/:tenant/checkpoint', '/t/:tenant/tile/*'])

/** Serves the plane's HTTP API. @throws {ListenError} */
export async function serveHttp(plane: Plane, options: HttpOptions): Promise<{ url: string; close(): Promise<void> }> {
  const app = build(plane, options)
  try {
    const url = await app.listen({ host: options.host, port: options.port })
    return { url, close: () => app.close() }
  } catch (error) {
    await app.close()
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EADDRINUSE') throw new ListenError(`port ${options.port} on ${options.host} is in use; stop what uses it, or choose another with --listen ${options.host}:PORT`)
    if (code === 'EACCES') throw new ListenError(`port ${options.port} may not be opened by this user; choose another with --listen ${options.host}:PORT`)
    throw new ListenError(`cannot listen on ${options.host}:${options.port} (${code ?? 'unknown error'})`)
  }
}

function build(plane: Plane, options: HttpOptions): FastifyInstance {
  const app = fastify({ bodyLimit: WIRE_LIMITS.maxBytes, requestTimeout: REQUEST_TIMEOUT_MS, exposeHeadRoutes: true, logger: false })
  app.server.headersTimeout = HEADERS_TIMEOUT_MS
  app.server.maxConnections = MAX_HTTP_CONNECTIONS
  // One content type, one parser, ours: bytes in, size limit first.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseStrict(body as Buffer, WIRE_LIMITS))
    } catch (error) {
      done(error as Error)
    }
  })
  const refuse = (reply: FastifyReply, code: DenialCode): FastifyReply => {
    plane.metrics.refused(code)
    return problem(reply, code)
  }
  app.setErrorHandler((error, _request, reply) => refuse(reply, codeOf(error)))
  app.setNotFoundHandler((_request, reply) => refuse(reply, 'method_unknown'))
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(SECURITY_HEADERS)
    verifyOrigin(request, options)
    // By the route that was found and not by the text of the URL, which has many spellings for one route.
    const route = request.routeOptions.url
    if (route !== undefined && !OPEN.has(route)) verifyToken(request, options.token)
  })
  routes(app, plane, options)
  const { expose } = options
  if (expose !== undefined) {
    app.get('/metrics', async (_request, reply) => {
      const { contentType, text } = await expose()
      return reply.header('content-type', contentType).header('cache-control', 'no-store').send(text)
    })
  }
  return app
}

function routes(app: FastifyInstance, plane: Plane, options: HttpOptions): void {
  app.get('/', async (_request, reply) => reply.type('text/plain; charset=utf-8').send('Sealwrit control plane. There is no console in this version; use the `sealwrit` command.\n'))
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    const { notReady } = plane
    return notReady === undefined ? { status: 'ready' } : reply.code(503).send({ status: 'not ready', code: notReady.code, reason: notReady.message })
  })
  readPath(app, plane, options)
  const answer = async (method: string, params: JsonValue, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    reply.type('application/json').send(JSON.stringify(await METHODS[method]?.(plane, params, httpPeer(request, params))))
  const serve = (url: string, method: string): void => {
    app.post(url, async (request, reply) => {
      if (request.body === undefined) throw new Denied('request_malformed')
      return answer(method, request.body as JsonValue, request, reply)
    })
  }
  serve('/v1/authorize', 'authorize')
  serve('/v1/redeem', 'redeem')
  serve('/v1/receipts', 'receipts')
  serve('/v1/gates', 'gates.enrol')
  serve('/v1/leases/renew', 'leases.renew')
  serve('/v1/revocations', 'revoke')
  serve('/v1/kills', 'kill')
  serve('/v1/kills/lift', 'unkill')
  for (const url of ['/v1/revocations', '/v1/kills']) app.get(url, (request, reply) => answer('prohibitions', {}, request, reply))
  eventStream(app, plane)
  serve('/v1/approvals', 'approvals.decide')
  app.get('/v1/approvals', (request, reply) => answer('approvals.list', {}, request, reply.header('cache-control', 'no-store')))
  app.get('/v1/approvals/:hold', (request, reply) => answer('approvals.show', { hold: (request.params as { hold: string }).hold }, request, reply.header('cache-control', 'no-store')))
  serve('/v1/nonces', 'nonce')
  const list = (url: string, method: string): void => {
    app.get(url, async (request, reply) => {
      const { from = '0', limit = '100', ...rest } = request.query as Record<string, string>
      if (Object.keys(rest).length > 0 || !/^\d{1,15}$/.test(from) || !/^\d{1,4}$/.test(limit)) throw new Denied('request_malformed')
      return answer(method, { from: Number(from), limit: Number(limit) }, request, reply)
    })
  }
  list('/v1/agents', 'agents.list')
  list('/v1/gates', 'gates.list')
  serve('/v1/policies', 'policies.activate')
}

/**
 * The log's read path. Checkpoint and hashes say nothing about what was done; entries name tools, agents and times, so they
 * ask for the token unless the operator made the log public.
 * @see c2sp.org/tlog-tiles
 */
function readPath(app: FastifyInstance, plane: Plane, options: HttpOptions): void {
  const isHere = (request: FastifyRequest): void => {
    if ((request.params as { tenant: string }).tenant !== plane.log.tenant) throw new Denied('method_unknown')
  }
  app.get('/t/:tenant/checkpoint', async (request, reply) => {
    isHere(request)
    return reply.type('text/plain; charset=utf-8').header('cache-control', 'no-store').send((await plane.log.published()).note)
  })
  app.get('/t/:tenant/tile/*', async (request, reply) => {
    isHere(request)
    const path = `tile/${(request.params as { '*': string })['*']}`
    const isOpen = options.isLogPublic || !path.startsWith('tile/entries/')
    if (!isOpen) verifyToken(request, options.token)
    const tile = Buffer.from(await plane.reader.tile(path))
    reply.type('application/octet-stream').header('cache-control', `${isOpen ? 'public' : 'private'}, max-age=31536000, immutable`)
    const takesGzip = path.startsWith('tile/entries/') && /(^|[\s,])gzip([\s,]|$)/.test(request.headers['accept-encoding'] ?? '')
    return takesGzip ? reply.header('content-encoding', 'gzip').header('vary', 'accept-encoding').send(await gzip(tile)) : reply.send(tile)
  })
}

/** HTTP keeps no connection state: the bearer of the token may speak for its sessions, and names the newest tree it knows. */
function httpPeer(request: FastifyRequest, params: JsonValue): Peer {
  const session = typeof params === 'object' && params !== null && 'session' in params ? params['session' as never] : undefined
  const { newest } = request.query as { newest?: string }
  const size = newest !== undefined && /^\d{1,15}$/.test(newest) ? Number(newest) : 0
  return { shown: { size }, session: typeof session === 'string' ? session : undefined }
}

const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const

/** Only by the names this address was given: a rebound name or a foreign page is refused (ATK-100). */
function verifyOrigin(request: FastifyRequest, { host }: HttpOptions): void {
  const port = request.socket.localPort
  const names = new Set([`${host}:${port}`, `127.0.0.1:${port}`, `localhost:${port}`, `[::1]:${port}`])
  const { origin, host: asked } = request.headers
  if (asked === undefined || !names.has(asked)) throw new Denied('origin_forbidden')
  if (origin !== undefined && !(origin.startsWith('http://') && names.has(origin.slice('http://'.length)))) throw new Denied('origin_forbidden')
}

/** Absent, malformed and wrong are one answer, compared in constant time (ATK-122, ATK-123). */
function verifyToken(request: FastifyRequest, token: string): void {
  const given = request.headers.authorization ?? ''
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest()
  if (!timingSafeEqual(digest(given), digest(`Bearer ${token}`))) throw new Denied('identity_invalid')
}

function codeOf(error: unknown): DenialCode {
  if (error instanceof Denied) return error.code
  switch ((error as { code?: string }).code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return 'limit_exceeded'
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return 'request_malformed'
    default:
      return 'unavailable'
  }
}

/** @see RFC 9457 */
function problem(reply: FastifyReply, code: DenialCode): FastifyReply {
  const { http, meaning, hint } = DENIALS[code]
  const body = { type: `urn:sealwrit:denial:${code}`, title: meaning, status: http, code, hint }
  return reply.code(http).header('content-type', 'application/problem+json').send(Buffer.from(JSON.stringify(body))) // bytes: a charset parameter would be added to text
}
