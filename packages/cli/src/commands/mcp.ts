import * as fs from 'node:fs'
import * as path from 'node:path'
import { nodeClock, nodeRng } from '@sealwrit/gate'
import { type ClientPort, type Guest, Hub, runStdioGateway, type Seat, StateSeal } from '@sealwrit/mcp-gateway'
import { NO_WITNESSES, WitnessQuorum } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { unreachable } from '../local/client.ts'
import type { Config } from '../local/config.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { foreignFor } from '../local/foreign-artifact.ts'
import { type Governable, govern, type GovernedServer } from '../local/governed.ts'
import { identityFrom, type IdentityOptions } from '../local/identity.ts'
import { chosenIntent } from '../local/intent.ts'
import { delegatesFrom, parentFrom } from '../local/lineage.ts'
import { type ListenOptions, readListen, serveClients } from '../local/mcp-listen.ts'
import { checkReach, type ServerOptions } from '../local/mcp-server.ts'
import { isServerName } from '../local/server-name.ts'
import type { GlobalOptions } from '../output.ts'
import { version } from '../version.ts'

export interface McpOptions extends GlobalOptions, IdentityOptions, ServerOptions, ListenOptions {
  readonly name?: string
  readonly servers?: string
  readonly agent?: string
  readonly intent?: string
  readonly attestation?: string
  readonly plane?: readonly string[]
  readonly witnessPolicy?: string
  readonly parent?: string
  readonly delegates?: string
  readonly foreignArtifact?: string
  readonly executableDigest?: string
  readonly shadow?: boolean
  readonly scriptDigest?: string
  readonly pin?: boolean
}

/** Governs MCP servers, children of this process or behind addresses: this process is the gate, for one client on its streams or for many over HTTP. */
export async function mcp(command: readonly string[], options: McpOptions): Promise<void> {
  const wanted = options.servers === undefined ? [oneServer(command, options)] : await severalServers(options.servers, command, options)
  const listen = readListen(options)
  const folder = findFolder(options.dir)
  if (!fs.existsSync(folder.verifierKey)) throw unreachable(folder)
  if (options.agentKey !== undefined && options.agent === undefined) throw new CliError('--agent-key needs --agent: the name that the key is registered under', { exit: EXIT.usage })
  const { config, witnesses } = await configured(folder, options.witnessPolicy, options.shadow === true)
  const shared = {
    folder,
    witnesses,
    isPinning: options.pin === true,
    planes: (options.plane ?? []).map((file) => path.resolve(file)),
    observes: options.shadow === true ? (true as const) : undefined,
    preset: {
      agent: options.agent,
      intent: chosenIntent(options.intent),
      identify: identityFrom(options),
      parent: await parentFrom(options.parent, folder),
      delegates: delegatesFrom(options.delegates, Math.floor(nodeClock.wallMs() / 1_000)),
      foreignOf: options.foreignArtifact === undefined ? undefined : foreignFor(options.foreignArtifact),
      receiptOrder: config?.receipt ?? ('before_reply' as const),
      holdWaitMs: (config?.approvals?.wait_seconds ?? 0) * 1_000,
      stateSeal: new StateSeal(nodeRng),
    },
  }
  if (options.shadow === true) process.stderr.write('sealwrit: --shadow: where the plane observes, what policy denies runs too; nothing of that is governed\n')
  const servers = await Promise.all(wanted.map((server) => govern(server, shared)))
  const first = servers[0] as GovernedServer
  const openSeat = options.servers === undefined ? first.openSeat : joined(servers)
  const ended = listen === undefined
    ? await runStdioGateway({ gate: first.gate, openSeat: (port) => openSeat(undefined, port), input: process.stdin, output: process.stdout })
    : await serveClients(listen, { gate: first.gate, name: options.servers === undefined ? first.name : 'servers', folder, options, openSeat })
  await Promise.all(servers.map((server) => server.leave()))
  if (ended.serverFailed) throw new CliError(ended.reason)
}

/** What is configured for a gate. Its readers weigh as much as the gateway: a process that lives long loads them only where there is something to read. @throws {CliError} */
async function configured(folder: PlaneFolder, witnessPolicy: string | undefined, observes: boolean): Promise<{ readonly config: Config | undefined; readonly witnesses: WitnessQuorum }> {
  if (witnessPolicy === undefined && !fs.existsSync(folder.config)) return { config: undefined, witnesses: new WitnessQuorum(NO_WITNESSES) }
  const [{ readConfig }, { gateWitnesses }] = await Promise.all([import('../local/config.ts'), import('../local/witnesses.ts')])
  const found = { config: readConfig(folder)?.config, witnesses: gateWitnesses(folder, witnessPolicy) }
  const profiles = found.config?.profile ?? []
  if (profiles.length > 0) {
    const { demandOfGate, gateFacts } = await import('../local/profiles.ts')
    demandOfGate(profiles, gateFacts(observes, found.config?.receipt ?? 'before_reply', found.witnesses))
  }
  return found
}

/** @throws {CliError} */
function oneServer(command: readonly string[], options: McpOptions): Governable {
  const { name, executableDigest, scriptDigest, attestation } = options
  if (name === undefined || !isServerName(name)) throw new CliError('--name takes up to 64 letters, digits, dots, dashes or underscores', { exit: EXIT.usage, hint: 'it names the server in policies and in the log' })
  checkReach(command, options)
  return { ...options, name, command, cwd: process.cwd(), attestation, bound: { executable: executableDigest, script: scriptDigest } }
}

/** What is about one server is said in the file. @throws {CliError} */
async function severalServers(file: string, command: readonly string[], options: McpOptions): Promise<readonly Governable[]> {
  const own = (['name', 'url', 'headerFile', 'env', 'attestation', 'executableDigest', 'scriptDigest'] as const).find((name) => options[name] !== undefined)
  if (own !== undefined || command.length > 0) throw new CliError(`--servers takes no ${own === undefined ? 'command' : `--${own.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`} beside it`, { exit: EXIT.usage, hint: 'the file says what each server is called, and how it is reached' })
  const { readServersFile } = await import('../local/servers-file.ts')
  return readServersFile(file)
}

function joined(servers: readonly GovernedServer[]): (guest: Guest | undefined, port: ClientPort) => Seat {
  const gate = (servers[0] as GovernedServer).gate
  return (guest, port) =>
    new Hub({
      members: servers.map(({ name, openSeat }) => ({ name, openSeat: (own) => openSeat(guest, own) })),
      info: { name: 'sealwrit', version },
      refused: (denied) => void gate.reporter.denial(denied, {}).catch(() => undefined),
    }, port)
}
