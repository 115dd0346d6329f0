import { isObject, type JsonValue } from '@sealwrit/protocol'
import type { Dialect } from './keywords.ts'
import { type Keywords, refused, type Subschema } from './read.ts'

/** What working a cost out may take; beyond it nothing is known, and the cost counts as without end. */
const MAX_REASONING = 50_000
/** Subschemas that may be applied to one value one because of the other. */
export const MAX_APPLIED = 128
/** Characters of a text that cost about as much as one subschema. */
const TEXT_UNIT = 64

/** Applied to the value itself. */
const [SAME, SAME_LISTS, SAME_MAPS] = [['not', 'if', 'then', 'else'], ['anyOf', 'allOf', 'oneOf'], ['dependentSchemas', 'dependencies']] as const
/** Applied to any member, and to any item, of it. */
const ANY_MEMBER = ['additionalProperties', 'unevaluatedProperties', 'propertyNames'] as const
const ANY_ITEM = ['additionalItems', 'unevaluatedItems', 'contains'] as const

/**
 * How much validating can cost at the most, without validating: how many subschemas meet one value so and so deep inside, whatever
 * branches are taken. Exact multiplicities, so that references to references to … are seen for what they are.
 */
export class Cost {
  readonly #root: Subschema
  readonly #dialect: Dialect
  readonly #targetOf: (reference: Keywords) => Subschema
  readonly #closures = new Map<Subschema, ReadonlyMap<Subschema, number>>()
  readonly #at = new Map<Subschema, number[]>()
  readonly #weights = new Map<Subschema, number>()
  #left = MAX_REASONING

  /**
   * @param targetOf what a subschema with a `$ref` refers to
   * @throws {Denied} `limit_exceeded` where a subschema comes back to itself without having gone into the value: it would never end
   */
  constructor(root: Subschema, dialect: Dialect, targetOf: (reference: Keywords) => Subschema, all: Iterable<Subschema>) {
    this.#root = root
    this.#dialect = dialect
    this.#targetOf = targetOf
    refuseLoops(all, (one) => this.#same(one))
  }

  /** Of validating `value`, in subschemas that meet a value; Infinity where it cannot be told. */
  of(value: JsonValue, hasUnique: boolean): number {
    const sizes: number[] = []
    sizesOf(value, 0, hasUnique, sizes)
    let total = 0
    for (const [depth, size] of sizes.entries()) total += size * this.#atDepth(this.#root, depth)
    return total
  }

  /** How many subschemas meet one value that stands `depth` levels inside what `schema` is applied to. */
  #atDepth(schema: Subschema, depth: number): number {
    const known = this.#at.get(schema) ?? []
    this.#at.set(schema, known)
    return (known[depth] ??= depth === 0 ? this.#here(schema) : this.#inside(schema, depth))
  }

  #here(schema: Subschema): number {
    if (this.#left <= 0) return Number.POSITIVE_INFINITY
    let sum = 0
    const closure = this.#closure(schema)
    this.#left -= closure.size
    for (const [one, times] of closure) sum += times * this.#weight(one)
    return sum
  }

  #weight(schema: Subschema): number {
    if (typeof schema === 'boolean') return 1
    let weight = this.#weights.get(schema)
    if (weight === undefined) this.#weights.set(schema, (weight = weightOf(schema)))
    return weight
  }

  /** The most that any member or item can meet. */
  #inside(schema: Subschema, depth: number): number {
    if (this.#left <= 0) return Number.POSITIVE_INFINITY
    const below = (one: unknown): number => this.#atDepth(one as Subschema, depth - 1)
    const closure = this.#closure(schema)
    this.#left -= closure.size
    const [names, places] = [new Map<string, number>(), new Map<number, number>()]
    let [anyName, anyPlace] = [0, 0]
    for (const [one, times] of closure) {
      if (typeof one === 'boolean' || this.#isReference(one)) continue
      for (const [name, property] of Object.entries(one['properties'] ?? {})) this.#add(names, name, times * below(property))
      for (const pattern of Object.values(one['patternProperties'] ?? {})) anyName += times * below(pattern)
      for (const keyword of ANY_MEMBER) if (one[keyword] !== undefined) anyName += times * below(one[keyword])
      for (const keyword of ANY_ITEM) if (one[keyword] !== undefined) anyPlace += times * below(one[keyword])
      if (one['items'] !== undefined && !Array.isArray(one['items'])) anyPlace += times * below(one['items'])
      for (const list of [one['prefixItems'], one['items']]) if (Array.isArray(list)) list.forEach((item, place) => this.#add(places, place, times * below(item)))
    }
    return Math.max(anyName + Math.max(0, ...names.values()), anyPlace + Math.max(0, ...places.values()))
  }

  #add<K>(map: Map<K, number>, key: K, more: number): void {
    this.#left--
    map.set(key, (map.get(key) ?? 0) + more)
  }

  /** The subschemas that are applied to the same value as `schema`, itself among them, each as often as it is. */
  #closure(schema: Subschema): ReadonlyMap<Subschema, number> {
    const known = this.#closures.get(schema)
    if (known !== undefined) return known
    const all = new Map<Subschema, number>([[schema, 1]])
    for (const one of this.#same(schema)) {
      const inner = this.#closure(one)
      if ((this.#left -= inner.size) <= 0) {
        all.set(schema, Number.POSITIVE_INFINITY)
        break
      }
      for (const [other, times] of inner) all.set(other, (all.get(other) ?? 0) + times)
    }
    this.#closures.set(schema, all)
    return all
  }

  #same(schema: Subschema): Subschema[] {
    if (typeof schema === 'boolean') return []
    const reference = schema['$ref'] === undefined ? [] : [this.#targetOf(schema)]
    if (this.#isReference(schema)) return reference
    return [
      ...reference,
      ...SAME.flatMap((keyword) => (schema[keyword] === undefined ? [] : [schema[keyword] as Subschema])),
      ...SAME_LISTS.flatMap((keyword) => (schema[keyword] ?? []) as readonly Subschema[]),
      ...SAME_MAPS.flatMap((keyword) => Object.values((schema[keyword] ?? {}) as Readonly<Record<string, Subschema | readonly string[]>>).filter((one): one is Subschema => !Array.isArray(one))),
    ]
  }

  /** In draft-07 a `$ref` is all there is. */
  #isReference(schema: Keywords): boolean {
    return this.#dialect === '7' && schema['$ref'] !== undefined
  }
}

/** What looking at one subschema costs by itself. */
function weightOf(schema: Keywords): number {
  let weight = 1
  for (const keyword of ['properties', 'patternProperties', 'dependentSchemas', 'dependentRequired', 'dependencies'] as const) weight += Object.keys(schema[keyword] ?? {}).length / 4
  weight += ((schema['required'] as readonly string[] | undefined)?.length ?? 0) / 4
  for (const keyword of ['const', 'enum'] as const) if (schema[keyword] !== undefined) weight += sizeOf(schema[keyword] as JsonValue) / 4
  return weight
}

/** Members, items and texts of a value, all together. */
function sizeOf(value: JsonValue): number {
  if (typeof value === 'string') return 1 + value.length / TEXT_UNIT
  let size = 1
  if (Array.isArray(value)) for (const one of value) size += sizeOf(one)
  else if (isObject(value)) for (const one of Object.values(value)) size += 1 + sizeOf(one)
  return size
}

/** Adds up what stands at each depth; where items may have to differ, each is compared with each. */
function sizesOf(value: JsonValue, depth: number, hasUnique: boolean, sizes: number[]): void {
  let own = typeof value === 'string' ? 1 + value.length / TEXT_UNIT : 1
  if (Array.isArray(value)) {
    if (hasUnique) own += value.length * sizeOf(value)
    for (const one of value) sizesOf(one, depth + 1, hasUnique, sizes)
  } else if (isObject(value)) {
    for (const [name, one] of Object.entries(value)) {
      own += name.length / TEXT_UNIT
      sizesOf(one, depth + 1, hasUnique, sizes)
    }
  }
  sizes[depth] = (sizes[depth] ?? 0) + own
}

/** @throws {Denied} `limit_exceeded` */
function refuseLoops(all: Iterable<Subschema>, next: (schema: Subschema) => readonly Subschema[]): void {
  const heights = new Map<Subschema, number>()
  for (const start of all) {
    // By hand: references can make a path as long as there are subschemas.
    const path: { readonly schema: Subschema; readonly rest: Subschema[]; height: number }[] = []
    const open = new Set<Subschema>()
    const enter = (schema: Subschema): void => {
      if (open.has(schema)) throw refused('a reference that comes back to itself')
      open.add(schema)
      path.push({ schema, rest: [...next(schema)], height: 1 })
    }
    if (!heights.has(start)) enter(start)
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const one = top.rest.pop()
      const height = one === undefined ? top.height : heights.get(one)
      if (one !== undefined && height === undefined) enter(one)
      else if (one !== undefined) top.height = Math.max(top.height, 1 + (height as number))
      else {
        if (top.height > MAX_APPLIED) throw refused(`more than ${MAX_APPLIED} subschemas behind each other`)
        heights.set(top.schema, top.height)
        open.delete(top.schema)
        path.pop()
        const above = path.at(-1)
        if (above !== undefined) above.height = Math.max(above.height, 1 + top.height)
      }
    }
  }
}
