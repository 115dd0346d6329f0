import { type Bundle, canonicalText, consistencyProof, formatSignature, formatVerifierKey, type JsonObject, leafDigest, leafHash, type NoteKey, noteKey, parseNote, toBase64, toBase64Url, utf8 } from '@sealwrit/protocol'
import { GATE, GATE_KEY, keyPair, LOG, LOG_KEY, NOW, permitBody, receiptClaims, sha256, TestLog } from '../../packages/protocol/test/support/fixture.ts'
import { account, type Draft, NEXT, NEXT_KEY, rotation, sealBundle, signNote, THIRD, THIRD_KEY } from './evidence.ts'

type Signer = readonly [typeof LOG, NoteKey]
export const FIRST: Signer = [LOG, LOG_KEY]
export const SECOND: Signer = [NEXT, NEXT_KEY]
export const LAST: Signer = [THIRD, THIRD_KEY]
const THIEF: Signer = [keyPair('thief'), noteKey(LOG_KEY.name, keyPair('thief').publicKey, sha256)]

const token = (label: string): string => toBase64Url(sha256(utf8(`keys ${label}`)).subarray(0, 16))
const created = { kind: 'key', purpose: 'log', event: 'created', key: formatVerifierKey(LOG_KEY) }
const tool = { kind: 'tool', target: 'mcp://fs', name: 'x', digest: `sha256:${'a'.repeat(64)}` }
const revoked = (key: NoteKey, from: number, more: object = {}): object => ({ kind: 'key', purpose: 'log', event: 'revoked', key: formatVerifierKey(key), from, ...more })
const gateRevoked = (from: number, gate = GATE_KEY.kid): object => ({ kind: 'key', purpose: 'gate', event: 'revoked', gate, from, by: 'user:1' })
const third = rotation(THIRD_KEY, 3, [SECOND, LAST])

/** A log of these entries, whose checkpoint is signed by these keys. */
export function signedBy(entries: readonly object[], signers: readonly Signer[], change: Partial<Bundle> = {}): Bundle {
  const drafts = entries.map((entry, seq): Draft => ({ text: canonicalText({ v: 1, seq, time: NOW * 1_000 + seq, tenant: 'default', ...entry } as JsonObject), bodies: [] }))
  return sealBundle(drafts, change, (note) => `${parseNote(note).text}\n${signers.map(([keys, key]) => formatSignature(key, keys.sign(utf8(parseNote(note).text)))).join('')}`)
}

/** An execution at gate {@link GATE_KEY}: enrolled at 1, permitted at 2, with its receipt at 3. */
function executed(): readonly object[] {
  const permit = permitBody({ jti: token('jti'), txn: token('jti'), challenge: token('c') })
  const entries = [created, { kind: 'gate', gate: GATE_KEY.kid, event: 'enrolled', key: toBase64Url(GATE.publicKey) }, permit]
  const text = canonicalText({ v: 1, seq: 2, time: NOW * 1_000 + 2, tenant: 'default', ...permit } as unknown as JsonObject)
  const receipt = account({ ...receiptClaims(), jti: token('jti'), leaf_hash: leafDigest(leafHash(utf8(text), sha256)), session: token('s'), sequence: 0 })
  return [...entries, { kind: 'receipt', jti: token('jti'), receipt }]
}

export interface KeyCase {
  readonly title: string
  readonly bundle: Bundle
  readonly key: NoteKey
  readonly verdict: 'established' | 'contradicted'
}

/** What old, new and stolen keys may establish. @see spec/keys.md */
export function* keyCases(): Generator<KeyCase> {
  const say = (title: string, bundle: Bundle, key: NoteKey, verdict: KeyCase['verdict']): KeyCase => ({ title, bundle, key, verdict })
  const rotated = [created, tool, rotation(), tool]
  for (const [title, key] of [['old', LOG_KEY], ['new', NEXT_KEY]] as const) {
    for (const [by, signers] of [['both', [FIRST, SECOND]], ['the new one', [SECOND]], ['the old one', [FIRST]]] as const) yield say(`in the overlap, signed by ${by}: the ${title} key`, signedBy(rotated, signers), key, by === 'the old one' && title === 'new' ? 'contradicted' : 'established')
  }
  const retired = [...rotated, revoked(LOG_KEY, 4), tool]
  for (const key of [LOG_KEY, NEXT_KEY]) {
    yield say(`after the overlap, signed by the new one: key ${key.id}`, signedBy(retired, [SECOND]), key, 'established')
    yield say(`after the overlap, signed by the old one: key ${key.id}`, signedBy(retired, [FIRST]), key, 'contradicted')
    yield say(`after the overlap, signed by both, of which one counts: key ${key.id}`, signedBy(retired, [FIRST, SECOND]), key, 'established')
    yield say(`after the overlap, signed by a thief: key ${key.id}`, signedBy(retired, [THIEF]), key, 'contradicted')
  }
  const twice = [...retired, third, tool]
  for (const key of [LOG_KEY, NEXT_KEY, THIRD_KEY]) {
    yield say(`after two rotations, signed by the last: key ${key.id}`, signedBy(twice, [LAST]), key, 'established')
    yield say(`of two rotations, without what is said of keys: key ${key.id}`, (({ keys: _, ...bundle }) => bundle)(signedBy(twice, [LAST])), key, 'contradicted')
  }
  // Stolen at index 1, before it vouched for its successor: it leads nowhere, and who holds the new key goes on.
  const stolen = [...rotated, revoked(LOG_KEY, 1, { by: 'user:1' }), tool]
  yield say('a stolen key that vouched after the theft', signedBy(stolen, [SECOND]), LOG_KEY, 'contradicted')
  yield say('the successor of a stolen key, held by itself', signedBy(stolen, [SECOND]), NEXT_KEY, 'established')
  const linked = (size: number, signer: Signer): Bundle => signedBy(stolen, [SECOND], { checkpoints: [{ checkpoint: signNote(parseNote(signedBy(stolen.slice(0, size), [signer]).checkpoint).text, ...signer), consistency: proofOf(stolen, size) }] })
  yield say('a checkpoint of the stolen key below the index', linked(1, FIRST), NEXT_KEY, 'established')
  yield say('a checkpoint of the stolen key above the index', linked(2, FIRST), NEXT_KEY, 'contradicted')
  yield say('a checkpoint of the new key above the index', linked(3, SECOND), NEXT_KEY, 'established')

  const gate = executed()
  yield say('a receipt at the index from which its gate is revoked', signedBy([...gate, gateRevoked(3)], [FIRST]), LOG_KEY, 'established')
  yield say('a receipt below the index from which its gate is revoked', signedBy([...gate, gateRevoked(4)], [FIRST]), LOG_KEY, 'established')
  yield say('a receipt after its gate was revoked', signedBy([...gate.slice(0, 3), gateRevoked(3), gate[3] as object], [FIRST]), LOG_KEY, 'contradicted')
  yield say('a permit after its gate was revoked', signedBy([...gate.slice(0, 2), gateRevoked(2), tool, { ...(gate[2] as object), jti: token('2'), txn: token('2') }], [FIRST]), LOG_KEY, 'contradicted')
  yield say('a session after its gate was revoked', signedBy([...gate.slice(0, 2), gateRevoked(2), { kind: 'gate', gate: GATE_KEY.kid, event: 'session', session: token('s'), env: { commit: `sha256:${'a'.repeat(64)}`, level: 'software' } }], [FIRST]), LOG_KEY, 'contradicted')

  // Statements that no log makes.
  const wrong: Record<string, readonly object[]> = {
    'a rotation that the old key did not sign': [created, rotation(NEXT_KEY, 2, [SECOND])],
    'a rotation that the new key did not sign': [created, rotation(NEXT_KEY, 2, [FIRST])],
    'a rotation that a thief vouches for': [created, rotation(NEXT_KEY, 2, [THIEF, SECOND])],
    'a rotation of another epoch': [created, rotation(NEXT_KEY, 3)],
    'a rotation whose note names another key': [created, { ...rotation(), note: (rotation(THIRD_KEY, 2, [FIRST, LAST]))['note'] }],
    'a rotation whose epoch is not that of its note': [created, { ...rotation(), epoch: 3 }],
    'a rotation without an end': [created, (({ until: _, ...rest }) => rest)(rotation())],
    'a rotation from': [created, { ...rotation(), from: 1 }],
    'a rotation back': [created, rotation(), rotation(LOG_KEY, 3, [SECOND, FIRST])],
    'a second rotation that skips a key': [created, rotation(), rotation(THIRD_KEY, 3, [FIRST, LAST])],
    'a rotation to a key of another log': [created, rotation(noteKey('other.test/default', NEXT.publicKey, sha256), 2, [FIRST, [NEXT, noteKey('other.test/default', NEXT.publicKey, sha256)]])],
    'a rotation before there is a key': [rotation(), created],
    'the revocation of the newest key': [created, revoked(LOG_KEY, 1)],
    'the revocation of a key that never was': [created, rotation(), revoked(THIRD_KEY, 1)],
    'a revocation from an index to come': [created, rotation(), revoked(LOG_KEY, 3)],
    'the revocation of a gate from an index to come': [created, gateRevoked(2)],
    'the revocation of a gate for less than before': [created, gateRevoked(1), gateRevoked(1)],
    'a revocation without an index': [created, rotation(), (({ from: _, ...rest }) => rest)(revoked(LOG_KEY, 1) as { from: number })],
    'a creation with an index': [{ ...created, from: 0 }],
    'a creation by somebody': [{ ...created, by: 'user:1' }],
    'the revocation of a gate by nobody': [created, (({ by: _, ...rest }) => rest)(gateRevoked(1) as { by: string })],
  }
  for (const [title, entries] of Object.entries(wrong)) yield say(title, signedBy([...entries, tool], [FIRST]), LOG_KEY, 'contradicted')

  const honest = signedBy(retired, [SECOND])
  const keys = honest.keys ?? []
  yield say('what is said of keys, in another order', { ...honest, keys: [...keys].reverse() }, LOG_KEY, 'contradicted')
  yield say('what is said of keys, twice', { ...honest, keys: [...keys, ...keys] }, LOG_KEY, 'contradicted')
  yield say('what is said of keys, without the revocation', { ...honest, keys: keys.slice(0, -1) }, LOG_KEY, 'contradicted')
  yield say('nothing said of keys, as a list', { ...honest, keys: [] }, LOG_KEY, 'contradicted')
  yield say('what is said of keys, with another kind of entry', { ...honest, keys: [...keys, { entry: honest.entries.at(-1)?.entry as string, proof: honest.entries.at(-1)?.proof as string }] }, LOG_KEY, 'contradicted')
  yield say('what is said of keys, under another checkpoint', { ...honest, keys: signedBy(retired.slice(0, 5), [SECOND]).keys ?? [] }, LOG_KEY, 'contradicted')
  yield say('a rotation that is in no log, said of keys', { ...honest, keys: [keys[0] as (typeof keys)[number], { entry: canonicalText({ v: 1, seq: 2, time: NOW * 1_000 + 2, tenant: 'default', ...rotation(THIEF[1], 2, [FIRST, THIEF]) } as JsonObject), proof: keys[1]?.proof as string }] }, LOG_KEY, 'contradicted')
}

function proofOf(entries: readonly object[], size: number): readonly string[] {
  const log = new TestLog()
  for (const { entry } of signedBy(entries, [SECOND]).entries) log.addText(entry)
  return consistencyProof(size, entries.length, log.subtree, sha256).map(toBase64)
}
