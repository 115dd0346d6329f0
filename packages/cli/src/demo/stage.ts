import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { PassThrough } from 'node:stream'
import { floorFile, Gate, imagePlaces, measureServer, nodeClock, nodeCryptography, nodeRng, pathFacts, resolveCommand, serverRoots } from '@sealwrit/gate'
import { McpGateway, openChild, runStdioGateway, serverEnvironment } from '@sealwrit/mcp-gateway'
import { type Clock, NO_WITNESSES, WitnessQuorum } from '@sealwrit/protocol'
import { loadKeyFile } from '../adapters/key-file.ts'
import { McpSession } from '../doctor/mcp-session.ts'
import { CliError } from '../errors.ts'
import { evidenceLines } from '../evidence/collect.ts'
import { planeFolder, type PlaneFolder, readVerifierKey, starterFolder } from '../local/folder.ts'
import { recordingTools } from '../local/pins.ts'
import { selfArguments } from '../self.ts'
import { version } from '../version.ts'
import { HostileWire } from './hostile-wire.ts'

const POLICY = `@id("write-inside")
permit (principal == Agent::"demo-agent", action == Action::"mcp.tool_call", resource is Tool)
when { resource.name == "write_file" && context.facts.paths == "inside" };

@id("no-moves")
forbid (principal, action == Action::"mcp.tool_call", resource is Tool)
when { resource.name == "move_file" };
`
const START_MS = 20_000
const TARGET = 'mcp://files'

/** A plane, a gate and a real MCP server of the demo's own, in a temporary folder. */
export class Stage {
  readonly root: string
  /** What the server may write to: the canary is what is in here. */
  readonly files: string
  readonly folder: PlaneFolder
  readonly wire: HostileWire = new HostileWire()
  /** Added to the gate's wall clock, milliseconds. */
  clockOffsetMs = 0
  #plane: ChildProcess | undefined
  #input: PassThrough | undefined
  #gate: Gate | undefined
  #session: McpSession | undefined

  constructor() {
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-demo-'))
    this.files = path.join(fs.realpathSync(this.root), 'files')
    this.folder = planeFolder(path.join(this.root, '.sealwrit'))
  }

  get session(): McpSession {
    if (this.#session === undefined) throw new TypeError('the stage is not set')
    return this.#session
  }
  get serverScript(): string {
    return path.join(this.root, 'server.mjs')
  }

  /** @throws {CliError} when plane or server do not start */
  async set(): Promise<void> {
    fs.mkdirSync(this.files)
    fs.mkdirSync(path.join(this.root, 'policies'))
    fs.writeFileSync(path.join(this.root, 'policies', 'demo.cedar'), POLICY)
    fs.copyFileSync(path.join(starterFolder, 'schema.cedarschema'), path.join(this.root, 'schema.cedarschema'))
    fs.writeFileSync(path.join(this.root, 'sealwrit.yaml'), 'policies: policies\n')
    const real = resolveCommand(['npx', '@modelcontextprotocol/server-filesystem'], { cwd: this.root, pathVariable: '', node: process.execPath, searchFrom: [import.meta.dirname, process.cwd()] })
    fs.writeFileSync(this.serverScript, `await import(${JSON.stringify(`file://${real.script}`)})\n`)
    await this.#startPlane()
    await this.#startGateway()
  }

  #startPlane(): Promise<void> {
    const plane = spawn(process.execPath, [...selfArguments(), 'up', '--json', '--dir', this.folder.dir, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#plane = plane
    return new Promise((resolve, reject) => {
      let errors = ''
      const timer = setTimeout(() => reject(new CliError('the demo’s plane did not start in time')), START_MS)
      plane.stderr.on('data', (chunk: Buffer) => {
        errors += chunk.toString()
      })
      plane.stdout.once('data', () => {
        clearTimeout(timer)
        resolve()
      })
      plane.once('exit', () => {
        clearTimeout(timer)
        reject(new CliError(`the demo’s plane did not start: ${errors.trim()}`))
      })
    })
  }

  async #startGateway(): Promise<void> {
    const command = resolveCommand([process.execPath, this.serverScript, this.files], { cwd: this.root, pathVariable: '', node: process.execPath, searchFrom: [] })
    const environment = measureServer({ command, cwd: this.root, gateVersion: version, image: imagePlaces(process.env) }, nodeClock, nodeCryptography, nodeRng)
    const key = loadKeyFile(path.join(this.root, 'gate.pem'), true)
    const clock: Clock = { ...nodeClock, wallMs: () => nodeClock.wallMs() + this.clockOffsetMs }
    const gate = new Gate(
      { socketPaths: [this.folder.socket], logKey: readVerifierKey(this.folder.verifierKey), witnesses: new WitnessQuorum(NO_WITNESSES), tenant: this.folder.tenant, environment, capabilities: () => false },
      { clock, rng: nodeRng, crypto: nodeCryptography, net: this.wire.net, floor: floorFile(path.join(this.root, 'floor.json')), sign: key.sign, publicKey: key.publicKey },
    )
    this.#gate = gate
    await gate.connect()
    const roots = serverRoots([this.files], this.root)
    const [input, output, errors] = [new PassThrough(), new PassThrough(), new PassThrough()]
    errors.resume()
    this.#input = input
    void runStdioGateway({
      gate, input, output,
      openSeat: (port) => new McpGateway({
        gate, target: TARGET, recordTools: recordingTools(gate, { folder: this.folder, target: TARGET, isPinning: true, tell: () => undefined }), agent: 'demo-agent', facts: (args) => pathFacts(args, roots, this.root), receiptOrder: 'before_reply',
        open: openChild({ executable: command.executable, args: command.args, cwd: this.root, environment: serverEnvironment(process.env, []) }, errors),
      }, port),
    })
    this.#session = new McpSession(output, input)
    await this.#session.initialize('demo-agent')
  }

  /** What is in the folder, names and contents: the effect as the file system tells it, not as we do. */
  canary(): string {
    return fs.readdirSync(this.files).sort().map((name) => `${name}=${fs.readFileSync(path.join(this.files, name), 'utf8')}`).join('\n')
  }

  /** The evidence as a file holds it. */
  async bundle(selector: string): Promise<string> {
    let text = ''
    for await (const line of evidenceLines(this.folder, selector)) text += `${line}\n`
    return text
  }

  /** Verifies `bundle` in a fresh process, in an empty folder that holds only the bundle and the public key. */
  verifyElsewhere(bundle: string): { readonly exit: number; readonly text: string } {
    const empty = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-verify-'))
    try {
      fs.writeFileSync(path.join(empty, 'evidence.json'), bundle)
      fs.copyFileSync(this.folder.verifierKey, path.join(empty, 'log.vkey'))
      const { status, stdout, stderr } = spawnSync(process.execPath, [...selfArguments(), 'verify', 'evidence.json', '--key', 'log.vkey'], { cwd: empty, encoding: 'utf8', env: { PATH: process.env['PATH'] ?? '', NO_COLOR: '1' } })
      return { exit: status ?? 1, text: `${stdout}${stderr}` }
    } finally {
      fs.rmSync(empty, { recursive: true, force: true })
    }
  }

  async strike(): Promise<void> {
    this.#input?.end()
    this.#gate?.close()
    const plane = this.#plane
    if (plane !== undefined && plane.exitCode === null) {
      const gone = new Promise((resolve) => plane.once('exit', resolve))
      plane.kill('SIGTERM')
      await gone
    }
    fs.rmSync(this.root, { recursive: true, force: true })
  }
}
