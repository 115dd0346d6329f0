import type { Entry } from '@sealwrit/protocol'
import { describe, expect, it } from 'vitest'
import { LogState, MAX_RECEIPTS } from '../src/log/state.ts'

const receipt = (seq: number): Entry => ({ kind: 'receipt', v: 1, seq, time: seq, tenant: 'default', jti: `jti-${seq}`, receipt: 'a.b.c' }) as never
const filled = (count: number): LogState => {
  const state = new LogState()
  for (let seq = 0; seq < count; seq++) state.apply(receipt(seq), 'sha256:x')
  return state
}
const known = (state: LogState, from: number, to: number): number => Array.from({ length: to - from }, (_, i) => state.receiptOf(`jti-${from + i}`)).filter((seq, i) => seq === from + i).length

describe('receipts whose place is remembered', () => {
  it.each([-1, 0, 1])('are the newest, as many as are promised, also where that many and %i were taken', (more) => {
    const count = 2 * MAX_RECEIPTS + more
    const state = filled(count)
    expect(known(state, count - MAX_RECEIPTS, count)).toBe(MAX_RECEIPTS)
    expect(known(state, 0, count)).toBeLessThanOrEqual(2 * MAX_RECEIPTS)
  })

  it('come back where the group that made room for them is taken back', () => {
    const state = filled(2 * MAX_RECEIPTS)
    state.begin()
    for (let i = 0; i < 3; i++) state.apply(receipt(2 * MAX_RECEIPTS + i), 'sha256:x')
    expect([state.receiptOf('jti-0'), state.receiptOf(`jti-${2 * MAX_RECEIPTS + 2}`)]).toEqual([undefined, 2 * MAX_RECEIPTS + 2])
    state.rollback()
    expect(known(state, 0, 2 * MAX_RECEIPTS)).toBe(2 * MAX_RECEIPTS)
    expect(known(state, 2 * MAX_RECEIPTS, 2 * MAX_RECEIPTS + 3)).toBe(0)
  })
})
