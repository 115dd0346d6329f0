import { HOLD_META } from '@sealwrit/mcp-gateway'
import type { DenialCode, JsonObject, JsonValue } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { Bench, codeOf, TOOL } from './support/bench.ts'

const benches: Bench[] = []
afterEach(() => {
  for (const bench of benches.splice(0)) bench.gate.close()
})
/** A gateway whose plane answers as `decide` says; `asked` are the holds that the requests named. */
async function open(decide: (asked: readonly (string | undefined)[]) => 'permit' | 'hold' | DenialCode, holdWaitMs?: number): Promise<{ bench: Bench; asked: (string | undefined)[] }> {
  const asked: (string | undefined)[] = []
  const bench = await new Bench({ decide: (_action, hold) => (asked.push(hold), decide(asked)), ...(holdWaitMs === undefined ? {} : { holdWaitMs }) }).initialize()
  benches.push(bench)
  return { bench, asked }
}
const holdIn = (answer: JsonObject): string => ((answer['result'] as JsonObject)['structuredContent'] as { hold: string }).hold
const again = (bench: Bench, hold: JsonValue): Promise<JsonObject> => bench.request('tools/call', { name: TOOL.name, arguments: { path: '/x' }, _meta: { [HOLD_META]: hold } })

describe('a held call', () => {
  it('is answered at once with the id of its hold, and nothing runs', async () => {
    const { bench, asked } = await open(() => 'hold')
    const answer = await bench.call()
    expect(codeOf(answer)).toBe('approval_required')
    expect(holdIn(answer)).toMatch(/^[\w-]{22}$/)
    expect((answer['result'] as { _meta: JsonObject })._meta['sealwrit/denial']).toMatchObject({ hold: holdIn(answer) })
    expect(bench.calls()).toEqual([])
    expect(asked).toEqual([undefined])
  })
  it('runs when it is asked again with the id, which is not passed on', async () => {
    const { bench, asked } = await open(([, hold]) => (hold === undefined ? 'hold' : 'permit'))
    const hold = holdIn(await bench.call())
    expect(codeOf(await again(bench, hold))).toBe('ran')
    expect(asked).toEqual([undefined, hold])
    expect(bench.received.join('\n')).not.toContain(hold)
  })
  it.each([['null', null], ['a number', 1], ['a short id', 'abc'], ['an object', {}]] as const)('with %s for an id is request_malformed: nothing is asked in its place', async (_name, hold) => {
    const { bench, asked } = await open(() => 'permit')
    expect(codeOf(await again(bench, hold as JsonValue))).toBe('request_malformed')
    expect([asked, bench.calls()]).toEqual([[], []])
    expect(bench.denials()).toContain('request_malformed')
  })
  it('waits at the gate where that is configured, asks again by itself, and runs once it is approved', async () => {
    const { bench, asked } = await open((all) => (all.length < 3 ? 'hold' : 'permit'), 10_000)
    bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id: 'w', method: 'tools/call', params: { name: TOOL.name, arguments: { path: '/x' } } })}\n`)
    await new Promise((resolve) => setTimeout(resolve, 2_500))
    expect(codeOf(await bench.answer('w'))).toBe('ran')
    expect(asked).toHaveLength(3)
    expect(new Set(asked.slice(1)).size).toBe(1)
    expect(bench.calls()).toHaveLength(1)
  })
  it('a rejection ends the waiting, and so does its time', async () => {
    const { bench, asked } = await open((all) => (all.length < 2 ? 'hold' : 'approval_rejected'), 10_000)
    bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id: 'r', method: 'tools/call', params: { name: TOOL.name, arguments: { path: '/x' } } })}\n`)
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    expect(codeOf(await bench.answer('r'))).toBe('approval_rejected')
    expect(asked).toHaveLength(2)
    const short = await open(() => 'hold', 1_500)
    short.bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id: 's', method: 'tools/call', params: { name: TOOL.name, arguments: { path: '/x' } } })}\n`)
    await new Promise((resolve) => setTimeout(resolve, 1_200))
    expect(codeOf(await short.bench.answer('s'))).toBe('approval_required')
    expect(short.asked).toHaveLength(2)
    expect([...bench.calls(), ...short.bench.calls()]).toEqual([])
  })
  it('a client that cancels is not waited for, and nothing runs for it', async () => {
    const { bench, asked } = await open((all) => (all.length < 2 ? 'hold' : 'permit'), 10_000)
    bench.raw(`${JSON.stringify({ jsonrpc: '2.0', id: 'c', method: 'tools/call', params: { name: TOOL.name, arguments: { path: '/x' } } })}\n`)
    await new Promise((resolve) => setTimeout(resolve, 300))
    bench.raw(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: 'c' } })}\n`)
    await new Promise((resolve) => setTimeout(resolve, 1_500))
    expect(asked).toHaveLength(1)
    expect(bench.calls()).toEqual([])
  })
})
