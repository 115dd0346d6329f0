import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js'
import { timeCalls } from './support/calls.ts'
import { workFolder } from './support/disk.ts'
import { type Figure, median, micros, quantile } from './support/figure.ts'
import { main, startPlane, stop } from './support/plane.ts'

const ROUNDS = 5
const CALLS = 200
const IN_FLIGHT = [1, 10, 100]
const POLICY = '@id("bench") permit (principal, action == Action::"mcp.tool_call", resource is Tool) when { resource.name == "read_file" };\n'

interface Serving {
  readonly child: ChildProcess
  readonly endpoint: string
  readonly headers: Record<string, string>
}

/** Starts a program that says in JSON where it serves. */
async function serve(words: readonly string[]): Promise<Serving> {
  const child = spawn(process.execPath, [...words], { stdio: ['ignore', 'pipe', 'inherit'] })
  let told = ''
  for await (const chunk of child.stdout) {
    told += String(chunk)
    if (told.trimEnd().endsWith('}')) break
  }
  const { endpoint, token_file: file } = JSON.parse(told) as { endpoint: string; token_file?: string }
  return { child, endpoint, headers: file === undefined ? {} : { authorization: `Bearer ${fs.readFileSync(file, 'utf8').trim()}` } }
}

async function connect({ endpoint, headers }: Serving): Promise<Client> {
  const client = new Client({ name: 'bench', version: '1' })
  await client.connect(new StreamableHTTPClientTransport(new URL(endpoint), { requestInit: { headers } }) as never)
  return client
}

/** What governing adds to one call of an MCP tool over HTTP on both sides, against what an ungoverned SDK proxy adds. */
export async function p4http(): Promise<Figure[]> {
  const folder = workFolder()
  await stop((await startPlane(folder, 0)).child)
  fs.writeFileSync(path.join(folder, '.sealwrit', 'policies', 'bench.cedar'), POLICY)
  const { dir, child } = await startPlane(folder, 0)
  const script = path.join(import.meta.dirname, 'support', 'mcp-http.mjs')
  const direct = await serve([script, 'server'])
  const proxied = await serve([script, direct.endpoint])
  const governed = await serve(['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', main, 'mcp', '--pin', '--json', '--dir', dir, '--name', 'bench', '--url', direct.endpoint, '--listen', '127.0.0.1:0'])
  const clients = { direct: await connect(direct), proxied: await connect(proxied), governed: await connect(governed) }
  const figures: Figure[] = []
  for (const inFlight of IN_FLIGHT) {
    const values = await timeCalls(clients, { rounds: ROUNDS, calls: CALLS, inFlight }, (query) => ({ query }))
    const added = (name: 'proxied' | 'governed'): number => median(values[name]) - median(values.direct)
    figures.push({
      id: `P4 HTTP ×${inFlight}`, what: `added p50 of one governed MCP call over HTTP on both sides, ${inFlight} in flight, receipt before the reply`, baseline: 'added p50 of an ungoverned pass-through proxy on the official SDK, over HTTP',
      must: 5, stretch: 3, better: 'lower', ratio: added('governed') / added('proxied'),
      rows: (['direct', 'proxied', 'governed'] as const).map((name) => [`${name} p50 · p99`, `${micros(median(values[name]))} · ${micros(quantile(values[name], 0.99))}`]),
      durability: 'SQLite WAL, synchronous=FULL: two durable commits a governed call, none in the baseline',
      note: 'two durable commits a call are most of what is added; see P2',
    })
  }
  figures[0] = { ...(figures[0] as Figure), rows: [...(figures[0] as Figure).rows, ['resident memory of the gateway after it', `${Math.round(residentMegabytes(governed.child.pid as number))} MB`]] }
  for (const client of Object.values(clients)) await client.close()
  for (const one of [governed.child, proxied.child, direct.child, child]) await stop(one)
  return figures
}

function residentMegabytes(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0) / 1_024
}
