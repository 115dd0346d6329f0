import { INTENT_META, PURPOSE_TEXT_META } from '@sealwrit/mcp-gateway'
import type { JsonObject, JsonValue } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { Bench, codeOf, TOOL } from './support/bench.ts'

const benches: Bench[] = []
afterEach(() => {
  for (const bench of benches.splice(0)) bench.gate.close()
})
async function open(intent?: string): Promise<Bench> {
  const bench = await new Bench(intent === undefined ? {} : { intent }).initialize()
  benches.push(bench)
  return bench
}
const call = (bench: Bench, meta: JsonObject): Promise<JsonObject> => bench.request('tools/call', { name: TOOL.name, arguments: { path: '/x' }, _meta: meta })
const intents = (bench: Bench): (string | undefined)[] => bench.plane.entries.flatMap((entry) => (entry.kind === 'permit' ? [entry.intent] : []))

describe('what a call is for', () => {
  it('is what its _meta declares, or else what the gateway was started with; the server never hears of it', async () => {
    const bench = await open('routine')
    expect(codeOf(await bench.call())).toBe('ran')
    expect(codeOf(await call(bench, { [INTENT_META]: 'invoice-review', [PURPOSE_TEXT_META]: 'the invoices of march' }))).toBe('ran')
    expect(intents(bench)).toEqual(['routine', 'invoice-review'])
    expect(bench.received.join('\n')).not.toMatch(/invoice|march|sealwrit/)
  })
  it('is nothing where nobody declares it', async () => {
    const bench = await open()
    expect(codeOf(await call(bench, {}))).toBe('ran')
    expect(intents(bench)).toEqual([undefined])
  })
  it.each<[string, JsonValue]>([['a sentence', 'please just do it'], ['capitals', 'Review'], ['nothing', ''], ['64 characters and one', 'x'.repeat(65)], ['a number', 1], ['null', null], ['a list', ['a']]])('I7: %s for an intent is request_malformed: nothing is asked in its place', async (_name, intent) => {
    const bench = await open('routine')
    expect(codeOf(await call(bench, { [INTENT_META]: intent }))).toBe('request_malformed')
    expect([bench.calls(), intents(bench)]).toEqual([[], []])
  })
  it('takes 64 characters for an intent, and 2,048 for the words about it', async () => {
    const bench = await open()
    expect(codeOf(await call(bench, { [INTENT_META]: 'x'.repeat(64), [PURPOSE_TEXT_META]: 'y'.repeat(2_048) }))).toBe('ran')
    expect(codeOf(await call(bench, { [PURPOSE_TEXT_META]: 'y'.repeat(2_049) }))).toBe('request_malformed')
  })
  it('a permit for another intent than was declared runs nothing', async () => {
    const bench = await open('routine')
    const { plane } = bench
    const append = plane.append.bind(plane)
    for (const intent of ['other', undefined]) {
      plane.append = (body) => {
        if (body.kind !== 'permit') return append(body)
        const { intent: _, ...rest } = body
        return append(intent === undefined ? rest : { ...rest, intent })
      }
      expect(codeOf(await bench.call())).toBe('action_mismatch')
    }
    expect(bench.calls()).toEqual([])
  })
})
