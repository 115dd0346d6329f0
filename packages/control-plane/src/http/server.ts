import helmet from '@fastify/helmet'
import { Denied, type JsonObject, type JsonValue, parseStrict, WIRE_LIMITS } from '@sealwrit/protocol'
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest, type FastifySchemaCompiler } from 'fastify'
import type * as z from 'zod'
import { nodeCryptography } from '../adapters/node.ts'
import { call } from '../rpc/call.ts'
import type { Peer } from '../rpc/peer.ts'
import { Access, type Admitted, type ServedTenant } from './access.ts'
import { clientError } from './client-error.ts'
import { Streams } from './events.ts'
import { IdempotencyKeys } from './idempotency.ts'
import { judge } from './judge.ts'
import { limiter, type RateLimits } from './limits.ts'
import { describeApi } from './openapi.ts'
import { codeOf, MalformedMember, named, problem, RequestRefused } from './problem.ts'
import { type Asked, asking, type Parts, type Route } from './route.ts'
import { ROUTES } from './routes/table.ts'

export interface HttpOptions {
  readonly host: string
  readonly port: number
  /** Told by the OpenAPI document. */
  readonly version?: string
  /** Other rates than the usual ones. */
  readonly limits?: Partial<RateLimits>
}

/** The address cannot be listened on; the message says why and what to do. */
export class ListenError extends Error {}

/** Time for a whole request, and for its headers, in milliseconds (ATK-084). */
const REQUEST_TIMEOUT_MS = 15_000
const HEADERS_TIMEOUT_MS = 5_000
const MAX_HTTP_CONNECTIONS = 1_024
/** How often time-outs are looked at. */
const CHECKING_MS = 1_000

/** What a caller names its request by, and finds in the answer. */
const REQUEST_ID = /^[\x20-\x7e]{1,256}$/

/** Serves the HTTP API of the tenants' planes at one address. @throws {ListenError} */
export async function serveHttp(tenants: readonly ServedTenant[], options: HttpOptions): Promise<{ url: string; close(): Promise<void> }> {
  const app = await build(tenants, options)
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

async function build(tenants: readonly ServedTenant[], options: HttpOptions): Promise<FastifyInstance> {
  const access = new Access(tenants, options.host)
  /** Who was let in with each request that is under way. */
  const known = new WeakMap<FastifyRequest, Admitted>()
  const app = fastify({ bodyLimit: WIRE_LIMITS.maxBytes, http: { connectionsCheckingInterval: CHECKING_MS }, requestTimeout: REQUEST_TIMEOUT_MS, exposeHeadRoutes: true, logger: false, clientErrorHandler: clientError })
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
  app.setValidatorCompiler(validator as unknown as FastifySchemaCompiler<unknown>)
  const refuse = (error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply => {
    const { plane } = known.get(request)?.tenant ?? (tenants[0] as ServedTenant)
    plane.metrics.refused(codeOf(error))
    return problem(reply, error)
  }
  app.setErrorHandler(refuse)
  app.setNotFoundHandler((request, reply) => refuse(new MalformedMember('', 'no such route; /openapi.json lists them', 'method_unknown'), request, reply))
  await app.register(helmet, { contentSecurityPolicy: { useDefaults: false, directives: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } }, strictTransportSecurity: false })
  const limits = await limiter(app, options.limits)
  // Where it comes from, how much, who: all of it before a byte of the body is read.
  app.addHook('onRequest', async (request, reply) => {
    access.verifyOrigin(asking(request))
    const requestId = request.headers['x-request-id']
    if (typeof requestId === 'string' && REQUEST_ID.test(requestId)) reply.header('x-request-id', requestId)
    await limits.address(request, reply)
    // By the route that was found and not by the text of the URL, which has many spellings for one route.
    const { url, config } = request.routeOptions
    const { route } = config
    if (url === undefined || (route === undefined ? isDescription(url) : route.needs === undefined)) return
    try {
      known.set(request, access.admit(asking(request), route?.needs ?? 'nothing'))
    } catch (error) {
      await limits.refused(request, reply)
      throw error
    }
    await limits.caller(request, reply)
  })
  await describeApi(app, options.version ?? '0')
  const admitted = (request: FastifyRequest): Admitted => {
    const found = known.get(request)
    if (found === undefined) throw new Denied('identity_invalid')
    return found
  }
  const streams = new Streams()
  const keys = new IdempotencyKeys(nodeCryptography.sha256)
  for (const route of ROUTES) serve(app, route, { access, streams }, keys, admitted)
  app.addHook('preClose', async () => streams.close())
  return app
}

/** What describes the API is the same at every plane, and open. */
const isDescription = (url: string): boolean => url === '/openapi.json' || url === '/docs' || url.startsWith('/docs/')

function serve(app: FastifyInstance, route: Route, shared: Pick<Asked, 'access' | 'streams'>, keys: IdempotencyKeys, admitted: (request: FastifyRequest) => Admitted): void {
  const { method, url, path, query, body, needs = '', isPrivate, run } = route
  // What is read by a name at the end of its address.
  const sought = method === 'GET' ? /:(\w+)$/.exec(url)?.[1] : undefined
  app.route({
    method, url, config: { route },
    schema: { ...(path === undefined ? {} : { params: path }), ...(query === undefined ? {} : { querystring: query }), ...(body === undefined ? {} : { body }) },
    handler: async (request, reply) => {
      if (isPrivate === true) reply.header('cache-control', 'no-store')
      if (run !== undefined) return run({ ...shared, admitted: () => admitted(request), request, reply })
      const parts = partsOf(request)
      const params = route.params?.(parts) ?? merged(route, parts)
      const { plane, person } = admitted(request)
      const ask = (): Promise<unknown> => named(sought, call(plane, needs, params, httpPeer(parts, params, admitted(request))))
      const key = request.headers['idempotency-key']
      const answer = await (key !== undefined && route.takesKey?.(params) === true ? keys.once(`${plane.log.origin}\n${person.id}`, key, params, plane.nowMs, ask) : ask())
      return reply.type('application/json').send(JSON.stringify(answer))
    },
  })
}

const partsOf = (request: FastifyRequest): Parts => ({ path: request.params as JsonObject, query: request.query as JsonObject, body: (request.body ?? {}) as JsonObject })

/** `newest` is about the connection and no parameter of a method. */
function merged({ body, query }: Route, parts: Parts): JsonValue {
  if (body !== undefined) return parts.body
  return query === undefined ? { ...parts.path } : { ...parts.query, ...parts.path }
}

/** HTTP keeps no connection state: the bearer of the token may speak for its sessions, and names the newest tree it knows. */
function httpPeer({ query: { newest } }: Parts, params: JsonValue, { person }: Admitted): Peer {
  const session = typeof params === 'object' && params !== null && 'session' in params ? params['session' as never] : undefined
  return { person, shown: { size: typeof newest === 'number' ? newest : 0 }, session: typeof session === 'string' ? session : undefined }
}

type Part = 'body' | 'params' | 'querystring'

/** The schema says no, or nothing: what goes on is what our own parser read, for `__proto__` is an ordinary member there and nowhere else. */
function validator({ schema, httpPart }: { schema: z.ZodType; httpPart?: string }): (value: unknown) => { value: unknown } | { error: Error } {
  return (value) => {
    const judged = judge(schema, value ?? undefined)
    if (!judged.isRight) return { error: new RequestRefused(PARTS[httpPart as Part], judged.issues) }
    return { value: httpPart === 'body' ? value : judged.data }
  }
}
const PARTS = { body: 'body', params: 'path', querystring: 'query' } as const
