import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import * as fs from 'node:fs'
import * as os from 'node:os'
import * as path from 'node:path'
import { FakeClock, MemoryFloor, seededRng } from '@sealwrit/gate/testing'
import { type AnchorsOptions, type IdentityConfig, loadPolicySet, NAMED_AGENTS, nodeClock, nodeKeyLoader, nodeCryptography, nodeRng, openSqliteStore, Plane, type PlaneOptions, type PlanePorts, type PolicyRules, type PolicySet, PolicyError, type Store, StoreFailure, type WitnessOptions } from '@sealwrit/control-plane'
import { type Action, type Clock, type Rng, attachSignature, type AuthorizeReply, type AuthorizeRequest, canonicalize, commitment, type DenialCode, Denied, digestOf, type EnrolRequest, fromBase64Url, type JsonObject, leafDigest, leafHash, noteKey, parseEntry, type Permit, present, signingInput, signingKey, toBase64Url, utf8 } from '@sealwrit/protocol'
import { afterEach } from 'vitest'

export const { sha256 } = nodeCryptography
export const SCHEMA = `
entity User; entity Agent { user: User, verified: Bool }; entity Server; entity Tool in [Server] { name: String, server: Server };
entity Endpoint in [Server] { name: String, server: Server };
type Situation = { args: { path?: String, paths?: Set<String>, count?: Long, force?: Bool }, environment: { level: String }, facts: { paths: String }, lineage: { depth: Long }, federation?: { direction: String, origin: String }, identity?: { form: String, issuer: String, claims: Set<String> } };
action "mcp.tool_call" appliesTo { principal: [Agent], resource: [Tool], context: Situation };
action "mcp.resource_read", "mcp.prompt_get" appliesTo { principal: [Agent], resource: [Endpoint], context: Situation };
`
export const PERMIT_ALL = 'permit (principal, action, resource);'
export const policySet = (text: string, schema: string = SCHEMA): PolicySet => loadPolicySet({ 'test.cedar': text, 'schema.cedarschema': schema }, sha256)
/** `loaded`, or what is wrong with the set. */
export const loads = (text: string, schema: string): string => {
  try {
    loadPolicySet({ 'test.cedar': text, 'schema.cedarschema': schema }, sha256)
    return 'loaded'
  } catch (error) {
    if (error instanceof PolicyError) return error.message
    throw error
  }
}

export const TOOL_DIGEST = `sha256:${'a'.repeat(64)}`
export function toolCall(name = 'read_file', args: JsonObject = { path: '/srv/q3.txt' }, change: Partial<Extract<Action, { type: 'mcp.tool_call' }>> = {}): Action {
  return { type: 'mcp.tool_call', target: 'mcp://fs', name, arguments: args, tool_digest: TOOL_DIGEST, ...change }
}

/** What a gate that measured something enrols with. */
export const environmentDocument = (change: JsonObject = {}): JsonObject => ({
  kind: 'mcp.server', absent: { cgroup: 'not_told', image: 'none', script: 'none' }, arch: 'x64', args: [], cwd: '/srv', cwd_inode: '1:2', executable: { digest: `sha256:${'e'.repeat(64)}`, path: '/srv/server' }, gate_version: '0.1.0',
  git: { commit: 'c'.repeat(40), ref: 'refs/heads/main' }, host: `sha256:${'f'.repeat(64)}`, kernel: '6.1.0', lock: { digest: `sha256:${'d'.repeat(64)}`, path: '/srv/package-lock.json' }, os: 'linux', uid: 1_000, ...change,
})

/** The tools are seen, and somebody pins them: only then can they be called. */
export async function pinTools(plane: Plane, { session }: { readonly session: string }, names: readonly string[], target = 'mcp://fs', digest: string = TOOL_DIGEST): Promise<void> {
  const tools = names.map((name) => ({ name, digest }))
  await plane.tools.record({ session, target, tools })
  await plane.tools.pin({ target, tools }, plane.sub)
}

/** How the next append goes wrong. */
export interface Fault {
  /** Whether the group reaches the disk all the same. */
  readonly persisted: boolean
  readonly recoverable: boolean
}

/** A real plane on a real store, with faults and time in our hands. */
export class Rig {
  readonly folder = fs.mkdtempSync(path.join(os.tmpdir(), 'sealwrit-plane-'))
  readonly file = path.join(this.folder, 'store.db')
  readonly clock = new FakeClock()
  readonly rng
  readonly logKeys = generateKeyPairSync('ed25519')
  readonly key
  /** Signatures that were made, as texts: what may not leave when a commit fails. */
  readonly signed: string[] = []
  fault: Fault | undefined
  highWater = new MemoryFloor()
  policies: PolicySet = policySet(PERMIT_ALL)
  anchors: AnchorsOptions | undefined
  identity: Partial<IdentityConfig> | undefined
  policyRules: PolicyRules | undefined
  attestations: PlaneOptions['attestations']
  liftQuorum: number | undefined
  store!: Store
  plane!: Plane
  #isOpen = false

  readonly tenant: string

  constructor(seed = 'plane', tenant = 'default', host = 'rig.test') {
    this.tenant = tenant
    this.rng = seededRng(seed)
    this.key = noteKey(`${host}/${tenant}`, publicBytes(this.logKeys.publicKey), sha256)
  }

  static async open(seed?: string, policies?: PolicySet, tenant?: string): Promise<Rig> {
    const rig = new Rig(seed, tenant)
    if (policies !== undefined) rig.policies = policies
    await rig.start()
    return rig
  }

  async start(change: Partial<PlanePorts> = {}, witnesses?: WitnessOptions): Promise<void> {
    this.store = this.#faulty(openSqliteStore(this.file))
    try {
      this.plane = await Plane.open(this.ports(change), this.policies, { tenant: this.tenant, owner: 'team:rig', localUser: 'somebody', isNew: true, witnesses, policyRules: this.policyRules, attestations: this.attestations, liftQuorum: this.liftQuorum, passwordCost: { memoryKib: 16, passes: 1 }, ...(this.identity === undefined ? {} : { identity: { config: { ...NAMED_AGENTS, ...this.identity }, loader: nodeKeyLoader } }), ...(this.anchors === undefined ? {} : { anchors: this.anchors }) })
      this.#isOpen = true
    } catch (error) {
      await this.store.close()
      throw error
    }
  }

  ports(change: Partial<PlanePorts> = {}): PlanePorts {
    const logKey = {
      key: this.key,
      sign: (message: Uint8Array): Uint8Array => {
        this.signed.push(Buffer.from(message).toString('utf8'))
        return sign(null, message, this.logKeys.privateKey)
      },
    }
    return { clock: this.clock, rng: this.rng, crypto: nodeCryptography, store: this.store, logKey, highWater: this.highWater, defer: setImmediate, ...change }
  }

  #faulty(store: Store): Store {
    const append = store.append.bind(store)
    store.append = async (group) => {
      const { fault } = this
      if (fault === undefined) return append(group)
      if (fault.persisted) await append(group)
      throw new StoreFailure('injected', fault.recoverable)
    }
    const putCheckpoint = store.putCheckpoint.bind(store)
    store.putCheckpoint = async (size, note) => {
      if (this.fault === undefined) return putCheckpoint(size, note)
      if (this.fault.persisted) await putCheckpoint(size, note)
      throw new StoreFailure('injected', this.fault.recoverable)
    }
    return store
  }

  async stop(): Promise<void> {
    if (this.#isOpen) await this.plane.close()
    this.#isOpen = false
  }
  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }
  async remove(): Promise<void> {
    await this.stop()
    fs.rmSync(this.folder, { recursive: true, force: true })
  }

  async gate(tools: readonly string[] = ['read_file', 'write_file']): Promise<TestGate> {
    const gate = new TestGate(this)
    await gate.enrol()
    await pinTools(this.plane, gate, tools)
    return gate
  }

  token(): string {
    return toBase64Url(this.rng.bytes(16))
  }
}

function publicBytes(key: KeyObject): Uint8Array {
  return fromBase64Url((key.export({ format: 'jwk' }) as { x: string }).x)
}

/** What a test gate needs around it. */
export interface Rigged {
  readonly plane: Plane
  readonly rng: Rng
  readonly clock: Clock
  token(): string
}

/** What a gate sends, without its checks: tests of the plane must be able to send anything. */
export class TestGate {
  readonly keys = generateKeyPairSync('ed25519')
  readonly id: string
  session: string
  readonly #began = new Map<string, number>()
  #sequence = 0
  readonly #rig: Rigged
  environment: Omit<EnrolRequest['environment'], 'commit'> = { level: 'software', salt: 'AAAAAAAAAAAAAAAAAAAAAA', document: { host: 'test' } }

  constructor(rig: Rigged) {
    this.#rig = rig
    this.id = signingKey(this.publicKey, sha256).kid
    this.session = rig.token()
  }

  /** A gate on real time and randomness, known to every plane of one log. */
  static async ofAll(planes: readonly Plane[]): Promise<TestGate> {
    const [plane] = planes
    if (plane === undefined) throw new TypeError('no plane')
    const gate = new TestGate({ plane, rng: nodeRng, clock: nodeClock, token: () => toBase64Url(nodeRng.bytes(16)) })
    await gate.enrol()
    await pinTools(plane, gate, ['read_file'])
    for (const one of planes) await one.log.refresh()
    return gate
  }

  get publicKey(): Uint8Array {
    return publicBytes(this.keys.publicKey)
  }
  get commit(): string {
    return commitment('environment', this.environment.salt, digestOf(canonicalize(this.environment.document), sha256), sha256)
  }

  /** Over a nonce of the plane; each is good once. */
  proof(session: string = this.session, nonce: string = this.#rig.plane.nonce(), keys: KeyObject = this.keys.privateKey, aud: string = this.#rig.plane.log.origin): string {
    const input = signingInput('gate-proof+jwt', this.id, { aud, nonce, session })
    return attachSignature(input, sign(null, utf8(input), keys))
  }
  enrolment(change: Partial<EnrolRequest> = {}): EnrolRequest {
    return { key: toBase64Url(this.publicKey), session: this.session, proof: change.proof ?? this.proof(), environment: { ...this.environment, commit: this.commit }, ...change }
  }
  /** Over a connection, to whichever plane is at its other end. */
  async enrolOver(client: { request<T>(method: string, params: object): Promise<T> }): Promise<void> {
    const { nonce, origin } = await client.request<{ nonce: string; origin: string }>('nonce', {})
    await client.request('gates.enrol', this.enrolment({ proof: this.proof(this.session, nonce, this.keys.privateKey, origin) }))
  }
  async enrol(change: Partial<EnrolRequest> = {}): Promise<void> {
    await this.#rig.plane.enrol(this.enrolment(change), { size: 0 })
  }

  request(action: Action = toolCall(), change: Partial<AuthorizeRequest> = {}): AuthorizeRequest {
    return { session: this.session, challenge: this.#rig.token(), action, agent: { name: 'tester', verified: true }, environment: this.commit, facts: { paths: 'inside' }, ...change }
  }
  async authorize(request: AuthorizeRequest = this.request()): Promise<AuthorizeReply> {
    const reply = await this.#rig.plane.authorize(request, this.id, { size: 0 })
    if (reply.decision === 'permit') this.begins(reply.sealed.entry)
    return reply
  }
  /** A permit, as it stands in the log. */
  async permit(request: AuthorizeRequest = this.request()): Promise<{ permit: Permit; leaf: string }> {
    const reply = await this.authorize(request)
    if (reply.decision !== 'permit') throw new Error(`not permitted: ${JSON.stringify(reply)}`)
    return { permit: parseEntry(reply.sealed.entry) as Permit, leaf: leafDigest(leafHash(utf8(reply.sealed.entry), sha256)) }
  }
  /** Its receipt says that it began now, however late that is. */
  begins(entry: string): void {
    const { jti } = parseEntry(entry) as Permit
    if (!this.#began.has(jti)) this.#began.set(jti, this.#rig.clock.wallMs())
  }
  receiptFor(jti: string, leaf: string, change: JsonObject = {}, keys: KeyObject = this.keys.privateKey): string {
    const checks = { authorization: 'pass', identity: 'pass', policy: 'pass', environment: 'pass', cryptography: 'pass', state: 'pass', lineage: 'pass', conditions: 'pass' }
    const now = this.#rig.clock.wallMs()
    const started = this.#began.get(jti) ?? now
    const input = signingInput('execution-receipt+jwt', this.id, present<JsonObject>({
      jti, leaf_hash: leaf, tenant: 'default', gate: this.id, session: this.session, sequence: this.#sequence++, started, finished: now,
      outcome: 'completed', resources: { result_bytes: 0, wall_ms: 0 }, checks, containment: [], assurance: 'A3', ...change,
    }))
    return attachSignature(input, sign(null, utf8(input), keys))
  }
  async report(receipt: string, session: string = this.session): Promise<number> {
    return this.#rig.plane.receipt({ session, receipt }, this.id)
  }
}

/** Asks one plane, perhaps another than the gate enrolled at. */
export const ask = (plane: Plane, gate: TestGate, request: AuthorizeRequest = gate.request()): Promise<AuthorizeReply> => plane.authorize(request, gate.id, { size: 0 })

/** The code that a promise is denied with, or `ok`. */
export async function outcome(promise: Promise<unknown>): Promise<DenialCode | 'ok'> {
  try {
    await promise
    return 'ok'
  } catch (error) {
    if (error instanceof Denied) return error.code
    throw error
  }
}
/** The decision of a reply, with its code where it is a deny. */
export const told = (reply: AuthorizeReply): string => (reply.decision === 'deny' ? reply.code : reply.decision)

/** Opens rigs for the tests of a file, and removes them after each. */
export function openRigs(): (seed?: string) => Promise<Rig> {
  const rigs: Rig[] = []
  afterEach(async () => {
    for (const rig of rigs.splice(0)) await rig.remove()
  })
  return async (seed) => {
    const rig = await Rig.open(seed)
    rigs.push(rig)
    return rig
  }
}
