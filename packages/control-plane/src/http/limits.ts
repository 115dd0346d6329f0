import { createHash } from 'node:crypto'
import rateLimit from '@fastify/rate-limit'
import { Denied } from '@sealwrit/protocol'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'

export interface RateLimits {
  /** Requests of one address in {@link WINDOW_MS}, whoever they are from. */
  readonly perAddress: number
  /** Requests with one token or session. */
  readonly perCaller: number
  /** Refused attempts to say who one is, of one address. */
  readonly refusedPerAddress: number
}

/** Time after which counting begins anew. */
export const WINDOW_MS = 10_000
export const MAX_REQUESTS_PER_ADDRESS = 50_000
export const MAX_REQUESTS_PER_CALLER = 40_000
export const MAX_REFUSED_PER_ADDRESS = 100
/** Addresses and callers that are counted at once; beyond it the one that was quiet for longest is forgotten, which lets it ask more and nothing else. */
const MAX_COUNTED = 10_000

const DEFAULTS: RateLimits = Object.freeze({ perAddress: MAX_REQUESTS_PER_ADDRESS, perCaller: MAX_REQUESTS_PER_CALLER, refusedPerAddress: MAX_REFUSED_PER_ADDRESS })

export interface Limiter {
  /** Counts a request before anything of it is read. @throws {Denied} `overloaded`; `Retry-After` says when to come back */
  address(request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Counts a request of somebody who is known. @throws {Denied} `overloaded` */
  caller(request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** Counts a refused attempt, and answers too many of them with another code. @throws {Denied} `overloaded` */
  refused(request: FastifyRequest, reply: FastifyReply): Promise<void>
}

/** Limits come before parsing: they look at the connection and the headers only (ATK-085). */
export async function limiter(app: FastifyInstance, limits: Partial<RateLimits> = {}): Promise<Limiter> {
  await app.register(rateLimit, { global: false, cache: MAX_COUNTED })
  const { perAddress, perCaller, refusedPerAddress } = { ...DEFAULTS, ...limits }
  const counted = (max: number, keyOf: (request: FastifyRequest) => string): Limiter['address'] => {
    const count = app.createRateLimit({ max, timeWindow: WINDOW_MS, keyGenerator: keyOf })
    return async (request, reply) => {
      const state = await count(request)
      if (state.isAllowed || !state.isExceeded) return
      reply.header('retry-after', String(Math.max(1, state.ttlInSeconds)))
      throw new Denied('overloaded')
    }
  }
  const address = (request: FastifyRequest): string => request.ip
  // By a digest: what counts requests holds no secret (I8).
  const caller = (request: FastifyRequest): string => createHash('sha256').update(`${request.headers.authorization ?? ''}\n${request.headers.cookie ?? ''}`).digest('base64url')
  return { address: counted(perAddress, address), caller: counted(perCaller, caller), refused: counted(refusedPerAddress, address) }
}
