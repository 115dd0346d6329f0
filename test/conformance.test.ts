import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHOICES, CHOOSES, choicesText, judged } from './support/conformance/choices.ts'
import { compare } from './support/conformance/compare.ts'
import { type Runs, table, writePage } from './support/conformance/page.ts'
import { requiredBy, type Results } from './support/conformance/suite.ts'
import { clientScenarios, type ClientWay, isAboutCredentials, PermittingPlane, type Revision, REVISIONS, serverScenarios, type ServerWay } from './support/conformance/ways.ts'

/** Longest run of one leg in one revision in one way, in milliseconds. */
const MAX_LEG_MS = 180_000
const SERVER_WAYS: Readonly<Record<ServerWay, string>> = { direct: 'direct', http: 'HTTP → HTTP', stdio: 'HTTP → stdio' }
const CLIENT_WAYS: Readonly<Record<ClientWay, string>> = { direct: 'direct', stdio: 'stdio → HTTP', http: 'HTTP → HTTP' }

const server = new Map<Revision, Map<string, Results>>(REVISIONS.map((revision) => [revision, new Map()]))
const client = new Map<Revision, Map<string, Results>>(REVISIONS.map((revision) => [revision, new Map()]))
let plane: PermittingPlane

beforeAll(async () => {
  plane = await new PermittingPlane().start()
})
afterAll(() => plane.end())

/** Checks that were made through the gateway, and those of them that came out otherwise. */
const scores: { checks: number; worse: number }[] = []
const checksIn = (results: Results): number => [...results.values()].flat().filter(({ status }) => status !== 'INFO').length
const failures = (results: Results, scenarios: readonly string[]): string[] =>
  scenarios.flatMap((scenario) => (results.get(scenario) ?? [{ id: 'not run', status: 'FAILURE' }]).filter(({ status }) => status === 'FAILURE').map(({ id }) => `${scenario}: ${id}`))

describe.each(REVISIONS)('the official suite, %s', (revision) => {
  it('without a gateway, the fixture server and the fixture client pass whatever the revision requires', async () => {
    const [ofServer, ofClient] = [await serverScenarios(revision, 'direct', plane.dir), await clientScenarios(revision, 'direct', plane.dir)]
    server.get(revision)?.set('direct', ofServer)
    client.get(revision)?.set('direct', ofClient)
    expect(failures(ofServer, requiredBy(revision).server)).toEqual([])
    expect(failures(ofClient, requiredBy(revision).client)).toEqual([])
  }, MAX_LEG_MS)

  it.each(['http', 'stdio'] as const)('S27: with a gateway before a server over %s, no check of a server scenario is worse', async (way) => {
    const results = await serverScenarios(revision, way, plane.dir)
    server.get(revision)?.set(way, results)
    const worse = compare(server.get(revision)?.get('direct') ?? new Map(), results)
    scores.push({ checks: checksIn(results), worse: worse.length })
    expect(judged(worse, revision === CHOOSES ? CHOICES : [])).toEqual({ worse: [], unseen: [] })
  }, MAX_LEG_MS)

  it.each(['stdio', 'http'] as const)('S27: with a gateway that the client reaches over %s, no check of a client scenario is worse', async (way) => {
    const results = await clientScenarios(revision, way, plane.dir)
    client.get(revision)?.set(way, results)
    const direct = new Map([...(client.get(revision)?.get('direct') ?? [])].filter(([scenario]) => !isAboutCredentials(scenario)))
    const worse = compare(direct, results)
    scores.push({ checks: checksIn(results), worse: worse.length })
    expect(worse).toEqual([])
  }, MAX_LEG_MS)
})

/** `npm run conformance` writes what it saw; a run that saw less does not. */
afterAll(() => {
  const isWhole = (runs: Runs, ways: object): boolean => REVISIONS.every((revision) => Object.keys(ways).every((way) => runs.get(revision)?.has(way) === true))
  if (process.env['SEALWRIT_UPDATE'] !== '1' || !isWhole(server, SERVER_WAYS) || !isWhole(client, CLIENT_WAYS)) return
  writePage(`${table('server', server, SERVER_WAYS)}\n\n${table('client', client, CLIENT_WAYS)}\n\nChecks that the suite does not make through the gateway, because it chooses what the specification leaves to it:\n\n${choicesText()}`)
})
