import * as path from 'node:path'
import { type ConfigDocument, ConfigError } from './document.ts'
import { jsonConfig } from './json-config.ts'
import { tomlConfig } from './toml-config.ts'

export type ClientName = 'claude-code' | 'cursor' | 'vscode' | 'codex' | 'gemini'

/** A program that starts MCP servers from a file, and how it reads that file. */
export interface Client {
  readonly name: ClientName
  readonly title: string
  /** Its files, those of the user first. */
  places(at: Places): readonly Place[]
  read(text: string): ConfigDocument
  /** What in a text the client replaces before it uses it; undefined where it takes texts as they are. */
  readonly expands?: RegExp
  /** Whether `type` says how a server is reached. */
  readonly hasType: boolean
  /** What a server with a `url` and no `type` is: undefined where that cannot be told. */
  readonly untypedUrl?: 'http'
}

export interface Places {
  readonly home: string
  readonly cwd: string
  readonly platform: NodeJS.Platform
  readonly variables: Readonly<Record<string, string | undefined>>
}

export interface Place {
  readonly file: string
  /** Whether it belongs to a project: others write it, and get what is written into it. */
  readonly isProject: boolean
  /** The folder that it may not lead out of. */
  readonly within: string
}

const SERVERS = [['mcpServers']]
/** Claude Code keeps servers of one project beside those of the user. */
const CLAUDE_SERVERS = [['mcpServers'], ['projects', '*', 'mcpServers']]

const CLIENTS: Readonly<Record<ClientName, Client>> = {
  // code.claude.com/docs/en/mcp
  'claude-code': {
    name: 'claude-code',
    title: 'Claude Code',
    places: ({ home, cwd, variables }) => [inHome(folderIn(variables['CLAUDE_CONFIG_DIR']) ?? home, '.claude.json'), inProject(cwd, '.mcp.json')],
    read: (text) => jsonConfig(text, CLAUDE_SERVERS),
    expands: /\$\{/,
    hasType: true,
  },
  // cursor.com/docs/mcp
  cursor: {
    name: 'cursor',
    title: 'Cursor',
    places: ({ home, cwd }) => [inHome(home, '.cursor', 'mcp.json'), inProject(cwd, '.cursor', 'mcp.json')],
    read: (text) => jsonConfig(text, SERVERS),
    expands: /\$\{/,
    hasType: true,
    untypedUrl: 'http',
  },
  // code.visualstudio.com/docs/copilot/reference/mcp-configuration
  vscode: {
    name: 'vscode',
    title: 'VS Code',
    places: ({ home, cwd, platform, variables }) => [inHome(vscodeHome(home, platform, variables), 'Code', 'User', 'mcp.json'), inProject(cwd, '.vscode', 'mcp.json')],
    read: (text) => jsonConfig(text, [['servers']]),
    expands: /\$\{/,
    hasType: true,
    untypedUrl: 'http',
  },
  // developers.openai.com/codex/mcp
  codex: {
    name: 'codex',
    title: 'Codex',
    places: ({ home, cwd, variables }) => [inHome(folderIn(variables['CODEX_HOME']) ?? path.join(home, '.codex'), 'config.toml'), inProject(cwd, '.codex', 'config.toml')],
    read: (text) => tomlConfig(text, 'mcp_servers'),
    hasType: false,
    untypedUrl: 'http',
  },
  // github.com/google-gemini/gemini-cli, docs/tools/mcp-server.md: `url` alone is SSE to older versions
  gemini: {
    name: 'gemini',
    title: 'Gemini CLI',
    places: ({ home, cwd }) => [inHome(home, '.gemini', 'settings.json'), inProject(cwd, '.gemini', 'settings.json')],
    read: (text) => jsonConfig(text, SERVERS),
    expands: /\$/,
    hasType: false,
  },
}

export const CLIENT_NAMES: readonly ClientName[] = Object.keys(CLIENTS) as ClientName[]

/** @throws {ConfigError} */
export function clientNamed(name: string): Client {
  const client = Object.hasOwn(CLIENTS, name) ? CLIENTS[name as ClientName] : undefined
  if (client === undefined) throw new ConfigError(`no client \`${name.slice(0, 64)}\` is known`)
  return client
}

function inHome(home: string, ...names: readonly string[]): Place {
  return { file: path.join(home, ...names), isProject: false, within: home }
}

function inProject(cwd: string, ...names: readonly string[]): Place {
  return { file: path.join(cwd, ...names), isProject: true, within: cwd }
}

function vscodeHome(home: string, platform: NodeJS.Platform, variables: Places['variables']): string {
  if (platform === 'darwin') return path.join(home, 'Library', 'Application Support')
  if (platform === 'win32') return folderIn(variables['APPDATA']) ?? path.join(home, 'AppData', 'Roaming')
  return folderIn(variables['XDG_CONFIG_HOME']) ?? path.join(home, '.config')
}

/** A variable that names a folder; a relative one would depend on where we happen to be. */
function folderIn(value: string | undefined): string | undefined {
  return value !== undefined && path.isAbsolute(value) ? value : undefined
}
