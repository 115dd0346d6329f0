import type { Edits } from '@sealwrit/protocol'
import fc from 'fast-check'
import { afterEach, describe, expect, it } from 'vitest'
import { MAX_MISSING_NUMBERS, ReceiptNumbers } from '../src/log/numbers.ts'
import { outcome, Rig, type TestGate } from './support/rig.ts'

const EDITS: Edits = { set: (map, key, value) => void map.set(key, value), delete: (map, key) => void map.delete(key) }
const receipt = (session: string, sequence: number): string => `x.${Buffer.from(JSON.stringify({ containment: ['"sequence":7'], sequence, session })).toString('base64url')}.x`
const taken = (...numbers: number[]): ReceiptNumbers => {
  const made = new ReceiptNumbers(EDITS)
  for (const number of numbers) made.take(receipt('s', number), () => true)
  return made
}
const rigs: Rig[] = []
const open = async (seed: string): Promise<{ rig: Rig; gate: TestGate }> => {
  const rig = await Rig.open(seed)
  rigs.push(rig)
  return { rig, gate: await rig.gate() }
}
afterEach(async () => {
  for (const rig of rigs.splice(0)) await rig.remove()
})
const reported = async (gate: TestGate, sequence: number): Promise<string> => {
  const { permit, leaf } = await gate.permit()
  return outcome(gate.report(gate.receiptFor(permit.jti, leaf, { sequence })))
}

describe('numbers of receipts', () => {
  it('are taken once, in any order', () => {
    fc.assert(fc.property(fc.uniqueArray(fc.nat(60), { maxLength: 40 }), fc.nat(60), (numbers, one) => {
      expect(taken(...numbers).refusal('s', one)).toBe(numbers.includes(one) ? 'artifact_malformed' : undefined)
    }))
  })

  it.each([[-1, undefined], [0, undefined], [1, 'limit_exceeded']])('may leave out as many as are allowed, and %i', (more, refusal) => {
    expect(taken().refusal('s', MAX_MISSING_NUMBERS + more)).toBe(refusal)
    expect(taken(0, 2).refusal('s', MAX_MISSING_NUMBERS + 2 + more)).toBe(refusal)
  })

  it('are those of one open session, and are forgotten with it', () => {
    const made = taken(0)
    made.take(receipt('closed', 0), () => false)
    expect([made.refusal('s', 0), made.refusal('closed', 0), made.refusal('other', 0)]).toEqual(['artifact_malformed', undefined, undefined])
    made.forget('s')
    expect(made.refusal('s', 0)).toBeUndefined()
  })

  it('of no session and no number are none', () => {
    const made = taken()
    for (const token of ['', '..', 'x.eyJzZXF1ZW5jZSI6MX0.x', 'x.bm90IGpzb24.x']) made.take(token, () => true)
    expect(made.refusal('s', 0)).toBeUndefined()
  })
})

describe('a plane', () => {
  it('takes no number twice, also after it was started again, and goes on with the next', async () => {
    const { rig, gate } = await open('numbers')
    expect([await reported(gate, 0), await reported(gate, 2), await reported(gate, 0), await reported(gate, 2)]).toEqual(['ok', 'ok', 'artifact_malformed', 'artifact_malformed'])
    await rig.restart()
    expect([await reported(gate, 2), await reported(gate, 1), await reported(gate, 1), await reported(gate, 3)]).toEqual(['artifact_malformed', 'ok', 'artifact_malformed', 'ok'])
  })

  it('knows nothing of the numbers of a session before', async () => {
    const { gate } = await open('sessions')
    expect(await reported(gate, 0)).toBe('ok')
    gate.session = 'AAAAAAAAAAAAAAAAAAAAAQ'
    await gate.enrol()
    expect(await reported(gate, 0)).toBe('ok')
  })

  it('forgets what a group that failed had used', async () => {
    const { rig, gate } = await open('undone')
    const { permit, leaf } = await gate.permit()
    const token = gate.receiptFor(permit.jti, leaf, { sequence: 0 })
    rig.fault = { persisted: false, recoverable: true }
    expect(await outcome(gate.report(token))).not.toBe('ok')
    rig.fault = undefined
    expect(await outcome(gate.report(token))).toBe('ok')
  })
})
