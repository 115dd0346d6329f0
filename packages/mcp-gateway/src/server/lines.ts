import { type ChildProcess, spawn } from 'node:child_process'
import type { Writable } from 'node:stream'
import { Denied, escapeControls, LineReader } from '@sealwrit/protocol'
import { MAX_SERVER_LINE } from '../messages.ts'
import type { LinkEvents, OpenLink, ServerLink } from './link.ts'

/** Variables that a server gets by default; loaders and interpreters' options are not among them (ATK-028). */
const PASSED_VARIABLES: ReadonlySet<string> = new Set(['HOME', 'LANG', 'LC_ALL', 'LC_CTYPE', 'LOGNAME', 'PATH', 'TERM', 'TMPDIR', 'TZ', 'USER'])
/** Bytes that may wait for a side that does not read. */
export const MAX_UNREAD_BYTES = 67_108_864
/** Time that a server has to end after its input was closed, in milliseconds. */
const STOP_MS = 2_000

/** Children of this process at once; of each of its servers every client has one. */
export const MAX_CHILDREN = 256

const children = new Set<ChildProcess>()
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL')
})

/** The measured command: absolute executable and its arguments, and what it is to find in its environment. */
export interface ChildCommand {
  readonly executable: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly environment: Readonly<Record<string, string>>
}

/** The variables of `all` that a server gets: the default ones and those named in `extra`. */
export function serverEnvironment(all: Readonly<Record<string, string | undefined>>, extra: readonly string[]): Record<string, string> {
  const out: Record<string, string> = {}
  for (const [name, value] of Object.entries(all)) if (value !== undefined && (PASSED_VARIABLES.has(name) || extra.includes(name))) out[name] = value
  return out
}

/** A link over lines: whatever cannot be cut into lines ends it, since nothing is passed on raw. */
export class LineLink implements ServerLink {
  readonly isShared = true
  readonly #lines: LineReader
  readonly #write: (line: string) => void
  readonly #end: (reason: string, atOnce: boolean) => void

  constructor(events: LinkEvents, write: (line: string) => void, end: (reason: string, atOnce: boolean) => void) {
    this.#lines = new LineReader(MAX_SERVER_LINE, (line) => {
      if (line.length > 1 || (line.length === 1 && line[0] !== 13)) events.message(line)
    })
    this.#write = write
    this.#end = end
  }

  /** Bytes from the server. */
  data(chunk: Uint8Array): void {
    try {
      this.#lines.push(chunk)
    } catch (error) {
      this.#end(error instanceof Denied ? `server: ${error.message}` : 'server: bad line', true)
    }
  }
  send(text: string): void {
    this.#write(text)
  }
  drop(): void {} // an answer that nobody waits for is dropped when it comes
  close(reason: string): void {
    this.#end(reason, false)
  }
  kill(reason: string): void {
    this.#end(reason, true)
  }
}

/** Starts the server as a child of this gateway. `errors` gets what it writes to its standard error. */
export function openChild(command: ChildCommand, errors: Writable): OpenLink {
  return (events) => {
    if (children.size >= MAX_CHILDREN) {
      setImmediate(() => events.closed('the server could not be started: as many run as may'))
      return new LineLink(events, () => undefined, () => undefined)
    }
    const child: ChildProcess = spawn(command.executable, [...command.args], { cwd: command.cwd, env: { ...command.environment }, stdio: ['pipe', 'pipe', 'pipe'], windowsHide: true })
    children.add(child)
    let over = false
    const closed = (reason: string): void => {
      if (over) return
      over = true
      events.closed(reason)
    }
    const link = new LineLink(
      events,
      (line) => {
        const { stdin } = child
        if (stdin == null) return // it was not started
        if (stdin.writableLength > MAX_UNREAD_BYTES) link.kill('the server does not read')
        else if (stdin.writable) stdin.write(`${line}\n`)
      },
      (reason, atOnce) => {
        if (atOnce) child.kill('SIGKILL')
        else stop(child)
        if (atOnce) closed(reason)
      },
    )
    // First of all: where the system has nothing left to start it with, there are no streams either, and this is all that tells.
    child.once('error', (error) => {
      if (child.pid === undefined) children.delete(child)
      closed(`the server could not be started: ${error.message}`)
    })
    child.stdin?.on('error', () => undefined) // its exit tells
    child.stdout?.on('data', (chunk: Buffer) => link.data(chunk))
    child.stderr?.on('data', (chunk: Buffer) => errors.write(chunk.toString('utf8').split('\n').map(escapeControls).join('\n')))
    child.once('exit', (code, signal) => {
      children.delete(child)
      closed(`the server ended (${signal ?? code})`)
    })
    return link
  }
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
