import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { ENVIRONMENT_FACTS, type EnvironmentFact, isEnvironmentFact } from '@sealwrit/protocol'
import type { ArgumentTypes, Sees } from './mapping.ts'
import { PolicyError, SCHEMA_FILE } from './policy-set.ts'

type Shape = { type?: string; required?: boolean; name?: string; element?: Shape; attributes?: Record<string, Shape> }

/** The tool arguments that the schema declares under `context.args`, with the types that policies see. @throws {PolicyError} */
export function argumentTypes(schema: string): ArgumentTypes {
  const types = new Map<string, 'String' | 'Long' | 'Boolean' | 'StringSet'>()
  for (const { context, resolve } of contexts(schema)) {
    const args = resolve(context?.attributes?.['args'])
    for (const [name, shape] of Object.entries(args?.attributes ?? {})) types.set(name, typeOf(name, resolve(shape) ?? {}))
  }
  return types
}

/** What the schema declares for every action, so that it can be sent for each. @throws {PolicyError} */
export function seenBy(schema: string): Sees {
  const all = [...contexts(schema)]
  const declares = (name: string): boolean => all.length > 0 && all.every(({ context }) => context?.attributes?.[name] !== undefined)
  const [first, ...others] = all.map(({ context, resolve }) => environmentFacts(resolve(context?.attributes?.['environment']), resolve))
  const lineage = all.length > 0 && all.every(({ context, resolve }) => resolve(context?.attributes?.['lineage'])?.attributes?.['root'] !== undefined)
  return { identity: declares('identity'), federation: declares('federation'), lineage, environment: new Set([...(first ?? [])].filter((fact) => others.every((facts) => facts.has(fact)))) }
}

/** A fact of another name or type would never reach a policy, and one that is always demanded would deny wherever it is not told. */
function environmentFacts(shape: Shape | undefined, resolve: (shape: Shape | undefined) => Shape | undefined): ReadonlySet<EnvironmentFact> {
  const facts = new Set<EnvironmentFact>()
  for (const [name, given] of Object.entries(shape?.attributes ?? {})) {
    if (name === 'level') continue
    if (!isEnvironmentFact(name)) throw new PolicyError(`${SCHEMA_FILE}: context.environment.${name} is nothing that an environment tells; it tells level, ${Object.keys(ENVIRONMENT_FACTS).join(', ')}`)
    const type = ENVIRONMENT_FACTS[name] === 'integer' ? 'Long' : 'String'
    if (given.required !== false || resolve(given)?.type !== type) throw new PolicyError(`${SCHEMA_FILE}: context.environment.${name} must be declared as ${name}?: ${type}`)
    facts.add(name)
  }
  return facts
}

/** The context of each action, with what resolves the names in it. */
function* contexts(schema: string): Generator<{ context: Shape | undefined; resolve: (shape: Shape | undefined) => Shape | undefined }> {
  const answer = cedar.schemaToJsonWithResolvedTypes(schema)
  if (answer.type === 'failure') throw new PolicyError(`${SCHEMA_FILE}: ${answer.errors.map((e) => e.message).join('; ')}`)
  for (const namespace of Object.values(answer.json)) {
    const commons = (namespace.commonTypes ?? {}) as Record<string, Shape>
    const resolve = (shape: Shape | undefined): Shape | undefined => {
      const name = shape?.name ?? shape?.type
      return name !== undefined && commons[name] !== undefined && shape?.attributes === undefined ? resolve(commons[name]) : shape
    }
    for (const action of Object.values(namespace.actions)) yield { context: resolve((action as { appliesTo?: { context?: Shape } }).appliesTo?.context), resolve }
  }
}

function typeOf(name: string, shape: Shape): 'String' | 'Long' | 'Boolean' | 'StringSet' {
  if (shape.type === 'String' || shape.type === 'Long' || shape.type === 'Boolean') return shape.type
  if (shape.type === 'Bool') return 'Boolean'
  if (shape.type === 'Set' && shape.element?.type === 'String') return 'StringSet'
  throw new PolicyError(`${SCHEMA_FILE}: context.args.${name} must be a String, Long, Bool or Set<String>`)
}
