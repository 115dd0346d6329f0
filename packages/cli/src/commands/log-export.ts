import * as fs from 'node:fs'
import { finished, type Writable } from 'node:stream'
import type { Entry } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { exportLine, type Format, FORMATS } from '../export/line.ts'
import { askPlane } from '../local/client.ts'
import { findFolder } from '../local/folder.ts'
import { type GlobalOptions, json } from '../output.ts'

/** Entries asked for at once; the plane may give fewer. */
const PAGE = 1_000
/** How often `--follow` asks for what is new, in milliseconds. */
const FOLLOW_MS = 1_000

interface ExportOptions extends GlobalOptions {
  readonly format: string
  readonly since: string
  readonly follow?: boolean
  readonly output?: string
}

interface Page {
  readonly origin: string
  readonly entries: readonly Entry[]
  readonly next: number
  readonly size: number
}

/** Writes the log as lines of JSON, a page at a time: memory for one page, however long the log is. */
export async function logExport(options: ExportOptions): Promise<void> {
  const format = formatOf(options.format)
  const folder = findFolder(options.dir)
  let next = sinceOf(options.since)
  const first = next
  const interrupt = interruption()
  let page = await read(next)
  if (next > page.size) throw new CliError(`the log has ${page.size} entries; --since ${next} is beyond them`, { exit: EXIT.usage, hint: 'is this the log that was exported before?' })
  const out = open(options.output)
  try {
    for (;;) {
      if (page.entries.length > 0) {
        await out.write(page.entries.map((entry) => `${exportLine(entry, format, page.origin)}\n`).join(''))
        next = page.next
        progress(next, page.size, options)
      }
      const isDone = next >= page.size || page.entries.length === 0
      if (interrupt.isRaised || out.isClosed || (isDone && options.follow !== true)) break
      if (isDone) await interrupt.within(FOLLOW_MS)
      if (interrupt.isRaised) break
      page = await read(next)
    }
  } finally {
    out.end()
    report({ entries: next - first, next }, options) // also when the plane went away: what is out is out
  }

  async function read(from: number): Promise<Page> {
    return await askPlane(folder, 'log.read', { from, limit: PAGE })
  }
}

function formatOf(given: string): Format {
  const format = FORMATS.find((name) => name === given)
  if (format === undefined) throw new CliError(`--format takes ${FORMATS.join(', ')}, not \`${given.slice(0, 32)}\``, { exit: EXIT.usage })
  return format
}

function sinceOf(given: string): number {
  if (!/^\d{1,15}$/.test(given)) throw new CliError('--since takes a leaf index', { exit: EXIT.usage, hint: 'the last line of an export on stderr says where the next one begins' })
  return Number(given)
}

interface Output {
  /** Whether whoever reads has gone. */
  readonly isClosed: boolean
  /** Resolves when it is out, or the reader has gone. @throws {CliError} when it cannot be written */
  write(text: string): Promise<void>
  end(): void
}

/** Standard output, or a file that is new: what was exported before is never overwritten. @throws {CliError} */
function open(file: string | undefined): Output {
  if (file !== undefined && file !== '-') {
    const descriptor = created(file)
    return { isClosed: false, write: async (text) => writeWhole(descriptor, file, text), end: () => fs.closeSync(descriptor) }
  }
  return piped(process.stdout)
}

function created(file: string): number {
  try {
    return fs.openSync(file, 'wx', 0o600)
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CliError(code === 'EEXIST' ? `${file} exists already` : `${file} cannot be written (${code})`, { hint: 'choose another file with -o; to go on with an export, add --since and append stdout with >>' })
  }
}

function writeWhole(descriptor: number, file: string, text: string): void {
  const bytes = Buffer.from(text)
  try {
    for (let at = 0; at < bytes.length; ) at += fs.writeSync(descriptor, bytes, at)
  } catch (error) {
    throw new CliError(`${file} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}

function piped(stream: Writable): Output {
  let isClosed = false
  finished(stream, { readable: false }, () => (isClosed = true)) // `| head` has read enough: no fault
  stream.on('error', () => (isClosed = true))
  return {
    get isClosed() {
      return isClosed
    },
    write: (text) => (isClosed ? Promise.resolve() : new Promise((resolve) => stream.write(text, () => resolve()))),
    end: () => undefined,
  }
}

/** Hears SIGINT and SIGTERM: the page under way is written whole, then the export ends as if the log had. */
function interruption(): { readonly isRaised: boolean; within(ms: number): Promise<void> } {
  let isRaised = false
  let wake = (): void => undefined
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      isRaised = true
      wake()
    })
  }
  return {
    get isRaised() {
      return isRaised
    },
    within: (ms) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, ms)
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      }),
  }
}

/** One line that is written over, only where somebody looks and the lines go elsewhere. */
function progress(next: number, size: number, { json: isJson, output }: ExportOptions): void {
  if (isJson === true || !process.stderr.isTTY || (output === undefined && process.stdout.isTTY)) return
  process.stderr.write(`\r${next} of ${size} entries`)
}

/** Where the next export begins: on stderr, since the lines own stdout; on stdout as JSON where they went into a file. */
function report(done: { entries: number; next: number }, { json: isJson, output }: ExportOptions): void {
  const isFile = output !== undefined && output !== '-'
  if (isJson === true && isFile) return json({ file: output, ...done })
  const overwritten = process.stderr.isTTY && isJson !== true ? '\r' : ''
  process.stderr.write(isJson === true ? `${JSON.stringify(done)}\n` : `${overwritten}${done.entries} entries exported; the next export begins with --since ${done.next}\n`)
}
