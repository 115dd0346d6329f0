import { concatBytes, equalBytes, fromUtf8 } from '../encoding.ts'
import { quoted } from '../denial.ts'
import { SHA256_OID } from './algorithms.ts'
import { der, DerReader, oidOctets, openDer, TAG } from './der.ts'
import { AnchorRefused } from './refused.ts'
import { parseToken, type TimestampToken } from './token.ts'

/** Bytes of a request's nonce. */
export const NONCE_BYTES = 16

/** Content octets of a positive integer of these bytes: no leading zeros, and no sign. */
function positive(bytes: Uint8Array): Uint8Array {
  let start = 0
  while (start < bytes.length - 1 && bytes[start] === 0) start++
  const kept = bytes.subarray(start)
  return (kept[0] as number) >= 0x80 ? concatBytes(Uint8Array.of(0), kept) : kept
}

/**
 * A TimeStampReq for a SHA-256 digest that asks for the authority's certificate too.
 * @param digest 32 bytes
 * @param nonce {@link NONCE_BYTES} random bytes
 * @see RFC 3161 section 2.4.1
 */
export function timestampRequest(digest: Uint8Array, nonce: Uint8Array): Uint8Array {
  if (digest.length !== 32 || nonce.length !== NONCE_BYTES) throw new TypeError('a request needs a SHA-256 digest and a nonce of 16 bytes')
  const algorithm = der(TAG.sequence, der(TAG.oid, oidOctets(SHA256_OID)), der(TAG.null))
  return der(
    TAG.sequence,
    der(TAG.integer, Uint8Array.of(1)),
    der(TAG.sequence, algorithm, der(TAG.octetString, digest)),
    der(TAG.integer, positive(nonce)),
    der(TAG.boolean, Uint8Array.of(0xff)),
  )
}

/**
 * Reads the authority's answer to the request for `digest` with `nonce`. Who signed it is not looked at here.
 * @returns the token, DER
 * @throws {AnchorRefused} `request_refused` with the authority's reason, `token_malformed`, `other_checkpoint`, `nonce_mismatch`
 * @see RFC 3161 section 2.4.2
 */
export function readTimestampReply(reply: Uint8Array, digest: Uint8Array, nonce: Uint8Array): Uint8Array {
  const fields = openDer(reply, TAG.sequence)
  const status = fields.enter(TAG.sequence)
  const code = status.small()
  // 0 granted, 1 granted with changes; everything else comes without a token.
  if (code > 1) throw new AnchorRefused('request_refused', `status ${code}${reasonOf(status)}`)
  if (!fields.has(TAG.sequence)) throw new AnchorRefused('request_refused', 'granted, but without a token')
  const token = fields.any().whole
  fields.end()
  const parsed = parseToken(token)
  verifyImprint(parsed, [digest])
  if (parsed.info.nonce === undefined || !equalBytes(parsed.info.nonce, positive(nonce))) throw new AnchorRefused('nonce_mismatch', 'the token answers another request')
  return token
}

/** The texts and failure bits that a refusal came with. */
function reasonOf(status: DerReader): string {
  let out = ''
  if (status.has(TAG.sequence)) {
    const [first] = status.enter(TAG.sequence).rest(16)
    if (first !== undefined) out += `, ${quoted(fromUtf8(first.content))}`
  }
  if (status.has(TAG.bitString)) {
    const [, ...octets] = status.any().content
    const bit = octets.flatMap((octet, i) => [0, 1, 2, 3, 4, 5, 6, 7].filter((b) => (octet & (0x80 >> b)) !== 0).map((b) => 8 * i + b))[0]
    if (bit !== undefined) out += `, failure ${FAILURES[bit] ?? bit}`
  }
  return out
}

/** @see RFC 3161 section 2.4.2, PKIFailureInfo */
const FAILURES: Readonly<Record<number, string>> = Object.freeze({
  0: 'badAlg', 2: 'badRequest', 5: 'badDataFormat', 14: 'timeNotAvailable', 15: 'unacceptedPolicy', 16: 'unacceptedExtension', 17: 'addInfoNotAvailable', 25: 'systemFailure',
})

/** @throws {AnchorRefused} `other_checkpoint` unless the token is about exactly one of these SHA-256 digests */
export function verifyImprint(token: TimestampToken, digests: readonly Uint8Array[]): void {
  const { imprint } = token.info
  if (imprint.hash !== 'sha256' || !digests.some((digest) => equalBytes(imprint.digest, digest))) throw new AnchorRefused('other_checkpoint', 'the token is about other bytes than this checkpoint')
}

