import { spawn } from 'node:child_process'
import * as path from 'node:path'
import { isObject } from '@sealwrit/protocol'
import { McpSession } from '../doctor/mcp-session.ts'
import { type Client } from './clients.ts'
import { isTable, isTexts } from './document.ts'
import type { PlannedServer } from './plan.ts'

/** Pages of a list that are read. */
const MAX_PAGES = 100
/** Time that a gateway has to end, in milliseconds. */
const STOP_MS = 3_000
/** What is kept of its words, in characters. */
const MAX_SAID = 2_000

/** What starts a server behind a gateway, or why it is not started here. */
export type Start = { readonly command: string; readonly args: readonly string[]; readonly env: Readonly<Record<string, string>>; readonly cwd: string } | { readonly reason: string }

/** How the client would start the gateway of a server. Nothing is expanded here: what the client would replace is not started. */
export function startOf(planned: PlannedServer, client: Client, clientCwd: string): Start {
  if (planned.state === 'left') return { reason: planned.reason }
  if (planned.state === 'wrap' && planned.launch.kind === 'http') return { reason: 'its headers have no file yet: `mcp install` it first' }
  const { entry } = planned
  const [command, args, cwd] = [entry.get('command') as string, entry.get('args'), entry.get('cwd')]
  if (!isTexts(args)) return { reason: 'its arguments cannot be read' }
  const at = args.indexOf('--')
  if (client.expands?.test([...(at < 0 ? [] : args.slice(at)), typeof cwd === 'string' ? cwd : ''].join(' ')) === true) return { reason: `${client.title} replaces parts of its command before it starts it` }
  const mcp = args.indexOf('mcp') + 1
  const env = entry.get('env')
  const given = isTable(env) ? [...env].filter((one): one is [string, string] => typeof one[1] === 'string' && client.expands?.test(one[1]) !== true) : []
  // With --shadow the gateway also lists what nobody pinned yet; nothing is called.
  return { command, args: [...args.slice(0, mcp), '--shadow', ...args.slice(mcp)], env: Object.fromEntries(given), cwd: path.resolve(clientCwd, typeof cwd === 'string' ? cwd : '') }
}

/**
 * Starts one server behind its gateway, asks for its tools, and ends it: the gateway tells the plane what it saw. What it measures is what runs, as ever.
 * @returns what went wrong
 */
export async function askForTools(start: Exclude<Start, { reason: string }>): Promise<{ readonly reason: string } | undefined> {
  const child = spawn(start.command, [...start.args], { cwd: start.cwd, env: { ...process.env, ...start.env }, stdio: ['pipe', 'pipe', 'pipe'], windowsHide: true })
  let said = ''
  child.stderr.on('data', (chunk: Buffer) => {
    said = `${said}${chunk.toString()}`.slice(-MAX_SAID)
  })
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  child.stdin.on('error', () => undefined)
  try {
    const session = new McpSession(child.stdout, child.stdin)
    await session.initialize('sealwrit-import')
    await listAll(session)
    return undefined
  } catch (error) {
    const words = said.split('\n').map((line) => line.trim()).filter((line) => line !== '' && !line.startsWith('sealwrit: --shadow')).slice(-3).join('; ')
    return { reason: words === '' ? (error as Error).message : words }
  } finally {
    child.stdin.end()
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await gone
    clearTimeout(late)
  }
}

async function listAll(session: McpSession): Promise<void> {
  let cursor: string | undefined
  for (let page = 0; page < MAX_PAGES; page++) {
    const { result } = await session.request('tools/list', cursor === undefined ? {} : { cursor })
    const next = isObject(result) ? result['nextCursor'] : undefined
    if (typeof next !== 'string') return
    cursor = next
  }
}
