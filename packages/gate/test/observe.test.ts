import { nodeCryptography, PlaneDenied } from '@sealwrit/gate'
import { type DenialCode, DENIALS, fromBase64Url, isObservable, type Receipt, signingKey, verifyReceipt } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { Rig } from './support/rig.ts'

const receipts = (rig: Rig): Receipt[] => {
  const { x } = rig.keys.publicKey.export({ format: 'jwk' })
  return rig.plane.entries.flatMap((entry) => (entry.kind === 'receipt' ? [verifyReceipt(entry.receipt, signingKey(fromBase64Url(x as string), nodeCryptography.sha256), nodeCryptography)] : []))
}
const denying = (code: DenialCode): Rig => new Rig('observe', () => code)
const OBSERVABLE = (Object.keys(DENIALS) as DenialCode[]).filter(isObservable)

describe('an enforcing gate', () => {
  it.each(OBSERVABLE)('runs no permit that is only observed (%s), whoever issued it', async (code) => {
    const rig = denying(code)
    rig.plane.observes = () => true
    expect(await rig.outcome(rig.run())).toBe('obligation_unknown')
    expect(rig.effects).toEqual([])
    expect(receipts(rig)).toMatchObject([{ outcome: 'not_started', cause: 'obligation_unknown', checks: { conditions: 'fail' } }])
  })
  it('does not ask for one', async () => {
    const rig = denying('policy_denied')
    rig.plane.observes = (isAsked) => isAsked
    await expect(rig.run()).rejects.toBeInstanceOf(PlaneDenied)
    expect(rig.kinds()).not.toContain('permit')
  })
})

describe('a gate that observes', () => {
  it('runs what an observing plane marks, says so at level A1, and all other checks hold', async () => {
    const rig = denying('policy_no_match')
    rig.gate = rig.openGate({ observes: true })
    rig.plane.observes = (isAsked) => isAsked
    await rig.run()
    expect(rig.effects).toEqual(['read_file'])
    const [receipt] = receipts(rig)
    expect(receipt).toMatchObject({ outcome: 'completed', assurance: 'A1' })
    expect(Object.values(receipt?.checks ?? {})).toEqual(Array.from({ length: 8 }, () => 'pass'))
  })
  it('is as any other where the plane enforces, and its governed executions stay governed', async () => {
    const rig = denying('policy_denied')
    rig.gate = rig.openGate({ observes: true })
    await expect(rig.run()).rejects.toBeInstanceOf(PlaneDenied)
    const permitting = new Rig('observe')
    permitting.gate = permitting.openGate({ observes: true })
    await permitting.run()
    expect(receipts(permitting)).toMatchObject([{ assurance: 'A3' }])
  })
  it('still looks at everything else: a changed environment, a challenge that was answered', async () => {
    const rig = denying('policy_denied')
    rig.gate = rig.openGate({ observes: true })
    rig.plane.observes = () => true
    await rig.run()
    rig.environmentVersion++
    expect(await rig.outcome(rig.run())).toBe('environment_mismatch')
    expect(rig.effects).toHaveLength(1)
  })
})
