import { equalBytes } from '../encoding.ts'
import type { TsaCrypto } from './algorithms.ts'
import { type Certificate, certificateAlgorithm, parseCertificate, TIME_STAMPING, USAGE } from './certificate.ts'
import { AnchorRefused } from './refused.ts'
import type { TimestampToken } from './token.ts'

/** Certificates between the one that signs and the one that is trusted. */
export const MAX_CHAIN = 4
/** Certificate signatures that are checked for one token. */
export const MAX_CHAIN_CHECKS = 32
/** Certificates that a verifier may trust at once. */
export const MAX_TSA_CERTIFICATES = 16

/** Whose timestamps the verifier believes. */
export interface TsaTrust {
  /** DER: the authority's own certificate, or the one of a certification authority above it. */
  readonly certificates: readonly Uint8Array[]
  readonly crypto: TsaCrypto
}

/** How far a token's signature leads: to a trusted certificate, or not. */
export interface TokenSigner {
  readonly certificate: Certificate | undefined
  readonly isTrusted: boolean
}

/**
 * Checks what a token says about itself, and whether its signer leads to a certificate of `trust` that was valid at the
 * token's own time. Revocation is not looked at.
 * @returns the signer; not trusted where no certificate of the verifier's leads to it
 * @throws {AnchorRefused} `content_changed`, `signer_mismatch`, `signature_invalid` whoever signed; for a trusted signer
 *   `certificate_malformed`, `certificate_not_valid_then`, `certificate_not_for_timestamps`, `certificate_usage_not_critical`,
 *   `certificate_extension_unknown`
 * @see RFC 3161 sections 2.3 and 2.4.2, RFC 5652 section 5.4
 */
export function verifyTokenSigner(token: TimestampToken, trust: TsaTrust): TokenSigner {
  const { crypto } = trust
  if (!equalBytes(crypto.hash(token.contentHash, token.content), token.contentDigest)) throw new AnchorRefused('content_changed', 'what the token says is not what was signed')
  const given = trust.certificates.slice(0, MAX_TSA_CERTIFICATES).map(parseCertificate)
  const shown = readable(token.certificates)
  const named = [...given, ...shown].filter((one) => isNamed(token, one))
  if (named.length === 0) return { certificate: undefined, isTrusted: false }
  const certificate = named.find(({ whole }) => token.signerHashes.every(({ hash, digest }) => equalBytes(crypto.hash(hash, whole), digest)))
  if (certificate === undefined) throw new AnchorRefused('signer_mismatch', 'the signature binds another certificate')
  if (!crypto.verifySignature(certificate.whole, token.algorithm, token.signed, token.signature)) throw new AnchorRefused('signature_invalid', 'the token’s signature does not verify')
  const chain = findChain(certificate, given, shown, crypto)
  if (chain === undefined) return { certificate, isTrusted: false }
  verifyPurpose(certificate)
  chain.forEach((one, i) => verifyLink(one, i, token.info.timeMs))
  return { certificate, isTrusted: true }
}

/** Certificates of the token that can be read; one that cannot must not spoil the others. */
function readable(certificates: readonly Uint8Array[]): Certificate[] {
  return certificates.flatMap((one) => {
    try {
      return [parseCertificate(one)]
    } catch {
      return []
    }
  })
}

function isNamed({ signer }: TimestampToken, certificate: Certificate): boolean {
  if ('keyId' in signer) return certificate.keyId !== undefined && equalBytes(certificate.keyId, signer.keyId)
  return equalBytes(certificate.issuer, signer.issuer) && equalBytes(certificate.serial, signer.serial)
}

/** From the signer up to a given certificate, every signature on the way checked; undefined where none leads there. */
function findChain(signer: Certificate, given: readonly Certificate[], shown: readonly Certificate[], crypto: TsaCrypto): readonly Certificate[] | undefined {
  let checksLeft = MAX_CHAIN_CHECKS
  let open: (readonly Certificate[])[] = [[signer]]
  for (let length = 0; length <= MAX_CHAIN; length++) {
    const longer: (readonly Certificate[])[] = []
    for (const chain of open) {
      const last = chain.at(-1) as Certificate
      if (given.some(({ whole }) => equalBytes(whole, last.whole))) return chain
      for (const above of [...given, ...shown]) {
        if (!equalBytes(above.subject, last.issuer) || chain.some(({ whole }) => equalBytes(whole, above.whole))) continue
        if (checksLeft-- <= 0) return undefined
        if (isSignedBy(last, above, crypto)) longer.push([...chain, above])
      }
    }
    open = longer
  }
  return undefined
}

function isSignedBy(certificate: Certificate, above: Certificate, crypto: TsaCrypto): boolean {
  try {
    return crypto.verifySignature(above.whole, certificateAlgorithm(certificate), certificate.signed, certificate.signature)
  } catch (error) {
    if (error instanceof AnchorRefused) return false // an algorithm that proves nothing
    throw error
  }
}

/** The signer's certificate is for time stamping alone, and says so critically. @see RFC 3161 section 2.3 */
function verifyPurpose({ purposes, keyUsage }: Certificate): void {
  if (purposes === undefined || purposes.ids.length !== 1 || purposes.ids[0] !== TIME_STAMPING) throw new AnchorRefused('certificate_not_for_timestamps', 'the signer’s certificate is not for time stamping alone')
  if (!purposes.isCritical) throw new AnchorRefused('certificate_usage_not_critical', 'the purpose of the signer’s certificate is not marked critical')
  if (keyUsage !== undefined && (keyUsage & (USAGE.digitalSignature | USAGE.nonRepudiation)) === 0) throw new AnchorRefused('certificate_not_for_timestamps', 'the signer’s key is not for signatures')
}

/** @param depth certificates below this one */
function verifyLink(certificate: Certificate, depth: number, timeMs: number): void {
  const { notBeforeMs, notAfterMs, isAuthority, maxBelow, keyUsage, hasUnknownCritical } = certificate
  if (hasUnknownCritical) throw new AnchorRefused('certificate_extension_unknown', 'a certificate carries a critical extension that is not known here')
  if (timeMs < notBeforeMs || timeMs >= notAfterMs + 1_000) throw new AnchorRefused('certificate_not_valid_then', 'a certificate was not valid at the time that the token states')
  if (depth === 0) return
  if (!isAuthority || (keyUsage !== undefined && (keyUsage & USAGE.keyCertSign) === 0)) throw new AnchorRefused('certificate_not_for_timestamps', 'an issuing certificate may not issue')
  if (maxBelow !== undefined && depth - 1 > maxBelow) throw new AnchorRefused('certificate_not_for_timestamps', 'an issuing certificate may not stand so high')
}
