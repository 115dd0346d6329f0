import { promisify } from 'node:util'
import * as zlib from 'node:zlib'
import { Denied, type DenialCode, DENIALS, type JsonValue, parseStrict, WIRE_LIMITS } from '@sealwrit/protocol'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { call } from '../rpc/call.ts'
import type { Peer } from '../rpc/peer.ts'
import { Access, type Admitted, type Asking, type ServedTenant } from './access.ts'
import { eventStream } from './events.ts'

export interface HttpOptions {
  readonly host: string
  readonly port: number
}

/** The address cannot be listened on; the message says why and what to do. */
export class ListenError extends Error {}

/** Time for a whole request, and for its headers, in milliseconds (ATK-084). */
const REQUEST_TIMEOUT_MS = 15_000
const HEADERS_TIMEOUT_MS = 5_000
const MAX_HTTP_CONNECTIONS = 1_024

const gzip = promisify(zlib.gzip)

/** Routes that need no credential: they tell nothing but that a plane is there, and its public checkpoint. Tiles ask for it themselves. */
const OPEN: ReadonlySet<string> = new Set(['/', '/healthz', '/readyz', '/t/:tenant/checkpoint', '/t/:tenant/tile/*'])

/** Serves the HTTP API of the tenants' planes at one address. @throws {ListenError} */
export async function serveHttp(tenants: readonly ServedTenant[], options: HttpOptions): Promise<{ url: string; close(): Promise<void> }> {
  const app = build(tenants, options)
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

/** Who was let in with each request that is under way. */
type Known = WeakMap<FastifyRequest, Admitted>

function build(tenants: readonly ServedTenant[], options: HttpOptions): FastifyInstance {
  const access = new Access(tenants, options.host)
  const known: Known = new WeakMap()
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
  const refuse = (request: FastifyRequest, reply: FastifyReply, code: DenialCode): FastifyReply => {
    const { plane } = known.get(request)?.tenant ?? (tenants[0] as ServedTenant)
    plane.metrics.refused(code)
    return problem(reply, code)
  }
  app.setErrorHandler((error, request, reply) => refuse(request, reply, codeOf(error)))
  app.setNotFoundHandler((request, reply) => refuse(request, reply, 'method_unknown'))
  app.addHook('onRequest', async (request, reply) => {
    reply.headers(SECURITY_HEADERS)
    access.verifyOrigin(asking(request))
    // By the route that was found and not by the text of the URL, which has many spellings for one route.
    const { url, config } = request.routeOptions
    if (url !== undefined && !OPEN.has(url)) known.set(request, access.admit(asking(request), (config as { needs?: string }).needs ?? 'nothing'))
  })
  routes(app, access, known)
  return app
}

const asking = ({ method, headers, socket }: FastifyRequest): Asking => ({ method, headers, localPort: socket.localPort })

/** @throws {Denied} `identity_invalid` where nobody was let in */
function admitted(known: Known, request: FastifyRequest): Admitted {
  const found = known.get(request)
  if (found === undefined) throw new Denied('identity_invalid')
  return found
}

function routes(app: FastifyInstance, access: Access, known: Known): void {
  app.get('/', async (_request, reply) => reply.type('text/plain; charset=utf-8').send('Sealwrit control plane. There is no console in this version; use the `sealwrit` command.\n'))
  app.get('/healthz', async () => ({ status: 'ok' }))
  app.get('/readyz', async (_request, reply) => {
    for (const { plane } of access.tenants) {
      const { notReady, log } = plane
      if (notReady !== undefined) return reply.code(503).send({ status: 'not ready', tenant: log.tenant, code: notReady.code, reason: notReady.message })
    }
    return { status: 'ready' }
  })
  readPath(app, access)
  const answer = async (method: string, params: JsonValue, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> =>
    reply.type('application/json').send(JSON.stringify(await call(admitted(known, request).plane, method, params, httpPeer(request, params, admitted(known, request)))))
  const serve = (url: string, method: string): void => {
    app.post(url, { config: { needs: method } }, async (request, reply) => {
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
  for (const url of ['/v1/revocations', '/v1/kills']) app.get(url, { config: { needs: 'prohibitions' } }, (request, reply) => answer('prohibitions', {}, request, reply))
  eventStream(app, (request) => admitted(known, request))
  serve('/v1/approvals', 'approvals.decide')
  app.get('/v1/approvals', { config: { needs: 'approvals.list' } }, (request, reply) => answer('approvals.list', {}, request, reply.header('cache-control', 'no-store')))
  app.get('/v1/approvals/:hold', { config: { needs: 'approvals.show' } }, (request, reply) => answer('approvals.show', { hold: (request.params as { hold: string }).hold }, request, reply.header('cache-control', 'no-store')))
  serve('/v1/nonces', 'nonce')
  const list = (url: string, method: string): void => {
    app.get(url, { config: { needs: method } }, async (request, reply) => {
      const { from = '0', limit = '100', ...rest } = request.query as Record<string, string>
      if (Object.keys(rest).length > 0 || !/^\d{1,15}$/.test(from) || !/^\d{1,4}$/.test(limit)) throw new Denied('request_malformed')
      return answer(method, { from: Number(from), limit: Number(limit) }, request, reply)
    })
  }
  list('/v1/agents', 'agents.list')
  list('/v1/gates', 'gates.list')
  serve('/v1/policies', 'policies.activate')
  app.get('/metrics', { config: { needs: 'metrics' } }, async (request, reply) => {
    const { expose } = admitted(known, request).tenant
    if (expose === undefined) throw new Denied('method_unknown')
    const { contentType, text } = await expose()
    return reply.header('content-type', contentType).header('cache-control', 'no-store').send(text)
  })
}

/**
 * The log's read path. Checkpoint and hashes say nothing about what was done; entries name tools, agents and times, so they
 * ask for the token unless the operator made the log public.
 * @see c2sp.org/tlog-tiles
 */
function readPath(app: FastifyInstance, access: Access): void {
  const tenantOf = (request: FastifyRequest): ServedTenant => {
    const found = access.named((request.params as { tenant: string }).tenant)
    if (found === undefined) throw new Denied('method_unknown')
    return found
  }
  app.get('/t/:tenant/checkpoint', async (request, reply) => {
    const { plane } = tenantOf(request)
    return reply.type('text/plain; charset=utf-8').header('cache-control', 'no-store').send((await plane.log.published()).note)
  })
  app.get('/t/:tenant/tile/*', async (request, reply) => {
    const tenant = tenantOf(request)
    const path = `tile/${(request.params as { '*': string })['*']}`
    const isOpen = tenant.isLogPublic || !path.startsWith('tile/entries/')
    // What another tenant gave is here as good as nothing.
    if (!isOpen && access.admit(asking(request), 'log.tile').tenant !== tenant) throw new Denied('identity_invalid')
    const tile = Buffer.from(await tenant.plane.reader.tile(path))
    reply.type('application/octet-stream').header('cache-control', `${isOpen ? 'public' : 'private'}, max-age=31536000, immutable`)
    const takesGzip = path.startsWith('tile/entries/') && /(^|[\s,])gzip([\s,]|$)/.test(request.headers['accept-encoding'] ?? '')
    return takesGzip ? reply.header('content-encoding', 'gzip').header('vary', 'accept-encoding').send(await gzip(tile)) : reply.send(tile)
  })
}

/** HTTP keeps no connection state: the bearer of the token may speak for its sessions, and names the newest tree it knows. */
function httpPeer(request: FastifyRequest, params: JsonValue, { person }: Admitted): Peer {
  const session = typeof params === 'object' && params !== null && 'session' in params ? params['session' as never] : undefined
  const { newest } = request.query as { newest?: string }
  const size = newest !== undefined && /^\d{1,15}$/.test(newest) ? Number(newest) : 0
  return { person, shown: { size }, session: typeof session === 'string' ? session : undefined }
}

const SECURITY_HEADERS = {
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const

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
