import { type Entry, fromBase64Url, isObject, type JsonObject, parseStrict } from '@sealwrit/protocol'

/** The signed account of a gate or an approver that an entry carries, if it carries one. */
export function tokenOf(entry: Entry): string | undefined {
  if (entry.kind === 'receipt') return entry.receipt
  if (entry.kind === 'approval') return entry.signature
  return entry.kind === 'deny' ? entry.denial : undefined
}

/**
 * The claims of a gate's account, decoded and not verified: whether they are genuine is for `sealwrit verify` to say, and
 * the token itself goes along. Undefined where there are none that can be read.
 */
export function claimsOf(entry: Entry): JsonObject | undefined {
  const payload = tokenOf(entry)?.split('.', 2)[1]
  if (payload === undefined) return undefined
  try {
    const claims = parseStrict(fromBase64Url(payload))
    return isObject(claims) ? claims : undefined
  } catch {
    return undefined
  }
}

/** The execution that an entry is about. */
export function jtiOf(entry: Entry): string | undefined {
  return 'jti' in entry ? entry.jti : undefined
}
