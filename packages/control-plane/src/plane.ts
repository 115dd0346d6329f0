import {
  type AuthorizeReply, type AuthorizeRequest, Denied, type DenialCode, type DenialRequest, type EnrolRequest, type IssueRequest, type Facts, parseStrictText, keyMembers, type Action, actionDigest, permissibleDigest, type PermissibleRequest, scopesOf,
  type Permit, type ReceiptRequest, type RedeemReply, type RedeemRequest, type RenewReply, type RenewRequest, type SealedEntry, toBase64, toBase64Url, utf8,
} from '@sealwrit/protocol'
import { Anchors, type AnchorsOptions } from './anchor/anchors.ts'
import type { Asking, Seeking, SoughtFor } from './asking.ts'
import { authorize, type Caller, refuseUndecided } from './authorize/authorize.ts'
import { assuranceRefusal } from './authorize/assured.ts'
import { inForm } from './authorize/export.ts'
import { findParent, placeSeen } from './authorize/parent.ts'
import { type Decision, knewOfFederation } from './decide/decide.ts'
import { recordedInput } from './decide/replay.ts'
import type { DecisionInput } from './decide/mapping.ts'
import type { PolicySet } from './decide/policy-set.ts'
import { decideBeside } from './decide/shadow.ts'
import { completeErasures, erase, type Erasure, leafAt, selected, watchRetention } from './govern/erasure.ts'
import { Environments, type Situated } from './govern/environments.ts'
import { Events } from './govern/events.ts'
import { type AttestationTrust, type VerifyBundle, verifyAttestation } from './govern/attestation.ts'
import { type Attest, enrolGate } from './govern/gates.ts'
import { Federation } from './govern/federation.ts'
import { Keys } from './govern/keys.ts'
import { renew } from './govern/leases.ts'
import { Accounts } from './govern/accounts.ts'
import { Registry } from './govern/registry.ts'
import { Stops } from './govern/stops.ts'
import { activate, type ActivationAnswer, type ActivationRequest } from './govern/activation.ts'
import { Policies, policyFiles, type PolicyRules, watchStaged } from './govern/policies.ts'
import { Assessments } from './govern/assessments.ts'
import { Tools } from './govern/tools.ts'
import type { Notices } from './govern/notices.ts'
import { People } from './govern/people.ts'
import { Attempts } from './identify/attempts.ts'
import { type IdentityConfig, NAMED_AGENTS } from './identify/configuration.ts'
import { Directory } from './identify/directory.ts'
import { Identifier, type KeyLoader } from './identify/identifier.ts'
import { agentOf, type Initiator } from './identify/initiator.ts'
import { Nonces } from './identify/nonces.ts'
import { type PasswordCost, Passwords } from './identify/password.ts'
import { watchIndex } from './log/executions.ts'
import { LogDamaged } from './log/history.ts'
import { keyStatements } from './log/sealed-keys.ts'
import { Sequencer } from './log/sequencer.ts'
import { show, type Shown } from './log/shown.ts'
import { isEnded, type OpenPermit } from './log/state.ts'
import type { WitnessOptions } from './log/witnesses.ts'
import { type Metrics, NO_METRICS, type PlanePorts } from './ports.ts'
import { watchEndings } from './prove/endings.ts'
import { recordDenial, recordReceipt } from './prove/receipts.ts'
import { ExecutionIndex } from './prove/execution-index.ts'
import { Reader } from './prove/reader.ts'
import { type RecordedRequest, recordedRequests } from './prove/requests.ts'
import { redeem } from './redeem/redeem.ts'
import { StoreFailure } from './store/store.ts'

export interface PlaneOptions {
  readonly tenant: string
  /** The person or team that answers for what runs; an opaque id. */
  readonly owner: string | undefined
  /** Names the local user of the socket, for the principal; hashed into an opaque id. */
  readonly localUser: string
  /** Whether a new log may begin here; false where the log key is in use already. */
  readonly isNew: boolean
  /** Bodies older than this are erased, milliseconds; undefined keeps them. */
  readonly retentionMs?: number | undefined
  /** Distinct people whose word it takes to lift a kill; 1 where it is not given. */
  readonly liftQuorum?: number | undefined
  /** Where checkpoints are anchored; nowhere without it. */
  readonly anchors?: AnchorsOptions
  /** Whom holds are told to; nobody where it is not given. */
  readonly notices?: Notices | undefined
  /** Who cosigns checkpoints before they are shown; nobody where it is not given. */
  readonly witnesses?: WitnessOptions | undefined
  /** Whom the plane believes to be whom, and how it reads their keys; without it agents are who their gates say. */
  readonly identity?: { readonly config: IdentityConfig; readonly loader: KeyLoader } | undefined
  /** What a password costs to try; as much as is usual where it is not given. */
  readonly passwordCost?: PasswordCost
  /** Whose signed statements raise the environment of a gate, and what verifies them; without it none does. */
  readonly attestations?: { readonly rules: readonly AttestationTrust[]; readonly verify: VerifyBundle } | undefined
  /** When a policy set comes into force, and which may. */
  readonly policyRules?: PolicyRules | undefined
}

const NO_KEYS: KeyLoader = () => () => Promise.reject(new TypeError('no issuer is configured'))

/**
 * The control plane: composes the stages of the flow. Nothing else knows all of them.
 * decide → authorize → (the gate executes) → prove, and govern beside them.
 */
export class Plane {
  readonly log: Sequencer
  readonly reader: Reader
  readonly anchors: Anchors
  readonly events: Events
  readonly people: People
  readonly registry: Registry
  readonly accounts: Accounts
  readonly stops: Stops
  readonly tools: Tools
  readonly assessments: Assessments
  readonly keys: Keys
  readonly federation: Federation
  readonly identifier: Identifier
  readonly metrics: Metrics
  readonly policies: Policies
  readonly #ports: PlanePorts
  readonly #sub: string
  readonly #owner: string
  readonly #directory: Directory
  readonly #environments: Environments
  readonly #nonces: Nonces
  readonly #attest: Attest
  readonly #stopWatching: (() => void)[]

  private constructor(log: Sequencer, index: ExecutionIndex, ports: PlanePorts, policies: Policies, options: PlaneOptions) {
    this.log = log
    this.#ports = ports
    this.metrics = ports.metrics ?? NO_METRICS
    this.policies = policies
    this.#sub = `user:${toBase64Url(ports.crypto.sha256(utf8(`${log.origin}\n${options.localUser}`)).subarray(0, 16))}`
    this.#owner = options.owner ?? this.#sub
    const { config, loader } = options.identity ?? { config: NAMED_AGENTS, loader: NO_KEYS }
    this.identifier = new Identifier(config, loader, { clock: ports.clock, crypto: ports.crypto, origin: log.origin })
    this.#directory = new Directory(ports.store)
    this.#environments = new Environments(log, ports.store, ports.crypto.sha256)
    this.#nonces = new Nonces(ports.clock, ports.rng)
    const { rules, verify } = options.attestations ?? { rules: [], verify: () => Promise.reject(new TypeError('nothing is trusted')) }
    this.#attest = (bundle, document) => verifyAttestation(bundle, document, rules, verify)
    this.reader = new Reader(log, ports, (digest) => policyFiles(digest, ports.store), index)
    this.registry = new Registry(log, ports, this.#directory, this.#owner)
    this.accounts = new Accounts(log, ports, { names: this.#directory, passwords: new Passwords(ports.rng, options.passwordCost), attempts: new Attempts(ports.clock) })
    this.events = new Events(log, ports.clock, ports.store.isShared)
    this.keys = new Keys(log, ports)
    this.tools = new Tools(log, ports)
    this.assessments = new Assessments(log)
    this.stops = new Stops(log, this.events, options.liftQuorum ?? 1)
    this.federation = new Federation(log, ports)
    this.people = new People(log, ports, this.#owner, this.federation, options.notices)
    this.#stopWatching = [watchEndings(log, ports.clock), watchIndex(log, ports.store, ports.clock), () => this.events.close(), () => this.accounts.close(), () => this.keys.close(), watchStaged(policies, (ms, run) => ports.clock.after(ms, run))]
    if (options.retentionMs !== undefined) this.#stopWatching.push(watchRetention(options.retentionMs, log, ports.store, ports.clock))
    this.anchors = new Anchors(log, ports, options.anchors ?? { sinks: [], intervalMs: Number.POSITIVE_INFINITY, report: () => undefined })
  }

  /**
   * Reads the log back, or begins it where it is new, and activates the policy set where `options.policyRules` say so.
   * @throws {LogDamaged | PolicyError}
   */
  static async open(ports: PlanePorts, policies: PolicySet | undefined, options: PlaneOptions): Promise<Plane> {
    const index = new ExecutionIndex()
    const log = await Sequencer.open(ports, options.tenant, (entry) => index.take(entry))
    if (log.size === 0) {
      if (!options.isNew) throw new LogDamaged('it is empty, while its log key has signed a log before')
      await log.ensure((state) => (state.timeMs > 0 ? undefined : { body: { kind: 'key', purpose: 'log', event: 'created', ...keyMembers(ports.logKey.key) }, bodies: [] }))
    }
    // A closed log can be read and asked, and takes nothing.
    if (log.stopped === undefined) await completeErasures(log, ports.store)
    const opened = await Policies.open(policies, log, ports, options.policyRules ?? {})
    if (log.stopped === undefined && options.witnesses !== undefined && options.witnesses.policy.quorum.kind !== 'none') log.witnessedBy(options.witnesses)
    return new Plane(log, index, ports, opened, options)
  }

  get sub(): string {
    return this.#sub
  }
  get epoch(): number {
    return this.policies.epoch
  }
  /** This plane's clock, milliseconds since 1970. */
  get nowMs(): number {
    return this.#ports.clock.wallMs()
  }

  /** A nonce that a gate signs to enrol, and an agent to have an artifact issued. @throws {Denied} `overloaded` */
  nonce(): string {
    return this.#nonces.give()
  }

  async enrol(request: EnrolRequest, shown: Shown): Promise<{ sealed: SealedEntry; consistency: string[]; sub: string; epoch: number; keys?: readonly SealedEntry[] }> {
    if (request.checkpoint !== undefined) await this.#recall(request.checkpoint)
    const { session } = await enrolGate(request, this.log, this.#ports, (nonce) => this.#nonces.take(nonce), this.#attest)
    const statements = await keyStatements(this.log)
    return this.log.sealed(Math.max(session.seq + 1, request.floor ?? 0, shown.size), (head) => {
      const keys = statements.filter(({ seq }) => seq < head.size).map((statement) => this.log.seal(statement, head))
      const sealed = this.log.seal(session, head)
      const consistency = this.log.extends(shown.size > 0 ? shown.size : (request.floor ?? 0), head).map(toBase64) // on a connection that was shown more, from there
      return show(shown, head.size, { sealed, consistency, sub: this.#sub, epoch: this.epoch, ...(keys.length === 0 ? {} : { keys }) })
    })
  }

  /** What a gate remembers of the log counts where this log key signed it, and is nothing else. */
  async #recall(note: string): Promise<void> {
    try {
      await this.log.recall(note)
    } catch (error) {
      if (!(error instanceof Denied)) throw error
    }
  }

  /** identify → decide → authorize: one request travels in one direction. @throws {Denied} */
  async authorize(request: AuthorizeRequest, gate: string, shown: Shown): Promise<AuthorizeReply> {
    const { clock, tracing } = this.#ports
    const fromMs = clock.monotonicMs()
    const ended = tracing?.authorizing({ type: request.action.type, gate, traceparent: request.traceparent })
    try {
      const reply = await this.#seek(request, request.facts, { gate, session: request.session, challenge: request.challenge }, shown).catch(unreadable)
      ended?.(reply)
      return reply
    } catch (error) {
      ended?.({ decision: 'deny', code: error instanceof Denied ? error.code : 'unavailable' })
      throw error
    } finally {
      this.metrics.authorized(clock.monotonicMs() - fromMs)
    }
  }

  /** identify → decide → authorize, for what is asked for here and what is carried. */
  async #seek(request: AuthorizeRequest | IssueRequest, facts: Facts, to: SoughtFor, shown: Shown): Promise<AuthorizeReply> {
    const { gate, session } = to
    const initiator = await this.#identify(request, gate, to.challenge, to.first)
    const refuse = (code: DenialCode, caller: Pick<Caller, 'gate' | 'sub' | 'act'>): Promise<AuthorizeReply> => refuseUndecided(code, request, caller, this.log, this.#ports, shown)
    if (initiator instanceof Denied) return refuse(initiator.code, this.#unidentified(request, gate))
    const from = await this.federation.descent(request, initiator, to.isForPlane === true ? gate : undefined)
    if (from instanceof Denied) return refuse(from.code, { gate, ...initiator })
    const { foreign, sub } = from
    if (foreign !== undefined) await this.#directory.remember(sub, { iss: foreign.plane.key.name, name: foreign.entry.sub })
    const situated = await this.#environments.of(gate, request.action.target)
    const caller = { ...this.#caller({ ...initiator, sub }, gate, session, situated), foreign, isForPlane: to.isForPlane }
    const parent = request.parent === undefined ? undefined : await findParent(request.parent, this.log, this.#ports)
    if (typeof parent === 'string') return refuse(parent, caller)
    const lineage = from.lineage ?? placeSeen(parent, request.delegates, Math.floor(this.nowMs / 1_000))
    const decision = await this.#decide({ ...this.#input({ ...request, facts }, situated.environment, { ...initiator, sub }), lineage, federation: from.context })
    if (decision.kind !== 'deny' && !knewOfFederation(decision)) return refuse('policy_no_match', caller)
    const reply = await authorize(decision, request, { ...caller, parent }, this.log, this.#ports, shown)
    if (reply.decision === 'hold' && request.hold === undefined) void this.people.tell(reply.hold, 'opened')
    return reply
  }

  /** Who asks; the denial where that is not who it says. @throws {Denied} what has nothing to do with who it is */
  async #identify({ identity, action, agent }: Seeking, gate: string, challenge: string | undefined, first: () => void = () => undefined): Promise<Initiator | Denied> {
    try {
      first()
      const { sha256 } = this.#ports.crypto
      const initiator = await this.identifier.identify(identity, { agent, gate, challenge, actionDigest: () => actionDigest(action, sha256) }, this.log.state, this.#sub)
      if (initiator.named !== undefined) await this.#directory.remember(initiator.sub, initiator.named)
      return initiator
    } catch (error) {
      if (error instanceof Denied && (error.check === 'identity' || error.code === 'unavailable')) return error
      throw error
    }
  }

  #caller({ sub, act, cnf, owner, holds }: Initiator, gate: string, session: string | undefined, { env }: Situated): Caller {
    return { gate, session, env, sub, act, cnf, owner: owner ?? this.#owner, holds, tenant: this.log.tenant, observes: this.policies.isObserving }
  }

  /** In the record of a refusal: the local user, and the name that nobody proved. */
  #unidentified({ agent }: Seeking, gate: string): Pick<Caller, 'gate' | 'sub' | 'act'> {
    return { gate, sub: this.#sub, act: { sub: `agent:${agent.name}`, verified: false } }
  }

  /**
   * decide → authorize for an artifact that is carried. Nobody has looked at the machine, so the policies see paths as
   * `unresolved`; the gate looks when it redeems.
   * @throws {Denied}
   */
  issue(request: IssueRequest, shown: Shown): Promise<AuthorizeReply> {
    const { nonce, audience } = request
    // A nonce is good for one proof, also where that fails.
    const first = nonce === undefined ? undefined : (): void => this.#nonces.take(nonce)
    const isForPlane = this.federation.isAudience(audience)
    return inForm(request.form, this.#ports, () => this.#seek(request, { paths: 'unresolved' }, { gate: audience, session: undefined, challenge: nonce, isForPlane, first }, shown).catch(unreadable))
  }

  /** Spends a carried artifact at the gate that it names. @throws {Denied} */
  redeem(request: RedeemRequest, gate: string, shown: Shown): Promise<RedeemReply> {
    const identify = async ({ act, sub, par }: Permit, action: Action): Promise<Initiator> => {
      const agent = { name: act.sub.replace(/^agent:/, ''), verified: act.verified }
      const initiator = await this.#identify({ ...request, action, agent }, gate, request.challenge)
      if (initiator instanceof Denied) throw initiator
      // The principal of another plane is nobody here: what it is bound to is the key, which was proved.
      return par?.foreign === undefined ? initiator : { ...initiator, sub }
    }
    return redeem(request, { gate, session: request.session, sub: this.#sub, identify, active: () => this.policies.active() }, this.log, this.#ports, shown).catch(unreadable)
  }

  /** Goes on with what a gate runs, as far as it still may. @throws {Denied} */
  renew(request: RenewRequest, gate: string, shown: Shown): Promise<RenewReply> {
    return renew(request, gate, this.log, (permit) => this.#stillPermits(permit), shown)
  }

  /** Whether the active policies would permit it today, from what they saw then and where it runs now. What was erased cannot be decided again, and ends. */
  async #stillPermits({ seq, aud, intent, selectable: { sub, act, cnf } }: OpenPermit): Promise<boolean> {
    const bodies = await this.#ports.store.bodies(seq)
    const [action, inputs] = (['action', 'inputs'] as const).map((purpose) => bodies.find((body) => body.purpose === purpose)?.text)
    if (action === undefined || inputs === undefined) return false
    const input = recordedInput(parseStrictText(action), parseStrictText(inputs), { sub, act, intent })
    const { env, environment } = await this.#environments.of(aud, input.action.target)
    const decision = await this.#decide({ ...input, environment })
    return decision.kind === 'permit' && knewOfFederation(decision) && assuranceRefusal(decision, { sub, cnf, env }, this.log.isWitnessed) === undefined
  }

  /** What would be decided; issues and logs nothing. */
  async decide(request: Asking & Partial<Pick<DecisionInput, 'environment'>>): Promise<Decision> {
    return this.#decide(this.#input(request, request.environment ?? { level: 'software' }, { sub: this.#sub, act: { sub: `agent:${request.agent.name}`, verified: request.agent.verified } }))
  }

  /** Which scopes an agent could be permitted something of, in their order; decides nothing. @throws {Denied} where it is not who it says */
  async permissible(request: PermissibleRequest, gate: string): Promise<readonly boolean[]> {
    const { agent, identity, challenge } = request
    const asked = { agent, gate, challenge, actionDigest: () => permissibleDigest(request, this.#ports.crypto.sha256) }
    const { sub, ...who } = identity === undefined ? this.identifier.suppose(agent, this.log.state, this.#sub) : agentOf(await this.identifier.identify(identity, asked, this.log.state, this.#sub))
    return (await this.policies.active()).engine.permissible.of(scopesOf(request), this.federation.isTrusting ? who : { ...who, sub })
  }

  #input({ action, facts, intent }: Asking, environment: DecisionInput['environment'], { sub, act, context }: Pick<Initiator, 'sub' | 'act' | 'context'>): DecisionInput {
    const { name, verified } = agentOf({ sub, act })
    return { action, agent: { name, verified }, facts, sub, environment, intent, identity: context }
  }

  /** Under the policy set that the log says is active: another writer of this log may have activated a newer one. */
  async #decide(input: DecisionInput): Promise<Decision> {
    return decideBeside(input, await this.policies.active(), await this.policies.shadow())
  }

  /** Validates a policy set, runs its tests, and brings it into force. @param by who asks @throws {Denied} */
  activate(request: ActivationRequest, by?: string): Promise<ActivationAnswer> {
    return activate(request, this.policies, this.#ports.crypto.sha256, by)
  }

  /** Recorded requests, a page. @param since a leaf index, or a time @throws {Denied} `request_malformed` */
  async requests(since: string): Promise<{ requests: readonly RecordedRequest[]; next: number; size: number }> {
    await this.log.latest()
    return recordedRequests(await leafAt(since, this.log), this.log, this.#ports.store)
  }

  async receipt(request: ReceiptRequest, gate: string): Promise<number> {
    return (await recordReceipt(request, gate, this.log, this.#ports.crypto)).seq
  }

  async denial(request: DenialRequest, gate: string): Promise<number> {
    return (await recordDenial(request, gate, this.log, this.#ports.crypto)).seq
  }

  /**
   * Erases the bodies that `selector` names: a `jti`, a leaf index, `agent:NAME`, `sub:ID`, or `before:TIME`.
   * @param isDry only counts the entries
   * @param by who asks
   * @throws {Denied} `request_malformed`
   */
  async erase(selector: string, isDry: boolean, by: string): Promise<Erasure & { readonly entries: number }> {
    const ranges = await selected(selector, this.log, (id) => this.reader.own(id))
    const entries = ranges.reduce((sum, { from, to }) => sum + to - from, 0)
    if (!isDry && selector.startsWith('sub:')) await this.#directory.erase(selector.slice('sub:'.length))
    const done = isDry ? { recorded: [], bodies: 0, tooYoung: 0 } : await erase(ranges, by, this.log, this.#ports.store, this.#ports.clock)
    return { ...done, entries }
  }

  /** The gate whose open session this is. @throws {Denied} `identity_unknown` */
  async gateOf(session: string): Promise<string> {
    const { sessions } = this.log.state
    if (!sessions.has(session) && this.#ports.store.isShared) await this.log.refresh() // opened at another plane of this log
    const gate = sessions.get(session)
    if (gate === undefined) throw new Denied('identity_unknown', 'no such gate session')
    return gate
  }

  /** As {@link Plane.gateOf}, for what only an open session may do. @throws {Denied} `identity_unknown`, `identity_invalid` once it has ended */
  async openGateOf(session: string): Promise<string> {
    const id = await this.gateOf(session)
    const gate = this.log.state.gates.get(id)
    if (gate === undefined || isEnded(gate, Math.max(this.nowMs, this.log.state.timeMs))) throw new Denied('identity_invalid', 'the session has ended')
    return id
  }

  /** What stands where now, for metrics. */
  get gauges(): { logEntries: number; checkpointEntries: number; openPermits: number; gates: number; sessions: number; isReady: boolean } {
    const { size, checkpoint, state } = this.log
    return { logEntries: size, checkpointEntries: checkpoint.size, openPermits: state.open.size, gates: state.gates.size, sessions: state.sessions.size, isReady: this.notReady === undefined }
  }

  /** Why the plane cannot do its work; undefined when it can. */
  get notReady(): Denied | undefined {
    return this.log.stopped ?? this.log.signing.failure
  }

  async close(): Promise<void> {
    this.log.mark(true)
    for (const stop of this.#stopWatching) stop()
    this.reader.close()
    await this.people.close()
    await this.anchors.close()
    await this.#ports.store.close()
  }
}

/** Before anything is written the store is only read: what it does not give is no ground to decide on. */
function unreadable(error: unknown): never {
  throw error instanceof StoreFailure ? new Denied('evidence_unavailable', error.message) : error
}
