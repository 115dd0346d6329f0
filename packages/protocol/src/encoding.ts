import { Denied } from './denial.ts'

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function utf8(text: string): Uint8Array {
  return encoder.encode(text)
}

/** @throws {Denied} `encoding_invalid` when `bytes` are not well-formed UTF-8; a BOM stays and is for the parser to refuse */
export function fromUtf8(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw new Denied('encoding_invalid', 'not well-formed UTF-8')
  }
}

/**
 * The same text with memory of its own, for what is kept. What an engine cuts out of a text keeps all of that text alive, and
 * what it puts together keeps the parts: kilobytes for each id that is remembered.
 */
export function ownText(text: string): string {
  return fromUtf8(utf8(text))
}

const EQUALS = 61
const STANDARD = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const URL_SAFE = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'

/** Written as bytes and turned into text once: a text that is put together letter by letter costs a hundred times that. */
function encodeWith(alphabet: Uint8Array, bytes: Uint8Array, padded: boolean): string {
  const out = new Uint8Array(padded ? Math.ceil(bytes.length / 3) * 4 : Math.ceil((bytes.length * 4) / 3)).fill(EQUALS)
  let at = 0
  let i = 0
  for (; i + 2 < bytes.length; i += 3) {
    const three = ((bytes[i] as number) << 16) | ((bytes[i + 1] as number) << 8) | (bytes[i + 2] as number)
    out[at++] = alphabet[three >> 18] as number
    out[at++] = alphabet[(three >> 12) & 63] as number
    out[at++] = alphabet[(three >> 6) & 63] as number
    out[at++] = alphabet[three & 63] as number
  }
  if (i < bytes.length) {
    const [a, b] = [bytes[i] as number, bytes[i + 1]]
    out[at++] = alphabet[a >> 2] as number
    out[at++] = alphabet[((a & 3) << 4) | ((b ?? 0) >> 4)] as number
    if (b !== undefined) out[at++] = alphabet[(b & 15) << 2] as number
  }
  return decoder.decode(out)
}

function reverse(alphabet: string): Int8Array {
  const table = new Int8Array(128).fill(-1)
  for (let i = 0; i < 64; i++) table[alphabet.charCodeAt(i)] = i
  return table
}
const TO_STANDARD = encoder.encode(STANDARD)
const TO_URL_SAFE = encoder.encode(URL_SAFE)
const FROM_STANDARD = reverse(STANDARD)
const FROM_URL_SAFE = reverse(URL_SAFE)

function decodeWith(table: Int8Array, text: string, padded: boolean): Uint8Array {
  let end = text.length
  if (padded) {
    if (end % 4 !== 0) throw new Denied('encoding_invalid', 'base64 length')
    if (end > 0 && text[end - 1] === '=') end -= text[end - 2] === '=' ? 2 : 1
  }
  if (end % 4 === 1) throw new Denied('encoding_invalid', 'base64 length')
  const out = new Uint8Array((end * 3) >> 2)
  let at = 0
  let codes = 0
  let values = 0 // negative as soon as one letter is not of the alphabet
  let i = 0
  for (; i + 3 < end; i += 4) {
    const a = text.charCodeAt(i)
    const b = text.charCodeAt(i + 1)
    const c = text.charCodeAt(i + 2)
    const d = text.charCodeAt(i + 3)
    codes |= a | b | c | d
    const three = ((table[a & 127] as number) << 18) | ((table[b & 127] as number) << 12) | ((table[c & 127] as number) << 6) | (table[d & 127] as number)
    values |= three
    out[at++] = three >> 16
    out[at++] = three >> 8
    out[at++] = three
  }
  let rest = 0
  let width = 0
  for (; i < end; i++) {
    const code = text.charCodeAt(i)
    codes |= code
    const value = table[code & 127] as number
    values |= value
    rest = (rest << 6) | value
    width += 6
    if (width < 8) continue
    width -= 8
    out[at++] = rest >> width
  }
  if (codes > 127 || values < 0) throw new Denied('encoding_invalid', 'base64 alphabet')
  // Trailing bits must be zero: otherwise a re-encoding would give other bytes (ATK-012).
  if ((rest & ((1 << width) - 1)) !== 0) throw new Denied('encoding_invalid', 'base64 trailing bits')
  return out
}

/** Base64 with padding, as inside C2SP texts. @see RFC 4648 section 4 */
export function toBase64(bytes: Uint8Array): string {
  return encodeWith(TO_STANDARD, bytes, true)
}
/** @throws {Denied} `encoding_invalid` unless re-encoding gives exactly `text` */
export function fromBase64(text: string): Uint8Array {
  return decodeWith(FROM_STANDARD, text, true)
}
/** Base64url without padding, as inside JWS and for salts, challenges and `jti`. @see RFC 4648 section 5 */
export function toBase64Url(bytes: Uint8Array): string {
  return encodeWith(TO_URL_SAFE, bytes, false)
}
/** @throws {Denied} `encoding_invalid` unless re-encoding gives exactly `text` */
export function fromBase64Url(text: string): Uint8Array {
  return decodeWith(FROM_URL_SAFE, text, false)
}

const HEX: readonly string[] = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, '0'))

export function toHex(bytes: Uint8Array): string {
  let out = ''
  for (const byte of bytes) out += HEX[byte]
  return out
}

/** @throws {Denied} `encoding_invalid` unless `text` is lowercase hex of even length */
export function fromHex(text: string): Uint8Array {
  if (text.length % 2 !== 0) throw new Denied('encoding_invalid', 'hex length')
  const out = new Uint8Array(text.length / 2)
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    const nibble = code >= 48 && code <= 57 ? code - 48 : code >= 97 && code <= 102 ? code - 87 : -1
    if (nibble < 0) throw new Denied('encoding_invalid', 'hex alphabet')
    out[i >> 1] = ((out[i >> 1] as number) << 4) | nibble
  }
  return out
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false
  let difference = 0
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number)
  return difference === 0
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0
  for (const part of parts) length += part.length
  const out = new Uint8Array(length)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}
