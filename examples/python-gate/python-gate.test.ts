import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Agent } from '../../test/support/agent.ts'
import { end, PROGRAM, run, startPlane } from '../../test/support/processes.ts'
import { noPython, VERIFIER_FOLDER } from '../../test/support/second-verifier.ts'
import { rulesFile } from '../../packages/cli/src/conformance/rules.ts'

const GATE = path.join(import.meta.dirname, 'gate.py')
const CANARY = path.resolve(import.meta.dirname, '../../packages/cli/src/doctor/canary-server.ts')
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-python-gate-'))
const [dir, canary, script] = [path.join(root, '.sealwrit'), path.join(root, 'canary'), path.join(root, 'server.mjs')]
const cli = (...args: string[]): ReturnType<typeof run> => run([...args, '--dir', dir])
const touched = (): number => (fs.existsSync(canary) ? fs.readFileSync(canary, 'utf8').split('\n').length - 1 : 0)
const children: ChildProcess[] = []

/** A gate of Python before the server that `doctor` governs too. */
async function gate(): Promise<{ child: ChildProcess; agent: Agent }> {
  const child = spawn('python3', [GATE, '--name', 'doctor', '--agent', 'sealwrit-doctor', '--', process.execPath, ...PROGRAM.slice(0, -1), script, canary], { stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, SEALWRIT_DIR: dir } })
  children.push(child)
  const agent = new Agent(child)
  expect(await agent.initialize()).toBe(true)
  return { child, agent }
}
interface Called {
  readonly result?: { readonly content: readonly { readonly text: string }[]; readonly _meta?: { readonly 'sealwrit/denial': { readonly code: string; readonly record?: number } } }
  readonly error?: { readonly data: { readonly code: string; readonly record?: number } }
}
const call = async (agent: Agent, name: string, args: object = {}): Promise<Called> => (await agent.request('tools/call', { name, arguments: args })) as Called
const refused = ({ result, error }: Called): { readonly code: string; readonly record?: number } | undefined => result?._meta?.['sealwrit/denial'] ?? error?.data

describe.skipIf(noPython !== undefined)('a gate in Python, written from the pages of the specification', () => {
  beforeAll(async () => {
    fs.writeFileSync(script, `await import(${JSON.stringify(CANARY)})\n`)
    children.push((await startPlane(dir)).child)
    expect((await cli('doctor')).exit).toBe(0) // which pins the tools of the server
  }, 60_000)
  afterAll(async () => {
    await Promise.all(children.map((child) => end(child)))
    fs.rmSync(root, { recursive: true })
  })

  it('holds every rule for gates', async () => {
    const { exit, stdout } = await run(['conformance', '--gate', '--json', '--', 'python3', GATE])
    const { rules } = JSON.parse(stdout) as { rules: { id: string; status: string; detail: string }[] }
    expect(rules.filter(({ status }) => status !== 'held')).toEqual([])
    const known = (JSON.parse(fs.readFileSync(rulesFile, 'utf8')) as { rules: { id: string; suite: string }[] }).rules
    expect(rules.map(({ id }) => id)).toEqual(known.filter(({ suite }) => suite === 'gate').map(({ id }) => id))
    expect(exit).toBe(0)
  }, 120_000)

  it('runs at a real plane what is permitted, refuses the rest, and what is another program by now, stops on a kill, and leaves evidence that both verifiers establish', async () => {
    const { child, agent } = await gate()
    const listed = (await agent.request('tools/list', {})) as { result: { tools: { name: string }[] } }
    expect(listed.result.tools.map(({ name }) => name)).toEqual(['touch'])
    expect([(await call(agent, 'touch')).result?.content[0]?.text, touched()]).toEqual(['done', 1])
    expect([refused(await call(agent, 'touch_forbidden'))?.code, touched()]).toEqual(['policy_no_match', 1])
    for (const [name, args, code] of [['unlisted', {}, 'tool_not_pinned'], ['touch', { linger_ms: 'long' }, 'request_malformed']] as const) {
      expect(refused(await call(agent, name, args))).toMatchObject({ code, record: expect.any(Number) as number })
    }
    expect(refused((await agent.request('resources/list', {})) as Called)).toMatchObject({ code: 'method_unknown', record: expect.any(Number) as number })

    fs.appendFileSync(script, '// another program')
    expect(refused(await call(agent, 'touch'))).toMatchObject({ code: 'environment_mismatch', record: expect.any(Number) as number })
    fs.writeFileSync(script, `await import(${JSON.stringify(CANARY)})\n`)
    expect([(await call(agent, 'touch')).result?.content[0]?.text, touched()]).toEqual(['done', 2])

    const running = call(agent, 'touch', { linger_ms: 20_000 })
    for (let i = 0; touched() < 3 && i < 100; i++) await new Promise((resolve) => setTimeout(resolve, 20))
    const killed = Date.now()
    expect((await cli('kill', 'agent:sealwrit-doctor')).exit).toBe(0)
    expect(refused(await running)?.code).toBe('killed')
    expect(Date.now() - killed).toBeLessThan(10_000)
    expect(refused(await call(agent, 'touch'))?.code).toBe('killed')
    child.stdin?.end()
    await new Promise((resolve) => child.once('exit', resolve))

    const again = await gate() // under the same key, from its floor
    expect((await cli('unkill', 'agent:sealwrit-doctor')).exit).toBe(0)
    expect((await call(again.agent, 'touch')).result?.content[0]?.text).toBe('done')
    again.child.stdin?.end()

    const [file, key] = [path.join(root, 'evidence.json'), path.join(dir, 'log.vkey')]
    expect((await cli('export', 'all', '-o', file)).exit).toBe(0)
    const verified = await cli('verify', file, '--key', key, '--replay', '--json')
    expect(verified.exit, verified.stdout).toBe(0)
    const { verdict, findings } = JSON.parse(verified.stdout) as { verdict: string; findings: { verdict: string; claim: string }[] }
    expect([verdict, findings.filter((found) => found.verdict === 'contradicted')]).toEqual(['established', []])
    const second = spawnSync('python3', [path.join(VERIFIER_FOLDER, 'verify.py'), file, '--key', key], { encoding: 'utf8' })
    expect([second.status, second.stdout]).toEqual([0, expect.stringMatching(/^established /)])
  }, 60_000)
})
