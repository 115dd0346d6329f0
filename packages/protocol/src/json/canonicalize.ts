import { Denied } from '../denial.ts'
import { utf8 } from '../encoding.ts'
import { writeNumber } from './number.ts'
import { type JsonValue, MAX_DEPTH } from './value.ts'

/**
 * The canonical text of a JSON value: members sorted by UTF-16 code unit, no white space, ECMAScript numbers.
 * @see RFC 8785 section 3.2
 * @throws {Denied} `arguments_not_canonical` for anything that JSON cannot hold (undefined, −0, NaN, functions, exotic
 *   objects) · `encoding_invalid` for a lone surrogate · `limit_exceeded` beyond {@link MAX_DEPTH}
 */
export function canonicalText(value: JsonValue): string {
  return write(value, 0)
}

/** The canonical bytes: UTF-8 of {@link canonicalText}. */
export function canonicalize(value: JsonValue): Uint8Array {
  return utf8(canonicalText(value))
}

function write(value: JsonValue, depth: number): string {
  switch (typeof value) {
    case 'string':
      return writeString(value)
    case 'number':
      return writeNumber(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      break
    default:
      throw new Denied('arguments_not_canonical', `a ${typeof value} is not JSON`)
  }
  if (value === null) return 'null'
  if (depth >= MAX_DEPTH) throw new Denied('limit_exceeded', `nested deeper than ${MAX_DEPTH}`)
  if (Array.isArray(value)) {
    let out = '['
    for (let i = 0; i < value.length; i++) out += (i === 0 ? '' : ',') + write(value[i] as JsonValue, depth + 1)
    return `${out}]`
  }
  const object = value as Readonly<Record<string, JsonValue>>
  let out = '{'
  // The default order of sort() is by UTF-16 code unit, which is what RFC 8785 section 3.2.3 asks for.
  for (const name of Object.keys(object).sort()) {
    out += `${out.length === 1 ? '' : ','}${writeString(name)}:${write(object[name] as JsonValue, depth + 1)}`
  }
  return `${out}}`
}

function writeString(text: string): string {
  if (!text.isWellFormed()) throw new Denied('encoding_invalid', 'lone surrogate')
  // For well-formed text JSON.stringify emits exactly the escapes of RFC 8785 section 3.2.2.2.
  return JSON.stringify(text)
}
