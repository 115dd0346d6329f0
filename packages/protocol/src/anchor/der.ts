import { concatBytes, toHex } from '../encoding.ts'
import { AnchorRefused } from './refused.ts'

/** Largest DER document that is read, in bytes: a token with its certificates takes 2 to 8 KiB. */
export const MAX_DER_BYTES = 65_536
/** How deep constructed values may nest anywhere in it. A token with certificates needs about 15. */
export const MAX_DER_DEPTH = 32
/** Values in one document, nested ones included. */
export const MAX_DER_VALUES = 8_192

/** Tags that are used here. @see ITU-T X.690 section 8 */
export const TAG = {
  boolean: 0x01, integer: 0x02, bitString: 0x03, octetString: 0x04, null: 0x05, oid: 0x06, utcTime: 0x17, generalizedTime: 0x18,
  sequence: 0x30, set: 0x31,
} as const
/** A constructed context tag `[n]`. */
export const context = (n: number): number => 0xa0 | n
/** A primitive context tag `[n]`. */
export const contextPrimitive = (n: number): number => 0x80 | n

/** One value: where it stands, and what is in it. Both share the document's memory. */
export interface DerValue {
  readonly tag: number
  /** Tag, length and content. */
  readonly whole: Uint8Array
  readonly content: Uint8Array
}

function malformed(what: string): never {
  throw new AnchorRefused('token_malformed', what)
}

/** Reads tag and length at `at`. @see ITU-T X.690 sections 8.1 and 10.1: definite, and as short as it can be */
function header(bytes: Uint8Array, at: number): { tag: number; start: number; end: number } {
  const tag = bytes[at]
  const first = bytes[at + 1]
  if (tag === undefined || first === undefined) malformed('a value is cut short')
  if ((tag & 0x1f) === 0x1f) malformed('a tag number above 30')
  if (tag === 0) malformed('a tag that nothing has')
  if (first === 0x80) malformed('an indefinite length')
  let length = first
  let start = at + 2
  if (first > 0x80) {
    const octets = first & 0x7f
    if (octets > 3) malformed('a length beyond every limit')
    length = 0
    for (let i = 0; i < octets; i++) {
      const octet = bytes[start++]
      if (octet === undefined) malformed('a length is cut short')
      length = length * 256 + octet
    }
    if (length < 0x80 || length < 256 ** (octets - 1)) malformed('a length that is not as short as it can be')
  }
  if (length > bytes.length - start) malformed('a value is longer than what holds it')
  return { tag, start, end: start + length }
}

/**
 * Checks tags and lengths of everything in `bytes`, also of what nobody looks into later, without recursion.
 * @throws {AnchorRefused} `token_malformed`
 */
function checkAll(bytes: Uint8Array): void {
  const ends: number[] = [bytes.length]
  let values = 0
  let at = 0
  while (ends.length > 0) {
    const end = ends.at(-1) as number
    if (at === end) {
      ends.pop()
      continue
    }
    if (++values > MAX_DER_VALUES) malformed('too many values')
    const value = header(bytes, at)
    if (value.end > end) malformed('a value is longer than what holds it')
    at = value.start
    if ((value.tag & 0x20) === 0) at = value.end
    else if (ends.push(value.end) > MAX_DER_DEPTH) malformed(`nested deeper than ${MAX_DER_DEPTH}`)
  }
}

/**
 * Opens a document that is exactly one value of `tag`, after all of it was checked.
 * @throws {AnchorRefused} `token_malformed`: limits, indefinite or over-long lengths, bytes after the value
 */
export function openDer(bytes: Uint8Array, tag: number): DerReader {
  if (bytes.length > MAX_DER_BYTES) malformed(`more than ${MAX_DER_BYTES} bytes`)
  const { end } = header(bytes, 0)
  if (end !== bytes.length) malformed('bytes after the value')
  checkAll(bytes)
  return new DerReader(bytes).enter(tag)
}

/** Walks the values of one constructed value in order; what is left over at {@link DerReader.end} is refused. */
export class DerReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(content: Uint8Array) {
    this.#bytes = content
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }
  /** Whether the next value has `tag`. */
  has(tag: number): boolean {
    return this.#bytes[this.#at] === tag
  }

  any(): DerValue {
    const { tag, start, end } = header(this.#bytes, this.#at)
    const value = { tag, whole: this.#bytes.subarray(this.#at, end), content: this.#bytes.subarray(start, end) }
    this.#at = end
    return value
  }

  value(tag: number): DerValue {
    if (!this.has(tag)) malformed(`a value of tag ${tag.toString(16)} is missing`)
    return this.any()
  }

  enter(tag: number): DerReader {
    return new DerReader(this.value(tag).content)
  }

  /** Every value that is left, at most `max`. */
  rest(max: number): readonly DerValue[] {
    const values: DerValue[] = []
    while (!this.isAtEnd) {
      if (values.length >= max) malformed(`more than ${max} values`)
      values.push(this.any())
    }
    return values
  }

  /** Content octets of an integer, as few as it takes. */
  integer(tag: number = TAG.integer): Uint8Array {
    const { content } = this.value(tag)
    const [first, second] = content
    if (first === undefined) malformed('an integer without octets')
    if (second !== undefined && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80))) malformed('an integer that is not as short as it can be')
    return content
  }

  /** An integer from 0 to 2^31 − 1. */
  small(tag: number = TAG.integer): number {
    const octets = this.integer(tag)
    if (octets.length > 4 || (octets[0] as number) >= 0x80) malformed('an integer out of range')
    return octets.reduce((value, octet) => value * 256 + octet, 0)
  }

  boolean(): boolean {
    const { content } = this.value(TAG.boolean)
    if (content.length !== 1 || (content[0] !== 0 && content[0] !== 0xff)) malformed('not a boolean')
    return content[0] === 0xff
  }

  octets(): Uint8Array {
    return this.value(TAG.octetString).content
  }

  /** Lowercase hex of an object identifier's content octets; {@link oid} writes one from dotted form. */
  oid(): string {
    const { content } = this.value(TAG.oid)
    if (content.length === 0 || ((content.at(-1) as number) & 0x80) !== 0) malformed('not an object identifier')
    for (let i = 0; i < content.length; i++) {
      if (content[i] === 0x80 && (i === 0 || ((content[i - 1] as number) & 0x80) === 0)) malformed('an object identifier that is not as short as it can be')
    }
    return toHex(content)
  }

  end(): void {
    if (!this.isAtEnd) malformed('a value that nobody asked for')
  }
}

/** One value as DER. */
export function der(tag: number, ...parts: readonly Uint8Array[]): Uint8Array {
  const content = concatBytes(...parts)
  const { length } = content
  if (length > MAX_DER_BYTES) throw new TypeError('too long to be written')
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : length < 0x10000 ? [0x82, length >> 8, length & 0xff] : [0x83, length >> 16, (length >> 8) & 0xff, length & 0xff]
  return concatBytes(Uint8Array.of(tag, ...size), content)
}

/** Content octets of an object identifier in dotted form. @see ITU-T X.690 section 8.19 */
export function oidOctets(dotted: string): Uint8Array {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const octets: number[] = []
  for (const arc of [first * 40 + second, ...rest]) {
    const groups = [arc & 0x7f]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) groups.unshift((left & 0x7f) | 0x80)
    octets.push(...groups)
  }
  return Uint8Array.from(octets)
}

/** An object identifier as {@link DerReader.oid} gives it. */
export function oid(dotted: string): string {
  return toHex(oidOctets(dotted))
}
