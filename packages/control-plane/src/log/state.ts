import { type AgentEntry, Budgets, Denied, type Digest, type Edits, type Entry, type EntryHead, type ErasureEntry, type GateEntry, type KillEntry, type LogKeyEntry, localAncestors, MAX_SKEW_SECONDS, MAX_START_SECONDS, ownText, type Permit, type PersonStanding, type RedemptionEntry, type Selectable, selectableOf, type ShownGrounds, shownGrounds, toolKey, type ToolStanding, withPerson, withTool, type AssessmentEntry } from '@sealwrit/protocol'
import { afterAgentEntry, type RegisteredAgent } from './agents.ts'
import { Approvals } from './approvals.ts'
import { ForeignLogs } from './foreign.ts'
import { ReceiptNumbers } from './numbers.ts'
import { type Place, placeOf } from './lineage.ts'
import { applyPolicy, NO_POLICY, type PolicyStanding } from './policy-standing.ts'

/** Margin after start window and lease before a permit without an ending becomes `indeterminate`, in milliseconds. */
export const ENDING_MARGIN_MS = 30_000
/** Answered challenges are remembered for as long as their permit could be started, twice over, in milliseconds. */
export const CHALLENGE_LIFE_MS: number = 2 * MAX_START_SECONDS * 1_000
/** Challenges remembered at once; beyond it new requests are `overloaded`, since forgetting one could issue twice. */
export const MAX_CHALLENGES = 1_000_000
/** Permits that may be without an ending at once. */
export const MAX_OPEN = 1_000_000
/** Redemptions remembered at once; beyond it further ones are `overloaded`. */
export const MAX_REDEEMED = 1_000_000
/**
 * Redemptions are remembered for at least as long as their permit could be shown to any clock that is accepted: to `exp`, skew
 * and margin, counted from the redemption, which is never before `iat`. The store's spent key stays for ever (ATK-044).
 */
export const REDEEMED_LIFE_MS: number = (MAX_START_SECONDS + MAX_SKEW_SECONDS) * 1_000 + ENDING_MARGIN_MS
/** How often it is looked for what may be forgotten, in milliseconds of the log. */
const FORGET_INTERVAL_MS = 1_000
/** Times of permits that budgets remember at once; beyond it what they count is `overloaded`, since forgetting one would permit too much. */
export const MAX_BUDGET_TIMES = 1_000_000
/** Receipts whose place is remembered at least, and twice as many at most, so that one that is sent again is answered as before. */
export const MAX_RECEIPTS = 65_536

export interface OpenPermit {
  readonly seq: number
  /** What revocations and kills are compared with. */
  readonly selectable: Selectable
  readonly intent: string | undefined
  /** What it shows of what its execution rests on. */
  readonly grounds: ShownGrounds
  readonly epoch: number
  /** When it may run to at the latest, milliseconds. */
  readonly lastMs: number
  readonly leafHash: Digest
  readonly aud: string
  /** What may still follow says the life cycle. */
  readonly standing: 'issued' | 'carried' | 'admitted'
  /** When the plane ends it by itself. */
  readonly deadlineMs: number
  readonly leaseMs: number
  readonly place: Place
}

/** A carried permit that was spent. */
export interface Redeemed {
  readonly seq: number
  readonly timeMs: number
  readonly aud: string
  readonly challenge: string
}

export interface Answered {
  readonly seq: number
  readonly timeMs: number
  /** What was asked, so that the same challenge with another request is told apart. */
  readonly request: string
}

export interface EnrolledGate {
  /** Base64url of the receipt key. */
  readonly key: string
  readonly session: string | undefined
  readonly env: GateEntry['env']
  /** When the session ends, seconds since 1970; sessions of older logs have no end. */
  readonly expires: number | undefined
  /** Leaf index of the entry that enrolled it, and of the one that opened the session. */
  readonly enrolledSeq: number
  readonly sessionSeq: number | undefined
}

/** A kill that stands, and who asked to lift it. */
export interface Kill {
  readonly seq: number
  readonly lifters: readonly string[]
}

/** Where an erasure stands, and whose bodies it took. */
export interface Erased {
  readonly seq: number
  readonly ranges: ErasureEntry['ranges']
}

/**
 * What the entries 0…n−1 amount to: an entry at index n is valid against exactly this. Only {@link LogState.apply}
 * changes it, and only with entries that are in the log or about to be committed in this turn.
 */
/** Assessments that are remembered. */
export const MAX_KEPT_ASSESSMENTS = 32

export class LogState {
  readonly #edits: Edits = { set: (map, key, value) => this.#set(map, key, value), delete: (map, key) => this.#delete(map, key) }
  timeMs = 0
  epoch = 0
  policyDigest: Digest | undefined
  /** Where the policy sets stand: which is active since when, what is staged, what runs in shadow mode. */
  standing: PolicyStanding = NO_POLICY
  /** What was said of the log's own keys, in order. */
  keyEntries: readonly (LogKeyEntry & EntryHead)[] = []
  /** Bodies below this leaf index were erased by the rule of retention. */
  retainedFrom = 0
  /** Permits below this leaf index can no longer be redeemed: what spent them may be in a history that was lost. */
  voidBefore = 0
  readonly gates: Map<string, EnrolledGate> = new Map()
  readonly agents: Map<string, RegisteredAgent> = new Map()
  /** Every agent key that was ever registered, with the agent that it belongs or belonged to. */
  readonly agentKeys: Map<string, string> = new Map()
  /** Whoever may or might use the plane, by opaque id. */
  readonly people: Map<string, PersonStanding> = new Map()
  /** By {@link toolKey}, in the order in which they were first seen. */
  readonly tools: Map<string, ToolStanding> = new Map()
  /** The newest of them, oldest first. */
  assessments: readonly (AssessmentEntry & EntryHead)[] = []
  /** Leaf index of the newest entry about a tool. */
  toolsSeq = -1
  /** Leaf index at which each policy set was first activated. */
  readonly policies: Map<Digest, number> = new Map()
  /** The set of each epoch. */
  readonly epochs: Map<number, Digest> = new Map()
  /** By leaf index. */
  readonly erasures: Map<number, Erased> = new Map()
  readonly open: Map<string, OpenPermit> = new Map()
  /** By selector, with the leaf index of the entry that says so. */
  readonly revoked: Map<string, number> = new Map()
  readonly killed: Map<string, Kill> = new Map()
  /** Permits that the plane ended as `indeterminate`: leaf index of permit and of that ending. */
  readonly indeterminate: Map<string, { readonly permit: OpenPermit; readonly seq: number }> = new Map()
  /** Gates whose key is revoked: the leaf index from which on, and those of the entries that say so. */
  readonly revokedGates: Map<string, { readonly from: number; readonly seqs: readonly number[] }> = new Map()
  /** Gate of each open session. */
  readonly sessions: Map<string, string> = new Map()
  readonly approvals: Approvals = new Approvals(this.#edits)
  readonly budgets: Budgets = new Budgets(this.#edits)
  readonly foreign: ForeignLogs = new ForeignLogs(this.#edits)
  readonly numbers: ReceiptNumbers = new ReceiptNumbers(this.#edits)
  readonly #answered = new Map<string, Answered>()
  readonly #redeemed = new Map<string, Redeemed>()
  #receipts = new Map<string, number>()
  #olderReceipts: ReadonlyMap<string, number> = new Map()
  /** How to take back what was applied since {@link LogState.begin}; undefined while nothing can be taken back. */
  #undo: (() => void)[] | undefined
  /** Before this nothing is looked through for what may be forgotten. */
  #forgetMs = 0

  /** From here on what is applied can be taken back. */
  begin(): void {
    const { timeMs, epoch, policyDigest, standing, keyEntries, retainedFrom, voidBefore, toolsSeq, assessments } = this
    this.#undo = [() => Object.assign(this, { timeMs, epoch, policyDigest, standing, keyEntries, retainedFrom, voidBefore, toolsSeq, assessments })]
  }

  /** What was applied so far stays. */
  settle(): void {
    this.#undo = undefined
  }

  /** Takes back everything since {@link LogState.begin}, the last change first. */
  rollback(): void {
    for (const undo of (this.#undo ?? []).reverse()) undo()
    this.#undo = undefined
  }

  #set<K, V>(map: Map<K, V>, key: K, value: V): void {
    const [had, old] = [map.has(key), map.get(key)]
    this.#undo?.push(() => (had ? map.set(key, old as V) : map.delete(key)))
    map.set(key, value)
  }

  #delete<K, V>(map: Map<K, V>, key: K): void {
    const [had, old] = [map.has(key), map.get(key)]
    if (!had) return
    this.#undo?.push(() => map.set(key, old as V))
    map.delete(key)
  }

  /** @param request what a permit answered, for {@link LogState.answered} */
  apply(entry: Entry, leafHash: Digest, request?: string): void {
    this.timeMs = entry.time
    this.approvals.apply(entry, leafHash, request)
    this.foreign.apply(entry)
    switch (entry.kind) {
      case 'permit': {
        const { jti, seq, aud } = entry
        this.#set(this.open, ownText(jti), { seq, leafHash: ownText(leafHash), aud: ownText(aud), selectable: selectableOf(entry), intent: entry.intent, grounds: shownGrounds(entry), epoch: entry.policy.epoch, lastMs: (entry.exp + entry.constraints.max_runtime_seconds) * 1_000, place: placeOf(entry), ...startOf(entry) })
        for (const ancestor of localAncestors(entry)) this.#issuedBelow(ancestor)
        if (entry.challenge !== undefined && request !== undefined) this.#remember(aud, entry.challenge, { seq, timeMs: entry.time, request })
        if (entry.constraints.budgets !== undefined) this.budgets.spend(entry.constraints.budgets, entry, entry.time)
        break
      }
      case 'deny':
      case 'hold':
        if (entry.challenge !== undefined && entry.aud !== undefined && request !== undefined) {
          this.#remember(entry.aud, entry.challenge, { seq: entry.seq, timeMs: entry.time, request })
        }
        break
      case 'redemption':
        this.#applyRedemption(entry, entry.seq, entry.time)
        break
      case 'receipt':
        this.#recall(entry.jti, entry.seq)
        this.numbers.take(entry.receipt, (session) => this.sessions.has(session))
        this.#delete(this.open, entry.jti)
        if (entry.resolves !== undefined) this.#delete(this.indeterminate, entry.jti)
        break
      case 'expiry': {
        const permit = this.open.get(entry.jti)
        this.#delete(this.open, entry.jti)
        if (permit !== undefined && entry.outcome === 'indeterminate') this.#set(this.indeterminate, ownText(entry.jti), { permit, seq: entry.seq })
        break
      }
      case 'gate':
        this.#applyGate(entry, entry.seq)
        break
      case 'agent':
        this.#applyAgent(entry)
        break
      case 'policy':
        this.standing = applyPolicy(this.standing, entry)
        if (this.standing.sinceSeq !== entry.seq) break
        this.epoch = entry.epoch
        this.policyDigest = entry.digest
        if (!this.policies.has(entry.digest)) this.#set(this.policies, entry.digest, entry.seq)
        this.#set(this.epochs, entry.epoch, entry.digest)
        break
      case 'erasure':
        this.#set(this.erasures, entry.seq, { seq: entry.seq, ranges: entry.ranges })
        if (entry.cause === 'retention') this.retainedFrom = Math.max(this.retainedFrom, entry.ranges.at(-1)?.to ?? 0)
        break
      case 'revocation':
        this.#set(this.revoked, entry.selector, entry.seq)
        break
      case 'kill':
        this.#applyKill(entry, entry.seq)
        break
      case 'lease':
        for (const jti of entry.jtis) this.#renew(jti, entry.time)
        break
      case 'tool':
        this.#set(this.tools, toolKey(entry), withTool(this.tools.get(toolKey(entry)), entry))
        this.toolsSeq = entry.seq
        break
      case 'assessment':
        this.assessments = [...this.assessments.slice(-(MAX_KEPT_ASSESSMENTS - 1)), entry]
        break
      case 'approval':
      case 'voucher':
        break // above, or nothing of this log's own state
      case 'key':
        if (entry.purpose === 'log') {
          this.keyEntries = [...this.keyEntries, entry]
          if (entry.lost !== undefined) this.voidBefore = entry.seq
        } else if (entry.purpose === 'gate') this.#revokeGate(entry.gate, entry.from, entry.seq)
        else if (entry.purpose === 'person') this.#set(this.people, ownText(entry.person), withPerson(this.people.get(entry.person), entry))
        break
    }
  }

  /** Where the newest receipt about `jti` stands, while that is remembered. */
  receiptOf(jti: string): number | undefined {
    return this.#receipts.get(jti) ?? this.#olderReceipts.get(jti)
  }

  /** In two halves, of which the older is let go at once: to take the oldest of many out of a map costs more than all else that a receipt does. */
  #recall(jti: string, seq: number): void {
    if (this.#receipts.size >= MAX_RECEIPTS) {
      const [newer, older] = [this.#receipts, this.#olderReceipts]
      this.#undo?.push(() => void ([this.#receipts, this.#olderReceipts] = [newer, older]))
      ;[this.#receipts, this.#olderReceipts] = [new Map(), newer]
    }
    this.#set(this.#receipts, ownText(jti), seq)
  }

  /** By what a carried permit was spent, while that is remembered. */
  redemptionOf(jti: string): Redeemed | undefined {
    return this.#redeemed.get(jti)
  }

  get redeemedCount(): number {
    return this.#redeemed.size
  }

  /** From here on the permit may be running: it ends as any other, by a receipt or as `indeterminate`. */
  #applyRedemption({ jti, aud, challenge, exp }: RedemptionEntry, seq: number, timeMs: number): void {
    this.#forget(timeMs)
    this.#set(this.#redeemed, ownText(jti), { seq, timeMs, aud: ownText(aud), challenge: ownText(challenge) })
    const permit = this.open.get(jti)
    if (permit !== undefined) this.#set(this.open, jti, { ...permit, deadlineMs: exp * 1_000 + permit.leaseMs + ENDING_MARGIN_MS, standing: 'admitted' })
  }

  /** What a challenge of `gate` was answered with, if it was. */
  answered(gate: string, challenge: string): Answered | undefined {
    return this.#answered.get(`${gate} ${challenge}`)
  }

  get answeredCount(): number {
    return this.#answered.size
  }

  #applyGate(entry: GateEntry, seq: number): void {
    const known = this.gates.get(entry.gate)
    if (entry.event === 'enrolled' && entry.key !== undefined && known === undefined) {
      this.#set(this.gates, entry.gate, { key: entry.key, session: undefined, env: undefined, expires: undefined, enrolledSeq: seq, sessionSeq: undefined })
    } else if (entry.event === 'session' && known !== undefined) {
      if (known.session !== undefined) this.#delete(this.sessions, known.session) // the newer session fences the older
      if (known.session !== undefined && known.session !== entry.session) this.numbers.forget(known.session)
      if (entry.session !== undefined) this.#set(this.sessions, entry.session, entry.gate)
      this.#set(this.gates, entry.gate, { ...known, session: entry.session, env: entry.env, expires: entry.expires, sessionSeq: seq })
    }
  }

  /** Its session is over, and it opens none again. */
  #revokeGate(gate: string, from: number, seq: number): void {
    const [known, earlier] = [this.gates.get(gate), this.revokedGates.get(gate)]
    this.#set(this.revokedGates, gate, { from, seqs: [...(earlier?.seqs ?? []), seq] })
    if (known?.session === undefined) return
    this.#delete(this.sessions, known.session)
    this.numbers.forget(known.session)
    this.#set(this.gates, gate, { ...known, session: undefined, expires: undefined })
  }

  #applyKill({ selector, event, by }: KillEntry, seq: number): void {
    const kill = this.killed.get(selector)
    if (event === 'killed') this.#set(this.killed, selector, { seq, lifters: [] })
    else if (event === 'lifted') this.#delete(this.killed, selector)
    else if (kill !== undefined) this.#set(this.killed, selector, { ...kill, lifters: [...kill.lifters, by] })
  }

  /** One more permit stands below it. */
  #issuedBelow(jti: string): void {
    const permit = this.open.get(jti)
    if (permit !== undefined) this.#set(this.open, jti, { ...permit, place: { ...permit.place, issued: permit.place.issued + 1 } })
  }

  /** A renewed execution may go on for one more lease. */
  #renew(jti: string, timeMs: number): void {
    const permit = this.open.get(jti)
    if (permit !== undefined) this.#set(this.open, jti, { ...permit, deadlineMs: Math.max(permit.deadlineMs, timeMs + permit.leaseMs + ENDING_MARGIN_MS) })
  }

  #applyAgent(entry: AgentEntry & { readonly seq: number }): void {
    const after = afterAgentEntry(this.agents.get(entry.agent), entry)
    if (after === undefined) this.#delete(this.agents, entry.agent)
    else this.#set(this.agents, entry.agent, after)
    if (entry.key !== undefined) this.#set(this.agentKeys, entry.key, entry.agent)
  }

  /** What is remembered for a time only, and long enough: looked through now and then, since to find the oldest in a map that lost many takes long. */
  #forget(timeMs: number): void {
    if (timeMs < this.#forgetMs) return
    this.#forgetMs = timeMs + FORGET_INTERVAL_MS
    const old = <T extends { readonly timeMs: number }>(map: Map<string, T>, lifeMs: number): void => {
      for (const [key, one] of map) {
        if (timeMs - one.timeMs < lifeMs) break // oldest first
        this.#delete(map, key)
      }
    }
    old(this.#answered, CHALLENGE_LIFE_MS)
    old(this.#redeemed, REDEEMED_LIFE_MS)
  }

  #remember(gate: string, challenge: string, answered: Answered): void {
    this.#forget(answered.timeMs)
    this.#set(this.#answered, ownText(`${gate} ${challenge}`), { ...answered, request: ownText(answered.request) })
  }
}

/** A permit that is carried may never be used, and then it expires; any other may be running from the start. */
function startOf({ exp, constraints, use }: Permit): Pick<OpenPermit, 'deadlineMs' | 'standing' | 'leaseMs'> {
  const leaseMs = constraints.lease_seconds * 1_000
  return use === 'redeem'
    ? { deadlineMs: (exp + MAX_SKEW_SECONDS) * 1_000, standing: 'carried', leaseMs }
    : { deadlineMs: exp * 1_000 + leaseMs + ENDING_MARGIN_MS, standing: 'issued', leaseMs }
}

/** Whether the session of a gate has ended, and is to be opened again. */
export function isEnded({ expires }: EnrolledGate, timeMs: number): boolean {
  return expires !== undefined && timeMs >= expires * 1_000
}

/** Whether `session` is the one that its gate has open: a newer one fences the older, and each ends. */
export function isOpen(gate: EnrolledGate | undefined, session: string, timeMs: number): boolean {
  return gate?.session === session && !isEnded(gate, timeMs)
}

/** @throws {Denied} `key_revoked` */
export function refuseRevoked(gate: string, { revokedGates }: LogState): void {
  if (revokedGates.has(gate)) throw new Denied('key_revoked', 'the key of this gate is revoked; give the gate a new one')
}
