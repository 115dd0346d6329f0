import {
  type Action, anchorDigest, attachSignature, Denied, type Digest, type GateState, type Governance, type JsonObject, type NoteKey, parseAuthorizeReply, parseHashes, parseShownEntry, type Entry, present, Fields, signingInput, signingKey, SingleUse,
  toBase64Url, TOKEN_BYTES, type TreeHead, utf8, type VerifiedArtifact,
  type CarriedState, type Declared, expectedSubject, type Identity, openCarried, parseRedeemReply, verifyRedeemedArtifact, verifyAncestors, verifySealedArtifact, verifyState, type Agent, type Facts, type SeenTool, type JsonValue, type WitnessQuorum,
} from '@sealwrit/protocol'
import { type Answer, readNonce, readOrEnd } from './answer.ts'
import type { MeasuredEnvironment } from './environment/measured.ts'
import { type Floor, readFloor } from './floor.ts'
import { type Held, Leases } from './leases.ts'
import { parentOf, type Placed } from './lineage.ts'
import { LogView } from './log-view.ts'
import { askedOf, type Identify } from './identity.ts'
import { askPermissible, type PermissibleQuestion } from './permissible.ts'
import { PlaneDenied } from './plane/denied.ts'
import { ANSWER_DEADLINE_MS, PlaneLink } from './plane/link.ts'
import type { HoldWait } from './held.ts'
import type { GatePorts } from './ports.ts'
import { Reporter } from './reporter.ts'
import { GateTime } from './time.ts'
import { recordTools } from './tools.ts'
import { begin, type Trace, traceparentOf } from './trace.ts'

/** How old the plane's word may be when an effect starts, in milliseconds. */
export const FRESH_MS = 2_000
/** Challenges that may be outstanding at once: one for each execution that waits for its answer. */
export const MAX_OUTSTANDING = 4_096
/** A session is opened again after this part of its time, and not more often than this, in milliseconds. */
const RENEWED_AFTER = 0.6
const MIN_RENEWAL_MS = 1_000

export interface GateOptions {
  /** Unix sockets of planes of one log; the next one is tried where one does not answer. */
  readonly socketPaths: readonly string[]
  /** The log key that this gate trusts; it never comes from the plane's answers. */
  readonly logKey: NoteKey
  /** Which cosignatures this gate asks for; like the log key it never comes from the plane. Undefined: it is not known, and nothing runs. */
  readonly witnesses: WitnessQuorum | undefined
  readonly tenant: string
  /** Undefined when it could not be measured: then nothing runs. */
  readonly environment: MeasuredEnvironment | undefined
  readonly capabilities: (obligation: string) => boolean
  /** Runs also what policy denies, where the plane observes; such executions are not governed. Absent: it enforces. */
  readonly observes?: true | undefined
}

/** What a gate is asked to let run. */
export interface GateRequest extends Placed, Declared {
  readonly action: Action
  readonly agent: Agent
  /** Looks at the machine; called once to ask and once more right before the effect. */
  readonly facts: () => Facts
  /** Follows this execution; undefined where nobody does. */
  readonly trace?: Trace | undefined
  /** An artifact that the agent carries, as it was presented; it is redeemed instead of asking for a new one. */
  readonly carried?: JsonValue
  /** The hold that this request waited for. */
  readonly hold?: string
  /** How long it may wait for an approval here; without it a hold is answered at once. */
  readonly wait?: HoldWait
  /** Asserts who asks; undefined where nobody but this gate says so. */
  readonly identify?: Identify | undefined
}

/**
 * One enforcement point: its key, its session with the plane, and what it knows of the log. It can verify and sign its
 * own accounts; it can never issue.
 */
export class Gate {
  readonly id: string
  readonly session: string
  readonly time: GateTime
  readonly reporter: Reporter
  readonly leases: Leases
  readonly #ports: GatePorts
  readonly #options: GateOptions
  readonly #challenges: SingleUse
  /** The state each artifact was verified against, for the last look. */
  readonly #governanceOf = new WeakMap<VerifiedArtifact, { readonly governance: Governance | undefined; readonly sentMs: number }>()
  #link: PlaneLink | undefined
  #connecting: Promise<PlaneLink> | undefined
  readonly #view: LogView
  #epoch: number
  /** When the session is to be opened again, on the monotonic clock. */
  #renewMs = Number.POSITIVE_INFINITY
  #sub: string | undefined
  /** Commitment of the environment that the session was opened with. */
  #enrolled: Digest | undefined
  #closed = false
  /** Which of the planes answered last. */
  #planeAt = 0

  /** @throws {Denied} `state_diverged` when the floor is of another log or cannot be read */
  constructor(options: GateOptions, ports: GatePorts) {
    this.#options = options
    this.#ports = ports
    this.id = signingKey(ports.publicKey, ports.crypto.sha256).kid
    this.session = toBase64Url(ports.rng.bytes(TOKEN_BYTES))
    this.#challenges = new SingleUse(ports.clock, ports.rng, ANSWER_DEADLINE_MS, MAX_OUTSTANDING)
    const floor: Floor | undefined = readFloor(ports.floor)
    if (floor !== undefined && floor.origin !== options.logKey.name) throw new Denied('state_diverged', 'this gate belongs to another log')
    this.#epoch = floor?.epoch ?? 0
    this.time = new GateTime(ports.clock, floor?.timeMs ?? 0)
    this.#view = new LogView(options, ports, this.time, floor)
    this.leases = new Leases(ports.clock, (jtis) => this.#renew(jtis))
    this.reporter = new Reporter(this, ports.clock)
  }

  get ports(): GatePorts {
    return this.#ports
  }
  get tenant(): string {
    return this.#options.tenant
  }
  /** What it says of the log key that it was given, when it enrols and in every receipt. */
  get anchor(): Digest {
    return anchorDigest(this.#options.logKey, this.#ports.crypto.sha256)
  }
  /** Whether it was started to run also what policy denies, where the plane observes. */
  get observes(): boolean {
    return this.#options.observes === true
  }
  get newest(): TreeHead | undefined {
    return this.#view.newest
  }
  get isConnected(): boolean {
    return this.#link?.isOpen === true
  }

  /** Connects and enrols where that is not done. @throws {Denied} `unavailable` and whatever the plane refuses with */
  async connect(): Promise<PlaneLink> {
    if (this.#closed) throw new Denied('unavailable', 'this gate is closed')
    const { environment } = this.#options
    environment?.renew?.()
    if (this.#link?.isOpen === true && this.#ports.clock.monotonicMs() < this.#renewMs && this.#enrolled === environment?.commit) return this.#link
    this.#connecting ??= this.#enrol().finally(() => {
      this.#connecting = undefined
    })
    return this.#connecting
  }

  /** Connects to the first plane that answers, beginning with the one that did last. */
  async #reach(onEnd: (link: PlaneLink) => void): Promise<PlaneLink> {
    const { socketPaths } = this.#options
    for (let tried = 0; ; tried++) {
      try {
        const link: PlaneLink = await PlaneLink.connect(socketPaths[this.#planeAt] ?? '', this.#ports.net, this.#ports.clock, () => onEnd(link), (event) => this.#told(event, link))
        return link
      } catch (error) {
        this.#tryNext()
        if (tried + 1 >= socketPaths.length) throw error
      }
    }
  }

  #tryNext(): void {
    this.#planeAt = (this.#planeAt + 1) % Math.max(1, this.#options.socketPaths.length)
  }

  async #enrol(): Promise<PlaneLink> {
    const { environment } = this.#options
    if (environment === undefined) throw new Denied('environment_unattested', 'the environment was not measured')
    this.#view.keys.refresh(this.#ports.clock.monotonicMs())
    // A session that is due is opened again on the connection that is there.
    const link = this.#link?.isOpen === true ? this.#link : await this.#reach((ended) => {
      if (this.#link !== ended) return
      this.#link = undefined
      this.#tryNext()
    })
    try {
      const { commit, level, salt, document, attestation } = environment
      const params = present<JsonObject>({
        key: toBase64Url(this.#ports.publicKey),
        session: this.session,
        proof: this.sign('gate-proof+jwt', { aud: this.#options.logKey.name, session: this.session, nonce: await link.request('nonce', {}, readNonce) }),
        environment: present<JsonObject>({ commit, level, salt, document, attestation }),
        anchor: this.anchor,
        floor: this.#view.newest?.size,
        checkpoint: this.#view.keptNote,
      })
      await link.request('gates.enrol', params, (value) => {
        const fields = new Fields(value, 'request_malformed', 'enrolment')
        const sealed = fields.value('sealed')
        const consistency = parseHashes(fields, 'consistency')
        const keys = fields.optional('keys', (name) => fields.value(name)) ?? []
        const sub = fields.text('sub')
        const epoch = fields.integer('epoch')
        fields.end()
        if (!Array.isArray(keys)) throw new Denied('request_malformed', 'enrolment: keys')
        this.#verifyEnrolment(this.#view.open(sealed, consistency, keys))
        if (epoch < this.#epoch) throw new Denied('policy_rollback', 'the plane shows an older policy epoch')
        this.#epoch = epoch
        this.#sub = sub
        this.#enrolled = commit
      })
    } catch (error) {
      this.#view.keys.failed(error)
      this.#tryNext()
      link.close()
      throw error
    }
    this.#link = link
    this.saveFloor()
    this.reporter.flush()
    return link
  }

  #verifyEnrolment(entry: Entry): void {
    if (entry.kind !== 'gate' || entry.gate !== this.id || entry.session !== this.session) throw new Denied('identity_invalid', 'the plane enrolled another gate')
    this.#renewMs = entry.expires === undefined ? Number.POSITIVE_INFINITY : this.#ports.clock.monotonicMs() + Math.max(MIN_RENEWAL_MS, (entry.expires * 1_000 - this.time.nowMs()) * RENEWED_AFTER)
  }

  /** What the plane tells unasked: revocations, kills and policies, each with its proof. What cannot be placed ends the connection. */
  #told(event: JsonValue, link: PlaneLink): void {
    try {
      const { sealed, consistency } = parseShownEntry(event)
      const entry = this.#view.open(sealed, consistency)
      if (entry.kind === 'revocation' || entry.kind === 'kill') this.leases.prohibit(entry)
      else if (entry.kind === 'policy') this.#epoch = Math.max(this.#epoch, entry.epoch)
      else if (entry.kind === 'key') this.saveFloor() // its key was taken with it
      else throw new Denied('type_mismatch', 'no event is of this kind')
      void link.request('events.ack', { session: this.session, seq: entry.seq }, () => undefined).catch(() => undefined)
    } catch {
      link.close()
    }
  }

  /** One renewal for all that runs. @throws {Denied} where there is no answer that proves it */
  async #renew(jtis: readonly string[]): Promise<ReadonlySet<string>> {
    const link = await this.connect()
    const nonce = toBase64Url(this.#ports.rng.bytes(TOKEN_BYTES))
    return link.request('leases.renew', { session: this.session, nonce, jtis }, (value) => {
      const { sealed, consistency } = readOrEnd(() => parseShownEntry(value), link)
      const entry = readOrEnd(() => this.#view.open(sealed, consistency), link)
      if (entry.kind !== 'lease' || entry.gate !== this.id || entry.session !== this.session || entry.nonce !== nonce) throw new Denied('challenge_mismatch', 'the lease is not the one that was asked for')
      return new Set(entry.jtis)
    })
  }

  /**
   * Asks the plane for an artifact that answers this gate's challenge.
   * @throws {Denied} the plane's denial, or the first check that fails
   */
  async authorize(request: GateRequest): Promise<VerifiedArtifact> {
    const { action, agent, hold, parent, delegates, foreign, intent, purpose_text } = request
    const params = (): object => present<object>({ action, agent, environment: this.#options.environment?.commit, facts: request.facts(), hold, parent, delegates, foreign, intent, purpose_text, observe: this.#options.observes } as object)
    return this.#ask('authorize', params, request, (value) => {
      const reply = parseAuthorizeReply(value)
      if (reply.decision === 'deny') throw new PlaneDenied(reply.code, reply.seq)
      if (reply.decision === 'hold') throw new PlaneDenied('approval_required', reply.seq, reply.hold)
      return { sealed: reply.sealed, consistency: reply.consistency, verify: (state) => verifySealedArtifact(reply.sealed, state) }
    })
  }

  /**
   * Has the plane spend an artifact that the agent carries, for this gate's challenge.
   * @throws {Denied} what the plane refuses with, or the first check that fails
   */
  async redeem(carried: JsonValue, request: GateRequest): Promise<VerifiedArtifact> {
    let entry = ''
    const look = (identity: Identity | undefined): object => {
      entry = openCarried(carried, this.#known(request, identity))
      // Nobody had looked when the policies were asked: what a path prohibition would have stopped does not run.
      if (request.facts().paths === 'outside') throw new Denied('environment_mismatch', 'a path leads outside, which no policy has seen')
      return { artifact: carried }
    }
    return this.#ask('redeem', look, request, (value) => {
      const reply = parseRedeemReply(value)
      return { sealed: reply.redemption, consistency: reply.consistency, verify: (state) => verifyRedeemedArtifact(reply, entry, state) }
    })
  }

  /**
   * Asks the plane, and verifies its answer in the very turn in which it arrives, so that checkpoints are met in the order
   * in which the plane proved them.
   */
  async #ask(method: 'authorize' | 'redeem', paramsFor: (identity: Identity | undefined) => object, request: GateRequest, read: (value: JsonValue) => Answer): Promise<VerifiedArtifact> {
    const link = await this.connect()
    this.saveFloor()
    const challenge = this.#challenges.draw()
    if (challenge === undefined) throw new Denied('overloaded', 'too many executions wait for their answer')
    const traceparent = traceparentOf(request.trace)
    try {
      const identity = await request.identify?.(askedOf(request.action, request.agent, this.id, challenge, this.#options.logKey.name, this.#ports.crypto.sha256))
      const params = { ...paramsFor(identity), ...(identity === undefined ? {} : { identity }) }
      const sentMs = this.#ports.clock.monotonicMs()
      return await link.request(method, { ...params, session: this.session, challenge, ...(traceparent === undefined || method !== 'authorize' ? {} : { traceparent }) } as unknown as JsonValue, (value) => {
        const { sealed, consistency, verify } = readOrEnd(() => read(value), link)
        const known = this.#view.newestNote
        const verified = begin(request.trace, 'verify')
        try {
          const state = this.#state(request, identity, challenge, consistency, sentMs)
          const artifact = verify(state)
          this.#governanceOf.set(artifact, { governance: state.governance, sentMs })
          verified()
          return artifact
        } catch (error) {
          verified(error instanceof Denied ? error.code : 'unavailable')
          this.#view.keys.failed(error)
          // Its checkpoint was not taken, so the next proof on this connection would hang in the air: begin anew from the floor.
          if (this.#view.newestNote === known && !this.#view.isCarriedBy(sealed)) link.close()
          throw error
        }
      })
    } finally {
      this.#challenges.take(challenge) // gone at the latest now, whatever happened
    }
  }

  /** Tells the plane what a server lists, and answers with what is pinned of it. @throws {Denied} `unavailable` */
  recordTools(target: string, tools: readonly SeenTool[]): Promise<ReadonlyMap<string, Digest>> {
    return recordTools({ session: this.session, target, tools }, () => this.connect())
  }

  async permissible(question: PermissibleQuestion): Promise<readonly boolean[]> {
    if (this.observes) return question.scopes.map(() => true) // what is asked for is judged, and marked
    return askPermissible(question, await this.connect(), { session: this.session, gate: this.id, origin: this.#options.logKey.name, rng: this.#ports.rng, sha256: this.#ports.crypto.sha256 })
  }

  #state(request: GateRequest, identity: Identity | undefined, challenge: string, consistency: readonly Uint8Array[], sentMs: number): GateState {
    const { environment, capabilities, observes } = this.#options
    return {
      ...this.#known(request, identity),
      consistency,
      declared: request.carried === undefined || request.intent !== undefined ? { intent: request.intent } : undefined,
      accept: (checkpoint, note) => this.#view.accept(checkpoint, note),
      takeChallenge: (shown) => shown === challenge && this.#challenges.take(shown),
      governance: this.#governance(sentMs),
      measureEnvironment: environment === undefined ? undefined : () => environment.measure(),
      capabilities,
      observes,
      lineage: request.carried === undefined ? { parent: parentOf(request, this.#ports.crypto.sha256) } : 'as carried',
    }
  }

  #known({ action, agent }: GateRequest, identity: Identity | undefined): CarriedState {
    const { logKey, witnesses, tenant } = this.#options
    return {
      crypto: this.#ports.crypto,
      logKey: this.#view.keys.ring,
      witnesses,
      tenant,
      gateId: this.id,
      newest: this.#view.newest,
      newestNote: this.#view.newestNote,
      nowSeconds: Math.floor(this.time.nowMs() / 1_000),
      subject: this.#sub === undefined ? undefined : expectedSubject(identity, { sub: this.#sub, act: { sub: `agent:${agent.name}`, verified: agent.verified } }, logKey.name, this.#ports.crypto.sha256),
      action,
    }
  }

  /** A pull permit is fresh state for its own index, counted from when the request was sent. */
  #governance(sentMs: number): Governance {
    return {
      epochFloor: this.#epoch,
      isFresh: () => this.#ports.clock.monotonicMs() - sentMs < FRESH_MS,
      isRevoked: (permit) => this.leases.prohibition(permit) === 'revoked',
      isKilled: (permit) => this.leases.prohibition(permit) === 'killed',
      isAncestorRevoked: (permit) => this.leases.prohibition(permit) === 'ancestor_revoked',
    }
  }

  /**
   * The last look, synchronously before the effect: time, state, kill, environment and facts once more.
   * @throws {Denied} `artifact_expired`, `clock_rollback`, `state_stale`, `revoked`, `killed`, `ancestor_revoked`, `environment_mismatch`
   */
  lookOnceMore(artifact: VerifiedArtifact, request: GateRequest, askedFacts: Facts): void {
    const { permit } = artifact
    if (Math.floor(this.time.nowMs() / 1_000) >= permit.exp) throw new Denied('artifact_expired')
    const governance = this.#governanceOf.get(artifact)?.governance
    verifyState(permit, governance)
    verifyAncestors(permit, governance)
    if (this.#options.environment?.measure() !== permit.env.commit) throw new Denied('environment_mismatch')
    if (request.facts().paths !== askedFacts.paths) throw new Denied('environment_mismatch', 'a path leads elsewhere now')
    if (permit.policy.epoch > this.#epoch) this.#epoch = permit.policy.epoch
  }

  /** Takes a verified execution under its lease, which counts from when its permit was asked for. */
  hold(artifact: VerifiedArtifact): Held {
    return this.leases.hold(artifact.permit, this.#governanceOf.get(artifact)?.sentMs ?? Number.NEGATIVE_INFINITY)
  }

  /** Signs `claims` as this gate. */
  sign(typ: 'execution-receipt+jwt' | 'execution-denial+jwt' | 'gate-proof+jwt', claims: JsonObject): string {
    const input = signingInput(typ, this.id, claims)
    return attachSignature(input, this.#ports.sign(utf8(input)))
  }

  /** Remembers the newest checkpoint, at most once a second. @throws {Denied} `evidence_unavailable` when it cannot be written */
  saveFloor(): void {
    this.#view.save(this.#epoch)
  }

  close(): void {
    this.#closed = true
    this.#link?.close()
    this.#view.save(this.#epoch, true)
  }
}
