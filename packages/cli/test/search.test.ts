import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-search-')))
const dir = path.join(root, '.sealwrit')
let plane: Awaited<ReturnType<typeof startPlane>>

const SERVER = `
import { createInterface } from 'node:readline'
createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, method } = JSON.parse(line)
  if (id === undefined) return
  const result = method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: { tools: {} }, serverInfo: { name: 'canary', version: '1' } }
    : method === 'tools/list' ? { tools: [{ name: 'touch', inputSchema: { type: 'object' } }] } : { content: [{ type: 'text', text: 'done' }] }
  process.stdout.write(JSON.stringify({ jsonrpc: '2.0', id, result }) + '\\n')
})
`
beforeAll(async () => {
  fs.writeFileSync(path.join(root, 'server.mjs'), SERVER)
  plane = await startPlane(dir)
  const gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'doctor', '--agent', 'sealwrit-doctor', '--', process.execPath, path.join(root, 'server.mjs')], { cwd: root })
  gateway.stderr?.resume()
  const agent = new Agent(gateway)
  expect(await agent.initialize()).toBe(true)
  for (let i = 0; i < 3; i++) await agent.request('tools/call', { name: 'touch', arguments: { id: 'x' } })
  await agent.request('resources/read', { uri: 'file:///etc/passwd' })
  await end(gateway)
}, 120_000)
afterAll(async () => {
  await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})
const search = (...args: string[]): ReturnType<typeof run> => run(['log', 'search', '--dir', dir, ...args])

describe('sealwrit log search', () => {
  it('finds decisions by what was asked and how it ended, newest last, page by page', async () => {
    const found = JSON.parse((await search('--json', '--decision', 'permit', '--outcome', 'completed')).stdout) as { executions: { seq: number; id: string }[] }
    expect(found.executions).toHaveLength(3)
    const { stdout, exit } = await search('--agent', 'sealwrit-doctor', '--tool', 'mcp://doctor/touch')
    expect([exit, stdout.trim().split('\n').map((line) => line.trim().split(/\s+/).slice(3))]).toEqual([0, found.executions.toReversed().map(({ id }) => ['permit', 'completed', 'A3', 'mcp://doctor/touch', 'agent:sealwrit-doctor', id])])
    const first = await search('--limit', '1')
    expect(first.stdout).toMatch(/deny {4}policy_no_match {2}mcp:\/\/doctor\/resources\/read/)
    const cursor = /--cursor (\d+)/.exec(first.stdout)?.[1] as string
    expect((await search('--limit', '5', '--cursor', cursor)).stdout.match(/permit/g)).toHaveLength(3)
    expect((await search('--until', '2020-01-01')).stdout).toContain('nothing fits')
    const reached = async (...args: string[]): Promise<readonly unknown[]> => (JSON.parse((await search('--json', ...args)).stdout) as { executions: unknown[] }).executions
    expect((await Promise.all([['--assurance', 'A3'], ['--assurance', 'A4'], ['--min-assurance', 'A0'], ['--min-assurance', 'A4']].map((args) => reached(...args)))).map(({ length }) => length)).toEqual([3, 0, 3, 0])
  }, 60_000)
  it.each<[string[], string]>([
    [['--code', 'nothing'], 'does not know a decision, code, outcome or level'],
    [['--assurance', 'A6'], 'does not know a decision, code, outcome or level'],
    [['--since', 'yesterday'], '--since takes a day or a time with its zone'],
    [['--limit', '0'], '--limit takes a whole number from 1 to 1000'],
  ])('%j says what is wrong', async (args, message) => {
    const { exit, stderr } = await search(...args)
    expect([exit, stderr]).toEqual([2, expect.stringContaining(message)])
    expect(stderr).not.toContain('    at ')
  })
})
