import { createHash, createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { agentKeyIdentity, enforce, nodeCryptography } from '@sealwrit/gate'
import { type Artifact, ASSURANCE_LEVELS, type AssuranceLevel, cosignedMessage, cosignerKey, formatCosignature, formatCosignerKey, fromBase64Url, type JsonObject, parseWitnessPolicy, utf8, WitnessQuorum } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Rig } from './support/rig.ts'

const KEY = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), createHash('sha256').update('w').digest()]), format: 'der', type: 'pkcs8' })
const WITNESS = cosignerKey('w.test/w', fromBase64Url(createPublicKey(KEY).export({ format: 'jwk' }).x as string), nodeCryptography.sha256)
const QUORUM = parseWitnessPolicy(utf8(`witness w ${formatCosignerKey(WITNESS)}\nquorum w\n`), nodeCryptography.sha256)

interface Given {
  readonly key: boolean
  readonly level: Artifact['env']['level']
  readonly witness: boolean
  readonly demanded: AssuranceLevel
}

/** Runs one action at a gate and plane as given; what the gate's receipt says, and whether there was an effect. */
async function executed({ key, level, witness, demanded }: Given): Promise<{ answer: string; effects: number; receipt: JsonObject }> {
  const rig = new Rig('assured')
  if (witness) rig.cosign = (text) => { const time = Math.floor(rig.clock.wallMs() / 1_000); return formatCosignature(WITNESS, time, sign(null, cosignedMessage(text, time), KEY)) }
  rig.gate = rig.openGate({ ...(witness ? { witnesses: new WitnessQuorum(QUORUM, 60) } : {}) })
  rig.plane.permits = { assurance: demanded, env: { commit: rig.environment().commit, level }, ...(key ? { cnf: 'a key', act: { sub: 'agent:tester', verified: true } } : {}) }
  const request = { ...rig.request(), ...(key ? { identify: agentKeyIdentity({ kid: 'a key', sign: () => new Uint8Array(64) }, () => Math.floor(rig.clock.wallMs() / 1_000)) } : {}) }
  const answer = await rig.outcome(enforce(rig.gate, request, async (_artifact, action) => {
    rig.effects.push(action.name)
    return { outcome: 'completed' as const, resultBytes: utf8('result'), value: 'result' }
  }))
  const last = rig.plane.entries.at(-1)
  if (last?.kind !== 'receipt') throw new Error('no receipt')
  return { answer, effects: rig.effects.length, receipt: JSON.parse(Buffer.from(last.receipt.split('.')[1] ?? '', 'base64url').toString()) as JsonObject }
}

describe('the assurance that a gate states', () => {
  const full: Given = { key: true, level: 'signed', witness: true, demanded: 'A3' }
  it.each<[string, Given, AssuranceLevel]>([
    ['nothing but the operating system and its own word', { key: false, level: 'software', witness: false, demanded: 'A3' }, 'A3'],
    ['a key, signed evidence and a witness', full, 'A4'], ['the same without the key', { ...full, key: false }, 'A3'], ['the same with software evidence', { ...full, level: 'software' }, 'A3'],
    ['the same without a witness', { ...full, witness: false }, 'A3'], ['hardware evidence, that nobody replayed', { ...full, level: 'hardware' }, 'A4'],
  ])('on %s is what it reached, in the receipt', async (_what, given, level) => {
    const { answer, effects, receipt } = await executed(given)
    expect([answer, effects, receipt['assurance'], receipt['outcome']]).toEqual(['ran', 1, level, 'completed'])
  })

  it.each<[string, Partial<Given>, string]>([['no key', { key: false }, 'identity_missing'], ['software evidence', { level: 'software' }, 'environment_unattested'], ['no witness', { witness: false }, 'witness_quorum_not_met'], ['signed evidence where hardware is demanded', { demanded: 'A5' }, 'environment_unattested']])(
    'that a permit demands is looked at before anything runs: with %s nothing does (I1)', async (_what, change, code) => {
      const { answer, effects, receipt } = await executed({ ...full, demanded: 'A4', ...change })
      expect([answer, effects, receipt['outcome'], receipt['cause']]).toEqual([code, 0, 'not_started', code])
      expect(ASSURANCE_LEVELS.indexOf(receipt['assurance'] as AssuranceLevel)).toBeLessThan(3)
    },
  )

  it('that a permit demands and the gate reaches lets it run', async () => {
    expect(await executed({ ...full, demanded: 'A4' })).toMatchObject({ answer: 'ran', effects: 1, receipt: { assurance: 'A4' } })
  })
})
