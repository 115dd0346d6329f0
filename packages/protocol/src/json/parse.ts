import { Denied } from '../denial.ts'
import { fromUtf8 } from '../encoding.ts'
import { canonicalText } from './canonicalize.ts'
import { readNumber } from './number.ts'
import { JSON_LIMITS, type JsonLimits, type JsonValue, MAX_DEPTH, MAX_NUMBER_LENGTH } from './value.ts'

/**
 * Parses JSON from a stranger's bytes. Refuses, never repairs; every limit is checked in the tokenizer, before anything
 * is allocated for what exceeds it.
 *
 * @param bytes UTF-8
 * @param limits what the parse may cost; {@link JSON_LIMITS} where the caller has no narrower ones
 * @throws {Denied} `limit_exceeded` (bytes, depth, members) · `encoding_invalid` (UTF-8, BOM, lone surrogate) ·
 *   `arguments_not_canonical` (a number without one canonical value) · `request_malformed` (grammar, duplicate member)
 * @see RFC 8259, RFC 7493 (I-JSON)
 */
export function parseStrict(bytes: Uint8Array, limits: JsonLimits = JSON_LIMITS): JsonValue {
  if (bytes.length > limits.maxBytes) throw new Denied('limit_exceeded', `more than ${limits.maxBytes} bytes`)
  return parseStrictText(fromUtf8(bytes), limits)
}

/** As {@link parseStrict}, for text that was decoded already; the byte limit counts UTF-16 units here. */
export function parseStrictText(text: string, limits: JsonLimits = JSON_LIMITS): JsonValue {
  return parserOf(text, limits).document()
}

/** A value, and whether the text that it was read from is its canonical form. */
export interface FormedJson {
  readonly value: JsonValue
  readonly isCanonical: boolean
}

/**
 * As {@link parseStrictText}, and says whether the text is canonical. What cannot be told while reading (escapes, white
 * space, members out of order) is written again and compared.
 * @throws {Denied} as {@link parseStrict}
 */
export function parseFormed(text: string, limits: JsonLimits = JSON_LIMITS): FormedJson {
  const parser = parserOf(text, limits)
  const value = parser.document()
  return { value, isCanonical: (parser.isCanonical && text.isWellFormed()) || canonicalText(value) === text }
}

function parserOf(text: string, limits: JsonLimits): Parser {
  if (text.length > limits.maxBytes) throw new Denied('limit_exceeded', `more than ${limits.maxBytes} characters`)
  return new Parser(text, Math.min(limits.maxDepth, MAX_DEPTH), limits.maxMembers)
}

const QUOTE = 34
const BACKSLASH = 92

class Parser {
  readonly #text: string
  readonly #maxDepth: number
  #membersLeft: number
  #at = 0
  #isCanonical = true

  constructor(text: string, maxDepth: number, maxMembers: number) {
    this.#text = text
    this.#maxDepth = maxDepth
    this.#membersLeft = maxMembers
  }

  /** False where only writing the value again can tell. */
  get isCanonical(): boolean {
    return this.#isCanonical
  }

  document(): JsonValue {
    if (this.#text.charCodeAt(0) === 0xfeff) throw new Denied('encoding_invalid', 'byte order mark')
    this.#space()
    const value = this.#value(0)
    this.#space()
    if (this.#at !== this.#text.length) this.#fail('text after the value')
    return value
  }

  #fail(what: string): never {
    throw new Denied('request_malformed', `${what} at character ${this.#at}`)
  }

  #space(): void {
    for (;;) {
      const c = this.#text.charCodeAt(this.#at)
      if (c !== 32 && c !== 10 && c !== 13 && c !== 9) return
      this.#at++
      this.#isCanonical = false
    }
  }

  #value(depth: number): JsonValue {
    const c = this.#text.charCodeAt(this.#at)
    switch (c) {
      case QUOTE:
        return this.#string()
      case 123:
        return this.#object(depth + 1)
      case 91:
        return this.#array(depth + 1)
      case 116:
        return this.#word('true', true)
      case 102:
        return this.#word('false', false)
      case 110:
        return this.#word('null', null)
      default:
        if (c === 45 || (c >= 48 && c <= 57)) return this.#number()
        return this.#fail(this.#at >= this.#text.length ? 'unexpected end' : 'unexpected character')
    }
  }

  #word<T extends JsonValue>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) this.#fail('unexpected character')
    this.#at += word.length
    return value
  }

  #enter(depth: number): void {
    if (depth > this.#maxDepth) throw new Denied('limit_exceeded', `nested deeper than ${this.#maxDepth}`)
    this.#at++
    this.#space()
  }

  #count(): void {
    if (--this.#membersLeft < 0) throw new Denied('limit_exceeded', 'too many members')
  }

  #object(depth: number): JsonValue {
    this.#enter(depth)
    // No prototype: `__proto__` is an ordinary own member here, and nothing is inherited (ATK-020).
    const object = Object.create(null) as Record<string, JsonValue>
    if (this.#text.charCodeAt(this.#at) === 125) {
      this.#at++
      return object
    }
    for (let last: string | undefined; ; ) {
      this.#count()
      if (this.#text.charCodeAt(this.#at) !== QUOTE) this.#fail('member name expected')
      const name = this.#string()
      // Names in rising order are no duplicates; comparison is by UTF-16 code unit, as RFC 8785 section 3.2.3 sorts.
      if (last !== undefined && !(last < name)) {
        this.#isCanonical = false
        if (name in object) this.#fail('duplicate member')
      }
      last = last === undefined || last < name ? name : last
      this.#space()
      if (this.#text.charCodeAt(this.#at) !== 58) this.#fail('`:` expected')
      this.#at++
      this.#space()
      object[name] = this.#value(depth)
      if (this.#next(125)) return object
    }
  }

  #array(depth: number): JsonValue {
    this.#enter(depth)
    const array: JsonValue[] = []
    if (this.#text.charCodeAt(this.#at) === 93) {
      this.#at++
      return array
    }
    for (;;) {
      this.#count()
      array.push(this.#value(depth))
      if (this.#next(93)) return array
    }
  }

  /** After a member or element: `true` at the closing bracket, `false` after a comma. */
  #next(close: number): boolean {
    this.#space()
    const c = this.#text.charCodeAt(this.#at)
    if (c !== close && c !== 44) this.#fail('`,` or closing bracket expected')
    this.#at++
    if (c === close) return true
    this.#space()
    return false
  }

  #string(): string {
    const text = this.#text
    const start = ++this.#at
    for (let at = start; at < text.length; at++) {
      const c = text.charCodeAt(at)
      if (c === QUOTE) {
        this.#at = at + 1
        return text.slice(start, at)
      }
      if (c === BACKSLASH) return this.#escaped(start, at)
      if (c < 32) {
        this.#at = at
        this.#fail('control character in a string')
      }
    }
    this.#at = text.length
    return this.#fail('unexpected end')
  }

  #escaped(start: number, firstEscape: number): string {
    const text = this.#text
    this.#isCanonical = false
    let out = text.slice(start, firstEscape)
    let at = firstEscape
    let plain = at
    for (;;) {
      const c = text.charCodeAt(at)
      if (c === QUOTE) break
      if (c === BACKSLASH) {
        out += text.slice(plain, at)
        const escaped = text.charCodeAt(at + 1)
        if (escaped === QUOTE || escaped === BACKSLASH) {
          plain = at + 1 // it stands for itself, and begins what follows: text inside text is full of these
          at += 2
          continue
        }
        this.#at = at + 1
        out += this.#escape()
        at = plain = this.#at
      } else {
        // NaN (the end) compares false with everything and is caught here too.
        if (!(c >= 32)) {
          this.#at = at
          this.#fail(at >= text.length ? 'unexpected end' : 'control character in a string')
        }
        at++
      }
    }
    out += text.slice(plain, at)
    this.#at = at + 1
    // Raw text came from well-formed UTF-8; only escapes can leave half a pair.
    if (!out.isWellFormed()) throw new Denied('encoding_invalid', 'lone surrogate')
    return out
  }

  #escape(): string {
    const c = this.#text[this.#at++]
    switch (c) {
      case '"':
      case '\\':
      case '/':
        return c
      case 'b':
        return '\b'
      case 'f':
        return '\f'
      case 'n':
        return '\n'
      case 'r':
        return '\r'
      case 't':
        return '\t'
      case 'u': {
        let code = 0
        for (let i = 0; i < 4; i++) {
          const h = this.#text.charCodeAt(this.#at++)
          const nibble = h >= 48 && h <= 57 ? h - 48 : h >= 65 && h <= 70 ? h - 55 : h >= 97 && h <= 102 ? h - 87 : -1
          if (nibble < 0) this.#fail('bad escape')
          code = code * 16 + nibble
        }
        return String.fromCharCode(code)
      }
      default:
        return this.#fail('bad escape')
    }
  }

  #number(): number {
    const text = this.#text
    const start = this.#at
    let at = start
    const digits = (): void => {
      const from = at
      while (text.charCodeAt(at) >= 48 && text.charCodeAt(at) <= 57) at++
      if (at === from) {
        this.#at = at
        this.#fail('digit expected')
      }
    }
    if (text.charCodeAt(at) === 45) at++
    if (text.charCodeAt(at) === 48) at++
    else digits()
    if (text.charCodeAt(at) === 46) {
      at++
      digits()
    }
    if (text.charCodeAt(at) === 101 || text.charCodeAt(at) === 69) {
      at++
      if (text.charCodeAt(at) === 43 || text.charCodeAt(at) === 45) at++
      digits()
    }
    if (at - start > MAX_NUMBER_LENGTH) throw new Denied('limit_exceeded', 'number too long')
    this.#at = at
    const token = text.slice(start, at)
    const value = readNumber(token)
    if (String(value) !== token) this.#isCanonical = false
    return value
  }
}
