import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CHOICES, CHOOSES, choicesText, judged } from './support/conformance/choices.ts'
import { score } from './support/scoreboard.ts'
import { compare } from './support/conformance/compare.ts'
import { type Runs, table, writePage } from './support/conformance/page.ts'
import { requiredBy, type Results } from './support/conformance/suite.ts'
import { clientScenarios, type ClientWay, credentialScenarios, isAboutCredentials, PermittingPlane, type Revision, REVISIONS, serverScenarios, type ServerWay } from './support/conformance/ways.ts'

/** Longest run of one leg in one revision in one way, in milliseconds. */
const MAX_LEG_MS = 400_000
const SERVER_WAYS: Readonly<Record<ServerWay, string>> = { direct: 'direct', http: 'HTTP → HTTP', stdio: 'HTTP → stdio' }
const CLIENT_WAYS: Readonly<Record<ClientWay, string>> = { direct: 'direct', stdio: 'stdio → HTTP', http: 'HTTP → HTTP' }

/** As `npm run conformance`. */
const IS_WRITTEN = process.env['SEALWRIT_UPDATE'] === '1'

const server = new Map<Revision, Map<string, Results>>(REVISIONS.map((revision) => [revision, new Map()]))
const client = new Map<Revision, Map<string, Results>>(REVISIONS.map((revision) => [revision, new Map()]))
let plane: PermittingPlane

beforeAll(async () => {
  plane = await new PermittingPlane().start()
})
afterAll(() => plane.end())

/** Checks that were made through the gateway, and those of them that came out otherwise. */
const seen: { checks: number; worse: number }[] = []
const checksIn = (results: Results): number => [...results.values()].flat().filter(({ status }) => status !== 'INFO').length
const failures = (results: Results, scenarios: readonly string[]): string[] =>
  scenarios.flatMap((scenario) => (results.get(scenario) ?? [{ id: 'not run', status: 'FAILURE' }]).filter(({ status }) => status === 'FAILURE').map(({ id }) => `${scenario}: ${id}`))

describe.each(REVISIONS)('the official suite, %s', (revision) => {
  it('without a gateway, the fixture server and the fixture client pass whatever the revision requires', async () => {
    const [ofServer, ofClient] = [await serverScenarios(revision, 'direct', plane.dir), await clientScenarios(revision, 'direct', plane.dir)]
    server.get(revision)?.set('direct', ofServer)
    client.get(revision)?.set('direct', ofClient)
    expect(failures(ofServer, requiredBy(revision).server)).toEqual([])
    expect(failures(ofClient, requiredBy(revision).client.filter((scenario) => !isAboutCredentials(scenario)))).toEqual([])
  }, MAX_LEG_MS)

  it.runIf(IS_WRITTEN)('without a gateway, the fixture client also passes what is required of OAuth clients', async () => {
    expect(failures(await credentialScenarios(revision), requiredBy(revision).client.filter(isAboutCredentials))).toEqual([])
  }, MAX_LEG_MS)

  it.each(['http', 'stdio'] as const)('S27: with a gateway before a server over %s, no check of a server scenario is worse', async (way) => {
    const results = await serverScenarios(revision, way, plane.dir)
    server.get(revision)?.set(way, results)
    const worse = compare(server.get(revision)?.get('direct') ?? new Map(), results)
    const judgement = judged(worse, revision === CHOOSES ? CHOICES : [])
    seen.push({ checks: checksIn(results), worse: judgement.worse.length })
    expect(judgement).toEqual({ worse: [], unseen: [] })
  }, MAX_LEG_MS)

  it.each(['stdio', 'http'] as const)('S27: with a gateway that the client reaches over %s, no check of a client scenario is worse', async (way) => {
    const results = await clientScenarios(revision, way, plane.dir)
    client.get(revision)?.set(way, results)
    const worse = compare(client.get(revision)?.get('direct') ?? new Map(), results)
    seen.push({ checks: checksIn(results), worse: worse.length })
    expect(worse).toEqual([])
  }, MAX_LEG_MS)
})

it('S27: all that was looked at through the gateway', () => {
  const [checks, worse] = [seen.reduce((all, one) => all + one.checks, 0), seen.reduce((all, one) => all + one.worse, 0)]
  score({ id: 'S27', figure: 'checks of the official MCP suite that are worse through the gateway', n: checks, violations: worse, notes: `both revisions; servers over HTTP and stdio, clients over stdio and HTTP: ${seen.length} runs` })
  expect(worse).toBe(0)
})

/** `npm run conformance` writes what it saw; a run that saw less does not. */
afterAll(() => {
  const isWhole = (runs: Runs, ways: object): boolean => REVISIONS.every((revision) => Object.keys(ways).every((way) => runs.get(revision)?.has(way) === true))
  if (!IS_WRITTEN || !isWhole(server, SERVER_WAYS) || !isWhole(client, CLIENT_WAYS)) return
  writePage(`${table('server', server, SERVER_WAYS)}\n\n${table('client', client, CLIENT_WAYS)}\n\nChecks that the suite does not make through the gateway, because it chooses what the specification leaves to it:\n\n${choicesText()}`)
})
