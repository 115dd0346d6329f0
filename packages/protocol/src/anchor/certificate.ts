import { equalBytes, fromUtf8, toHex } from '../encoding.ts'
import { readSignatureAlgorithm, type SignatureAlgorithm } from './algorithms.ts'
import { context, contextPrimitive, DerReader, oid, openDer, TAG } from './der.ts'
import { AnchorRefused } from './refused.ts'
import { readCertificateTime } from './time.ts'

/** Extensions that one certificate may carry. */
const MAX_EXTENSIONS = 32
/** Purposes that one certificate may name. */
const MAX_PURPOSES = 16

/** The parts of an X.509 certificate that decide whether it may vouch for a time. */
export interface Certificate {
  /** As it was given, DER. */
  readonly whole: Uint8Array
  /** What its issuer signed. */
  readonly signed: Uint8Array
  readonly signature: Uint8Array
  readonly serial: Uint8Array
  /** Names as DER; equal means equal bytes, which is stricter than the directory's own rule. */
  readonly issuer: Uint8Array
  readonly subject: Uint8Array
  readonly notBeforeMs: number
  readonly notAfterMs: number
  readonly isAuthority: boolean
  readonly maxBelow: number | undefined
  /** Octets of the key usage bit string, without the count of unused bits; undefined where it is absent. */
  readonly keyUsage: number | undefined
  readonly purposes: { readonly ids: readonly string[]; readonly isCritical: boolean } | undefined
  readonly keyId: Uint8Array | undefined
  /** Whether it carries a critical extension that is not understood here. */
  readonly hasUnknownCritical: boolean
}

const BASIC_CONSTRAINTS: string = oid('2.5.29.19')
const KEY_USAGE: string = oid('2.5.29.15')
const PURPOSES: string = oid('2.5.29.37')
const KEY_ID: string = oid('2.5.29.14')
/** Authority key id, subject and issuer names, policies: understood, and without a say here. */
const HARMLESS: ReadonlySet<string> = new Set(['2.5.29.35', '2.5.29.17', '2.5.29.18', '2.5.29.32'].map(oid))
export const TIME_STAMPING: string = oid('1.3.6.1.5.5.7.3.8')
const COMMON_NAME: string = oid('2.5.4.3')

/** Bits of the first octet of key usage. @see RFC 5280 section 4.2.1.3 */
export const USAGE = { digitalSignature: 0x80, nonRepudiation: 0x40, keyCertSign: 0x04, crlSign: 0x02 } as const

/** @throws {AnchorRefused} `certificate_malformed`. @see RFC 5280 section 4.1 */
export function parseCertificate(whole: Uint8Array): Certificate {
  try {
    const outer = openDer(whole, TAG.sequence)
    const signed = outer.value(TAG.sequence)
    outer.value(TAG.sequence)
    const signature = bits(outer)
    outer.end()
    const fields = new DerReader(signed.content)
    if (fields.has(context(0))) {
      const version = fields.enter(context(0))
      version.small()
      version.end()
    }
    const serial = fields.integer()
    fields.value(TAG.sequence) // the algorithm again; the one outside is read when the signature is checked, and must be the same
    const issuer = fields.value(TAG.sequence).whole
    const validity = fields.enter(TAG.sequence)
    const [notBeforeMs, notAfterMs] = [readCertificateTime(validity), readCertificateTime(validity)]
    validity.end()
    const subject = fields.value(TAG.sequence).whole
    fields.value(TAG.sequence)
    for (const n of [1, 2]) if (fields.has(contextPrimitive(n))) fields.any()
    const extensions = fields.has(context(3)) ? readExtensions(fields.enter(context(3))) : NO_EXTENSIONS
    fields.end()
    return { whole, signed: signed.whole, signature, serial, issuer, subject, notBeforeMs, notAfterMs, ...extensions }
  } catch (error) {
    if (error instanceof AnchorRefused) throw new AnchorRefused('certificate_malformed', error.message)
    throw error
  }
}

/** A bit string of whole octets. */
function bits(reader: DerReader): Uint8Array {
  const { content } = reader.value(TAG.bitString)
  if (content[0] !== 0) throw new AnchorRefused('token_malformed', 'a bit string with unused bits')
  return content.subarray(1)
}

type Extensions = Pick<Certificate, 'isAuthority' | 'maxBelow' | 'keyUsage' | 'purposes' | 'keyId' | 'hasUnknownCritical'>
const NO_EXTENSIONS: Extensions = { isAuthority: false, maxBelow: undefined, keyUsage: undefined, purposes: undefined, keyId: undefined, hasUnknownCritical: false }

function readExtensions(holder: DerReader): Extensions {
  const list = holder.enter(TAG.sequence)
  holder.end()
  const seen = new Set<string>()
  let out: Extensions = NO_EXTENSIONS
  for (const { content, tag } of list.rest(MAX_EXTENSIONS)) {
    if (tag !== TAG.sequence) throw new AnchorRefused('token_malformed', 'not an extension')
    const extension = new DerReader(content)
    const name = extension.oid()
    const isCritical = extension.has(TAG.boolean) ? extension.boolean() : false
    const value = extension.octets()
    extension.end()
    if (seen.has(name)) throw new AnchorRefused('token_malformed', 'an extension twice')
    seen.add(name)
    out = { ...out, ...readExtension(name, value, isCritical) }
  }
  return out
}

function readExtension(name: string, value: Uint8Array, isCritical: boolean): Partial<Extensions> {
  switch (name) {
    case BASIC_CONSTRAINTS: {
      const fields = openDer(value, TAG.sequence)
      const isAuthority = fields.has(TAG.boolean) ? fields.boolean() : false
      const maxBelow = fields.has(TAG.integer) ? fields.small() : undefined
      fields.end()
      return { isAuthority, maxBelow }
    }
    case KEY_USAGE:
      // Content of the bit string: a count of unused bits, then the bits; only the first octet is of interest.
      openDer(value, TAG.bitString)
      return { keyUsage: value[3] ?? 0 }
    case PURPOSES: {
      const ids = openDer(value, TAG.sequence).rest(MAX_PURPOSES).map(({ whole }) => new DerReader(whole).oid())
      return { purposes: { ids, isCritical } }
    }
    case KEY_ID:
      return { keyId: new DerReader(value).octets() }
    default:
      return isCritical && !HARMLESS.has(name) ? { hasUnknownCritical: true } : {}
  }
}

/** What a certificate in DER says that its key is for; its key usage is to be held against {@link USAGE}. @throws {AnchorRefused} */
export function certificateUse(whole: Uint8Array): Pick<Certificate, 'isAuthority' | 'keyUsage' | 'hasUnknownCritical'> {
  const { isAuthority, keyUsage, hasUnknownCritical } = parseCertificate(whole)
  return { isAuthority, keyUsage, hasUnknownCritical }
}

/** How the issuer signed it. @throws {AnchorRefused} `algorithm_refused`, `certificate_malformed` when it names two algorithms */
export function certificateAlgorithm(certificate: Certificate): SignatureAlgorithm {
  const outer = openDer(certificate.whole, TAG.sequence)
  const inner = outer.enter(TAG.sequence)
  if (inner.has(context(0))) inner.any()
  inner.integer()
  const [named, used] = [inner.value(TAG.sequence).whole, outer.value(TAG.sequence).whole]
  if (!equalBytes(named, used)) throw new AnchorRefused('certificate_malformed', 'two signature algorithms')
  return readSignatureAlgorithm(new DerReader(used), undefined)
}

/** The common name of a subject for a sentence; hex of its bytes where it has none that can be read. */
export function nameText(name: Uint8Array): string {
  try {
    for (const set of new DerReader(name).enter(TAG.sequence).rest(MAX_PURPOSES)) {
      const pair = new DerReader(set.content).enter(TAG.sequence)
      if (pair.oid() === COMMON_NAME) return fromUtf8(pair.any().content)
    }
  } catch {
    // A name that cannot be read is shown as it is.
  }
  return toHex(name)
}
