import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { StreamableHTTPClientTransport, type Transport } from '@modelcontextprotocol/client'
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio'
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
const PIN: readonly string[] = []

/** The words that start a gateway before a server of this name. */
export function gatewayWords(dir: string, name: string, server: readonly string[], listen?: string): string[] {
  return [...PROGRAM, 'mcp', '--dir', dir, '--name', name, '--agent', 'conformance', ...PIN, ...(listen === undefined ? [] : ['--listen', listen]), ...server]
}

export async function openTransport(url: string, user: AgreeingUser | undefined, scenario: string): Promise<Opened> {
  const [dir, how] = [process.env[DIR_VARIABLE] ?? '', process.env[GATEWAY_VARIABLE]]
  const http = (at: string): Transport => new StreamableHTTPClientTransport(new URL(at), user === undefined ? {} : { authProvider: user })
  if (how === undefined) return { fresh: () => http(url), user, end: async () => undefined }
  const name = scenario.replaceAll(/[^a-z0-9]+/g, '-')
  if (how === 'stdio') return { fresh: () => new StdioClientTransport({ command: process.execPath, args: gatewayWords(dir, name, ['--url', url]), stderr: 'inherit', env: { ...(process.env as Record<string, string>) } }), user, end: async () => undefined }
  const front = await startFront(gatewayWords(dir, name, ['--url', url], '127.0.0.1:0'))
  return { fresh: () => http(front.url), user, end: front.end }
}

/** Starts a program that says the address at which it serves in its first line with one. */
export async function startFront(words: readonly string[]): Promise<{ readonly url: string; end(): Promise<void> }> {
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'pipe'] })
  const end = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    await once(child, 'exit')
  }
  let told = ''
  const address = new Promise<string>((resolve, reject) => {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface({ input: stream }).on('line', (line) => {
        told += `${line}\n`
        const found = /http:\/\/[^\s"']+/.exec(line)?.[0]
        if (found !== undefined) resolve(found)
      })
    }
    child.once('exit', (code) => reject(new Error(`it ended (${code}) before it served: ${told}`)))
  })
  return { url: await address, end }
}
