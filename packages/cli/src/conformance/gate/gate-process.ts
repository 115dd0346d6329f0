import { type ChildProcess, spawn } from 'node:child_process'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'
import type { JsonObject } from '@sealwrit/protocol'
import { McpSession } from '../../doctor/mcp-session.ts'
import { CliError } from '../../errors.ts'
import { plain } from '../../output.ts'
import { selfArguments } from '../../self.ts'

/** Who asks, as policies of planes may name it. */
const AGENT = 'sealwrit-conformance'
/** How long a gate whose input ended may take to leave, and how long once it was told to, in milliseconds. */
const LEAVE_MS = 500
const END_MS = 2_000
/** What is kept of what a gate says on its standard error, in characters. */
const MAX_SAID = 2_000

/** One call through the gate, and what came of it. */
export interface Attempt {
  /** `ran`, the code that it was refused or ended with, `refused` without one, or `ended` where the gate went away. */
  readonly outcome: string
  /** Calls that the canary counted meanwhile. */
  readonly ran: number
  readonly ms: number
}

/** The words that start the canary: it appends a line to the file for each call. */
export function canaryCommand(file: string): readonly string[] {
  const own = fileURLToPath(import.meta.url)
  return [process.execPath, path.resolve(path.dirname(own), '..', '..', 'doctor', `canary-server${path.extname(own)}`), file]
}

/** The gate of this program. */
export function ownGate(dir: string): readonly string[] {
  return [process.execPath, ...selfArguments(), 'mcp', '--dir', dir, '--name', 'conformance', '--agent', AGENT, '--']
}

/** The gate under test, a process with the canary behind it, and its client. */
export class GateProcess {
  readonly #command: readonly string[]
  readonly #dir: string
  readonly #canary: string
  #child: ChildProcess | undefined
  #session: McpSession | undefined
  #said = ''
  #isOver = false

  /** @param command words that start the gate; those of the canary are appended */
  constructor(command: readonly string[], dir: string, canary: string) {
    this.#command = [...command, ...canaryCommand(canary)]
    this.#dir = dir
    this.#canary = canary
    fs.writeFileSync(canary, '')
  }

  /** Calls that the canary counted so far. */
  get ran(): number {
    return fs.readFileSync(this.#canary, 'utf8').split('\n').length - 1
  }
  get said(): string {
    return plain(this.#said.trim())
  }

  /** @throws {CliError} where it does not begin to speak MCP */
  async start(): Promise<void> {
    if (this.#isOver) throw new CliError('the run is over')
    const [program, ...args] = this.#command as readonly [string, ...string[]]
    const child = spawn(program, args, { detached: true, stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ['SEALWRIT_DIR']: this.#dir } })
    this.#child = child
    this.#said = ''
    child.stderr.on('data', (chunk: Buffer) => {
      this.#said = `${this.#said}${chunk.toString()}`.slice(-MAX_SAID)
    })
    child.stdin.on('error', () => undefined)
    let failed = ''
    child.once('error', (error) => (failed = (error as NodeJS.ErrnoException).code ?? 'unknown'))
    this.#session = new McpSession(child.stdout, child.stdin)
    try {
      await this.#session.initialize(AGENT)
    } catch {
      await this.stop()
      throw new CliError(failed === '' ? `the gate does not speak MCP: \`${program}\`` : `the gate cannot be started: \`${program}\` (${failed})`, { hint: this.said === '' ? 'its command is started with that of the canary appended, and SEALWRIT_DIR; see spec/conformance.md' : `it said: ${this.said}` })
    }
  }

  /** Calls a tool of the canary through the gate. */
  async call(tool: string = 'touch', args: JsonObject = {}, meta?: JsonObject): Promise<Attempt> {
    const before = this.ran
    const from = process.hrtime.bigint()
    const outcome = await this.#ask(tool, args, meta)
    return { outcome, ran: this.ran - before, ms: Number((process.hrtime.bigint() - from) / 1_000_000n) }
  }

  async #ask(tool: string, args: JsonObject, meta: JsonObject | undefined): Promise<string> {
    try {
      const code = await this.#session?.call(tool, args, meta)
      return code === undefined ? 'ran' : code === 'tool_error' ? 'refused' : code
    } catch {
      return 'ended'
    }
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  /** Ends the gate for good. */
  async end(): Promise<void> {
    this.#isOver = true
    await this.stop()
  }

  /** Ends the gate, and waits until it is gone. */
  async stop(): Promise<void> {
    const child = this.#child
    this.#child = undefined
    if (child?.pid === undefined) return
    const { pid } = child
    if (child.exitCode === null && child.signalCode === null) await new Promise<void>((resolve) => {
      const timers = [setTimeout(() => signalled(pid, 'SIGTERM'), LEAVE_MS), setTimeout(() => signalled(pid, 'SIGKILL'), END_MS)]
      child.once('exit', () => {
        timers.forEach(clearTimeout)
        resolve()
      })
      child.stdin?.end()
    })
    signalled(pid, 'SIGKILL') // what it started and left behind
  }
}

/** All of a gate: it leads a group of its own. */
function signalled(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void {
  try {
    process.kill(-pid, signal)
  } catch {
    return // it is gone
  }
}
