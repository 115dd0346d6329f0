import { commitment, type Delegation, digestOf, canonicalize, type DenyEntry, leafDigest, leafHash, parseEntry, type ParentRef, type Permit, utf8, type AuthorizeRequest, ancestorsOf } from '@sealwrit/protocol'
import { endOverdue, parseActivation } from '@sealwrit/control-plane'
import { describe, expect, it } from 'vitest'
import { askIssue, issue, issueRequest, redeem } from './support/push.ts'
import { TestApprover } from './support/approver.ts'
import { openRigs, outcome, PERMIT_ALL, pinTools, policySet, Rig, SCHEMA, sha256, TestGate, told, toolCall } from './support/rig.ts'

const open = openRigs()
const READ = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file' } as const

function delegation(rig: Rig, change: Partial<Delegation> = {}): Delegation {
  return { until: Math.floor(rig.clock.wallMs() / 1_000) + 3_600, uses: 100, depth: 8, scopes: [READ], ...change }
}
interface Issued {
  readonly permit: Permit
  readonly leaf: string
}
const refOf = ({ permit, leaf }: Issued): ParentRef => ({ jti: permit.jti, leaf_hash: leaf })
/** A permit that delegates, and one below it. */
const root = (rig: Rig, gate: TestGate, change: Partial<Delegation> = {}, request: Partial<AuthorizeRequest> = {}): Promise<Issued> => gate.permit(gate.request(toolCall(), { delegates: delegation(rig, change), ...request }))
const below = (gate: TestGate, parent: Issued, change: Partial<AuthorizeRequest> = {}): AuthorizeRequest => gate.request(toolCall(), { parent: refOf(parent), ...change })

describe('a request below a permit', () => {
  it('inherits root and principal, one level deeper, and what stops every ancestor', async () => {
    const rig = await open()
    const [first, second] = [await rig.gate(), await rig.gate()]
    const top = await root(rig, first, {}, { agent: { name: 'planner', verified: true } })
    const child = await second.permit(below(second, top, { delegates: delegation(rig, { depth: 7 }), agent: { name: 'helper', verified: true } }))
    const grandchild = await first.permit(below(first, child))
    expect(child.permit).toMatchObject({ txn: top.permit.jti, depth: 1, sub: top.permit.sub, par: refOf(top) })
    expect(grandchild.permit).toMatchObject({ txn: top.permit.jti, depth: 2, par: refOf(child) })
    expect(child.permit.above).toEqual([`agent:planner`, `artifact:${top.permit.jti}`, `key:${first.id}`].sort())
    expect(ancestorsOf(grandchild.permit)).toEqual([top.permit.jti, child.permit.jti].sort())
    expect(grandchild.permit.above).toEqual(expect.arrayContaining(['agent:planner', 'agent:helper', `key:${second.id}`]))
  })

  it('is asked for by an artifact that is carried, too, and below one', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await issue(rig.plane, gate, toolCall(), { delegates: delegation(rig) })
    const child = await issue(rig.plane, gate, toolCall(), { parent: refOf(top) })
    expect(child.permit).toMatchObject({ depth: 1, txn: top.permit.jti, use: 'redeem' })
    await redeem(rig.plane, gate, child, rig.token())
    rig.clock.advance(61_000) // nobody spent the parent while it could be started: it is nobody's parent any more
    expect(told(await askIssue(rig.plane, issueRequest(gate, toolCall(), { parent: refOf(top) })))).toBe('artifact_expired')
  })

  it('gets the same answer again for the same challenge, and is counted once', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate, { uses: 1 })
    const request = below(gate, top)
    const [one, two] = [await gate.permit(request), await gate.permit(request)]
    expect(two.permit.jti).toBe(one.permit.jti)
  })

  it('leaves nothing of the delegation in the leaf but its numbers; the rest is a body that belongs to its commitment', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const scopes = [{ ...READ, arguments: { path: { prefix: '/srv/secret-project/' } } }]
    const top = await root(rig, gate, { scopes })
    const text = (await rig.plane.log.read(top.permit.seq)).text
    expect(text).not.toContain('secret-project')
    const body = (await rig.store.bodies(top.permit.seq)).find(({ purpose }) => purpose === 'delegation')
    expect(JSON.parse(body?.text as string)).toEqual({ scopes })
    expect(commitment('delegation', body?.salt as string, digestOf(canonicalize({ scopes } as never), sha256), sha256)).toBe(top.permit.delegates?.terms_commit)
    const asked = below(gate, top, { action: toolCall('read_file', { path: '/srv/secret-project/a' }) })
    expect(told(await gate.authorize(asked))).toBe('permit')
    await rig.store.eraseBodies(top.permit.seq, top.permit.seq + 1) // what nobody can tell any more is nothing
    expect(told(await gate.authorize({ ...asked, challenge: rig.token() }))).toBe('delegation_widens')
  })

  it('survives a restart of the plane: the count of uses is what the log says', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate, { uses: 2 })
    await gate.permit(below(gate, top))
    await rig.restart()
    await gate.enrol()
    await gate.permit(below(gate, top))
    expect(told(await gate.authorize(below(gate, top)))).toBe('budget_exceeded')
  })
})

describe('ATK-050: a child is never wider than its parent', () => {
  it.each<[string, Partial<Delegation>, (rig: Rig, gate: TestGate) => Partial<AuthorizeRequest>]>([
    ['another tool', { scopes: [{ ...READ, name: 'list_directory' }] }, () => ({})],
    ['another target', { scopes: [{ ...READ, target: 'mcp://other' }] }, () => ({})],
    ['arguments outside of a folder', { scopes: [{ ...READ, arguments: { path: { prefix: '/home/' } } }] }, () => ({})],
    ['an argument that is not bounded', { scopes: [{ ...READ, arguments: {} }] }, () => ({})],
    ['another agent', { agents: ['helper'] }, () => ({})],
    ['another gate', { audiences: ['x'] }, () => ({})],
    ['an environment attested less well', { environment: 'signed' }, () => ({})],
    ['a delegation of every tool', {}, (rig) => ({ delegates: delegation(rig, { depth: 7, scopes: [{ ...READ, name: '*' }] }) })],
    ['a delegation as deep', {}, (rig) => ({ delegates: delegation(rig) })],
    ['a delegation of more uses', {}, (rig) => ({ delegates: delegation(rig, { depth: 7, uses: 101 }) })],
    ['a delegation that lasts longer', {}, (rig) => ({ delegates: delegation(rig, { depth: 7, until: Math.floor(rig.clock.wallMs() / 1_000) + 3_601 }) })],
    ['a delegation to anybody', { agents: ['tester'] }, (rig) => ({ delegates: delegation(rig, { depth: 7 }) })],
  ])('%s', async (_title, change, request) => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate, change)
    const asked = below(gate, top, request(rig, gate))
    expect(told(await gate.authorize(asked))).toBe('delegation_widens')
  })

  it('nor is there one below a permit that delegates nothing', async () => {
    const rig = await open()
    const gate = await rig.gate()
    expect(told(await gate.authorize(below(gate, await gate.permit())))).toBe('delegation_widens')
  })

  it('ends with its parent at the latest, and starts nothing when no time is left', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const until = Math.floor(rig.clock.wallMs() / 1_000) + 100
    const top = await root(rig, gate, { until })
    const ends = ({ permit }: Issued): number => permit.exp + permit.constraints.max_runtime_seconds
    const child = await gate.permit(below(gate, top, { delegates: delegation(rig, { until, depth: 7 }) }))
    expect(ends(child)).toBe(until)
    rig.clock.advance(50_000)
    await gate.enrol()
    expect(ends(await gate.permit(below(gate, child)))).toBeLessThanOrEqual(until)
    rig.clock.advance(49_000)
    expect(told(await gate.authorize(below(gate, top)))).toBe('artifact_expired')
  })

  it.each([-1, 0, 1])('uses: %i more than is left, counted on every level', async (more) => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate, { uses: 3 })
    const child = await gate.permit(below(gate, top, { delegates: delegation(rig, { depth: 7, uses: 3 }) }))
    const answers: string[] = []
    for (let i = 0; i < 2 + more; i++) answers.push(told(await gate.authorize(below(gate, i % 2 === 0 ? child : top))))
    expect(answers).toEqual([...Array<string>(Math.min(2, 2 + more)).fill('permit'), ...Array<string>(Math.max(0, more)).fill('budget_exceeded')])
  })

  it('many at once take no more than there are', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate, { uses: 7 })
    const answers = await Promise.all(Array.from({ length: 40 }, () => gate.authorize(below(gate, top))))
    expect(answers.filter(({ decision }) => decision === 'permit').length).toBe(7)
  })
})

describe('ATK-051: what is no lineage', () => {
  it('a parent that nobody knows, and a permit that would be its own', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate)
    for (const parent of [{ jti: rig.token(), leaf_hash: top.leaf }, { jti: top.permit.jti, leaf_hash: `sha256:${'0'.repeat(64)}` }]) {
      const reply = await gate.authorize(gate.request(toolCall(), { parent }))
      expect(told(reply)).toBe('parent_unknown')
      const { entry } = await rig.plane.log.read((reply as { seq: number }).seq)
      expect(entry).toMatchObject({ kind: 'deny', code: 'parent_unknown', par: parent })
    }
  })

  it.each([7, 8, 9])('a lineage of %i levels below its root', async (levels) => {
    const rig = await open()
    const gate = await rig.gate()
    let parent = await root(rig, gate)
    for (let depth = 1; depth <= Math.min(8, levels); depth++) {
      const delegates = depth < 8 ? { delegates: delegation(rig, { depth: 8 - depth }) } : {}
      parent = await gate.permit(below(gate, parent, delegates))
      expect(parent.permit.depth).toBe(depth)
    }
    // The deepest delegates nothing: a delegation has at least one level.
    if (levels > 8) expect(['lineage_depth', 'delegation_widens']).toContain(told(await gate.authorize(below(gate, parent))))
  })
})

describe('ATK-052: what an ancestor may no longer do, nothing below it may', () => {
  it('a request below what was denied, and below that', async () => {
    const rig = await Rig.open('denied', policySet(`${PERMIT_ALL} forbid (principal, action, resource) when { context.args has force };`))
    try {
      const gate = await rig.gate()
      const denied = async (request: AuthorizeRequest): Promise<{ entry: DenyEntry; ref: ParentRef }> => {
        const reply = await gate.authorize(request)
        const { entry, text } = await rig.plane.log.read((reply as { seq: number }).seq)
        return { entry: entry as DenyEntry, ref: { jti: (entry as DenyEntry).jti as string, leaf_hash: leafDigest(leafHash(utf8(text), sha256)) } }
      }
      const first = await denied(gate.request(toolCall('read_file', { force: true })))
      expect(first.entry.code).toBe('policy_denied')
      const second = await denied(gate.request(toolCall(), { parent: first.ref }))
      expect(second.entry).toMatchObject({ code: 'ancestor_denied', par: first.ref })
      expect((await denied(gate.request(toolCall(), { parent: second.ref }))).entry.code).toBe('ancestor_denied')
      expect((await denied(gate.request(toolCall(), { parent: { ...first.ref, leaf_hash: second.ref.leaf_hash } }))).entry.code).toBe('parent_unknown')
    } finally {
      await rig.remove()
    }
  })

  it.each<[string, number, (top: Issued, gate: TestGate) => string]>([
    ['its artifact', 1_000, ({ permit }) => `artifact:${permit.jti}`],
    ['the agent that it was issued to', 100, () => 'agent:planner'],
    ['what it ran', 100, () => 'tool:mcp://fs/read_text_file'],
  ])('a tree whose root is stopped by %s (%i permits): nothing new, nothing redeemed, nothing renewed', async (_title, size, selector) => {
    const rig = await open()
    const gate = await rig.gate()
    await pinTools(rig.plane, gate, ['read_text_file'])
    const top = await gate.permit(gate.request(toolCall('read_text_file'), { delegates: delegation(rig, { uses: 2_000 }), agent: { name: 'planner', verified: true } }))
    const tree = [top]
    for (let level = 1; tree.length < size; level++) {
      const parents = tree.filter(({ permit }) => permit.depth === level - 1)
      const wanted = Math.min(size - tree.length, parents.length * 10)
      tree.push(...(await Promise.all(Array.from({ length: wanted }, (_, i) => gate.permit(below(gate, parents[i % parents.length] as Issued, { delegates: delegation(rig, { uses: 2_000, depth: 8 - level }) }))))))
    }
    const carried = await issue(rig.plane, gate, toolCall(), { parent: refOf(tree[size / 2] as Issued) })
    const renew = async (): Promise<readonly string[]> => {
      const { sealed } = await rig.plane.renew({ session: gate.session, nonce: rig.token(), jtis: tree.map(({ permit }) => permit.jti) }, gate.id, { size: 0 })
      return (parseEntry(sealed.entry) as unknown as { jtis: string[] }).jtis
    }
    expect((await renew()).length).toBe(size)
    await rig.plane.stops.revoke(selector(top, gate), rig.plane.sub)
    const answers = new Set(await Promise.all(tree.map(async (parent) => told(await gate.authorize(below(gate, parent))))))
    expect(answers).toEqual(new Set(['ancestor_revoked']))
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('ancestor_revoked')
    expect(await renew()).toEqual([])
  }, 120_000)

  it('a killed ancestor, until it is lifted', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate, {}, { agent: { name: 'planner', verified: true } })
    const child = await gate.permit(below(gate, top, { delegates: delegation(rig, { depth: 7 }) }))
    await rig.plane.stops.kill('agent:planner', rig.plane.sub)
    expect(told(await gate.authorize(below(gate, child)))).toBe('ancestor_revoked')
    await rig.plane.stops.lift('agent:planner', rig.plane.sub)
    expect(told(await gate.authorize(below(gate, child)))).toBe('permit')
  })

  it('an ancestor with its ending: nothing begins below it, and what runs goes on in its own time', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate)
    const child = await gate.permit(below(gate, top, { delegates: delegation(rig, { depth: 7 }) }))
    const carried = await issue(rig.plane, gate, toolCall(), { parent: refOf(child) })
    await gate.report(gate.receiptFor(top.permit.jti, top.leaf))
    expect(told(await gate.authorize(below(gate, top)))).toBe('artifact_expired')
    expect(told(await gate.authorize(below(gate, child)))).toBe('artifact_expired')
    expect(await outcome(redeem(rig.plane, gate, carried, rig.token()))).toBe('artifact_expired')
    const { sealed } = await rig.plane.renew({ session: gate.session, nonce: rig.token(), jtis: [child.permit.jti] }, gate.id, { size: 0 })
    expect(parseEntry(sealed.entry)).toMatchObject({ jtis: [child.permit.jti] })
    await rig.plane.stops.revoke(`artifact:${top.permit.jti}`, rig.plane.sub)
    expect(told(await gate.authorize(below(gate, top)))).toBe('ancestor_revoked')
  })

  it('an ancestor that was lost sight of', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate)
    rig.clock.advance(900_000)
    await endOverdue(rig.plane.log, rig.clock.wallMs())
    await gate.enrol()
    expect(told(await gate.authorize(below(gate, top)))).toBe('artifact_expired')
  })

  it('an ancestor of an epoch that was voided', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const top = await root(rig, gate)
    await rig.plane.activate(parseActivation({ files: { 'test.cedar': `${PERMIT_ALL} // anew`, 'schema.cedarschema': SCHEMA }, urgent: true }))
    expect(told(await gate.authorize(below(gate, top)))).toBe('ancestor_revoked')
  })
})

describe('ATK-053: links of different lineages', () => {
  it('recombined, each id with the leaf of every other chain: all refused', async () => {
    const rig = await open()
    const gate = await rig.gate()
    const chains = await Promise.all(
      Array.from({ length: 100 }, async () => {
        const top = await root(rig, gate)
        return [top, await gate.permit(below(gate, top, { delegates: delegation(rig, { depth: 7 }) }))] as const
      }),
    )
    const links = chains.flat()
    const answers = await Promise.all(links.map(async ({ permit }, i) => told(await gate.authorize(gate.request(toolCall(), { parent: { jti: permit.jti, leaf_hash: (links[(i + 1 + (i % 7)) % links.length] as Issued).leaf } })))))
    expect(new Set(answers)).toEqual(new Set(['parent_unknown']))
  }, 120_000)
})

describe('approvals', () => {
  it('are for this very delegation and parent: another one waits for an approval of its own, and a grant covers none', async () => {
    const rig = await Rig.open('held', policySet('@approval("group:secops quorum:1") permit (principal, action, resource) unless { context.args has free }; permit (principal, action, resource) when { context.args has free };', SCHEMA.replace('force?: Bool', 'force?: Bool, free?: Bool')))
    try {
      const gate = await rig.gate()
      const ann = await TestApprover.registered(rig.plane, 'ann')
      const delegates = delegation(rig, { uses: 5 })
      const reply = await gate.authorize(gate.request(toolCall(), { delegates }))
      if (reply.decision !== 'hold') throw new Error(told(reply))
      const shown = await rig.plane.people.hold(reply.hold)
      expect(JSON.parse(shown.delegation?.text as string)).toEqual({ scopes: delegates.scopes })
      await ann.approve(rig.plane, reply.hold)
      const again = (change: Partial<AuthorizeRequest>): Promise<string> => gate.authorize(gate.request(toolCall(), { hold: reply.hold, ...change })).then(told)
      expect(await again({})).toBe('approval_required')
      expect(await again({ delegates: { ...delegates, uses: 6 } })).toBe('approval_required')
      expect(await again({ delegates: { ...delegates, scopes: [{ ...READ, name: '*' }] } })).toBe('approval_required')
      const free = await gate.permit(gate.request(toolCall('read_file', { free: true }), { delegates: delegation(rig) }))
      expect(await again({ delegates: delegation(rig, { uses: 5, depth: 7 }), parent: refOf(free) })).toBe('approval_required')
      const top = await gate.permit(gate.request(toolCall(), { hold: reply.hold, delegates }))
      const held = (await rig.plane.log.read(reply.seq)).entry
      expect(held).toMatchObject({ kind: 'hold', delegates: top.permit.delegates })
      const below = await gate.authorize(gate.request(toolCall(), { parent: refOf(top) }))
      if (below.decision !== 'hold') throw new Error(told(below))
      expect((await rig.plane.log.read(below.seq)).entry).toMatchObject({ par: refOf(top) })
      await ann.approve(rig.plane, below.hold)
      expect(told(await gate.authorize(gate.request(toolCall(), { hold: below.hold })))).toBe('approval_required')
      expect(told(await gate.authorize(gate.request(toolCall(), { hold: below.hold, parent: refOf(top) })))).toBe('permit')
    } finally {
      await rig.remove()
    }
  })
})

describe('policies', () => {
  const WITH_LINEAGE = SCHEMA.replace('lineage: { depth: Long }', 'lineage: { depth: Long, root?: String, parent?: { agent: String, tool: String }, delegates?: { depth: Long, uses: Long, seconds: Long, scopes: Set<String> } }')

  it('see depth, who delegated, and what is to be delegated', async () => {
    const rules = `${PERMIT_ALL}
      forbid (principal, action, resource) when { context.lineage has parent && context.lineage.parent.agent != "planner" };
      forbid (principal, action, resource) when { context.lineage has delegates && (context.lineage.delegates.uses > 5 || context.lineage.delegates.seconds > 3600 || context.lineage.delegates.scopes.contains("mcp://fs/*")) };
      forbid (principal, action, resource) when { context.lineage.depth > 1 };`
    const rig = await Rig.open('policies', policySet(rules, WITH_LINEAGE))
    try {
      const gate = await rig.gate()
      const planner = { agent: { name: 'planner', verified: true } }
      expect(told(await gate.authorize(gate.request(toolCall(), { delegates: delegation(rig, { uses: 6 }) })))).toBe('policy_denied')
      expect(told(await gate.authorize(gate.request(toolCall(), { delegates: delegation(rig, { uses: 5, scopes: [{ ...READ, name: '*' }] }) })))).toBe('policy_denied')
      const top = await root(rig, gate, { uses: 5 }, planner)
      const other = await root(rig, gate, { uses: 5 })
      const child = await gate.permit(below(gate, top, { delegates: delegation(rig, { uses: 5, depth: 7 }), ...planner }))
      expect(told(await gate.authorize(below(gate, other)))).toBe('policy_denied')
      expect(told(await gate.authorize(below(gate, child)))).toBe('policy_denied')
    } finally {
      await rig.remove()
    }
  })

  it('of a schema from before see the depth, and go on', async () => {
    const rig = await Rig.open('old', policySet(`${PERMIT_ALL} forbid (principal, action, resource) when { context.lineage.depth > 0 && context.args has force };`))
    try {
      const gate = await rig.gate()
      const top = await root(rig, gate)
      expect(told(await gate.authorize(below(gate, top)))).toBe('permit')
      expect(told(await gate.authorize(below(gate, top, { action: toolCall('read_file', { force: true }) })))).toBe('policy_denied')
    } finally {
      await rig.remove()
    }
  })
})
