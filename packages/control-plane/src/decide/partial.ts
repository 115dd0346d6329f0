import type * as cedar from '@cedar-policy/cedar-wasm/nodejs'

/** What an expression can come to: any of these together. */
export const TRUE = 1
export const FALSE = 2
const ERROR = 4
/** A value that is no truth. */
const OTHER = 8
const BOOLEAN = TRUE | FALSE
/** A boolean as far as anybody can tell, or an error. */
const DOUBTFUL = BOOLEAN | ERROR

/** A value that is known. Sets are in no order. */
export type Value = boolean | number | string | Entity | readonly Value[]
/** An entity; its id is undefined where only its type is known. */
export interface Entity {
  readonly type: string
  readonly id: string | undefined
}

/** What is known of an expression beforehand. Whatever it comes to in the end is among what it `can`. */
export interface Outcome {
  readonly can: number
  /** There where it can come to nothing else. */
  readonly value?: Value
}

/** What is known of the request. `context` is not: any part of it may be anything, or absent. */
export interface Supposition {
  readonly principal: Entity
  readonly principalAttributes: Readonly<Record<string, Outcome>>
  readonly action: Entity
  /** Whether the action may be in groups. */
  readonly isGrouped: boolean
  readonly resource: Entity
  readonly resourceAttributes: Readonly<Record<string, Outcome>>
  /** The only thing that the resource is in; the principal is in nothing. */
  readonly server: Entity
}

const ANYTHING: Outcome = { can: TRUE | FALSE | ERROR | OTHER }
const MAYBE: Outcome = { can: DOUBTFUL }

/** Steps after which it is given up, and everything further is {@link ANYTHING}. */
export interface Budget {
  left: number
}

export function known(value: Value): Outcome {
  return { can: typeof value === 'boolean' ? (value ? TRUE : FALSE) : OTHER, value }
}
/** Of this type, and no error; which one is not known. */
export const SOME_BOOLEAN: Outcome = { can: BOOLEAN }
export const SOME_VALUE: Outcome = { can: OTHER }

/** What a policy can come to: its scope and all its conditions. */
export function outcomeOf(policy: cedar.PolicyJson, supposed: Supposition, budget: Budget): number {
  const { principal, action, resource } = supposed
  let can = constrained(policy.principal, principal, supposed).can
  can = and(can, () => constrained(policy.resource, resource, supposed).can)
  can = and(can, () => constrained(policy.action, action, supposed).can)
  for (const { kind, body } of policy.conditions) can = and(can, () => (kind === 'when' ? truth(body, supposed, budget) : not(truth(body, supposed, budget))))
  return can
}

type Constraint = cedar.PrincipalConstraint | cedar.ResourceConstraint | cedar.ActionConstraint

function constrained(constraint: Constraint, entity: Entity, supposed: Supposition): Outcome {
  switch (constraint.op) {
    case 'All':
      return known(true)
    case '==':
      return 'entity' in constraint ? equal(known(entity), known(uid(constraint.entity))) : MAYBE
    case 'in':
      if ('entities' in constraint) return isIn(known(entity), known(constraint.entities.map(uid)), supposed)
      return 'entity' in constraint ? isIn(known(entity), known(uid(constraint.entity)), supposed) : MAYBE
    case 'is': {
      if (entity.type !== constraint.entity_type) return known(false)
      const { in: within } = constraint
      return within === undefined ? known(true) : 'entity' in within ? isIn(known(entity), known(uid(within.entity)), supposed) : MAYBE
    }
  }
}

const uid = (entity: cedar.EntityUidJson): Entity => ('__entity' in entity ? entity.__entity : entity)

/** Of an expression that is asked for a truth: what is none is an error. */
function truth(node: unknown, supposed: Supposition, budget: Budget): number {
  return asTruth(evaluate(node, supposed, budget))
}
const asTruth = ({ can }: Outcome): number => (can & OTHER) === 0 ? can : (can & ~OTHER) | ERROR
const not = (can: number): number => (can & ERROR) | ((can & TRUE) === 0 ? 0 : FALSE) | ((can & FALSE) === 0 ? 0 : TRUE)
const and = (left: number, right: () => number): number => (left & (FALSE | ERROR)) | ((left & TRUE) === 0 ? 0 : right())
const or = (left: number, right: () => number): number => (left & (TRUE | ERROR)) | ((left & FALSE) === 0 ? 0 : right())
const boolean = (can: number): Outcome => (can === TRUE ? known(true) : can === FALSE ? known(false) : { can })

/** Total: what is not read here comes to anything. */
function evaluate(node: unknown, supposed: Supposition, budget: Budget): Outcome {
  if (--budget.left < 0 || typeof node !== 'object' || node === null) return ANYTHING
  const [operator, operand] = Object.entries(node)[0] ?? []
  if (operator === 'Value') return valueOf(operand)
  if (operator === 'Var') return variable(operand, supposed)
  if (operator === 'Set') return setOf(operand, supposed, budget)
  if (typeof operand !== 'object' || operand === null) return ANYTHING
  const parts = operand as Readonly<Record<string, unknown>>
  const part = (name: string): Outcome => evaluate(parts[name], supposed, budget)
  switch (operator) {
    case '&&':
      return boolean(and(asTruth(part('left')), () => asTruth(part('right'))))
    case '||':
      return boolean(or(asTruth(part('left')), () => asTruth(part('right'))))
    case '!':
      return boolean(not(asTruth(part('arg'))))
    case 'if-then-else':
      return conditional(asTruth(part('if')), () => part('then'), () => part('else'))
    case '==':
      return equal(part('left'), part('right'))
    case '!=':
      return boolean(not(asTruth(equal(part('left'), part('right')))))
    case 'in':
      return isIn(part('left'), part('right'), supposed)
    case 'is':
      return isOf(part('left'), parts, () => part('in'), supposed)
    case '.':
      return member(part('left'), parts['attr'], supposed)
    case 'has':
      return has(part('left'), parts['attr'], supposed)
    case 'like':
      return like(part('left'), parts['pattern'], budget)
    case 'contains':
      return ofSets(part('left'), wrapped(part('right')), (left, right) => right.every((one) => left.has(one)))
    case 'containsAll':
      return ofSets(part('left'), part('right'), (left, right) => right.every((one) => left.has(one)))
    case 'containsAny':
      return ofSets(part('left'), part('right'), (left, right) => right.some((one) => left.has(one)))
    default:
      return ANYTHING
  }
}

function valueOf(json: unknown): Outcome {
  if (typeof json === 'boolean' || typeof json === 'string') return known(json)
  if (typeof json === 'number') return Number.isSafeInteger(json) ? known(json) : SOME_VALUE // beyond it JSON has rounded it
  if (typeof json === 'object' && json !== null && '__entity' in json) return known(json.__entity as Entity)
  return ANYTHING
}

function variable(name: unknown, { principal, action, resource }: Supposition): Outcome {
  return name === 'principal' ? known(principal) : name === 'action' ? known(action) : name === 'resource' ? known(resource) : ANYTHING
}

function setOf(items: unknown, supposed: Supposition, budget: Budget): Outcome {
  if (!Array.isArray(items)) return ANYTHING
  const values: Value[] = []
  let isKnown = true
  let error = 0
  for (const item of items) {
    const { can, value } = evaluate(item, supposed, budget)
    error |= can & ERROR
    if (value === undefined) isKnown = false
    else values.push(value)
  }
  return isKnown ? known(values) : { can: OTHER | error }
}

function conditional(can: number, then: () => Outcome, otherwise: () => Outcome): Outcome {
  if (can === TRUE) return then()
  if (can === FALSE) return otherwise()
  return { can: (can & ERROR) | ((can & TRUE) === 0 ? 0 : then().can) | ((can & FALSE) === 0 ? 0 : otherwise().can) }
}

/** A text that two values share exactly when they are equal; undefined where something in it is not known. */
function keyOf(value: Value): string | undefined {
  if (typeof value !== 'object') return JSON.stringify(value)
  if (!Array.isArray(value)) return entityKey(value as Entity)
  const keys = (value as readonly Value[]).map(keyOf)
  return keys.includes(undefined) ? undefined : `[${[...new Set(keys)].sort().join(',')}]`
}
const entityKey = ({ type, id }: Entity): string | undefined => (id === undefined ? undefined : `${type}::${JSON.stringify(id)}`)

function equal(left: Outcome, right: Outcome): Outcome {
  const [a, b] = [left.value, right.value].map((value) => (value === undefined ? undefined : keyOf(value)))
  return a === undefined || b === undefined ? { can: BOOLEAN | ((left.can | right.can) & ERROR) } : known(a === b)
}

/** An entity is in itself, the resource in its server, and nothing in anything else. */
function isIn(left: Outcome, right: Outcome, { action, isGrouped, resource, server }: Supposition): Outcome {
  const [one, outer] = [left.value, right.value]
  if (!isEntity(one) || outer === undefined) return MAYBE
  const outers: readonly (Value | undefined)[] = Array.isArray(outer) ? outer : [outer]
  if (!outers.every(isEntity)) return MAYBE
  const own = entityKey(one)
  const above = own !== undefined && own === entityKey(resource) ? entityKey(server) : undefined
  const keys = outers.map(entityKey)
  if (own !== undefined && keys.some((key) => key !== undefined && (key === own || key === above))) return known(true)
  return own === undefined || keys.includes(undefined) || (isGrouped && one.type === action.type) ? SOME_BOOLEAN : known(false)
}

function isEntity(value: Value | undefined): value is Entity {
  return typeof value === 'object' && !Array.isArray(value)
}

function isOf({ value }: Outcome, parts: Readonly<Record<string, unknown>>, within: () => Outcome, supposed: Supposition): Outcome {
  if (!isEntity(value)) return MAYBE
  if (value.type !== parts['entity_type']) return known(false)
  return parts['in'] === undefined ? known(true) : isIn(known(value), within(), supposed)
}

/** The attributes of an entity; undefined where they are not known. */
function attributesOf({ value }: Outcome, { principal, principalAttributes, resource, resourceAttributes }: Supposition): Readonly<Record<string, Outcome>> | undefined {
  if (!isEntity(value)) return undefined
  if (value === principal || (value.id !== undefined && entityKey(value) === entityKey(principal))) return principalAttributes
  return value === resource || (value.id !== undefined && entityKey(value) === entityKey(resource)) ? resourceAttributes : undefined
}

function member(of: Outcome, name: unknown, supposed: Supposition): Outcome {
  const attributes = attributesOf(of, supposed)
  return attributes !== undefined && typeof name === 'string' && Object.hasOwn(attributes, name) ? (attributes[name] as Outcome) : ANYTHING
}

function has(of: Outcome, name: unknown, supposed: Supposition): Outcome {
  const attributes = attributesOf(of, supposed)
  return attributes !== undefined && typeof name === 'string' ? known(Object.hasOwn(attributes, name)) : MAYBE
}

const wrapped = ({ can, value }: Outcome): Outcome => (value === undefined ? { can } : known([value]))

function ofSets(left: Outcome, right: Outcome, holds: (left: ReadonlySet<string | undefined>, right: readonly (string | undefined)[]) => boolean): Outcome {
  if (!Array.isArray(left.value) || !Array.isArray(right.value)) return MAYBE
  const [mine, theirs] = [(left.value as readonly Value[]).map(keyOf), (right.value as readonly Value[]).map(keyOf)]
  return mine.includes(undefined) || theirs.includes(undefined) ? SOME_BOOLEAN : known(holds(new Set(mine), theirs))
}

function like({ value }: Outcome, pattern: unknown, budget: Budget): Outcome {
  if (typeof value !== 'string' || !Array.isArray(pattern)) return MAYBE
  const texts = [''] // between the wildcards
  for (const part of pattern) {
    if (part === 'Wildcard') texts.push('')
    else if (typeof part === 'object' && part !== null && typeof part.Literal === 'string') texts[texts.length - 1] += part.Literal
    else return MAYBE
  }
  budget.left -= value.length * texts.length
  const [first, last] = [texts[0] as string, texts.at(-1) as string]
  if (texts.length === 1) return known(value === first)
  if (value.length < first.length + last.length || !value.startsWith(first) || !value.endsWith(last)) return known(false)
  let at = first.length
  for (const text of texts.slice(1, -1)) {
    const found = value.indexOf(text, at)
    if (found === -1) return known(false)
    at = found + text.length
  }
  return known(at + last.length <= value.length)
}
