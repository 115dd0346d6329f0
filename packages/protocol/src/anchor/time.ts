import { DerReader, TAG } from './der.ts'
import { AnchorRefused } from './refused.ts'

/** Whose word a time is. None stands for another: a report names the kind beside every time. */
export type TimeKind = 'plane' | 'cosignature' | 'tsa'
export const TIME_KINDS: Readonly<Record<TimeKind, string>> = Object.freeze({
  plane: 'the plane’s own word',
  cosignature: 'the word of the witness that cosigned',
  tsa: 'the word of the time stamping authority that signed the token',
})

/**
 * Reads `YYYYMMDDhhmmss[.f…]Z`: UTC, seconds, a fraction without trailing zeros. What is finer than a millisecond is cut off.
 * @returns milliseconds since 1970
 * @throws {AnchorRefused} `token_malformed`
 * @see RFC 3161 section 2.4.2 (genTime), RFC 5280 section 4.1.2.5.2
 */
export function readGeneralizedTime(reader: DerReader, mayHaveFraction: boolean): number {
  const text = String.fromCharCode(...reader.value(TAG.generalizedTime).content.subarray(0, 32))
  const [, digits, fraction] = /^(\d{14})(?:\.(\d{0,8}[1-9]))?Z$/.exec(text) ?? []
  if (digits === undefined || (fraction !== undefined && !mayHaveFraction)) throw new AnchorRefused('token_malformed', 'not a time in its one form')
  return fromDigits(digits) + Number((fraction ?? '').slice(0, 3).padEnd(3, '0'))
}

/** A certificate's time: two-digit years to 2049, else four digits. @see RFC 5280 section 4.1.2.5 */
export function readCertificateTime(reader: DerReader): number {
  if (!reader.has(TAG.utcTime)) return readGeneralizedTime(reader, false)
  const text = String.fromCharCode(...reader.any().content.subarray(0, 32))
  if (!/^\d{12}Z$/.test(text)) throw new AnchorRefused('token_malformed', 'not a time in its one form')
  return fromDigits(`${Number(text.slice(0, 2)) < 50 ? '20' : '19'}${text.slice(0, 12)}`)
}

function fromDigits(digits: string): number {
  const at = (from: number, to: number): number => Number(digits.slice(from, to))
  const ms = Date.UTC(at(0, 4), at(4, 6) - 1, at(6, 8), at(8, 10), at(10, 12), at(12, 14))
  // A day that no calendar has comes back as another one.
  const again = Number.isNaN(ms) ? '' : new Date(ms).toISOString().replace(/[-:T]/g, '').slice(0, 14)
  if (again !== digits) throw new AnchorRefused('token_malformed', 'a time that no clock shows')
  return ms
}
