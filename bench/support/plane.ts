import { type ChildProcess, spawn } from 'node:child_process'
import { generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as path from 'node:path'
import { SocketClient } from '@sealwrit/control-plane/client'
import { enforce, floorFile, Gate, nodeClock, nodeCryptography, nodeNet, nodeRng, type ReceiptOrder } from '@sealwrit/gate'
import { NO_WITNESSES, WitnessQuorum, canonicalize, commitment, digestOf, fromBase64Url, parseVerifierKey } from '@sealwrit/protocol'

export const main: string = path.resolve(import.meta.dirname, '../../packages/cli/src/main.ts')
const DIGEST = `sha256:${'a'.repeat(64)}`

/** Policies that never match, to fill a set up to a size. */
export function fillers(count: number): string {
  return Array.from({ length: count }, (_, i) => `@id("f${i}") permit (principal == Agent::"agent${i}", action == Action::"mcp.tool_call", resource == Tool::"mcp://s${i}/t${i}") when { context.facts.paths == "inside" };`).join('\n')
}

/** The plane as a process of its own, on a real store. */
export async function startPlane(folder: string, fillerCount: number): Promise<{ dir: string; child: ChildProcess }> {
  const dir = path.join(folder, '.sealwrit')
  const start = (): Promise<ChildProcess> => {
    const child = spawn(process.execPath, ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', main, 'up', '--json', '--activate', '--dir', dir, '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    return new Promise((resolve, reject) => {
      child.stdout?.once('data', () => resolve(child))
      child.once('exit', (code) => reject(new Error(`plane ended (${code})`)))
    })
  }
  let child = await start()
  if (fillerCount > 0) {
    await stop(child) // the first run writes the folder
    fs.writeFileSync(path.join(dir, 'policies', 'fillers.cedar'), fillers(fillerCount))
    child = await start()
  }
  return { dir, child }
}

export function stop(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    child.removeAllListeners('exit')
    child.once('exit', () => resolve())
    child.kill('SIGTERM')
  })
}

/** A gate in this process, with an effect that does nothing. */
export class BenchGate {
  readonly gate: Gate
  readonly #operator: SocketClient
  #calls = 0

  constructor(dir: string) {
    this.#operator = new SocketClient(path.join(dir, 'plane.sock'))
    const keys = generateKeyPairSync('ed25519')
    const { sha256 } = nodeCryptography
    const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
    const commit = commitment('environment', salt, digestOf(canonicalize({}), sha256), sha256)
    this.gate = new Gate(
      { socketPaths: [path.join(dir, 'plane.sock')], logKey: parseVerifierKey(fs.readFileSync(path.join(dir, 'log.vkey'), 'utf8').trim(), sha256), witnesses: new WitnessQuorum(NO_WITNESSES), tenant: 'default', environment: { level: 'software', salt, document: {}, commit, measure: () => commit }, capabilities: () => false },
      { clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor: floorFile(path.join(dir, 'bench-floor.json')), sign: (m) => sign(null, m, keys.privateKey), publicKey: fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string) },
    )
  }

  async open(): Promise<void> {
    await this.gate.connect()
    const [target, tools] = ['mcp://bench', [{ name: 'read_file', digest: DIGEST }]]
    await this.gate.recordTools(target, tools)
    await this.#operator.request('tools.pin', { target, tools })
    this.#operator.close()
  }

  /** One whole execution; its arguments differ from those of every other. */
  execute(order: ReceiptOrder, effect: () => void = () => undefined): Promise<unknown> {
    const action = { type: 'mcp.tool_call' as const, target: 'mcp://bench', name: 'read_file', arguments: { path: `/srv/reports/${this.#calls++}.txt` }, tool_digest: DIGEST }
    return enforce(this.gate, { action, agent: { name: 'bench', verified: true }, facts: () => ({ paths: 'inside' }) }, async () => {
      effect()
      return { outcome: 'completed', resultBytes: new Uint8Array(16), value: 0 }
    }, order)
  }

  /** Milliseconds of one execution up to where its effect begins: asked, decided, durable, sealed and verified. */
  async authorized(): Promise<number> {
    const from = performance.now()
    let at = from
    await this.execute('before_reply', () => (at = performance.now()))
    return at - from
  }
}
