import * as fs from 'node:fs'
import * as path from 'node:path'
import { floorFile, Gate, imagePlaces, measureServer, nodeClock, nodeCryptography, nodeNet, nodeRng } from '@sealwrit/gate'
import { type GatewayOptions, McpGateway, runStdioGateway, StateSeal } from '@sealwrit/mcp-gateway'
import type { WitnessQuorum } from '@sealwrit/protocol'
import { loadKeyFile } from '../adapters/key-file.ts'
import { CliError, EXIT } from '../errors.ts'
import { unreachable } from '../local/client.ts'
import { readAttestation } from '../local/attestation.ts'
import { foreignFor } from '../local/foreign-artifact.ts'
import { identityFrom, type IdentityOptions } from '../local/identity.ts'
import { chosenIntent } from '../local/intent.ts'
import { readConfig } from '../local/config.ts'
import { findFolder, type PlaneFolder, readVerifierKey } from '../local/folder.ts'
import { holdLaunch } from '../local/launch.ts'
import { delegatesFrom, parentFrom } from '../local/lineage.ts'
import { type ListenOptions, readListen, serveClients } from '../local/mcp-listen.ts'
import { mcpServer, type ServerOptions } from '../local/mcp-server.ts'
import { takeSlot } from '../local/gate-slot.ts'
import { isServerName } from '../local/server-name.ts'
import { gateWitnesses } from '../local/witnesses.ts'
import type { GlobalOptions } from '../output.ts'
import { version } from '../version.ts'

export interface McpOptions extends GlobalOptions, IdentityOptions, ServerOptions, ListenOptions {
  readonly name?: string
  readonly agent?: string
  readonly intent?: string
  readonly attestation?: string
  readonly plane?: readonly string[]
  readonly witnessPolicy?: string
  readonly parent?: string
  readonly delegates?: string
  readonly foreignArtifact?: string
  readonly executableDigest?: string
  readonly scriptDigest?: string
}

/** Governs one MCP server, a child of this process or one behind an address: this process is the gate, for one client on its streams or for many over HTTP. */
export async function mcp(command: readonly string[], options: McpOptions): Promise<void> {
  const { name } = options
  if (name === undefined || !isServerName(name)) throw new CliError('--name takes up to 64 letters, digits, dots, dashes or underscores', { exit: EXIT.usage, hint: 'it names the server in policies and in the log' })
  const listen = readListen(options)
  const folder = findFolder(options.dir)
  if (!fs.existsSync(folder.verifierKey)) throw unreachable(folder)
  if (options.agentKey !== undefined && options.agent === undefined) throw new CliError('--agent-key needs --agent: the name that the key is registered under', { exit: EXIT.usage })
  const identify = identityFrom(options)
  const witnesses = gateWitnesses(folder, options.witnessPolicy)
  const placed = { parent: await parentFrom(options.parent, folder), delegates: delegatesFrom(options.delegates, Math.floor(nodeClock.wallMs() / 1_000)) }
  const cwd = process.cwd()
  const server = await mcpServer(command, options, { cwd, searchFrom: [path.dirname(folder.dir), path.dirname(new URL(import.meta.url).pathname)] })
  const environment = measureServer({ command: server.measured, cwd, gateVersion: version, image: imagePlaces(process.env), attestation: options.attestation === undefined ? undefined : readAttestation(options.attestation) }, nodeClock, nodeCryptography, nodeRng)
  holdLaunch(environment.document, { executable: options.executableDigest, script: options.scriptDigest })
  const gate = openGate(folder, name, environment, witnesses, options.plane?.map((file) => path.resolve(file)))
  const config = readConfig(folder)?.config
  const receiptOrder = config?.receipt ?? 'before_reply'
  try {
    await gate.connect()
  } catch (error) {
    gate.close()
    throw fs.existsSync(folder.socket) ? error : unreachable(folder)
  }
  const seat: GatewayOptions = {
    gate,
    target: `mcp://${name}`,
    open: server.open,
    agent: options.agent,
    intent: chosenIntent(options.intent),
    identify,
    ...placed,
    foreignOf: options.foreignArtifact === undefined ? undefined : foreignFor(options.foreignArtifact),
    facts: server.facts,
    receiptOrder,
    holdWaitMs: (config?.approvals?.wait_seconds ?? 0) * 1_000,
    stateSeal: new StateSeal(),
  }
  const ended = listen === undefined
    ? await runStdioGateway({ gate, openSeat: (port) => new McpGateway(seat, port), input: process.stdin, output: process.stdout })
    : await serveClients(listen, { gate, name, folder, options, openSeat: (guest, port) => new McpGateway({ ...seat, agent: guest.agent ?? seat.agent, principal: guest.principal }, port) })
  await server.left()
  gate.close()
  if (ended.serverFailed) throw new CliError(ended.reason)
}

/** The gate of this name: its key and floor live in a slot of their own, so that two clients can wrap the same server. `further` are sockets of other planes of the same log. */
export function openGate(folder: PlaneFolder, name: string, environment: ReturnType<typeof measureServer>, witnesses: WitnessQuorum, further: readonly string[] = []): Gate {
  const slot = takeSlot(path.join(folder.gates, name))
  const key = loadKeyFile(path.join(slot, 'key.pem'), true)
  return new Gate(
    { socketPaths: [folder.socket, ...further], logKey: readVerifierKey(folder.verifierKey), witnesses, tenant: folder.tenant, environment, capabilities: () => false },
    { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor: floorFile(path.join(slot, 'floor.json')), sign: key.sign, publicKey: key.publicKey },
  )
}
