import { createHash } from 'node:crypto'
import type { VerifiedBearer } from '@sealwrit/gate'
import { type Clock, Denied, type JsonObject } from '@sealwrit/protocol'
import { serverUrl } from '../../server/server-url.ts'
import { bearerOf } from './token.ts'
import { type Authorize, NotAuthorized, type Visitor } from './visitor.ts'

/** How long it is remembered that a token was verified, in milliseconds; never longer than the token is good. */
export const BEARER_AGE_MS = 60_000
/** Tokens that are remembered, and that may be under verification at once. */
export const MAX_BEARERS = 1_000
export const MAX_VERIFYING = 64
/** Issuers, and scopes, that one resource names. */
const MAX_NAMED = 32
const WELL_KNOWN = '/.well-known/oauth-protected-resource'
const SCOPE = /^[!#-[\]-~]{1,256}$/

export interface OAuthOptions {
  /** Who issues tokens for this resource, as `iss` names them. */
  readonly issuers: readonly string[]
  /** The address by which clients know this gateway: the one audience that is taken. */
  readonly resource: string
  /** What a token has to be for, all of it. */
  readonly scopes: readonly string[]
  /** Has the plane verify a token for `resource`. */
  readonly verify: (token: string, resource: string) => Promise<VerifiedBearer>
  readonly clock: Clock
}

/**
 * A resource server of OAuth 2.1: says who issues tokens for it, takes only those that are for it, and hands none on to anybody but the
 * plane. It fetches nothing: neither keys nor metadata, whatever a token or a client names (ATK-102).
 * @throws {TypeError} with what is wrong
 * @see MCP 2026-07-28, basic/authorization; RFC 9728, RFC 6750
 */
export function oauth(options: OAuthOptions): { readonly authorize: Authorize; readonly documents: ReadonlyMap<string, JsonObject>; readonly host: string } {
  const { issuers, resource, scopes } = options
  const url = serverUrl(resource)
  for (const issuer of issuers) if (serverUrl(issuer).search !== '') throw new TypeError('an issuer has no query')
  if (issuers.length === 0 || issuers.length > MAX_NAMED || scopes.length > MAX_NAMED || !scopes.every((scope) => SCOPE.test(scope))) throw new TypeError('no issuer, too many, or a scope that is none')
  const suffix = url.pathname === '/' ? '' : url.pathname
  const metadata: JsonObject = { resource, authorization_servers: [...issuers], bearer_methods_supported: ['header'], ...(scopes.length === 0 ? {} : { scopes_supported: [...scopes] }) }
  const about = `resource_metadata="${url.origin}${WELL_KNOWN}${suffix}"${scopes.length === 0 ? '' : `, scope="${scopes.join(' ')}"`}`
  return { authorize: new Bearers(options, about).authorize, documents: new Map([WELL_KNOWN, `${WELL_KNOWN}${suffix}`].map((path) => [path, metadata])), host: url.host }
}

interface Remembered {
  readonly bearer: VerifiedBearer
  readonly untilMs: number
}

class Bearers {
  readonly #options: OAuthOptions
  readonly #about: string
  /** By digest of the token, oldest first: a dump of this process's memory holds none for longer than its request. */
  readonly #known = new Map<string, Remembered>()
  #verifying = 0

  constructor(options: OAuthOptions, about: string) {
    this.#options = options
    this.#about = about
  }

  readonly authorize: Authorize = async (authorization) => {
    const { scopes, resource } = this.#options
    const token = bearerOf(authorization)
    if (token === undefined) throw new NotAuthorized('identity_missing', 'no bearer token', `Bearer ${this.#about}`)
    const { sub, agent, scopes: granted, until } = await this.#verified(token)
    if (!scopes.every((scope) => granted.includes(scope))) throw new NotAuthorized('identity_unknown', 'the token is not for all of the scopes', `Bearer error="insufficient_scope", ${this.#about}`, 403)
    const visitor: Visitor = { principal: agent === undefined ? sub : `${sub} ${agent}`, agent, untilMs: until, identify: () => ({ form: 'oidc', token, audience: resource }) }
    return visitor
  }

  /** @throws {Denied} */
  async #verified(token: string): Promise<VerifiedBearer> {
    const { clock, verify, resource, issuers } = this.#options
    const digest = createHash('sha256').update(token).digest('base64')
    const known = this.#known.get(digest)
    if (known !== undefined && clock.wallMs() < known.bearer.until && clock.monotonicMs() < known.untilMs) return known.bearer
    this.#known.delete(digest)
    if (this.#verifying >= MAX_VERIFYING) throw new Denied('overloaded', 'too many tokens are being verified')
    this.#verifying++
    try {
      const bearer = await verify(token, resource)
      if (!issuers.includes(bearer.iss)) throw new Denied('identity_invalid', 'an issuer that this resource does not name')
      this.#known.set(digest, { bearer, untilMs: clock.monotonicMs() + BEARER_AGE_MS })
      if (this.#known.size > MAX_BEARERS) this.#known.delete(this.#known.keys().next().value as string)
      return bearer
    } catch (error) {
      if (!(error instanceof Denied) || error.check === 'state') throw error
      throw new NotAuthorized(error.code, error.message, `Bearer error="invalid_token", ${this.#about}`)
    } finally {
      this.#verifying--
    }
  }
}
