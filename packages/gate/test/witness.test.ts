import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { nodeCryptography } from '@sealwrit/gate'
import { cosignedMessage, cosignerKey, type DenialCode, formatCosignature, formatCosignerKey, fromBase64Url, parseWitnessPolicy, utf8, WitnessQuorum } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Rig } from './support/rig.ts'

const { sha256 } = nodeCryptography
const witnesses = ['w1', 'w2', 'w3'].map((name) => {
  const privateKey = createPrivateKey({ key: Buffer.concat([Buffer.from('302e020100300506032b657004220420', 'hex'), sha256(utf8(name))]), format: 'der', type: 'pkcs8' })
  const key = cosignerKey(`${name}.test/w`, fromBase64Url(createPublicKey(privateKey).export({ format: 'jwk' }).x as string), sha256)
  return { key, cosign: (text: string, time: number) => formatCosignature(key, time, sign(null, cosignedMessage(text, time), privateKey)) }
})
const POLICY = parseWitnessPolicy(utf8(`${witnesses.map(({ key }, i) => `witness W${i} ${formatCosignerKey(key)}\n`).join('')}group two 2 W0 W1 W2\nquorum two\n`), sha256)

/** A rig whose gate asks for two of three, and whose plane shows what `by` cosigned, `ageSeconds` ago. */
function rigged(): { rig: Rig; by: Set<number>; at: { ageSeconds: number } } {
  const rig = new Rig('witnessed')
  const by = new Set([0, 1])
  const at = { ageSeconds: 0 }
  rig.cosign = (text) => [...by].map((i) => witnesses[i]?.cosign(text, Math.floor(rig.clock.wallMs() / 1_000) - at.ageSeconds)).join('')
  rig.gate = rig.openGate({ witnesses: new WitnessQuorum(POLICY, 60) })
  return { rig, by, at }
}

describe('a gate that asks for cosignatures', () => {
  it('runs what two of three witnesses cosigned, whichever two', async () => {
    const { rig, by } = rigged()
    for (const pair of [[0, 1], [1, 2], [0, 2], [0, 1, 2]]) {
      by.clear()
      for (const i of pair) by.add(i)
      expect(await rig.outcome(rig.run())).toBe('ran')
    }
    expect(rig.effects).toHaveLength(4)
  })
  it('ATK-062: what a stolen log key sealed off the log has no cosignatures, and does not run', async () => {
    const { rig, by } = rigged()
    expect(await rig.outcome(rig.run())).toBe('ran')
    by.clear() // the thief has the log key, not the witnesses
    expect(await rig.outcome(rig.run())).toBe('witness_quorum_not_met')
    by.add(2)
    expect(await rig.outcome(rig.run())).toBe('witness_quorum_not_met')
    expect(rig.effects).toHaveLength(1)
    by.add(1)
    expect(await rig.outcome(rig.run())).toBe('ran')
  })
  it('ATK-062: a gate without a floor does not even enrol at a log that nobody witnessed', async () => {
    const { rig, by } = rigged()
    by.clear()
    expect(await rig.outcome(rig.gate.connect())).toBe('witness_quorum_not_met')
    expect(rig.gate.newest).toBeUndefined()
  })
  it('ATK-078: old, future and doubled cosignatures do not count', async () => {
    const { rig, at } = rigged()
    const of = async (ageSeconds: number): Promise<DenialCode | 'ran'> => {
      at.ageSeconds = ageSeconds
      return rig.outcome(rig.run())
    }
    expect([await of(60), await of(61), await of(-30), await of(-31), await of(0)]).toEqual(['ran', 'witness_quorum_not_met', 'ran', 'witness_quorum_not_met', 'ran'])
    const cosign = rig.cosign
    rig.cosign = (text) => cosign(text) + cosign(text)
    expect(await rig.outcome(rig.run())).toBe('artifact_malformed')
    expect(rig.effects).toHaveLength(3)
  })
  it('ATK-078: a witness whose key was rolled without the policy counts no more', async () => {
    const { rig, by } = rigged()
    by.delete(1)
    const cosign = rig.cosign
    const stranger = cosignerKey(witnesses[1]?.key.name ?? '', witnesses[2]?.key.publicKey ?? new Uint8Array(32), sha256)
    rig.cosign = (text) => cosign(text) + formatCosignature(stranger, Math.floor(rig.clock.wallMs() / 1_000), new Uint8Array(64).fill(7))
    expect(await rig.outcome(rig.run())).toBe('witness_quorum_not_met')
    expect(rig.effects).toEqual([])
  })
  it('without a policy at all nothing runs: it is an input that is missing, not a `quorum none`', async () => {
    const rig = new Rig()
    rig.gate = rig.openGate({ witnesses: undefined })
    expect(await rig.outcome(rig.run())).toBe('witness_quorum_not_met')
    expect(rig.effects).toEqual([])
  })
})
