import type { Crypto } from '../crypto.ts'
import { quoted } from '../denial.ts'
import { fromBase64, utf8 } from '../encoding.ts'
import { Fields } from '../json/fields.ts'
import type { JsonValue } from '../json/value.ts'
import { type Checkpoint, verifyCheckpoint } from '../log/checkpoint.ts'
import { present } from '../json/present.ts'
import { isRing, type KeyRing } from '../log/keys.ts'
import { formatSignature, type NoteKey, parseNote } from '../log/note.ts'
import { nameText } from './certificate.ts'
import { verifyImprint } from './rfc3161.ts'
import { TIME_KINDS } from './time.ts'
import { parseToken } from './token.ts'
import { type TsaTrust, verifyTokenSigner } from './tsa.ts'

/** Longest checkpoint of an anchor, cosignatures included, in UTF-16 units. */
export const MAX_ANCHOR_NOTE = 16_384
/** Largest timestamp token that is kept, in bytes. */
export const MAX_TOKEN_BYTES = 32_768
/** Longest place or answer of an anchor, in UTF-16 units. */
export const MAX_ANCHOR_TEXT = 1_024
const MAX_TOKEN_TEXT: number = Math.ceil(MAX_TOKEN_BYTES / 3) * 4

/** That a checkpoint was taken somewhere else, as it stands in a bundle. @see spec/anchor.md */
export type Anchor =
  | { readonly type: 'rfc3161'; readonly checkpoint: string; readonly token: string }
  | { readonly type: 'file'; readonly checkpoint: string; readonly where: string; readonly time: number }
  | { readonly type: 'http'; readonly checkpoint: string; readonly where: string; readonly time: number; readonly answer?: string }

export const ANCHOR_TYPES: readonly Anchor['type'][] = ['rfc3161', 'file', 'http']

/** @throws {Denied} `artifact_malformed`, `encoding_invalid` for a token that is not strict base64 */
export function parseAnchor(value: JsonValue | undefined): Anchor {
  const fields = new Fields(value, 'artifact_malformed', 'anchor')
  const type = fields.oneOf('type', ANCHOR_TYPES)
  const checkpoint = fields.text('checkpoint', MAX_ANCHOR_NOTE)
  const anchor = ((): Anchor => {
    if (type === 'rfc3161') return { type, checkpoint, token: fields.text('token', MAX_TOKEN_TEXT) }
    const place = { checkpoint, where: fields.text('where', MAX_ANCHOR_TEXT), time: fields.integer('time', MAX_TIME_MS) }
    if (type === 'file') return { type, ...place }
    return present<Anchor>({ type, ...place, answer: fields.optional('answer', (name) => fields.string(name, MAX_ANCHOR_TEXT)) })
  })()
  fields.end()
  if (anchor.type === 'rfc3161') fromBase64(anchor.token)
  return anchor
}

/** The last millisecond that has a four-digit year. */
const MAX_TIME_MS = 253_402_300_799_999

/**
 * What is anchored: the checkpoint's text, an empty line and the log key's own signature line, of a hybrid key both, as UTF-8. Cosignatures are left
 * out: they come later and change, and an anchor must go on holding.
 * @throws {Denied} what {@link verifyCheckpoint} throws
 */
export function anchoredBytes(note: string, key: NoteKey | KeyRing, crypto: Crypto): Uint8Array {
  return anchoredBy(note, key, crypto)[0] as Uint8Array
}

/** As {@link anchoredBytes}, under each key that signed: where two did, either may be what is anchored. */
function anchoredBy(note: string, key: NoteKey | KeyRing, crypto: Crypto): readonly Uint8Array[] {
  verifyCheckpoint(note, key, crypto) // signed exactly once by each of its keys
  const { text, signatures } = parseNote(note)
  const keys = isRing(key) ? key.keys.map((one) => one.key) : [key]
  const lines = (name: string, id: string): readonly string[] => signatures.filter((one) => one.name === name && one.id === id).map(({ signature }) => formatSignature({ name, id }, signature))
  return keys.flatMap(({ name, id, pq }) => lines(name, id).map((line) => utf8(`${text}\n${line}${pq === undefined ? '' : lines(name, pq.id).join('')}`)))
}

/**
 * What an anchor shows. `external time`: somebody else than the plane vouches for the time, and the verifier trusts them.
 * `copy`: the plane says that it gave a copy away. `local`: nothing beyond what the plane itself says. Only the first is
 * external proof.
 */
export type AnchorVerdict =
  | { readonly kind: 'external time'; readonly checkpoint: Checkpoint; readonly time: number; readonly timeKind: 'tsa'; readonly accuracyMs: number | undefined; readonly tsa: string; readonly sentence: string }
  | { readonly kind: 'copy'; readonly checkpoint: Checkpoint; readonly time: number; readonly timeKind: 'plane'; readonly sentence: string }
  | { readonly kind: 'local'; readonly checkpoint: Checkpoint; readonly time?: never; readonly timeKind?: never; readonly sentence: string }

/**
 * Says exactly what `anchor` shows about its checkpoint.
 * @param logKey the log key that the verifier holds
 * @param tsa whose timestamps the verifier believes; undefined where it can check none
 * @throws {Denied} what contradicts itself: a checkpoint that the log key did not sign (as {@link verifyCheckpoint}), or a
 *   token that does not hold ({@link AnchorRefused}, with its reason)
 */
export function verifyAnchor(anchor: Anchor, logKey: NoteKey | KeyRing, tsa: TsaTrust | undefined, crypto: Crypto): AnchorVerdict {
  const checkpoint = verifyCheckpoint(anchor.checkpoint, logKey, crypto)
  const what = `the checkpoint of ${checkpoint.size} entries`
  switch (anchor.type) {
    case 'rfc3161':
      return verifyTimestamp(anchor.token, anchoredBy(anchor.checkpoint, logKey, crypto).map(crypto.sha256), { checkpoint, what }, tsa)
    case 'file':
    case 'http': {
      const { time } = anchor
      const to = anchor.type === 'file' ? 'written to' : 'sent to'
      return { kind: 'copy', checkpoint, time, timeKind: 'plane', sentence: `a copy of ${what} was ${to} ${quoted(anchor.where)} at ${timeText(time)}, by ${TIME_KINDS.plane}: not external proof` }
    }
  }
}

function verifyTimestamp(token: string, digests: readonly Uint8Array[], { checkpoint, what }: { checkpoint: Checkpoint; what: string }, tsa: TsaTrust | undefined): AnchorVerdict {
  const parsed = parseToken(fromBase64(token))
  verifyImprint(parsed, digests)
  const { timeMs: time, accuracyMs } = parsed.info
  const open = (why: string): AnchorVerdict => ({ kind: 'local', checkpoint, sentence: `not established when ${what} existed: the token says ${timeText(time)}, but ${why}` })
  if (tsa === undefined) return open('no TSA certificate was given')
  const { certificate, isTrusted } = verifyTokenSigner(parsed, tsa)
  if (tsa.certificates.length === 0) return open('no TSA certificate was given')
  if (certificate === undefined) return open('the certificate of its signer is neither in it nor among those given')
  const name = nameText(certificate.subject)
  if (!isTrusted) return open(`its signer ${quoted(name)} does not lead to a TSA certificate that was given`)
  const within = accuracyMs === undefined ? '' : ` (± ${accuracyMs} ms)`
  return { kind: 'external time', checkpoint, time, timeKind: 'tsa', accuracyMs, tsa: name, sentence: `${what} existed at ${timeText(time)}${within}, by the word of TSA ${quoted(name)}` }
}

/** @param ms milliseconds since 1970, of a four-digit year */
function timeText(ms: number): string {
  return new Date(ms).toISOString()
}

