import { dereference, type Schema, validate } from '@cfworker/json-schema'
import { Denied, type JsonObject, quoted } from '@sealwrit/protocol'
import { Cost } from './cost.ts'
import { type Failure, failureOf } from './outcome.ts'
import { type Keywords, readSchema, refused, type Subschema } from './read.ts'
import type { ValidationThread } from './thread.ts'

/** Subschemas that may meet a value of one call where the gateway waits for it; what could be more is validated in the thread. */
export const MAX_COST_HERE = 2_000

/** Holds arguments of calls against the input schema of their tool. */
export interface ArgumentsValidator {
  /**
   * Nothing where they fit, at once or when the promise resolves.
   * @throws {Denied} `request_malformed` naming place and rule, never a value; `limit_exceeded` or `overloaded` where it cannot be told within bounds
   */
  validate(args: JsonObject): void | Promise<void>
}

/**
 * Reads an input schema. It is interpreted, and never made into code; nothing is fetched for it.
 * @throws {Denied} `limit_exceeded` for one that no call can be held against: too much of it, of another dialect, no schema, or with
 *   references that lead elsewhere, to nothing or round in a circle (ATK-105)
 */
export function compileSchema(inputSchema: JsonObject, thread: ValidationThread): ArgumentsValidator {
  const { root, dialect, hasPatterns, hasUnique } = readSchema(inputSchema)
  const sent = thread.nextSchema()
  const forThread = structuredClone(root) // the validator marks its own
  const lookup = resolved(root as Schema)
  const all = new Set(Object.values(lookup) as Subschema[])
  const target = ({ __absolute_ref__: at }: Keywords): Subschema => {
    const found = typeof at === 'string' ? lookup[at] : undefined
    if (found === undefined) throw refused('a `$ref` to what is not in it')
    return found as Subschema
  }
  for (const one of all) if (typeof one === 'object' && one['$ref'] !== undefined) target(one)
  const cost = new Cost(root, dialect, target, all)
  const here = (args: JsonObject): Failure | undefined => {
    try {
      return failureOf(validate(args, root as Schema, dialect, lookup))
    } catch {
      throw new Denied('limit_exceeded', 'the arguments could not be validated')
    }
  }
  return {
    validate: (args) => (hasPatterns || cost.of(args, hasUnique) > MAX_COST_HERE ? thread.run(sent, forThread, dialect, args).then(judge) : judge(here(args))),
  }
}

/** Every subschema by its address, with references resolved; none leads out of the schema, since there is nothing else. */
function resolved(root: Schema): Record<string, Schema | boolean> {
  try {
    return dereference(root)
  } catch {
    throw refused('an address that is none, or two subschemas with one')
  }
}

function judge(failure: Failure | undefined): void {
  if (failure === undefined) return
  const { at, keyword, missing } = failure
  throw new Denied('request_malformed', `argument ${quoted(at === '#' ? '#' : decoded(at.slice(1)))}: ${keyword}${missing === undefined ? '' : ` ${quoted(missing)}`}`)
}

/** A name of a client's making, as it sent it. */
function decoded(pointer: string): string {
  try {
    return decodeURIComponent(pointer)
  } catch {
    return pointer
  }
}
