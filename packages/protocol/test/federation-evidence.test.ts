import {
  aboveForeign, type ApprovalEntry, type Artifact, type Body, type Bundle, canonicalize, commitment, digestOf, foreignPerson, type ForeignRef, foreignSubject, type JsonObject, type JsonValue, leafDigest, leafHash, NO_WITNESSES, type NoteKey, parseEntry, type Permit, present, type Report, rootDigest,
  type TakenVoucher, toBase64Url, type Trust, utf8, verifyBundle, verifySealedArtifact, type WitnessPolicy,
} from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { ACTION, crypto, gateState, GATE_KEY, JTI, keyPair, LOG_KEY, NOW, permitBody, SALT, sealedPermit, SESSION, sha256, TestLog } from './support/fixture.ts'
import { AWAY_KEY, awayLog, awayPermit, CNF, shown, type Showing, TWO_OF_THREE, voucher } from './support/foreign.ts'
import { outcome } from './support/outcome.ts'

const OTHER_JTI = toBase64Url(sha256(utf8('another')).subarray(0, 16))
const body = (purpose: Body['purpose'], value: JsonValue): Body => {
  const digest = digestOf(canonicalize(value), sha256)
  return { purpose, salt: SALT, digest, commit: commitment(purpose, SALT, digest, sha256), body: value }
}
interface Taken {
  readonly parent: Permit
  readonly leaf: string
  readonly kept: Body
  readonly ref: ForeignRef
}
/** What home keeps of an entry of away. */
function taken(entry: object, showing: Showing = {}): Taken {
  const { log, index } = awayLog(entry)
  const kept = body('foreign', shown(log, index, showing)['sealed'] as JsonObject)
  return { parent: parseEntry(log.leaves[index] as string) as Permit, leaf: leafDigest(leafHash(utf8(log.leaves[index] as string), sha256)), kept, ref: { iss: AWAY_KEY.name, size: log.leaves.length, root: rootDigest(log.head()), commit: kept.commit } }
}
/** The permit of home below it, as home makes it. */
function child({ parent, leaf, ref }: Taken, change: Partial<Artifact> = {}): Artifact {
  const { challenge } = permitBody()
  return permitBody({
    jti: SESSION, txn: parent.txn, sub: foreignSubject(AWAY_KEY.name, parent.sub, LOG_KEY.name, sha256), cnf: CNF, par: { jti: parent.jti, leaf_hash: leaf, foreign: ref }, depth: parent.depth + 1, above: aboveForeign(parent), challenge: challenge as string,
    action_commit: body('action', ACTION as unknown as JsonValue).commit, ...change,
  })
}
function evidence(entry: object, bodies: readonly Body[], more: readonly object[] = []): Bundle {
  const log = new TestLog()
  for (const one of [entry, ...more]) log.add(one)
  const entries = log.leaves.map((_, i) => ({ ...log.seal(i, ''), bodies: i === 0 ? bodies : [] }))
  return { v: 1, origin: LOG_KEY.name, tenant: 'default', checkpoint: log.note(), checkpoints: [], anchors: [], policies: [], entries }
}
const ours = (key: NoteKey = AWAY_KEY, witnesses: WitnessPolicy | undefined = TWO_OF_THREE): Trust['foreign'] => [{ key, witnesses }]
const verify = (bundle: Bundle, foreign: Trust['foreign'] = ours()): Report => verifyBundle(bundle, { crypto, logKey: LOG_KEY, gateKeys: [], ...(foreign === undefined ? {} : { foreign }) })
const wrong = ({ findings }: Report): string[] => findings.filter(({ verdict }) => verdict === 'contradicted').map(({ claim }) => claim)
const action = body('action', ACTION as unknown as JsonValue)

describe('evidence of a permit below one of another plane', () => {
  const from = taken(awayPermit())
  it('holds, with the key of that plane and without', () => {
    const bundle = evidence(child(from), [action, from.kept])
    expect([wrong(verify(bundle)), wrong(verify(bundle, [])), wrong(verify(bundle, ours(AWAY_KEY, undefined)))]).toEqual([[], [], []])
    expect(verify(bundle).established.map(({ claim }) => claim)).toContain('the other plane permitted what this permit descends from, and no less')
    expect(verify(bundle, []).findings.map(({ verdict, claim }) => `${verdict}: ${claim}`)).toContain('not established: whether `away.test/default` said what 1 entries were taken from: give its key with --foreign-key')
  })

  const THIRD = `sha256:${'3'.repeat(64)}`
  it.each<[string, string, Partial<Artifact>]>([
    ['begins before its parent', 'delegation_widens', { nbf: NOW - 1 }],
    ['ends after its parent', 'delegation_widens', { exp: NOW + 61, iat: NOW + 1 }],
    ['demands less assurance', 'delegation_widens', { assurance: 'A2' }],
    ['may run longer', 'delegation_widens', { constraints: { lease_seconds: 300, max_runtime_seconds: 301, obligations: [] } }],
    ['may run longer without renewal', 'delegation_widens', { constraints: { lease_seconds: 301, max_runtime_seconds: 300, obligations: [] } }],
    ['is for somebody else', 'subject_mismatch', { sub: 'user:1' }],
    ['is bound to another key', 'proof_of_possession_failed', { cnf: toBase64Url(sha256(utf8('another'))) }],
    ['is of another scope', 'delegation_widens', { scope: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'write_file' } }],
    ['names another leaf', 'seal_invalid', { par: { jti: JTI, leaf_hash: THIRD, foreign: from.ref } }],
    ['names another size', 'state_diverged', { par: { jti: JTI, leaf_hash: from.leaf, foreign: { ...from.ref, size: 4 } } }],
    ['names another root', 'state_diverged', { par: { jti: JTI, leaf_hash: from.leaf, foreign: { ...from.ref, root: THIRD } } }],
    ['names another parent', 'parent_unknown', { txn: OTHER_JTI, par: { jti: OTHER_JTI, leaf_hash: from.leaf, foreign: from.ref }, above: [`artifact:${OTHER_JTI}`] }],
    ['is too deep', 'parent_unknown', { depth: 2, above: [`artifact:${JTI}`, `artifact:${OTHER_JTI}`].sort() }],
  ])('that %s is contradicted: %s', (_what, code, change) => {
    expect(wrong(verify(evidence(child(from, change), [from.kept]))).join()).toContain(code)
  })

  it('is contradicted where the parent was not for this plane, could not be carried, or is bound to no key, or was for another action', () => {
    const below = (entry: Artifact, bodies: readonly Body[] = []): string => {
      const away = taken(entry)
      return wrong(verify(evidence(child(away), [away.kept, ...bodies]))).join()
    }
    expect(below(awayPermit({ aud: 'third.test/default' }))).toContain('audience_mismatch')
    expect(below(awayPermit({ use: 'challenge', challenge: SALT }))).toContain('type_mismatch')
    expect(below(awayPermit({ cnf: undefined }))).toContain('proof_of_possession_failed')
    expect(below(awayPermit({ constraints: { lease_seconds: 300, max_runtime_seconds: 300, obligations: ['sandbox'] } }))).toContain('delegation_widens')
    const other = { ...ACTION, arguments: { path: '/srv/other' } } as unknown as JsonValue
    const another = body('action', other)
    expect(wrong(verify(evidence(child(from, { action_commit: another.commit }), [another, from.kept]))).join()).toContain('action_mismatch')
  })

  it('needs the cosignatures that are asked for, from the time at which it was taken', () => {
    const of = (showing: Showing, witnesses: WitnessPolicy | undefined = TWO_OF_THREE): string => {
      const away = taken(awayPermit(), showing)
      return wrong(verify(evidence(child(away), [action, away.kept]), ours(AWAY_KEY, witnesses))).join()
    }
    expect([of({ cosigners: 2 }), of({ cosigners: 0 }, NO_WITNESSES)]).toEqual(['', ''])
    expect(of({ cosigners: 1 })).toContain('witness_quorum_not_met')
    expect(of({ time: NOW - 3_601 })).toContain('witness_quorum_not_met')
    expect(of({ time: NOW + 31 })).toContain('witness_quorum_not_met')
  })

  it('is contradicted under the key of a thief, or with another body in its place', () => {
    expect(wrong(verify(evidence(child(from), [action, from.kept]), ours({ ...AWAY_KEY, publicKey: keyPair('thief').publicKey }))).join()).toContain('signature_invalid')
    const second = taken(awayPermit({ jti: OTHER_JTI, txn: OTHER_JTI }))
    expect(wrong(verify(evidence(child(from), [action, second.kept]))).join()).toContain('the entry holds no such commitment')
    const { body: _, ...bare } = from.kept
    expect(verify(evidence(child(from), [action, bare])).notShown.join()).toContain('what entry 0 was taken from')
  })

  it('of two that name one parent the second is contradicted, with no key at all', () => {
    const twice = evidence(child(from), [action, from.kept], [child(from, { jti: OTHER_JTI, challenge: SALT })])
    expect(wrong(verify(twice, [])).join()).toContain('artifact_spent')
  })
})

describe('evidence of an approval by a person of another plane', () => {
  const word = voucher({ sub: 'user:7' })
  const from = taken(word, { salt: '' })
  const entry = (change: Partial<TakenVoucher> = {}, person = foreignPerson(word.person, AWAY_KEY.name)): ApprovalEntry => {
    const own = present<TakenVoucher>({ leaf_hash: from.leaf, key: word.key, groups: ['secops'], sub: foreignSubject(AWAY_KEY.name, 'user:7', LOG_KEY.name, sha256), exp: word.exp, foreign: from.ref, ...change })
    return { kind: 'approval', hold: SESSION, event: 'approved', person, signature: 'a.b.c', voucher: own }
  }
  const claims = (given: ApprovalEntry): string => wrong(verify(evidence(given, [from.kept]))).join()
  it('holds against the voucher, member by member', () => {
    expect(claims(entry())).toBe('')
    expect(claims(entry({}, foreignPerson('person:x', AWAY_KEY.name)))).toContain('subject_mismatch')
    expect(claims(entry({ key: toBase64Url(keyPair('x').publicKey) }))).toContain('subject_mismatch')
    expect(claims(entry({ sub: 'plane:x' }))).toContain('subject_mismatch')
    expect(claims(entry({ exp: word.exp + 1 }))).toContain('seal_invalid')
    expect(claims(entry({ leaf_hash: `sha256:${'3'.repeat(64)}` }))).toContain('seal_invalid')
    const elsewhere = taken(voucher({ aud: 'third.test/default' }), { salt: '' })
    const { sub: _, ...plain } = entry().voucher as TakenVoucher
    expect(wrong(verify(evidence({ ...entry(), voucher: { ...plain, leaf_hash: elsewhere.leaf, foreign: elsewhere.ref } }, [elsewhere.kept]))).join()).toContain('audience_mismatch')
  })
})

describe('a gate', () => {
  const from = taken(awayPermit())
  const below = child(from)
  const asked = { parent: { jti: from.parent.jti, leaf_hash: from.leaf } }
  const run = (change: Parameters<typeof gateState>[0] = {}, entry: Artifact = below): string =>
    outcome(() => verifySealedArtifact({ ...sealedPermit({ ...entry, action_commit: permitBody().action_commit }).sealed }, gateState({ lineage: asked, subject: { sub: 'user:1', act: 'agent:tester', verified: true, cnf: CNF }, ...change })))
  it('executes what descends from the very artifact that it was shown, for the key that was proved', () => {
    expect(run()).toBe('ok')
    expect(run({ lineage: { parent: undefined } })).toBe('parent_unknown')
    expect(run({ lineage: { parent: { jti: from.parent.jti, leaf_hash: `sha256:${'3'.repeat(64)}` } } })).toBe('parent_unknown')
    expect(run({}, permitBody({ cnf: CNF }))).toBe('parent_unknown')
    expect(run({ subject: { sub: 'user:1', act: 'agent:tester', verified: true } })).toBe('proof_of_possession_failed')
    expect(run({ subject: { sub: 'user:1', act: 'agent:other', verified: true, cnf: CNF } })).toBe('subject_mismatch')
    const { cnf: _, ...unbound } = below
    expect(run({ subject: { sub: 'user:1', act: 'agent:tester', verified: true } }, unbound)).toBe('proof_of_possession_failed')
  })

  it('never executes what was made for another plane', () => {
    const lent = awayPermit({ iss: LOG_KEY.name, aud: GATE_KEY.kid })
    expect(run({ lineage: { parent: undefined } }, { ...lent, use: 'challenge', challenge: permitBody().challenge as string, cnf: CNF })).toBe('environment_unattested')
  })
})
