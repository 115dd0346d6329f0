import { type Action, canonicalText, type JsonValue, parseBundle, parseEntry, utf8 } from '@sealwrit/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { evidenceLines } from '../src/client/evidence-lines.ts'
import { call } from '../src/rpc/call.ts'
import { METHODS } from '../src/rpc/methods.ts'
import type { Peer } from '../src/rpc/peer.ts'
import { MAX_PAGE, MAX_PAGE_CHARACTERS } from '../src/prove/reader.ts'
import { outcome, Rig, TOOL_DIGEST, toolCall } from './support/rig.ts'

let rig: Rig
beforeEach(async () => {
  rig = await Rig.open()
})
afterEach(() => rig.remove())

interface Page {
  readonly origin: string
  readonly entries: readonly { readonly seq: number }[]
  readonly next: number
  readonly size: number
}
const read = async (params: JsonValue): Promise<Page> => (await METHODS['log.read']?.(rig.plane, params, { person: { id: rig.plane.sub, role: 'viewer' }, shown: { size: 0 }, session: undefined })) as Page
const fill = async (count: number, name: (i: number) => string): Promise<void> => {
  const gate = await rig.gate([])
  await rig.plane.tools.record({ session: gate.session, target: 'mcp://fs', tools: Array.from({ length: count }, (_, i) => ({ name: name(i), digest: TOOL_DIGEST })) })
}

describe('log.read', () => {
  it('gives the log in its own order, a page at a time, and every page says where the next begins', async () => {
    await fill(57, (i) => `tool${i}`)
    const seen: number[] = []
    let next = 0
    for (let pages = 0; pages < 100; pages++) {
      const page = await read({ from: next, limit: 10 })
      expect(page.entries.length).toBeLessThanOrEqual(10)
      expect(page.origin).toBe(rig.plane.log.origin)
      if (page.entries.length === 0) break
      seen.push(...page.entries.map(({ seq }) => seq))
      next = page.next
    }
    expect(seen).toEqual(Array.from({ length: rig.plane.log.size }, (_, i) => i))
    expect(next).toBe(rig.plane.log.size)
  })
  it('begins anywhere, and at or beyond the end there is nothing', async () => {
    const { size } = rig.plane.log
    expect((await read({ from: 1 })).entries[0]?.seq).toBe(1)
    expect(await read({ from: size })).toEqual({ origin: rig.plane.log.origin, entries: [], next: size, size })
    expect((await read({ from: size + 5 })).entries).toEqual([])
  })
  it('gives the leaves themselves', async () => {
    const { entries } = await read({ from: 0 })
    expect(entries.map((entry) => canonicalText(entry as unknown as JsonValue))).toEqual(await rig.store.entries(0, entries.length))
  })
  it('a page is bounded in characters too, and always goes on', async () => {
    const policies = Array.from({ length: 60 }, (_, i) => `${i}-`.padEnd(500, 'x'))
    await Promise.all(Array.from({ length: 300 }, (_, i) => rig.plane.log.submit(() => ({ body: { kind: 'policy', digest: TOOL_DIGEST, epoch: i + 2, policies }, bodies: [] }))))
    const pages: Page[] = []
    for (let next = 0; next < rig.plane.log.size && pages.length < 10; next = pages.at(-1)?.next as number) pages.push(await read({ from: next }))
    expect(pages.length).toBe(3)
    for (const { entries } of pages) expect(entries.reduce((sum, entry) => sum + canonicalText(entry as unknown as JsonValue).length, 0)).toBeLessThanOrEqual(MAX_PAGE_CHARACTERS)
    expect(pages.flatMap(({ entries }) => entries.map(({ seq }) => seq))).toEqual(Array.from({ length: rig.plane.log.size }, (_, i) => i))
  })
  it.each<[string, JsonValue]>([['no start', {}], ['a start below 0', { from: -1 }], ['too large a page', { from: 0, limit: MAX_PAGE + 1 }], ['an unknown member', { from: 0, before: 3 }], ['a text', { from: '0' }]])('%s is refused', async (_name, params) => {
    expect(await outcome(Promise.resolve().then(() => read(params)))).toBe('request_malformed')
  })
})

describe('evidence of one execution', () => {
  it('is that of its lineage and nothing else, however many pages it takes', async () => {
    const peer: Peer = { person: { id: rig.plane.sub, role: 'viewer' }, shown: { size: 0 }, session: undefined }
    const gate = await rig.gate()
    const large = (): Action => toolCall('read_file', { path: '/srv/q3.txt', text: 'x'.repeat(1_000_000) })
    const delegates = { until: Math.floor(rig.clock.wallMs() / 1_000) + 600, uses: 10, depth: 8, scopes: [{ type: 'mcp.tool_call' as const, target: 'mcp://fs', name: '*' }] }
    let above = await gate.permit(gate.request(large(), { delegates }))
    const chain = [above.permit.jti]
    for (let depth = 7; depth > 2; depth--) {
      await gate.permit(gate.request(toolCall('write_file'))) // of somebody else
      above = await gate.permit(gate.request(large(), { parent: { jti: above.permit.jti, leaf_hash: above.leaf }, delegates: { ...delegates, uses: depth, depth } }))
      chain.push(above.permit.jti)
    }
    let pages = 0
    const lines: string[] = []
    for await (const line of evidenceLines((method, params) => call(rig.plane, method, params, peer), above.permit.jti, undefined, () => pages++)) lines.push(line)
    expect(pages).toBeGreaterThan(1)
    const permits = parseBundle(utf8(`${lines.join('\n')}\n`)).entries.map(({ entry }) => parseEntry(entry)).flatMap((entry) => (entry.kind === 'permit' ? [entry.jti] : []))
    expect(permits).toEqual(chain)
  })
})

describe('the index of executions', () => {
  it('is brought up after a second in which nothing was logged, and not while something is', async () => {
    const gate = await rig.gate()
    const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 50))
    await gate.permit()
    rig.clock.advance(1_000)
    await settle()
    await gate.permit()
    rig.clock.advance(1_000)
    await settle()
    expect(await rig.store.indexedSize(), 'the log grew in this second').toBe(0)
    const { permit } = await gate.permit()
    for (let i = 0; i < 2; i++) {
      rig.clock.advance(1_000)
      await settle()
    }
    expect(await rig.store.indexedSize()).toBe(rig.plane.log.size)
    expect(await rig.store.execution(permit.jti)).toMatchObject({ seq: permit.seq })
    await gate.permit()
    rig.clock.advance(1_000)
    rig.clock.advance(1_000) // and the plane is closed in the middle of it
  })
})
