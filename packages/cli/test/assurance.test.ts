import type { ChildProcess } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../../test/support/agent.ts'
import { signedStatement } from '../../../test/support/attestation.ts'
import { end, run, sealwrit, startPlane, startWitness } from '../../../test/support/processes.ts'

const root = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-assurance-')))
const at = (...names: string[]): string => path.join(root, ...names)
const dir = at('.sealwrit')
const server = at('server.mjs')
const canary = at('canary')
const witnesses = at('witnesses.policy')
const keys = generateKeyPairSync('ed25519')
const children: ChildProcess[] = []
const cli = (...args: string[]): ReturnType<typeof run> => run([...args, '--dir', dir])

beforeAll(async () => {
  fs.copyFileSync(path.resolve(import.meta.dirname, '../../../test/support/canary-server.mjs'), server)
  fs.writeFileSync(canary, '')
  fs.writeFileSync(at('ci.pem'), keys.publicKey.export({ type: 'spki', format: 'pem' }))
  await end((await startPlane(dir)).child) // the first run writes the folder
  fs.writeFileSync(at('signed.json'), signedStatement(server, keys.privateKey, 'https://ci.example/release'))
  const witness = await startWitness(at('witness'), path.join(dir, 'log.vkey'))
  children.push(witness.child)
  fs.writeFileSync(witnesses, `${witness.policy_line}\nquorum ${witness.name}\n`)
  fs.writeFileSync(at('sealwrit.yaml'), 'policies: .sealwrit/policies\nwitnesses: witnesses.policy\nenvironment:\n  trust:\n    - name: release\n      predicate_types: ["https://slsa.dev/provenance/v1"]\n      builder: https://ci.example/release\n      keys: { ci: ci.pem }\n')
  fs.writeFileSync(path.join(dir, 'policies', 'touch.cedar'), '@id("touch") @assurance("A4") permit (principal, action == Action::"mcp.tool_call", resource == Tool::"mcp://canary/touch");\n')
  children.push((await startPlane(dir)).child)
}, 120_000)
afterAll(async () => {
  for (const child of children.toReversed()) await end(child)
  fs.rmSync(root, { recursive: true, force: true })
})
async function wrapped(...args: string[]): Promise<Agent> {
  const gateway = sealwrit(['mcp', '--pin', '--dir', dir, '--name', 'canary', ...args, '--', process.execPath, server, canary])
  gateway.stderr?.resume()
  children.push(gateway)
  const agent = new Agent(gateway)
  expect(await agent.initialize()).toBe(true)
  return agent
}

describe('@assurance("A4"), from policy to proof', () => {
  it('runs nothing without a key or without signed evidence, and runs with both under a witness; the receipt states it, a search finds it, a verifier bears it out', { timeout: 120_000 }, async () => {
    const added = await cli('agent', 'add', 'coder', '--json')
    const { file: key } = JSON.parse(added.stdout) as { file: string }
    const signed = ['--attestation', at('signed.json')]
    expect(await (await wrapped('--agent', 'nobody', ...signed)).touch('no key')).toBe('identity_missing')
    expect(await (await wrapped('--agent', 'coder', '--agent-key', key)).touch('unsigned')).toBe('environment_unattested')
    expect(fs.readFileSync(canary, 'utf8')).toBe('')
    expect(await (await wrapped('--agent', 'coder', '--agent-key', key, ...signed)).touch('all of it')).toBe('ran')
    expect(fs.readFileSync(canary, 'utf8').trim()).toBe('all of it')

    const found = JSON.parse((await cli('log', 'search', '--min-assurance', 'A4', '--json')).stdout) as { executions: { id: string; assurance: string }[] }
    expect(found.executions.map(({ assurance }) => assurance)).toEqual(['A4'])
    const id = found.executions[0]?.id as string
    expect((await cli('show', id)).stdout).toMatch(/demands A4[\s\S]*completed {2}A4/)
    const bundle = at('evidence.json')
    expect((await cli('export', 'all', '-o', bundle)).exit).toBe(0)
    const verify = (...args: string[]): ReturnType<typeof run> => run(['verify', bundle, '--key', path.join(dir, 'log.vkey'), ...args])
    const [bare, whole] = [await verify(), await verify('--witness-policy', witnesses)]
    expect([bare.exit, bare.stdout]).toEqual([0, expect.stringContaining('that their seals were witnessed shows only under a witness policy')])
    expect([whole.exit, whole.stdout]).toEqual([0, expect.stringContaining('the receipt states the assurance that its permit')])
    expect(whole.stdout).not.toContain('the assurance that 1 receipts state')
  })
})
