import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import {
  loadPolicySet, nodeClock as planeClock, nodeCryptography, nodeRng, openSqliteStore, Plane, type PlaneClock, type PolicyRules, type PlanePorts, SCHEMA_FILE, serveSocket, type Store, StoreFailure,
} from '@sealwrit/control-plane'
import { Gate, type MeasuredEnvironment, nodeClock, nodeNet, type Net } from '@sealwrit/gate'
import { MemoryFloor } from '@sealwrit/gate/testing'
import { NO_WITNESSES, WitnessQuorum, canonicalize, type Clock, commitment, digestOf, fromBase64Url, type NoteKey, noteKey, parseStrict, WIRE_LIMITS, type JsonObject, utf8 } from '@sealwrit/protocol'
import { pinsAtOnce } from '../../packages/control-plane/test/support/pins.ts'

const starter = path.resolve(import.meta.dirname, '../../packages/cli/starter')

/** The starter policies, and one that permits reads by the tests' agent. */
export function policyFiles(): Record<string, string> {
  const files: Record<string, string> = { [SCHEMA_FILE]: fs.readFileSync(path.join(starter, 'schema.cedarschema'), 'utf8') }
  for (const name of fs.readdirSync(path.join(starter, 'policies')).filter((n) => n.endsWith('.cedar'))) files[name] = fs.readFileSync(path.join(starter, 'policies', name), 'utf8')
  return files
}

function logKeyOf(publicKey: KeyObject): NoteKey {
  const { x } = publicKey.export({ format: 'jwk' })
  return noteKey('world.test/default', fromBase64Url(x as string), nodeCryptography.sha256)
}

/** A clock on the real one that can be set wrong, and whose machine can have slept. */
export class SkewedClock implements PlaneClock {
  offsetMs = 0
  sleptMs = 0
  wallMs(): number {
    return planeClock.wallMs() + this.offsetMs
  }
  monotonicMs(): number {
    return planeClock.monotonicMs() + this.sleptMs
  }
  bootMs(): number {
    return planeClock.bootMs()
  }
  after(ms: number, run: () => void): () => void {
    return nodeClock.after(ms, run)
  }
}

/** A real store whose next writes can be made to fail. */
export function faultyStore(file: string): Store & { fail: StoreFailure | undefined } {
  const store = openSqliteStore(file) as Store & { fail: StoreFailure | undefined }
  const append = store.append.bind(store)
  store.fail = undefined
  store.append = async (group) => {
    if (store.fail !== undefined) throw store.fail
    return append(group)
  }
  return store
}

/** A plane on a real store behind a real socket, and gates with a wire that can be tampered with. */
export class World {
  readonly root = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-world-'))
  readonly clock = new SkewedClock()
  readonly gateClock = new SkewedClock()
  readonly socketPath = path.join(this.root, 'plane.sock')
  readonly storeFile = path.join(this.root, 'store.db')
  readonly keys = generateKeyPairSync('ed25519')
  readonly logKey
  readonly floor = new MemoryFloor()
  highWater = new MemoryFloor()
  policyRules: PolicyRules = {}
  /** Done to every answer line on its way to the gate; undefined loses it. */
  onTheWire: (answer: JsonObject, method: 'permit' | 'other') => JsonObject | string | undefined | Promise<never> = (answer) => answer
  environmentVersion = 1
  store: (Store & { fail: StoreFailure | undefined }) | undefined
  plane: Plane | undefined
  #socket: { close(): Promise<void> } | undefined
  #gates: Gate[] = []

  constructor() {
    this.logKey = logKeyOf(this.keys.publicKey)
  }

  async start(files: Record<string, string> = policyFiles(), keys: World['keys'] = this.keys, options: { liftQuorum?: number; ports?: Partial<PlanePorts> } = {}): Promise<Plane> {
    const policies = loadPolicySet(files, nodeCryptography.sha256)
    this.store = faultyStore(this.storeFile)
    const logKey = { key: logKeyOf(keys.publicKey), sign: (message: Uint8Array) => sign(null, message, keys.privateKey) }
    const ports = { clock: this.clock, rng: nodeRng, crypto: nodeCryptography, store: this.store, logKey, highWater: this.highWater, defer: setImmediate, ...options.ports }
    try {
      this.plane = pinsAtOnce(await Plane.open(ports, policies, { tenant: 'default', owner: 'team:test', localUser: 'test', isNew: true, policyRules: this.policyRules, ...options }))
    } catch (error) {
      await this.store.close()
      throw error
    }
    this.#socket = await serveSocket(this.plane, this.socketPath)
    return this.plane
  }

  async stop(): Promise<void> {
    await this.#socket?.close()
    await this.plane?.close()
    this.#socket = undefined
    this.plane = undefined
  }

  gate(options: { keys?: World['keys']; environment?: undefined; floor?: MemoryFloor; clock?: Clock; witnesses?: WitnessQuorum } = {}): Gate {
    const keys = options.keys ?? generateKeyPairSync('ed25519')
    const { x } = keys.publicKey.export({ format: 'jwk' })
    const gate = new Gate(
      { socketPaths: [this.socketPath], logKey: this.logKey, witnesses: options.witnesses ?? new WitnessQuorum(NO_WITNESSES), tenant: 'default', environment: 'environment' in options ? undefined : this.#environment(), capabilities: () => false },
      {
        clock: options.clock ?? this.gateClock, rng: nodeRng, crypto: nodeCryptography, net: this.#net(), floor: options.floor ?? this.floor,
        sign: (message) => sign(null, message, keys.privateKey), publicKey: fromBase64Url(x as string),
      },
    )
    this.#gates.push(gate)
    return gate
  }

  #net(): Net {
    return {
      connect: (socketPath, maxLineBytes, events) =>
        nodeNet.connect(socketPath, maxLineBytes, {
          closed: (reason) => events.closed(reason),
          line: (bytes) => {
            const answer = parseStrict(bytes, WIRE_LIMITS) as JsonObject
            const result = answer['result'] as JsonObject | undefined
            const passed = this.onTheWire(answer, result?.['decision'] === 'permit' ? 'permit' : 'other')
            if (typeof passed === 'string') events.line(utf8(passed))
            else if (passed !== undefined && !(passed instanceof Promise)) events.line(utf8(JSON.stringify(passed)))
          },
        }),
    }
  }

  #environment(): MeasuredEnvironment {
    const { sha256 } = nodeCryptography
    const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
    const commitOf = (): string => commitment('environment', salt, digestOf(canonicalize({ version: this.environmentVersion }), sha256), sha256)
    return { level: 'software', salt, document: { version: this.environmentVersion }, commit: commitOf(), measure: commitOf }
  }

  async remove(): Promise<void> {
    for (const gate of this.#gates) gate.close()
    await this.stop()
    fs.rmSync(this.root, { recursive: true, force: true })
  }
}
