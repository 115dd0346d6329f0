import { ExecutionIndex, MAX_NAMES } from '@sealwrit/control-plane'
import { type Entry, type JsonObject, parseEntry } from '@sealwrit/protocol'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Served } from './support/http.ts'
import { policySet, PERMIT_ALL, Rig, type TestGate, toolCall } from './support/rig.ts'

interface Found {
  readonly seq: number
  readonly time: number
  readonly decision: string
  readonly code?: string
  readonly outcome?: string
  readonly id?: string
  readonly agent?: string
  readonly scope?: { target: string; name: string }
}
interface Page {
  readonly executions: readonly Found[]
  readonly next?: string
}

let rig: Rig
let served: Served
let gate: TestGate
beforeAll(async () => {
  rig = await Rig.open('search', policySet(`${PERMIT_ALL}\n@id("no-writes")\nforbid (principal, action == Action::"mcp.tool_call", resource) when { resource.name == "write_file" };`))
  gate = await rig.gate()
  const one = async (agent: string, tool: string, outcome?: 'completed' | 'failed', assurance?: string): Promise<void> => {
    rig.clock.advance(1_000)
    const request = gate.request(toolCall(tool), { agent: { name: agent, verified: true } })
    if (outcome === undefined) return void (await gate.authorize(request))
    const { permit, leaf } = await gate.permit(request)
    await gate.report(gate.receiptFor(permit.jti, leaf, { ...(outcome === 'failed' ? { outcome, cause: 'tool_error' } : {}), ...(assurance === undefined ? {} : { assurance }) }))
  }
  for (let i = 0; i < 4; i++) {
    await one('coder', 'read_file', 'completed')
    await one('reviewer', 'read_file', i % 2 === 0 ? 'failed' : 'completed')
    await one('coder', 'write_file')
    await one('reviewer', 'unheard_of')
  }
  for (const assurance of ['A0', 'A2']) await one('reviewer', 'read_file', 'completed', assurance)
  await one('coder', 'read_file') // stays open
  served = await Served.open(rig.plane)
})
afterAll(async () => {
  await served.close()
  await rig.remove()
})

const search = (query: string): Promise<Page> => served.json<Page>('GET', `/v1/executions${query}`)

/** What a search must find, from the entries themselves. */
async function expected(fits: (entry: Entry & JsonObject, outcome: string, assurance: string | undefined) => boolean): Promise<number[]> {
  const entries = (await rig.plane.log.readRun(0, rig.plane.log.size)).map(({ text }) => parseEntry(text) as Entry & JsonObject)
  const told = new Map<string, { outcome: string; assurance: string }>()
  for (const entry of entries) if (entry.kind === 'receipt') told.set(entry.jti, JSON.parse(Buffer.from(entry.receipt.split('.')[1] as string, 'base64url').toString()) as { outcome: string; assurance: string })
  return entries.filter((entry) => ['permit', 'deny', 'hold'].includes(entry.kind) && fits(entry, entry.kind === 'permit' ? (told.get(entry.jti)?.outcome ?? 'open') : '', entry.kind === 'permit' ? told.get(entry.jti)?.assurance : undefined)).map(({ seq }) => seq).reverse()
}

describe('a search of executions', () => {
  const nth = async (n: number): Promise<number> => (await search('')).executions[n]?.time as number
  it('finds by agent, tool, decision, code, outcome and time, newest first, what the entries say', async () => {
    const [late, early] = [await nth(5), await nth(11)]
    const cases: readonly [string, (entry: Entry & JsonObject, outcome: string, assurance: string | undefined) => boolean][] = [
      ['', () => true],
      ['?agent=coder', ({ act }) => (act as { sub: string }).sub === 'agent:coder'],
      ['?agent=agent:reviewer&decision=permit', ({ kind, act }) => kind === 'permit' && (act as { sub: string }).sub === 'agent:reviewer'],
      ['?tool=mcp://fs/read_file', ({ scope }) => (scope as { name: string }).name === 'read_file'],
      ['?decision=deny&code=policy_denied', ({ kind, code }) => kind === 'deny' && code === 'policy_denied'],
      ['?code=tool_not_pinned', ({ code }) => code === 'tool_not_pinned'],
      ['?outcome=failed', (_entry, outcome) => outcome === 'failed'],
      ['?outcome=open', (_entry, outcome) => outcome === 'open'],
      [`?from=${early}&to=${late}`, ({ time }) => time >= early && time < late],
      [`?from=${early}&agent=coder&decision=permit&outcome=completed&tool=mcp://fs/read_file`, ({ time, act }, outcome) => time >= early && outcome === 'completed' && (act as { sub: string }).sub === 'agent:coder'],
      ['?assurance=A3', (_entry, _outcome, assurance) => assurance === 'A3'],
      ['?assurance=A1', () => false],
      ['?min_assurance=A0', (_entry, _outcome, assurance) => assurance !== undefined],
      ['?min_assurance=A2', (_entry, _outcome, assurance) => assurance === 'A2' || assurance === 'A3'],
      ['?min_assurance=A2&assurance=A2&agent=reviewer', (_entry, _outcome, assurance) => assurance === 'A2'],
      ['?min_assurance=A3&assurance=A2', () => false],
      ['?agent=nobody', () => false],
    ]
    for (const [query, fits] of cases) {
      const found = (await search(query)).executions.map(({ seq }) => seq)
      expect([query, found]).toEqual([query, await expected(fits)])
    }
    expect((await search('?outcome=failed&limit=1')).executions[0]).toEqual({ seq: expect.any(Number), time: expect.any(Number), decision: 'permit', outcome: 'failed', assurance: 'A3', id: expect.stringMatching(/^[\w-]{22}$/), agent: 'agent:reviewer', sub: rig.plane.sub, scope: { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file' } })
  })
  it('goes through pages of any size without leaving out or doubling anything, also while more is decided', async () => {
    const all = (await search('?agent=coder')).executions.map(({ seq }) => seq)
    for (let limit = 1; limit <= all.length + 1; limit++) {
      const found: number[] = []
      for (let cursor = ''; ; ) {
        const page = await search(`?agent=coder&limit=${limit}${cursor}`)
        found.push(...page.executions.map(({ seq }) => seq))
        if (page.next === undefined) break
        cursor = `&cursor=${page.next}`
      }
      expect(found).toEqual(all)
    }
    const first = await search('?limit=2')
    await gate.authorize(gate.request(toolCall(), { agent: { name: 'other', verified: true } }))
    expect((await search(`?limit=1&cursor=${first.next}`)).executions[0]?.seq).toBe((await search('')).executions[3]?.seq)
  })
  it('finds the same after a restart, over HTTP and over the socket, and shows what it found', async () => {
    const before = await search('')
    await served.close()
    await rig.restart()
    served = await Served.open(rig.plane)
    expect(await search('')).toEqual(before)
    const permit = before.executions.find(({ outcome }) => outcome === 'completed') as Found
    expect((await served.json<{ entries: Entry[] }>('GET', `/v1/executions/${permit.id}`)).entries.map(({ kind }) => kind)).toEqual(['permit', 'receipt'])
  })
  it.each(['?code=nothing', '?decision=maybe', '?outcome=great', '?assurance=A6', '?assurance=', '?min_assurance=a3', '?from=x', '?from=-1', '?agent=', '?limit=0', '?cursor=zz', '?other=1', '?agent=a&agent=b'])('refuses %s', async (query) => {
    expect((await served.ask('GET', `/v1/executions${query}`)).status).toBe(400)
  })
})

describe('the index of decisions', () => {
  const deny = (seq: number, agent: string): Entry => ({ v: 1, kind: 'deny', tenant: 'default', seq, time: seq, code: 'policy_denied', act: { sub: agent, verified: true } })
  it('ATK-088: tells a bounded number of names apart, and says of what comes beyond it that only the entry knows', () => {
    const index = new ExecutionIndex()
    for (let seq = 0; seq < MAX_NAMES + 2; seq++) index.take(deny(seq, `agent:${seq}`))
    const [, to] = index.range
    const found = [...index.matching({ agent: `agent:${MAX_NAMES + 1}` }, to)]
    expect(found.length).toBeGreaterThan(0)
    expect(found[0]).toEqual({ row: to - 1, isSure: false })
    expect([index.isBare(to - 1), index.isBare(0)]).toEqual([true, false])
    expect([...index.matching({ agent: 'agent:5' }, to)].filter(({ isSure }) => isSure)).toEqual([{ row: 5, isSure: true }])
  })
  it('takes entries in their order only, so that what it missed is read again and nothing stands twice', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60 }), (order) => {
        const index = new ExecutionIndex()
        for (const seq of order) index.take(deny(seq, 'agent:a'))
        const [from, to] = index.range
        expect(Array.from({ length: to - from }, (_, i) => index.seqOf(i))).toEqual(Array.from({ length: index.next }, (_, i) => i))
        for (let seq = 0; seq <= index.next + 1; seq++) expect(index.before(seq)).toBe(Math.min(seq, index.next))
      }),
    )
  })
})
