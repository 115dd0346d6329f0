import * as fs from 'node:fs'
import * as path from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import { Client } from '@modelcontextprotocol/sdk/client/index.js'
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js'
import { type Asker, asker } from './support/asker.ts'
import { workFolder } from './support/disk.ts'
import { type Figure, median, quantile } from './support/figure.ts'
import { main, startPlane, stop } from './support/plane.ts'
import { fromSource } from './support/process.ts'

const [ROUNDS, DEAF_ROUNDS] = [100, 20]
const [MUST_MS, STRETCH_MS] = [250, 50]
/** After this long without a sign of life the program counts as stopped: it gives one every millisecond. */
const SILENT_MS = 300
const server = path.join(import.meta.dirname, 'support', 'hanging-server.mjs')
const wall = (): number => performance.timeOrigin + performance.now()

interface Stopped {
  /** From the acknowledgement to the last sign of life of the program, and to the agent's answer, in milliseconds. */
  readonly programMs: number
  readonly agentMs: number
}

/** One running call of a server of its own, stopped. */
async function round(plane: Asker, dir: string, folder: string, how: 'kill' | 'revoke', program: 'obeys' | 'deaf'): Promise<Stopped> {
  fs.mkdirSync(folder)
  const going = path.join(folder, 'going')
  const client = new Client({ name: 'bench', version: '1' })
  await client.connect(new StdioClientTransport({ command: process.execPath, args: [...fromSource, main, 'mcp', '--pin', '--dir', dir, '--name', 'bench', '--agent', 'bench', '--', process.execPath, server, folder, program], stderr: 'ignore' }))
  try {
    const call = client.callTool({ name: 'read_file', arguments: { path: path.join(folder, 'q3.txt') } }).then((result) => ({ isError: result.isError, atMs: wall() }))
    for (let i = 0; i < 10_000 && !fs.existsSync(going); i++) await pause(1)
    const { entries } = (await plane.ask('log.list', { limit: 1, kinds: ['permit'] })) as { entries: { jti: string }[] }
    const selector = how === 'kill' ? 'agent:bench' : `artifact:${entries[0]?.jti}`
    await plane.ask(how, { selector })
    const acknowledgedMs = wall()
    const { isError, atMs } = await call
    if (isError !== true) throw new Error('the call was not ended')
    if (how === 'kill') await plane.ask('unkill', { selector })
    let lastMs = 0
    do {
      lastMs = Number(fs.readFileSync(going, 'utf8')) || lastMs // empty in the instant in which it is written
      await pause(10)
    } while (wall() - lastMs < SILENT_MS)
    return { programMs: lastMs - acknowledgedMs, agentMs: atMs - acknowledgedMs }
  } finally {
    await client.close()
  }
}

/** From the acknowledgement of a kill or a revocation to the moment at which the program of a running MCP call has stopped. */
export async function p12(): Promise<Figure[]> {
  const folder = workFolder()
  const { dir, child } = await startPlane(folder, 0)
  const plane = await asker(path.join(dir, 'plane.sock'))
  const rounds: Record<'kill' | 'revoke' | 'deaf', Stopped[]> = { kill: [], revoke: [], deaf: [] }
  try {
    for (let i = 0; i < ROUNDS; i++) {
      const how = i % 2 === 0 ? 'kill' : 'revoke'
      rounds[how].push(await round(plane, dir, path.join(folder, `${i}`), how, 'obeys'))
    }
    for (let i = 0; i < DEAF_ROUNDS; i++) rounds.deaf.push(await round(plane, dir, path.join(folder, `deaf-${i}`), 'kill', 'deaf'))
  } finally {
    plane.close()
    await stop(child)
  }
  const obeying = [...rounds.kill, ...rounds.revoke]
  const row = (name: string, values: readonly number[]): readonly [string, string] => [name, `p50 ${median(values).toFixed(1)} ms, p99 ${quantile(values, 0.99).toFixed(1)} ms, max ${Math.max(...values).toFixed(1)} ms`]
  const programs = (some: readonly Stopped[]): number[] => some.map(({ programMs }) => programMs)
  return [{
    id: 'P12', what: `a kill or revocation acknowledged → the program of a running MCP call has stopped, p99 of ${ROUNDS}`, baseline: `${MUST_MS} ms`,
    must: 1, stretch: STRETCH_MS / MUST_MS, better: 'lower', ratio: Math.max(0, quantile(programs(obeying), 0.99)) / MUST_MS,
    rows: [
      row('kill', programs(rounds.kill)), row('revocation', programs(rounds.revoke)), row('the agent has its answer', obeying.map(({ agentMs }) => agentMs)),
      row(`a program that ignores the cancellation is gone (${DEAF_ROUNDS})`, programs(rounds.deaf)), ['process trees and HTTP streams', 'not measured: no gate for them yet'],
    ],
    durability: 'the kill is durable before it is acknowledged; a time below zero is a program that stopped before the acknowledgement was read',
  }]
}
