import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { Denied, type JsonObject } from '@sealwrit/protocol'
import type { Begun } from '../govern/sessions.ts'
import type { IssuerLogins } from '../identify/login.ts'
import type { Plane } from '../plane.ts'
import { type Person, verifyRole } from '../rpc/roles.ts'
import { Cookies } from './cookies.ts'

/** Tenants that one process may serve. */
export const MAX_TENANTS = 64

/** The header with the token of a session: a page of somebody else can make a browser send a cookie, and cannot know this. */
export const TOKEN_HEADER = 'sealwrit-token'

/** One tenant as HTTP serves it. */
export interface ServedTenant {
  readonly plane: Plane
  /** The first-run token: whoever holds it is this tenant's admin. */
  readonly token: string
  /** Whether anybody who reaches the address may read the entries of the log. */
  readonly isLogPublic: boolean
  /** What `/metrics` answers; it is not there without it. */
  readonly expose?: (() => Promise<{ contentType: string; text: string }>) | undefined
  /** The key of JWS exports, as it is published; nothing is exported where it is absent. */
  readonly exportJwk?: JsonObject | undefined
  /** Issuers that people log in by; nobody where it is absent. */
  readonly logins?: IssuerLogins | undefined
}

/** What of a request says who asks, and from where. */
export interface Asking {
  /** The verb. */
  readonly method: string
  readonly headers: IncomingHttpHeaders
  readonly localPort: number | undefined
}

/** Who was let in, and to what. */
export interface Admitted {
  readonly tenant: ServedTenant
  readonly plane: Plane
  readonly person: Person
  /** Whether the credential still stands; what goes on for long asks again. */
  readonly holds: () => boolean
  /** The secret of the session; undefined for a token. */
  readonly session?: string
}

/**
 * Who may ask for what over HTTP. The credential names the tenant, and nothing else in a request does: a token of one tenant is at
 * another an unknown one (ATK-061).
 */
export class Access {
  readonly #tenants: ReadonlyMap<string, ServedTenant>
  readonly #tokens: readonly { readonly digest: Buffer; readonly tenant: ServedTenant }[]
  readonly #host: string
  readonly #scheme: 'http' | 'https'
  readonly cookies: Cookies

  /** @param host that is listened on; requests must name it */
  constructor(tenants: readonly ServedTenant[], host: string, scheme: 'http' | 'https' = 'http') {
    if (tenants.length === 0 || tenants.length > MAX_TENANTS) throw new TypeError(`from 1 to ${MAX_TENANTS} tenants`)
    this.#tenants = new Map(tenants.map((tenant) => [tenant.plane.log.tenant, tenant]))
    this.#tokens = tenants.map((tenant) => ({ digest: digest(`Bearer ${tenant.token}`), tenant }))
    if (this.#tenants.size !== tenants.length || new Set(this.#tokens.map((one) => one.digest.toString('hex'))).size !== tenants.length) throw new TypeError('two tenants of one name, or with one token')
    this.#host = host
    this.#scheme = scheme
    this.cookies = new Cookies(scheme)
  }

  /** The tenant of exactly this name, byte for byte. */
  named(tenant: string): ServedTenant | undefined {
    return this.#tenants.get(tenant)
  }

  /** The one that a login means where it names none. */
  get first(): ServedTenant {
    return this.#tenants.values().next().value as ServedTenant
  }

  get tenants(): Iterable<ServedTenant> {
    return this.#tenants.values()
  }

  /** Only by the names this address was given: a rebound name or a foreign page is refused (ATK-100). @throws {Denied} `origin_forbidden` */
  verifyOrigin({ headers: { host, origin }, localPort }: Asking): void {
    const names = new Set([`${this.#host}:${localPort}`, `127.0.0.1:${localPort}`, `localhost:${localPort}`, `[::1]:${localPort}`])
    if (host === undefined || !names.has(host)) throw new Denied('origin_forbidden')
    if (origin !== undefined && !names.has(this.#nameIn(origin))) throw new Denied('origin_forbidden')
  }

  /**
   * Who asks, and whether they may call `method`, a row of `ROLE_FOR`. A token that is there is the credential, and no cookie beside it.
   * @throws {Denied} `identity_invalid`, one answer for whatever is wrong with a credential (ATK-122, ATK-123); `origin_forbidden`
   *   where a session is used by a page that is not ours; `identity_unknown`
   */
  admit(asking: Asking, method: string): Admitted {
    const { authorization, cookie } = asking.headers
    const secret = authorization === undefined ? this.cookies.sessionOf(cookie) : undefined
    const admitted = secret === undefined ? this.#byToken(authorization ?? '') : this.#bySession(secret, asking)
    verifyRole(method, admitted.person)
    return admitted
  }

  /** Every token is compared, each in constant time. */
  #byToken(given: string): Admitted {
    const asked = digest(given)
    let found: ServedTenant | undefined
    for (const one of this.#tokens) if (timingSafeEqual(asked, one.digest)) found = one.tenant
    if (found === undefined) throw new Denied('identity_invalid')
    return { tenant: found, plane: found.plane, person: { id: found.plane.sub, role: 'admin' }, holds: () => true }
  }

  /** What the log says of the person now, not what it said at the login. */
  #bySession(secret: string, asking: Asking): Admitted {
    for (const tenant of this.#tenants.values()) {
      const { plane } = tenant
      if (plane.accounts.signedIn(secret, false) === undefined) continue
      this.#verifyOwnPage(asking, (token) => plane.accounts.isToken(secret, token))
      const person = plane.accounts.signedIn(secret, true) as Person
      return { tenant, plane, person, session: secret, holds: () => plane.accounts.signedIn(secret, false)?.role === person.role }
    }
    throw new Denied('identity_invalid')
  }

  /**
   * A browser sends the cookie also where a page of another port or site asks: SameSite does not tell ports apart. So whatever changes
   * something names the very origin that it is sent to, and the token that only our page was given; and what a browser says comes from
   * elsewhere is not even read (ATK-113).
   */
  #verifyOwnPage({ method, headers }: Asking, isToken: (token: string) => boolean): void {
    const from = headers['sec-fetch-site']
    if (from !== undefined && from !== 'same-origin' && from !== 'none') throw new Denied('origin_forbidden')
    if (SAFE.has(method)) return
    const token = headers[TOKEN_HEADER]
    if (headers.origin === undefined || this.#nameIn(headers.origin) !== headers.host) throw new Denied('origin_forbidden')
    if (typeof token !== 'string' || !isToken(token)) throw new Denied('origin_forbidden')
  }

  /** A session that begins: an id of before is not taken over, so the one that the browser had ends. */
  began({ secret, seconds }: Begun, cookie: string | undefined): string {
    const before = this.cookies.sessionOf(cookie)
    if (before !== undefined) this.ended(before)
    return this.cookies.session(secret, seconds)
  }

  /** @returns the cookie that takes the session's away */
  ended(secret: string): string {
    for (const { plane } of this.#tenants.values()) plane.accounts.logout(secret)
    return this.cookies.session('', 0)
  }

  /** The origin of the address that a request named; it was compared with ours. */
  originAt(host: string): string {
    return `${this.#scheme}://${host}`
  }

  /** Host and port of an origin of our scheme; what is none is nobody's. */
  #nameIn(origin: string): string {
    const start = `${this.#scheme}://`
    return origin.startsWith(start) ? origin.slice(start.length) : ''
  }
}

/** Browsers send these without being asked by a page of ours. */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD'])

/** Texts of any length become equally long, so that their comparison tells nothing. */
export function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
