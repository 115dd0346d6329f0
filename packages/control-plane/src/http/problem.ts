import { Denied, type DenialCode, DENIALS, quoted } from '@sealwrit/protocol'
import type { FastifyReply } from 'fastify'
import type * as z from 'zod'

/** Members that are named as wrong in one answer. */
const MAX_NAMED = 8

/** One member that is not what it must be, found where its meaning is known; the detail is a text of ours. */
export class MalformedMember extends Denied {
  readonly errors: readonly MemberError[]

  constructor(pointer: string, detail: string, code: DenialCode = 'request_malformed') {
    super(code)
    this.errors = [{ pointer, detail }]
  }
}

/** What is wrong before there are members: said where a caller could not guess it. */
function toldOf(error: unknown): readonly MemberError[] {
  if (error instanceof RequestRefused || error instanceof MalformedMember) return error.errors
  switch ((error as { code?: string }).code) {
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return [{ pointer: '', detail: 'the content type of a body is application/json' }]
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return [{ pointer: '', detail: 'a body is missing' }]
    default:
      return []
  }
}

const UNKNOWN = 'unknown member'

/** What is wrong with one member of a request, at an RFC 6901 pointer. */
export interface MemberError {
  readonly pointer: string
  readonly detail: string
}

/** A request that is not as its schema asks: says which members, and never repeats a value. */
export class RequestRefused extends Denied {
  readonly errors: readonly MemberError[]

  constructor(part: 'body' | 'path' | 'query', issues: readonly z.core.$ZodIssue[]) {
    super('request_malformed')
    const errors = issues.flatMap((issue) => issuesOf(issue, part === 'body' ? '' : `/${part}`))
    this.errors = [...errors.filter(({ detail }) => detail.startsWith(UNKNOWN)), ...errors.filter(({ detail }) => !detail.startsWith(UNKNOWN))].slice(0, MAX_NAMED)
  }
}

function issuesOf(issue: z.core.$ZodIssue, base: string): MemberError[] {
  const pointer = base + issue.path.map((part) => `/${quotedName(String(part).replaceAll('~', '~0').replaceAll('/', '~1'))}`).join('')
  switch (issue.code) {
    case 'unrecognized_keys':
      return issue.keys.map((key) => ({ pointer: `${pointer}/${quotedName(key.replaceAll('~', '~0').replaceAll('/', '~1'))}`, detail: `${UNKNOWN} ${quoted(key)}` }))
    case 'invalid_union': {
      // What the nearest form lacks says more than that none fits.
      const nearest = [...issue.errors].sort((a, b) => a.length - b.length)[0] ?? []
      const inner = nearest.flatMap((one) => issuesOf(one, pointer))
      return inner.length > 0 ? inner : [{ pointer, detail: 'none of the forms that are known' }]
    }
    case 'invalid_type':
      return [{ pointer, detail: `missing, or not ${issue.expected}` }]
    case 'invalid_value':
      return [{ pointer, detail: `not one of ${issue.values.map(String).join(', ')}` }]
    case 'too_big':
      return [{ pointer, detail: `more than ${String(issue.maximum)}` }]
    case 'too_small':
      return [{ pointer, detail: `less than ${String(issue.minimum)}` }]
    case 'invalid_format':
      return [{ pointer, detail: 'not in the form that is asked for' }]
    default:
      return [{ pointer, detail: 'not as the schema asks' }]
  }
}

/** A name that a stranger chose: cut short, and data on every terminal. */
const quotedName = (name: string): string => quoted(name).slice(1, -1)

/** What an address names and is not there is said to be that: the request was taken by its schema, so nothing else of it can be malformed. */
export async function named<T>(member: string | undefined, answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    if (member !== undefined && error instanceof Denied && error.code === 'request_malformed') throw new MalformedMember(`/path/${member}`, 'nothing here has this name')
    throw error
  }
}

export function codeOf(error: unknown): DenialCode {
  if (error instanceof Denied) return error.code
  switch ((error as { code?: string }).code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return 'limit_exceeded'
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
    case 'FST_ERR_CTP_INVALID_CONTENT_LENGTH':
    case 'FST_ERR_CTP_EMPTY_JSON_BODY':
      return 'request_malformed'
    default:
      return byStatus((error as { statusCode?: unknown }).statusCode)
  }
}

/** What Fastify and its plugins refuse: a path that is none here, or a request that is malformed. Anything else is our own failure. */
function byStatus(status: unknown): DenialCode {
  if (status === 403 || status === 404) return 'method_unknown'
  return typeof status === 'number' && status >= 400 && status < 500 ? 'request_malformed' : 'unavailable'
}

/** Code and fixed hint; which members are malformed; never the cause (ATK-123). @see RFC 9457 */
export function problem(reply: FastifyReply, error: unknown): FastifyReply {
  const code = codeOf(error)
  const { http, meaning, hint } = DENIALS[code]
const errors = toldOf(error)
  const body = { type: `urn:sealwrit:denial:${code}`, title: meaning, status: http, code, hint, ...(errors.length > 0 ? { errors } : {}) }
  return reply.code(http).header('content-type', 'application/problem+json').send(Buffer.from(JSON.stringify(body))) // bytes: a charset parameter would be added to text
}
