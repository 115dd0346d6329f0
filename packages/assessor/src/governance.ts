import { type Artifact, DENIALS, type DenyEntry, type Entry, type EntryHead, type HoldEntry } from '@sealwrit/protocol'
import { Count, type Measure, type Measured, Share } from './measure.ts'
import type { Claims } from './receipts.ts'

/** An approval that came sooner than this after its hold was not read, in milliseconds. */
export const RUBBER_STAMP_MS = 3_000
/** The agent of `sealwrit doctor`, which asks for what must be refused. */
export const CANARY_AGENT = 'agent:sealwrit-doctor'
const MAX_HOLDS = 100_000

/** What was refused, where and on which grounds. */
export class Denials {
  readonly #all = new Count()
  readonly #checks = new Map<string, number>()
  readonly #gates = new Map<string, boolean>()
  #canaryMs: number | undefined
  #canarySeq = 0

  session(gate: string): void {
    if (!this.#gates.has(gate)) this.#gates.set(gate, false)
  }
  deny({ seq, time, code, aud, act }: DenyEntry & EntryHead): void {
    this.#all.add(seq)
    const { check } = DENIALS[code]
    if (!this.#checks.has(check)) this.#checks.set(check, seq)
    if (aud !== undefined) this.#gates.set(aud, true)
    if (act?.sub !== CANARY_AGENT) return
    this.#canaryMs = time
    this.#canarySeq = seq
  }

  *measured(nowMs: number, dayMs: number): Generator<readonly [Measure, Measured | undefined]> {
    yield ['denials', this.#all.measured()]
    yield ['denied_checks', { value: this.#checks.size, proof: [...this.#checks.values()].slice(0, 8) }]
    yield ['gates', { value: this.#gates.size, proof: [] }]
    if (this.#gates.size > 0) yield ['refusing_gates_share', { value: [...this.#gates.values()].filter(Boolean).length / this.#gates.size, proof: [] }]
    if (this.#canaryMs !== undefined) yield ['canary_days', { value: Math.max(0, nowMs - this.#canaryMs) / dayMs, proof: [this.#canarySeq] }]
  }
}

/** What people held, approved and stopped. */
export class People {
  readonly #holds = new Map<string, number>()
  readonly #stamped = new Share()
  #leastQuorum: Measured | undefined
  /** The slowest of what was stopped, from when it was told to. */
  #stopMs: Measured | undefined
  readonly #unstopped = new Map<number, Measured>()

  hold({ hold, time, seq, approval, risk }: HoldEntry & EntryHead): void {
    if (this.#holds.size < MAX_HOLDS) this.#holds.set(hold, time)
    if (approval === undefined || (risk !== 'high' && risk !== 'critical')) return
    if (this.#leastQuorum === undefined || approval.quorum < this.#leastQuorum.value) this.#leastQuorum = { value: approval.quorum, proof: [seq] }
  }
  approval({ seq, time, hold }: { readonly seq: number; readonly time: number; readonly hold: string }): void {
    const since = this.#holds.get(hold)
    this.#stamped.add(seq, since === undefined || time - since >= RUBBER_STAMP_MS)
  }
  /** @param sinceMs when it was told to stop, where it was @param permit leaf index of its permit */
  ended(seq: number, permit: number, { outcome, cause, finished }: Claims, sinceMs: number | undefined): void {
    this.#unstopped.delete(permit)
    if (outcome === 'terminated' && (cause === 'killed' || cause === 'revoked') && sinceMs !== undefined) this.#stopMs = slower(this.#stopMs, finished - sinceMs, seq)
  }
  /** Whether it stopped nobody knows: until a receipt says so it did not. */
  lost(seq: number, permit: number, time: number, sinceMs: number | undefined): void {
    if (sinceMs !== undefined) this.#unstopped.set(permit, { value: Math.max(0, time - sinceMs), proof: [seq] })
  }

  *measured(): Generator<readonly [Measure, Measured | undefined]> {
    yield ['rubber_stamp_share', this.#stamped.rest()]
    yield ['least_quorum', this.#leastQuorum]
    yield ['stop_ms', [...this.#unstopped.values()].reduce((least, { value, proof }) => slower(least, value, proof[0] ?? 0), this.#stopMs)]
  }
}

function slower(known: Measured | undefined, ms: number, seq: number): Measured {
  return known !== undefined && known.value >= ms ? known : { value: Math.max(0, ms), proof: [seq] }
}

/** Which tools were called, and whether somebody looked at their definitions. */
export class Tools {
  readonly #pinned = new Map<string, number>()
  readonly #called = new Map<string, number>()

  tool(entry: Entry & { readonly kind: 'tool' }): void {
    const key = `${entry.target}\n${entry.name}`
    if (entry.event === 'pinned') this.#pinned.set(key, entry.seq)
    else if (entry.event === 'unpinned') this.#pinned.delete(key)
  }
  permit({ scope, seq }: Artifact & EntryHead): void {
    if (scope.type === 'mcp.tool_call') this.#called.set(`${scope.target}\n${scope.name}`, seq)
  }

  *measured(): Generator<readonly [Measure, Measured | undefined]> {
    if (this.#called.size === 0) return
    const missing = [...this.#called].filter(([key]) => !this.#pinned.has(key)).map(([, seq]) => seq)
    yield ['pinned_share', { value: 1 - missing.length / this.#called.size, proof: (missing.length > 0 ? missing : [...this.#pinned.values()]).slice(0, 5) }]
  }
}
