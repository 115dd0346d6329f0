import {
  ASSURANCE_LEVELS, canonicalText, type DenialCode, type ForeignKind, type ForeignPlane, type ForeignState, foreignPerson, foreignSubject, isBelow, isTighter, type JsonObject, leafDigest, leafHash, localGroups, MAX_FOREIGN_AGE_SECONDS, MAX_VOUCHER_SECONDS, narrowed, NO_WITNESSES, noteKey,
  parseEntry, parseWitnessPolicy, rootDigest, trustList, toBase64Url, utf8, verifyForeignPermit, verifyForeignVoucher, formatCosignerKey, formatVerifierKey, fromHex, isDenialCode, parseAction, parseStrict, parseVerifierKey, type VoucherEntry, Denied,
} from '@sealwrit/protocol'
import * as fc from 'fast-check'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { describe, expect, it } from 'vitest'
import { ACTION, CHALLENGE, keyPair, LOG, NOW, SESSION, sha256, TestLog } from './support/fixture.ts'
import { AWAY, AWAY_KEY, awayLog, awayPermit, foreignState, HOME, shown, type Showing, trusted, voucher, WITNESSES } from './support/foreign.ts'
import { outcome } from './support/outcome.ts'

const take = (change: Parameters<typeof awayPermit>[0] = {}, showing: Showing = {}, at: Partial<ForeignState> = {}, plane: Partial<ForeignPlane> = {}, action = ACTION): DenialCode | 'ok' => {
  const { log, index } = awayLog(awayPermit(change))
  return outcome(() => verifyForeignPermit(shown(log, index, showing), action, foreignState(at, plane)))
}
const vouch = (change: Partial<VoucherEntry> = {}, showing: Showing = {}, at: Partial<ForeignState> = {}, plane: Partial<ForeignPlane> = {}): DenialCode | 'ok' => {
  const { log, index } = awayLog(voucher(change))
  return outcome(() => verifyForeignVoucher(shown(log, index, { salt: '', ...showing }), foreignState(at, plane)))
}

describe('a permit of another plane', () => {
  it('is taken while its plane is trusted, its checkpoint cosigned and fresh, and it is for this plane', () => {
    const { log, index } = awayLog(awayPermit())
    const taken = verifyForeignPermit(shown(log, index), ACTION, foreignState())
    expect(taken.entry).toEqual(parseEntry(log.leaves[index] as string))
    expect(taken.leafHash).toBe(leafDigest(leafHash(utf8(log.leaves[index] as string), sha256)))
    expect(rootDigest(taken.checkpoint)).toBe(rootDigest(log.head()))
    expect(canonicalText(taken.sealed)).toBe(canonicalText(shown(log, index)['sealed'] as JsonObject))
  })

  it.each<[string, DenialCode | 'ok', () => DenialCode | 'ok']>([
    ['of a plane that is not trusted', 'key_unknown', () => take({}, {}, { trusted: new Map() })],
    ['of a plane of which only approvals are taken', 'key_unknown', () => take({}, {}, {}, { accepts: ['approvals'] })],
    ['under a key of the same name that is another', 'signature_invalid', () => take({}, {}, {}, { key: noteKey(AWAY_KEY.name, keyPair('thief').publicKey, sha256) })],
    ['under a checkpoint that nobody cosigned (a stolen log key alone)', 'witness_quorum_not_met', () => take({}, { cosigners: 0 })],
    ['under one cosignature too few', 'witness_quorum_not_met', () => take({}, { cosigners: 1 })],
    ['under cosignatures of the greatest age', 'ok', () => take({ exp: NOW + 60 }, { time: NOW - 20 }, { nowSeconds: NOW + 40 })],
    ['under cosignatures a second older', 'witness_quorum_not_met', () => take({ exp: NOW + 60 }, { time: NOW - 21 }, { nowSeconds: NOW + 40 })],
    ['under cosignatures from the future', 'witness_quorum_not_met', () => take({}, { time: NOW + 60 })],
    ['for another plane', 'audience_mismatch', () => take({ aud: 'third.test/default' })],
    ['for a gate', 'audience_mismatch', () => take({ aud: 'gbCbq_mTsW4thodKbWB0gh_yVL9rt_8OwpZf9KcGNj0' })],
    ['that answers a challenge', 'artifact_spent', () => take({ use: 'challenge', challenge: CHALLENGE })],
    ['at its last second', 'ok', () => take({}, {}, { nowSeconds: NOW + 59 })],
    ['at its end', 'artifact_expired', () => take({}, {}, { nowSeconds: NOW + 60 })],
    ['31 s before it begins', 'artifact_not_yet_valid', () => take({}, { time: NOW - 31 }, { nowSeconds: NOW - 31 })],
    ['that may start for 61 s', 'lifetime_exceeded', () => take({ exp: NOW + 61 })],
    ['that is bound to no key', 'proof_of_possession_failed', () => take({ cnf: undefined })],
    ['that says it is of another tenant', 'tenant_mismatch', () => {
      const log = new TestLog(AWAY_KEY, AWAY.sign)
      log.addText(canonicalText({ v: 1, seq: 0, time: NOW * 1_000, tenant: 'other', ...awayPermit() } as unknown as JsonObject))
      return outcome(() => verifyForeignPermit(shown(log, 0), ACTION, foreignState()))
    }],
    ['that says another plane issued it', 'key_unknown', () => take({ iss: 'third.test/default' })],
    ['for another action', 'action_mismatch', () => take({}, {}, {}, {}, { ...ACTION, arguments: { path: '/srv/q4.txt' } } as typeof ACTION)],
    ['without the salt of its action', 'action_mismatch', () => take({}, { salt: '' })],
    ['with the salt of another', 'action_mismatch', () => take({}, { salt: CHALLENGE })],
    ['of a scope that may not be delegated from there', 'delegation_widens', () => take({}, {}, {}, { scopes: [{ type: 'mcp.tool_call', target: 'mcp://fs', name: 'write_file' }] })],
    ['of a target that may not be delegated from there', 'delegation_widens', () => take({}, {}, {}, { scopes: [{ type: 'mcp.tool_call', target: 'mcp://other' }] })],
    ['of a target of which everything may be delegated', 'ok', () => take({}, {}, {}, { scopes: [{ type: 'mcp.tool_call', target: 'mcp://fs' }] })],
    ['where nothing may be delegated', 'delegation_widens', () => take({}, {}, {}, { scopes: [] })],
  ])('%s: %s', (_what, code, run) => expect(run()).toBe(code))

  it('at the greatest depth has no children', () => {
    const deep = { par: { jti: CHALLENGE, leaf_hash: `sha256:${'f'.repeat(64)}` }, txn: SESSION }
    const above = (depth: number): string[] => [SESSION, CHALLENGE, ...Array.from({ length: depth - 2 }, (_, i) => toBase64Url(sha256(utf8(`ancestor ${i}`)).subarray(0, 16)))].map((jti) => `artifact:${jti}`).sort()
    expect([take({ ...deep, depth: 7, above: above(7) }), take({ ...deep, depth: 8, above: above(8) })]).toEqual(['ok', 'lineage_depth'])
  })

  it('is another entry than it says: refused by kind, index and inclusion', () => {
    const { log, index } = awayLog(awayPermit())
    const at = foreignState()
    const honest = shown(log, index)
    const sealed = honest['sealed'] as { entry: string; proof: string }
    const from = (change: Partial<typeof sealed>): JsonObject => ({ ...honest, sealed: { ...sealed, ...change } })
    expect(outcome(() => verifyForeignPermit(shown(log, 0), ACTION, at))).toBe('type_mismatch')
    expect(outcome(() => verifyForeignVoucher(shown(log, index, { salt: '' }), at))).toBe('type_mismatch')
    expect(outcome(() => verifyForeignPermit(from({ entry: log.leaves[0] as string }), ACTION, at))).toBe('seal_invalid')
    expect(outcome(() => verifyForeignPermit(from({ proof: sealed.proof.replace(/index \d+/, 'index 0') }), ACTION, at))).toBe('seal_invalid')
    expect(outcome(() => verifyForeignPermit({ ...honest, more: 1 }, ACTION, at))).toBe('request_malformed')
    expect(outcome(() => verifyForeignPermit({ consistency: [] }, ACTION, at))).toBe('request_malformed')
    const numbered = new TestLog(AWAY_KEY, AWAY.sign)
    numbered.add(awayPermit(), 5) // says that it stands elsewhere
    expect(outcome(() => verifyForeignPermit(shown(numbered, 0), ACTION, at))).toBe('seal_invalid')
  })

  it('of a log that this plane signed itself, or that only has the name of another, is of nobody', () => {
    const own = new TestLog(AWAY_KEY, LOG.sign)
    const index = own.add(awayPermit())
    expect(outcome(() => verifyForeignPermit(shown(own, index), ACTION, foreignState()))).toBe('signature_invalid')
  })
})

describe('what is known of the log of another plane', () => {
  const { log, index } = awayLog(awayPermit())
  const size = log.leaves.length
  for (let i = 0; i < 6; i++) log.add({ kind: 'deny', code: 'policy_denied', aud: `later ${i}` })
  const knowing = (known: number, showing: Showing, of = log): DenialCode | 'ok' => outcome(() => verifyForeignPermit(shown(log, index, showing), ACTION, foreignState({ newest: (origin) => (origin === AWAY_KEY.name ? of.head(known) : undefined) })))

  it('grows by proof alone: newer with its proof, the same again, never older', () => {
    expect([knowing(size, { size: size + 2, from: size }), knowing(size, { size }), knowing(size + 2, { size }), knowing(size + 2, { size, from: size - 1 })]).toEqual(['ok', 'ok', 'state_diverged', 'state_diverged'])
    expect([knowing(size, { size: size + 2 }), knowing(size, { size: size + 2, from: size - 1 })]).toEqual(['state_diverged', 'state_diverged'])
  })

  it('ATK-062: shows a fork, at the same size and at another', () => {
    const { log: fork } = awayLog({ kind: 'deny', code: 'policy_denied', aud: 'elsewhere' })
    for (let i = 0; i < 6; i++) fork.add({ kind: 'deny', code: 'policy_denied', aud: `other ${i}` })
    expect([knowing(size, { size }, fork), knowing(size, { size: size + 2, from: size }, fork)]).toEqual(['state_diverged', 'state_diverged'])
  })

  it('is asked for by the origin of the log, so that one plane says nothing of another', () => {
    const asked: string[] = []
    verifyForeignPermit(shown(log, index), ACTION, foreignState({ newest: (origin) => void asked.push(origin) as undefined }))
    expect(asked).toEqual([AWAY_KEY.name])
  })
})

describe('a voucher', () => {
  it.each<[string, DenialCode | 'ok', () => DenialCode | 'ok']>([
    ['for this plane, now', 'ok', () => vouch()],
    ['of a plane of which no approvals are taken', 'key_unknown', () => vouch({}, {}, {}, { accepts: ['artifacts'] })],
    ['for another plane', 'audience_mismatch', () => vouch({ aud: 'third.test/default' })],
    ['sealed by nobody but the log key', 'witness_quorum_not_met', () => vouch({}, { cosigners: 0 })],
    ['at its last second', 'ok', () => vouch({}, { time: NOW + 290 }, { nowSeconds: NOW + MAX_VOUCHER_SECONDS - 1 })],
    ['at its end, sealed anew: an old word does not become a new one', 'artifact_expired', () => vouch({}, { time: NOW + 290 }, { nowSeconds: NOW + MAX_VOUCHER_SECONDS })],
    ['that is good for a second too long', 'lifetime_exceeded', () => vouch({ exp: NOW + MAX_VOUCHER_SECONDS + 1 })],
    ['that ends before it begins', 'lifetime_exceeded', () => vouch({ exp: NOW })],
    ['from 31 s ahead', 'artifact_not_yet_valid', () => vouch({}, { time: NOW - 31 }, { nowSeconds: NOW - 31 })],
  ])('%s: %s', (_what, code, run) => expect(run()).toBe(code))

  it('names a person of its own plane with one key, and nothing else', () => {
    const entry = (change: object): string => canonicalText({ v: 1, seq: 0, time: NOW * 1_000, tenant: 'default', ...voucher(), ...change } as unknown as JsonObject)
    expect(parseEntry(entry({ sub: 'user:7' }))).toMatchObject({ kind: 'voucher', sub: 'user:7' })
    for (const change of [{ person: 'person:a@third.test/default' }, { person: 'x'.repeat(32) }, { key: 'AAAA' }, { groups: [] }, { groups: ['a', 'a'] }, { aud: `${'x'.repeat(97)}` }, { more: 1 }]) expect(outcome(() => parseEntry(entry(change))), JSON.stringify(change)).toBe('artifact_malformed')
  })
})

describe('a trust list', () => {
  const refused = (...planes: ForeignPlane[]): string => {
    try {
      trustList(planes, HOME)
      return 'ok'
    } catch (error) {
      return (error as Denied).message
    }
  }
  it('takes only planes whose checkpoints somebody cosigns, each once, and never itself', () => {
    expect(refused(trusted())).toBe('ok')
    expect(refused(trusted({ witnesses: NO_WITNESSES }))).toContain('asks for no cosignature')
    const vkey = formatCosignerKey((WITNESSES[0] as (typeof WITNESSES)[number]).key)
    expect(refused(trusted({ witnesses: parseWitnessPolicy(utf8(`witness w ${vkey}\nquorum none\n`), sha256) }))).toContain('asks for no cosignature')
    expect(refused(trusted({ witnesses: parseWitnessPolicy(utf8(`witness w ${vkey}\nquorum w\n`), sha256) }))).toBe('ok')
    expect(refused(trusted(), trusted())).toContain('twice')
    expect(refused(trusted({ key: noteKey(HOME, LOG.publicKey, sha256) }))).toContain('this plane itself')
    expect(refused(trusted({ key: noteKey('x'.repeat(97), AWAY.publicKey, sha256) }))).toContain('96 characters')
    expect([0, 1, MAX_FOREIGN_AGE_SECONDS, MAX_FOREIGN_AGE_SECONDS + 1, 1.5, Number.NaN].map((maxAgeSeconds) => refused(trusted({ maxAgeSeconds })) === 'ok')).toEqual([false, true, true, false, false, false])
    expect(refused(trusted({ groups: { a: 'Not A Group' } }))).toContain('its groups')
  })

  it('maps groups by name alone, and what it does not name to nothing', () => {
    const plane = trusted({ groups: { a: 'secops', b: 'secops', c: 'ops' } })
    expect([localGroups(plane, ['a', 'b']), localGroups(plane, ['c', 'a', 'z']), localGroups(plane, ['secops', 'constructor', '__proto__'])]).toEqual([['secops'], ['ops', 'secops'], []])
  })
})

describe('what a permit may be under a permit of another plane', () => {
  const bounds = fc.record({
    nbf: fc.integer({ min: NOW, max: NOW + 100 }), exp: fc.integer({ min: NOW, max: NOW + 100 }),
    constraints: fc.record({ lease_seconds: fc.nat(100), max_runtime_seconds: fc.nat(100), obligations: fc.uniqueArray(fc.constantFrom('a', 'b', 'c')) }),
    assurance: fc.constantFrom(...ASSURANCE_LEVELS),
  })
  it('is never wider than its parent, nor than what was wanted here', () => {
    fc.assert(
      fc.property(bounds, bounds, (wanted, parent) => {
        const own = narrowed(wanted, parent)
        for (const other of [wanted, parent]) {
          expect(own.nbf).toBeGreaterThanOrEqual(other.nbf)
          expect(own.exp).toBeLessThanOrEqual(other.exp)
          expect(isTighter(own.constraints, other.constraints)).toBe(true)
          expect(isBelow(own.assurance, other.assurance)).toBe(false)
        }
      }),
    )
  })

  it('ids are those of one plane: the same names of two are two', () => {
    expect(foreignSubject('a/x', 'user:1', HOME, sha256)).toMatch(/^plane:[A-Za-z0-9_-]{22}$/)
    expect(new Set([foreignSubject('a/x', 'user:1', HOME, sha256), foreignSubject('b/x', 'user:1', HOME, sha256), foreignSubject('a/x', 'user:2', HOME, sha256), foreignSubject('a/x', 'user:1', 'c/x', sha256)]).size).toBe(4)
    expect(foreignPerson('person:1', 'a/x')).toBe('person:1@a/x')
  })
})

describe('any change', () => {
  it('of any byte of what is shown is refused', () => {
    const { log, index } = awayLog(awayPermit())
    const text = canonicalText(shown(log, index))
    fc.assert(
      fc.property(fc.nat(text.length - 1), fc.constantFrom('0', 'A', 'z', '/', '"', ' '), (at, by) => {
        if (text[at] === by) return
        const changed = text.slice(0, at) + by + text.slice(at + 1)
        let value: JsonObject
        try {
          value = JSON.parse(changed) as JsonObject
        } catch {
          return
        }
        // What witnesses said beyond the quorum is looked at too, so that nothing in it is free.
        expect(outcome(() => verifyForeignPermit(value, ACTION, foreignState()))).not.toBe('ok')
      }),
      { numRuns: 300 },
    )
  })
})

/**
 * The vectors for readers of other languages. They are made once, from fixed keys, with `SEALWRIT_UPDATE=1`, and committed; the test reads
 * the file, as another implementation would.
 */
const FILE = path.resolve(import.meta.dirname, '../../../spec/vectors/federation.json')
interface Vector {
  readonly name: string
  readonly what: 'permit' | 'voucher'
  readonly shown: JsonObject
  readonly now: number
  /** What is known of the log already; else nothing. */
  readonly known?: { readonly size: number; readonly root: string }
  /** What the trust entry of the file accepts, where that is not both. */
  readonly accepts?: readonly ForeignKind[]
  readonly expect: DenialCode | 'ok'
}
const trustOfFile = { origin: HOME, key: formatVerifierKey(AWAY_KEY), witnesses: `${WITNESSES.map(({ key }, i) => `witness w${i} ${formatCosignerKey(key)}\n`).join('')}group two 2 w0 w1 w2\nquorum two\n`, max_age_seconds: 60, scopes: [{ type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file' }], action: ACTION as unknown as JsonObject }
if (process.env['SEALWRIT_UPDATE'] === '1') {
  const at = (body: object, showing: Showing = {}): JsonObject => {
    const { log, index } = awayLog(body)
    return shown(log, index, showing)
  }
  const vector = (name: string, body: object, expected: Vector['expect'], more: Partial<Vector> = {}, showing: Showing = {}): Vector => ({ name, what: 'permit', shown: at(body, showing), now: NOW + 1, expect: expected, ...more })
  const spoken = (name: string, body: object, expected: Vector['expect'], more: Partial<Vector> = {}, showing: Showing = {}): Vector => vector(name, body, expected, { what: 'voucher', ...more }, { salt: '', ...showing })
  const { log, index } = awayLog(awayPermit())
  const five = { size: 5, root: rootDigest(log.head()) }
  log.add({ kind: 'deny', code: 'policy_denied', aud: 'later' })
  const six = { size: 6, root: rootDigest(log.head()) }
  const vectors: Vector[] = [
    vector('a permit for this plane', awayPermit(), 'ok'),
    vector('of which nothing is accepted', awayPermit(), 'key_unknown', { accepts: ['approvals'] }),
    vector('cosigned by one of three', awayPermit(), 'witness_quorum_not_met', {}, { cosigners: 1 }),
    vector('cosigned 60 s ago', awayPermit({ exp: NOW + 60 }), 'ok', { now: NOW + 30 }, { time: NOW - 30 }),
    vector('cosigned 61 s ago', awayPermit({ exp: NOW + 60 }), 'witness_quorum_not_met', { now: NOW + 30 }, { time: NOW - 31 }),
    vector('for another plane', awayPermit({ aud: 'third.test/default' }), 'audience_mismatch'),
    vector('that answers a challenge', awayPermit({ use: 'challenge', challenge: CHALLENGE }), 'artifact_spent'),
    vector('at its end', awayPermit(), 'artifact_expired', { now: NOW + 60 }),
    vector('bound to no key', awayPermit({ cnf: undefined }), 'proof_of_possession_failed'),
    vector('with another salt', awayPermit(), 'action_mismatch', {}, { salt: CHALLENGE }),
    vector('of another scope', awayPermit({ scope: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'write_file' } }), 'action_mismatch'),
    vector('a voucher in its place', voucher(), 'type_mismatch', {}, { salt: '' }),
    { name: 'newer, with its proof', what: 'permit', shown: shown(log, index, { from: 5 }), now: NOW + 1, known: five, expect: 'ok' },
    { name: 'newer, without it', what: 'permit', shown: shown(log, index), now: NOW + 1, known: five, expect: 'state_diverged' },
    { name: 'the same again', what: 'permit', shown: shown(log, index), now: NOW + 1, known: six, expect: 'ok' },
    { name: 'older', what: 'permit', shown: shown(log, index, { size: 5 }), now: NOW + 1, known: six, expect: 'state_diverged' },
    { name: 'a fork', what: 'permit', shown: shown(log, index), now: NOW + 1, known: { ...six, root: five.root }, expect: 'state_diverged' },
    spoken('a voucher for this plane', voucher(), 'ok'),
    spoken('a voucher for another plane', voucher({ aud: 'third.test/default' }), 'audience_mismatch'),
    spoken('a voucher at its end, sealed anew', voucher(), 'artifact_expired', { now: NOW + 300 }, { time: NOW + 299 }),
    spoken('a voucher for 301 s', voucher({ exp: NOW + 301 }), 'lifetime_exceeded'),
    spoken('a permit in its place', awayPermit(), 'type_mismatch'),
  ]
  fs.writeFileSync(FILE, `${JSON.stringify({ about: 'Made from fixed keys by packages/protocol/test/federation.test.ts. Apache-2.0.', ...trustOfFile, vectors }, null, 1)}\n`)
}

describe('spec/vectors/federation.json', () => {
  const file = parseStrict(fs.readFileSync(FILE), { maxBytes: 1_048_576, maxDepth: 64, maxMembers: 10_000 }) as unknown as typeof trustOfFile & { vectors: Vector[] }
  const plane = { key: parseVerifierKey(file.key, sha256), witnesses: parseWitnessPolicy(utf8(file.witnesses), sha256), maxAgeSeconds: file.max_age_seconds, groups: {}, scopes: file.scopes as ForeignPlane['scopes'] }
  it.each(file.vectors)('$name: $expect', ({ what, shown: given, now, known, accepts = ['artifacts', 'approvals'], expect: wanted }) => {
    if (wanted !== 'ok' && !isDenialCode(wanted)) throw new Error(`unknown expect value: ${String(wanted)}`)
    const newest = known === undefined ? undefined : { size: known.size, root: fromHex(known.root.slice(7)) }
    const at = foreignState({ origin: file.origin, trusted: trustList([{ ...plane, accepts }], file.origin), newest: () => newest, nowSeconds: now })
    expect(outcome(() => (what === 'permit' ? verifyForeignPermit(given, parseAction(file.action), at) : verifyForeignVoucher(given, at)))).toBe(wanted)
  })
})
