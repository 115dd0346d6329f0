import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { nodeClock, type WitnessAnswer, type WitnessOptions } from '@sealwrit/control-plane'
import {
  attachSignature, type AuthorizeReply, type AuthorizeRequest, cosignedMessage, type CosignerKey, cosignerKey, type ForeignPlane, formatCosignature, formatCosignerKey, fromBase64Url, type Identity, type IssueRequest, type JsonObject, type JsonValue, parseEntry, parseNote,
  parseWitnessPolicy, type Permit, actionDigest, type Action, signingInput, signingKey, type TrustList, trustList, utf8, verifyConsistency, verifyCheckpoint,
} from '@sealwrit/protocol'
import { nodeCryptography } from '@sealwrit/control-plane'
import { issueRequest } from './push.ts'
import { Rig, sha256, TestGate, toolCall } from './rig.ts'

/** A witness in memory that keeps to c2sp.org/tlog-witness, and can be taken away. */
export class MemoryWitness {
  readonly key: CosignerKey
  readonly #keys = generateKeyPairSync('ed25519')
  isDown = false
  #seen: { size: number; root: Uint8Array } = { size: 0, root: new Uint8Array(0) }

  constructor(name: string) {
    this.key = cosignerKey(`${name}.test/w`, fromBase64Url(this.#keys.publicKey.export({ format: 'jwk' }).x as string), sha256)
  }
  line(text: string, time: number): string {
    return formatCosignature(this.key, time, sign(null, cosignedMessage(text, time), this.#keys.privateKey))
  }
  submit(body: string, rig: Rig): WitnessAnswer {
    if (this.isDown) throw new Error('down')
    const blank = body.indexOf('\n\n')
    const [first, ...hashes] = body.slice(0, blank).split('\n') as [string, ...string[]]
    const checkpoint = verifyCheckpoint(body.slice(blank + 2), rig.key, nodeCryptography)
    const old = Number(first.slice(4))
    if (old !== this.#seen.size) return { status: 409, type: 'text/x.tlog.size', body: utf8(`${this.#seen.size}\n`) }
    if (old > 0) verifyConsistency(this.#seen, checkpoint, hashes.map((hash) => new Uint8Array(Buffer.from(hash, 'base64'))), sha256)
    this.#seen = { size: checkpoint.size, root: checkpoint.root }
    return { status: 200, type: 'text/plain', body: utf8(this.line(parseNote(body.slice(blank + 2)).text, Math.floor(rig.clock.wallMs() / 1_000))) }
  }
}

export const AWAY = 'away.test/default'
export const HOME = 'home.test/default'

/** An agent whose key is registered at both planes. */
export class TestAgent {
  readonly name: string
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject }
  constructor(name = 'coder', keys: TestAgent['keys'] = generateKeyPairSync('ed25519')) {
    this.name = name
    this.keys = keys
  }
  get publicKey(): string {
    return this.keys.publicKey.export({ format: 'jwk' }).x as string
  }
  get kid(): string {
    return signingKey(fromBase64Url(this.publicKey), sha256).kid
  }
  proof(rig: Rig, gate: string, challenge: string, action: Action): Identity {
    const input = signingInput('agent-proof+jwt', this.kid, { aud: rig.key.name, agent: this.name, gate, challenge, action_digest: actionDigest(action, sha256), iat: Math.floor(rig.clock.wallMs() / 1_000) })
    return { form: 'agent-key', proof: attachSignature(input, sign(null, utf8(input), this.keys.privateKey)) }
  }
}

/** Two planes on stores of their own: `home` takes what `away` makes for it, under the cosignatures of one witness. */
export class Planes {
  readonly away = new Rig('away', 'default', 'away.test')
  readonly home = new Rig('home', 'default', 'home.test')
  readonly witness = new MemoryWitness('one')
  readonly agent = new TestAgent()
  gate!: TestGate

  static async open(change: Partial<ForeignPlane> = {}): Promise<Planes> {
    const planes = new Planes()
    await planes.setUp(change)
    return planes
  }
  async setUp(change: Partial<ForeignPlane> = {}): Promise<void> {
    await this.startAway()
    await this.startHome(change)
    this.gate = await this.home.gate()
    for (const { plane } of [this.away, this.home]) await plane.registry.changeAgent({ agent: this.agent.name, event: 'added', key: this.agent.publicKey, owner: 'team:a' } as never)
  }

  get policy(): ForeignPlane['witnesses'] {
    return parseWitnessPolicy(utf8(`witness one ${formatCosignerKey(this.witness.key)} http://one\nquorum one\n`), sha256)
  }
  get witnesses(): WitnessOptions {
    return { policy: this.policy, maxAgeSeconds: 60, post: async (_url, body) => this.witness.submit(Buffer.from(body).toString(), this.away) }
  }
  trusted(change: Partial<ForeignPlane> = {}): TrustList {
    return trustList([{ key: this.away.key, witnesses: this.policy, maxAgeSeconds: 60, accepts: ['artifacts', 'approvals'], groups: { leads: 'secops' }, scopes: [{ type: 'mcp.tool_call', target: 'mcp://fs' }], ...change }], HOME)
  }

  async startAway(audiences: readonly string[] = [HOME]): Promise<void> {
    this.away.clock.after = (ms, run) => nodeClock.after(ms, run)
    await this.away.start({ federation: { trusted: new Map(), audiences } }, this.witnesses)
  }
  async startHome(change: Partial<ForeignPlane> | 'nobody' = {}): Promise<void> {
    await this.home.start({ federation: { trusted: change === 'nobody' ? new Map() : this.trusted(change), audiences: [] } })
  }
  async restartHome(change: Partial<ForeignPlane> | 'nobody' = {}): Promise<void> {
    await this.home.stop()
    await this.startHome(change)
    if (this.gate !== undefined) await this.gate.enrol()
  }
  /** Both clocks. */
  advance(ms: number): void {
    this.away.clock.advance(ms)
    this.home.clock.advance(ms)
  }

  /** How far home knows the log of away. */
  async known(): Promise<number> {
    return (await this.home.plane.federation.list()).planes[0]?.newest?.size ?? 0
  }

  /** Has away permit an action for home. */
  async borrow(action: Action = toolCall(), change: Partial<IssueRequest> = {}): Promise<{ permit: Permit; shown: JsonObject }> {
    const nonce = this.away.plane.nonce()
    const reply = await this.away.plane.issue({ ...issueRequest(this.gate, action), audience: HOME, agent: { name: this.agent.name, verified: true }, nonce, identity: this.agent.proof(this.away, change.audience ?? HOME, nonce, action), ...change }, { size: 0 })
    if (reply.decision !== 'permit') throw new Error(`away does not permit it: ${JSON.stringify(reply)}`)
    const permit = parseEntry(reply.sealed.entry) as Permit
    return { permit, shown: await this.show(permit.seq) }
  }
  async show(seq: number, known?: number): Promise<JsonObject> {
    return { ...(await this.away.plane.federation.seal(seq, known ?? (await this.known()))) } as unknown as JsonObject
  }

  request(foreign: JsonValue | undefined, action: Action = toolCall(), change: Partial<AuthorizeRequest> = {}, agent = this.agent): AuthorizeRequest {
    const challenge = change.challenge ?? this.home.token()
    return this.gate.request(action, { agent: { name: agent.name, verified: true }, challenge, identity: agent.proof(this.home, this.gate.id, challenge, action), ...(foreign === undefined ? {} : { foreign }), ...change })
  }
  ask(foreign: JsonValue | undefined, action: Action = toolCall(), change: Partial<AuthorizeRequest> = {}, agent = this.agent): Promise<AuthorizeReply> {
    return this.gate.authorize(this.request(foreign, action, change, agent))
  }

  async remove(): Promise<void> {
    await this.home.remove()
    await this.away.remove()
  }
}
