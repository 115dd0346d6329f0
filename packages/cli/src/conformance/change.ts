import { fromBase64, fromBase64Url, isObject, type JsonObject, type JsonValue, toBase64, toBase64Url } from '@sealwrit/protocol'

/** How a document is made wrong, as data. Members are named by RFC 6901 pointers. @see spec/conformance.md#changes */
export interface Change {
  /** Members that get another value, or come new. A text that begins with `$` stands for a value that is known when it runs. */
  readonly set?: Readonly<Record<string, JsonValue>> | undefined
  readonly drop?: readonly string[] | undefined
  /** Numbers that become larger, or smaller. */
  readonly add?: Readonly<Record<string, number>> | undefined
  /** Encoded bytes of which one bit is turned: at this byte, from the end where it is negative. */
  readonly flip?: Readonly<Record<string, number>> | undefined
}

/** The values that stand behind `$NAME`. @throws {TypeError} for a name that is not known */
export type Values = (name: string) => JsonValue

/** A copy of `document` with the change made. @throws {TypeError} for a pointer that leads nowhere: a rule that changes nothing shows nothing */
export function changed(document: JsonValue, change: Change, values: Values): JsonValue {
  const copy = structuredClone(document) as JsonValue
  for (const [pointer, value] of Object.entries(change.set ?? {})) place(copy, pointer, (into, name) => void (into[name] = filled(value, values)))
  for (const [pointer, by] of Object.entries(change.add ?? {})) place(copy, pointer, (into, name) => void (into[name] = numberAt(into[name], pointer) + by))
  for (const [pointer, byte] of Object.entries(change.flip ?? {})) place(copy, pointer, (into, name) => void (into[name] = typeof into[name] === 'boolean' ? !into[name] : flipped(textAt(into[name], pointer), byte)))
  for (const pointer of change.drop ?? []) {
    place(copy, pointer, (into, name) => {
      if (!Object.hasOwn(into, name)) nowhere(pointer)
      if (Array.isArray(into)) into.splice(Number(name), 1)
      else delete into[name]
    })
  }
  return copy
}

/** A value with everything in it that begins with `$` filled in. `$$` is a plain `$`. */
function filled(value: JsonValue, values: Values): JsonValue {
  if (typeof value === 'string') return value.startsWith('$$') ? value.slice(1) : value.startsWith('$') ? values(value.slice(1)) : value
  if (Array.isArray(value)) return (value as readonly JsonValue[]).map((item) => filled(item, values))
  return isObject(value) ? Object.fromEntries(Object.entries(value).map(([name, member]) => [name, filled(member, values)])) : value
}

type Mutable = Record<string, JsonValue>

function place(document: JsonValue, pointer: string, act: (into: Mutable, name: string) => void): void {
  const names = pointer.split('/').slice(1).map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
  const last = names.pop()
  let into: JsonValue = document
  for (const name of names) {
    const next: JsonValue | undefined = typeof into === 'object' && into !== null && Object.hasOwn(into, name) ? (into as JsonObject)[name] : undefined
    if (next === undefined) nowhere(pointer)
    into = next
  }
  if (last === undefined || typeof into !== 'object' || into === null) nowhere(pointer)
  act(into as Mutable, last)
}

function nowhere(pointer: string): never {
  throw new TypeError(`${pointer} leads nowhere`)
}

function numberAt(value: JsonValue | undefined, pointer: string): number {
  return typeof value === 'number' ? value : nowhere(pointer)
}
function textAt(value: JsonValue | undefined, pointer: string): string {
  return typeof value === 'string' ? value : nowhere(pointer)
}

/** The same bytes but for one bit, in the same encoding: a digest, a compact JWS (its signature), base64 or base64url. */
export function flipped(text: string, byte: number): string {
  if (text.startsWith('sha256:')) {
    const at = text.length - 1
    return text.slice(0, at) + (text[at] === '0' ? '1' : '0')
  }
  const dot = text.lastIndexOf('.')
  if (dot >= 0) return `${text.slice(0, dot + 1)}${flipped(text.slice(dot + 1), byte)}`
  const isPadded = text.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(text)
  const bytes = isPadded ? fromBase64(text) : fromBase64Url(text)
  const at = byte < 0 ? bytes.length + byte : byte
  if (bytes[at] === undefined) throw new TypeError(`no byte ${byte}`)
  bytes[at] ^= 1
  return isPadded ? toBase64(bytes) : toBase64Url(bytes)
}
