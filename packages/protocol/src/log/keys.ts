import type { Crypto, Sha256 } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { type Digest, digestOf } from '../digest.ts'
import { utf8 } from '../encoding.ts'
import type { Fields } from '../json/fields.ts'
import { present } from '../json/present.ts'
import { formatPqKey, formatVerifierKey, names, type Note, type NoteKey, parseNote, parsePqKey, parseVerifierKey, sameKey, verifyNote } from './note.ts'

/** Keys that one log may have had. */
export const MAX_LOG_KEYS = 256
/** Statements about keys that go along with evidence, or are told to a gate. */
export const MAX_KEY_ENTRIES = 16_384
const MAX_KEY_TEXT = 4_096
const MAX_KEY_NOTE = 16_384

/** What becomes of the log's own key. @see spec/keys.md */
export interface LogKeyEntry {
  readonly kind: 'key'
  readonly purpose: 'log'
  readonly event: 'created' | 're_anchored' | 'rotated' | 'revoked'
  /** The verifier key that it is about; the Ed25519 half of a hybrid one. */
  readonly key: string
  /** Its ML-DSA-65 half, where it has one. */
  readonly pq_key?: string
  /** The newest tree known of the history that was lost; only, and always, where the log was re-anchored. */
  readonly lost?: { readonly size: number; readonly root: Digest }
  /** Which key of the log it is, counted from 1; where it is rotated in. */
  readonly epoch?: number
  /** {@link keyText} as a signed note: by the key before it, which vouches for it, and by itself. */
  readonly note?: string
  /** When the key before it is to be retired, milliseconds since 1970; the entry that does it is what counts. */
  readonly until?: number
  /** The key signs for trees of no more leaves than this; where it is revoked. */
  readonly from?: number
  /** Who revoked it; absent where its overlap was over. */
  readonly by?: string
}
/** What a gate says at leaf index `from` and behind it counts for nothing. */
export interface GateKeyEntry {
  readonly kind: 'key'
  readonly purpose: 'gate'
  readonly event: 'revoked'
  readonly gate: string
  readonly from: number
  readonly by: string
}
/** An entry about a key, with its place. */
export type Placed<E> = E & { readonly seq: number }

const MEMBERS: Readonly<Record<LogKeyEntry['event'], readonly string[]>> = { created: [], re_anchored: ['lost'], rotated: ['epoch', 'note', 'until'], revoked: ['from'] }

export function readLogKey(fields: Fields): LogKeyEntry {
  const event = fields.oneOf<LogKeyEntry['event']>('event', ['created', 're_anchored', 'rotated', 'revoked'])
  const entry = present<LogKeyEntry>({
    kind: 'key',
    purpose: fields.literal('purpose', 'log'),
    event,
    key: fields.text('key'),
    pq_key: fields.optional('pq_key', (name) => fields.text(name, MAX_KEY_TEXT)),
    lost: fields.optional('lost', (name) => {
      const lost = fields.object(name)
      const head = { size: lost.integer('size'), root: lost.digest('root') }
      lost.end()
      return head
    }),
    epoch: fields.optional('epoch', (name) => fields.integer(name, MAX_LOG_KEYS)),
    note: fields.optional('note', (name) => fields.text(name, MAX_KEY_NOTE)),
    until: fields.optional('until', (name) => fields.integer(name)),
    from: fields.optional('from', (name) => fields.integer(name)),
    by: fields.optional('by', (name) => fields.text(name)),
  })
  const has = (['lost', 'epoch', 'note', 'until', 'from'] as const).filter((name) => entry[name] !== undefined)
  if (has.join() !== MEMBERS[event].join() || (entry.by !== undefined && event !== 'revoked')) throw new Denied('artifact_malformed', 'key: event and members disagree')
  return entry
}

export function readGateKey(fields: Fields): GateKeyEntry {
  return { kind: 'key', purpose: fields.literal('purpose', 'gate'), event: fields.literal('event', 'revoked'), gate: fields.text('gate'), from: fields.integer('from'), by: fields.text('by') }
}

/** The members of an entry that name a key. */
export function keyMembers(key: NoteKey): Pick<LogKeyEntry, 'key' | 'pq_key'> {
  return present<Pick<LogKeyEntry, 'key' | 'pq_key'>>({ key: formatVerifierKey(key), pq_key: key.pq === undefined ? undefined : formatPqKey(key.name, key.pq) })
}

/** @throws {Denied} `key_unknown` */
export function keyOf({ key, pq_key }: Pick<LogKeyEntry, 'key' | 'pq_key'>, sha256: Sha256): NoteKey {
  const first = parseVerifierKey(key, sha256)
  return pq_key === undefined ? first : { ...first, pq: parsePqKey(pq_key, first.name, sha256) }
}

/** A log key as it is handed on: a verifier key on a line, and on a second one its ML-DSA-65 half where it has one. */
export function formatLogKey(key: NoteKey): string {
  const { key: first, pq_key } = keyMembers(key)
  return pq_key === undefined ? first : `${first}\n${pq_key}`
}

/** @throws {Denied} `key_unknown` */
export function parseLogKey(text: string, sha256: Sha256): NoteKey {
  const [key, pq_key, ...more] = text.trim().split(/\s+/, 3)
  if (more.length > 0) throw new Denied('key_unknown', 'more than one key')
  return keyOf(present<Pick<LogKeyEntry, 'key' | 'pq_key'>>({ key: key ?? '', pq_key }), sha256)
}

/** What a gate says of the log key that it was given: the digest of its Ed25519 verifier key, with a newline (ATK-064). */
export function anchorDigest(key: NoteKey, sha256: Sha256): Digest {
  return digestOf(utf8(`${formatVerifierKey(key)}\n`), sha256)
}

/** What old and new key sign when one takes over from the other: no checkpoint, since its first line is no origin. */
export function keyText(key: NoteKey, epoch: number): string {
  return `sealwrit/v1/log-key\n${key.name}\n${epoch}\n${formatLogKey(key)}\n`
}

/** A key of a log. */
export interface RingKey {
  readonly key: NoteKey
  /** Which key of the log it is, counted from 1; 0 where the log does not say. */
  readonly epoch: number
  /** It signs for trees of no more leaves than this. */
  readonly until: number | undefined
}

/** The keys of one log. */
export interface KeyRing {
  /** Origin of the log. */
  readonly name: string
  readonly keys: readonly RingKey[]
}

export function isRing(key: NoteKey | KeyRing): key is KeyRing {
  return 'keys' in key
}

/** What entries say of the keys of a log, to somebody who holds some of them. */
export interface FollowedKeys {
  /** The held ones, and those that they lead to: who signed with one of these is the log. */
  readonly trusted: KeyRing
  /** Every key that the log names, the held ones included: who signed with one of these, and is shown to be of the log, was the log. */
  readonly named: KeyRing
}

/**
 * Follows the keys of a log through its entries, in their order: each that is rotated in must be vouched for by the one before it, and
 * counts where a key that is trusted did so before it was revoked.
 *
 * @param entries all of the log that are about its keys, up to some index
 * @throws {Denied} `signature_invalid`, `key_unknown`, `artifact_malformed` for a statement that no log may make
 */
export function followKeys(held: readonly NoteKey[], entries: readonly Placed<LogKeyEntry>[], crypto: Crypto): FollowedKeys {
  const name = held[0]?.name ?? ''
  const until = new Map<string, number>()
  for (const { event, key, from } of entries) if (event === 'revoked' && from !== undefined) until.set(key, Math.min(from, until.get(key) ?? from))
  const ringKey = (key: NoteKey, epoch: number): RingKey => ({ key, epoch, until: until.get(formatVerifierKey(key)) })
  const [named, trusted]: [RingKey[], RingKey[]] = [[], []]
  let epoch = 0
  for (const entry of entries) {
    if (entry.event === 'revoked') {
      checkRevoked(entry, named)
      continue
    }
    const key = keyOf(entry, crypto.sha256)
    if (key.name !== name) throw new Denied('key_unknown', 'a key of another log')
    epoch++
    const before = named.at(-1)
    const own = held.find((one) => isHalfOf(one, key))
    const next = ringKey(own ?? usable(key, crypto), epoch)
    const isVouched = entry.event === 'rotated' && isVouchedFor(entry, key, epoch, before, crypto) && before !== undefined && trusted.includes(before) && (before.until === undefined || before.until > entry.seq)
    const again = named.findIndex(({ key: other }) => other.id === key.id)
    // A re-anchoring that was cut off is logged again, under the key that it began with.
    if (again >= 0 && entry.event !== 're_anchored') throw new Denied('artifact_malformed', 'a key of the log comes back')
    if (again >= 0) for (const one of named.splice(again, 1)) if (trusted.includes(one)) trusted.splice(trusted.indexOf(one), 1)
    named.push(next)
    if (own !== undefined || isVouched) trusted.push(next)
  }
  const others = held.filter((key) => !named.some((one) => sameKey(one.key, key))).map((key) => ringKey(key, 0))
  return { trusted: { name, keys: [...trusted, ...others] }, named: { name, keys: [...named, ...others] } }
}

/** Whether `held` is this key, or the Ed25519 half of it: who holds that half ignores the other. */
function isHalfOf(held: NoteKey, key: NoteKey): boolean {
  return sameKey(held, held.pq === undefined ? classical(key) : key)
}

function classical({ name, id, publicKey }: NoteKey): NoteKey {
  return { name, id, publicKey }
}

/** Where ML-DSA-65 cannot be computed, the half that can be. */
function usable(key: NoteKey, crypto: Crypto): NoteKey {
  return crypto.verifyMlDsa65 === undefined ? classical(key) : key
}

/** @throws {Denied} where the key before it did not sign for it, or it did not sign itself */
function isVouchedFor({ epoch, note: text = '' }: LogKeyEntry, key: NoteKey, expected: number, before: RingKey | undefined, crypto: Crypto): boolean {
  const note = parseNote(text)
  if (epoch !== expected || note.text !== keyText(key, expected)) throw new Denied('artifact_malformed', 'key: the note says something else')
  if (before === undefined) throw new Denied('key_unknown', 'no key is before the one that is rotated in')
  verifyNote(note, before.key, crypto)
  verifyNote(note, usable(key, crypto), crypto)
  return true
}

/** Only a key that is not the newest is revoked, and never for less than before. */
function checkRevoked({ key, seq, from = 0 }: Placed<LogKeyEntry>, named: readonly RingKey[]): void {
  const at = named.findIndex((one) => formatVerifierKey(one.key) === key)
  if (at < 0 || at === named.length - 1) throw new Denied('key_unknown', 'a key is revoked that is not of this log, or has no successor')
  if (from > seq) throw new Denied('artifact_malformed', 'a key is revoked from an index that is to come')
}

/** As {@link verifyByRing}, or as `verifyNote` under one key. @throws {Denied} as they do */
export function verifySigned(note: Note, size: number, key: NoteKey | KeyRing, crypto: Crypto): void {
  if (isRing(key)) verifyByRing(note, size, key, crypto)
  else verifyNote(note, key, crypto)
}

/**
 * Verifies that the log signed a note over a tree of `size` leaves: every line by a key of the ring that may sign for such a tree must hold.
 * @returns these keys, the newest last
 * @throws {Denied} `key_unknown`, `key_revoked`, `signature_invalid`
 */
export function verifyByRing(note: Note, size: number, ring: KeyRing, crypto: Crypto): readonly RingKey[] {
  const found = ring.keys.filter(({ key }) => names(note, key))
  const able = found.filter(({ until }) => until === undefined || size <= until)
  for (const { key } of able) verifyNote(note, key, crypto)
  if (able.length > 0) return able
  const [revoked] = found
  if (revoked !== undefined) throw new Denied('key_revoked', `key ${revoked.key.id} signs for trees of at most ${revoked.until} leaves`)
  throw new Denied('key_unknown', 'signed by no key of the log that is known here')
}
