import { isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import { MAX_POLICY_STRING } from '../decide/mapping.ts'
import { PolicyError, SCHEMA_FILE } from '../decide/policy-set.ts'
import { argumentTypes, schemaJson } from '../decide/schema.ts'

/** Types that an argument of a tool can have for policies, as the schema language writes them. */
export type DeclaredType = 'String' | 'Long' | 'Bool' | 'Set<String>'
/** A tool whose definition somebody pinned. */
export interface PinnedSchema {
  readonly target: string
  readonly name: string
  readonly inputSchema: JsonValue | undefined
}
export interface ProposedArgument {
  readonly name: string
  readonly type: DeclaredType
  readonly tools: readonly string[]
  /** Whether it may be longer than what reaches policy: where it is, a call is denied once the argument is declared. */
  readonly mayBeLong: boolean
}
export interface ProposedArguments {
  readonly add: readonly ProposedArgument[]
  /** What the schema declares already, as the tools have it. */
  readonly declared: readonly string[]
  /** What is not declared, and why not. */
  readonly left: readonly { readonly name: string; readonly why: string }[]
}

/** Names that are proposed. What begins with two underscores means something else to Cedar. */
const NAME = /^(?!__)[A-Za-z0-9_$.-]{1,64}$/
const IDENTIFIER = /^[A-Za-z_][A-Za-z0-9_]*$/
/** Words that the language keeps for itself. */
const RESERVED: ReadonlySet<string> = new Set(['true', 'false', 'if', 'then', 'else', 'in', 'is', 'like', 'has', 'principal', 'action', 'resource', 'context'])
/** References and branches behind each other that are followed, and steps that one tool's schema may take. */
const MAX_DEPTH = 16
const MAX_STEPS = 20_000
/** Tools that are named as a reason. */
const MAX_NAMED = 4
/** As the decoder of arguments calls them. */
const DECLARED = { String: 'String', Long: 'Long', Boolean: 'Bool', StringSet: 'Set<String>' } as const

/**
 * What the tools' own schemas say of their arguments, as far as policies can read it. An argument is proposed only where all tools that have it agree on
 * its type, and the schema says nothing else; the rest is left out by name.
 * @param only propose no other names than these
 * @throws {PolicyError}
 */
export function proposeArguments(tools: readonly PinnedSchema[], schema: string, only?: ReadonlySet<string>): ProposedArguments {
  const known = argumentTypes(schema)
  const found = new Map<string, { readonly tool: string; readonly is: Read }[]>()
  for (const { target, name: tool, inputSchema } of tools) {
    if (!isObject(inputSchema)) continue
    const walk: Walk = { root: inputSchema, steps: MAX_STEPS }
    for (const [name, property] of propertiesOf(inputSchema, walk, MAX_DEPTH)) {
      if (only !== undefined && !only.has(name)) continue
      const uses = found.get(name) ?? []
      found.set(name, uses)
      uses.push({ tool: `${target}/${tool}`, is: read(property, walk, MAX_DEPTH) })
    }
    // What was not looked at could say otherwise of any of them.
    if (walk.steps < 0) throw new PolicyError(`the schema of ${target}/${tool} is too much to read; name other tools`)
  }
  const add: ProposedArgument[] = []
  const declared: string[] = []
  const left: { name: string; why: string }[] = []
  for (const [name, uses] of [...found].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const says = new Map<string, string[]>()
    for (const { tool, is } of uses) says.set(typeOf(is), [...new Set([...(says.get(typeOf(is)) ?? []), tool])])
    const [first] = uses
    const before = known.get(name)
    if (!NAME.test(name)) left.push({ name, why: 'no name for a policy' })
    else if (first === undefined || says.size > 1) left.push({ name, why: [...says].map(([is, of]) => `${is} in ${named(of)}`).join('; ') })
    else if ('why' in first.is) left.push({ name, why: first.is.why })
    else if (before === undefined) add.push({ name, type: TYPE_OF[first.is.kind], tools: [...says.values()].flat(), mayBeLong: uses.some(({ is }) => 'mayBeLong' in is && is.mayBeLong) })
    else if (DECLARED[before] === TYPE_OF[first.is.kind]) declared.push(name)
    else left.push({ name, why: `declared as ${DECLARED[before]}; ${TYPE_OF[first.is.kind]} in ${named([...says.values()].flat())}` })
  }
  for (const name of only ?? []) if (!found.has(name)) left.push({ name, why: 'no pinned tool has it' })
  return { add, declared, left }
}

const named = (tools: readonly string[]): string => `${tools.slice(0, MAX_NAMED).join(', ')}${tools.length > MAX_NAMED ? ` and ${tools.length - MAX_NAMED} more` : ''}`

/** What an argument is; a number reaches policy as a text, but not among texts. */
type Kind = 'text' | 'number' | 'integer' | 'truth' | 'texts'
const TYPE_OF: Readonly<Record<Kind, DeclaredType>> = { text: 'String', number: 'String', integer: 'Long', truth: 'Bool', texts: 'Set<String>' }
/** One tool's schema, and how much more of it is looked at. */
interface Walk {
  readonly root: JsonObject
  steps: number
}
type Read = { readonly kind: Kind; readonly mayBeLong: boolean } | { readonly why: string }
const UNREADABLE: Read = { why: 'no type that policies read' }
const ANY: Read = { why: 'any type' }
const typeOf = (one: Read): string => ('kind' in one ? TYPE_OF[one.kind] : one.why)

/** The arguments of a tool: those that its schema names, and those that only one of its branches does. */
function* propertiesOf(schema: JsonValue | undefined, walk: Walk, left: number, named: Set<string> = new Set()): Generator<readonly [string, JsonValue]> {
  if (!isObject(schema) || left === 0 || --walk.steps < 0) return
  for (const [name, property] of isObject(schema['properties']) ? Object.entries(schema['properties']) : []) {
    if (!named.has(name)) yield [name, property]
  }
  const taken = new Set([...named, ...(isObject(schema['properties']) ? Object.keys(schema['properties']) : [])])
  if (typeof schema['$ref'] === 'string') yield* propertiesOf(at(schema['$ref'], walk.root), walk, left - 1, taken)
  for (const keyword of ['allOf', 'anyOf', 'oneOf', 'if', 'then', 'else'] as const) {
    const branches = schema[keyword]
    for (const branch of Array.isArray(branches) ? branches : [branches]) yield* propertiesOf(branch, walk, left - 1, taken)
  }
}

/** The type of one argument. Null is none: an argument that is declared and null denies the call. */
function read(schema: JsonValue | undefined, walk: Walk, left: number): Read {
  if (!isObject(schema)) return ANY
  if (left === 0 || --walk.steps < 0) return UNREADABLE
  const reference = schema['$ref']
  if (typeof reference === 'string') return read(at(reference, walk.root), walk, left - 1)
  const { type, enum: values, anyOf, oneOf, allOf } = schema as Record<string, JsonValue | undefined>
  if (type !== undefined) return agreed((Array.isArray(type) ? type : [type]).map((one: JsonValue) => ofType(one, schema, walk, left)))
  if (Array.isArray(values)) return agreed(values.map(ofValue))
  if (schema['const'] !== undefined) return ofValue(schema['const'])
  const branches = [anyOf, oneOf, allOf].find((list) => Array.isArray(list))
  return Array.isArray(branches) && (branches !== allOf || branches.length === 1) ? agreed(branches.map((one: JsonValue) => read(one, walk, left - 1))) : ANY
}

/** What all branches say; otherwise why there is nothing to say. */
function agreed(reads: readonly Read[]): Read {
  const wrong = reads.find((one) => 'why' in one)
  if (wrong !== undefined) return wrong
  const [first] = reads
  if (first === undefined || !('kind' in first)) return UNREADABLE
  const types = new Set(reads.map(typeOf))
  if (types.size > 1) return { why: `one of ${[...types].join(', ')}` }
  const other = reads.find((one) => 'kind' in one && one.kind !== first.kind) // text or number: both are texts to policy
  return { kind: other === undefined ? first.kind : 'number', mayBeLong: reads.some((one) => 'kind' in one && one.mayBeLong) }
}

function ofType(type: JsonValue, schema: JsonObject, walk: Walk, left: number): Read {
  switch (type) {
    case 'string':
      return { kind: 'text', mayBeLong: !isShort(schema) }
    case 'number':
      return { kind: 'number', mayBeLong: false }
    case 'integer':
      return { kind: 'integer', mayBeLong: false }
    case 'boolean':
      return { kind: 'truth', mayBeLong: false }
    case 'null':
      return { why: 'may be null' }
    case 'array': {
      const items = read(schema['items'], walk, left - 1)
      return 'kind' in items && items.kind === 'text' ? { kind: 'texts', mayBeLong: true } : UNREADABLE
    }
    default:
      return UNREADABLE
  }
}

function ofValue(value: JsonValue): Read {
  if (value === null) return { why: 'may be null' }
  if (typeof value === 'string') return { kind: 'text', mayBeLong: value.length > MAX_POLICY_STRING }
  if (typeof value === 'number') return { kind: Number.isInteger(value) ? 'integer' : 'number', mayBeLong: false }
  return typeof value === 'boolean' ? { kind: 'truth', mayBeLong: false } : UNREADABLE
}

function isShort({ maxLength, enum: values, const: constant }: { readonly maxLength?: JsonValue; readonly enum?: JsonValue; readonly const?: JsonValue }): boolean {
  const texts = Array.isArray(values) ? values : constant === undefined ? undefined : [constant]
  return (typeof maxLength === 'number' && maxLength <= MAX_POLICY_STRING / 2) || (texts !== undefined && texts.every((one: JsonValue) => typeof one === 'string' && one.length <= MAX_POLICY_STRING))
}

/** What a reference into the same schema leads to. */
function at(reference: string, root: JsonObject): JsonValue | undefined {
  if (!reference.startsWith('#/')) return undefined
  let value: JsonValue | undefined = root
  for (const part of reference.slice(2).split('/')) {
    const name = part.replaceAll('~1', '/').replaceAll('~0', '~')
    value = isObject(value) && Object.hasOwn(value, name) ? value[name] : undefined
  }
  return value
}

/**
 * The schema with these arguments declared beside those that it has. Nothing else of its text changes, and what it says else is the same.
 * @throws {PolicyError} where there is no one place for them
 */
export function declareArguments(schema: string, add: readonly Pick<ProposedArgument, 'name' | 'type'>[]): string {
  if (add.length === 0) return schema
  const code = blanked(schema)
  const open = placeOf(code, schema)
  const close = closing(code, open)
  const lines = add.map(({ name, type }) => `${IDENTIFIER.test(name) && !RESERVED.has(name) ? name : JSON.stringify(name)}?: ${type}`)
  const inside = code.slice(open + 1, close)
  const end = open + 1 + inside.trimEnd().length // behind the last declaration, before comments
  const comma = inside.trim() === '' || inside.trimEnd().endsWith(',') ? '' : ','
  const own = schema.slice(open + 1, close)
  const declared = own.includes('\n') || add.length > 3
    ? `${schema.slice(0, end)}${comma}${schema.slice(end, close).trimEnd()}\n${lines.map((line) => `${indentOf(own)}${line},\n`).join('')}${schema.slice(lineStart(schema, close), close)}${schema.slice(close)}`
    : `${schema.slice(0, end)}${comma}${schema.slice(end, close).trimEnd()} ${lines.join(', ')} ${schema.slice(close)}`
  verifyOnly(schema, declared, add)
  return declared
}

const indentOf = (own: string): string => /\n([ \t]+)\S/.exec(own)?.[1] ?? '  '
/** Of a brace that stands alone on its line. */
const lineStart = (text: string, close: number): number => (/^[ \t]*$/.test(text.slice(text.lastIndexOf('\n', close - 1) + 1, close)) ? text.lastIndexOf('\n', close - 1) + 1 : close)

/** The text with comments and strings as spaces, so that every place is the same in both. */
function blanked(text: string): string {
  return text.replace(/\/\/[^\n]*|"(?:[^"\\\n]|\\.)*"/g, (one) => (one.startsWith('"') ? `"${'_'.repeat(one.length - 2)}"` : ' '.repeat(one.length)))
}

/** Where the record of the arguments of calls opens. */
function placeOf(code: string, schema: string): number {
  const type = argumentsType(schema)
  const pattern = type === undefined ? /\bargs\s*\??\s*:\s*\{/g : new RegExp(`\\btype\\s+${type}\\s*=\\s*\\{`, 'g')
  const [only, ...more] = code.matchAll(pattern)
  if (only === undefined || more.length > 0) throw new PolicyError(`${SCHEMA_FILE}: there is no one place where the arguments of calls are declared; give them a type of their own: type Arguments = { … }; and args: Arguments`)
  return only.index + only[0].length - 1
}

function closing(code: string, open: number): number {
  let depth = 0
  for (let i = open; i < code.length; i++) {
    if (code[i] === '{') depth++
    if (code[i] === '}' && --depth === 0) return i
  }
  throw new PolicyError(`${SCHEMA_FILE}: a brace that is not closed`)
}

type Shape = { readonly type?: string; readonly name?: string; readonly attributes?: Record<string, Shape> }

/** The name of the type that `context.args` of a tool call has; undefined where it has none. @throws {PolicyError} */
function argumentsType(schema: string): string | undefined {
  const own = schemaJson(schema)['']
  const commons = (own?.commonTypes ?? {}) as Record<string, Shape>
  const nameOf = (shape: Shape | undefined): string | undefined => [shape?.name, shape?.type].find((name) => name !== undefined && commons[name] !== undefined)
  const context = (own?.actions['mcp.tool_call'] as { appliesTo?: { context?: Shape } } | undefined)?.appliesTo?.context
  const name = nameOf(context)
  const args = (name === undefined ? context : commons[name])?.attributes?.['args']
  if (args === undefined) throw new PolicyError(`${SCHEMA_FILE}: the action mcp.tool_call has no context.args; add args: Arguments to its context, and type Arguments = {};`)
  return nameOf(args)
}

/** @throws {PolicyError} where anything but the arguments of `add` would be declared, or otherwise than before */
function verifyOnly(before: string, after: string, add: readonly Pick<ProposedArgument, 'name' | 'type'>[]): void {
  const [old, now] = [argumentTypes(before), argumentTypes(after)]
  const same = now.size === old.size + add.length && [...old].every(([name, type]) => now.get(name) === type) && add.every(({ name, type }) => DECLARED[now.get(name) ?? 'String'] === type)
  const names = new Set(add.map(({ name }) => name))
  const rest = (schema: string): string => JSON.stringify(schemaJson(schema), (key, value: unknown) => (names.has(key) && isObject(value as JsonValue) && (value as { required?: boolean }).required === false ? undefined : value))
  if (!same || rest(before) !== rest(after)) throw new PolicyError(`${SCHEMA_FILE}: the arguments cannot be added without changing something else; add them by hand`)
}
