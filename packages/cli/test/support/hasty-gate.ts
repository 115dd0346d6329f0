import * as fs from 'node:fs'
import * as path from 'node:path'
import { floorFile, Gate, type GatePorts, imagePlaces, measureServer, nodeClock, nodeCryptography, nodeNet, nodeRng, resolveCommand } from '@sealwrit/gate'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { McpGateway, openChild, runStdioGateway, serverEnvironment } from '@sealwrit/mcp-gateway'
import { NO_WITNESSES, parseVerifierKey, WitnessQuorum } from '@sealwrit/protocol'
import { loadKeyFile } from '../../src/adapters/key-file.ts'

/**
 * A gate that leaves out one check, for the runner to find: `hasty-gate.ts CHECK COMMAND…`. Everything else is the real thing.
 */
const [left, ...words] = process.argv.slice(2) as [string, ...string[]]
const dir = process.env['SEALWRIT_DIR'] as string
const cwd = process.cwd()

const WITHOUT: Readonly<Record<string, Partial<GatePorts>>> = {
  nothing: {},
  signatures: { crypto: { ...nodeCryptography, verifyEd25519: () => true } },
  time: { clock: { ...nodeClock, wallMs: () => 1_000 * Math.floor(nodeClock.wallMs() / 1_000) - 20_000 } },
  obligations: {},
  denials: {},
  floor: { floor: new MemoryFloor() },
}
const ports = WITHOUT[left]
if (ports === undefined) throw new TypeError(`no check ${left}`)
/** Whether what is signed is the account of a refusal. */
const isDenial = (message: Uint8Array): boolean => Buffer.from(Buffer.from(message).toString('utf8').split('.')[0] ?? '', 'base64url').includes('execution-denial')
const command = resolveCommand(words, { cwd, pathVariable: '', node: process.execPath, searchFrom: [] })
const environment = measureServer({ command, cwd, gateVersion: '0.1.0', image: imagePlaces(process.env) }, nodeClock, nodeCryptography, nodeRng)
const key = loadKeyFile(path.join(dir, 'hasty.pem'), true)
const gate = new Gate(
  { socketPaths: [path.join(dir, 'plane.sock')], logKey: parseVerifierKey(fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8').trim(), nodeCryptography.sha256), witnesses: new WitnessQuorum(NO_WITNESSES), tenant: 'default', environment, capabilities: () => left === 'obligations' },
  { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor: floorFile(path.join(dir, 'floor.json')), sign: left === 'denials' ? (message) => key.sign(isDenial(message) ? message.toReversed() : message) : key.sign, publicKey: key.publicKey, ...ports },
)
await gate.connect()
const target = 'mcp://hasty'
await runStdioGateway({
  gate, input: process.stdin, output: process.stdout,
  openSeat: (port) => new McpGateway({
    gate, target, recordTools: (tools) => gate.recordTools(target, tools), agent: 'hasty', facts: () => ({ paths: 'none' }), receiptOrder: 'before_reply',
    open: openChild({ executable: command.executable, args: command.args, cwd, environment: serverEnvironment(process.env, []) }, process.stderr),
  }, port),
})
gate.close()
