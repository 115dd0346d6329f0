import { ARTIFACT_META } from '@sealwrit/mcp-gateway'
import type { Action, JsonObject, JsonValue, SealedEntry } from '@sealwrit/protocol'
import { afterEach, describe, expect, it } from 'vitest'
import { awayLog, awayPermit, shown } from '../../protocol/test/support/foreign.ts'
import { Bench, codeOf, TOOL } from './support/bench.ts'

const benches: Bench[] = []
afterEach(() => {
  for (const bench of benches.splice(0)) bench.gate.close()
})
/** A gateway whose tool is recorded, and the action that a call of it is. */
async function open(decide?: () => 'permit' | 'policy_denied'): Promise<{ bench: Bench; action: (args?: JsonObject) => Action }> {
  const bench = await new Bench(decide === undefined ? {} : { decide }).initialize()
  benches.push(bench)
  await bench.request('tools/list', {})
  await bench.call(TOOL.name, { path: '/recorded' })
  const digest = bench.plane.entries.flatMap((e) => (e.kind === 'tool' ? [e.digest] : []))[0] as string
  bench.received.length = 0
  return { bench, action: (args = { path: '/x' }) => ({ type: 'mcp.tool_call', target: 'mcp://fs', name: TOOL.name, arguments: args, tool_digest: digest }) }
}
const issue = (bench: Bench, action: Action, name = 'tester'): SealedEntry => bench.plane.issue(action, { name, verified: true }, bench.gate.id)
const present = async (bench: Bench, artifact: JsonValue | SealedEntry, params: JsonObject = { name: TOOL.name, arguments: { path: '/x' } }): Promise<string> =>
  codeOf(await bench.request('tools/call', { ...params, _meta: { [ARTIFACT_META]: artifact } }))

describe('a call that carries an artifact', () => {
  it('runs on it although nothing would be permitted now, and the server sees no trace of it', async () => {
    let permits = true
    const { bench, action } = await open(() => (permits ? 'permit' : 'policy_denied'))
    permits = false
    const artifact = issue(bench, action())
    expect(codeOf(await bench.call(TOOL.name, { path: '/x' })), 'a pull is denied').toBe('policy_denied')
    expect(await present(bench, artifact)).toBe('ran')
    expect(bench.calls()).toHaveLength(1)
    expect(JSON.parse(bench.calls()[0] as string)).toMatchObject({ params: { name: TOOL.name, arguments: { path: '/x' } } })
    expect(bench.received.join('\n')).not.toMatch(/sealwrit|proof|permit/)
    expect(bench.plane.entries.slice(-3).map(({ kind }) => kind)).toEqual(['deny', 'redemption', 'receipt'])
  })
  it('ATK-040: runs once; a second call with it is artifact_spent, and nothing else is asked for', async () => {
    const { bench, action } = await open()
    const artifact = issue(bench, action())
    expect(await present(bench, artifact)).toBe('ran')
    const permits = bench.plane.entries.filter((e) => e.kind === 'permit').length
    for (let i = 0; i < 50; i++) expect(await present(bench, artifact)).toBe('artifact_spent')
    expect(bench.calls()).toHaveLength(1)
    expect(bench.plane.entries.filter((e) => e.kind === 'permit')).toHaveLength(permits)
  })
  it.each([['null', null, 'artifact_missing'], ['empty', '', 'artifact_missing'], ['a list', [], 'artifact_malformed'], ['an object', {}, 'artifact_malformed'], ['a number', 1, 'artifact_malformed']] as const)('ATK-001: %s in its place is denied, never taken for a call without one', async (_name, artifact, code) => {
    const { bench } = await open()
    expect(await present(bench, artifact as JsonValue)).toBe(code)
    expect(bench.calls()).toEqual([])
    expect(bench.denials()).toContain(code)
  })
  it('ATK-049: another agent’s artifact, or one for another call, is refused and not spent', async () => {
    const { bench, action } = await open()
    expect(await present(bench, issue(bench, action(), 'somebody'))).toBe('subject_mismatch')
    const artifact = issue(bench, action())
    expect(await present(bench, artifact, { name: TOOL.name, arguments: { path: '/etc/shadow' } })).toBe('action_mismatch')
    expect(bench.calls()).toEqual([])
    expect(await present(bench, artifact)).toBe('ran')
  })
  it('on other requests the member means nothing: they are governed as ever', async () => {
    const { bench } = await open()
    expect(codeOf(await bench.request('resources/read', { uri: 'file:///x', _meta: { [ARTIFACT_META]: null } }))).toBe('ran')
    expect(bench.plane.entries.some((e) => e.kind === 'redemption')).toBe(false)
  })
})

describe('a call that presents what another plane permitted', () => {
  const ask = async (bench: Bench, foreign: JsonValue): Promise<string> => codeOf(await bench.request('tools/call', { name: TOOL.name, arguments: { path: '/x' }, _meta: { 'sealwrit/foreign': foreign } }))
  it('runs under no permit that does not descend from exactly that, whatever this plane permits; the server sees no trace of it', async () => {
    const { bench } = await open()
    const { log, index } = awayLog(awayPermit())
    expect(await ask(bench, shown(log, index))).toBe('parent_unknown') // the plane of this bench passes over it
    expect(bench.received.join('\n')).not.toMatch(/sealwrit|proof|permit/)
    expect(bench.calls()).toEqual([])
  })
  it.each([['null', null, 'request_malformed'], ['a text', 'x', 'request_malformed'], ['an object', {}, 'request_malformed'], ['no artifact', { sealed: null, consistency: [] }, 'artifact_missing']] as const)('ATK-001: %s in its place is denied, never taken for a call without one', async (_name, foreign, code) => {
    const { bench } = await open()
    expect(await ask(bench, foreign as JsonValue)).toBe(code)
    expect(bench.calls()).toEqual([])
  })
})
