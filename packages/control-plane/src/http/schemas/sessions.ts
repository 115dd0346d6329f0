import { ROLES } from '@sealwrit/protocol'
import * as z from 'zod'
import { MAX_PASSWORD_TEXT } from '../../govern/accounts.ts'
import { component, listOf, text } from './values.ts'

const role = z.enum(ROLES)
const tenant = z.string().regex(/^[a-z0-9-]{1,63}$/)
const password = text(MAX_PASSWORD_TEXT)
export const loginRequest: z.ZodType = component('LoginRequest', z.strictObject({ name: text(64), password, tenant: tenant.exactOptional() }))
const who = { tenant, person: z.string(), role }
export const loginReply: z.ZodType = component('LoginReply', z.strictObject({ ...who, token: z.string(), seconds: z.int() }).describe('`token` goes into the header `sealwrit-token` of every request that changes something. It is told once.'))
export const whoReply: z.ZodType = component('WhoAmI', z.strictObject(who))
export const issuerRequest: z.ZodType = z.strictObject({ issuer: text(), tenant: tenant.exactOptional() })
export const issuerReply: z.ZodType = z.strictObject({ url: z.string() })
export const issuersQuery: z.ZodType = z.strictObject({ tenant: z.optional(tenant) })
export const issuers: z.ZodType = z.strictObject({ issuers: z.array(z.string()) })
/** Whatever else an issuer adds is not looked at. */
export const callbackQuery: z.ZodType = z.looseObject({ state: z.optional(text()), code: z.optional(text(4_096)), iss: z.optional(text()) })
export const ownPasswordRequest: z.ZodType = z.strictObject({ current: password, password })
export const personRequest: z.ZodType = component('PersonRequest', z.strictObject({ name: text(64), role, password }))
export const personPath: z.ZodType = z.strictObject({ who: text(128) })
export const roleRequest: z.ZodType = z.strictObject({ role })
export const passwordRequest: z.ZodType = z.strictObject({ password })
export const people: z.ZodType = listOf('people', component('Person', z.strictObject({ person: z.string(), name: z.string().exactOptional(), role, login: z.enum(['local', 'oidc']) })))
export const tenants: z.ZodType = z.strictObject({ tenants: z.array(z.strictObject({ tenant, origin: z.string(), size: z.int(), ready: z.boolean() })) })
export const nothing: z.ZodType = z.strictObject({})
