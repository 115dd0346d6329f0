import { Denied, isObject, type JsonObject, type JsonValue } from '@sealwrit/protocol'
import { fromHeader } from '../mirror.ts'

/** Arguments that one tool may have mirrored. */
export const MAX_MIRRORED = 64
/** Member of a parameter's schema that names the header which mirrors it. */
const ANNOTATION = 'x-mcp-header'
const TOKEN = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/
const PRIMITIVES: ReadonlySet<JsonValue> = new Set(['string', 'integer', 'boolean'])
/** Keywords whose value is data: what is in there annotates nothing. */
const DATA: ReadonlySet<string> = new Set(['const', 'default', 'enum', 'examples'])

/** One argument that a header mirrors: `Mcp-Param-<name>` holds what stands at `path`. */
export interface Mirrored {
  readonly name: string
  readonly path: readonly string[]
}

/**
 * The arguments that a tool's input schema has mirrored in headers; undefined where an annotation is not as the specification has it,
 * which makes the tool one that is not shown to HTTP clients and not called over HTTP.
 * @see MCP 2026-07-28, basic/transports/streamable-http, "Schema Extension"
 */
export function mirroredIn(schema: JsonValue | undefined): readonly Mirrored[] | undefined {
  const found: Mirrored[] = []
  if (!collect(schema, [], found) || found.length > MAX_MIRRORED) return undefined
  return new Set(found.map(({ name }) => name.toLowerCase())).size === found.length ? found : undefined
}

/** What the headers of a call say, by the names that its tool gives them; an argument that is not there, or null, has none. */
export function mirroredOf(mirrored: readonly Mirrored[], args: JsonObject): ReadonlyMap<string, string> {
  const out = new Map<string, string>()
  for (const { name, path } of mirrored) {
    const text = textOf(valueAt(args, path))
    if (text !== undefined) out.set(name, text)
  }
  return out
}

/**
 * Holds what a client mirrored of a call against its arguments (ATK-103). Headers that the tool does not know say nothing.
 * @param shown values of `Mcp-Param-*`, as they were sent, by the rest of their name in lower case
 * @throws {HeaderMismatch} `action_mismatch`
 */
export function verifyMirrored(mirrored: readonly Mirrored[], args: JsonObject, shown: ReadonlyMap<string, string>): void {
  for (const { name, path } of mirrored) {
    const header = shown.get(name.toLowerCase())
    const value = valueAt(args, path)
    const text = textOf(value)
    if (header === undefined && text === undefined) continue
    const said = header === undefined ? undefined : fromHeader(header)
    const isSame = said !== undefined && text !== undefined && (typeof value === 'number' ? INTEGER.test(said) && Number(said) === value : said === text)
    if (!isSame) throw new HeaderMismatch()
  }
}

/** A header and the body of a request contradict each other. */
export class HeaderMismatch extends Denied {
  constructor() {
    super('action_mismatch', 'a header does not say what its argument says')
  }
}

/** Integers are compared as numbers: `42.0` is 42. */
const INTEGER = /^-?[0-9]{1,16}(?:\.0{1,16})?$/

/** False where an annotation stands where none may, or says what it may not. */
function collect(schema: JsonValue | undefined, path: readonly string[], found: Mirrored[]): boolean {
  if (!isObject(schema)) return true
  if (Object.hasOwn(schema, ANNOTATION)) {
    const name = schema[ANNOTATION]
    if (typeof name !== 'string' || !TOKEN.test(name) || path.length === 0 || !isPrimitive(schema['type'])) return false
    found.push({ name, path })
  }
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword === ANNOTATION || DATA.has(keyword)) continue
    if (keyword === 'properties' && isObject(value)) {
      for (const [name, property] of Object.entries(value)) if (!collect(property, [...path, name], found)) return false
    } else if (isAnnotated(value)) return false
  }
  return true
}

function isPrimitive(type: JsonValue | undefined): boolean {
  const types = Array.isArray(type) ? type.filter((one) => one !== 'null') : [type]
  return types.length === 1 && PRIMITIVES.has(types[0] as JsonValue)
}

/** Whether a schema below here is annotated, where no path leads to by `properties` alone. */
function isAnnotated(value: JsonValue): boolean {
  if (Array.isArray(value)) return value.some(isAnnotated)
  if (!isObject(value)) return false
  return Object.entries(value).some(([name, inner]) => (name === ANNOTATION && typeof inner === 'string') || (!DATA.has(name) && isAnnotated(inner)))
}

function valueAt(args: JsonObject, path: readonly string[]): JsonValue | undefined {
  let at: JsonValue | undefined = args
  for (const name of path) at = isObject(at) && Object.hasOwn(at, name) ? at[name] : undefined
  return at
}

function textOf(value: JsonValue | undefined): string | undefined {
  if (typeof value === 'string') return value
  if (typeof value === 'boolean') return String(value)
  return typeof value === 'number' && Number.isSafeInteger(value) ? String(value) : undefined
}
