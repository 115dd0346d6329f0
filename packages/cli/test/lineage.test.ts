import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import type { ChildProcess } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-lineage-')))
const dir = path.join(root, '.sealwrit')
const canary = path.join(root, 'canary')
const server = path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs')
const POLICY = '@id("touch") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch");\n'
const gateways: ChildProcess[] = []
let plane: ChildProcess
let url: string
let gate: string

async function wrapped(...args: string[]): Promise<Agent> {
  const child = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'canary', ...args, '--', process.execPath, server, canary])
  child.stderr?.resume()
  gateways.push(child)
  const agent = new Agent(child)
  expect(await agent.initialize()).toBe(true)
  return agent
}
const file = (name: string, value: unknown): string => {
  fs.writeFileSync(path.join(root, name), JSON.stringify(value))
  return path.join(root, name)
}
const action = (id: string): string => file(`${id}.action.json`, { type: 'mcp.tool_call', target: 'mcp://canary', name: 'touch', arguments: { id } })
const terms = { until: '10m', uses: 20, depth: 2, scopes: [{ type: 'mcp.tool_call', target: 'mcp://canary', name: 'touch' }] }
interface Permit {
  readonly jti: string
  readonly txn: string
  readonly depth: number
  readonly par?: { readonly jti: string; readonly leaf_hash: string }
}
const issue = async (id: string, ...args: string[]): Promise<{ exit: number; stderr: string; file: string; permit: Permit }> => {
  const out = path.join(root, `${id}.json`)
  const { exit, stderr } = await run(['issue', '--dir', dir, action(id), '--audience', gate, '-o', out, ...args])
  return { exit, stderr, file: out, permit: (exit === 0 ? JSON.parse((JSON.parse(fs.readFileSync(out, 'utf8')) as { entry: string }).entry) : {}) as Permit }
}
const lineage = async (id: string, ...args: string[]): Promise<{ ancestors: { jti: string }[]; node: { jti: string; decision: string; code?: string; ending?: { outcome: string } }; below: { jti: string; parent: string; decision: string; code?: string; ending?: { outcome: string } }[]; next?: string }> =>
  JSON.parse((await run(['lineage', id, '--dir', dir, '--json', ...args])).stdout) as never

beforeAll(async () => {
  await end((await startPlane(dir)).child) // the first run writes the folder
  fs.writeFileSync(path.join(dir, 'policies', 'touch.cedar'), POLICY)
  fs.writeFileSync(canary, '')
  const started = await startPlane(dir)
  plane = started.child
  url = started.url
  expect(await (await wrapped('--agent', 'coder')).touch('first')).toBe('ran') // with its first call a tool is recorded
  const { entries } = JSON.parse((await run(['log', '--dir', dir, '--kind', 'gate', '--json'])).stdout) as { entries: { gate: string }[] }
  gate = entries[0]?.gate as string
}, 60_000)
afterAll(async () => {
  for (const child of gateways) await end(child)
  await end(plane)
  fs.rmSync(root, { recursive: true, force: true })
})

describe('sealwrit lineage', () => {
  it('shows why a request was allowed and what descends from it: issued below files and ids, called below `--parent` and `_meta`, denied, with its evidence', { timeout: 120_000 }, async () => {
    const top = await issue('top', '--agent', 'planner', '--delegates', file('terms.json', terms))
    expect(top).toMatchObject({ exit: 0, permit: { depth: 0 } })
    const child = await issue('child', '--agent', 'coder', '--parent', top.file, '--delegates', file('less.json', { ...terms, until: '5m', uses: 5, depth: 1 }))
    expect(child.permit).toMatchObject({ depth: 1, txn: top.permit.jti, par: { jti: top.permit.jti } })
    const byId = await issue('by-id', '--agent', 'coder', '--parent', child.permit.jti)
    expect(byId.permit).toMatchObject({ depth: 2, par: { jti: child.permit.jti } })
    const wide = await issue('wide', '--agent', 'coder', '--parent', top.permit.jti, '--delegates', file('wide.json', { ...terms, uses: 21 }))
    expect([wide.exit, wide.stderr]).toEqual([10, expect.stringMatching(/delegation_widens/)])

    const bound = await wrapped('--agent', 'coder', '--parent', top.file)
    expect(await bound.touch('bound')).toBe('ran')
    const free = await wrapped('--agent', 'coder')
    const called = await free.request('tools/call', { name: 'touch', arguments: { id: 'meta' }, _meta: { 'sealwrit/parent': byId.permit.par } })
    expect(called?.['result']).toMatchObject({ content: expect.anything() as unknown })
    const escaped = await bound.request('tools/call', { name: 'touch', arguments: { id: 'no' }, _meta: { 'sealwrit/parent': byId.permit.par } })
    expect(JSON.stringify(escaped)).toContain('request_malformed')

    const tree = await lineage(top.permit.jti)
    expect([tree.ancestors, tree.node.jti]).toEqual([[], top.permit.jti])
    expect(tree.below.map(({ parent, decision, code, ending }) => [parent === top.permit.jti ? 1 : 2, decision, code, ending?.outcome])).toEqual([
      [1, 'permit', undefined, undefined], [2, 'permit', undefined, undefined], [2, 'permit', undefined, 'completed'], [1, 'deny', 'delegation_widens', undefined], [1, 'permit', undefined, 'completed'],
    ])
    const pages: string[] = []
    for (let next: string | undefined = ''; next !== undefined; ) {
      const page = await lineage(top.permit.jti, '--limit', '2', ...(next === '' ? [] : ['--after', next]))
      pages.push(...page.below.map(({ jti }) => jti))
      next = page.next
    }
    expect(pages).toEqual(tree.below.map(({ jti }) => jti))
    expect((await lineage(byId.permit.jti)).ancestors.map(({ jti }) => jti)).toEqual([top.permit.jti, child.permit.jti])

    const { stdout } = await run(['lineage', child.permit.jti, '--dir', dir])
    expect(stdout).toMatch(new RegExp(`^permit  mcp://canary/touch  agent:planner  ${top.permit.jti}  open\\n +index \\d+, by touch/touch in epoch \\d+, risk low\\n +delegates up to 20 requests, 2 levels deep, until [^\\n]+\\n└─ permit  [^\\n]+${child.permit.jti}  open\\n`))
    expect(stdout).toMatch(new RegExp(`\\n   └─ permit  [^\\n]+${byId.permit.jti}  open\\n`))

    const token = fs.readFileSync(path.join(dir, 'token'), 'utf8').trim()
    const answer = await fetch(`${url}/v1/lineage/${top.permit.jti}?limit=1`, { headers: { authorization: `Bearer ${token}` } })
    expect(await answer.json()).toMatchObject({ node: { jti: top.permit.jti }, below: [{ jti: child.permit.jti }], next: child.permit.jti })

    const bundle = path.join(root, 'evidence.json')
    expect((await run(['export', byId.permit.jti, '--dir', dir, '-o', bundle])).exit).toBe(0)
    const verified = await run(['verify', bundle, '--key', path.join(dir, 'log.vkey'), '--json'])
    expect(verified.exit).toBe(0)
    expect(verified.stdout).toContain('what was asked for, and what it delegates itself, is within what its parent delegates')
    await run(['revoke', `artifact:${top.permit.jti}`, '--dir', dir])
    expect(await bound.touch('late')).toBe('ancestor_revoked')
    expect((await issue('late', '--agent', 'coder', '--parent', child.file)).stderr).toMatch(/ancestor_revoked/)
    expect(fs.readFileSync(canary, 'utf8').split('\n').filter((line) => line !== '')).toEqual(['first', 'bound', 'meta'])
  })

  it('says what is wrong with an id, a parent and a delegation', { timeout: 60_000 }, async () => {
    expect(await run(['lineage', 'AAAAAAAAAAAAAAAAAAAAAA', '--dir', dir])).toMatchObject({ exit: 1, stderr: expect.stringMatching(/holds no entry or execution/) as unknown })
    expect((await run(['lineage', '--help'])).stdout).toContain('sealwrit lineage 3Ndk0lGzY5aWq3v6y8PqVw')
    expect((await run(['lineage', 'AAAAAAAAAAAAAAAAAAAAAA', '--dir', dir, '--limit', '0'])).exit).toBe(2)
    expect(await issue('p', '--parent', file('p1.json', { jti: 'x' }))).toMatchObject({ exit: 2, stderr: expect.stringMatching(/--parent: [\s\S]*hint: a jti, a file/) as unknown })
    for (const change of [{ uses: 0 }, { until: 'soon' }, { scopes: [] }, { more: 1 }]) expect(await issue('d', '--delegates', file('d1.json', { ...terms, ...change }))).toMatchObject({ exit: 2, stderr: expect.stringMatching(/--delegates: [\s\S]*hint: such as/) as unknown })
    expect((await issue('none', '--agent', 'coder', '--parent', file('none.json', { jti: 'AAAAAAAAAAAAAAAAAAAAAA', leaf_hash: `sha256:${'0'.repeat(64)}` }))).stderr).toMatch(/parent_unknown/)
  })
})
