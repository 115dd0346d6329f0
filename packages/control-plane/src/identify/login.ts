import { Denied, type Clock, equalBytes, isAtLeast, isObject, type JsonValue, parseStrict, type Rng, type Role, type Sha256, toBase64Url, utf8 } from '@sealwrit/protocol'
import type { IssuerConfig } from './configuration.ts'
import type { KeyLoader } from './identifier.ts'
import { claimOf, Issuer, TYPES } from './oidc.ts'
import { openToken, verifyClaims, verifyToken } from './token.ts'

/** An issuer by whose word people log in. The addresses are configured: nothing that an issuer answers names another one. */
export interface LoginIssuerConfig extends Pick<IssuerConfig, 'issuer' | 'algorithms' | 'jwks_uri' | 'jwks_file'> {
  /** Also the audience that its ID tokens must have. */
  readonly client_id: string
  readonly client_secret?: string | undefined
  readonly authorization_endpoint: string
  readonly token_endpoint: string
  /** Claim whose value, or each of whose values, gives a role; whoever has none of them may not log in. */
  readonly role_claim: string
  readonly roles: Readonly<Record<string, Role>>
  /** Claim that names the person in the directory; default `sub`. */
  readonly name_claim?: string | undefined
}

/** One POST of a form to a configured address; bounded in size and time, no redirects. */
export type PostForm = (url: string, form: string, authorization: string | undefined) => Promise<Uint8Array>

/** Issuers that people of one plane may log in by. */
export const MAX_LOGIN_ISSUERS = 8
/** Logins that may be under way at issuers at once, and how long each may take, in milliseconds. */
export const MAX_LOGINS = 1_000
export const LOGIN_LIFE_MS = 600_000
/** Longest code that is passed on. */
const MAX_CODE = 4_096
const MAX_CLAIM_VALUES = 256
const SECRET_BYTES = 32

interface UnderWay {
  readonly issuer: LoginIssuer
  readonly verifier: string
  readonly nonce: string
  readonly redirect: string
  readonly browser: Uint8Array
  readonly untilMs: number
}

interface LoginIssuer {
  readonly config: LoginIssuerConfig
  readonly keys: Issuer['keys']
}

/** Who came back from an issuer. */
export interface LoggedIn {
  readonly iss: string
  readonly sub: string
  readonly name: string
  readonly role: Role
}

/** What an issuer sent the browser back with. */
export interface Returned {
  readonly state: string
  readonly code: string
  readonly iss?: string | undefined
}

/**
 * Login of people by the authorization code flow with PKCE. A login is tied to the browser that began it, is good once, and is asked
 * about at the issuer that it was begun with; what counts in the end is the ID token, signed for this client and this very login.
 * @see OpenID Connect Core section 3.1, RFC 7636, RFC 9700 section 4.4
 */
export class IssuerLogins {
  readonly #issuers: ReadonlyMap<string, LoginIssuer>
  readonly #post: PostForm
  readonly #ports: { readonly clock: Clock; readonly rng: Rng; readonly sha256: Sha256 }
  /** By state; oldest first. */
  readonly #underWay = new Map<string, UnderWay>()

  constructor(issuers: readonly LoginIssuerConfig[], loader: KeyLoader, post: PostForm, ports: { readonly clock: Clock; readonly rng: Rng; readonly sha256: Sha256 }) {
    this.#issuers = new Map(issuers.map((config) => [config.issuer, { config, keys: new Issuer({ ...config, audience: config.client_id }, loader(config), ports.clock).keys }]))
    if (this.#issuers.size !== issuers.length || issuers.length > MAX_LOGIN_ISSUERS) throw new TypeError('an issuer twice, or too many')
    this.#post = post
    this.#ports = ports
  }

  get issuers(): readonly string[] {
    return [...this.#issuers.keys()]
  }

  /**
   * @param redirect where the issuer sends the browser back to
   * @returns where to send the browser, and the secret that it brings back
   * @throws {Denied} `identity_invalid` for an issuer that is not configured, `overloaded`
   */
  begin(issuer: string, redirect: string): { url: string; secret: string; seconds: number } {
    const found = this.#issuers.get(issuer)
    if (found === undefined) throw new Denied('identity_invalid', 'an issuer that is not configured')
    const { clock, sha256 } = this.#ports
    const now = clock.monotonicMs()
    for (const [state, { untilMs }] of this.#underWay) if (untilMs <= now) this.#underWay.delete(state)
    if (this.#underWay.size >= MAX_LOGINS) throw new Denied('overloaded', 'too many logins are under way')
    const [state, nonce, verifier, secret] = [this.#draw(), this.#draw(), this.#draw(), this.#draw()]
    this.#underWay.set(state, { issuer: found, verifier, nonce, redirect, browser: sha256(utf8(secret)), untilMs: now + LOGIN_LIFE_MS })
    const url = new URL(found.config.authorization_endpoint)
    const asked = { response_type: 'code', scope: 'openid profile email', client_id: found.config.client_id, redirect_uri: redirect, state, nonce, code_challenge: toBase64Url(sha256(utf8(verifier))), code_challenge_method: 'S256' }
    for (const [name, value] of Object.entries(asked)) url.searchParams.set(name, value)
    return { url: url.href, secret, seconds: LOGIN_LIFE_MS / 1_000 }
  }

  /** Whether a login of this state was begun here. */
  knows(state: string): boolean {
    return this.#underWay.has(state)
  }

  /**
   * Ends a login. It is taken away first: what comes back a second time, or to another browser, finds nothing.
   * @throws {Denied} `identity_invalid`; `unavailable` while the issuer cannot be asked
   */
  async finish({ state, code, iss }: Returned, browser: string | undefined): Promise<LoggedIn> {
    const login = this.#underWay.get(state)
    this.#underWay.delete(state)
    const { clock, sha256 } = this.#ports
    if (login === undefined || clock.monotonicMs() >= login.untilMs) return refuse('no such login is under way')
    if (browser === undefined || !equalBytes(sha256(utf8(browser)), login.browser)) return refuse('another browser began it')
    const { config, keys } = login.issuer
    // RFC 9207: who sent it back is who it was begun with; among several that must be said.
    if (iss === undefined ? this.#issuers.size > 1 : iss !== config.issuer) return refuse('sent back by another issuer')
    if (code === '' || code.length > MAX_CODE) return refuse('no code')
    const token = openToken(await this.#redeem(login, code))
    if (!TYPES.includes(token.typ)) return refuse('a type that says nobody’s identity')
    verifyToken(token, await keys.find(token.kid), config.algorithms)
    verifyClaims(token.claims, config.client_id, clock.wallMs())
    if (claimOf(token.claims, 'iss') !== config.issuer) return refuse('of another issuer')
    if (!equalBytes(sha256(utf8(claimOf(token.claims, 'nonce'))), sha256(utf8(login.nonce)))) return refuse('for another login')
    return { iss: config.issuer, sub: claimOf(token.claims, 'sub'), name: claimOf(token.claims, config.name_claim ?? 'sub'), role: roleIn(token.claims[config.role_claim], config.roles) }
  }

  /** The code for an ID token, at the issuer's token endpoint. */
  async #redeem({ issuer: { config }, verifier, redirect }: UnderWay, code: string): Promise<string> {
    const { client_id: id, client_secret: secret } = config
    const form = new URLSearchParams({ grant_type: 'authorization_code', code, redirect_uri: redirect, code_verifier: verifier, client_id: id })
    // RFC 6749 section 2.3.1: both are form-encoded before they are joined.
    const encoded = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1)
    const authorization = secret === undefined ? undefined : `Basic ${Buffer.from(`${encoded(id)}:${encoded(secret)}`).toString('base64')}`
    let answer: JsonValue
    try {
      answer = parseStrict(await this.#post(config.token_endpoint, form.toString(), authorization))
    } catch {
      throw new Denied('unavailable', 'the token endpoint gave no token')
    }
    const token = isObject(answer) ? answer['id_token'] : undefined
    return typeof token === 'string' ? token : refuse('the issuer gave no ID token')
  }

  #draw(): string {
    return toBase64Url(this.#ports.rng.bytes(SECRET_BYTES))
  }
}

/** The highest role that the claim gives. @throws {Denied} `identity_invalid` where it gives none */
function roleIn(claim: JsonValue | undefined, roles: Readonly<Record<string, Role>>): Role {
  const values = (Array.isArray(claim) ? claim : [claim]).slice(0, MAX_CLAIM_VALUES)
  let best: Role | undefined
  for (const value of values) {
    const role = typeof value === 'string' && Object.hasOwn(roles, value) ? roles[value] : undefined
    if (role !== undefined && (best === undefined || isAtLeast(role, best))) best = role
  }
  return best ?? refuse('no role for this person')
}

function refuse(what: string): never {
  throw new Denied('identity_invalid', `login: ${what}`)
}
