import { type DenialCode, type Entry, formatBundle, OBSERVED_CODES, parseBundle, type Permit, type Report, utf8, verifyBundle } from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/gate'
import { describe, expect, it } from 'vitest'
import { DecisionReplay } from '../src/decide/replay.ts'
import { parseActivation } from '../src/govern/activation.ts'
import { openRigs, policySet, type Rig, sha256, type TestGate, told, toolCall } from './support/rig.ts'

const rigs = openRigs()
/** Permits reads, holds a prompt, forbids what is forced, counts what is counted; says nothing of writes. */
const POLICIES = `
  @id("read") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://fs/read_file");
  @id("force") forbid (principal, action, resource) when { context.args has force && context.args.force };
  @id("held") @approval("group:ops") @max_runtime("20s") @risk("high") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://fs/held");
  @id("counted") @budget("1/1h") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://fs/counted");`
const opened = async (observes: boolean): Promise<{ rig: Rig; gate: TestGate; asks: (name: string, args?: Record<string, never>, observe?: boolean) => Promise<string> }> => {
  const rig = await rigs()
  rig.policies = policySet(POLICIES)
  rig.policyRules = { observes }
  await rig.restart()
  const gate = await rig.gate(['read_file', 'write_file', 'held', 'counted'])
  return { rig, gate, asks: async (name, args = {}, observe = true) => told(await gate.authorize(gate.request(toolCall(name, args), observe ? { observe: true } : {}))) }
}
const observed = async (gate: TestGate, name: string, args: object = {}): Promise<Permit> => (await gate.permit(gate.request(toolCall(name, args as never), { observe: true }))).permit
const evidence = async (rig: Rig): Promise<Report> =>
  verifyBundle(parseBundle(utf8(formatBundle(await rig.plane.reader.evidence('all')))), { crypto: nodeCryptography, logKey: rig.key, gateKeys: [], replay: new DecisionReplay(sha256) })
const modes = async (rig: Rig): Promise<(string | undefined)[]> => {
  const entries: Entry[] = []
  for (let seq = 0; seq < rig.plane.log.size; seq++) entries.push((await rig.plane.log.read(seq)).entry)
  return entries.flatMap((entry) => (entry.kind === 'policy' && (entry.event === 'observing' || entry.event === 'enforcing') ? [entry.event] : []))
}

describe('an enforcing plane', () => {
  it('denies what policy denies, whatever a gate asks for, and issues no observed permit', async () => {
    const { rig, asks } = await opened(false)
    expect([await asks('write_file'), await asks('read_file', { force: true } as never), await asks('held'), await asks('counted'), await asks('counted'), await asks('unknown')]).toEqual(['policy_no_match', 'policy_denied', 'hold', 'permit', 'budget_exceeded', 'policy_no_match'])
    expect(await modes(rig)).toEqual([])
    expect((await evidence(rig)).notShown.join()).not.toContain('observed')
  })
})

describe('an observing plane', () => {
  it('permits what policy denies to gates that ask for it, marked with the denial, at level A1, and to no other', async () => {
    const { rig, gate, asks } = await opened(true)
    rig.policies = policySet(`${POLICIES} @id("any") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://fs/unpinned");`)
    await rig.plane.activate(parseActivation({ files: rig.policies.files }))
    expect([await asks('write_file', {}, false), await asks('read_file', { force: true } as never, false), await asks('held', {}, false)]).toEqual(['policy_no_match', 'policy_denied', 'hold'])
    const permits: Permit[] = [await observed(gate, 'write_file'), await observed(gate, 'read_file', { force: true }), await observed(gate, 'unpinned'), await observed(gate, 'held', { path: '/other' })]
    expect((await gate.permit(gate.request(toolCall('counted', {}), { observe: true }))).permit.observed, 'what policy permits is governed').toBeUndefined()
    permits.push(await observed(gate, 'counted', { path: '/again' }))
    expect(permits.map((permit) => permit.observed)).toEqual(['policy_no_match', 'policy_denied', 'tool_not_pinned', 'approval_required', 'budget_exceeded'])
    expect([...new Set(permits.map((permit) => permit.observed))].sort()).toEqual([...OBSERVED_CODES].sort())
    for (const permit of permits) expect(permit).toMatchObject({ assurance: 'A1', use: 'challenge', depth: 0, approvals: [] })
    for (const { constraints } of permits) expect(constraints.budgets).toBeUndefined()
    expect(permits[3]).toMatchObject({ risk: 'high', constraints: { max_runtime_seconds: 20 } })
    const report = await evidence(rig)
    expect(report).toMatchObject({ verdict: 'established', findings: [] })
    expect(report.notShown.filter((one) => one.includes('observed, not governed'))).toHaveLength(5)
  })

  it('says in the log when it observes, once, and that it does no more; what still runs then ends with its lease', async () => {
    const { rig, gate, asks } = await opened(true)
    await rig.restart()
    await gate.enrol()
    expect(await modes(rig)).toEqual(['observing'])
    const { jti } = await observed(gate, 'write_file')
    const governed = await gate.permit(gate.request(toolCall('read_file')))
    const renewed = async (): Promise<readonly string[]> => {
      await rig.plane.renew({ session: gate.session, nonce: rig.token(), jtis: [jti, governed.permit.jti] }, gate.id, { size: 0 })
      const { entry } = await rig.plane.log.read(rig.plane.log.size - 1)
      return entry.kind === 'lease' ? entry.jtis : []
    }
    expect(await renewed()).toEqual([jti, governed.permit.jti])
    rig.policyRules = { observes: false }
    await rig.restart()
    await gate.enrol()
    expect(await modes(rig)).toEqual(['observing', 'enforcing'])
    expect(await renewed()).toEqual([governed.permit.jti])
    expect(await asks('write_file')).toBe('policy_no_match')
    expect(await evidence(rig)).toMatchObject({ verdict: 'established', findings: [] })
  })

  it('does not observe where another plane of its log enforces since, though it was started to', async () => {
    const { rig, asks } = await opened(true)
    expect(await asks('write_file')).toBe('permit')
    const { standing, policyDigest, epoch } = rig.plane.log.state
    expect(standing.isObserving).toBe(true)
    await rig.plane.log.ensure(() => ({ body: { kind: 'policy', digest: policyDigest as string, epoch, policies: [], event: 'enforcing' }, bodies: [] }))
    expect(await asks('write_file', { path: '/x' } as never)).toBe('policy_no_match')
  })

  it('lets nothing run that is denied by anything but policy', async () => {
    const { rig, gate, asks } = await opened(true)
    const ask = async (change: object, action = toolCall('write_file')): Promise<string> => told(await gate.authorize(gate.request(action, { observe: true, ...change })))
    expect(await ask({ environment: `sha256:${'0'.repeat(64)}` })).toBe('policy_no_match') // what policy said goes first; nothing runs
    expect(await ask({ environment: `sha256:${'0'.repeat(64)}` }, toolCall('read_file'))).toBe('environment_mismatch')
    expect(await ask({}, toolCall('read_file', {}, { tool_digest: `sha256:${'b'.repeat(64)}` }))).toBe('tool_changed')
    await rig.plane.stops.kill('tool:mcp://fs/write_file', rig.plane.sub)
    expect(await asks('write_file')).toBe('policy_no_match')
    await rig.plane.stops.revoke('agent:tester', rig.plane.sub)
    expect([await asks('held'), await asks('read_file')]).toEqual(['revoked', 'revoked'])
    expect((await evidence(rig)).verdict).toBe('established')
  })

  it('observes nothing that rests on another permit, waits for an approval, or is carried', async () => {
    const { rig, gate } = await opened(true)
    const root = await gate.permit(gate.request(toolCall('read_file')))
    const refused: Record<string, DenialCode | string> = {}
    for (const [what, change] of Object.entries({ parent: { parent: { jti: root.permit.jti, leaf_hash: root.leaf } }, hold: { hold: rig.token() } })) refused[what] = told(await gate.authorize(gate.request(toolCall('write_file'), { observe: true, ...change })))
    expect(Object.values(refused).every((one) => one !== 'permit')).toBe(true)
  })

  it('finds them by what policy denied, and never calls them denied or governed', async () => {
    const { rig, gate } = await opened(true)
    await observed(gate, 'write_file')
    await gate.authorize(gate.request(toolCall('write_file', { path: '/y' })))
    const found = await rig.plane.reader.search({ code: 'policy_no_match', page: { limit: 10 } } as never)
    expect(found.executions.map(({ decision, code, observed: one }) => ({ decision, code, observed: one }))).toEqual([{ decision: 'deny', code: 'policy_no_match', observed: undefined }, { decision: 'permit', code: undefined, observed: 'policy_no_match' }])
  })
})
