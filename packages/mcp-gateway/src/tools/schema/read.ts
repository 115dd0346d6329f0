import { Denied, isObject, type JsonObject, type JsonValue, quoted } from '@sealwrit/protocol'
import { type Dialect, DIALECTS, kindOf, UNREAD } from './keywords.ts'

/** Subschemas of one input schema, how deep they stand in each other, and what else of it is counted: names, values, texts by their length. */
export const MAX_SUBSCHEMAS = 2_000
export const MAX_SCHEMA_DEPTH = 32
export const MAX_SCHEMA_SIZE = 131_072

/** A subschema as it was read: a truth, or nothing but keywords that say what may be, each of its kind. */
export type Subschema = boolean | Keywords
export interface Keywords {
  readonly [keyword: string]: unknown
}

export interface ReadSchema {
  readonly root: Subschema
  readonly dialect: Dialect
  /** Whether a text of the server is run as a regular expression. */
  readonly hasPatterns: boolean
  readonly hasUnique: boolean
}

/** An input schema that no call can be held against. */
export function refused(what: string): Denied {
  return new Denied('limit_exceeded', `input schema: ${what}`)
}

/**
 * Copies what says what arguments may be, and nothing else: what an author hid among the annotations reaches no validator.
 * @throws {Denied} `limit_exceeded` for what is too much, of another dialect, or no schema
 */
export function readSchema(schema: JsonObject): ReadSchema {
  const reader = new Reader(dialectOf(schema))
  const root = reader.schema(schema, 0)
  return { root, dialect: reader.dialect, hasPatterns: reader.hasPatterns, hasUnique: reader.hasUnique }
}

function dialectOf({ $schema: named }: { readonly $schema?: JsonValue }): Dialect {
  if (named === undefined) return '2020-12'
  const dialect = typeof named === 'string' ? DIALECTS.get(named.replace(/#$/, '')) : undefined
  if (dialect === undefined) throw refused(`dialect ${typeof named === 'string' ? quoted(named) : 'that is no text'}; 2020-12 and draft-07 are read`)
  return dialect
}

class Reader {
  readonly dialect: Dialect
  hasPatterns = false
  hasUnique = false
  #subschemas = 0
  #size = 0

  constructor(dialect: Dialect) {
    this.dialect = dialect
  }

  schema(value: JsonValue | undefined, depth: number): Subschema {
    if (++this.#subschemas > MAX_SUBSCHEMAS) throw refused(`more than ${MAX_SUBSCHEMAS} subschemas`)
    if (depth > MAX_SCHEMA_DEPTH) throw refused(`subschemas more than ${MAX_SCHEMA_DEPTH} deep`)
    if (typeof value === 'boolean') return value
    if (!isObject(value)) throw refused('a subschema that is neither an object nor a truth')
    const out: Record<string, unknown> = Object.create(null) as Record<string, unknown>
    for (const [keyword, member] of Object.entries(value)) {
      if (UNREAD.has(keyword)) throw refused(`${keyword} is not read here`)
      if (keyword === '$schema' && depth > 0) throw refused('a dialect of its own inside')
      const kind = kindOf(keyword, this.dialect)
      if (kind === undefined) continue
      // Bases inside each other make resolving exponential; a reference into another document has nothing to resolve to.
      if (keyword === '$id' && depth > 0) throw refused('a `$id` inside')
      out[keyword] = this.#keyword(keyword, member, depth)
    }
    return out
  }

  #keyword(keyword: string, value: JsonValue, depth: number): unknown {
    const wrong = (): Denied => refused(`${keyword} is not as JSON Schema has it`)
    const schema = (one: JsonValue): Subschema => this.schema(one, depth + 1)
    switch (kindOf(keyword, this.dialect)) {
      case 'schema':
        return schema(value)
      case 'schemas':
        if (!Array.isArray(value) || value.length === 0) throw wrong()
        return value.map(schema)
      case 'items':
        return Array.isArray(value) ? value.map(schema) : schema(value)
      case 'map':
        if (keyword === 'patternProperties') this.hasPatterns = true
        return this.#map(value, wrong, schema)
      case 'dependencies':
        return this.#map(value, wrong, (one) => (Array.isArray(one) ? this.#strings(one, wrong) : schema(one)))
      case 'lists':
        return this.#map(value, wrong, (one) => this.#strings(one, wrong))
      case 'strings':
        return this.#strings(value, wrong)
      case 'types':
        return this.#strings(Array.isArray(value) ? value : [value], wrong)
      case 'string':
        if (keyword === 'pattern') this.hasPatterns = true
        return this.#string(value, wrong)
      case 'count':
        if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw wrong()
        return value
      case 'number':
        if (typeof value !== 'number' || (keyword === 'multipleOf' && value <= 0)) throw wrong()
        return value
      case 'boolean':
        if (typeof value !== 'boolean') throw wrong()
        this.hasUnique ||= value
        return value
      case 'values':
        if (!Array.isArray(value)) throw wrong()
        return this.#data(value)
      case 'data':
      case undefined:
        return this.#data(value)
    }
  }

  #map<T>(value: JsonValue, wrong: () => Denied, read: (one: JsonValue) => T): Record<string, T> {
    if (!isObject(value)) throw wrong()
    const out = Object.create(null) as Record<string, T>
    for (const [name, one] of Object.entries(value)) {
      this.#count(1 + name.length)
      out[name] = read(one)
    }
    return out
  }

  #strings(value: JsonValue, wrong: () => Denied): readonly string[] {
    if (!Array.isArray(value)) throw wrong()
    return value.map((one: JsonValue) => this.#string(one, wrong))
  }

  #string(value: JsonValue, wrong: () => Denied): string {
    if (typeof value !== 'string') throw wrong()
    this.#count(1 + value.length)
    return value
  }

  /** Arguments are compared with it; it is no schema, whatever it looks like. */
  #data(value: JsonValue): JsonValue {
    this.#count(typeof value === 'string' ? 1 + value.length : 1)
    if (Array.isArray(value)) for (const one of value) this.#data(one)
    else if (isObject(value)) {
      for (const [name, one] of Object.entries(value)) {
        this.#count(name.length)
        this.#data(one)
      }
    }
    return value
  }

  #count(more: number): void {
    this.#size += more
    if (this.#size > MAX_SCHEMA_SIZE) throw refused(`more than ${MAX_SCHEMA_SIZE} characters that say what may be`)
  }
}
