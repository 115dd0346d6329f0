import type { ResolvedCommand } from '@sealwrit/gate'
import type { Client } from './clients.ts'
import { type ConfigDocument, ConfigError, edited, isSame, isTable, type Listed, type Table } from './document.ts'
import { type Launch, readEntry } from './entry.ts'
import type { Read } from './file.ts'
import { headerFileFor, type InstallRecord, type Kept } from './record.ts'
import { type Gateway, type HeaderLine, standing, wrapped } from './wrap.ts'

/** What would happen to one server, and why; `entry` is what starts it behind the gateway. */
export type PlannedServer =
  | { readonly server: Listed; readonly state: 'wrap'; readonly launch: Launch; readonly kept: Kept; readonly headers: readonly HeaderLine[]; readonly entry: Table }
  | { readonly server: Listed; readonly state: 'wrapped'; readonly entry: Table }
  | { readonly server: Listed; readonly state: 'left'; readonly reason: string }

export interface Plan {
  readonly read: Read
  readonly client: Client
  readonly servers: readonly PlannedServer[]
  /** The whole text afterwards. */
  readonly text: string
}

export interface Planning {
  readonly gateway: Gateway
  /** Only these; all where it is undefined. */
  readonly names?: readonly string[] | undefined
  readonly record: InstallRecord | undefined
  /** Gives the options that bind a program to what it is now; undefined where nothing is bound. */
  readonly bind?: ((command: ResolvedCommand) => readonly string[]) | undefined
  /** Where the client would start servers. */
  readonly cwd: string
  readonly look: Parameters<typeof readEntry>[3]
}

/** Says what installing would change, without changing or starting anything. @throws {ConfigError} */
export function planInstall(read: Read, client: Client, planning: Planning): Plan {
  const document = client.read(read.text)
  const chosen = document.servers.filter(({ name }) => planning.names?.includes(name) ?? true)
  const servers = chosen.map((server) => planServer(document, server, read.file, client, planning))
  const text = edited(read.text, servers.flatMap((one) => (one.state === 'wrap' ? [{ start: one.server.start, end: one.server.end, text: one.kept.now }] : [])))
  readsAsMeant(document, client.read(text), servers)
  return { read, client, servers, text }
}

function planServer(document: ConfigDocument, server: Listed, file: string, client: Client, { gateway, record, cwd, look, bind }: Planning): PlannedServer {
  const left = (reason: string): PlannedServer => ({ server, state: 'left', reason })
  const stands = standing(server, gateway)
  if (stands === 'other') return left('it looks like a gateway, but is not this program with the folder of this plane')
  if (stands === 'wrapped') {
    const kept = record?.servers.find(({ at }) => isSame(at, server.at))
    const isOurs = kept !== undefined && isSame(document.entryOf(server, kept.now), server.entry)
    return isOurs ? { server, state: 'wrapped', entry: server.entry } : left('it starts this gateway, but not as it was installed: somebody changed it, look at it')
  }
  const reading = readEntry(server, client, cwd, look)
  if ('reason' in reading) return left(reading.reason)
  const { launch } = reading
  const headerFile = headerFileFor(gateway.dir, file, server.at)
  const resolved = launch.kind === 'stdio' ? launch.resolved : undefined
  if (bind !== undefined && resolved === undefined) return left(launch.kind === 'http' ? 'there is no program to bind: install it without --bind' : 'the client replaces parts of its command, so that there is nothing to bind: install it without --bind')
  const { rewrite, headers } = wrapped(launch, server.name, client, gateway, headerFile, resolved === undefined ? [] : (bind?.(resolved) ?? []))
  try {
    const kept = { at: server.at, was: document.text.slice(server.start, server.end), now: document.rewritten(server, rewrite), launch: launchText(launch), ...(headers.length === 0 ? {} : { headerFile }) }
    const before = server.entry.get('args')
    const args = [...rewrite.args, ...(rewrite.keepsArgs && Array.isArray(before) ? before : [])]
    const entry = document.entryOf(server, kept.now)
    if (entry.get('command') !== rewrite.command || !isSame(entry.get('args'), args)) return left('its way of writing cannot be edited here')
    return { server, state: 'wrap', launch, kept, headers, entry }
  } catch (error) {
    if (error instanceof ConfigError) return left(`it cannot be edited: ${error.message}`)
    throw error
  }
}

/** Reads what would be written: the servers that were meant to change did, and no other. @throws {ConfigError} */
function readsAsMeant(before: ConfigDocument, after: ConfigDocument, servers: readonly PlannedServer[]): void {
  const asMeant = before.servers.every((server, i) => {
    const now = after.servers[i]
    if (now === undefined || !isSame(now.at, server.at)) return false
    const change = servers.find((one) => one.server === server)
    return isSame(now.entry, change?.state === 'wrap' ? before.entryOf(server, change.kept.now) : server.entry)
  })
  if (!asMeant || after.servers.length !== before.servers.length) throw new ConfigError('the changed file would not say what was meant; nothing was written')
}

/** One line that says what is started or reached. */
export function launchText(launch: Launch): string {
  return launch.kind === 'http' ? launch.url : [launch.command, ...launch.args].map((word) => JSON.stringify(word)).join(' ')
}

/** What undoing would change: the text afterwards, and what became of each server. */
export interface Undone {
  readonly text: string
  readonly servers: readonly { readonly kept: Kept; readonly state: 'restored' | 'was_open' | 'gone' | 'changed' }[]
}

/** Puts the kept text of each server back where its entry still says what was installed. @throws {ConfigError} */
export function planUninstall(read: Read, client: Client, kept: readonly Kept[]): Undone {
  const document = client.read(read.text)
  const servers = kept.map((one) => {
    const server = document.servers.find(({ at }) => isSame(at, one.at))
    const says = (text: string): boolean => server !== undefined && isSame(document.entryOf(server, text), server.entry)
    const state = server === undefined ? ('gone' as const) : says(one.now) ? ('restored' as const) : says(one.was) ? ('was_open' as const) : ('changed' as const)
    return { kept: one, server, state }
  })
  const text = edited(read.text, servers.flatMap(({ kept: { was }, server, state }) => (state === 'restored' && server !== undefined ? [{ start: server.start, end: server.end, text: was }] : [])))
  client.read(text)
  return { text, servers: servers.map(({ kept: one, state }) => ({ kept: one, state })) }
}

/** Texts of an entry that may be secrets: never shown. */
export function secretsIn({ entry }: Listed): readonly string[] {
  return ['env', 'headers', 'http_headers'].flatMap((member) => {
    const table = entry.get(member)
    return isTable(table) ? [...table.values()].filter((value): value is string => typeof value === 'string' && value.length >= 6) : []
  })
}
