import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeClock, pathFacts, type ResolvedCommand, resolveCommand, serverRoots } from '@sealwrit/gate'
import { openChild, type OpenLink, serverEnvironment } from '@sealwrit/mcp-gateway'
import type { Facts, JsonObject } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { selfMain } from '../self.ts'
import { headerText } from './header-file.ts'

/** How often it is looked whether the file with headers changed, in milliseconds. */
const HEADERS_AGE_MS = 1_000

export interface ServerOptions {
  /** Names of variables of this process that the server gets too. */
  readonly env?: readonly string[]
  /** Variables that it gets with their values. */
  readonly variables?: Readonly<Record<string, string>>
  readonly url?: string
  readonly headerFile?: string
}

/** What is governed: how it is reached, and what of it can be measured. */
export interface McpServer {
  readonly open: OpenLink
  readonly measured: ResolvedCommand
  /** Where the arguments of a call lead. */
  readonly facts: (args: JsonObject) => Facts
  /** Every server was told that it is left. */
  readonly left: () => Promise<unknown>
}

/** Looked at before anything else is: a command or an address, and nothing that belongs to the other. @throws {CliError} */
export function checkReach(command: readonly string[], { url, headerFile, env }: ServerOptions): void {
  if ((url === undefined) === (command.length === 0)) throw new CliError('give either the command of a server, after --, or its address with --url', { exit: EXIT.usage, hint: '`sealwrit mcp --help` shows both' })
  if (url === undefined && headerFile !== undefined) throw new CliError('--header-file is for a server behind an address (--url)', { exit: EXIT.usage })
  if (url !== undefined && env !== undefined) throw new CliError('--env is for a server that is started here', { exit: EXIT.usage, hint: 'what a server behind an address needs goes into --header-file' })
}

/** The server of a command, or behind an address. @throws {CliError | Denied} */
export async function mcpServer(command: readonly string[], options: ServerOptions, { cwd, searchFrom }: { readonly cwd: string; readonly searchFrom: readonly string[] }): Promise<McpServer> {
  const { url } = options
  checkReach(command, options)
  if (url !== undefined) return remote(url, options, cwd)
  const resolved = resolveCommand(command, { cwd, pathVariable: process.env['PATH'] ?? '', node: process.execPath, searchFrom })
  const roots = serverRoots(resolved.serverArgs, cwd)
  return {
    open: openChild({ executable: resolved.executable, args: resolved.args, cwd, environment: { ...serverEnvironment(process.env, options.env ?? []), ...options.variables } }, process.stderr),
    measured: resolved,
    facts: (args) => pathFacts(args, roots, cwd),
    left: () => Promise.resolve(),
  }
}

/**
 * Nobody can measure another machine's program from here: what is bound is this gateway's own program, and the address without its query.
 * Where a path leads over there cannot be told either.
 */
async function remote(address: string, { headerFile }: ServerOptions, cwd: string): Promise<McpServer> {
  const { httpLinks, serverHeaders, serverUrl } = await import('@sealwrit/mcp-gateway/server-http')
  let url: URL
  try {
    url = serverUrl(address)
  } catch (error) {
    throw new CliError(`--url: ${(error as Error).message}`, { exit: EXIT.usage, hint: 'as in --url https://mcp.example.com/mcp' })
  }
  const headers = headerFile === undefined ? () => ({}) : headersOf(path.resolve(headerFile), serverHeaders)
  headers()
  const { open, goodbyes } = httpLinks({ url, headers, clock: nodeClock })
  const script = fs.realpathSync(selfMain)
  const serverArgs = ['mcp', '--url', `${url.origin}${url.pathname}`]
  return {
    open,
    measured: { executable: fs.realpathSync(process.execPath), args: [script, ...serverArgs], script, serverArgs },
    facts: (args) => (pathFacts(args, [], cwd).paths === 'none' ? { paths: 'none' } : { paths: 'unresolved' }),
    left: goodbyes,
  }
}

/** Read anew when the file changes, so that credentials can be replaced while it runs. */
function headersOf(file: string, read: (text: string) => Readonly<Record<string, string>>): () => Readonly<Record<string, string>> {
  let [seen, lookedMs] = ['', Number.NEGATIVE_INFINITY]
  let headers: Readonly<Record<string, string>> = {}
  return () => {
    const now = nodeClock.monotonicMs()
    if (now - lookedMs < HEADERS_AGE_MS) return headers
    lookedMs = now
    let found: string
    try {
      const { mtimeMs, ino, size } = fs.statSync(file)
      found = `${mtimeMs} ${ino} ${size}`
    } catch {
      throw new CliError(`--header-file: ${file} cannot be read`)
    }
    if (found === seen) return headers
    try {
      headers = read(headerText(file, process.env))
    } catch (error) {
      throw error instanceof CliError ? error : new CliError(`--header-file: ${file}: ${(error as Error).message}`)
    }
    seen = found
    return headers
  }
}
