import type { JsonObject, JsonValue } from '@sealwrit/protocol'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type * as z from 'zod'
import type { Access, Admitted, Asking } from './access.ts'
import type { Streams } from './events.ts'

export const TAGS = ['executions', 'gates', 'registry', 'approvals', 'people', 'policies', 'stops', 'evidence', 'log', 'authzen', 'plane'] as const

/** What a handler of its own is given. */
export interface Asked {
  readonly access: Access
  readonly streams: Streams
  /** @throws {Denied} `identity_invalid` where nobody was let in */
  readonly admitted: () => Admitted
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

/** One route: everything that is known of it stands here, and the OpenAPI document is made from the same. */
export interface Route {
  readonly method: 'GET' | 'POST' | 'DELETE'
  readonly url: string
  readonly tag: (typeof TAGS)[number]
  readonly summary: string
  /** The method that answers, or a row of `ROLE_FOR` beside them: who may ask is the same as over the socket. Without it the route needs no credential, or asks for it itself. */
  readonly needs?: string
  readonly path?: z.ZodType
  readonly query?: z.ZodType
  readonly body?: z.ZodType
  /** Of the answer with status 200. */
  readonly answer: z.ZodType
  /** Of the answer, where it is not JSON. */
  readonly contentType?: string
  /** The answer tells of people or stops: nobody keeps a copy. */
  readonly isPrivate?: true
  /** Parameters of the method; without it path, query and body together. */
  readonly params?: (parts: Parts) => JsonValue
  /** Whether `Idempotency-Key` is taken for such a request: it carries no challenge that would do the same. */
  readonly takesKey?: (params: JsonValue) => boolean
  /** Answers in place of the method. */
  readonly run?: (asked: Asked) => unknown
}

/** What was asked, each part as its schema takes it. */
export interface Parts {
  readonly path: JsonObject
  readonly query: JsonObject
  readonly body: JsonObject
}

export const asking = ({ method, headers, socket }: FastifyRequest): Asking => ({ method, headers, localPort: socket.localPort })

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The row of our table; absent for what plugins serve. */
    readonly route?: Route
  }
}
