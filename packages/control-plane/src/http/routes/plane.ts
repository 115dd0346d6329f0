import { Denied } from '@sealwrit/protocol'
import type { Route } from '../route.ts'
import * as schemas from '../schemas/evidence.ts'

/** The plane itself. */
export const PLANE_ROUTES: readonly Route[] = [
  {
    method: 'GET', url: '/', tag: 'plane', answer: schemas.plainText, contentType: 'text/plain; charset=utf-8', summary: 'Says where to go',
    run: ({ reply }) => reply.type('text/plain; charset=utf-8').send('Sealwrit control plane. There is no console in this version; use the `sealwrit` command. The HTTP API is described at /docs.\n'),
  },
  { method: 'GET', url: '/healthz', tag: 'plane', answer: schemas.health, summary: 'Whether the process answers', run: () => ({ status: 'ok' }) },
  {
    method: 'GET', url: '/readyz', tag: 'plane', answer: schemas.readiness, summary: 'Whether it can do its work',
    run: ({ access, reply }) => {
      for (const { plane: { notReady, log } } of access.tenants) {
        if (notReady !== undefined) return reply.code(503).send({ status: 'not ready', tenant: log.tenant, code: notReady.code, reason: notReady.message })
      }
      return { status: 'ready' }
    },
  },
  { method: 'GET', url: '/.well-known/jwks.json', tag: 'log', answer: schemas.keySet, summary: 'Keys that sign JWS exports', run: ({ access }) => ({ keys: [...access.tenants].flatMap(({ exportJwk }) => (exportJwk === undefined ? [] : [exportJwk])) }) },
  { method: 'GET', url: '/v1/status', needs: 'status', tag: 'plane', answer: schemas.status, summary: 'Where log and policies stand' },
  { method: 'GET', url: '/v1/events', needs: 'events', tag: 'plane', query: schemas.eventsQuery, answer: schemas.plainText, contentType: 'text/event-stream', summary: 'Server-sent events: what was logged, and checkpoints; resumable with Last-Event-ID', run: ({ streams, admitted, request, reply }) => streams.serve(admitted(), request, reply) },
  {
    method: 'GET', url: '/metrics', needs: 'metrics', tag: 'plane', answer: schemas.plainText, contentType: 'text/plain', summary: 'Metrics in the exposition format of Prometheus',
    run: async ({ admitted, reply }) => {
      const { expose } = admitted().tenant
      if (expose === undefined) throw new Denied('method_unknown')
      const { contentType, text } = await expose()
      return reply.header('content-type', contentType).header('cache-control', 'no-store').send(text)
    },
  },
]
