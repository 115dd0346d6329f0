import { parseEntry, type JsonObject } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { openRigs, outcome } from './support/rig.ts'

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
