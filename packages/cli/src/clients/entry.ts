import * as path from 'node:path'
import { Denied } from '@sealwrit/protocol'
import { type ResolvedCommand, resolveCommand } from '@sealwrit/gate'
import { isServerName } from '../local/server-name.ts'
import type { Client } from './clients.ts'
import { isTable, isTexts, type Listed, type Table, type Value } from './document.ts'
import { urlProblem } from './url.ts'

/** How a client starts or reaches a server. Nothing of it is trusted: whoever wrote the file chose it. */
export type Launch =
  // `resolved`: the files that it is started from, where that can be told before the client replaced anything
  | { readonly kind: 'stdio'; readonly command: string; readonly args: readonly string[]; readonly env: readonly string[]; readonly cwd: string | undefined; readonly resolved?: ResolvedCommand }
  | { readonly kind: 'http'; readonly url: string; readonly headers: ReadonlyMap<string, Header> }

/** A header's value: as it stands, with parts that the client replaces, or in a variable of the client's environment. */
export type Header = { readonly kind: 'text' | 'expanded'; readonly text: string } | { readonly kind: 'variable'; readonly name: string; readonly prefix: string }

export type Reading = { readonly launch: Launch } | { readonly reason: string }

/** Most arguments of a server, variables or headers. */
export const MAX_WORDS = 1_000
/** Longest of them, in UTF-16 units. */
export const MAX_WORD = 32_768
const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/
const HEADER = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$/
/** Headers that the gateway or its connection sets. */
const OWN_HEADERS = /^(host|content-length|content-type|transfer-encoding|connection|upgrade|te|trailer|expect|accept|mcp-.*|proxy-.*)$/i
/**
 * Variables that decide what code the gateway's own process runs, or whom it believes: the client gives them to the gateway,
 * so a file that a stranger wrote would reach into it (ATK-098).
 */
const REACHING = /^(PATH|PATHEXT|COMSPEC|HOME|USERPROFILE|TMPDIR|NODE_(?!ENV$|DEBUG$|NO_WARNINGS$).*|LD_.*|DYLD_.*|GCONV_PATH|LOCPATH|GLIBC_TUNABLES|MALLOC_.*|OPENSSL_.*|SSL_.*|SEALWRIT_.*|ELECTRON_.*|UV_.*)$/i
/** Variables that bring other code into a server than what is measured. */
const LOADING = /^(IFS|ENV|BASH_ENV|BASH_FUNC_.*|SHELLOPTS|PS4|PYTHON(PATH|STARTUP|HOME|INSPECT|BREAKPOINT|PLATLIBDIR|USERBASE|EXECUTABLE)|PERL5?(LIB|OPT|DB)|RUBY(OPT|LIB)|_?JAVA_(TOOL_)?OPTIONS|JDK_JAVA_OPTIONS|CLASSPATH|DOTNET_STARTUP_HOOKS|CORECLR_.*|BUN_.*|DENO_.*)$/i
/** They start something else than themselves: what would be measured is not what serves. */
const STARTERS = /^(docker|podman|nerdctl|finch|ctr|lxc-.*|kubectl|oc|ssh|wsl|env|sudo|doas|su|nice|nohup|setsid|timeout|xargs|time|script|cmd|powershell|pwsh|osascript|open|start|flatpak|snap|systemd-run|firejail|bwrap|unshare|nsenter|chroot|mise|asdf|direnv|dotenvx?|op|doppler|infisical|make|just|cargo|go|dotnet)(\.exe|\.cmd)?$/i
/** Members by which the client itself, and not the server, would do something that the gateway takes the place of. */
const UNCARRIED: readonly (readonly [string, string])[] = [
  ['envFile', 'its variables come from a file (`envFile`), so that their names are not known: name them in `env`'],
  ['dev', 'its `dev` settings would act on the gateway'],
  ['sandboxEnabled', 'the client’s sandbox would hold the gateway'],
  ['sandbox', 'the client’s sandbox would hold the gateway'],
  ['headersHelper', 'its headers come from a command (`headersHelper`), which nothing here runs'],
  ['oauth', 'the client signs in to it itself (`oauth`)'],
  ['auth', 'the client signs in to it itself (`auth`)'],
  ['authProviderType', 'the client signs in to it itself (`authProviderType`)'],
  ['experimental_environment', 'it is started somewhere else (`experimental_environment`)'],
]

/**
 * Reads what an entry says, or why the server cannot stand behind the gateway. It looks at files and starts nothing.
 * @param cwd where the client would start it
 */
export function readEntry({ name, entry, uneditable }: Listed, client: Client, cwd: string, look: { readonly pathVariable: string; readonly searchFrom: readonly string[]; readonly node: string }): Reading {
  const reason = uneditable ?? (isServerName(name) ? undefined : 'a server’s name takes up to 64 letters, digits, dots, dashes or underscores') ?? oddText(entry) ?? UNCARRIED.find(([member]) => entry.has(member) && entry.get(member) !== false)?.[1]
  if (reason !== undefined) return { reason }
  const transport = transportOf(entry, client)
  if ('reason' in transport) return transport
  return transport.kind === 'stdio' ? stdio(entry, client, cwd, look) : http(transport.url, entry, client)
}

function transportOf(entry: Table, client: Client): { kind: 'stdio' } | { kind: 'http'; url: Value } | { reason: string } {
  const named = ['command', 'url', 'httpUrl'].filter((member) => entry.has(member))
  if (named.length === 0) return { reason: 'it has neither `command` nor `url`' }
  if (named.length > 1) return { reason: `it has \`${named.join('` and `')}\`: readers disagree about which counts` }
  const type = entry.get('type')
  const isUrl = named[0] !== 'command'
  if (type === 'sse') return { reason: 'its transport is SSE alone, which no current revision of MCP has' }
  if (!isUrl) return type === undefined || type === 'stdio' ? { kind: 'stdio' } : { reason: 'its `type` and its `command` contradict each other' }
  if (entry.has('args')) return { reason: 'it has `url` and `args`' }
  const url = entry.get(named[0] as string) as Value
  if (type === 'http' || type === 'streamable-http' || type === 'streamableHttp' || (type === undefined && named[0] === 'httpUrl')) return { kind: 'http', url }
  if (type !== undefined) return { reason: 'its transport is not known here' }
  if (client.untypedUrl === undefined) return { reason: client.name === 'gemini' ? '`url` alone may mean SSE: write `httpUrl` where it is streamable HTTP' : 'a `url` without `type` is read as another transport by this client: add `"type": "http"`' }
  return typeof url === 'string' && /\/sse\/?$/.test(url) ? { reason: 'its transport seems to be SSE alone, which no current revision of MCP has' } : { kind: 'http', url }
}

function stdio(entry: Table, client: Client, clientCwd: string, look: { readonly pathVariable: string; readonly searchFrom: readonly string[]; readonly node: string }): Reading {
  const [command, args, env, cwd] = [entry.get('command'), entry.get('args') ?? [], entry.get('env') ?? new Map(), entry.get('cwd')]
  if (typeof command !== 'string' || command === '') return { reason: 'its `command` is no text' }
  if (!isTexts(args) || args.length > MAX_WORDS) return { reason: 'its `args` are no list of texts' }
  if (cwd !== undefined && typeof cwd !== 'string') return { reason: 'its `cwd` is no text' }
  const names = variablesOf(env, entry.get('env_vars') ?? [])
  if ('reason' in names) return names
  const launch = { kind: 'stdio' as const, command, args, env: names.names, cwd }
  if (client.expands?.test([command, cwd ?? '', ...args.slice(0, 1)].join(' ')) === true) return { launch } // what it becomes is measured when it starts
  if (STARTERS.test(path.basename(command.replaceAll('\\', '/')))) return { reason: `\`${path.basename(command)}\` starts something else: the gateway would measure it and not the server; name the server’s own program` }
  try {
    return { launch: { ...launch, resolved: resolveCommand([command, ...args], { ...look, cwd: path.resolve(clientCwd, cwd ?? '') }) } }
  } catch (error) {
    if (error instanceof Denied) return { reason: `${error.code}: ${error.message}` }
    throw error
  }
}

/** Names of the variables that the server is to get. */
function variablesOf(env: Value, passed: Value): { names: readonly string[] } | { reason: string } {
  if (!isTable(env) || [...env.values()].some((value) => typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'boolean' && value !== null)) return { reason: 'its `env` is no table of texts' }
  if (!isTexts(passed)) return { reason: 'its `env_vars` are no list of names' }
  const names = [...new Set([...env.keys(), ...passed])]
  if (names.length > MAX_WORDS) return { reason: `it has more than ${MAX_WORDS} variables` }
  const odd = names.find((name) => !VARIABLE.test(name))
  if (odd !== undefined) return { reason: `\`${odd.slice(0, 64)}\` is no name of a variable` }
  const reaching = names.find((name) => REACHING.test(name))
  if (reaching !== undefined) return { reason: `it sets \`${reaching}\`, which would reach into the gateway itself` }
  const loading = names.find((name) => LOADING.test(name))
  return loading === undefined ? { names } : { reason: `it sets \`${loading}\`, which brings other code into the server than what is measured` }
}

function http(url: Value, entry: Table, client: Client): Reading {
  if (typeof url !== 'string' || url === '') return { reason: 'its `url` is no text' }
  if (client.expands?.test(url) === true) return { reason: 'parts of its `url` are replaced by the client, so that nobody can say where it leads: write it out' }
  const problem = urlProblem(url)
  if (problem !== undefined) return { reason: problem }
  const headers = new Map<string, Header>()
  const bearer = entry.get('bearer_token_env_var')
  const sources: readonly (readonly [Value, (name: string, value: string) => Header])[] = [
    [entry.get('headers') ?? entry.get('http_headers') ?? new Map(), (_, text) => ({ kind: client.expands?.test(text) === true ? 'expanded' : 'text', text })],
    [entry.get('env_http_headers') ?? new Map(), (_, name) => ({ kind: 'variable', name, prefix: '' })],
    [bearer === undefined ? new Map() : new Map([['Authorization', bearer]]), (_, name) => ({ kind: 'variable', name, prefix: 'Bearer ' })],
  ]
  for (const [table, header] of sources) {
    if (!isTable(table)) return { reason: 'its headers are no table' }
    for (const [name, value] of table) {
      if (typeof value !== 'string') return { reason: `its header \`${name.slice(0, 64)}\` is no text` }
      if (!HEADER.test(name) || OWN_HEADERS.test(name)) return { reason: `\`${name.slice(0, 64)}\` is no header that a configuration may set` }
      if ([...headers.keys()].some((other) => other.toLowerCase() === name.toLowerCase())) return { reason: `its header \`${name}\` is there twice` }
      const made = header(name, value)
      if (made.kind === 'text' && value.includes('${')) return { reason: `its header \`${name}\` holds \`\${\`, which this client does not replace` }
      if (made.kind === 'variable' && !VARIABLE.test(made.name)) return { reason: `\`${made.name.slice(0, 64)}\` is no name of a variable` }
      if (made.kind === 'variable' && REACHING.test(made.name)) return { reason: `it sends \`${made.name}\` to the server` }
      headers.set(name, made)
    }
  }
  return headers.size > MAX_WORDS ? { reason: `it has more than ${MAX_WORDS} headers` } : { launch: { kind: 'http', url, headers } }
}

/** Control characters and over-long texts anywhere in an entry: no honest server has them, and terminals act on them. */
function oddText(value: Value): string | undefined {
  if (typeof value === 'string') {
    if (value.length > MAX_WORD) return 'it holds a text that is too long'
    // oxlint-disable-next-line no-control-regex -- they are what is looked for
    return /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(value) || !value.isWellFormed() ? 'it holds control characters' : undefined
  }
  if (isTable(value)) return [...value].map(([name, member]) => oddText(name) ?? oddText(member)).find((odd) => odd !== undefined)
  return Array.isArray(value) ? value.map(oddText).find((odd) => odd !== undefined) : undefined
}
