import * as fs from 'node:fs'
import * as path from 'node:path'
import { floorFile, Gate, imagePlaces, measureServer, nodeClock, nodeCryptography, nodeNet, nodeRng } from '@sealwrit/gate'
import { type ClientPort, type GatewayOptions, type Guest, McpGateway, type Seat } from '@sealwrit/mcp-gateway'
import type { WitnessQuorum } from '@sealwrit/protocol'
import { loadKeyFile } from '../adapters/key-file.ts'
import { version } from '../version.ts'
import { unreachable } from './client.ts'
import { type PlaneFolder, readVerifierKey } from './folder.ts'
import { takeSlot } from './gate-slot.ts'
import { type BoundLaunch, holdLaunch } from './launch.ts'
import { mcpServer, type ServerOptions } from './mcp-server.ts'
import { recordingTools } from './pins.ts'

/** A server that is to be governed: how it is reached, and what it must be started from. */
export interface Governable extends ServerOptions {
  readonly name: string
  readonly command: readonly string[]
  readonly cwd: string
  readonly attestation?: string | undefined
  readonly bound: BoundLaunch
}

/** What holds for every server behind one gateway. */
export interface Shared {
  readonly folder: PlaneFolder
  readonly witnesses: WitnessQuorum
  /** Sockets of further planes of the same log. */
  readonly planes: readonly string[]
  /** Runs also what policy denies, where the plane observes. */
  readonly observes?: true | undefined
  readonly preset: Omit<GatewayOptions, 'gate' | 'target' | 'open' | 'facts' | 'recordTools'>
  /** Whether who starts this pins what a server lists first. */
  readonly isPinning: boolean
}

/** One governed server: its gate, and a seat for each client. */
export interface GovernedServer {
  readonly name: string
  readonly gate: Gate
  readonly openSeat: (guest: Guest | undefined, port: ClientPort) => Seat
  /** The server was told that it is left, and its gate is closed. */
  readonly leave: () => Promise<void>
}

/** Measures a server, and opens a gate of its own before it. @throws {CliError | Denied} */
export async function govern(server: Governable, { folder, witnesses, planes, observes, preset, isPinning }: Shared): Promise<GovernedServer> {
  const { name, command, cwd, attestation, bound } = server
  const reached = await mcpServer(command, server, { cwd, searchFrom: [path.dirname(folder.dir), path.dirname(new URL(import.meta.url).pathname)] })
  const environment = measureServer({ command: reached.measured, cwd, gateVersion: version, image: imagePlaces(process.env), attestation: attestation === undefined ? undefined : (await import('./attestation.ts')).readAttestation(attestation) }, nodeClock, nodeCryptography, nodeRng)
  holdLaunch(environment.document, bound)
  const gate = openGate(folder, name, environment, witnesses, planes, observes)
  try {
    await gate.connect()
  } catch (error) {
    gate.close()
    throw fs.existsSync(folder.socket) ? error : unreachable(folder)
  }
  const target = `mcp://${name}`
  const recordTools = recordingTools(gate, { folder, target, isPinning, tell: (text) => void process.stderr.write(`sealwrit: ${text}\n`) })
  const seat: GatewayOptions = { ...preset, gate, target, open: reached.open, facts: reached.facts, recordTools }
  return {
    name,
    gate,
    openSeat: (guest, port) => new McpGateway(guest === undefined ? seat : { ...seat, agent: guest.agent ?? seat.agent, principal: guest.principal }, port),
    leave: async () => {
      await reached.left()
      gate.close()
    },
  }
}

/** The gate of this name: its key and floor live in a slot of their own, so that two clients can wrap the same server. `further` are sockets of other planes of the same log. */
function openGate(folder: PlaneFolder, name: string, environment: ReturnType<typeof measureServer>, witnesses: WitnessQuorum, further: readonly string[], observes: true | undefined): Gate {
  const slot = takeSlot(path.join(folder.gates, name))
  const key = loadKeyFile(path.join(slot, 'key.pem'), true)
  return new Gate(
    { socketPaths: [folder.socket, ...further], logKey: readVerifierKey(folder.verifierKey), witnesses, tenant: folder.tenant, environment, capabilities: () => false, observes },
    { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor: floorFile(path.join(slot, 'floor.json')), sign: key.sign, publicKey: key.publicKey },
  )
}
