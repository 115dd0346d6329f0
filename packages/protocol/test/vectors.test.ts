import * as fs from 'node:fs'
import * as path from 'node:path'
import { type Action, type Check, CHECKS, type DenialCode, Denied, isDenialCode, type JsonObject, type JsonValue, noteKey, parseStrict, parseVerifierKey, formatVerifierKey, toBase64Url, fromBase64Url, utf8, verifyReceipt, verifySealedArtifact, signingKey } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { ACTION, CHALLENGE, crypto, ENV_COMMIT, GATE, GATE_KEY, gateState, keyPair, LOG, LOG_KEY, NOW, permitBody, receiptClaims, receiptToken, sealedPermit, sha256, TestLog } from './support/fixture.ts'
import { outcome } from './support/outcome.ts'

/**
 * The vectors for readers of other languages: `spec/vectors/artifact.json` and `receipt.json`. They are made once, from
 * fixed keys, with `SEALWRIT_UPDATE=1`, and committed; this test reads the files, as another implementation would.
 */
const FOLDER = path.resolve(import.meta.dirname, '../../../spec/vectors')

interface ArtifactVector {
  readonly name: string
  readonly sealed: JsonValue
  /** What differs from the gate of the file. */
  readonly gate?: { readonly now?: number; readonly id?: string; readonly environment?: string; readonly action?: JsonObject; readonly challenge?: string; readonly epoch_floor?: number; readonly subject?: string }
  readonly expect: DenialCode | 'ok'
}
interface ReceiptVector {
  readonly name: string
  readonly token: string
  readonly expect: DenialCode | 'ok'
}

function artifactVectors(): ArtifactVector[] {
  const { sealed, log } = sealedPermit()
  const changed = (change: Parameters<typeof sealedPermit>[0]): JsonValue => sealedPermit(change).sealed
  const text = (edit: (leaf: string) => string): JsonValue => {
    const other = new TestLog()
    log.leaves.forEach((leaf, i) => other.addText(i === 2 ? edit(leaf) : leaf))
    return other.seal(2)
  }
  const stranger = new TestLog(LOG_KEY, keyPair('stranger').sign)
  for (const leaf of log.leaves) stranger.addText(leaf)
  return [
    { name: 'valid', sealed, expect: 'ok' },
    { name: 'absent', sealed: null, expect: 'artifact_missing' },
    { name: 'not an object', sealed: [], expect: 'artifact_malformed' },
    { name: 'a second spelling of the proof', sealed: { ...sealed, proof: sealed.proof.replace('index 2', 'index 02') }, expect: 'artifact_malformed' },
    { name: 'one bit of the entry', sealed: { ...sealed, entry: sealed.entry.replace('"risk":"low"', '"risk":"how"') }, expect: 'seal_invalid' },
    { name: 'proof of another index', sealed: { ...sealed, proof: log.seal(3).proof }, expect: 'seal_invalid' },
    { name: 'signed by a stranger under the log name', sealed: stranger.seal(2), expect: 'signature_invalid' },
    { name: 'another kind of entry', sealed: log.seal(1), expect: 'type_mismatch' },
    { name: 'another version', sealed: text((leaf) => leaf.replace('"v":1}', '"v":2}')), expect: 'type_mismatch' },
    { name: 'an unknown member', sealed: text((leaf) => leaf.replace('"v":1}', '"v":1,"x":1}')), expect: 'artifact_malformed' },
    { name: 'a missing member', sealed: text((leaf) => leaf.replace('"risk":"low",', '')), expect: 'artifact_malformed' },
    { name: 'a member twice', sealed: text((leaf) => leaf.replace('"risk":"low"', '"risk":"low","risk":"low"')), expect: 'artifact_malformed' },
    { name: 'not canonical', sealed: text((leaf) => leaf.replace('"risk":"low"', '"risk": "low"')), expect: 'artifact_malformed' },
    { name: 'another gate', sealed, gate: { id: 'another' }, expect: 'audience_mismatch' },
    { name: 'another challenge', sealed, gate: { challenge: 'AAAAAAAAAAAAAAAAAAAAAA' }, expect: 'challenge_mismatch' },
    { name: 'a second before it ends', sealed, gate: { now: NOW + 59 }, expect: 'ok' },
    { name: 'the second it ends', sealed, gate: { now: NOW + 60 }, expect: 'artifact_expired' },
    { name: '30 s of skew', sealed, gate: { now: NOW - 30 }, expect: 'ok' },
    { name: '31 s early', sealed, gate: { now: NOW - 31 }, expect: 'artifact_not_yet_valid' },
    { name: 'a start window of 61 s', sealed: changed({ exp: NOW + 61 }), expect: 'lifetime_exceeded' },
    { name: 'another subject', sealed, gate: { subject: 'user:2' }, expect: 'subject_mismatch' },
    { name: 'an older policy epoch', sealed, gate: { epoch_floor: 4 }, expect: 'policy_rollback' },
    { name: 'a parent that is not known', sealed: changed({ depth: 1, txn: 'AAAAAAAAAAAAAAAAAAAAAA', par: { jti: 'AAAAAAAAAAAAAAAAAAAAAA', leaf_hash: ENV_COMMIT }, above: ['artifact:AAAAAAAAAAAAAAAAAAAAAA'] }), expect: 'parent_unknown' },
    { name: 'another environment', sealed, gate: { environment: `sha256:${'0'.repeat(64)}` }, expect: 'environment_mismatch' },
    { name: 'an environment that nobody measured', sealed: changed({ env: { commit: ENV_COMMIT, level: 'none' } }), expect: 'environment_unattested' },
    { name: 'another action', sealed, gate: { action: { ...ACTION, arguments: { path: '/etc/shadow' } } as unknown as JsonObject }, expect: 'action_mismatch' },
    { name: 'another salt', sealed: log.seal(2, 'AAAAAAAAAAAAAAAAAAAAAA'), expect: 'action_mismatch' },
    { name: 'no salt', sealed: { entry: sealed.entry, proof: sealed.proof.replace(/extra .*\n/, '') }, expect: 'action_mismatch' },
    { name: 'an obligation nobody knows', sealed: changed({ constraints: { lease_seconds: 300, max_runtime_seconds: 300, obligations: ['sandbox'] } }), expect: 'obligation_unknown' },
  ]
}

function receiptVectors(): ReceiptVector[] {
  const token = receiptToken()
  const [head, payload, signature] = token.split('.') as [string, string, string]
  const header = (value: object): string => toBase64Url(utf8(JSON.stringify(value)))
  return [
    { name: 'valid', token, expect: 'ok' },
    { name: 'empty', token: '', expect: 'artifact_missing' },
    { name: 'two parts', token: `${head}.${payload}`, expect: 'artifact_malformed' },
    { name: 'alg none, no signature', token: `${header({ alg: 'none', kid: GATE_KEY.kid, typ: 'execution-receipt+jwt' })}.${payload}.`, expect: 'artifact_malformed' },
    { name: 'alg EdDSA', token: `${header({ alg: 'EdDSA', kid: GATE_KEY.kid, typ: 'execution-receipt+jwt' })}.${payload}.${signature}`, expect: 'artifact_malformed' },
    { name: 'members of the header in another order', token: `${header({ kid: GATE_KEY.kid, alg: 'Ed25519', typ: 'execution-receipt+jwt' })}.${payload}.${signature}`, expect: 'artifact_malformed' },
    { name: 'another type', token: receiptToken(receiptClaims(), 'execution-denial+jwt'), expect: 'type_mismatch' },
    { name: 'padded', token: `${token}==`, expect: 'encoding_invalid' },
    { name: 'another payload', token: `${head}.${toBase64Url(utf8('{}'))}.${signature}`, expect: 'signature_invalid' },
    { name: 'no signature', token: `${head}.${payload}.`, expect: 'signature_invalid' },
    { name: 'started, but not_started', token: receiptToken(receiptClaims({ outcome: 'not_started' })), expect: 'artifact_malformed' },
    { name: 'an outcome nobody knows', token: receiptToken({ ...receiptClaims(), outcome: 'fine' }), expect: 'artifact_malformed' },
    { name: 'an unknown member', token: receiptToken({ ...receiptClaims(), note: 'x' }), expect: 'artifact_malformed' },
  ]
}

if (process.env['SEALWRIT_UPDATE'] === '1') {
  const about = 'Made from fixed keys by packages/protocol/test/vectors.test.ts. Apache-2.0.'
  const gate = { now: NOW + 1, id: GATE_KEY.kid, tenant: 'default', log_key: formatVerifierKey(LOG_KEY), challenge: CHALLENGE, epoch_floor: 3, subject: 'user:1', agent: 'agent:tester', agent_verified: true, environment: ENV_COMMIT, action: ACTION }
  fs.writeFileSync(path.join(FOLDER, 'artifact.json'), `${JSON.stringify({ about, gate, vectors: artifactVectors() }, null, 1)}\n`)
  fs.writeFileSync(path.join(FOLDER, 'receipt.json'), `${JSON.stringify({ about, key: toBase64Url(GATE.publicKey), vectors: receiptVectors() }, null, 1)}\n`)
}

const read = (name: string): JsonObject => parseStrict(fs.readFileSync(path.join(FOLDER, name))) as JsonObject
/** An `expect` that nobody knows is an error of the file, never a pass. */
const expectation = (value: unknown): string => {
  if (value === 'ok' || isDenialCode(value)) return value
  throw new Error(`unknown expect value: ${String(value)}`)
}
describe('spec/vectors/artifact.json', () => {
  const file = read('artifact.json') as unknown as { gate: Record<string, string>; vectors: ArtifactVector[] }
  const { gate } = file
  it('is about the log key that it names', () => expect(parseVerifierKey(gate['log_key'] ?? '', sha256)).toEqual(noteKey(LOG_KEY.name, new Uint8Array(LOG.publicKey), sha256)))
  it('shows a denial of every check that can fail here', () => {
    const checks = new Set<Check>(file.vectors.flatMap((v) => (v.expect === 'ok' ? [] : [new Denied(v.expect).check])))
    expect(CHECKS.filter((check) => !checks.has(check))).toEqual(['state'])
  })
  it.each(file.vectors.map((vector) => ({ vector, title: `${vector.name}: ${vector.expect}` })))('$title', ({ vector }) => {
    const at: Record<string, unknown> = { ...gate, ...vector.gate }
    const state = gateState({
      logKey: parseVerifierKey(at['log_key'] as string, sha256),
      nowSeconds: at['now'] as number,
      gateId: at['id'] as string,
      tenant: at['tenant'] as string,
      takeChallenge: (shown) => shown === at['challenge'],
      governance: { epochFloor: at['epoch_floor'] as number, isFresh: () => true, isRevoked: () => false, isKilled: () => false, isAncestorRevoked: () => false },
      subject: { sub: at['subject'] as string, act: at['agent'] as string, verified: at['agent_verified'] === true },
      measureEnvironment: () => at['environment'] as string,
      action: at['action'] as Action,
    })
    expect(outcome(() => verifySealedArtifact(vector.sealed, state))).toBe(expectation(vector.expect))
  })
})

describe('spec/vectors/receipt.json', () => {
  const file = read('receipt.json') as unknown as { key: string; vectors: ReceiptVector[] }
  const key = signingKey(fromBase64Url(file.key), sha256)
  it.each(file.vectors)('$name: $expect', (vector) => {
    expect(outcome(() => verifyReceipt(vector.token, key, crypto))).toBe(expectation(vector.expect))
  })
  it('does not pass what it does not know', () => expect(() => expectation('fine')).toThrow('unknown expect value'))
  it('was made from the permit of the fixture', () => expect(permitBody().jti).toBe('ICEiIyQlJicoKSorLC0uLw'))
})
