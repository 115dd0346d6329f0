import type { ValidationResult } from '@cfworker/json-schema'

/** Where arguments are not as the schema has them, and by which of its keywords. */
export interface Failure {
  /** A JSON pointer into the arguments, as a fragment. */
  readonly at: string
  readonly keyword: string
  /** The argument that the schema asks for and that is not there: the schema's own name. */
  readonly missing?: string
}

/** How the validator says which one is missing. */
const MISSING = /^Instance does not have required property "([\s\S]{1,128})"\.$/

/** Keywords that only say that something below does not fit. */
const WRAPPERS: ReadonlySet<string> = new Set(['$ref', 'properties', 'patternProperties', 'prefixItems', 'items', 'additionalItems', 'unevaluatedItems', 'additionalProperties', 'unevaluatedProperties', 'propertyNames', 'allOf', 'dependentSchemas', 'if'])

/** The first thing that does not fit, as far inside as it can be named. */
export function failureOf({ valid, errors }: ValidationResult): Failure | undefined {
  if (valid) return undefined
  let i = 0
  while (i + 1 < errors.length && WRAPPERS.has(errors[i]?.keyword ?? '') && errors[i + 1]?.keyword !== 'false') i++
  const { instanceLocation: at, keyword, error } = errors[i] ?? { instanceLocation: '#', keyword: 'schema', error: '' }
  const missing = keyword === 'required' ? MISSING.exec(error)?.[1] : undefined
  if (missing !== undefined) return { at, keyword, missing }
  // What may not be there at all: the place is its own.
  const inner = errors[i + 1]
  return { at: inner?.keyword === 'false' && keyword !== 'not' ? inner.instanceLocation : at, keyword }
}
