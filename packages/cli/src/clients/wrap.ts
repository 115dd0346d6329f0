import type { Client } from './clients.ts'
import type { Listed, Rewrite, Value } from './document.ts'
import type { Launch } from './entry.ts'

/** How this program is started as a gateway, up to the name of the server. */
export interface Gateway {
  /** Absolute: no search path has a say. */
  readonly command: string
  readonly args: readonly string[]
  /** Folder of the plane. */
  readonly dir: string
  /** What else every gateway is told, as `--agent` and its value. */
  readonly further: readonly string[]
}

/** A header that goes into a file of its own: on no command line, and in no configuration that is shared. */
export interface HeaderLine {
  readonly name: string
  /** Its value; `${NAME}` is taken from the gateway's environment. */
  readonly value: string
}

const HTTP_MEMBERS = ['url', 'httpUrl', 'type', 'headers', 'http_headers', 'env_http_headers', 'bearer_token_env_var']

/**
 * What the entry of a server becomes.
 * @param headerFile where its headers will lie, when it has any
 * @param bound options that bind the program that is there now
 */
export function wrapped(launch: Launch, name: string, client: Client, gateway: Gateway, headerFile: string, bound: readonly string[]): { rewrite: Rewrite; headers: readonly HeaderLine[] } {
  const own = [...gateway.args, 'mcp', '--dir', gateway.dir, '--name', name, ...gateway.further]
  if (launch.kind === 'stdio') {
    const args = [...own, ...bound, ...launch.env.map((variable) => `--env=${variable}`), '--', launch.command]
    return { rewrite: { command: gateway.command, args, removed: [], keepsArgs: true, env: new Map(), passed: [] }, headers: [] }
  }
  const env = new Map<string, Value>()
  const passed: string[] = []
  const headers = [...launch.headers].map(([header, value]): HeaderLine => {
    if (value.kind === 'text') return { name: header, value: value.text }
    if (value.kind === 'variable') {
      passed.push(value.name)
      return { name: header, value: `${value.prefix}\${${value.name}}` }
    }
    const variable = `SEALWRIT_HEADER_${env.size + 1}`
    env.set(variable, value.text)
    return { name: header, value: `\${${variable}}` }
  })
  const args = [...own, '--url', launch.url, ...(headers.length === 0 ? [] : ['--header-file', headerFile])]
  return { rewrite: { command: gateway.command, args, removed: HTTP_MEMBERS, keepsArgs: false, env, passed: [...new Set(passed)], type: client.hasType ? 'stdio' : undefined }, headers }
}

/**
 * Whether an entry starts this very program as a gateway of this plane already. One that only looks like it is `other`: whoever
 * wrote a file could make a server look governed.
 */
export function standing(server: Listed, gateway: Gateway): 'wrapped' | 'other' | 'open' {
  const { entry } = server
  const [command, args] = [entry.get('command'), entry.get('args')]
  if (typeof command !== 'string' || !Array.isArray(args)) return 'open'
  const before = [...gateway.args, 'mcp', '--dir', gateway.dir, '--name', server.name]
  if (command === gateway.command && before.every((word, i) => args[i] === word)) return 'wrapped'
  const at = args.indexOf('mcp')
  return at >= 0 && (args[at + 1] === '--dir' || args[at + 1] === '--name') ? 'other' : 'open'
}
