import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { decide, DecisionReplay, nodeClock, nodeCryptography, parseCases, PolicyEngine, runCases, type WitnessOptions } from '@sealwrit/control-plane'
import { type AuthorizeReply, cosignedMessage, cosignerKey, type DenyEntry, formatBundle, formatCosignature, formatCosignerKey, fromBase64Url, type JsonObject, parseBundle, parseEntry, parseNote, parseWitnessPolicy, type Permit, utf8, verifyBundle } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { TestAgent } from './support/identity.ts'
import { environmentDocument, openRigs, outcome, PERMIT_ALL, policySet, type Rig, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const KEY = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), sha256(utf8('w'))]), format: 'der', type: 'pkcs8' })
const WITNESS = cosignerKey('w.test/w', fromBase64Url(createPublicKey(KEY).export({ format: 'jwk' }).x as string), sha256)
const POLICY = parseWitnessPolicy(utf8(`witness w ${formatCosignerKey(WITNESS)} http://w\nquorum w\n`), sha256)
/** A witness that cosigns whatever it is shown. */
const witnessedBy = (rig: Rig): WitnessOptions => ({
  policy: POLICY,
  maxAgeSeconds: 60,
  post: async (_url, body) => {
    const time = Math.floor(rig.clock.wallMs() / 1_000)
    const { text } = parseNote(Buffer.from(body).toString().slice(Buffer.from(body).toString().indexOf('\n\n') + 2))
    return { status: 200, type: 'text/plain', body: utf8(formatCosignature(WITNESS, time, sign(null, cosignedMessage(text, time), KEY))) }
  },
})
const STATEMENT = { _type: 'https://in-toto.io/Statement/v1', subject: [{ name: 'server', digest: { sha256: 'e'.repeat(64) } }], predicateType: 'p', predicate: { runDetails: { builder: { id: 'b' } } } }

describe('a receipt at the plane', () => {
  const open = openRigs()
  it.each<[string, JsonObject]>([
    ['A4 of the operating system and software', { assurance: 'A4' }], ['A5', { assurance: 'A5', containment: ['a'] }],
    ['A3 with a check that failed', { checks: { authorization: 'pass', identity: 'pass', policy: 'pass', environment: 'pass', cryptography: 'pass', state: 'fail', lineage: 'pass', conditions: 'pass' } }],
  ])('that states %s is not taken, and the true one is', async (_what, lie) => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf, lie)))).toBe('artifact_malformed')
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf)))).toBe('ok')
    const receipts = (await rig.store.entries(0, 1_000)).map(parseEntry).filter(({ kind }) => kind === 'receipt')
    expect(receipts).toHaveLength(1)
  })

  it('that states less than its permit demands is taken: it tells what happened', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const { permit, leaf } = await gate.permit()
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, leaf, { assurance: 'A2' })))).toBe('ok')
  })
})

describe('@assurance', () => {
  const demanding = (level: string): string => `@id("strong") @assurance("${level}") permit (principal, action, resource);`
  const decided = (text: string): { kind: string; assurance?: string; permit?: { assurance: string } } =>
    decide({ action: toolCall(), agent: { name: 'a', verified: false }, sub: 'user:1', environment: { level: 'software' }, facts: { paths: 'none' } }, { engine: new PolicyEngine(policySet(text)), epoch: 1 }) as never

  it('demands A3 where nothing is said, and of several policies the highest; a hold demands it of its permit', () => {
    expect(decided(PERMIT_ALL)).toMatchObject({ kind: 'permit', assurance: 'A3' })
    expect(decided(demanding('A3'))).toMatchObject({ assurance: 'A3' })
    expect(decided(`${demanding('A4')} ${PERMIT_ALL}`)).toMatchObject({ assurance: 'A4' })
    expect(decided(`${PERMIT_ALL} @assurance("A4") ${PERMIT_ALL} @assurance("A5") ${PERMIT_ALL}`)).toMatchObject({ assurance: 'A5' })
    expect(decided(`${PERMIT_ALL} @assurance("A4") permit (principal == Agent::"other", action, resource);`)).toMatchObject({ assurance: 'A3' })
    expect(decided(`@approval("group:ops") ${PERMIT_ALL} ${demanding('A4')}`)).toMatchObject({ kind: 'hold', permit: { assurance: 'A4' } })
  })

  it('can be expected by the tests of a policy set, as an obligation', () => {
    const one = (obligations: JsonObject): JsonObject => ({ name: 'x', action: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: {} }, expect: 'permit', obligations })
    const run = (level: string, obligations: JsonObject): readonly string[] => runCases(parseCases([one(obligations)], 'x'), new PolicyEngine(policySet(demanding(level))))[0]?.failures ?? []
    expect(run('A4', { assurance: 'A4' })).toEqual([])
    expect(run('A3', { assurance: 'A4' })).toEqual(['obligation assurance: expected A4, got none'])
  })

  const open = openRigs()
  interface Given {
    readonly key: boolean
    readonly signed: boolean
    readonly witness: boolean
  }
  /** A plane and a gate with what is given, and the answer to one request. */
  async function asked(text: string, { key, signed, witness }: Given): Promise<{ rig: Rig; gate: TestGate; agent: TestAgent; ask: () => Promise<AuthorizeReply> }> {
    const rig = await open()
    await rig.stop()
    rig.policies = policySet(text)
    const issuer = { identity: 'i', issuer: 's' }
    rig.attestations = { rules: [{ name: 'ci', about: 'program', predicate_types: ['p'], builder: 'b', trusted_root: {}, ...issuer }], verify: async () => ({ payload: utf8(JSON.stringify(STATEMENT)), payloadType: 'application/vnd.in-toto+json', ...issuer }) }
    rig.clock.after = (ms, run) => nodeClock.after(ms, run)
    await rig.start({}, witness ? witnessedBy(rig) : undefined)
    const agent = new TestAgent('coder')
    if (key) await rig.plane.registry.changeAgent({ agent: agent.name, event: 'added', key: agent.key, owner: 'team:a' })
    const gate = await rig.gate()
    gate.environment = { ...gate.environment, document: environmentDocument(), ...(signed ? { attestation: { dsseEnvelope: {} } } : {}) }
    await gate.enrol()
    const ask = (): Promise<AuthorizeReply> => {
      const challenge = rig.token()
      return gate.authorize(gate.request(toolCall(), { challenge, agent: { name: agent.name, verified: true }, ...(key ? { identity: agent.proof(rig, gate, challenge, toolCall()) } : {}) }))
    }
    return { rig, gate, agent, ask }
  }
  const newest = async (rig: Rig): Promise<Permit | DenyEntry> => parseEntry((await rig.store.entries(rig.plane.log.size - 1, 1))[0] as string) as never
  const verified = async (rig: Rig): Promise<ReturnType<typeof verifyBundle>> => verifyBundle(parseBundle(utf8(formatBundle(await rig.plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [], replay: new DecisionReplay(sha256) })

  it.each<[string, Given, string]>([
    ['no key', { key: false, signed: true, witness: true }, 'identity_missing'], ['software evidence', { key: true, signed: false, witness: true }, 'environment_unattested'], ['no witness', { key: true, signed: true, witness: false }, 'witness_quorum_not_met'],
    ['nothing of it', { key: false, signed: false, witness: false }, 'identity_missing'],
  ])('of A4 is denied at the plane where there is %s, and the denial replays', async (_what, given, code) => {
    const { rig, ask } = await asked(demanding('A4'), given)
    expect(told(await ask())).toBe(code)
    expect(await newest(rig)).toMatchObject({ kind: 'deny', code, policy: { determining: ['test/strong'] } })
    expect(await verified(rig)).toMatchObject({ verdict: 'established', findings: [] })
  })

  it('of A4 is permitted where key, signed evidence and witnesses are there; the receipt of A4 is taken, and shows offline under the witness policy', async () => {
    const { rig, gate, ask } = await asked(demanding('A4'), { key: true, signed: true, witness: true })
    expect(told(await ask())).toBe('permit')
    const permit = (await newest(rig)) as Permit
    expect(permit).toMatchObject({ assurance: 'A4', env: { level: 'signed' } })
    const state = rig.plane.log.state.open.get(permit.jti)
    expect(await outcome(gate.report(gate.receiptFor(permit.jti, state?.leafHash as string, { assurance: 'A4' })))).toBe('ok')
    const found = await verified(rig)
    expect(found.verdict).toBe('established')
    expect(found.findings.map(({ claim }) => claim)).toEqual(['the assurance that 1 receipts state: that their seals were witnessed shows only under a witness policy; give it with --witness-policy'])
  })

  it('of A5 is denied: no evidence of this version is hardware', async () => {
    const { rig, ask } = await asked(demanding('A5'), { key: true, signed: true, witness: true })
    expect(told(await ask())).toBe('environment_unattested')
    expect((await verified(rig)).verdict).toBe('established')
  })

  it('asks nobody to approve what could not be permitted', async () => {
    const { rig, ask } = await asked(`@approval("group:ops") ${demanding('A4')}`, { key: false, signed: true, witness: true })
    expect(told(await ask())).toBe('identity_missing')
    expect(rig.plane.log.state.approvals.holds.size).toBe(0)
  })

  it('of an execution that runs is looked at when it is renewed, under the set that is active then', async () => {
    for (const [given, isRenewed] of [[{ key: true, signed: true, witness: true }, true], [{ key: true, signed: false, witness: true }, false], [{ key: false, signed: true, witness: true }, false], [{ key: true, signed: true, witness: false }, false]] as const) {
      const { rig, gate, ask } = await asked(PERMIT_ALL, given)
      expect(told(await ask())).toBe('permit')
      const { jti } = (await newest(rig)) as Permit
      const renewed = async (): Promise<boolean> => (await rig.plane.renew({ session: gate.session, nonce: rig.token(), jtis: [jti] }, gate.id, { size: 0 })).sealed.entry.includes(jti)
      expect(await renewed()).toBe(true)
      await rig.plane.activate({ files: policySet(demanding('A4')).files, tests: [], how: { mode: 'enforce', urgent: false, confirm: false, rebase: false } })
      expect([given, await renewed()]).toEqual([given, isRenewed])
    }
  })

  it('that the log says otherwise than the policies is contradicted by a replay', async () => {
    const { rig, ask } = await asked(PERMIT_ALL, { key: false, signed: false, witness: false })
    expect(told(await ask())).toBe('permit')
    const bundle = await rig.plane.reader.evidence('all')
    const at = bundle.entries.findIndex(({ entry }) => entry.includes('"kind":"permit"'))
    const replay = new DecisionReplay(sha256)
    for (const set of bundle.policies) replay.policies(set)
    const permit = parseEntry(bundle.entries[at]?.entry as string) as Permit
    const bodies = bundle.entries[at]?.bodies ?? []
    expect(replay.decision(permit, bodies)).toBe(true)
    for (const assurance of ['A2', 'A4'] as const) expect(() => replay.decision({ ...permit, assurance }, bodies)).toThrow(/another assurance is demanded/)
  })
})
