import { Denied, type JsonObject } from '@sealwrit/protocol'
import type { Begun } from '../govern/sessions.ts'
import type { Person } from '../rpc/roles.ts'
import type { Access, Admitted, ServedTenant } from './access.ts'

/** An answer, and the cookies that go with it. */
export interface LoginAnswer<T extends JsonObject = JsonObject> {
  readonly body: T
  readonly cookies: readonly string[]
}

/** What whoever logged in is told. */
type LoggedInAnswer = { readonly tenant: string; readonly person: string; readonly role: string; readonly token: string; readonly seconds: number }

/** Where issuers send browsers back to. */
export const CALLBACK = '/v1/session/callback'

/**
 * Logs a person in by name and password, at the tenant that is named, or else the first. Which tenants there are is no secret: their
 * checkpoints are public.
 * @param cookie the browser's; whatever session it had ends
 * @throws {Denied} `identity_invalid`
 */
export async function login(asked: { readonly name: string; readonly password: string; readonly tenant?: string }, access: Access, cookie: string | undefined): Promise<LoginAnswer<LoggedInAnswer>> {
  const tenant = tenantOf(asked.tenant, access)
  return begun(await tenant.plane.accounts.login(asked.name, asked.password), tenant, access, cookie)
}

/** Begins a login at an issuer: says where to send the browser, and gives it the secret that it brings back. @throws {Denied} `identity_invalid` */
export function beginAtIssuer(asked: { readonly issuer: string; readonly tenant?: string }, access: Access, host: string): LoginAnswer {
  const { logins } = tenantOf(asked.tenant, access)
  if (logins === undefined) throw new Denied('identity_invalid')
  const { url, secret, seconds } = logins.begin(asked.issuer, `${access.originAt(host)}${CALLBACK}`)
  return { body: { url }, cookies: [access.cookies.login(secret, seconds)] }
}

/** Ends a login that an issuer sent the browser back from, at the tenant that began it. @throws {Denied} `identity_invalid`, `unavailable` */
export async function endAtIssuer(asked: { readonly state?: string; readonly code?: string; readonly iss?: string }, access: Access, cookie: string | undefined): Promise<LoginAnswer<LoggedInAnswer>> {
  const { state = '', code = '', iss } = asked
  const tenant = [...access.tenants].find(({ logins }) => logins?.knows(state) === true)
  if (tenant?.logins === undefined) throw new Denied('identity_invalid')
  const person = await tenant.logins.finish({ state, code, iss }, access.cookies.loginOf(cookie))
  const { body, cookies } = begun(await tenant.plane.accounts.loginBy(person), tenant, access, cookie)
  return { body, cookies: [...cookies, access.cookies.login('', 0)] }
}

/** Who is asking, and what they may do. */
export function whoIs({ plane, person }: Admitted): JsonObject {
  return { tenant: plane.log.tenant, person: person.id, role: person.role }
}

/** The token is told here and never again: a page of ours keeps it, and no other can read it. */
function begun(session: Begun & Person, { plane }: ServedTenant, access: Access, cookie: string | undefined): LoginAnswer<LoggedInAnswer> {
  const { id: person, role, token, seconds } = session
  return { body: { tenant: plane.log.tenant, person, role, token, seconds }, cookies: [access.began(session, cookie)] }
}

function tenantOf(name: string | undefined, access: Access): ServedTenant {
  const found = name === undefined ? access.first : access.named(name)
  if (found === undefined) throw new Denied('identity_invalid')
  return found
}
