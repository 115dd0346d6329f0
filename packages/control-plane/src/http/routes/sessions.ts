import type { JsonObject } from '@sealwrit/protocol'
import type { FastifyReply } from 'fastify'
import { beginAtIssuer, CALLBACK, endAtIssuer, login, type LoginAnswer, whoIs } from '../login.ts'
import type { Parts, Route } from '../route.ts'
import { changedPerson } from '../schemas/people.ts'
import * as schemas from '../schemas/sessions.ts'
import { page } from '../schemas/values.ts'

const withWho = ({ path, body }: Parts): JsonObject => ({ ...body, ...path })

/** Who may use the plane, as what, and their sessions. */
export const SESSION_ROUTES: readonly Route[] = [
  {
    method: 'POST', url: '/v1/session', tag: 'people', isPrivate: true, body: schemas.loginRequest, answer: schemas.loginReply, summary: 'Logs a person in by name and password',
    run: async ({ access, request, reply }) => told(reply, await login(request.body as Parameters<typeof login>[0], access, request.headers.cookie)),
  },
  { method: 'GET', url: '/v1/session', needs: 'session', tag: 'people', isPrivate: true, answer: schemas.whoReply, summary: 'Says who is asking, and what they may do', run: ({ admitted }) => whoIs(admitted()) },
  {
    method: 'DELETE', url: '/v1/session', needs: 'session', tag: 'people', isPrivate: true, answer: schemas.nothing, summary: 'Ends the session',
    run: ({ access, admitted, reply }) => {
      const { session } = admitted()
      return told(reply, { body: {}, cookies: session === undefined ? [] : [access.ended(session)] })
    },
  },
  { method: 'POST', url: '/v1/session/password', needs: 'people.own_password', tag: 'people', body: schemas.ownPasswordRequest, answer: changedPerson, summary: 'Changes the own password, and ends the own sessions' },
  {
    method: 'GET', url: '/v1/session/issuers', tag: 'people', query: schemas.issuersQuery, answer: schemas.issuers, summary: 'Lists issuers that people log in by',
    run: ({ access, request }) => {
      const { tenant } = request.query as { tenant?: string }
      return { issuers: (tenant === undefined ? access.first : access.named(tenant))?.logins?.issuers ?? [] }
    },
  },
  {
    method: 'POST', url: '/v1/session/issuers', tag: 'people', isPrivate: true, body: schemas.issuerRequest, answer: schemas.issuerReply, summary: 'Begins a login at an issuer (OpenID Connect): says where to send the browser',
    run: ({ access, request, reply }) => told(reply, beginAtIssuer(request.body as Parameters<typeof beginAtIssuer>[0], access, request.headers.host ?? '')),
  },
  {
    method: 'GET', url: CALLBACK, tag: 'people', isPrivate: true, query: schemas.callbackQuery, answer: schemas.nothing, summary: 'Where an issuer sends the browser back to; goes on to `/`, with the token of the session behind `#`',
    run: async ({ access, request, reply }) => {
      const { body, cookies } = await endAtIssuer(request.query as Parameters<typeof endAtIssuer>[0], access, request.headers.cookie)
      // What stands behind # stays in the browser: it is in no request and in no log of one.
      return reply.header('set-cookie', cookies).redirect(`/#token=${body.token}`, 303)
    },
  },
  { method: 'GET', url: '/v1/people', needs: 'people.list', tag: 'people', isPrivate: true, query: page, answer: schemas.people, summary: 'Lists who may use the plane, and as what' },
  { method: 'POST', url: '/v1/people', needs: 'people.add', tag: 'people', body: schemas.personRequest, answer: changedPerson, summary: 'Adds a person who logs in with a password' },
  { method: 'POST', url: '/v1/people/:who/role', needs: 'people.role', tag: 'people', path: schemas.personPath, body: schemas.roleRequest, answer: changedPerson, params: withWho, summary: 'Gives a person another role, and ends their sessions' },
  { method: 'POST', url: '/v1/people/:who/password', needs: 'people.password', tag: 'people', path: schemas.personPath, body: schemas.passwordRequest, answer: changedPerson, params: withWho, summary: 'Gives a person another password, and ends their sessions' },
  { method: 'DELETE', url: '/v1/people/:who', needs: 'people.remove', tag: 'people', path: schemas.personPath, answer: changedPerson, summary: 'Removes a person for good, and ends their sessions' },
  {
    method: 'GET', url: '/v1/tenants', needs: 'session', tag: 'people', answer: schemas.tenants, summary: 'Lists tenants that the credential reaches: its own',
    run: ({ admitted }) => {
      const { log, notReady } = admitted().plane
      return { tenants: [{ tenant: log.tenant, origin: log.origin, size: log.size, ready: notReady === undefined }] }
    },
  },
]

function told(reply: FastifyReply, { body, cookies }: LoginAnswer): FastifyReply {
  return reply.header('set-cookie', [...cookies]).send(body)
}
