import { type DenialCode, Denied } from '../denial.ts'
import { isDigest, isToken } from '../digest.ts'
import { isObject, type JsonObject, type JsonValue } from './value.ts'

/** Longest string member of a signed object, in UTF-16 units, unless said otherwise. */
export const MAX_STRING = 1_024

/**
 * Reads a closed JSON object: every member is asked for by name and type, and {@link Fields.end} refuses the rest. What
 * is missing or of another type is refused with the `code` of the object that is being read.
 */
export class Fields {
  readonly #object: JsonObject
  readonly #code: DenialCode
  readonly #what: string
  #taken = 0

  /** @throws {Denied} `code` when `value` is not an object */
  constructor(value: JsonValue | undefined, code: DenialCode, what: string) {
    if (!isObject(value)) throw new Denied(code, `${what} is not an object`)
    this.#object = value
    this.#code = code
    this.#what = what
  }

  #refuse(name: string, wanted: string): never {
    throw new Denied(this.#code, `${this.#what}: member ${name} is not ${wanted}`)
  }

  /** What is thrown for what does not fit. */
  get code(): DenialCode {
    return this.#code
  }

  has(name: string): boolean {
    return name in this.#object
  }

  /** Looks at a member without taking it: which form an object has may hang on it. */
  peek(name: string): JsonValue | undefined {
    return this.#object[name]
  }

  value(name: string): JsonValue {
    const value = this.#object[name]
    if (value === undefined) this.#refuse(name, 'present')
    this.#taken++
    return value
  }

  string(name: string, maxLength: number = MAX_STRING): string {
    const value = this.value(name)
    if (typeof value !== 'string' || value.length > maxLength) this.#refuse(name, 'a string of allowed length')
    return value
  }

  /** A string that is not empty. */
  text(name: string, maxLength: number = MAX_STRING): string {
    const value = this.string(name, maxLength)
    if (value === '') this.#refuse(name, 'a string that says something')
    return value
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T {
    const value = this.string(name)
    const found = allowed.find((a) => a === value)
    if (found === undefined) this.#refuse(name, `one of ${allowed.join(', ')}`)
    return found
  }

  literal<T extends string | number | boolean>(name: string, wanted: T): T {
    if (this.value(name) !== wanted) this.#refuse(name, String(wanted))
    return wanted
  }

  boolean(name: string): boolean {
    const value = this.value(name)
    if (typeof value !== 'boolean') this.#refuse(name, 'a boolean')
    return value
  }

  /** A non-negative safe integer. */
  integer(name: string, max: number = Number.MAX_SAFE_INTEGER): number {
    const value = this.value(name)
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0 || value > max) this.#refuse(name, 'an integer in range')
    return value
  }

  /** An integer from 1 on. */
  positive(name: string, max: number): number {
    const value = this.integer(name, max)
    if (value === 0) this.#refuse(name, 'at least 1')
    return value
  }

  digest(name: string): string {
    const value = this.value(name)
    if (!isDigest(value)) this.#refuse(name, 'a digest')
    return value
  }

  /** 128 random bits as 22 characters of base64url. */
  token(name: string): string {
    const value = this.value(name)
    if (!isToken(value)) this.#refuse(name, 'a token of 128 bits')
    return value
  }

  strings(name: string, maxItems: number, maxLength: number = MAX_STRING): readonly string[] {
    const value = this.value(name)
    if (!Array.isArray(value) || value.length > maxItems) this.#refuse(name, 'a list of allowed length')
    if (!value.every((item) => typeof item === 'string' && item.length <= maxLength)) this.#refuse(name, 'a list of strings')
    return value as readonly string[]
  }

  /** One or more names, none empty and none twice. */
  names(name: string, maxItems: number, maxLength = 128): readonly string[] {
    const names = this.strings(name, maxItems, maxLength)
    if (names.length === 0 || names.includes('') || new Set(names).size !== names.length) this.#refuse(name, 'a list of distinct names')
    return names
  }

  /** A list of tokens, none twice. */
  tokens(name: string, maxItems: number): readonly string[] {
    const tokens = this.strings(name, maxItems, 22)
    if (!tokens.every(isToken) || new Set(tokens).size !== tokens.length) this.#refuse(name, 'a list of distinct tokens')
    return tokens
  }

  object(name: string): Fields {
    return new Fields(this.value(name), this.#code, `${this.#what}.${name}`)
  }

  optional<T>(name: string, read: (name: string) => T): T | undefined {
    return this.has(name) ? read(name) : undefined
  }

  /** @throws {Denied} the object's code when it holds a member that nobody asked for */
  end(): void {
    if (Object.keys(this.#object).length !== this.#taken) throw new Denied(this.#code, `${this.#what}: unknown member`)
  }
}

/** The codes of the JSON boundary that an object with a form code of its own replaces by that code. */
const FORM_CODES: ReadonlySet<DenialCode> = new Set(['request_malformed', 'arguments_not_canonical', 'limit_exceeded'])

/** Runs `read`, turning a refusal of the JSON boundary into `code`. */
export function asCode<T>(code: DenialCode, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof Denied && FORM_CODES.has(error.code)) throw new Denied(code, error.message)
    throw error
  }
}
