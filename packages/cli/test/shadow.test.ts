import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { end, run, sealwrit, startPlane } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-shadow-')))
const dir = path.join(root, '.sealwrit')
const server = path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs')
const canary = path.join(root, 'canary')
let plane: Awaited<ReturnType<typeof startPlane>> | undefined
afterAll(async () => {
  if (plane !== undefined) await end(plane.child)
  fs.rmSync(root, { recursive: true, force: true })
})
const started = async (mode?: string): Promise<void> => {
  if (plane !== undefined) await end(plane.child)
  fs.writeFileSync(path.join(root, 'sealwrit.yaml'), `policies: .sealwrit/policies\n${mode === undefined ? '' : `mode: ${mode}\n`}`)
  plane = await startPlane(dir)
}
/** Calls the canary's tool, which no policy permits, through a gateway. */
const touched = async (...options: string[]): Promise<string> => {
  const child = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'canary', ...options, '--', process.execPath, server, canary])
  const agent = new Agent(child)
  const answer = (await agent.initialize()) ? await agent.touch('x') : 'gone'
  child.stdin?.end()
  await end(child)
  return answer
}
const lines = (): number => (fs.existsSync(canary) ? fs.readFileSync(canary, 'utf8').split('\n').filter((line) => line !== '').length : 0)
const verified = async (): Promise<{ verdict: string; notShown: string[] }> => {
  const file = path.join(root, `${fs.readdirSync(root).length}.json`)
  await run(['export', 'all', '-o', file, '--dir', dir])
  return JSON.parse((await run(['verify', file, '--dir', dir, '--replay', '--json'])).stdout) as { verdict: string; notShown: string[] }
}

describe('mode: shadow and mcp --shadow', () => {
  it('what policy denies runs only where plane and gate were both started for it, and is never called governed', { timeout: 240_000 }, async () => {
    await started()
    expect([await touched('--shadow'), lines()]).toEqual(['policy_no_match', 0])

    await started('shadow')
    expect([await touched(), lines()]).toEqual(['policy_no_match', 0])
    expect([await touched('--shadow'), lines()]).toEqual(['ran', 1])
    expect((await run(['log', '--dir', dir])).stdout).toMatch(/policy {3}observing[\s\S]*permit {3}OBSERVED, not governed: policy_no_match {2}mcp:\/\/canary\/touch/)
    expect((await run(['log', 'search', '--dir', dir, '--code', 'policy_no_match', '--decision', 'permit'])).stdout).toContain('observed, not governed: policy_no_match')
    expect((await run(['policy', 'status', '--dir', dir])).stdout).toContain('the plane observes')
    expect(JSON.parse((await run(['doctor', '--dir', dir, '--json'])).stdout)).toMatchObject({ findings: expect.arrayContaining([{ check: 'enforced', detail: expect.stringContaining('not governed'), status: 'not checked' }]) })
    const seen = await verified()
    expect(seen.verdict).toBe('established')
    expect(seen.notShown.join('\n')).toContain('1 executions were observed, not governed: policy said policy_no_match')
    expect((await run(['policy', 'recommend', '--dir', dir, '--denied'])).stdout).toContain('Tool::"mcp://canary/touch"')
    expect((await run(['policy', 'recommend', '--dir', dir])).stdout).not.toContain('Tool::"mcp://canary/touch"')

    await started()
    expect([await touched('--shadow'), lines()]).toEqual(['policy_no_match', 1])
    expect((await run(['log', '--dir', dir, '--kind', 'policy'])).stdout).toMatch(/observing[\s\S]*enforcing/)
    expect((await verified()).verdict).toBe('established')
  })
  it('no other mode is taken', async () => {
    fs.writeFileSync(path.join(root, 'sealwrit.yaml'), 'mode: off\n')
    expect((await run(['up', '--dir', dir, '--listen', '127.0.0.1:0'])).stderr).toContain('mode')
  })
})
