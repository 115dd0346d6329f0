import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable, Writable } from 'node:stream'
import { escapeControls } from '@sealwrit/protocol'
import { McpGateway, type GatewayOptions } from './gateway.ts'

/** Variables that a server gets by default; loaders and interpreters' options are not among them (ATK-028). */
const PASSED_VARIABLES: ReadonlySet<string> = new Set(['HOME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'LOGNAME', 'PATH', 'TERM', 'TMPDIR', 'TZ', 'USER'])
/** Bytes that may wait for a side that does not read. */
const MAX_UNREAD_BYTES = 67_108_864
/** Time that a server has to end after its input was closed, in milliseconds. */
const STOP_MS = 2_000

export interface StdioOptions extends Omit<GatewayOptions, 'toClient' | 'toServer' | 'close' | 'kill'> {
  /** The measured command: absolute executable and its arguments. */
  readonly command: { readonly executable: string; readonly args: readonly string[]; readonly cwd: string }
  readonly environment: Readonly<Record<string, string>>
  readonly input: Readable
  readonly output: Writable
  readonly errors: Writable
}

/** The variables of `all` that a server gets: the default ones and those named in `extra`. */
export function serverEnvironment(all: Readonly<Record<string, string | undefined>>, extra: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(all)) if (value !== undefined && (PASSED_VARIABLES.has(name) || extra.includes(name))) out[name] = value
  return out
}

/**
 * Starts the server as a child of this gateway and carries lines between it and the client until either ends.
 * @returns why it ended
 */
export function runStdioGateway(options: StdioOptions): Promise<{ reason: string; serverFailed: boolean }> {
  const { command, environment, input, output, errors } = options
  const child = spawn(command.executable, [...command.args], { cwd: command.cwd, env: { ...environment }, stdio: ['pipe', 'pipe', 'pipe'], windowsHide: true })
  return new Promise((resolve) => {
    let ended: { reason: string; serverFailed: boolean } | undefined
    const end = (reason: string, serverFailed: boolean): void => {
      if (ended !== undefined) return
      ended = { reason, serverFailed }
      input.removeAllListeners('data')
      stop(child)
    }
    const gateway = new McpGateway({
      ...options,
      toClient: (line) => write(output, line, () => end('the client does not read', false)),
      toServer: (line) => write(child.stdin, line, () => end('the server does not read', true)),
      close: (reason) => end(reason, true),
      kill: (reason) => {
        end(reason, true)
        child.kill('SIGKILL')
      },
    })
    input.on('data', (chunk: Buffer) => gateway.clientData(chunk))
    input.once('end', () => end('the client closed', false))
    output.on('error', () => end('the client is gone', false))
    child.stdin.on('error', () => undefined) // its exit tells
    child.stdout.on('data', (chunk: Buffer) => gateway.serverData(chunk))
    child.stderr.on('data', (chunk: Buffer) => errors.write(chunk.toString('utf8').split('\n').map(escapeControls).join('\n')))
    child.once('error', (error) => {
      gateway.serverClosed()
      resolve({ reason: `the server could not be started: ${error.message}`, serverFailed: true })
    })
    child.once('exit', (code, signal) => {
      gateway.serverClosed()
      resolve(ended ?? { reason: `the server ended (${signal ?? code})`, serverFailed: true })
    })
    process.once('exit', () => child.kill('SIGKILL'))
  })
}

function write(stream: Writable, line: string, onStuck: () => void): void {
  if (stream.writableLength > MAX_UNREAD_BYTES) onStuck()
  else if (stream.writable) stream.write(`${line}\n`)
}

/** Closes the server's input, then asks it to end, then ends it. */
function stop(child: ChildProcess): void {
  child.stdin?.end()
  const term = setTimeout(() => child.kill('SIGTERM'), STOP_MS)
  const kill = setTimeout(() => child.kill('SIGKILL'), 2 * STOP_MS)
  child.once('exit', () => {
    clearTimeout(term)
    clearTimeout(kill)
  })
}

