import { Denied } from '../denial.ts'

/**
 * Reads a JSON number token that has the grammar of RFC 8259 section 6 already.
 *
 * @throws {Denied} `arguments_not_canonical` for −0, for a value that is not finite, for an integer beyond ±2^53−1 whose
 *   token or canonical form has neither fraction nor exponent (so that every canonical form is accepted again), and for
 *   any token whose canonical form would denote another decimal value, so that nothing is rounded in silence
 */
export function readNumber(token: string): number {
  const value = Number(token)
  if (token.length <= 15 && isPlainInteger(token)) {
    if (value === 0 && token.charCodeAt(0) === 45) throw new Denied('arguments_not_canonical', 'negative zero')
    return value
  }
  if (!Number.isFinite(value)) throw new Denied('arguments_not_canonical', 'number is not finite')
  if (value === 0 && token.charCodeAt(0) === 45) throw new Denied('arguments_not_canonical', 'negative zero')
  if (isUnsafeInteger(value) || (isPlainInteger(token) && !Number.isSafeInteger(value))) throw new Denied('arguments_not_canonical', 'integer beyond 2^53-1')
  const written = decimal(token)
  const canonical = decimal(String(value))
  if (written.digits !== canonical.digits || (written.digits !== '' && written.exponent !== canonical.exponent)) {
    throw new Denied('arguments_not_canonical', 'number would be rounded')
  }
  return value
}

/** ECMAScript prints integers below 10^21 without an exponent: as text such a number claims a precision that it has not. */
function isUnsafeInteger(value: number): boolean {
  return Number.isInteger(value) && !Number.isSafeInteger(value) && Math.abs(value) < 1e21
}

function isPlainInteger(token: string): boolean {
  for (let i = token.charCodeAt(0) === 45 ? 1 : 0; i < token.length; i++) {
    const c = token.charCodeAt(i)
    if (c < 48 || c > 57) return false
  }
  return true
}

/** The magnitude as 0.DIGITS × 10^exponent without leading or trailing zeros; zero is the empty string. */
function decimal(token: string): { digits: string; exponent: number } {
  let at = token.charCodeAt(0) === 45 ? 1 : 0
  let digits = ''
  let point = -1
  for (; at < token.length; at++) {
    const c = token.charCodeAt(at)
    if (c === 46) point = digits.length
    else if (c === 101 || c === 69) break
    else digits += token[at]
  }
  let exponent = point < 0 ? digits.length : point
  if (at < token.length) exponent += Number(token.slice(at + 1))
  let start = 0
  while (start < digits.length && digits.charCodeAt(start) === 48) start++
  let end = digits.length
  while (end > start && digits.charCodeAt(end - 1) === 48) end--
  return { digits: digits.slice(start, end), exponent: exponent - start }
}

/**
 * The canonical form of a number: what ECMAScript prints.
 * @see RFC 8785 section 3.2.2.3
 * @throws {Denied} `arguments_not_canonical` for −0, values that are not finite, and integers from 2^53 to 10^21
 */
export function writeNumber(value: number): string {
  if (!Number.isFinite(value) || Object.is(value, -0) || isUnsafeInteger(value)) throw new Denied('arguments_not_canonical', 'number has no canonical form')
  return String(value)
}
