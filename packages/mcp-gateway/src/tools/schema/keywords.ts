/** Dialects that are read; the first is that of a schema that names none. @see MCP 2026-07-28, basic, "JSON Schema Usage" */
export type Dialect = '2020-12' | '7'

export const DIALECTS: ReadonlyMap<string, Dialect> = new Map([
  ['https://json-schema.org/draft/2020-12/schema', '2020-12'],
  ['http://json-schema.org/draft-07/schema', '7'],
])

/** What stands behind a keyword. */
export type Kind = 'schema' | 'schemas' | 'map' | 'items' | 'dependencies' | 'count' | 'number' | 'boolean' | 'string' | 'strings' | 'lists' | 'types' | 'data' | 'values'

/**
 * Every keyword that says what arguments may be. All others annotate, `format` among them, as 2020-12 has it by default: a server may well take what
 * does not fit it.
 */
const BOTH: Readonly<Record<string, Kind>> = {
  $ref: 'string', $id: 'string', $anchor: 'string', $defs: 'map', definitions: 'map',
  type: 'types', const: 'data', enum: 'values',
  not: 'schema', anyOf: 'schemas', allOf: 'schemas', oneOf: 'schemas', if: 'schema', then: 'schema', else: 'schema',
  properties: 'map', patternProperties: 'map', additionalProperties: 'schema', propertyNames: 'schema', required: 'strings', minProperties: 'count', maxProperties: 'count',
  items: 'items', contains: 'schema', minItems: 'count', maxItems: 'count', uniqueItems: 'boolean',
  minimum: 'number', maximum: 'number', exclusiveMinimum: 'number', exclusiveMaximum: 'number', multipleOf: 'number',
  minLength: 'count', maxLength: 'count', pattern: 'string',
}
const BY_DIALECT: Readonly<Record<Dialect, Readonly<Record<string, Kind>>>> = {
  '2020-12': { ...BOTH, dependentRequired: 'lists', dependentSchemas: 'map', prefixItems: 'schemas', unevaluatedProperties: 'schema', unevaluatedItems: 'schema', minContains: 'count', maxContains: 'count' },
  '7': { ...BOTH, dependencies: 'dependencies', additionalItems: 'schema' },
}
/** What says what arguments may be, and is not read here. */
export const UNREAD: ReadonlySet<string> = new Set(['$dynamicRef', '$recursiveRef'])

export function kindOf(keyword: string, dialect: Dialect): Kind | undefined {
  const kinds = BY_DIALECT[dialect]
  return Object.hasOwn(kinds, keyword) ? kinds[keyword] : undefined
}
