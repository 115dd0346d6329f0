import { spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { workFolder } from './support/disk.ts'
import { type Figure, median, quantile, time } from './support/figure.ts'
import { startPlane, stop } from './support/plane.ts'
import { mebibytes, memory } from './support/process.ts'

const STARTS = 15
const CALLS = 1_000
const BIG_BYTES = 10_000_000
const BIG_ROUNDS = 7
const here = import.meta.dirname
const server = path.join(here, 'support', 'mcp-server.mjs')
const PROXY = [path.join(here, 'support', 'mcp-proxy.mjs'), process.execPath, server]
/** What is published; the sources take longer to start, since their types are stripped each time. */
const BUILT = path.resolve(here, '../packages/cli/dist/main.js')

interface Connected {
  readonly client: Client
  readonly pid: number
}

async function connect(args: readonly string[]): Promise<Connected> {
  const client = new Client({ name: 'bench', version: '1' })
  const transport = new StdioClientTransport({ command: process.execPath, args: [...args], stderr: 'ignore' })
  await client.connect(transport)
  return { client, pid: transport.pid as number }
}

async function read(client: Client, folder: string, bytes?: number): Promise<void> {
  const result = await client.callTool({ name: 'read_file', arguments: { path: path.join(folder, 'x.txt'), ...(bytes === undefined ? {} : { bytes }) } })
  if (result.isError === true) throw new Error(JSON.stringify(result).slice(0, 500))
}

/** What a gateway costs beside its calls: time until it serves, memory, and memory for one large result; over stdio, as a client starts it. */
export async function gateway(): Promise<Figure[]> {
  spawnSync(process.execPath, [path.resolve(here, '../node_modules/typescript/bin/tsc'), '-b', path.resolve(here, '..')], { stdio: 'inherit' })
  const folder = workFolder()
  const { dir, child } = await startPlane(folder, 0)
  const ways = { direct: [server], proxied: PROXY, governed: [BUILT, 'mcp', '--pin', '--dir', dir, '--name', 'bench', '--', process.execPath, server, folder] }

  const starts: Record<keyof typeof ways, number[]> = { direct: [], proxied: [], governed: [] }
  for (let i = -1; i < STARTS; i++) {
    for (const [name, words] of Object.entries(ways) as [keyof typeof ways, string[]][]) {
      let connected: Connected | undefined
      const ms = await time(async () => {
        connected = await connect(words)
        await connected.client.listTools()
      })
      if (i >= 0) starts[name].push(ms)
      await connected?.client.close()
    }
  }

  const [proxied, governed] = [await connect(ways.proxied), await connect(ways.governed)]
  const resident: Record<'proxied' | 'governed', number> = { proxied: 0, governed: 0 }
  const growth: Record<'proxied' | 'governed', number[]> = { proxied: [], governed: [] }
  for (const [name, { client, pid }] of [['proxied', proxied], ['governed', governed]] as const) {
    for (let i = 0; i < CALLS; i++) await read(client, folder)
    resident[name] = memory(pid, 'VmRSS')
    for (let i = 0; i < BIG_ROUNDS; i++) {
      fs.writeFileSync(`/proc/${pid}/clear_refs`, '5') // the highest so far begins anew
      const before = memory(pid, 'VmRSS')
      await read(client, folder, BIG_BYTES)
      growth[name].push(((memory(pid, 'VmHWM') - before) * 2 ** 20) / BIG_BYTES)
    }
    await client.close()
  }
  await stop(child)

  const added = (name: 'proxied' | 'governed'): number => median(starts[name]) - median(starts.direct)
  const milliseconds = (values: readonly number[]): string => `${median(values).toFixed(0)} ms · ${quantile(values, 0.99).toFixed(0)} ms`
  return [
    {
      id: 'start', what: 'start-up that a governed stdio server adds until its tools are listed, as it is built', baseline: '30 ms', must: 1, stretch: 0.5, better: 'lower', ratio: added('governed') / 30,
      rows: [...(['direct', 'proxied', 'governed'] as const).map((name) => [`${name} p50 · p99`, milliseconds(starts[name])] as const), ['added by the gateway', `${added('governed').toFixed(0)} ms`], ['added by an ungoverned proxy on the official SDK', `${added('proxied').toFixed(0)} ms`]],
      durability: 'a start enrols the gate: one durable entry',
      note: 'a second process of Node takes more than that by itself: an ungoverned proxy says how much',
    },
    {
      id: 'RSS', what: `resident memory of the gateway after ${CALLS} calls`, baseline: '90 MiB', must: 1, stretch: 0.7, better: 'lower', ratio: resident.governed / 90,
      rows: [['gateway', mebibytes(resident.governed)], ['ungoverned proxy on the official SDK', mebibytes(resident.proxied)]], durability: 'two durable commits a governed call',
    },
    {
      id: '10 MB', what: 'a result of 10 MB: what the gateway’s memory grows by at its highest, in multiples of the result', baseline: 'the result itself, twice', must: 2, stretch: 1.5, better: 'lower', ratio: median(growth.governed),
      rows: [['gateway, median · largest', `${median(growth.governed).toFixed(1)}× · ${Math.max(...growth.governed).toFixed(1)}×`], ['ungoverned proxy on the official SDK, median · largest', `${median(growth.proxied).toFixed(1)}× · ${Math.max(...growth.proxied).toFixed(1)}×`]],
      durability: 'its digest is in the receipt, before the reply', note: 'a result is judged as a whole: its line, its text, and the canonical text that is passed on',
    },
  ]
}
