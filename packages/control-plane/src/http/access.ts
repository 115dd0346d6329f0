import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { Denied } from '@sealwrit/protocol'
import type { Plane } from '../plane.ts'
import { type Person, verifyRole } from '../rpc/roles.ts'

/** Tenants that one process may serve. */
export const MAX_TENANTS = 64

/** One tenant as HTTP serves it. */
export interface ServedTenant {
  readonly plane: Plane
  /** The first-run token: whoever holds it is this tenant's admin. */
  readonly token: string
  /** Whether anybody who reaches the address may read the entries of the log. */
  readonly isLogPublic: boolean
  /** What `/metrics` answers; it is not there without it. */
  readonly expose?: (() => Promise<{ contentType: string; text: string }>) | undefined
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
}

/**
 * Who may ask for what over HTTP. The credential names the tenant, and nothing else in a request does: a token of one tenant is at
 * another an unknown one (ATK-061).
 */
export class Access {
  readonly #tenants: ReadonlyMap<string, ServedTenant>
  readonly #tokens: readonly { readonly digest: Buffer; readonly tenant: ServedTenant }[]
  readonly #host: string

  /** @param host that is listened on; requests must name it */
  constructor(tenants: readonly ServedTenant[], host: string) {
    if (tenants.length === 0 || tenants.length > MAX_TENANTS) throw new TypeError(`from 1 to ${MAX_TENANTS} tenants`)
    this.#tenants = new Map(tenants.map((tenant) => [tenant.plane.log.tenant, tenant]))
    this.#tokens = tenants.map((tenant) => ({ digest: digest(`Bearer ${tenant.token}`), tenant }))
    if (this.#tenants.size !== tenants.length || new Set(this.#tokens.map((one) => one.digest.toString('hex'))).size !== tenants.length) throw new TypeError('two tenants of one name, or with one token')
    this.#host = host
  }

  /** The tenant of exactly this name, byte for byte. */
  named(tenant: string): ServedTenant | undefined {
    return this.#tenants.get(tenant)
  }

  get tenants(): Iterable<ServedTenant> {
    return this.#tenants.values()
  }

  /** Only by the names this address was given: a rebound name or a foreign page is refused (ATK-100). @throws {Denied} `origin_forbidden` */
  verifyOrigin({ headers: { host, origin }, localPort }: Asking): void {
    const names = new Set([`${this.#host}:${localPort}`, `127.0.0.1:${localPort}`, `localhost:${localPort}`, `[::1]:${localPort}`])
    if (host === undefined || !names.has(host)) throw new Denied('origin_forbidden')
    if (origin !== undefined && !(origin.startsWith('http://') && names.has(origin.slice('http://'.length)))) throw new Denied('origin_forbidden')
  }

  /**
   * Who asks, and whether they may call `method`, a row of `ROLE_FOR`.
   * @throws {Denied} `identity_invalid`, one answer for whatever is wrong with a credential (ATK-122, ATK-123); `identity_unknown`
   */
  admit(asking: Asking, method: string): Admitted {
    const admitted = this.#byToken(asking.headers.authorization ?? '')
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
}

/** Texts of any length become equally long, so that their comparison tells nothing. */
export function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
