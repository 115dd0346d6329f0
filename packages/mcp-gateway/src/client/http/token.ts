import { createHash, timingSafeEqual } from 'node:crypto'
import { type Authorize, NotAuthorized } from './visitor.ts'

/** Longest credential that is looked at, in UTF-16 units. */
export const MAX_CREDENTIAL = 16_384

/** The bearer token of an `Authorization` header; undefined where there is none, or none of the one form that is taken. */
export function bearerOf(authorization: string | undefined): string | undefined {
  if (authorization === undefined || authorization.length > MAX_CREDENTIAL) return undefined
  return /^bearer +([A-Za-z0-9._~+/-]+=*)$/i.exec(authorization)?.[1]
}

/**
 * Whoever holds the one token of this gateway is who owns the plane's socket. Asked for on loopback too: other programs and pages of this
 * machine reach it there. Compared in constant time.
 */
export function localToken(token: string, principal: string): Authorize {
  const digest = sha256(token)
  return (authorization) => {
    const given = bearerOf(authorization)
    const isIt = timingSafeEqual(sha256(given ?? ''), digest)
    if (given === undefined) return Promise.reject(new NotAuthorized('identity_missing', 'no bearer token', 'Bearer'))
    if (!isIt) return Promise.reject(new NotAuthorized('identity_invalid', 'not the token of this gateway', 'Bearer error="invalid_token"'))
    return Promise.resolve({ principal })
  }
}

function sha256(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
