import {
  type AuthorizeReply, type AuthorizeRequest, Denied, type DenialRequest, type EnrolRequest, type Entry, type EnvironmentLevel, type IssueRequest, type Facts, formatVerifierKey, type Action, type Agent,
  type ReceiptRequest, type RedeemReply, type RedeemRequest, type SealedEntry, toBase64, toBase64Url, type ToolsRequest, utf8,
} from '@sealwrit/protocol'
import { Anchors, type AnchorsOptions } from './anchor/anchors.ts'
import { authorize, type Caller, refuse, type Shown } from './authorize/authorize.ts'
import type { Decision } from './decide/decide.ts'
import type { DecisionInput } from './decide/mapping.ts'
import type { PolicySet } from './decide/policy-set.ts'
import { decideBeside } from './decide/shadow.ts'
import { completeErasures, erase, type Erasure, firstSince, parseInstant, rangesOf, select, watchRetention } from './govern/erasure.ts'
import { activate, type ActivationAnswer, type ActivationRequest } from './govern/activation.ts'
import { enrolGate } from './govern/gates.ts'
import { Policies, policyFiles, type PolicyRules, watchStaged } from './govern/policies.ts'
import { recordTools } from './govern/tools.ts'
import { LogDamaged } from './log/history.ts'
import { Sequencer } from './log/sequencer.ts'
import type { WitnessOptions } from './log/witnesses.ts'
import { type Metrics, NO_METRICS, type PlanePorts } from './ports.ts'
import { watchEndings } from './prove/endings.ts'
import { recordDenial, recordReceipt } from './prove/receipts.ts'
import { Reader } from './prove/reader.ts'
import { type RecordedRequest, recordedRequests } from './prove/requests.ts'
import { redeem } from './redeem/redeem.ts'

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
  /** Where checkpoints are anchored; nowhere without it. */
  readonly anchors?: AnchorsOptions
  /** Who cosigns checkpoints before they are shown; nobody where it is not given. */
  readonly witnesses?: WitnessOptions | undefined
  /** When a policy set comes into force, and which may. */
  readonly policyRules?: PolicyRules | undefined
}

/** What a decision is asked about. */
interface Asking {
  readonly action: Action
  readonly agent: Agent
  readonly facts: Facts
}

/**
 * The control plane: composes the stages of the flow. Nothing else knows all of them.
 * decide → authorize → (the gate executes) → prove, and govern beside them.
 */
export class Plane {
  readonly log: Sequencer
  readonly reader: Reader
  readonly anchors: Anchors
  readonly metrics: Metrics
  readonly policies: Policies
  readonly #ports: PlanePorts
  readonly #sub: string
  readonly #owner: string
  readonly #stopWatching: (() => void)[]

  private constructor(log: Sequencer, ports: PlanePorts, policies: Policies, options: PlaneOptions) {
    this.log = log
    this.#ports = ports
    this.metrics = ports.metrics ?? NO_METRICS
    this.policies = policies
    this.#sub = `user:${toBase64Url(ports.crypto.sha256(utf8(`${log.origin}\n${options.localUser}`)).subarray(0, 16))}`
    this.#owner = options.owner ?? this.#sub
    this.reader = new Reader(log, ports, (digest) => policyFiles(digest, ports.store))
    this.#stopWatching = [watchEndings(log, ports.clock), watchStaged(policies, (ms, run) => ports.clock.after(ms, run))]
    if (options.retentionMs !== undefined) this.#stopWatching.push(watchRetention(options.retentionMs, log, ports.store, ports.clock))
    this.anchors = new Anchors(log, ports, options.anchors ?? { sinks: [], intervalMs: Number.POSITIVE_INFINITY, report: () => undefined })
  }

  /**
   * Reads the log back, or begins it where it is new, and activates the policy set where `options.policyRules` say so.
   * @throws {LogDamaged | PolicyError}
   */
  static async open(ports: PlanePorts, policies: PolicySet | undefined, options: PlaneOptions): Promise<Plane> {
    const log = await Sequencer.open(ports, options.tenant)
    if (log.size === 0) {
      if (!options.isNew) throw new LogDamaged('it is empty, while its log key has signed a log before')
      await log.ensure((state) => (state.timeMs > 0 ? undefined : { body: { kind: 'key', purpose: 'log', event: 'created', key: formatVerifierKey(ports.logKey.key) }, bodies: [] }))
    }
    // A closed log can be read and asked, and takes nothing.
    if (log.stopped === undefined) await completeErasures(log, ports.store)
    const opened = await Policies.open(policies, log, ports, options.policyRules ?? {})
    if (log.stopped !== undefined) return new Plane(log, ports, opened, options)
    if (options.witnesses !== undefined && options.witnesses.policy.quorum.kind !== 'none') log.witnessedBy(options.witnesses)
    return new Plane(log, ports, opened, options)
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

  async enrol(request: EnrolRequest, shown: Shown): Promise<{ gate: string; sub: string; epoch: number; sealed: SealedEntry; consistency: string[] }> {
    if (request.checkpoint !== undefined) await this.#recall(request.checkpoint)
    const { gate, session } = await enrolGate(request, this.log, this.#ports.crypto)
    return this.log.sealed(Math.max(session.seq + 1, request.floor ?? 0, shown.size), (head) => {
      const sealed = this.log.seal(session, head)
      const consistency = this.log.extends(request.floor ?? 0, head).map(toBase64)
      shown.size = head.size
      return { gate, sub: this.#sub, epoch: this.epoch, sealed, consistency }
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

  /** decide → authorize: one request travels in one direction. @throws {Denied} */
  async authorize(request: AuthorizeRequest, gate: string, shown: Shown): Promise<AuthorizeReply> {
    const { clock, tracing } = this.#ports
    const fromMs = clock.monotonicMs()
    const ended = tracing?.authorizing({ type: request.action.type, gate, traceparent: request.traceparent })
    try {
      const reply = await this.#settle(request, gate, shown)
      ended?.(reply)
      return reply
    } catch (error) {
      ended?.({ decision: 'deny', code: error instanceof Denied ? error.code : 'unavailable' })
      throw error
    } finally {
      this.metrics.authorized(clock.monotonicMs() - fromMs)
    }
  }

  async #settle(request: AuthorizeRequest, gate: string, shown: Shown): Promise<AuthorizeReply> {
    const caller: Caller = { gate, session: request.session, sub: this.#sub, owner: this.#owner }
    const decision = await this.#decide(this.#input(request, this.#levelOf(gate)))
    return decision.kind === 'permit'
      ? authorize(decision, request, caller, this.log, this.#ports, shown)
      : refuse(decision, request, caller, this.log, this.#ports, shown)
  }

  /**
   * decide → authorize for an artifact that is carried. Nobody has looked at the machine, so the policies see paths as
   * `unresolved`; the gate looks when it redeems.
   * @throws {Denied}
   */
  async issue(request: IssueRequest, shown: Shown): Promise<AuthorizeReply> {
    const caller: Caller = { gate: request.audience, session: undefined, sub: this.#sub, owner: this.#owner }
    const decision = await this.#decide(this.#input({ ...request, facts: { paths: 'unresolved' } }, this.#levelOf(request.audience)))
    return decision.kind === 'permit'
      ? authorize(decision, request, caller, this.log, this.#ports, shown)
      : refuse(decision, request, caller, this.log, this.#ports, shown)
  }

  /** Spends a carried artifact at the gate that it names. @throws {Denied} */
  redeem(request: RedeemRequest, gate: string, shown: Shown): Promise<RedeemReply> {
    return redeem(request, { gate, session: request.session }, this.log, this.#ports, shown)
  }

  /** What would be decided; issues and logs nothing. */
  async decide(request: Asking): Promise<Decision> {
    return this.#decide(this.#input(request, 'software'))
  }

  /** How well the environment of a gate's open session is attested. */
  #levelOf(gate: string): EnvironmentLevel {
    return this.log.state.gates.get(gate)?.env?.level ?? 'none'
  }

  #input({ action, agent, facts }: Asking, level: EnvironmentLevel): DecisionInput {
    return { action, agent, facts, sub: this.#sub, environment: { level } }
  }

  /** Under the policy set that the log says is active: another writer of this log may have activated a newer one. */
  async #decide(input: DecisionInput): Promise<Decision> {
    return decideBeside(input, await this.policies.active(), await this.policies.shadow())
  }

  /** Validates a policy set, runs its tests, and brings it into force. @throws {Denied} */
  activate(request: ActivationRequest): Promise<ActivationAnswer> {
    return activate(request, this.policies, this.#ports.crypto.sha256)
  }

  /** Recorded requests, a page. @param since a leaf index, or a time @throws {Denied} `request_malformed` */
  async requests(since: string): Promise<{ requests: readonly RecordedRequest[]; next: number; size: number }> {
    await this.log.latest()
    const from = /^\d{1,15}$/.test(since) ? Number(since) : await firstSince(parseInstant(since), this.log)
    return recordedRequests(from, this.log, this.#ports.store)
  }

  async receipt(request: ReceiptRequest, gate: string): Promise<number> {
    return (await recordReceipt(request, gate, this.log, this.#ports.crypto)).seq
  }

  async denial(request: DenialRequest, gate: string): Promise<number> {
    return (await recordDenial(request, gate, this.log, this.#ports.crypto)).seq
  }

  tools(request: ToolsRequest): Promise<readonly { name: string; digest: string }[]> {
    return recordTools(request, this.log)
  }

  /**
   * Erases the bodies that `selector` names: a `jti`, a leaf index, `agent:NAME`, `sub:ID`, or `before:TIME`.
   * @param isDry only counts the entries
   * @throws {Denied} `request_malformed`
   */
  async erase(selector: string, isDry: boolean): Promise<Erasure & { readonly entries: number }> {
    const ranges = await this.#selected(selector)
    const entries = ranges.reduce((sum, { from, to }) => sum + to - from, 0)
    const done = isDry ? { recorded: [], bodies: 0, tooYoung: 0 } : await erase(ranges, this.#sub, this.log, this.#ports.store, this.#ports.clock)
    return { ...done, entries }
  }

  async #selected(selector: string): Promise<{ from: number; to: number }[]> {
    await this.log.latest()
    const [, kind, value] = /^(agent|sub|before):(.+)$/.exec(selector) ?? []
    if (value === undefined) return rangesOf((await this.reader.show(selector)).entries)
    if (kind === 'before') {
      const to = await firstSince(parseInstant(value), this.log)
      return to === 0 ? [] : [{ from: 0, to }]
    }
    const isMeant = (entry: Entry): boolean => (kind === 'agent' ? 'act' in entry && entry.act?.sub === selector : 'sub' in entry && entry.sub === value)
    return select(isMeant, this.log)
  }

  /** The gate whose open session this is. @throws {Denied} `identity_unknown` */
  async gateOf(session: string): Promise<string> {
    const { sessions } = this.log.state
    if (!sessions.has(session) && this.#ports.store.isShared) await this.log.refresh() // opened at another plane of this log
    const gate = sessions.get(session)
    if (gate === undefined) throw new Denied('identity_unknown', 'no such gate session')
    return gate
  }

  /** What stands where now, for metrics. */
  get gauges(): { logEntries: number; checkpointEntries: number; openPermits: number; gates: number; sessions: number; isReady: boolean } {
    const { size, checkpoint, state } = this.log
    return { logEntries: size, checkpointEntries: checkpoint.size, openPermits: state.open.size, gates: state.gates.size, sessions: state.sessions.size, isReady: this.notReady === undefined }
  }

  /** Why the plane cannot do its work; undefined when it can. */
  get notReady(): Denied | undefined {
    return this.log.stopped
  }

  async close(): Promise<void> {
    this.log.mark(true)
    for (const stop of this.#stopWatching) stop()
    await this.anchors.close()
    await this.#ports.store.close()
  }
}

