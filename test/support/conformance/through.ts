import { spawn } from 'node:child_process'
import { once } from 'node:events'
import * as fs from 'node:fs'
import { StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
import { passThrough } from '../pass-through.ts'
import { PROGRAM } from '../processes.ts'
import type { AgreeingUser } from './oauth.ts'

/** The plane's folder, and how the client reaches the gateway; without the latter it speaks to the server itself. */
export const DIR_VARIABLE = 'SEALWRIT_CONFORMANCE_DIR'
export const GATEWAY_VARIABLE = 'SEALWRIT_CONFORMANCE_GATEWAY'

interface Opened {
  fresh(): Transport
  readonly user: AgreeingUser | undefined
  end(): Promise<void>
}

/** Tools are pinned by who starts the gateway, as they are listed first. */
const PIN: readonly string[] = ['--pin']

/** The words that start a gateway before a server of this name. */
export function gatewayWords(dir: string, name: string, server: readonly string[], listen?: string): string[] {
  return [...PROGRAM, 'mcp', '--dir', dir, '--name', name, '--agent', 'conformance', ...PIN, ...(listen === undefined ? [] : ['--json', '--listen', listen]), ...server]
}

export async function openTransport(url: string, user: AgreeingUser | undefined, scenario: string): Promise<Opened> {
  const [dir, how] = [process.env[DIR_VARIABLE] ?? '', process.env[GATEWAY_VARIABLE]]
  const over = (at: string, token?: string): Transport =>
    new StreamableHTTPClientTransport(new URL(at), { ...(user === undefined ? {} : { authProvider: user }), ...(token === undefined ? {} : { requestInit: { headers: { authorization: `Bearer ${token}` } } }) })
  if (how === undefined) return { fresh: () => over(url), user, end: async () => undefined }
  const name = `${scenario}-${how}-${process.env['MCP_CONFORMANCE_PROTOCOL_VERSION'] ?? ''}`.replaceAll(/[^a-z0-9]+/g, '-')
  if (how === 'stdio') return { fresh: () => new StdioClientTransport({ command: process.execPath, args: gatewayWords(dir, name, ['--url', url]), stderr: 'inherit', env: { ...(process.env as Record<string, string>) } }), user, end: async () => undefined }
  const front = await startFront(gatewayWords(dir, name, ['--url', url], '127.0.0.1:0'))
  return { fresh: () => over(front.url, front.token), user, end: front.end }
}

/** Something that serves, and what its clients have to present. */
export interface Front {
  readonly url: string
  readonly token: string | undefined
  end(): Promise<void>
}

/** Starts a program that says on its output where it serves: as a line, or as the JSON of `sealwrit mcp --json`. */
export async function startFront(words: readonly string[]): Promise<Front> {
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'pipe'] })
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  let [told, errors] = ['', '']
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()))
  const said = await new Promise<Omit<Front, 'end'>>((resolve, reject) => {
    child.stdout.on('data', (chunk: Buffer) => {
      told += chunk.toString()
      if (told.startsWith('http')) resolve({ url: told.trim(), token: undefined })
      else if (told.trimEnd().endsWith('}')) {
        const { endpoint, token_file } = JSON.parse(told) as { endpoint: string; token_file: string }
        resolve({ url: endpoint, token: fs.readFileSync(token_file, 'utf8').trim() })
      }
    })
    child.once('exit', (code) => reject(new Error(`it ended (${code}) before it served: ${told}${errors}`)))
  })
  return { ...said, end }
}

/** The same, for a client that presents nothing: whatever it sends is passed on as it is, with the token added. */
export async function withToken(front: Front): Promise<Front> {
  if (front.token === undefined) return front
  const proxy = await passThrough(new URL(front.url), { headers: ['authorization', `Bearer ${front.token}`] })
  const end = (): Promise<void> => {
    proxy.close()
    return front.end()
  }
  return { url: proxy.url, token: front.token, end }
}
