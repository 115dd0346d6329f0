import { generateKeyPairSync, sign } from 'node:crypto'
import { enforce, Gate, type MeasuredEnvironment, nodeCryptography, type Executed, type ReceiptOrder, type GateRequest } from '@sealwrit/gate'
import { FakeClock, MemoryFloor, seededRng, SimulatedPlane } from '@sealwrit/gate/testing'
import { type Action, commitment, type DenialCode, Denied, digestOf, canonicalize, fromBase64Url, type JsonObject, NO_WITNESSES, WitnessQuorum, type Facts } from '@sealwrit/protocol'

export const ACTION: Action = {
  type: 'mcp.tool_call',
  target: 'mcp://fs',
  name: 'read_file',
  arguments: { path: '/srv/reports/q3.txt' },
  tool_digest: `sha256:${'a'.repeat(64)}`,
}

/** A gate with everything around it faked, and a canary that counts what really ran. */
export class Rig {
  readonly clock = new FakeClock()
  readonly rng
  readonly plane: SimulatedPlane
  readonly floor = new MemoryFloor()
  readonly keys = generateKeyPairSync('ed25519')
  /** Changes when the world does: what `measure` finds. */
  environmentVersion = 1
  paths: Facts['paths'] = 'inside'
  /** Effects that really happened. */
  effects: string[] = []
  gate: Gate
  /** Cosignature lines that the plane puts under its checkpoints. */
  cosign: (text: string) => string = () => ''

  constructor(seed = 'rig', decide?: (action: JsonObject) => 'permit' | DenialCode) {
    this.rng = seededRng(seed)
    this.plane = new SimulatedPlane({ clock: this.clock, rng: this.rng, crypto: nodeCryptography, cosign: (text) => this.cosign(text), ...(decide === undefined ? {} : { decide }) })
    this.gate = this.openGate()
  }

  openGate(overrides: { logKey?: SimulatedPlane['key']; environment?: MeasuredEnvironment | undefined; keys?: Rig['keys']; witnesses?: WitnessQuorum | undefined; observes?: true } = {}): Gate {
    const keys = overrides.keys ?? this.keys
    const { x } = keys.publicKey.export({ format: 'jwk' })
    return new Gate(
      {
        socketPaths: ['/simulated'],
        logKey: overrides.logKey ?? this.plane.key,
        witnesses: 'witnesses' in overrides ? overrides.witnesses : new WitnessQuorum(NO_WITNESSES),
        tenant: this.plane.tenant,
        environment: 'environment' in overrides ? overrides.environment : this.environment(),
        capabilities: () => false,
        observes: overrides.observes,
      },
      {
        clock: this.clock, rng: this.rng, crypto: nodeCryptography, net: this.plane, floor: this.floor,
        sign: (message) => sign(null, message, keys.privateKey), publicKey: fromBase64Url(x as string),
      },
    )
  }

  environment(): MeasuredEnvironment {
    const { sha256 } = nodeCryptography
    const salt = 'AAAAAAAAAAAAAAAAAAAAAA'
    const document = (): { version: number } => ({ version: this.environmentVersion })
    const commitOf = (): string => commitment('environment', salt, digestOf(canonicalize(document()), sha256), sha256)
    return { level: 'software', salt, document: document(), commit: commitOf(), measure: commitOf }
  }

  request(action: Action = ACTION): GateRequest {
    return { action, agent: { name: 'tester', verified: false }, facts: () => ({ paths: this.paths }) }
  }

  /** Runs one action; the effect is one line in the canary. */
  run(options: { action?: Action; gate?: Gate; order?: ReceiptOrder; effect?: (signal: AbortSignal) => Promise<void> } = {}): Promise<Executed<string>> {
    const run = async (_artifact: unknown, action: Action, signal: AbortSignal) => {
      this.effects.push(action.name)
      await options.effect?.(signal)
      return { outcome: 'completed' as const, resultBytes: new TextEncoder().encode('result'), value: 'result' }
    }
    return enforce(options.gate ?? this.gate, this.request(options.action), run, options.order)
  }

  /** The code that `running` is denied with; `ran` when it is not. */
  async outcome(running: Promise<unknown>): Promise<DenialCode | 'ran'> {
    try {
      await running
      return 'ran'
    } catch (error) {
      if (error instanceof Denied) return error.code
      throw error
    }
  }

  kinds(): string[] {
    return this.plane.entries.map(({ kind }) => kind)
  }
}
