import * as path from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { timeCalls } from './support/calls.ts'
import { workFolder } from './support/disk.ts'
import { type Figure, median, micros, quantile } from './support/figure.ts'
import { startPlane, stop } from './support/plane.ts'

const ROUNDS = 7
const CALLS = 150
const IN_FLIGHT = [1, 10, 100]
const here = path.join(import.meta.dirname, 'support')
const main = path.resolve(import.meta.dirname, '../packages/cli/src/main.ts')

async function connect(args: readonly string[]): Promise<Client> {
  const client = new Client({ name: 'bench', version: '1' })
  await client.connect(new StdioClientTransport({ command: process.execPath, args: [...args], stderr: 'ignore' }))
  return client
}

/** What governing adds to one call of an MCP tool over stdio, against what an ungoverned SDK proxy adds. */
export async function p4(): Promise<Figure[]> {
  const folder = workFolder()
  const { dir, child } = await startPlane(folder, 0)
  const server = path.join(here, 'mcp-server.mjs')
  const clients = {
    direct: await connect([server]),
    proxied: await connect([path.join(here, 'mcp-proxy.mjs'), process.execPath, server]),
    governed: await connect(['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', main, 'mcp', '--pin', '--dir', dir, '--name', 'bench', '--', process.execPath, server, folder]),
  }
  const figures: Figure[] = []
  for (const inFlight of IN_FLIGHT) {
    const values = await timeCalls(clients, { rounds: ROUNDS, calls: CALLS, inFlight }, (name) => ({ path: path.join(folder, `${name}.txt`) }))
    const added = (name: 'proxied' | 'governed'): number => median(values[name]) - median(values.direct)
    figures.push({
      id: inFlight === 1 ? 'P4' : `P4 ×${inFlight}`, what: `added p50 of one governed MCP call over stdio, ${inFlight} in flight, receipt before the reply`, baseline: 'added p50 of an ungoverned pass-through proxy on the official SDK',
      must: 5, stretch: 3, better: 'lower', ratio: added('governed') / added('proxied'),
      rows: (['direct', 'proxied', 'governed'] as const).map((name) => [`${name} p50 · p99`, `${micros(median(values[name]))} · ${micros(quantile(values[name], 0.99))}`]),
      durability: 'SQLite WAL, synchronous=FULL: two durable commits a governed call, none in the baseline',
      note: 'two durable commits a call are most of what is added; see P2',
    })
  }
  for (const client of Object.values(clients)) await client.close()
  await stop(child)
  return figures
}
