import { fromBase64, fromUtf8, toBase64, utf8 } from '@sealwrit/protocol'

const [PREFIX, SUFFIX] = ['=?base64?', '?=']
/** What stands in a header as it is: printable ASCII, no space at the ends. */
const PLAIN = /^(?:[!-~](?:[ -~]*[!-~])?)?$/
/** What may arrive in one as it is. */
const SHOWN = /^[\t -~]*$/

/**
 * A value of a message as a header mirrors it.
 * @see MCP 2026-07-28, basic/transports/streamable-http, "Value Encoding"
 */
export function toHeader(value: string): string {
  return PLAIN.test(value) && !isEncoded(value) ? value : `${PREFIX}${toBase64(utf8(value))}${SUFFIX}`
}

/** The value that a header mirrors; undefined where it holds none: another spelling of base64, no UTF-8, bytes that no header may hold. */
export function fromHeader(header: string): string | undefined {
  if (!isEncoded(header)) return SHOWN.test(header) ? header : undefined
  try {
    return fromUtf8(fromBase64(header.slice(PREFIX.length, -SUFFIX.length)))
  } catch {
    return undefined
  }
}

function isEncoded(header: string): boolean {
  return header.length >= PREFIX.length + SUFFIX.length && header.startsWith(PREFIX) && header.endsWith(SUFFIX)
}
