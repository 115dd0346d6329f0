import { type Artifact, type Check, CHECKS, type Checks, cosignedMessage, cosignerKey, type DenialCode, Denied, entryText, formatCosignature, formatCosignerKey, parseWitnessPolicy, WitnessQuorum, type GateState, type JsonObject, type JsonValue, parseEntry, parseStrict, utf8, verifySealedArtifact } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { GATE, gateState, JTI, keyPair, LOG_KEY, NOW, permitBody, SALT, sealedPermit, sha256, TestLog } from './support/fixture.ts'
import { noteKey } from '@sealwrit/protocol'
import { outcome } from './support/outcome.ts'

const parsed = (sealed: { entry: string; proof: string }): JsonValue => parseStrict(utf8(JSON.stringify(sealed)))
const verify = (sealed: { entry: string; proof: string }, change: Partial<GateState> = {}): DenialCode | 'ok' => outcome(() => verifySealedArtifact(parsed(sealed), gateState(change)))

describe('a sealed artifact', () => {
  it('passes all eight checks as it was issued', () => {
    const { sealed } = sealedPermit()
    const artifact = verifySealedArtifact(parsed(sealed), gateState())
    expect(Object.values(artifact.checks)).toEqual(Array.from({ length: 8 }, () => 'pass'))
    expect(Object.isFrozen(artifact)).toBe(true)
  })

  it.each([undefined, null, ''])('ATK-001: %s is artifact_missing', (absent) => {
    expect(outcome(() => verifySealedArtifact(absent, gateState()))).toBe('artifact_missing')
  })
  it.each<JsonValue>([[], 0, true, 'x', {}, { entry: '', proof: '' }, { entry: 'x' }])('ATK-001: %j is artifact_malformed', (shape) => {
    expect(outcome(() => verifySealedArtifact(shape, gateState()))).toBe('artifact_malformed')
  })

  it('ATK-002, ATK-003: holds its start window to the second, and 30 s of skew before it', () => {
    const { sealed } = sealedPermit()
    const at = (nowSeconds: number): string => verify(sealed, { nowSeconds })
    expect([NOW - 31, NOW - 30, NOW, NOW + 59, NOW + 60, NOW + 61].map(at)).toEqual(['artifact_not_yet_valid', 'ok', 'ok', 'ok', 'artifact_expired', 'artifact_expired'])
  })
  it.each([{ exp: NOW + 61 }, { exp: NOW }, { nbf: NOW + 100, exp: NOW + 120 }])('ATK-003: %j is lifetime_exceeded', (change) => {
    expect(verify(sealedPermit(change).sealed)).toBe('lifetime_exceeded')
  })
  it.each(['"1767225660"', '1767225660.5', '-1', '1e999', '1767225660000000000', 'null', '[1767225660]'])('ATK-002: exp as %s is artifact_malformed', (form) => {
    const log = new TestLog()
    const { log: honest } = sealedPermit()
    for (const leaf of honest.leaves) log.addText(leaf.replace(`"exp":${NOW + 60}`, `"exp":${form}`))
    expect(verify(log.seal(2))).toBe('artifact_malformed')
  })

  it('ATK-010: every other kind of entry is type_mismatch', () => {
    const { log } = sealedPermit()
    expect([0, 1, 3, 4].map((index) => verify(log.seal(index)))).toEqual(Array.from({ length: 4 }, () => 'type_mismatch'))
  })

  it('ATK-014: is refused at another gate, tenant, log or environment', () => {
    const { sealed } = sealedPermit()
    expect(verify(sealed, { gateId: 'another' })).toBe('audience_mismatch')
    expect(verify(sealed, { tenant: 'other' })).toBe('tenant_mismatch')
    expect(verify(sealed, { logKey: noteKey('other.test/default', LOG_KEY.publicKey, sha256) })).toBe('key_unknown')
    expect(verify(sealed, { measureEnvironment: () => `sha256:${'0'.repeat(64)}` })).toBe('environment_mismatch')
    expect(verify(sealedPermit({ env: { commit: `sha256:${'e'.repeat(64)}`, level: 'none' } }).sealed)).toBe('environment_unattested')
  })

  it('ATK-062: sealed by the right key off the log, it does not extend the checkpoint that the gate knows', () => {
    const { log, sealed } = sealedPermit()
    const fork = new TestLog()
    for (const leaf of log.leaves.slice(0, 2)) fork.addText(leaf)
    fork.add(permitBody({ risk: 'critical' }))
    for (const leaf of log.leaves.slice(3)) fork.addText(leaf)
    expect(verify(fork.seal(2), { newest: log.head() })).toBe('state_diverged')
    expect(verify(sealed, { newest: log.head() })).toBe('ok')
    expect(verify(sealed, { newest: { ...log.head(), size: log.leaves.length + 1 } })).toBe('state_diverged')
  })

  it('ATK-015: refuses with each member of the permit missing and with one more at each level', () => {
    const { log } = sealedPermit()
    const original = JSON.parse(log.leaves[2] as string) as Record<string, JsonValue>
    const reseal = (entry: unknown): string => {
      const other = new TestLog()
      log.leaves.forEach((leaf, i) => other.addText(i === 2 ? entryText(entry as never) : leaf))
      return verify(other.seal(2))
    }
    expect(reseal(original)).toBe('ok')
    for (const member of Object.keys(original)) {
      const { [member]: _, ...rest } = original
      expect(reseal(rest), `without ${member}`).not.toBe('ok')
    }
    expect(reseal({ ...original, extra: 1 })).toBe('artifact_malformed')
    for (const group of ['scope', 'act', 'env', 'policy', 'constraints']) {
      const inner = original[group] as JsonObject
      expect(reseal({ ...original, [group]: { ...inner, extra: 1 } }), `${group}.extra`).toBe('artifact_malformed')
      for (const member of Object.keys(inner)) {
        if (member === 'inputs_commit') continue // optional in the format
        const { [member]: _, ...rest } = inner
        expect(reseal({ ...original, [group]: rest }), `${group} without ${member}`).toBe('artifact_malformed')
      }
    }
    expect(verify(sealedPermit({ constraints: { lease_seconds: 1, max_runtime_seconds: 1, obligations: ['sandbox net:none'] } }).sealed)).toBe('obligation_unknown')
  })

  it('refuses an entry that is not canonical, whatever its proof says', () => {
    const { log } = sealedPermit()
    const other = new TestLog()
    log.leaves.forEach((leaf, i) => other.addText(i === 2 ? ` ${leaf}` : leaf))
    expect(verify(other.seal(2))).toBe('artifact_malformed')
    expect(outcome(() => parseEntry(` ${log.leaves[2] as string}`))).toBe('artifact_malformed')
  })

  it('ATK-012, ATK-013: refuses other spellings of its proof, doubled notes and trailing text', () => {
    const { sealed } = sealedPermit()
    const { entry, proof } = sealed
    const lines = proof.split('\n')
    const extra = lines[1] as string
    const shapes: [string, string][] = [
      [proof.replace('\n', '\r\n'), 'artifact_malformed'],
      [`${proof}x`, 'artifact_malformed'],
      [`${proof}\n`, 'artifact_malformed'],
      [proof.replace(extra, `${extra}\n${extra}`), 'artifact_malformed'],
      [proof.replace(/index 2/, 'index 02'), 'artifact_malformed'],
      [proof.replace(/index 2/, 'index +2'), 'artifact_malformed'],
      [proof.replace(extra, extra.replace('==', '')), 'encoding_invalid'],
      [proof.replace(extra, 'extra AAECAwQFBgcICQoLDA0ODx=='), 'encoding_invalid'],
      [proof.replace(/\n\u2014 .*/, '\n'), 'signature_invalid'],
      [`${proof}${lines.at(-2) as string}\n`, 'artifact_malformed'],
    ]
    for (const [changed, code] of shapes) expect([code, 'encoding_invalid', 'artifact_malformed', 'signature_invalid'], changed).toContain(verify({ entry, proof: changed }))
    for (const [changed] of shapes) expect(verify({ entry, proof: changed })).not.toBe('ok')
    expect(verify({ entry, proof: `${proof}\u2014 witness.test AAAAAAAA\n` }), 'an unknown signature is ignored').toBe('ok')
  })

  it('ATK-007: refuses keys and origins that are paths, SQL, URLs or names of prototypes', () => {
    for (const name of ['../../etc/passwd', "'; DROP TABLE x;--", 'https://evil.test/x', '__proto__', 'constructor', `x${'y'.repeat(200)}`]) {
      const key = noteKey(name.replaceAll(/[\s+]/g, '_'), keyPair('evil').publicKey, sha256)
      const { log } = sealedPermit({}, new TestLog(key, keyPair('evil').sign))
      expect(verify(log.seal(2))).toBe('key_unknown')
    }
  })
})

describe('the eight checks: each is alone enough to deny', () => {
  const boom = (): never => {
    throw new Error('the check itself broke')
  }
  const governance = gateState().governance as NonNullable<GateState['governance']>
  const rows: readonly { check: Check; fail: [Partial<GateState>, DenialCode]; missing: [Partial<GateState>, DenialCode]; error: Partial<GateState> }[] = [
    { check: 'authorization', fail: [{ gateId: 'other' }, 'audience_mismatch'], missing: [{}, 'artifact_missing'], error: { takeChallenge: boom } },
    { check: 'identity', fail: [{ subject: { sub: 'user:2', act: 'agent:tester', verified: true } }, 'subject_mismatch'], missing: [{ subject: undefined }, 'identity_missing'], error: { get subject() { return boom() } } },
    { check: 'policy', fail: [{ governance: { ...governance, epochFloor: 4 } }, 'policy_rollback'], missing: [{ governance: { ...governance, epochFloor: undefined } }, 'policy_missing'], error: { governance: { ...governance, get epochFloor() { return boom() } } } },
    { check: 'environment', fail: [{ measureEnvironment: () => `sha256:${'1'.repeat(64)}` }, 'environment_mismatch'], missing: [{ measureEnvironment: undefined }, 'environment_unattested'], error: { measureEnvironment: boom } },
    { check: 'cryptography', fail: [{ logKey: noteKey(LOG_KEY.name, GATE.publicKey, sha256) }, 'signature_invalid'], missing: [{ logKey: undefined }, 'key_unknown'], error: { crypto: { sha256, verifyEd25519: boom } } },
    { check: 'state', fail: [{ governance: { ...governance, isRevoked: () => true } }, 'revoked'], missing: [{ governance: { ...governance, isFresh: () => false } }, 'state_stale'], error: { governance: { ...governance, isKilled: boom } } },
    { check: 'conditions', fail: [{ action: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { path: '/etc/passwd' }, tool_digest: `sha256:${'a'.repeat(64)}` } }, 'action_mismatch'], missing: [{ action: undefined }, 'request_malformed'], error: { get action() { return boom() } } },
  ]
  const denied = (change: Partial<GateState>, sealed: JsonValue | undefined = parsed(sealedPermit().sealed)): { code: DenialCode; checks: Checks } => {
    const state = gateState()
    const view = Object.create(state, Object.getOwnPropertyDescriptors(change)) as GateState
    try {
      verifySealedArtifact(sealed, view)
    } catch (error) {
      if (error instanceof Denied && error.checks !== undefined) return { code: error.code, checks: error.checks }
      throw error
    }
    throw new Error('it passed')
  }

  it.each(rows)('$check: fail', ({ check, fail: [change, code] }) => {
    const result = denied(change)
    expect([result.code, result.checks[check]]).toEqual([code, 'fail'])
  })
  it.each(rows)('$check: input missing', ({ check, missing: [change, code] }) => {
    const result = check === 'authorization' ? denied({}, null) : denied(change)
    expect(result.code).toBe(code)
    expect(['missing', 'fail']).toContain(result.checks[check])
    expect(result.checks[check]).not.toBe('pass')
  })
  it.each(rows)('$check: the check throws', ({ check, error }) => {
    const result = denied(error)
    expect([result.code, result.checks[check]]).toEqual(['unavailable', 'error'])
  })
  describe('lineage', () => {
    const PARENT = { jti: 'MDEyMzQ1Njc4OTo7PD0-Pw', leaf_hash: `sha256:${'9'.repeat(64)}` }
    const child = { depth: 1, txn: PARENT.jti, par: PARENT, above: [`artifact:${PARENT.jti}`] }
    const under = (change: Partial<GateState>, artifact: Partial<Artifact> = child): unknown => outcome(() => verifySealedArtifact(parsed(sealedPermit(artifact).sealed), gateState(change)))
    const other = { ...PARENT, leaf_hash: `sha256:${'8'.repeat(64)}` }
    it.each<[string, Partial<GateState>, Partial<Artifact>, string]>([
      ['a child of what was asked for', { lineage: { parent: PARENT } }, child, 'ok'],
      ['a child where a root was asked for', { lineage: { parent: undefined } }, child, 'parent_unknown'],
      ['a root where a child was asked for', { lineage: { parent: PARENT } }, {}, 'parent_unknown'],
      ['a child of another leaf', { lineage: { parent: other } }, child, 'parent_unknown'],
      ['a child of another permit', { lineage: { parent: { ...PARENT, jti: SALT } } }, child, 'parent_unknown'],
      ['whatever it was issued below, where it is carried', { lineage: 'as carried' }, child, 'ok'],
      ['a child whose ancestor was revoked', { lineage: { parent: PARENT }, governance: { ...governance, isAncestorRevoked: () => true } }, child, 'ancestor_revoked'],
      ['a root that has no ancestors', { governance: { ...governance, isAncestorRevoked: () => true } }, {}, 'ok'],
      ['nothing known of what was asked for', { lineage: undefined }, {}, 'parent_unknown'],
    ])('%s', (_title, change, artifact, expected) => expect(under(change, artifact)).toBe(expected))
    it.each<[string, Partial<Artifact>, string]>([
      ['no ancestors', { ...child, above: [] }, 'artifact_malformed'],
      ['its parent nowhere above it', { ...child, above: [`artifact:${SALT}`] }, 'artifact_malformed'],
      ['one ancestor too many', { ...child, above: [`artifact:${SALT}`, `artifact:${PARENT.jti}`] }, 'artifact_malformed'],
      ['another root than its parent', { ...child, txn: SALT }, 'artifact_malformed'],
      ['no parent', { depth: 1, txn: PARENT.jti, above: child.above }, 'artifact_malformed'],
      ['a depth of none', { ...child, depth: 0 }, 'artifact_malformed'],
      ['itself for a parent', { depth: 1, txn: PARENT.jti, par: { ...PARENT, jti: JTI }, above: child.above }, 'lineage_cycle'],
      ['a depth of nine', { ...child, depth: 9 }, 'artifact_malformed'],
    ])('%s is no place in a lineage', (_title, artifact, expected) => expect(under({ lineage: 'as carried' }, artifact)).toBe(expected))
  })
  it('never calls a check good that was not reached', () => {
    const result = denied({ gateId: 'other' })
    expect(CHECKS.filter((check) => result.checks[check] === 'pass')).toEqual(['cryptography'])
  })
  it('a gate without a witness policy misses an input, which is not a `quorum none`', () => {
    const result = denied({ witnesses: undefined })
    expect([result.code, result.checks.cryptography]).toEqual(['witness_quorum_not_met', 'missing'])
  })
  it('asks for the quorum before it takes the checkpoint, and after the log’s own signature', () => {
    const pair = keyPair('witness')
    const policy = parseWitnessPolicy(utf8(`witness w ${formatCosignerKey(cosignerKey('w.test/w', pair.publicKey, sha256))}\nquorum w\n`), sha256)
    const taken: number[] = []
    const change = { witnesses: new WitnessQuorum(policy), accept: () => void taken.push(1) }
    expect(denied(change).code).toBe('witness_quorum_not_met')
    expect(denied({ ...change, logKey: noteKey(LOG_KEY.name, GATE.publicKey, sha256) }).code).toBe('signature_invalid')
    expect(taken).toEqual([])
    const { sealed, log } = sealedPermit()
    const text = log.note().split('\n\u2014')[0] as string
    const line = formatCosignature(cosignerKey('w.test/w', pair.publicKey, sha256), NOW, pair.sign(cosignedMessage(text, NOW)))
    expect(verify({ ...sealed, proof: sealed.proof + line }, change)).toBe('ok')
    expect(verify({ ...sealed, proof: sealed.proof + line }, { ...change, nowSeconds: NOW + 59, witnesses: new WitnessQuorum(policy, 58) })).toBe('witness_quorum_not_met')
    expect(taken).toEqual([1])
  })
  it('kill and revocation deny with their own codes', () => {
    expect(denied({ governance: { ...governance, isKilled: () => true } }).code).toBe('killed')
  })
})

