import * as fs from 'node:fs'
import * as path from 'node:path'
import {
  type Artifact, assuranceOf, ASSURANCE_LEVELS, type AssuranceLevel, canonicalText, CHECKS, type Checks, type CheckStatus, type DenialCode, Denied, ENVIRONMENT_LEVELS, type EnvironmentLevel, type Grounds, highest, initiatorOf, isBelow,
  isContained, NO_GROUNDS, parseStrict, parseWitnessPolicy, formatCosignerKey, shortfall, utf8, verifySealedArtifact, WitnessQuorum,
} from '@sealwrit/protocol'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { cosigned, WITNESSES } from '../../../test/support/evidence.ts'
import { ENV_COMMIT, gateState, NOW, sealedPermit, sha256 } from './support/fixture.ts'

const ALL: Checks = Object.fromEntries(CHECKS.map((check) => [check, 'pass'])) as never
const A3: Grounds = { ...NO_GROUNDS, initiator: 'os', environment: 'software' }
const A4: Grounds = { ...A3, initiator: 'key', environment: 'signed', isWitnessed: true }
const A5: Grounds = { ...A4, environment: 'hardware', isReplayed: true }

interface Vector {
  readonly name: string
  readonly checks: Checks
  readonly permit: { readonly sub: string; readonly cnf?: string; readonly level: EnvironmentLevel; readonly obligations: readonly string[] }
  readonly containment: readonly string[]
  readonly witnessed: boolean
  readonly replayed: boolean
  readonly expect: AssuranceLevel
}

/** Language-neutral data, made once with `SEALWRIT_UPDATE=1`; both verifiers run it. */
function vectors(): Vector[] {
  const some = (...passed: readonly string[]): Checks => Object.fromEntries(CHECKS.map((check) => [check, passed.includes(check) ? 'pass' : 'missing'])) as never
  const permit = { sub: 'user:1', level: 'software' as EnvironmentLevel, obligations: [] as readonly string[] }
  const strong = { ...permit, cnf: 'x', level: 'signed' as EnvironmentLevel }
  const one = (name: string, expected: AssuranceLevel, change: Partial<Vector> = {}): Vector => ({ name, checks: ALL, permit, containment: [], witnessed: false, replayed: false, ...change, expect: expected })
  return [
    one('no check was made', 'A0', { checks: some() }),
    one('every check failed', 'A0', { checks: Object.fromEntries(CHECKS.map((check) => [check, 'fail'])) as never }),
    one('one check alone, and no seal', 'A1', { checks: some('authorization') }),
    one('everything but the seal', 'A1', { checks: some(...CHECKS.filter((check) => check !== 'cryptography')), permit: strong, witnessed: true }),
    one('the seal alone', 'A2', { checks: some('cryptography') }),
    ...CHECKS.filter((check) => check !== 'cryptography').map((check) => one(`everything but ${check}`, 'A2', { checks: { ...ALL, [check]: 'fail' }, permit: strong, witnessed: true })),
    one('a check that threw', 'A2', { checks: { ...ALL, state: 'error' } }),
    one('nobody asks', 'A2', { permit: { ...permit, sub: 'plane:AAAAAAAAAAAAAAAAAAAAAA' } }),
    one('no environment', 'A2', { permit: { ...permit, level: 'none' } }),
    one('the operating system and software', 'A3'),
    one('somebody of another plane with a key', 'A3', { permit: { ...permit, sub: 'plane:AAAAAAAAAAAAAAAAAAAAAA', cnf: 'x' } }),
    one('the operating system, and everything else', 'A3', { permit: { ...permit, level: 'hardware' }, witnessed: true, replayed: true }),
    one('a key, software, witnessed', 'A3', { permit: { ...strong, level: 'software' }, witnessed: true }),
    one('a key, signed, not witnessed', 'A3', { permit: strong }),
    one('a key, signed, witnessed', 'A4', { permit: strong, witnessed: true }),
    one('an issuer, signed, witnessed', 'A4', { permit: { ...permit, sub: 'oidc:AAAAAAAAAAAAAAAAAAAAAA', level: 'signed' }, witnessed: true }),
    one('a workload, signed, witnessed', 'A4', { permit: { ...permit, sub: 'spiffe:AAAAAAAAAAAAAAAAAAAAAA', level: 'signed' }, witnessed: true }),
    one('contained as demanded', 'A4', { permit: { ...strong, level: 'software', obligations: ['a', 'b'] }, containment: ['b', 'c', 'a'], witnessed: true }),
    one('half contained', 'A3', { permit: { ...strong, level: 'software', obligations: ['a', 'b'] }, containment: ['a'], witnessed: true }),
    one('contained as nobody demanded', 'A3', { permit: { ...strong, level: 'software' }, containment: ['a'], witnessed: true }),
    one('signed, and replayed', 'A4', { permit: strong, witnessed: true, replayed: true }),
    one('hardware, not replayed', 'A4', { permit: { ...strong, level: 'hardware' }, witnessed: true }),
    one('hardware, replayed, not witnessed', 'A3', { permit: { ...strong, level: 'hardware' }, replayed: true }),
    one('hardware, replayed, witnessed', 'A5', { permit: { ...strong, level: 'hardware' }, witnessed: true, replayed: true }),
  ]
}

const FILE = path.resolve(import.meta.dirname, '../../../spec/vectors/assurance.json')
if (process.env['SEALWRIT_UPDATE'] === '1') fs.writeFileSync(FILE, `${JSON.stringify({ about: 'Made by packages/protocol/test/assurance.test.ts. Apache-2.0.', vectors: vectors() }, null, 1)}\n`)

describe('spec/vectors/assurance.json', () => {
  const file = parseStrict(fs.readFileSync(FILE)) as unknown as { vectors: Vector[] }
  it.each(file.vectors)('$name: $expect', ({ checks, permit, containment, witnessed, replayed, expect: expected }) => {
    const grounds: Grounds = { initiator: initiatorOf(permit), environment: permit.level, isContained: isContained(permit.obligations, containment), isWitnessed: witnessed, isReplayed: replayed }
    expect(assuranceOf(checks, grounds)).toBe(expected)
  })
  it('is what is made here', () => expect(canonicalText(file.vectors as never)).toBe(canonicalText(vectors() as never)))
  it('has each level', () => expect([...new Set(file.vectors.map((vector) => vector.expect))].sort()).toEqual([...ASSURANCE_LEVELS]))
})

describe('the assurance level of an execution', () => {
  const WEAKER: Readonly<Record<'initiator' | 'environment', readonly string[]>> = { initiator: ['none', 'os', 'issuer', 'key'], environment: ENVIRONMENT_LEVELS }
  const grounds = fc.record({ initiator: fc.constantFrom(...WEAKER.initiator), environment: fc.constantFrom(...ENVIRONMENT_LEVELS), isContained: fc.boolean(), isWitnessed: fc.boolean(), isReplayed: fc.boolean() }) as fc.Arbitrary<Grounds>
  const checks = fc.record(Object.fromEntries(CHECKS.map((check) => [check, fc.constantFrom<CheckStatus>('pass', 'pass', 'pass', 'fail', 'missing', 'error')]))) as unknown as fc.Arbitrary<Checks>

  it('never rises when a check or a ground is taken away', () => {
    fc.assert(fc.property(checks, grounds, (made, on) => {
      const level = assuranceOf(made, on)
      const less = [
        ...CHECKS.flatMap((check) => (['fail', 'missing', 'error'] as const).map((status) => assuranceOf({ ...made, [check]: status }, on))),
        ...(['isContained', 'isWitnessed', 'isReplayed'] as const).map((name) => assuranceOf(made, { ...on, [name]: false })),
        ...(['initiator', 'environment'] as const).flatMap((name) => WEAKER[name].slice(0, WEAKER[name].indexOf(on[name])).map((weaker) => assuranceOf(made, { ...on, [name]: weaker }))),
        assuranceOf(made, NO_GROUNDS),
      ]
      expect(less.filter((other) => isBelow(level, other))).toEqual([])
    }), { numRuns: 500 })
  })

  it('is reached exactly where nothing falls short of it, once every check passed', () => {
    fc.assert(fc.property(grounds, (on) => {
      const level = assuranceOf(ALL, on)
      for (const demanded of ASSURANCE_LEVELS) expect(shortfall(demanded, on) === undefined).toBe(!isBelow(level, demanded))
    }))
  })

  it.each<[AssuranceLevel, Grounds, DenialCode | undefined]>([
    ['A2', NO_GROUNDS, undefined], ['A3', NO_GROUNDS, 'identity_missing'], ['A3', { ...A3, environment: 'none' }, 'environment_unattested'], ['A3', A3, undefined],
    ['A4', A3, 'identity_missing'], ['A4', { ...A4, environment: 'software' }, 'environment_unattested'], ['A4', { ...A4, environment: 'software', isContained: true }, undefined], ['A4', { ...A4, initiator: 'issuer' }, undefined],
    ['A4', { ...A4, isWitnessed: false }, 'witness_quorum_not_met'], ['A4', A4, undefined], ['A5', A4, 'environment_unattested'], ['A5', { ...A5, isReplayed: false }, 'evidence_unavailable'], ['A5', A5, undefined],
  ])('what falls short of %s is told by its code', (demanded, on, code) => expect(shortfall(demanded, on)).toBe(code))

  it('the highest of several is the one that counts, and never less than every permit demands', () => {
    expect(highest([])).toBe('A3')
    expect(highest(['A2', 'A1'])).toBe('A3')
    expect(highest(['A4', 'A5', 'A3'])).toBe('A5')
  })
})

describe('a verified artifact', () => {
  const QUORUM = new WitnessQuorum(parseWitnessPolicy(utf8(`${WITNESSES.map(({ key }, i) => `witness ${'abc'[i]} ${formatCosignerKey(key)}\n`).join('')}group two 2 a b c\nquorum two\n`), sha256))
  const STRONG: Partial<Artifact> = { cnf: 'x', env: { commit: ENV_COMMIT, level: 'signed' } }

  /** What becomes of a permit at a gate that asks for cosignatures, or for none. */
  function verified(change: Partial<Artifact>, isWitnessed: boolean): { assurance: AssuranceLevel } | { code: DenialCode; checks: Checks | undefined } {
    const { sealed } = sealedPermit(change)
    const proof = isWitnessed ? `${sealed.proof.slice(0, sealed.proof.indexOf('\n\n') + 2)}${cosigned(sealed.proof.slice(sealed.proof.indexOf('\n\n') + 2))}` : sealed.proof
    const subject = { sub: change.sub ?? 'user:1', act: 'agent:tester', verified: true, cnf: change.cnf }
    try {
      const { assurance } = verifySealedArtifact({ ...sealed, proof }, gateState({ subject, nowSeconds: NOW + 1, ...(isWitnessed ? { witnesses: QUORUM } : {}) }))
      return { assurance }
    } catch (error) {
      if (!(error instanceof Denied)) throw error
      return { code: error.code, checks: error.checks }
    }
  }

  it.each<[string, Partial<Artifact>, boolean, AssuranceLevel]>([
    ['the operating system and software', {}, false, 'A3'], ['a key, signed, witnessed', STRONG, true, 'A4'], ['a key, signed, no witness', STRONG, false, 'A3'],
    ['a key, software, witnessed', { ...STRONG, env: { commit: ENV_COMMIT, level: 'software' } }, true, 'A3'], ['the operating system, signed, witnessed', { env: STRONG.env as Artifact['env'] }, true, 'A3'],
    ['an issuer, signed, witnessed', { sub: 'oidc:AAAAAAAAAAAAAAAAAAAAAA', env: STRONG.env as Artifact['env'] }, true, 'A4'], ['a demand that is lower', { ...STRONG, assurance: 'A0' }, true, 'A4'],
    ['hardware, which nobody replayed', { ...STRONG, env: { commit: ENV_COMMIT, level: 'hardware' } }, true, 'A4'],
  ])('of %s reaches what its checks and grounds give', (_what, change, isWitnessed, expected) => expect(verified(change, isWitnessed)).toEqual({ assurance: expected }))

  it.each<[string, Partial<Artifact>, boolean, DenialCode, string]>([
    ['the operating system alone names who asks', { env: STRONG.env as Artifact['env'] }, true, 'identity_missing', 'identity'],
    ['the environment is software', { ...STRONG, env: { commit: ENV_COMMIT, level: 'software' } }, true, 'environment_unattested', 'environment'],
    ['no witness is asked', STRONG, false, 'witness_quorum_not_met', 'cryptography'],
  ])('that demands A4 is refused where %s, and the check that falls short says so', (_what, change, isWitnessed, code, check) => {
    const demanding = { ...change, assurance: 'A4' as const }
    const refused = verified(demanding, isWitnessed)
    expect(refused).toMatchObject({ code, checks: { ...ALL, [check]: 'fail' } })
    expect(assuranceOf((refused as { checks: Checks }).checks, A4)).toBe(check === 'cryptography' ? 'A1' : 'A2')
    expect(verified({ ...STRONG, assurance: 'A4' }, true)).toEqual({ assurance: 'A4' })
  })

  it('that demands A5 is refused, since nobody replays what has not begun', () => {
    expect(verified({ ...STRONG, assurance: 'A5' }, true)).toMatchObject({ code: 'environment_unattested' })
    expect(verified({ ...STRONG, assurance: 'A5', env: { commit: ENV_COMMIT, level: 'hardware' } }, true)).toMatchObject({ code: 'evidence_unavailable' })
  })
})

