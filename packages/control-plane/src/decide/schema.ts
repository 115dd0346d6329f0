import * as cedar from '@cedar-policy/cedar-wasm/nodejs'
import { ENVIRONMENT_FACTS, type EnvironmentFact, isEnvironmentFact, isPurpose } from '@sealwrit/protocol'
import { type ArgumentTypes, CALL_MEMBERS, PURPOSE, type Sees } from './mapping.ts'
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
  for (const { context, resolve } of all) checkCall(resolve(context?.attributes?.['call']), resolve)
  return { call: declares('call'), identity: declares('identity'), federation: declares('federation'), lineage, purposes: declares('intent') ? purposes(schema) : new Set(), environment: new Set([...(first ?? [])].filter((fact) => others.every((facts) => facts.has(fact)))) }
}

/** Who may ask for an action of what, and whether policies may mean it by a group. */
export interface Applies {
  readonly principals: ReadonlySet<string>
  readonly resources: ReadonlySet<string>
  readonly isGrouped: boolean
}

/** By the ids of the actions that the schema declares. @throws {PolicyError} */
export function appliesTo(schema: string): ReadonlyMap<string, Applies> {
  const answer = schemaJson(schema)
  const actions = answer['']?.actions ?? {} // those of a namespace are others
  return new Map(Object.entries(actions).map(([id, { appliesTo: to, memberOf }]) => [id, { principals: new Set(to?.principalTypes), resources: new Set(to?.resourceTypes), isGrouped: (memberOf?.length ?? 0) > 0 }]))
}

/** Purposes that one policy set may register. */
export const MAX_PURPOSES = 1_000

/** The ids of `entity Purpose enum [...]`. @throws {PolicyError} */
function purposes(schema: string): ReadonlySet<string> {
  const [only, ...more] = namespacesOf(schema).flatMap(({ entityTypes }) => (Object.hasOwn(entityTypes, PURPOSE) ? [entityTypes[PURPOSE] as { enum?: readonly string[] }] : []))
  const wrong = only?.enum?.find((id) => !isPurpose(id))
  if (only?.enum === undefined || more.length > 0) throw new PolicyError(`${SCHEMA_FILE}: context.intent needs the registered purposes: entity ${PURPOSE} enum ["invoice-review", …];`)
  if (wrong !== undefined) throw new PolicyError(`${SCHEMA_FILE}: ${JSON.stringify(wrong)} is no id of a purpose: up to 64 of a-z, 0-9, dot, dash and underscore`)
  if (only.enum.length > MAX_PURPOSES) throw new PolicyError(`${SCHEMA_FILE}: more than ${MAX_PURPOSES} purposes`)
  return new Set(only.enum)
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

/** A declaration that differs from what is told would make every request invalid. */
function checkCall(shape: Shape | undefined, resolve: (shape: Shape | undefined) => Shape | undefined): void {
  if (shape === undefined) return
  const members = Object.entries(shape.attributes ?? {})
  const isTold = ([name, member]: [string, Shape]): boolean => CALL_MEMBERS.some((known) => known === name) && typeOf(name, resolve(member) ?? {}) === 'Boolean' && member.required !== false
  if (members.length !== CALL_MEMBERS.length || !members.every(isTold)) throw new PolicyError(`${SCHEMA_FILE}: context.call must be declared as call: { ${CALL_MEMBERS.map((name) => `${name}: Bool`).join(', ')} }`)
}

function namespacesOf(schema: string): readonly cedar.NamespaceDefinition<string>[] {
  return Object.values(schemaJson(schema))
}

/** The schema as Cedar reads it, by namespace. @throws {PolicyError} */
export function schemaJson(schema: string): Readonly<Record<string, cedar.NamespaceDefinition<string>>> {
  const answer = cedar.schemaToJsonWithResolvedTypes(schema)
  if (answer.type === 'failure') throw new PolicyError(`${SCHEMA_FILE}: ${answer.errors.map((e) => e.message).join('; ')}`)
  return answer.json as Record<string, cedar.NamespaceDefinition<string>>
}

/** The context of each action, with what resolves the names in it. */
function* contexts(schema: string): Generator<{ context: Shape | undefined; resolve: (shape: Shape | undefined) => Shape | undefined }> {
  for (const namespace of namespacesOf(schema)) {
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
