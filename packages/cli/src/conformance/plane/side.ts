import { nodeClock, nodeCryptography } from '@sealwrit/gate'
import {
  type Action, actionDigest, canonicalText, type Checkpoint, Denied, digestOf, type Entry, isObject, type JsonObject, type JsonValue, leafDigest, leafHash, type NoteKey, parseEntry, parseSealed, type Permit, type SignedType, utf8, verifyCheckpoint, verifyExtends,
  verifyInclusion, fromBase64,
} from '@sealwrit/protocol'
import { memberText } from '../../output.ts'
import { CANARY_TOOLS } from '../../doctor/canary-tools.ts'
import { changed, type Values } from '../change.ts'
import type { PlaneDo } from '../rules.ts'
import { valuesWith } from '../values.ts'
import { Actor, type Given, token } from './actor.ts'
import type { As, PlaneWire, Reply, Wrong } from './wire.ts'

const { sha256 } = nodeCryptography

/** What is asked for, and by whom, where a policy permits it. */
export interface Control {
  readonly action: Action
  readonly agent: string
}

/** A permit as it came, with its seal. */
export interface Sealed extends Given {
  readonly permit: Permit
  readonly sealed: JsonObject
}

/** A request that is as it must be: what is wrong with it comes later. */
export interface Request {
  readonly method: string
  readonly params: JsonObject
  /** What is signed in it, and where it stands. */
  readonly jws?: { readonly at: string; readonly by: Actor; readonly typ: SignedType; readonly claims: JsonObject }
}

/** The tool that a plane with the starter policies permits, with its definition as the canary has it. */
export const CANARY: { readonly target: string; readonly name: string; readonly definition: string; readonly digest: string } = ((): { target: string; name: string; definition: string; digest: string } => {
  const definition = canonicalText(CANARY_TOOLS[0] as unknown as JsonObject)
  return { target: 'mcp://doctor', name: 'touch', definition, digest: digestOf(utf8(definition), sha256) }
})()

/** Everything that the runner is to a plane: two gates, whoever asks without being one, and an agent with a key. */
export class PlaneSide {
  readonly wire: PlaneWire
  readonly gate: Actor
  readonly other: Actor
  readonly agentKey: Actor
  readonly agentName: string = `conformance-${token().replaceAll('_', '-')}`
  control: Control
  origin = ''
  tenant = ''
  /** Size of the log when the run began. */
  firstSize = 0
  /** Sealed entries that verified, and what did not. */
  verified = 0
  readonly problems: string[] = []
  /** Permits that were given, by `jti`; and those that have their ending. */
  readonly given: Map<string, Sealed> = new Map()
  readonly ended: Set<string> = new Set()
  /** Codes of denials, by the index at which the plane says that they stand. */
  readonly denied: Map<number, string> = new Map()
  readonly #logKey: NoteKey | undefined
  readonly #newest = new Map<As, Checkpoint>()
  readonly values: Values
  #hasAgent = false

  constructor(wire: PlaneWire, control: Control, logKey: NoteKey | undefined, folder: string) {
    this.wire = wire
    wire.told = (as, event) => this.#look(as, 'event', event)
    this.control = control
    this.#logKey = logKey
    this.gate = new Actor(folder, 'gate')
    this.other = new Actor(folder, 'other')
    this.agentKey = new Actor(folder, 'agent')
    this.values = valuesWith((name) => ({ 'gate.id': this.gate.id, 'gate.key': this.gate.key, 'other.id': this.other.id, 'gate.session': this.gate.session, 'other.session': this.other.session, origin: this.origin, tenant: this.tenant, agent: this.agentName })[name])
  }

  get judges(): boolean {
    return this.#logKey !== undefined
  }

  actor(as: As): Actor {
    return as === 'other gate' ? this.other : this.gate
  }

  /** Asks, and looks at what is sealed in the answer. */
  async ask(as: As, method: string, params: JsonObject, wrong?: Wrong): Promise<Reply> {
    const reply = await this.wire.ask(as, method, params, this.#newest.get(as)?.size ?? 0, wrong)
    if ('result' in reply) this.#look(as, method, reply.result)
    return reply
  }

  /** As {@link PlaneSide.ask}, for what must be answered. @throws {Denied} where it is not */
  async must(as: As, method: string, params: JsonObject): Promise<JsonObject> {
    const reply = await this.ask(as, method, params)
    if ('refused' in reply) throw new Denied('unavailable', `${method} was refused: ${reply.refused === '' ? 'no code' : reply.refused}`)
    return reply.result
  }

  #look(as: As, method: string, result: JsonObject): void {
    const { seq, code } = result
    if (method === 'authorize' && result['decision'] === 'deny' && typeof seq === 'number') this.denied.set(seq, memberText(code))
    const consistency = result['consistency']
    const first = result['sealed'] ?? result['redemption']
    if (first === undefined) return
    try {
      const entry = this.#verify(as, first, Array.isArray(consistency) ? (consistency as string[]) : [])
      if (result['redemption'] !== undefined) this.#verify(as, result['artifact'] as JsonValue, [])
      const sealed = first as JsonObject
      if (entry.kind === 'permit') this.given.set(entry.jti, { jti: entry.jti, leaf: leafDigest(leafHash(utf8(sealed['entry'] as string), sha256)), permit: entry, sealed })
    } catch (error) {
      this.problems.push(`${method}: ${error instanceof Error ? error.message : 'cannot be read'}`)
      this.#newest.delete(as) // what comes next cannot hang on it; a gate would begin anew
      this.wire.drop(as)
    }
  }

  #verify(as: As, sealed: JsonValue, consistency: readonly string[]): Entry {
    const { entry, proof } = parseSealed(sealed)
    if (this.#logKey !== undefined) {
      const newest = this.#newest.get(as)
      const checkpoint = verifyCheckpoint(proof.checkpoint, this.#logKey, nodeCryptography)
      verifyExtends(newest, checkpoint, consistency.map(fromBase64), nodeCryptography)
      verifyInclusion({ index: proof.index, size: checkpoint.size, leaf: leafHash(utf8(entry), sha256), root: checkpoint.root, proof: proof.hashes }, sha256)
      this.#newest.set(as, checkpoint)
      this.verified++
    }
    const read = parseEntry(entry)
    if (read.seq !== proof.index) throw new Denied('seal_invalid', 'seq is not the leaf index')
    return read
  }

  /** Opens a session of a gate, on its connection. @throws {Denied} */
  async open(as: 'gate' | 'other gate'): Promise<void> {
    this.#newest.delete(as)
    this.wire.drop(as)
    const { method, params, jws } = await this.request('gates.enrol', as)
    await this.must(as, method, signed(params, jws))
  }

  /** The canary's tool is known and pinned, as it is or as somebody pinned it before. @throws {Denied} */
  async pinCanary(): Promise<void> {
    const { target, name, definition, digest } = CANARY
    const { tools } = await this.must('gate', 'tools.record', { session: this.gate.session, target, tools: [{ name, digest, definition }] })
    const [tool] = tools as readonly JsonObject[]
    if (tool?.['pinned'] === undefined) await this.must('asker', 'tools.pin', { target, tools: [{ name, digest }] })
    else this.control = { ...this.control, action: { ...this.control.action, tool_digest: tool['pinned'] } as Action }
  }

  /** Asks for the control's permit. @throws {Denied} where there is none */
  async permit(change: JsonObject = {}, as: 'gate' | 'other gate' = 'gate'): Promise<Sealed> {
    const result = await this.must(as, 'authorize', { ...this.#authorize(this.actor(as)), ...change })
    return this.#givenIn(result)
  }

  /** Has an artifact issued that is carried to the gate. @throws {Denied} */
  async issue(change: JsonObject = {}): Promise<Sealed> {
    return this.#givenIn(await this.must('asker', 'issue', { ...this.#issue(), ...change }))
  }

  #givenIn(result: JsonObject): Sealed {
    const { decision, code, sealed } = result
    if (decision !== 'permit' || !isObject(sealed)) throw new Denied('unavailable', `what is permitted was not: ${memberText(code ?? decision)}`)
    const entry = parseEntry(memberText(sealed['entry']))
    const found = entry.kind === 'permit' ? this.given.get(entry.jti) : undefined
    if (found === undefined) throw new Denied('unavailable', this.problems.at(-1) ?? 'the permit cannot be read')
    return found
  }

  /** Reports the end of what was given to a gate; what fails is said by the accounts. */
  async settle(): Promise<void> {
    for (const { jti, leaf, permit } of this.given.values()) {
      if (this.ended.has(jti) || permit.use === 'redeem') continue
      const as = permit.aud === this.other.id ? 'other gate' : 'gate'
      const actor = this.actor(as)
      const reply = await this.ask(as, 'receipts', { session: actor.session, receipt: actor.sign('execution-receipt+jwt', actor.receiptClaims({ jti, leaf }, this.tenant)) })
      if ('result' in reply) this.ended.add(jti)
      else actor.receiptRefused()
    }
  }

  /** A request of `as` that is as it must be. @throws {Denied} where what it needs is refused */
  async request(ask: string, as: As): Promise<Request> {
    const actor = this.actor(as)
    const session = actor.session
    switch (ask) {
      case 'gates.enrol': {
        const { nonce, origin } = await this.must(as, 'nonce', {})
        const { typ, claims } = actor.enrolment(memberText(origin), memberText(nonce))
        return { method: ask, params: { key: actor.key, session, proof: '', environment: actor.environment }, jws: { at: '/proof', by: actor, typ, claims } }
      }
      case 'authorize':
        return { method: ask, params: this.#authorize(actor) }
      case 'authorize as agent':
        return this.#asAgent(actor)
      case 'issue':
        return { method: ask, params: this.#issue() }
      case 'redeem':
        return { method: ask, params: { session, artifact: (await this.issue()).sealed, challenge: token() } }
      case 'receipts':
        return { method: ask, params: { session, receipt: '' }, jws: { at: '/receipt', by: actor, typ: 'execution-receipt+jwt', claims: actor.receiptClaims(await this.permit(), this.tenant) } }
      case 'denials':
        return { method: ask, params: { session, denial: '' }, jws: { at: '/denial', by: actor, typ: 'execution-denial+jwt', claims: actor.denialClaims(this.tenant) } }
      case 'leases.renew':
        return { method: ask, params: { session, nonce: token(), jtis: [(await this.permit()).jti] } }
      case 'tools.record':
        return { method: ask, params: { session, target: CANARY.target, tools: [{ name: CANARY.name, digest: CANARY.digest }] } }
      case 'kill':
      case 'revoke':
        return { method: ask, params: { selector: `artifact:${token()}` } }
      default:
        return { method: ask, params: {} }
    }
  }

  #authorize(actor: Actor): JsonObject {
    const { action, agent } = this.control
    return { session: actor.session, challenge: token(), action: action as unknown as JsonObject, agent: { name: agent, verified: true }, environment: actor.environment['commit'] as string, facts: { paths: 'none' } }
  }

  #issue(): JsonObject {
    const { action, agent } = this.control
    return { action: action as unknown as JsonObject, agent: { name: agent, verified: true }, audience: this.gate.id, form: 'redeem', seconds: 60 }
  }

  /** A registered agent that proves itself. */
  async #asAgent(actor: Actor): Promise<Request> {
    if (!this.#hasAgent) await this.must('asker', 'agents.add', { agent: this.agentName, key: this.agentKey.key })
    this.#hasAgent = true
    const params = { ...this.#authorize(actor), agent: { name: this.agentName, verified: true }, identity: { form: 'agent-key', proof: '' } }
    const claims = { aud: this.origin, agent: this.agentName, gate: actor.id, challenge: (params as JsonObject)['challenge'] as string, action_digest: actionDigest(this.control.action, sha256), iat: Math.floor(nodeClock.wallMs() / 1_000) }
    return { method: 'authorize', params, jws: { at: '/identity/proof', by: this.agentKey, typ: 'agent-proof+jwt', claims } }
  }

  /** Takes back what was registered for the run. */
  async leave(): Promise<void> {
    if (this.#hasAgent) await this.ask('asker', 'agents.remove', { agent: this.agentName })
    this.wire.close()
  }

  /** What a rule asks for, made wrong as it says. @throws {Denied} */
  async wrong(how: PlaneDo): Promise<{ readonly method: string; readonly params: JsonObject }> {
    const { method, params, jws } = await this.request(how.ask, how.as)
    const by = how.signer === undefined ? jws?.by : how.signer === 'gate' ? this.gate : this.other
    const made = jws === undefined ? params : signed(params, { ...jws, by: by ?? jws.by, typ: (how.typ ?? jws.typ) as SignedType, claims: how.claims === undefined ? jws.claims : (changed(jws.claims, how.claims, this.values) as JsonObject) })
    return { method, params: how.change === undefined ? made : (changed(made, how.change, this.values) as JsonObject) }
  }
}

function signed(params: JsonObject, jws: Request['jws']): JsonObject {
  return jws === undefined ? params : (changed(params, { set: { [jws.at]: jws.by.sign(jws.typ, jws.claims) } }, () => '') as JsonObject)
}
