import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { SCHEMA_FILE, StoreFailure } from '@sealwrit/control-plane'
import { nodeClock } from '@sealwrit/gate'
import { httpLinks } from '@sealwrit/mcp-gateway/server-http'
import type { JsonObject } from '@sealwrit/protocol'
import { afterAll, describe, it } from 'vitest'
import { runSuite } from './support/conformance/suite.ts'
import { startFront } from './support/conformance/through.ts'
import { REVISIONS } from './support/conformance/ways.ts'
import { httpGateway } from './support/http-gateway.ts'
import { policyFiles, World } from './support/world.ts'

// The traffic of the official suite's server scenarios, through a gateway whose plane permits nothing or is broken. What had an effect
// says the server itself, which writes down every message that it gets.
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-mcp-faults-'))
const HOUR_MS = 3_600_000
/** Methods that a policy judges: what a server does for any of them is an effect. */
const EFFECT = /"method":"(tools\/call|resources\/read|resources\/subscribe|prompts\/get|completion\/complete|tasks\/\w+)"/
const policies = (text: string): Record<string, string> => ({ [SCHEMA_FILE]: policyFiles()[SCHEMA_FILE] as string, 'test.cedar': text })

interface Fault {
  readonly fault: string
  readonly policy?: string
  readonly begin?: (world: World) => unknown
}
const permitOf = (answer: JsonObject): { sealed: { entry: string; proof: string } } | undefined => {
  const result = answer['result'] as { decision?: string; sealed: { entry: string; proof: string } } | undefined
  return result?.decision === 'permit' ? result : undefined
}
const FAULTS: readonly Fault[] = [
  { fault: 'a policy that permits nothing', policy: '@id("none") forbid (principal, action, resource);' },
  { fault: 'no policy that permits anything', policy: '@id("nobody") permit (principal == Agent::"nobody", action, resource);' },
  { fault: 'a plane that is gone', begin: (world) => world.stop() },
  { fault: 'a store that is full', begin: (world) => Object.assign(world.store as object, { fail: new StoreFailure('database or disk is full', true) }) },
  { fault: 'a store whose flush fails', begin: (world) => Object.assign(world.store as object, { fail: new StoreFailure('disk I/O error', false) }) },
  {
    fault: 'a log whose proofs are of something else',
    begin: (world) => (world.onTheWire = (answer) => {
      const permit = permitOf(answer)
      return permit === undefined ? answer : { ...answer, result: { ...permit, sealed: { ...permit.sealed, entry: permit.sealed.entry.replace('"kind":"permit"', '"kind":"permit" ') } } as unknown as JsonObject }
    }),
  },
  { fault: 'a clock of the gate that is an hour back', begin: (world) => (world.gateClock.offsetMs = -HOUR_MS) },
  { fault: 'a clock of the plane that is an hour ahead', begin: (world) => (world.clock.offsetMs = HOUR_MS) },
]

afterAll(() => fs.rmSync(root, { recursive: true, force: true }))

/** Runs the scenarios of both revisions through a gateway. @returns how many ran, and the effects that the server saw */
async function traffic(name: string, { policy = '@id("everything") permit (principal, action, resource);', begin }: Omit<Fault, 'fault'>): Promise<{ scenarios: number; effects: number }> {
  const world = new World()
  const received = path.join(root, name.replaceAll(/\W+/g, '-'))
  fs.writeFileSync(received, '')
  const server = await startFront([path.resolve(import.meta.dirname, 'support/conformance/server.ts'), 'http', received])
  try {
    await world.start(policies(policy))
    const gate = world.gate()
    await gate.connect()
    const front = await httpGateway(gate, httpLinks({ url: new URL(server.url), headers: () => ({}), clock: nodeClock }).open)
    await begin?.(world)
    const results = await Promise.all(REVISIONS.map((revision) => runSuite(['server', '--url', front.url, '--requirements', revision])))
    await front.close()
    return { scenarios: results.reduce((all, { size }) => all + size, 0), effects: fs.readFileSync(received, 'utf8').split('\n').filter((line) => EFFECT.test(line)).length }
  } finally {
    await server.end()
    await world.remove()
  }
}

describe('the traffic of the official suite, in both revisions', { timeout: 180_000 }, () => {
  it.concurrent('with a plane that permits everything has effects: the same path works', async ({ expect }) => {
    const { scenarios, effects } = await traffic('control', {})
    expect(scenarios).toBeGreaterThan(80)
    expect(effects).toBeGreaterThan(50)
  })

  it.concurrent.for(FAULTS)('with $fault has none (I1, I4)', async ({ fault, ...what }, { expect }) => {
    const { scenarios, effects } = await traffic(fault, what)
    expect(scenarios).toBeGreaterThan(80)
    expect(effects).toBe(0)
  })
})
