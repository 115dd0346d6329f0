/** A parsed JSON value. Objects have no prototype, so `__proto__` is an ordinary own member. */
export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject
export interface JsonObject {
  readonly [member: string]: JsonValue
}

export function isObject(value: JsonValue | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What a strict parse may cost at the most. */
export interface JsonLimits {
  /** Bytes of input. */
  readonly maxBytes: number
  /** Nested arrays and objects; at most {@link MAX_DEPTH}. */
  readonly maxDepth: number
  /** Object members and array elements together. */
  readonly maxMembers: number
}

export const MAX_DEPTH = 64
export const MAX_MEMBERS = 10_000
export const MAX_BYTES = 1_048_576
/** Characters of one number token; longer ones cannot denote a double exactly in any useful case. */
export const MAX_NUMBER_LENGTH = 1_100

export const JSON_LIMITS: JsonLimits = Object.freeze({ maxBytes: MAX_BYTES, maxDepth: MAX_DEPTH, maxMembers: MAX_MEMBERS })
