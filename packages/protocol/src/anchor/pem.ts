import { fromBase64, fromUtf8 } from '../encoding.ts'
import { parseCertificate } from './certificate.ts'
import { MAX_DER_BYTES } from './der.ts'
import { AnchorRefused } from './refused.ts'
import { MAX_TSA_CERTIFICATES } from './tsa.ts'

const BEGIN = '-----BEGIN CERTIFICATE-----'
const END = '-----END CERTIFICATE-----'

/**
 * The certificates of a file: one in DER, or up to {@link MAX_TSA_CERTIFICATES} in PEM with any text around them.
 * @throws {AnchorRefused} `certificate_malformed`
 */
export function readCertificates(file: Uint8Array): readonly Uint8Array[] {
  if (file.length > MAX_TSA_CERTIFICATES * MAX_DER_BYTES) throw new AnchorRefused('certificate_malformed', 'the file is too long')
  const found = file[0] === 0x30 ? [file] : fromPem(fromUtf8(file))
  if (found.length === 0) throw new AnchorRefused('certificate_malformed', 'no certificate in it')
  if (found.length > MAX_TSA_CERTIFICATES) throw new AnchorRefused('certificate_malformed', `more than ${MAX_TSA_CERTIFICATES} certificates`)
  for (const one of found) parseCertificate(one)
  return found
}

/** @see RFC 7468 section 5 */
function fromPem(text: string): Uint8Array[] {
  return text.split(BEGIN, MAX_TSA_CERTIFICATES + 2).slice(1).map((part) => {
    const end = part.indexOf(END)
    if (end < 0) throw new AnchorRefused('certificate_malformed', 'a certificate without its end')
    return fromBase64(part.slice(0, end).replaceAll(/[\r\n \t]/g, ''))
  })
}
