import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { SCHEMA_FILE } from '@sealwrit/control-plane'
import { end, startPlane } from '../processes.ts'
import { type Check, requiredBy, type Results, runSuite } from './suite.ts'
import { DIR_VARIABLE, GATEWAY_VARIABLE, gatewayWords, startFront, withToken } from './through.ts'

export const REVISIONS = ['2025-11-25', '2026-07-28'] as const
export type Revision = (typeof REVISIONS)[number]

const here = import.meta.dirname
const SERVER = path.join(here, 'server.ts')
/** The suite splits it at spaces and gives it to a shell. */
const CLIENT = `${process.execPath} --disable-warning=ExperimentalWarning --conditions=@sealwrit/source ${path.join(here, 'client.ts')}`
const PERMIT_ALL = '@id("everything") permit (principal, action, resource);\n'
/** Client scenarios that are run beside each other, and the time that each has, in milliseconds. */
const [AT_ONCE, MAX_SCENARIO_MS] = [3, 90_000]

/** A plane whose policy permits everything: what is worse then is the gateway's doing. */
export class PermittingPlane {
  readonly #root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-conformance-plane-'))
  readonly dir = path.join(this.#root, '.sealwrit')
  #child: Awaited<ReturnType<typeof startPlane>>['child'] | undefined

  /** @param change what is made of the starter schema */
  async start(policy = PERMIT_ALL, change = (schema: string): string => schema): Promise<this> {
    await end((await startPlane(this.dir)).child) // the first run writes the folder
    const policies = path.join(this.dir, 'policies')
    for (const name of fs.readdirSync(policies).filter((one) => one.endsWith('.cedar') || one.endsWith('.yaml'))) fs.rmSync(path.join(policies, name))
    fs.writeFileSync(path.join(policies, 'test.cedar'), policy)
    const schema = path.join(policies, SCHEMA_FILE)
    fs.writeFileSync(schema, change(fs.readFileSync(schema, 'utf8')))
    this.#child = (await startPlane(this.dir)).child
    return this
  }

  async end(): Promise<void> {
    if (this.#child !== undefined) await end(this.#child)
    fs.rmSync(this.#root, { recursive: true, force: true })
  }
}

/** The server scenarios against the fixture server: by itself, or behind a gateway that speaks HTTP to clients, and to it HTTP or stdio. */
export type ServerWay = 'direct' | 'http' | 'stdio'
export async function serverScenarios(revision: Revision, way: ServerWay, dir: string): Promise<Results> {
  const server = way === 'stdio' ? undefined : await startFront([SERVER, 'http'])
  try {
    const name = `fixture-${way}-${revision}`
    const words = server === undefined ? ['--', process.execPath, SERVER, 'stdio'] : ['--url', server.url]
    const front = way === 'direct' ? undefined : await withToken(await startFront(gatewayWords(dir, name, words, '127.0.0.1:0')))
    try {
      return await runSuite(['server', '--url', (front ?? server)?.url as string, '--requirements', revision, '--timeout', `${MAX_SCENARIO_MS}`])
    } finally {
      await front?.end()
    }
  } finally {
    await server?.end()
  }
}

/** Client scenarios that are about an OAuth client: the upstream's credentials are the operator's, and no client of a gateway sees its authorization server. */
export const isAboutCredentials = (scenario: string): boolean => scenario.startsWith('auth/')

export type ClientWay = 'direct' | 'stdio' | 'http'
/** The client scenarios with the fixture client: by itself, or through a gateway that it reaches over stdio or HTTP. */
export async function clientScenarios(revision: Revision, way: ClientWay, dir: string): Promise<Results> {
  const waiting = clientsOf(revision).filter((scenario) => !isAboutCredentials(scenario))
  const env = way === 'direct' ? {} : { [DIR_VARIABLE]: dir, [GATEWAY_VARIABLE]: way }
  const results = new Map<string, readonly Check[]>()
  const work = async (): Promise<void> => {
    for (let scenario = waiting.shift(); scenario !== undefined; scenario = waiting.shift()) {
      const one = await runSuite(['client', '--command', CLIENT, '--scenario', scenario, '--spec-version', revision, '--timeout', `${MAX_SCENARIO_MS}`], env)
      for (const [name, checks] of one) results.set(name, checks)
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, work))
  return results
}

/** The others, which judge the SDK's client alone. */
export async function credentialScenarios(revision: Revision): Promise<Results> {
  const all = await runSuite(['client', '--command', CLIENT, '--requirements', revision, '--timeout', `${MAX_SCENARIO_MS}`])
  return new Map([...all].filter(([scenario]) => isAboutCredentials(scenario)))
}

function clientsOf(revision: Revision): string[] {
  const { client, unscored } = requiredBy(revision)
  return [...client, ...unscored.filter(({ leg }) => leg === 'client').map(({ scenario }) => scenario)]
}
