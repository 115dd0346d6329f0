import {
  type AuthorizeReply, type AuthorizeRequest, Denied, type DenialRequest, type EnrolRequest, type IssueRequest, type Facts, formatVerifierKey, type Action, type Agent,
  type ReceiptRequest, type RedeemReply, type RedeemRequest, type SealedEntry, toBase64, toBase64Url, type ToolsRequest, utf8,
} from '@sealwrit/protocol'
import { authorize, type Caller, refuse, type Shown } from './authorize/authorize.ts'
import { type ActivePolicy, decide, type Decision } from './decide/decide.ts'
import { PolicyEngine } from './decide/engine.ts'
import type { DecisionInput } from './decide/mapping.ts'
import { loadPolicySet, type PolicySet } from './decide/policy-set.ts'
import { enrolGate } from './govern/gates.ts'
import { activatePolicies, policyFiles } from './govern/policies.ts'
import { recordTools } from './govern/tools.ts'
import { LogDamaged } from './log/history.ts'
import { Sequencer } from './log/sequencer.ts'
import type { PlanePorts } from './ports.ts'
import { watchEndings } from './prove/endings.ts'
import { recordDenial, recordReceipt } from './prove/receipts.ts'
import { Reader } from './prove/reader.ts'
import { redeem } from './redeem/redeem.ts'

export interface PlaneOptions {
  readonly tenant: string
  /** The person or team that answers for what runs; an opaque id. */
  readonly owner: string | undefined
  /** Names the local user of the socket, for the principal; hashed into an opaque id. */
  readonly localUser: string
  /** Whether a new log may begin here; false where the log key is in use already. */
  readonly isNew: boolean
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
  readonly #ports: PlanePorts
  #active: ActivePolicy
  readonly #sub: string
  readonly #owner: string
  readonly #stopWatching: () => void

  private constructor(log: Sequencer, ports: PlanePorts, active: ActivePolicy, options: PlaneOptions) {
    this.log = log
    this.#ports = ports
    this.#active = active
    this.#sub = `user:${toBase64Url(ports.crypto.sha256(utf8(`${log.origin}\n${options.localUser}`)).subarray(0, 16))}`
    this.#owner = options.owner ?? this.#sub
    this.reader = new Reader(log, ports.store, (digest) => policyFiles(digest, ports.store))
    this.#stopWatching = watchEndings(log, ports.clock)
  }

  /** Reads the log back, or begins it where it is new, and activates the policy set. @throws {LogDamaged} */
  static async open(ports: PlanePorts, policies: PolicySet, options: PlaneOptions): Promise<Plane> {
    const log = await Sequencer.open(ports, options.tenant)
    if (log.size === 0) {
      if (!options.isNew) throw new LogDamaged('it is empty, while its log key has signed a log before')
      await log.ensure((state) => (state.timeMs > 0 ? undefined : { body: { kind: 'key', purpose: 'log', event: 'created', key: formatVerifierKey(ports.logKey.key) }, bodies: [] }))
    }
    return new Plane(log, ports, await activatePolicies(policies, log, ports.store), options)
  }

  get sub(): string {
    return this.#sub
  }
  get epoch(): number {
    return this.#active.epoch
  }

  async enrol(request: EnrolRequest, shown: Shown): Promise<{ gate: string; sub: string; epoch: number; sealed: SealedEntry; consistency: string[] }> {
    const { gate, session } = await enrolGate(request, this.log, this.#ports.crypto)
    return this.log.proved(() => {
      const head = this.log.checkpoint
      const sealed = this.log.seal(session, head)
      const consistency = this.log.extends(request.floor ?? 0, head).map(toBase64)
      shown.size = head.size
      return { gate, sub: this.#sub, epoch: this.epoch, sealed, consistency }
    })
  }

  /** decide → authorize: one request travels in one direction. @throws {Denied} */
  async authorize(request: AuthorizeRequest, gate: string, shown: Shown): Promise<AuthorizeReply> {
    const caller: Caller = { gate, session: request.session, sub: this.#sub, owner: this.#owner }
    const decision = decide(this.#input(request), await this.#policy())
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
    const decision = decide(this.#input({ ...request, facts: { paths: 'unresolved' } }), await this.#policy())
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
    return decide(this.#input(request), await this.#policy())
  }

  #input({ action, agent, facts }: Asking): DecisionInput {
    return { action, agent, facts, sub: this.#sub, environment: { level: 'software' } }
  }

  /** The policy set that the log says is active: another writer of this log may have activated a newer one. */
  async #policy(): Promise<ActivePolicy> {
    const { epoch, policyDigest } = this.log.state
    if (this.#active.epoch === epoch || policyDigest === undefined) return this.#active
    const files = await policyFiles(policyDigest, this.#ports.store)
    if (files === undefined) throw new Denied('policy_missing', 'the active policy set is not in the store')
    this.#active = { engine: new PolicyEngine(loadPolicySet(files, this.#ports.crypto.sha256)), epoch }
    return this.#active
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

  /** The gate whose open session this is. @throws {Denied} `identity_unknown` */
  async gateOf(session: string): Promise<string> {
    const { sessions } = this.log.state
    if (!sessions.has(session) && this.#ports.store.isShared) await this.log.refresh() // opened at another plane of this log
    const gate = sessions.get(session)
    if (gate === undefined) throw new Denied('identity_unknown', 'no such gate session')
    return gate
  }

  /** Why the plane cannot do its work; undefined when it can. */
  get notReady(): string | undefined {
    return this.log.stopped
  }

  async close(): Promise<void> {
    this.#stopWatching()
    await this.#ports.store.close()
  }
}

