import { spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'
import { CliError } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { type GlobalOptions, green, json, line, red, yellow } from '../output.ts'
import { selfArguments } from '../self.ts'
import { McpSession } from './mcp-session.ts'

export interface Finding {
  readonly check: string
  readonly ok: boolean | undefined
  readonly detail: string
}

/** Shows the real boundary at work: a permit that runs, a deny that does not, both in the log. */
export async function doctor(options: GlobalOptions & { agentKey?: string }): Promise<void> {
  const folder = findFolder(options.dir)
  const before = await askPlane(folder, 'status', {})
  const findings: Finding[] = [{ check: 'plane', ok: before.ready, detail: `${before.origin}, ${before.size} entries, policy epoch ${before.epoch}` }]
  if (before.observing) findings.push({ check: 'enforced', ok: undefined, detail: 'the plane observes (`mode: shadow`): what policy denies runs at gates started with --shadow, and is not governed' })
  findings.push(...(await probe(folder, options.agentKey)))
  const { entries } = await askPlane(folder, 'log.list', { limit: 20, kinds: ['permit', 'deny', 'receipt'] })
  const recorded = entries.filter(({ seq }) => seq >= before.size)
  const kinds = ['permit', 'receipt', 'deny'].filter((kind) => recorded.some((entry) => entry.kind === kind))
  findings.push({ check: 'record', ok: kinds.length === 3, detail: `new in the log: ${kinds.join(', ') || 'nothing'}` })
  if (options.json === true) json({ findings: findings.map(({ ok, ...rest }) => ({ ...rest, status: ok === undefined ? 'not checked' : ok ? 'ok' : 'failed' })) })
  else for (const { check, ok, detail } of findings) line(`${ok === undefined ? yellow('–') : ok ? green('✓') : red('✗')} ${check}: ${detail}`)
  if (findings.some(({ ok }) => ok === false)) throw new CliError('the boundary does not hold as it should', { hint: 'look at the lines marked ✗; a policy set without doctor.cedar permits no canary, and where agents are registered this one needs a key: `sealwrit agent add sealwrit-doctor`, then --agent-key' })
}

/** A permitted call, a forbidden one and one that is killed, at a gate of its own. @throws {CliError} where the gate does not work */
export async function probe(folder: PlaneFolder, agentKey: string | undefined): Promise<readonly Finding[]> {
  const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-doctor-'))
  try {
    return await callThrough(folder, path.join(temporary, 'canary'), agentKey)
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true })
  }
}

/** Calls through a gateway process of its own, and what the canary file says of them. */
async function callThrough(folder: PlaneFolder, canary: string, agentKey: string | undefined): Promise<readonly Finding[]> {
  fs.writeFileSync(canary, '')
  const server = path.join(path.dirname(fileURLToPath(import.meta.url)), `canary-server${path.extname(fileURLToPath(import.meta.url))}`)
  const gateway = spawn(process.execPath, [...selfArguments(), 'mcp', '--pin', '--dir', folder.dir, '--name', 'doctor', '--agent', 'sealwrit-doctor', ...(agentKey === undefined ? [] : ['--agent-key', path.resolve(agentKey)]), '--', process.execPath, server, canary], { stdio: ['pipe', 'pipe', 'pipe'] })
  let errors = ''
  gateway.stderr.on('data', (chunk: Buffer) => {
    errors = `${errors}${chunk.toString()}`.slice(-2_000)
  })
  const ran = (): string => fs.readFileSync(canary, 'utf8').trim().split('\n').join(', ')
  try {
    const session = new McpSession(gateway.stdout, gateway.stdin)
    await session.initialize('sealwrit-doctor')
    const permitted = await session.call('touch', {})
    const afterPermit = ran()
    const denied = await session.call('touch_forbidden', {})
    const afterDeny = ran()
    const killed = await killRunning(session, folder)
    return [
      { check: 'permit', ok: permitted === undefined && afterPermit === 'touch', detail: permitted === undefined ? 'a permitted call ran once' : `the permitted call was refused: ${permitted}` },
      { check: 'deny', ok: denied !== undefined && denied !== 'tool_error' && afterDeny === afterPermit, detail: `a forbidden call answered ${denied ?? 'as if it had run'}, canary ${afterDeny === afterPermit ? 'unchanged' : 'CHANGED'}` },
      killed,
    ]
  } catch (error) {
    const said = errors.split('\n').map((text) => text.trim()).filter((text) => text !== '').join('; ')
    throw new CliError(`the gateway did not work: ${error instanceof Error ? error.message : 'unknown'}`, said === '' ? {} : { hint: `it said: ${said}` })
  } finally {
    gateway.stdin.end()
    setTimeout(() => gateway.kill('SIGKILL'), 2_000).unref()
  }
}

/** How long the call lingers that is to be killed, and how soon it must have ended, milliseconds. */
const LINGER_MS = 10_000
const STOP_MS = 2_000

/** Kills an execution while it runs: by its id, so that nothing else is met and nothing has to be lifted. */
async function killRunning(session: McpSession, folder: PlaneFolder): Promise<Finding> {
  const newest = async (): Promise<string | undefined> => (await askPlane(folder, 'executions.search', { limit: 1, decision: 'permit' })).executions[0]?.id
  const before = await newest()
  const running = session.call('touch', { linger_ms: LINGER_MS })
  let permit = await newest()
  for (let i = 0; permit === before && i < 100; i++) {
    await new Promise((resolve) => setTimeout(resolve, 20))
    permit = await newest()
  }
  const from = process.hrtime.bigint()
  const { seq } = await askPlane(folder, 'kill', { selector: `artifact:${permit ?? ''}` })
  const code = await running
  const ms = Number((process.hrtime.bigint() - from) / 1_000_000n)
  return { check: 'kill', ok: code === 'killed' && ms < STOP_MS, detail: `a running call was killed (index ${seq}): it ended with ${code ?? 'a result'} after ${ms} ms` }
}
