import { parseStrict, parseApprovalRequest, parseAuthorizeRequest, parseDenialRequest, parseEnrolRequest, parseIssueRequest, parseReceiptRequest, parseRedeemRequest, parseRenewRequest, parseToolsRequest, Denied, isIssueRequest, type JsonValue, utf8, WIRE_LIMITS } from '@sealwrit/protocol'
import { parseActivation, parsePinRequest, type Route, ROUTES } from '@sealwrit/control-plane'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { judge } from '../src/http/judge.ts'
import type * as z from 'zod'

const TOKEN = 'AAAAAAAAAAAAAAAAAAAAAA'
const OTHER = 'AAAAAAAAAAAAAAAAAAAAAQ'
const DIGEST = `sha256:${'a'.repeat(64)}`
const tool = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { path: '/srv/a', list: [1, { deep: null }] }, tool_digest: DIGEST }
const read = { type: 'mcp.resource_read', target: 'mcp://fs', name: 'resources/read', arguments: { uri: 'file:///a' } }
const agent = { name: 'coder', verified: true }
const asking = { session: TOKEN, challenge: OTHER, agent, environment: DIGEST, facts: { paths: 'inside' } }

const bodyOf = (url: string): z.ZodType => (ROUTES.find((route: Route) => route.url === url && route.method === 'POST') as Route).body as z.ZodType

/** Every request whose form `protocol` fixes: its address, its parser, and bodies that are right. */
const FORMS: readonly (readonly [url: string, parse: (value: JsonValue) => unknown, bodies: readonly object[]])[] = [
  ['/v1/authorize', (value) => (isIssueRequest(value) ? parseIssueRequest(value) : parseAuthorizeRequest(value)), [
    { ...asking, action: tool }, { ...asking, action: read, hold: TOKEN, identity: { form: 'agent-key', proof: 'x.y.z' }, traceparent: `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01` },
    { ...asking, action: { ...tool, type: 'mcp.prompt_get', tool_digest: undefined }, identity: { form: 'x509-svid', chain: ['AAAA'], proof: 'p' } },
    { ...asking, action: tool, parent: { jti: TOKEN, leaf_hash: DIGEST }, delegates: { until: 7, uses: 1, depth: 8, scopes: [{ type: 'mcp.tool_call', target: 'mcp://fs', name: '*' }, { type: 'mcp.tool_call', target: 'mcp://fs', name: 'x', arguments: { a: { prefix: '/srv/' }, b: { range: { min: 1, max: 2 } } } }], agents: ['a'], audiences: ['g', 'h'], environment: 'software' } },
    { ...asking, action: { ...tool, input_responses: { a: { action: 'accept' } }, request_state: 's', task: { ttl: 1 } } }, { ...asking, action: { ...read, type: 'mcp.resource_subscribe', name: 'resources/subscribe' } }, { ...asking, action: { ...read, request_state: '' } },
    { ...asking, action: { type: 'mcp.completion', target: 'mcp://fs', name: 'completion/complete', arguments: { ref: { type: 'ref/prompt', name: 'x' }, argument: { name: 'a', value: 'b' }, context: {} } } }, { ...asking, action: { type: 'mcp.task', target: 'mcp://fs', name: 'tasks/cancel', arguments: { taskId: '7' } } },
    ...[['sampling', 'sampling/createMessage'], ['elicitation', 'elicitation/create'], ['roots', 'roots/list']].map(([type, name]) => ({ ...asking, action: { type: `mcp.${type}`, target: 'mcp://fs', name, arguments: {} } })),
    { action: tool, agent, audience: 'gate', form: 'redeem', parent: { jti: TOKEN, leaf_hash: DIGEST } },
    { ...asking, action: tool, foreign: { sealed: { entry: '{}', proof: 'p' }, consistency: [] } }, { action: tool, agent, audience: 'home.test/default', form: 'redeem', foreign: null },
    { action: tool, agent, audience: 'gate', form: 'redeem' }, { action: read, agent, audience: 'gate', form: 'jws', seconds: 60, hold: TOKEN, nonce: OTHER, identity: { form: 'oidc', token: 't', audience: 'https://mcp.example/mcp' } },
  ]],
  ['/v1/redeem', parseRedeemRequest, [{ session: TOKEN, artifact: { entry: '{}', proof: 'p' }, challenge: OTHER, identity: { form: 'jwt-svid', token: 't' } }, { session: TOKEN, artifact: null, challenge: OTHER }]],
  ['/v1/receipts', parseReceiptRequest, [{ session: TOKEN, receipt: 'a.b.c' }, { session: TOKEN, receipt: 'a.b.c', result: { salt: OTHER, digest: DIGEST } }]],
  ['/v1/denials', parseDenialRequest, [{ session: TOKEN, denial: 'a.b.c', lost: 3 }]],
  ['/v1/leases/renew', parseRenewRequest, [{ session: TOKEN, nonce: OTHER, jtis: [TOKEN, OTHER] }, { session: TOKEN, nonce: OTHER, jtis: [] }]],
  ['/v1/gates', parseEnrolRequest, [{ key: 'k', session: TOKEN, proof: 'p', environment: { commit: DIGEST, level: 'software', salt: OTHER, document: { host: 'x' } } }, { key: 'k', session: TOKEN, proof: 'p', environment: { commit: DIGEST, level: 'none', salt: OTHER, document: {} }, floor: 7, checkpoint: 'note' }]],
  ['/v1/tools', parseToolsRequest, [{ session: TOKEN, target: 'mcp://fs', tools: [{ name: 'a', digest: DIGEST }, { name: 'b', digest: DIGEST, definition: '{}' }] }]],
  ['/v1/tools/pin', parsePinRequest, [{ target: 'mcp://fs', tools: [{ name: 'a', digest: DIGEST }] }]],
  ['/v1/approvals', parseApprovalRequest, [{ hold: TOKEN, signature: 'a.b.c' }, { hold: TOKEN, signature: 'a.b.c', reason: { salt: OTHER, value: { text: 'no' } } }, { hold: TOKEN, signature: 'a.b.c', voucher: { sealed: { entry: '{}', proof: 'p' }, consistency: [] } }]],
  ['/v1/policies', parseActivation, [{ files: { 'a.cedar': 'permit (principal, action, resource);' } }, { files: {}, mode: 'shadow', from: 1, urgent: true, confirm: false, rebase: true }]], // its tests are judged one by one where the set is loaded
]

const wire = (value: unknown): JsonValue => parseStrict(utf8(JSON.stringify(value)), WIRE_LIMITS)

/** Whether the form is right; what else is wrong has a code of its own, and is no matter of the schema. */
function isFormed(parse: (value: JsonValue) => unknown, value: JsonValue): boolean {
  try {
    parse(value)
    return true
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    return error.code !== 'request_malformed'
  }
}

/** Numbers beyond 2^53 never reach a schema. */
function isJson(value: unknown): boolean {
  try {
    wire(value)
    return true
  } catch {
    return false
  }
}

type Path = readonly (string | number)[]
function* paths(value: JsonValue, at: Path = []): Generator<Path> {
  yield at
  if (typeof value !== 'object' || value === null) return
  for (const [name, one] of Object.entries(value)) yield* paths(one as JsonValue, [...at, Array.isArray(value) ? Number(name) : name])
}

/** A copy of `value` in which what stands at `path` was changed. */
function changed(value: unknown, path: Path, change: (old: unknown) => unknown): unknown {
  const [name, ...rest] = path
  if (name === undefined) return change(value)
  if (Array.isArray(value)) return value.map((one, i) => (i === name ? changed(one, rest, change) : (one as unknown)))
  return { ...(value as object), [name]: changed((value as Record<string, unknown>)[name], rest, change) }
}

const GONE = Symbol('gone')
const other: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(null, '', 0, 1, -1, 1.5, 61, true, false, [], {}, 'x', TOKEN, 'AAAAAAAAAAAAAAAAAAAAAB', DIGEST, DIGEST.toUpperCase(), 'x'.repeat(44), 'x'.repeat(65), 'x'.repeat(129), 'x'.repeat(1_025), 'x'.repeat(8_193), [TOKEN, TOKEN], ['x'], { x: 1 }, 9_007_199_254_740_991, 'none', 'signed', { length: {} }, { length: { length: 1 } }, { length: 3 }, 'mcp.prompt_get', 'process.exec', 'oidc', GONE),
  fc.jsonValue({ maxDepth: 2 }),
)

describe('schemas and strict parsers', () => {
  it.each(FORMS)('of %s take the same bodies, and refuse the same', (url, parse, bodies) => {
    const schema = bodyOf(url)
    for (const body of bodies) expect([judge(schema, wire(body)).isRight, isFormed(parse, wire(body))], JSON.stringify(body)).toEqual([true, true])
    const places = bodies.flatMap((body) => [...paths(wire(body))].map((path) => ({ body, path })))
    fc.assert(
      fc.property(fc.constantFrom(...places), other, fc.option(fc.tuple(fc.constantFrom('x', '__proto__', 'session', 'form', 'hold'), other), { freq: 4 }), ({ body, path }, value, more) => {
        const one = changed(wire(body), path, (old) => (more !== null && typeof old === 'object' && old !== null && !Array.isArray(old) ? Object.defineProperty({ ...old }, more[0], { value: more[1] === GONE ? 1 : more[1], enumerable: true, configurable: true, writable: true }) : value === GONE ? undefined : value))
        if (one === undefined) return
        fc.pre(isJson(one))
        const mutant = wire(one)
        expect(judge(schema, mutant).isRight, JSON.stringify(mutant)).toBe(isFormed(parse, mutant))
      }),
      { numRuns: 400 },
    )
  })
})
