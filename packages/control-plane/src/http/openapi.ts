import swagger from '@fastify/swagger'
import swaggerUi from '@fastify/swagger-ui'
import { type DenialCode, DENIALS } from '@sealwrit/protocol'
import type { FastifyInstance } from 'fastify'
import { jsonSchemaTransform, jsonSchemaTransformObject } from 'fastify-type-provider-zod'
import * as z from 'zod'
import { type Route, TAGS } from './route.ts'
import { problem } from './schemas/values.ts'

/** The page loads its own files and nothing else; it runs no inline script. */
const PAGE_CSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

/** Serves `/openapi.json`, made from the very schemas that validate, and a page that shows it. Both say nothing of this plane. */
export async function describeApi(app: FastifyInstance, version: string): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'Sealwrit control plane', version, description: 'Nothing runs without a writ. Refusals are problem details (RFC 9457) with a code of the closed list. A deny or hold of `/v1/authorize` is an answer and not a refusal.', license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
      tags: TAGS.map((name) => ({ name })),
      components: { securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'The first-run token, in the file `token` of the plane’s folder.' }, session: { type: 'apiKey', in: 'cookie', name: 'sealwrit_session', description: 'The session of a person; what changes something also has the header `sealwrit-token`.' } } },
    },
    transform: (document) => {
      const route = document.route.config?.route
      if (route === undefined) return { schema: { hide: true }, url: document.url }
      return jsonSchemaTransform({ ...document, schema: described(route) })
    },
    transformObject: (document) => oneName(jsonSchemaTransformObject(document)) as ReturnType<typeof jsonSchemaTransformObject>,
  })
  app.get('/openapi.json', { config: { isOpen: true } }, async () => app.swagger())
  await app.register(swaggerUi, { routePrefix: '/docs', staticCSP: PAGE_CSP, theme: { title: 'Sealwrit API' }, uiConfig: { layout: 'BaseLayout', docExpansion: 'list', deepLinking: true, persistAuthorization: false, defaultModelsExpandDepth: 0 }, logLevel: 'silent' })
}

/** Nothing of ours reads otherwise than it writes: a schema has one name, whichever way it goes. */
function oneName(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(oneName)
  if (typeof value === 'string') return value.startsWith('#/components/schemas/') ? value.replace(/Input$/, '') : value
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name.endsWith('Input') ? name.slice(0, -'Input'.length) : name, oneName(one)]))
}

function described(route: Route): object {
  const { tag, summary, needs, path, query, body, answer, contentType = 'application/json' } = route
  return {
    tags: [tag], summary, operationId: `${route.method.toLowerCase()}${route.url.replaceAll(/[^A-Za-z0-9]+(.)?/g, (_all, next: string | undefined) => (next ?? '').toUpperCase())}`,
    ...(needs === undefined ? {} : { security: [{ token: [] }, { session: [] }], description: `As the method \`${needs}\` of the plane’s socket.` }),
    ...(path === undefined ? {} : { params: path }),
    ...(query === undefined ? {} : { querystring: query }),
    ...(route.takesKey === undefined ? {} : { headers: idempotencyKey }),
    ...(body === undefined ? {} : { body }),
    response: { 200: { description: summary, content: { [contentType]: { schema: answer } } }, ...REFUSALS },
  }
}

const idempotencyKey = z.object({ 'idempotency-key': z.optional(z.string().min(1).max(128)).describe('For an artifact that is carried: under the same key the same body is answered again, for ten minutes and by this process; another body is `challenge_mismatch`. What a gate asks is answered again by its challenge.') })

/** Every status of a denial, with the codes that it stands for. */
const REFUSALS: Readonly<Record<string, object>> = Object.fromEntries(
  [...Map.groupBy(Object.entries(DENIALS) as [DenialCode, { http: number }][], ([, { http }]) => http)].map(([status, rows]) => [
    String(status),
    { description: rows.map(([code]) => `\`${code}\``).join(', '), content: { 'application/problem+json': { schema: problem } } },
  ]),
)
