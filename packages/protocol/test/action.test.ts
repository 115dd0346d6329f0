import * as fs from 'node:fs'
import * as path from 'node:path'
import { type Action, ACTION_TYPES, actionBytes, actionDigest, besideArguments, canonicalText, type DenialCode, isObject, type JsonObject, type JsonValue, MAX_NAME, MAX_REQUEST_STATE, parseAction, parseStrict, TASK_METHODS } from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { sha256 } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

const FILE = path.resolve(import.meta.dirname, '../../../spec/vectors/action.json')
const DIGEST = `sha256:${'a'.repeat(64)}`
const target = 'mcp://fs'

/** One action of each type that a gate serves. */
const GATED: readonly JsonObject[] = [
  { type: 'mcp.tool_call', target, name: 'read_file', arguments: { path: '/srv/a' }, tool_digest: DIGEST },
  { type: 'mcp.resource_read', target, name: 'resources/read', arguments: { uri: 'file:///srv/a' } },
  { type: 'mcp.prompt_get', target, name: 'greet', arguments: { who: 'you' } },
  { type: 'mcp.completion', target, name: 'completion/complete', arguments: { ref: { type: 'ref/prompt', name: 'greet' }, argument: { name: 'who', value: 'y' } } },
  { type: 'mcp.resource_subscribe', target, name: 'resources/subscribe', arguments: { uri: 'file:///srv/a' } },
  ...TASK_METHODS.map((name): JsonObject => ({ type: 'mcp.task', target, name, arguments: { taskId: '7' } })),
  { type: 'mcp.sampling', target, name: 'sampling/createMessage', arguments: { messages: [], maxTokens: 1 } },
  { type: 'mcp.elicitation', target, name: 'elicitation/create', arguments: { message: 'Delete it?' } },
  { type: 'mcp.roots', target, name: 'roots/list', arguments: {} },
]
const BESIDE = { input_responses: { go: { action: 'accept' } }, request_state: 's', task: { ttl: 1 } } as const
/** Which types may carry what. */
const CARRY: Readonly<Record<keyof typeof BESIDE, readonly string[]>> = {
  input_responses: ['mcp.tool_call', 'mcp.resource_read', 'mcp.prompt_get'],
  request_state: ['mcp.tool_call', 'mcp.resource_read', 'mcp.prompt_get'],
  task: ['mcp.tool_call'],
}

interface Vector {
  readonly name: string
  readonly input: JsonValue
  readonly expect: 'ok' | DenialCode
  /** The action digest of what is one. */
  readonly digest?: string
}

function vectors(): Vector[] {
  const of = (name: string, input: JsonValue, isOne: boolean): Vector => ({ name, input, expect: isOne ? 'ok' : 'request_malformed', ...(isOne ? { digest: actionDigest(input as unknown as Action, sha256) } : {}) })
  const first = GATED[0] as JsonObject
  const completion = GATED[3] as JsonObject
  const without = (action: JsonObject, name: string): JsonObject => Object.fromEntries(Object.entries(action).filter(([member]) => member !== name))
  return [
    ...GATED.flatMap((action) => {
      const said = `${action['type'] as string} ${action['name'] as string}`
      return [
        of(said, action, true), of(`${said} of a name that is another's`, { ...action, name: action['type'] === 'mcp.roots' ? 'roots/List' : 'roots/list' }, ['mcp.tool_call', 'mcp.prompt_get'].includes(action['type'] as string)),
        of(`${said} with one member more`, { ...action, more: 1 }, false), of(`${said} with no arguments`, without(action, 'arguments'), false), of(`${said} with a list for arguments`, { ...action, arguments: [] }, false),
        ...Object.entries(BESIDE).map(([member, value]) => of(`${said} with ${member}`, { ...action, [member]: value }, CARRY[member as keyof typeof BESIDE].includes(action['type'] as string))),
      ]
    }),
    of('all that a call can carry', { ...first, ...BESIDE }, true), of('answers to nothing', { ...first, input_responses: {} }, true), of('an empty state', { ...first, request_state: '' }, true),
    of('answers that are a list', { ...first, input_responses: [] }, false), of('answers that are null', { ...first, input_responses: null }, false), of('a state that is an object', { ...first, request_state: {} }, false), of('a task that is true', { ...first, task: true }, false),
    of('a completion with context', { ...completion, arguments: { ...(completion['arguments'] as JsonObject), context: { arguments: { a: 'b' } } } }, true), of('a completion with more', { ...completion, arguments: { ...(completion['arguments'] as JsonObject), more: 1 } }, false), of('a completion of nothing', { ...completion, arguments: { argument: {} } }, false), of('a completion of a text', { ...completion, arguments: { ref: 'x', argument: {} } }, false),
    of('a subscription with more than a URI', { ...(GATED[4] as JsonObject), arguments: { uri: 'u', more: 1 } }, false), of('a subscription to no URI', { ...(GATED[4] as JsonObject), arguments: {} }, false), of('another method of tasks', { ...(GATED[5] as JsonObject), name: 'tasks/delete' }, false), of('a method of tasks with more behind it', { ...(GATED[5] as JsonObject), name: 'tasks/get\n' }, false),
    ...['process.exec', 'http.request', 'function.call', 'deploy.admit', 'mcp.ping', 'MCP.roots', 'mcpxroots', ''].map((type) => of(`of type \`${type}\``, { ...(GATED.at(-1) as JsonObject), type }, false)),
    of('a text', 'mcp.roots', false), of('null', null, false),
  ]
}
if (process.env['SEALWRIT_UPDATE'] === '1') fs.writeFileSync(FILE, `${JSON.stringify({ about: 'What is an action, and its digest. Made by packages/protocol/test/action.test.ts. Apache-2.0.', vectors: vectors() }, null, 1)}\n`)

describe('spec/vectors/action.json', () => {
  const file = parseStrict(fs.readFileSync(FILE)) as unknown as { vectors: Vector[] }
  it('is what is made here', () => expect(canonicalText(file.vectors as never)).toBe(canonicalText(vectors() as never)))
  it.each(file.vectors)('$name: $expect', ({ input, expect: expected, digest }) => {
    expect(outcome(() => parseAction(input))).toBe(expected)
    if (digest !== undefined) expect(actionDigest(parseAction(input), sha256)).toBe(digest)
  })
})

describe('an action', () => {
  it('of every type of MCP is gated', () => {
    expect([...new Set(GATED.map(({ type }) => type))]).toEqual(ACTION_TYPES.filter((type) => type.startsWith('mcp.')))
  })
  it.each([[0, 'ok'], [1, 'request_malformed']] as const)('carries a state of its longest length and %i: %s', (more, expected) => {
    expect(outcome(() => parseAction({ ...(GATED[0] as JsonObject), request_state: 'x'.repeat(MAX_REQUEST_STATE + more) }))).toBe(expected)
  })
  it.each(['mcp.resource_read', 'mcp.resource_subscribe'])('of type %s has a URI of at most its longest length', (type) => {
    const action = GATED.find((one) => one['type'] === type) as JsonObject
    const uri = (length: number): JsonObject => ({ ...action, arguments: { uri: 'x'.repeat(length) } })
    expect([0, 1, MAX_NAME, MAX_NAME + 1].map((length) => outcome(() => parseAction(uri(length))))).toEqual(['request_malformed', 'ok', 'ok', 'request_malformed'])
  })
  it('says what it carries beside its arguments', () => {
    for (const action of GATED) expect(besideArguments(parseAction(action))).toEqual({})
    expect(besideArguments(parseAction({ ...(GATED[0] as JsonObject), ...BESIDE }))).toEqual(BESIDE)
    // An argument of such a name is an argument.
    expect(besideArguments(parseAction({ ...(GATED[0] as JsonObject), arguments: { ...BESIDE } }))).toEqual({})
  })

  const json = fc.jsonValue({ maxDepth: 2 }) as fc.Arbitrary<JsonValue>
  const any = fc.record({
    type: fc.constantFrom(...ACTION_TYPES), target: fc.constantFrom('mcp://fs', '', 'mcp://x'), name: fc.constantFrom('x', ...GATED.map((one) => one['name'] as string)),
    arguments: fc.oneof(fc.constantFrom(...GATED.map((one) => one['arguments'] as JsonObject)), json), tool_digest: fc.constantFrom(DIGEST, 'x'), input_responses: json, request_state: json, task: json, more: json,
  }, { requiredKeys: ['type', 'target', 'name', 'arguments'] })
  it('that is read is the same again in canonical form, member by member; nothing is left out in silence', () => {
    let read = 0
    fc.assert(fc.property(fc.oneof(any, fc.tuple(fc.constantFrom(...GATED), fc.subarray(Object.entries(BESIDE) as [string, JsonValue][])).map(([one, more]) => ({ ...one, ...Object.fromEntries(more) }))), (value) => {
      const given = value as unknown as JsonValue
      if (outcome(() => parseAction(given)) !== 'ok') return
      read++
      const action = parseAction(given)
      expect(parseStrict(actionBytes(action))).toEqual(given)
      const names = Object.keys(given as JsonObject)
      expect(names.filter((name) => name in BESIDE && isObject(given) && given[name] !== undefined).sort()).toEqual(Object.keys(besideArguments(action)).sort())
    }), { numRuns: 600 })
    expect(read).toBeGreaterThan(60)
  })
})
