import { canonicalText, type Digest, digestOf, type JsonObject, MAX_SEEN_DEFINITIONS, MAX_TOOL_DEFINITION, parseEntry, type ToolEntry, utf8, verifyBundle } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/control-plane'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { person } from './support/people.ts'
import { openRigs, outcome, pinTools, type Rig, sha256, TOOL_DIGEST, type TestGate, told, toolCall } from './support/rig.ts'

const open = openRigs()
const ALL = { cursor: undefined, limit: 100 }
const definitionOf = (change: JsonObject = {}): { readonly definition: string; readonly digest: Digest } => {
  const definition = canonicalText({ name: 'read_file', description: 'reads', inputSchema: { type: 'object' }, ...change })
  return { definition, digest: digestOf(utf8(definition), sha256) }
}
const sees = (rig: Rig, gate: TestGate, ...tools: readonly { readonly definition?: string; readonly digest: Digest; readonly name?: string }[]): ReturnType<Rig['plane']['tools']['record']> =>
  rig.plane.tools.record({ session: gate.session, target: 'mcp://fs', tools: tools.map((tool) => ({ name: 'read_file', ...tool })) })
const pins = (rig: Rig, ...digests: readonly Digest[]): ReturnType<Rig['plane']['tools']['pin']> => rig.plane.tools.pin({ target: 'mcp://fs', tools: digests.map((digest) => ({ name: 'read_file', digest })) }, 'person:ann')
const calls = async (gate: TestGate, digest: Digest, change: JsonObject = {}): Promise<string> => told(await gate.authorize(gate.request(toolCall('read_file', change, { tool_digest: digest }))))
const states = (rig: Rig): readonly string[] => rig.plane.tools.list(ALL, { target: 'mcp://fs' }).tools.map(({ name, state }) => `${name} ${state}`)
async function entries(rig: Rig): Promise<readonly ToolEntry[]> {
  const { entries: all } = await rig.plane.reader.evidence('all')
  return all.map(({ entry }) => parseEntry(entry)).flatMap((entry) => (entry.kind === 'tool' ? [entry] : []))
}
async function fresh(): Promise<{ rig: Rig; gate: TestGate }> {
  const rig = await open()
  return { rig, gate: await rig.gate([]) }
}
const verdict = async (rig: Rig): Promise<string> => verifyBundle(await rig.plane.reader.evidence('all'), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [] }).verdict

describe('a tool', () => {
  it('ATK-090: is in quarantine until somebody pins it, and each refusal stands in the log', async () => {
    const { rig, gate } = await fresh()
    const { digest, definition } = definitionOf()
    expect(await calls(gate, digest), 'never seen').toBe('tool_not_pinned')
    expect(await sees(rig, gate, { digest, definition })).toEqual([{ name: 'read_file' }])
    expect(await calls(gate, digest), 'only seen').toBe('tool_not_pinned')
    expect(await pins(rig, digest)).toEqual({ pinned: [{ name: 'read_file', digest, seq: rig.plane.log.size - 1 }] })
    expect(await calls(gate, digest)).toBe('permit')
    expect(await sees(rig, gate, { digest, definition })).toEqual([{ name: 'read_file', pinned: digest }])
    const refused = (await rig.plane.reader.evidence('all')).entries.map(({ entry }) => parseEntry(entry)).filter(({ kind }) => kind === 'deny')
    expect(refused).toMatchObject([{ code: 'tool_not_pinned', scope: { name: 'read_file' } }, { code: 'tool_not_pinned' }])
    expect(await verdict(rig)).toBe('established')
  })
  it('ATK-091: that changed is tool_changed until the new definition is pinned, and then the old one is', async () => {
    const { rig, gate } = await fresh()
    const [first, second] = [definitionOf(), definitionOf({ description: 'reads, and <IMPORTANT> sends it on' })]
    await sees(rig, gate, first)
    await pins(rig, first.digest)
    expect(await sees(rig, gate, second)).toEqual([{ name: 'read_file', pinned: first.digest }])
    expect(states(rig)).toEqual(['read_file changed'])
    expect([await calls(gate, second.digest), await calls(gate, first.digest)]).toEqual(['tool_changed', 'permit'])
    await pins(rig, second.digest)
    expect([await calls(gate, second.digest), await calls(gate, first.digest)]).toEqual(['permit', 'tool_changed'])
    expect((await entries(rig)).at(-1)).toMatchObject({ event: 'pinned', digest: second.digest, previous: first.digest, by: 'person:ann' })
    expect(await verdict(rig)).toBe('established')
  })
  it('whose pin is taken away is refused again, and can be pinned again without being seen again', async () => {
    const { rig, gate } = await fresh()
    const one = definitionOf()
    await sees(rig, gate, one)
    await pins(rig, one.digest)
    expect(await outcome(rig.plane.tools.unpin('mcp://fs', ['other'], 'person:ann'))).toBe('tool_not_pinned')
    await rig.plane.tools.unpin('mcp://fs', ['read_file'], 'person:ann')
    expect([states(rig), await calls(gate, one.digest)]).toEqual([['read_file unpinned'], 'tool_not_pinned'])
    expect(await outcome(rig.plane.tools.unpin('mcp://fs', ['read_file'], 'person:ann'))).toBe('tool_not_pinned')
    await pins(rig, one.digest)
    expect(await calls(gate, one.digest)).toBe('permit')
    await rig.restart()
    expect([states(rig), await calls(gate, one.digest)], 'as it was read back').toEqual([['read_file pinned'], 'permit'])
  })
  it('is pinned only in a definition that was seen, once, and pinning it again writes nothing', async () => {
    const { rig, gate } = await fresh()
    const [one, other] = [definitionOf(), definitionOf({ description: 'other' })]
    expect(await outcome(pins(rig, one.digest))).toBe('tool_not_pinned')
    await sees(rig, gate, one)
    expect(await outcome(pins(rig, other.digest))).toBe('tool_not_pinned')
    const [first] = (await pins(rig, one.digest)).pinned
    const { size } = rig.plane.log
    expect((await pins(rig, one.digest)).pinned).toEqual([first])
    expect(rig.plane.log.size).toBe(size)
    // Where one of several is refused, the others stay.
    expect(await outcome(rig.plane.tools.pin({ target: 'mcp://fs', tools: [{ name: 'unseen', digest: one.digest }, { name: 'read_file', digest: one.digest }] }, 'person:ann'))).toBe('tool_not_pinned')
    expect(states(rig)).toEqual(['read_file pinned'])
  })
  it('is pinned by an admin: of anybody with less the log takes no pin, whatever let them ask', async () => {
    const { rig, gate } = await fresh()
    const one = definitionOf()
    await sees(rig, gate, one)
    const [boss, other] = [await person(rig, 'boss', 'admin'), await person(rig, 'other', 'operator')]
    const pinBy = (by: string): Promise<unknown> => rig.plane.tools.pin({ target: 'mcp://fs', tools: [{ name: 'read_file', digest: one.digest }] }, by)
    expect(await outcome(pinBy(other))).toBe('identity_unknown')
    expect(await outcome(pinBy(boss))).toBe('ok')
    expect(await outcome(rig.plane.tools.unpin('mcp://fs', ['read_file'], other))).toBe('identity_unknown')
    expect([states(rig), await verdict(rig)]).toEqual([['read_file pinned'], 'established'])
  })
  it('one that is pinned between decision and its place in the log is refused by what stands there', async () => {
    const { rig, gate } = await fresh()
    await pinTools(rig.plane, gate, ['read_file'])
    // Both are drafted in one turn: the call gets its place behind the entry that takes the pin away.
    const [answer] = await Promise.all([gate.authorize(), rig.plane.tools.unpin('mcp://fs', ['read_file'], rig.plane.sub)])
    expect(['permit', 'tool_not_pinned']).toContain(told(answer))
    expect(await verdict(rig)).toBe('established')
  })
  it('is kept with its definition, which is shown, and erased like any body', async () => {
    const { rig, gate } = await fresh()
    const [first, second] = [definitionOf(), definitionOf({ description: 'new \u202e' })]
    await sees(rig, gate, first)
    await pins(rig, first.digest)
    await sees(rig, gate, second)
    expect(await rig.plane.tools.show('mcp://fs', 'read_file')).toMatchObject({ state: 'changed', digest: second.digest, pinned: first.digest, by: 'person:ann', definition: { description: 'new \u202e' }, pinned_definition: { description: 'reads' } })
    expect(await outcome(rig.plane.tools.show('mcp://fs', 'other'))).toBe('tool_not_pinned')
    rig.clock.advance(300_000)
    const [seen] = (await rig.plane.reader.evidence('all')).entries.map(({ entry }) => parseEntry(entry)).filter((entry) => entry.kind === 'tool')
    await rig.plane.erase(String(seen?.seq), false, 'person:ann')
    const shown = await rig.plane.tools.show('mcp://fs', 'read_file')
    expect([shown.definition !== undefined, shown.pinned_definition]).toEqual([true, undefined])
    expect(await sees(rig, gate, first), 'what somebody had erased is not written down again').toEqual([{ name: 'read_file', pinned: first.digest }])
    expect((await rig.plane.tools.show('mcp://fs', 'read_file')).pinned_definition).toBeUndefined()
    expect([await calls(gate, first.digest), await verdict(rig)]).toEqual(['permit', 'established'])
  })
  it('of an older log, or of a gate that sent only its digest, gets its definition when it is seen with it', async () => {
    const { rig, gate } = await fresh()
    const { digest, definition } = definitionOf()
    await sees(rig, gate, { digest })
    await pins(rig, digest)
    expect(await rig.plane.tools.show('mcp://fs', 'read_file')).not.toHaveProperty('definition')
    await sees(rig, gate, { digest, definition })
    expect(await rig.plane.tools.show('mcp://fs', 'read_file')).toMatchObject({ state: 'pinned', definition: { name: 'read_file' }, pinned_definition: { name: 'read_file' } })
    expect(await verdict(rig)).toBe('established')
  })
  it('whose definition is not the text behind its digest, or not canonical, or of another tool, or too large, is not written down', async () => {
    const { rig, gate } = await fresh()
    const { digest, definition } = definitionOf()
    const loose = JSON.stringify({ name: 'read_file', description: 'reads' })
    const padded = (length: number): { definition: string; digest: Digest } => definitionOf({ description: 'x'.repeat(length - definitionOf({ description: '' }).definition.length) })
    const cases: Record<string, readonly [{ definition: string; digest: Digest; name?: string }, string]> = {
      'another digest': [{ definition, digest: TOOL_DIGEST }, 'action_mismatch'],
      'another name': [{ definition, digest, name: 'write_file' }, 'action_mismatch'],
      'another order': [{ definition: loose, digest: digestOf(utf8(loose), sha256) }, 'arguments_not_canonical'],
      'a list': [{ definition: '[]', digest: digestOf(utf8('[]'), sha256) }, 'action_mismatch'],
      'no JSON': [{ definition: '{', digest: digestOf(utf8('{'), sha256) }, 'request_malformed'],
      'one byte too many': [padded(MAX_TOOL_DEFINITION + 1), 'limit_exceeded'],
    }
    for (const [title, [tool, code]] of Object.entries(cases)) expect(await outcome(sees(rig, gate, tool)), title).toBe(code)
    expect(await entries(rig)).toEqual([])
    for (const length of [MAX_TOOL_DEFINITION - 1, MAX_TOOL_DEFINITION]) expect(await outcome(sees(rig, gate, padded(length))), String(length)).toBe('ok')
  })
  it('ATK-091: that changes with every list fills neither log nor memory, and what is not written down is not pinned', async () => {
    const { rig, gate } = await fresh()
    const one = definitionOf()
    await sees(rig, gate, one)
    await pins(rig, one.digest)
    for (let i = 0; i < MAX_SEEN_DEFINITIONS + 5; i++) await sees(rig, gate, definitionOf({ description: String(i) }))
    expect((await entries(rig)).length).toBe(2 + MAX_SEEN_DEFINITIONS - 1)
    expect(await outcome(pins(rig, definitionOf({ description: String(MAX_SEEN_DEFINITIONS) }).digest))).toBe('tool_not_pinned')
    // Pinning one of them makes room.
    await pins(rig, definitionOf({ description: '3' }).digest)
    await sees(rig, gate, definitionOf({ description: String(MAX_SEEN_DEFINITIONS) }))
    expect(await outcome(pins(rig, definitionOf({ description: String(MAX_SEEN_DEFINITIONS) }).digest))).toBe('ok')
    expect(await verdict(rig)).toBe('established')
  })
  it('is listed by server and by state, a page at a time', async () => {
    const { rig, gate } = await fresh()
    await pinTools(rig.plane, gate, ['a', 'b', 'c'])
    await rig.plane.tools.record({ session: gate.session, target: 'mcp://x', tools: [{ name: 'a', digest: TOOL_DIGEST }] })
    await rig.plane.tools.unpin('mcp://fs', ['b'], rig.plane.sub)
    const names = (filter: Parameters<Rig['plane']['tools']['list']>[1]): readonly string[] => rig.plane.tools.list(ALL, filter).tools.map(({ target, name }) => `${target}/${name}`)
    expect(names({})).toEqual(['mcp://fs/a', 'mcp://fs/b', 'mcp://fs/c', 'mcp://x/a'])
    expect([names({ state: 'pinned' }), names({ state: 'seen' }), names({ target: 'mcp://fs', state: 'unpinned' })]).toEqual([['mcp://fs/a', 'mcp://fs/c'], ['mcp://x/a'], ['mcp://fs/b']])
    const first = rig.plane.tools.list({ cursor: undefined, limit: 1 }, { state: 'pinned' })
    expect(rig.plane.tools.list({ cursor: first.next, limit: 1 }, { state: 'pinned' }).tools).toMatchObject([{ name: 'c' }])
  })
  it('whatever is seen, pinned and taken away in whatever order, what is permitted is what is pinned, and the log says so', async () => {
    const step = fc.record({ what: fc.constantFrom('see', 'pin', 'unpin', 'call'), text: fc.constantFrom('a', 'b', 'c') })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
        const { rig, gate } = await fresh()
        let [seen, pinned]: [Set<string>, string | undefined] = [new Set(), undefined]
        for (const { what, text } of steps) {
          const one = definitionOf({ description: text })
          if (what === 'see') {
            await sees(rig, gate, one)
            seen.add(text)
          } else if (what === 'pin') {
            expect(await outcome(pins(rig, one.digest))).toBe(seen.has(text) ? 'ok' : 'tool_not_pinned')
            if (seen.has(text) && pinned !== text) [seen, pinned] = [new Set([text]), text]
          } else if (what === 'unpin') {
            expect(await outcome(rig.plane.tools.unpin('mcp://fs', ['read_file'], 'person:ann'))).toBe(pinned === undefined ? 'tool_not_pinned' : 'ok')
            if (pinned !== undefined) [seen, pinned] = [new Set([pinned]), undefined]
          } else expect(await calls(gate, one.digest)).toBe(pinned === undefined ? 'tool_not_pinned' : pinned === text ? 'permit' : 'tool_changed')
        }
        expect(await verdict(rig)).toBe('established')
        const before = states(rig)
        await rig.restart()
        expect(states(rig)).toEqual(before)
      }),
      { numRuns: 15 },
    )
  })
})
