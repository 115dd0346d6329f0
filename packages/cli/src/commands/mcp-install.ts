import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import type { ResolvedCommand } from '@sealwrit/gate'
import { type Client, CLIENT_NAMES, clientNamed } from '../clients/clients.ts'
import { entryDiff } from '../clients/diff.ts'
import { ConfigError } from '../clients/document.ts'
import { BACKUP, dropOriginal, keepOriginal, type Read, readConfigFile, replaceConfig, replaceSecret } from '../clients/file.ts'
import { type Plan, type PlannedServer, planInstall, planUninstall, secretsIn, type Undone } from '../clients/plan.ts'
import { allRecords, type InstallRecord, readRecord, writeRecord } from '../clients/record.ts'
import type { Gateway } from '../clients/wrap.ts'
import { confirm } from '../confirm.ts'
import { CliError, EXIT } from '../errors.ts'
import { unreachable } from '../local/client.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { launchDigests } from '../local/launch.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'
import { selfArguments, selfLine } from '../self.ts'

export interface ClientOptions extends GlobalOptions {
  readonly client: string
  readonly config?: string
  readonly server?: readonly string[]
  readonly dryRun?: boolean
  readonly yes?: boolean
}
export interface InstallOptions extends ClientOptions {
  readonly agent?: string | undefined
  readonly agentKey?: string | undefined
  readonly bind?: boolean
  readonly shadow?: boolean
  readonly pin?: boolean
}

/** A configuration file of a client that is there. */
export interface Found {
  readonly read: Read
  readonly client: Client
  readonly isProject: boolean
}

/** Puts the servers of a client behind the gateway. Nothing that a configuration names is started. */
export async function mcpInstall(options: InstallOptions): Promise<void> {
  const folder = planeFor(options)
  const gateway = gatewayOf(folder, options)
  const found = configsOf(options)
  if (found.length === 0) throw new CliError('there is no configuration of this client', { hint: `name it with --config; looked at: ${placesOf(clientFor(options)).map(({ file }) => file).join(', ')}` })
  const plans = found.map((one) => ({ ...one, plan: planFor(one, gateway, options) }))
  unknownNames(options, plans.flatMap(({ plan }) => plan.servers.map(({ server }) => server.name)))
  const changing = plans.filter(({ plan }) => plan.servers.some(({ state }) => state === 'wrap'))
  if (options.json !== true) for (const { plan, isProject } of plans) show(plan, isProject, folder)
  if (options.dryRun !== true && changing.length > 0) {
    if (options.yes !== true) await confirm('write this? [y/N] ', 'this changes what a client starts')
    for (const { plan } of changing) apply(plan, folder)
  }
  const isDone = options.dryRun !== true && changing.length > 0
  if (options.json === true) return json({ written: isDone, files: plans.map(({ plan }) => fileJson(plan)) })
  if (changing.length === 0) return line(dim('nothing to change'))
  line(isDone ? `${green('written')}  start ${plain(clientFor(options).title)} again; undo: ${selfLine('mcp', 'uninstall', '--client', options.client, '--dir', folder.dir)}` : dim('nothing was written'))
  if (options.pin !== true) line(dim(`agents see no tool before it is pinned: \`${selfLine('tool', 'list')}\` once the client listed them, or install with --pin`))
}

/** Puts back what install replaced. */
export async function mcpUninstall(options: ClientOptions): Promise<void> {
  const folder = planeFor(options)
  const found = configsOf(options).flatMap((one) => {
    const record = readRecord(folder.dir, one.read.file)
    const kept = record?.servers.filter(({ at }) => options.server?.includes(at.at(-1) as string) ?? true) ?? []
    return record === undefined || kept.length === 0 ? [] : [{ ...one, record, undone: explained(one.read, () => planUninstall(one.read, one.client, kept)) }]
  })
  if (found.length === 0) throw new CliError('this plane installed nothing in a configuration of this client', { hint: `other files are named with --config; what was there before an install lies beside each, as *${BACKUP}` })
  if (options.json !== true) for (const { read, undone } of found) showUndone(read, undone)
  if (options.dryRun !== true) {
    if (options.yes !== true) await confirm('write this? [y/N] ', 'this changes what a client starts')
    for (const { read, record, undone } of found) restore(folder, read, record, undone)
  }
  if (options.json === true) return json({ written: options.dryRun !== true, files: found.map(({ read, undone }) => ({ file: read.file, servers: undone.servers.map(({ kept, state }) => ({ at: kept.at, state })) })) })
  line(options.dryRun === true ? dim('nothing was written') : `${green('written')}  start the client again`)
}

/** The plane that gateways ask. @throws {CliError} when none was started in the folder */
export function planeFor(options: GlobalOptions): PlaneFolder {
  const folder = findFolder(options.dir)
  if (!fs.existsSync(folder.verifierKey)) throw unreachable(folder)
  return folder
}

export function clientFor(options: Pick<ClientOptions, 'client'>): Client {
  try {
    return clientNamed(options.client)
  } catch (error) {
    throw new CliError((error as Error).message, { exit: EXIT.usage, hint: `one of ${CLIENT_NAMES.join(', ')}` })
  }
}

/** The configurations of the chosen client that are there. @throws {CliError} */
export function configsOf(options: ClientOptions): readonly Found[] {
  const client = clientFor(options)
  if (options.config !== undefined) {
    const read = readConfigFile(path.resolve(options.config))
    if (read === undefined) throw new CliError(`there is no ${options.config}`, { exit: EXIT.usage })
    return [{ read, client, isProject: false }]
  }
  return placesOf(client).flatMap(({ file, within, isProject }) => {
    const read = readConfigFile(file, within)
    return read === undefined ? [] : [{ read, client, isProject }]
  })
}

function placesOf(client: Client): ReturnType<Client['places']> {
  const places = client.places({ home: os.homedir(), cwd: process.cwd(), platform: process.platform, variables: process.env })
  return places.filter(({ file }, i) => places.findIndex((other) => other.file === file) === i)
}

export function gatewayOf({ dir }: PlaneFolder, { agent, agentKey, shadow, pin }: Pick<InstallOptions, 'agent' | 'agentKey' | 'shadow' | 'pin'>): Gateway {
  if (agentKey !== undefined && agent === undefined) throw new CliError('--agent-key needs --agent: the name that the key is registered under', { exit: EXIT.usage })
  return { command: process.execPath, args: selfArguments(), dir: path.resolve(dir), further: [...(agent === undefined ? [] : ['--agent', agent]), ...(agentKey === undefined ? [] : ['--agent-key', path.resolve(agentKey)]), ...(pin === true ? ['--pin'] : []), ...(shadow === true ? ['--shadow'] : [])] }
}

export function planFor({ read, client }: Found, gateway: Gateway, options: InstallOptions): Plan {
  const odd = [gateway.command, ...gateway.args, gateway.dir, ...gateway.further].find((word) => client.expands?.test(word))
  if (odd !== undefined) throw new CliError(`${odd} holds what ${client.title} would replace`, { hint: 'use a folder without `$` in its name' })
  const cwd = process.cwd()
  return explained(read, () =>
    planInstall(read, client, { gateway, names: options.server, record: readRecord(gateway.dir, read.file), cwd, bind: options.bind === true ? bound : undefined, look: { pathVariable: process.env['PATH'] ?? '', node: process.execPath, searchFrom: [path.dirname(gateway.dir), import.meta.dirname] } }),
  )
}

function bound(command: ResolvedCommand): readonly string[] {
  const { executable, script } = launchDigests(command, process.cwd())
  return ['--executable-digest', executable, ...(script === undefined ? [] : ['--script-digest', script])]
}

function explained<T>(read: Read, act: () => T): T {
  try {
    return act()
  } catch (error) {
    if (error instanceof ConfigError) throw new CliError(`${read.file}: ${error.message}`)
    throw error
  }
}

export function unknownNames({ server }: ClientOptions, names: readonly string[]): void {
  const missing = server?.find((name) => !names.includes(name))
  if (missing !== undefined) throw new CliError(`no configuration of this client names a server \`${missing}\``, { exit: EXIT.usage })
}

/** Original and record first: whatever is cut off after them can be undone. */
function apply(plan: Plan, folder: PlaneFolder): void {
  const { read, client } = plan
  keepOriginal(read)
  const made = plan.servers.flatMap((one) => (one.state === 'wrap' ? [one] : []))
  const before = readRecord(folder.dir, read.file)?.servers.filter(({ at }) => !made.some(({ kept }) => kept.at.join('\n') === at.join('\n'))) ?? []
  writeRecord(folder.dir, { file: read.file, client: client.name, servers: [...before, ...made.map(({ kept }) => kept)] })
  for (const { kept, headers } of made) if (kept.headerFile !== undefined) replaceSecret(kept.headerFile, headers.map(({ name, value }) => `${name}: ${value}\n`).join(''))
  replaceConfig(read, plan.text)
}

function restore(folder: PlaneFolder, read: Read, record: InstallRecord, { text, servers }: Undone): void {
  if (text !== read.text) replaceConfig(read, text)
  const ended = servers.filter(({ state }) => state !== 'changed').map(({ kept }) => kept)
  writeRecord(folder.dir, { ...record, servers: record.servers.filter((kept) => !ended.includes(kept)) })
  for (const { headerFile } of ended) if (headerFile !== undefined) fs.rmSync(headerFile, { force: true })
  const stays = dropOriginal(read.file, text)
  if (stays !== undefined && ended.length === record.servers.length) process.stderr.write(`sealwrit: ${plain(stays)} is kept: the file has other changes since\n`)
}

function show(plan: Plan, isProject: boolean, folder: PlaneFolder): void {
  const { read, client, servers } = plan
  line(`${bold(plain(read.file))}  ${dim(client.title)}`)
  if (isProject) line(yellow('  a project shares this file: paths of this machine would go into it'))
  if (servers.length === 0) line(dim('  names no server'))
  for (const one of servers) {
    const name = plain(one.server.at.length > 2 ? `${one.server.at.slice(0, -2).join(' ')} ${one.server.name}` : one.server.name)
    if (one.state === 'wrapped') line(`  ${green('behind')}   ${name}`)
    else if (one.state === 'left') line(`  ${red('left')}     ${name}  ${plain(one.reason)}`)
    else {
      line(`  ${green('wrap')}     ${name}`)
      for (const { sign, text } of entryDiff(read.text, one.server, one.kept, secretsIn(one.server))) line(`    ${(sign === '+' ? green : sign === '-' ? red : dim)(`${sign} ${plain(text)}`)}`)
      for (const other of sameName(one, folder)) line(yellow(`    ${plain(other.file)} has another server of this name: policies cannot tell them apart`))
    }
  }
}

/** Servers of the same name that are started in another way: to policies they are one. */
function sameName(one: PlannedServer & { state: 'wrap' }, folder: PlaneFolder): readonly InstallRecord[] {
  return allRecords(folder.dir).filter(({ servers }) => servers.some(({ at, launch }) => at.at(-1) === one.server.name && launch !== one.kept.launch))
}

function fileJson({ read, client, servers }: Plan): object {
  return {
    file: read.file,
    client: client.name,
    original: `${read.file}${BACKUP}`,
    servers: servers.map((one) => ({
      at: one.server.at,
      name: one.server.name,
      state: one.state,
      ...(one.state === 'left' ? { reason: one.reason } : {}),
      ...(one.state === 'wrap' ? { diff: entryDiff(read.text, one.server, one.kept, secretsIn(one.server)) } : {}),
    })),
  }
}

function showUndone(read: Read, { servers }: Undone): void {
  line(bold(plain(read.file)))
  const words = { restored: green('restore'), was_open: dim('open'), gone: dim('gone'), changed: red('left') } as const
  for (const { kept, state } of servers) line(`  ${words[state]}  ${plain(kept.at.at(-1) as string)}${state === 'changed' ? '  somebody changed it since: edit it by hand' : ''}`)
}
