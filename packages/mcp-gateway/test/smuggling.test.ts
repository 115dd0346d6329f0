import { describe, expect, it } from 'vitest'
import { score, SEED, sized } from '../../../test/support/scoreboard.ts'
import { type Campaign, run } from './smuggling/campaign.ts'
import { runOverHttp } from './smuggling/http-campaign.ts'
import { ServerJudge } from './smuggling/judge.ts'
import { MUTATIONS } from './smuggling/mutate.ts'
import { REQUESTS } from './smuggling/requests.ts'
import { ERAS } from './smuggling/traffic.ts'

const FRAMES = sized(100_000, 2_000_000)
const REQUEST_COUNT = sized(4_000, 200_000)

describe('smuggling', () => {
  it.each([
    ['another order of members', '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}'],
    ['a request that nobody permitted', '{"id":1,"jsonrpc":"2.0","method":"tools/call","params":{"arguments":{"n":2},"name":"read_file"}}'],
    ['a list with more in it', '{"id":1,"jsonrpc":"2.0","method":"tools/list","params":{"evil":true}}'],
    ['a method that is not known', '{"id":1,"jsonrpc":"2.0","method":"evil","params":{}}'],
    ['a notification', '{"jsonrpc":"2.0","method":"notifications/evil"}'],
    ['a member of _meta', '{"id":1,"jsonrpc":"2.0","method":"tools/list","params":{"_meta":{"evil":true}}}'],
    ['another token', '{"id":1,"jsonrpc":"2.0","method":"tools/list","params":{"_meta":{"progressToken":7}}}'],
    ['a batch', '[{"id":1,"jsonrpc":"2.0","method":"tools/list","params":{}}]'],
  ])('the judge finds %s', (_name, line) => {
    const judge = new ServerJudge()
    judge.permit({ type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { n: 1 } })
    expect(judge.fault(line)).toBeTypeOf('string')
  })
  it('the judge takes what was permitted once, and no second time', () => {
    const judge = new ServerJudge()
    judge.permit({ type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file', arguments: { n: 1 } })
    const call = (id: number): string => `{"id":${id},"jsonrpc":"2.0","method":"tools/call","params":{"arguments":{"n":1},"name":"read_file"}}`
    expect([judge.fault(call(1)), judge.fault(call(2))]).toEqual([undefined, 'a request that nobody permitted, or one time too often'])
  })

  it(`S28, ATK-011, ATK-018, ATK-095, ATK-096, ATK-097: of ${FRAMES} mutated messages, in both directions and every pairing of revisions, no unjudged byte reaches either side (seed ${SEED})`, async () => {
    const campaigns = ERAS.flatMap((client) => ERAS.flatMap((server) => (['client', 'client', 'client', 'server'] as const).map((hostile): Omit<Campaign, 'seed' | 'count'> => ({ client, server, hostile }))))
    const count = Math.ceil(FRAMES / campaigns.length)
    const kinds = new Map<string, number>()
    const faults: string[] = []
    let [made, arrived, answered, connections] = [0, 0, 0, 0]
    for (const [i, campaign] of campaigns.entries()) {
      const outcome = await run({ ...campaign, count, seed: SEED + i })
      for (const [kind, n] of outcome.kinds) kinds.set(kind, (kinds.get(kind) ?? 0) + n)
      faults.push(...outcome.faults)
      made += outcome.made
      arrived += outcome.arrived
      answered += outcome.answered
      connections += outcome.connections
      expect(outcome.arrived, `${JSON.stringify(campaign)}: honest calls went on arriving`).toBeGreaterThan(count / 200)
    }
    score({ id: 'S28', figure: 'mutated MCP messages: bytes that reach either side unjudged', n: made, violations: faults.length, seed: SEED, faultsLanded: made - (kinds.get('honest') ?? 0), notes: `${connections} connections, ${arrived} judged requests arrived` })
    console.log(`smuggling: ${made} messages of ${kinds.size} kinds over ${connections} connections, ${arrived} judged requests arrived, ${answered} were answered`)
    expect(faults).toEqual([])
    expect([...kinds.keys()]).toEqual(expect.arrayContaining(Object.keys(MUTATIONS)))
    expect(made).toBeGreaterThanOrEqual(FRAMES)
  }, 3_600_000)

  it(`S28, ATK-085, ATK-096, ATK-103: of ${REQUEST_COUNT} mutated HTTP requests over real sockets no unjudged byte reaches the server, in its body or its headers (seed ${SEED})`, async () => {
    const faults: string[] = []
    const kinds = new Set<string>()
    let [made, arrived] = [0, 0]
    for (const [i, [client, server]] of ERAS.flatMap((client) => ERAS.map((server) => [client, server] as const)).entries()) {
      const outcome = await runOverHttp({ client, server, count: Math.ceil(REQUEST_COUNT / 4), seed: SEED + i })
      for (const kind of outcome.kinds) kinds.add(kind)
      faults.push(...outcome.faults)
      made += outcome.made
      arrived += outcome.arrived
      expect(outcome.arrived, `${client} → ${server}: honest calls went on arriving`).toBeGreaterThan(outcome.made / 100)
    }
    score({ id: 'S28', figure: 'mutated HTTP requests: bytes that reach the server unjudged', n: made, violations: faults.length, seed: SEED, faultsLanded: made, notes: `real sockets; ${arrived} judged requests arrived` })
    console.log(`smuggling over HTTP: ${made} requests of ${kinds.size} kinds, ${arrived} judged requests arrived`)
    expect(faults).toEqual([])
    expect([...kinds].sort()).toEqual(Object.keys(REQUESTS).sort())
  }, 3_600_000)
})
