import { generateKeyPairSync, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { EdgeTree, loadPolicySet, nodeClock, nodeCryptography, nodeRng, Plane, type PolicySet, SCHEMA_FILE, serveSocket } from '@sealwrit/control-plane'
import { openPostgresStore } from '@sealwrit/control-plane/postgres'
import { enforce, Gate, nodeClock as gateClock, nodeNet } from '@sealwrit/gate'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { type Action, canonicalize, commitment, Denied, digestOf, type Entry, fromBase64Url, leafHash, NO_WITNESSES, noteKey, parseEntry, type TreeHead, treeRoot, utf8, WitnessQuorum } from '@sealwrit/protocol'
import { pinsAtOnce } from '../../packages/control-plane/test/support/pins.ts'
import { policyFiles } from './world.ts'

const { sha256 } = nodeCryptography
const PERMIT_ALL: PolicySet = loadPolicySet({ 'all.cedar': 'permit (principal, action, resource);', [SCHEMA_FILE]: policyFiles()[SCHEMA_FILE] as string }, sha256)
const ACTION: Extract<Action, { type: 'mcp.tool_call' }> = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'touch', arguments: {}, tool_digest: `sha256:${'a'.repeat(64)}` }

/** Several planes with one log key over one database, each behind a socket of its own. */
export class Replicas {
  readonly planes: Plane[] = []
  readonly socketPaths: string[] = []
  readonly url: string
  readonly #root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-replicas-'))
  readonly #keys = generateKeyPairSync('ed25519')
  readonly #closing: (() => Promise<void>)[] = []
  readonly key = noteKey('replicas.test/default', fromBase64Url(this.#keys.publicKey.export({ format: 'jwk' }).x as string), sha256)

  constructor(url: string) {
    this.url = url
  }
  static async open(url: string, count: number): Promise<Replicas> {
    const replicas = new Replicas(url)
    await Promise.all(Array.from({ length: count }, () => replicas.add()))
    return replicas
  }

  /** One more plane. @param url the database as this one reaches it */
  async add(policies: PolicySet = PERMIT_ALL, url: string = this.url): Promise<Plane> {
    const store = await openPostgresStore(url, 'default')
    const logKey = { key: this.key, sign: (message: Uint8Array): Uint8Array => sign(null, message, this.#keys.privateKey) }
    try {
      const plane = pinsAtOnce(await Plane.open({ clock: nodeClock, rng: nodeRng, crypto: nodeCryptography, store, logKey, highWater: new MemoryFloor(), defer: setImmediate }, policies, { tenant: 'default', owner: 'team:r', localUser: 'somebody', isNew: true }))
      const socketPath = path.join(this.#root, `${this.planes.push(plane)}.sock`)
      this.socketPaths.push(socketPath)
      const socket = await serveSocket(plane, socketPath)
      this.#closing.push(async () => {
        await socket.close()
        await plane.close()
      })
      return plane
    } catch (error) {
      await store.close()
      throw error
    }
  }

  /** A real gate that tries the sockets in order. */
  gate(floor: MemoryFloor = new MemoryFloor(), socketPaths: readonly string[] = this.socketPaths): Gate {
    const keys = generateKeyPairSync('ed25519')
    const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
    const commit = commitment('environment', salt, digestOf(canonicalize({}), sha256), sha256)
    return new Gate(
      { socketPaths, logKey: this.key, tenant: 'default', environment: { level: 'software', salt, document: {}, commit, measure: () => commit }, capabilities: () => false, witnesses: new WitnessQuorum(NO_WITNESSES) },
      { clock: gateClock, rng: nodeRng, crypto: nodeCryptography, net: nodeNet, floor, sign: (m) => sign(null, m, keys.privateKey), publicKey: fromBase64Url(keys.publicKey.export({ format: 'jwk' }).x as string) },
    )
  }

  async leaves(url: string = this.url): Promise<readonly string[]> {
    const store = await openPostgresStore(url, 'default')
    try {
      return await store.entries(0, 1_000_000)
    } finally {
      await store.close()
    }
  }
  async entries(url: string = this.url): Promise<Entry[]> {
    return (await this.leaves(url)).map(parseEntry)
  }

  async close(): Promise<void> {
    for (const one of this.#closing.splice(0)) await one()
    fs.rmSync(this.#root, { recursive: true, force: true })
  }
}

/** The root of the first `size` of these leaves. */
export function rootOf(leaves: readonly string[], size: number): Uint8Array {
  const tree = new EdgeTree(sha256)
  for (const leaf of leaves.slice(0, size)) tree.append(leafHash(utf8(leaf), sha256))
  return treeRoot(size, tree.subtree, sha256)
}

/** Effects under way at several gates until it is ended; it keeps what ran, what was denied, and how long nothing ran. */
export class Load {
  /** `jti` of every effect, as the effect itself saw it. */
  readonly canary: string[] = []
  readonly codes: Map<string, number> = new Map()
  /** The newest checkpoint that each gate had verified when {@link Load.mark} was called. */
  readonly marks: TreeHead[] = []
  longestDenyMs = 0
  ran = 0
  readonly #gates: readonly Gate[]
  #isOn = true
  #lastRanMs = performance.now()
  readonly #workers: Promise<unknown>

  private constructor(gates: readonly Gate[], workers: number) {
    this.#gates = gates
    this.#workers = Promise.all(gates.flatMap((gate) => Array.from({ length: workers }, () => this.#work(gate))))
  }

  static async start(gates: readonly Gate[], workers: number): Promise<Load> {
    for (const gate of gates) await gate.recordTools('mcp://fs', [{ name: 'touch', digest: ACTION.tool_digest }])
    return new Load(gates, workers)
  }

  async #work(gate: Gate): Promise<void> {
    while (this.#isOn) {
      const code = await attempt(gate, this.canary)
      if (code === 'ran') {
        this.longestDenyMs = Math.max(this.longestDenyMs, performance.now() - this.#lastRanMs)
        this.#lastRanMs = performance.now()
        this.ran++
        continue
      }
      this.codes.set(code, (this.codes.get(code) ?? 0) + 1)
      await pause(10)
    }
  }

  mark(): void {
    for (const { newest } of this.#gates) if (newest !== undefined) this.marks.push({ size: newest.size, root: newest.root })
  }

  /** Waits until `count` more effects ran. */
  async more(count: number): Promise<void> {
    const goal = this.ran + count
    for (let i = 0; this.ran < goal; i++) {
      if (i === 1_500) throw new Error(`no effect for 30 s; denied: ${JSON.stringify(Object.fromEntries(this.codes))}`)
      await pause(20)
    }
  }

  /** Ends it, and lets receipts that wait be delivered. */
  async end(): Promise<void> {
    this.#isOn = false
    await this.#workers
    for (let i = 0; i < 200 && this.#gates.some(({ reporter }) => reporter.pending > 0); i++) {
      for (const gate of this.#gates) await attempt(gate, this.canary)
      await pause(20)
    }
    for (const gate of this.#gates) gate.close()
  }
}

/** One attempt at an effect. @returns `ran`, or the denial code */
export async function attempt(gate: Gate, canary: string[] = []): Promise<string> {
  try {
    await enforce(gate, { action: ACTION, agent: { name: 'tester', verified: true }, facts: () => ({ paths: 'none' }) }, async ({ permit }) => {
      canary.push(permit.jti)
      return { outcome: 'completed', resultBytes: new Uint8Array(0), value: undefined }
    })
    return 'ran'
  } catch (error) {
    return error instanceof Denied ? error.code : String(error)
  }
}

/** What of I1, I2, I3 and I5 the log contradicts, given what really ran and what gates had verified. */
export function violations(leaves: readonly string[], { canary, marks }: Pick<Load, 'canary' | 'marks'>): string[] {
  const entries = leaves.map(parseEntry)
  const permits = new Set(entries.flatMap((e) => (e.kind === 'permit' ? [e.jti] : [])))
  const receipts = entries.flatMap((e) => (e.kind === 'receipt' ? [e.jti] : []))
  const ended = new Set(receipts)
  return [
    ...(new Set(canary).size === canary.length ? [] : ['a permit ran twice']),
    ...(ended.size === receipts.length ? [] : ['a permit has two endings']),
    ...canary.filter((jti) => !permits.has(jti)).map((jti) => `effect without a permit in the log: ${jti}`),
    ...canary.filter((jti) => !ended.has(jti)).map((jti) => `lost receipt: ${jti}`),
    ...entries.filter((e, i) => e.seq !== i).map((e) => `entry ${e.seq} is not at its place`),
    ...marks.filter(({ size, root }) => !Buffer.from(rootOf(leaves, size)).equals(root)).map(({ size }) => `a checkpoint over ${size} entries that a gate had verified is of another history`),
  ]
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
