import { ACTION_TYPES, DENIALS, type DenialCode, ENVIRONMENT_FACTS, ENVIRONMENT_LEVELS, IDENTITY_FORMS, MAX_CERTIFICATE, MAX_CHAIN, MAX_IDENTITY_TOKEN, MAX_RESOURCE, MAX_NAME, MAX_REQUEST_STATE, MAX_PURPOSE_TEXT, MAX_STRING, TASK_METHODS } from '@sealwrit/protocol'
import * as z from 'zod'
import { MAX_PAGE_ITEMS, PAGE_ITEMS } from '../../page.ts'

/** Beyond every leaf that a log can have here. */
const MAX_LEAF_INDEX = 999_999_999_999_999

/**
 * Gives a schema the name that the OpenAPI document shows. Schemas are the outer wall: what is signed or hashed is read by the strict
 * parsers of `protocol` behind it, and a test holds both to the same answer.
 */
export function component<T extends z.ZodType>(id: string, schema: T): T {
  return schema.meta({ id })
}

/** A string that says something. */
export const text = (maxLength: number = MAX_STRING): z.ZodString => z.string().min(1).max(maxLength)
export const seq: z.ZodInt = z.int().min(0)
export const digest: z.ZodString = z.string().regex(/^sha256:[0-9a-f]{64}$/)
/** 128 bits: the last of 22 characters holds two of them. */
export const token: z.ZodString = z.string().regex(/^[A-Za-z0-9_-]{21}[AQgw]$/)
/** An Ed25519 public key: its form is looked at where it is used. */
export const publicKey: z.ZodString = text(43)
/** Any JSON object; its members are judged by whom they are for. */
export const object: z.ZodType = z.custom((value) => typeof value === 'object' && value !== null && !Array.isArray(value)).meta({ type: 'object', additionalProperties: true })
/** Texts by name. No `z.record`: it looks away from a member `__proto__`. */
export const texts: z.ZodType = z.custom((value) => typeof value === 'object' && value !== null && !Array.isArray(value) && Object.values(value).every((one) => typeof one === 'string')).meta({ type: 'object', additionalProperties: { type: 'string' } })
/** Anything that the strict parser took. */
export const json: z.ZodType = z.custom((value) => value !== undefined).meta({})

export const problem: z.ZodType = component(
  'Problem',
  z.strictObject({
    type: z.string().regex(/^urn:sealwrit:denial:[a-z_]+$/),
    title: z.string(),
    status: z.int().min(400).max(599),
    code: z.enum(Object.keys(DENIALS) as [DenialCode, ...DenialCode[]]),
    hint: z.string(),
    errors: z.array(z.strictObject({ pointer: z.string(), detail: z.string() })).exactOptional(),
  }).describe('Problem details (RFC 9457). `code` is one of the closed list of denial codes; `errors` says which members of a request are not as the schema asks.'),
)

const target = text()
const name = text(MAX_NAME)
const uri = z.strictObject({ uri: text(MAX_NAME) })
const retried = { input_responses: object.exactOptional(), request_state: z.string().max(MAX_REQUEST_STATE).exactOptional() }
export const action: z.ZodType = component(
  'Action',
  z.discriminatedUnion('type', [
    z.strictObject({ type: z.literal('mcp.tool_call'), target, name, arguments: object, tool_digest: digest, ...retried, task: object.exactOptional() }),
    z.strictObject({ type: z.literal('mcp.resource_read'), target, name: z.literal('resources/read'), arguments: uri, ...retried }),
    z.strictObject({ type: z.literal('mcp.prompt_get'), target, name, arguments: object, ...retried }),
    z.strictObject({ type: z.literal('mcp.completion'), target, name: z.literal('completion/complete'), arguments: z.strictObject({ ref: object, argument: object, context: object.exactOptional() }) }),
    z.strictObject({ type: z.literal('mcp.resource_subscribe'), target, name: z.literal('resources/subscribe'), arguments: uri }),
    z.strictObject({ type: z.literal('mcp.task'), target, name: z.enum(TASK_METHODS), arguments: object }),
    z.strictObject({ type: z.literal('mcp.sampling'), target, name: z.literal('sampling/createMessage'), arguments: object }),
    z.strictObject({ type: z.literal('mcp.elicitation'), target, name: z.literal('elicitation/create'), arguments: object }),
    z.strictObject({ type: z.literal('mcp.roots'), target, name: z.literal('roots/list'), arguments: object }),
  ]).describe('What would run. Closed: an unknown type or member is refused.'),
)
export const agent: z.ZodType = component('Agent', z.strictObject({ name: text(128), verified: z.boolean() }))
export const facts: z.ZodType = z.strictObject({ paths: z.enum(['none', 'inside', 'outside', 'unresolved']) }).describe('What a gate found out about path arguments by looking at the machine.')

const [AGENT_KEY, OIDC, JWT_SVID, X509_SVID] = IDENTITY_FORMS as readonly ['agent-key', 'oidc', 'jwt-svid', 'x509-svid']
const proof = text(MAX_IDENTITY_TOKEN)
export const identity: z.ZodType = component(
  'Identity',
  z.discriminatedUnion('form', [
    z.strictObject({ form: z.literal(AGENT_KEY), proof }),
    z.strictObject({ form: z.literal(OIDC), token: proof, audience: text(MAX_RESOURCE).describe('The resource that the access token is for; absent for a token that says who somebody is.').exactOptional() }),
    z.strictObject({ form: z.literal(JWT_SVID), token: proof }),
    z.strictObject({ form: z.literal(X509_SVID), chain: z.array(z.string().max(MAX_CERTIFICATE)).min(1).max(MAX_CHAIN), proof }),
  ]).describe('Who asks, as it is asserted; the plane verifies it before it decides.'),
)
export const level: z.ZodEnum<{ [L in (typeof ENVIRONMENT_LEVELS)[number]]: L }> = z.enum(ENVIRONMENT_LEVELS)
/** What a request says it is for. */
export const declared: { readonly intent: z.ZodExactOptional; readonly purpose_text: z.ZodExactOptional } = {
  intent: z.string().regex(/^[a-z0-9._-]{1,64}$/).describe('The id of a purpose that the active policy set registers.').exactOptional(),
  purpose_text: text(MAX_PURPOSE_TEXT).describe('Words about it; neither policies nor approvers are shown them.').exactOptional(),
}
/** Where something is supposed to run. */
export const environmentFacts: z.ZodType = z.strictObject({
  level: level.exactOptional(),
  ...Object.fromEntries(Object.entries(ENVIRONMENT_FACTS).map(([name, kind]) => [name, (kind === 'integer' ? seq : kind === 'digest' ? digest : kind === 'commit' ? z.string().regex(/^(?:[0-9a-f]{40}|[0-9a-f]{64})$/) : text(512)).exactOptional()])),
})

export const sealed: z.ZodType = component('SealedEntry', z.strictObject({ entry: z.string(), proof: z.string() }).describe('A leaf of the log as text, and its C2SP tlog-proof. Its verifier reads it.'))
export const consistency: z.ZodType = z.array(z.string())
/** What another plane made, as it was shown; its verifier reads it. */
export const foreign: z.ZodType = z.unknown().refine((value) => value !== undefined).describe('What another plane made: {sealed, consistency}; spec/federation.md says how it is verified.')
export const scope: z.ZodType = component('Scope', z.strictObject({ type: z.enum(ACTION_TYPES), name: z.string(), target: z.string() }))
export const actor: z.ZodType = z.looseObject({ sub: z.string(), verified: z.boolean() })
export const entry: z.ZodType = component('Entry', z.looseObject({ v: z.literal(1), kind: z.string(), seq, time: z.int().min(0) }).describe('An entry of the log; spec/entries.md has the members of each kind.'))

/** A whole number in a query, which knows only texts. */
const number = (min: number, max: number): z.ZodType => z.preprocess((value) => (typeof value === 'string' && /^\d{1,16}$/.test(value) ? Number(value) : value), z.int().min(min).max(max))
/** `true` or `false` in a query. */
export const flag: z.ZodType = z.preprocess((value) => (value === 'true' ? true : value === 'false' ? false : value), z.boolean())
export const timeMs: z.ZodType = number(0, Number.MAX_SAFE_INTEGER)
export const leafIndex: z.ZodType = number(0, MAX_LEAF_INDEX)
/** Size of the newest tree that the asker has verified: the answer is linked with it. */
export const newest: z.ZodType = z.strictObject({ newest: z.optional(leafIndex).describe('Size of the newest tree that you have verified: the answer proves that it extends it.') })
/** Every list takes these two. */
export const paging: Readonly<Record<'cursor' | 'limit', z.ZodType>> = {
  cursor: z.optional(text(256)).describe('`next` of the page before; none for the first page.'),
  limit: z.optional(number(1, MAX_PAGE_ITEMS)).describe(`Items on the page, ${PAGE_ITEMS} unless said otherwise.`),
}
export const page: z.ZodType = z.strictObject(paging)
/** A list as it is answered: `next` stands only where more follows. */
export const listOf = (member: string, item: z.ZodType): z.ZodType => z.strictObject({ [member]: z.array(item), next: z.string().exactOptional() })
/** The entry that records what was asked for. */
export const recorded: z.ZodType = component('Recorded', z.strictObject({ seq }))
