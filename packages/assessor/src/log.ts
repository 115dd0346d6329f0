import { type Entry, MAX_ASSESSOR_SKEW_MS } from '@sealwrit/protocol'
import { Executions } from './executions.ts'
import { Denials, People, Tools } from './governance.ts'
import { Lives } from './lives.ts'
import { Count, type Measure, type Measured, type Measurements } from './measure.ts'
import { type Claims, claimsOf, Numbers } from './receipts.ts'

/** How far back it counts what a deployment does, in days. */
export const WINDOW_DAYS = 30
const DAY_MS = 86_400_000

/**
 * What the entries of a log show, read once, from the first to the last. Memory grows with what is open and with names, not with
 * the log. An entry that is not the next one ends it: then the log is not whole, and nothing is shown.
 */
export class LogMeasures {
  readonly #nowMs: number
  readonly #lives = new Lives()
  readonly #executions = new Executions()
  readonly #numbers = new Numbers()
  readonly #denials = new Denials()
  readonly #people = new People()
  readonly #tools = new Tools()
  readonly #decisions = new Count()
  readonly #lost = new Count()
  readonly #assessments = new Count()
  #assessedMs = -Infinity
  #next = 0
  #lastMs = 0
  #keyMs: number | undefined
  #isHybrid: boolean | undefined
  #rolledBackMs: number | undefined
  #restoredMs: number | undefined
  #broken: string | undefined
  #tenant: string | undefined

  /** @param nowMs when it is assessed: ages and the window are counted from there */
  constructor(nowMs: number) {
    this.#nowMs = nowMs
  }

  /** Why the entries are not a whole log in order; undefined where they are. */
  get broken(): string | undefined {
    return this.#broken
  }
  /** Whose entries they are; undefined where there are none. */
  get tenant(): string | undefined {
    return this.#tenant
  }
  /** What the entries say that cannot be, though they are whole: then nothing that they show counts either. */
  get contradictions(): readonly string[] {
    // With a clock that was set back, what was long ago would be of the last days.
    const isLater = this.#lastMs > this.#nowMs + MAX_ASSESSOR_SKEW_MS
    return [...this.#numbers.contradictions, ...(isLater ? [`entry ${this.#next - 1} was written after the time that the assessment is said to be of`] : [])]
  }
  get entries(): number {
    return this.#next
  }

  /** @param claims of the receipt that it is, where they were read already */
  add(entry: Entry, claims?: Claims): void {
    if (this.#broken !== undefined) return
    const { seq, time, tenant } = entry
    this.#tenant ??= tenant
    if (tenant !== this.#tenant) this.#broken = `entry ${seq} is of tenant ${tenant}, and the log of ${this.#tenant}`
    else if (seq !== this.#next) this.#broken = `entry ${this.#next} is missing`
    else if (time < this.#lastMs) this.#broken = `entry ${seq} is older than the one before it`
    this.#next = seq + 1
    this.#lastMs = time
    this.#read(entry, time >= this.#nowMs - WINDOW_DAYS * DAY_MS, claims)
  }

  #read(entry: Entry, isRecent: boolean, known: Claims | undefined): void {
    const { seq, time } = entry
    this.#lives.step(entry)
    switch (entry.kind) {
      case 'permit':
        this.#lives.permit(entry, isRecent)
        this.#executions.permit(entry, isRecent)
        if (!isRecent) return
        this.#decisions.add(seq)
        return this.#tools.permit(entry)
      case 'deny':
        if (!isRecent) return
        this.#decisions.add(seq)
        return this.#denials.deny(entry)
      case 'hold':
        this.#decisions.add(seq)
        return this.#people.hold(entry)
      case 'approval':
        if (entry.event === 'approved') this.#people.approval(entry)
        return
      case 'receipt': {
        const claims = known ?? claimsOf(entry.receipt)
        const life = this.#lives.receipt(entry, claims)
        this.#numbers.receipt(seq, claims, life, isRecent)
        if (life === undefined) return
        this.#executions.receipt(seq, life, claims)
        if (isRecent) this.#people.ended(seq, life.seq, claims, this.#lives.stoppedAt(life))
        return
      }
      case 'expiry': {
        const life = this.#lives.expiry(entry)
        if (life === undefined) return
        this.#numbers.lost(life)
        if (isRecent) this.#people.lost(seq, life.seq, time, this.#lives.stoppedAt(life))
        return this.#executions.lost(life)
      }
      case 'gate':
        if (entry.event === 'session' && isRecent) this.#denials.session(entry.gate)
        if (entry.event === 'denials_lost' && isRecent) this.#lost.add(seq)
        return
      case 'tool':
        return this.#tools.tool(entry)
      case 'key':
        if (entry.purpose === 'log' && (entry.event === 'created' || entry.event === 'rotated' || entry.event === 're_anchored')) {
          this.#keyMs = time
          this.#isHybrid = entry.pq_key !== undefined
        }
        if (entry.purpose === 'gate') this.#numbers.revoked(entry.gate, entry.from)
        if (entry.purpose === 'log' && entry.event === 're_anchored') this.#restoredMs = time
        return
      case 'assessment':
        if (time - this.#assessedMs < DAY_MS) return // many in a row are one
        this.#assessedMs = time
        if (isRecent) this.#assessments.add(seq)
        return
      case 'policy':
        if (entry.event === 'rolled_back') this.#rolledBackMs = time
        return
      default:
        return
    }
  }

  measured(): Measurements {
    const out = new Map<Measure, Measured>()
    const take = (found: Iterable<readonly [Measure, Measured | undefined]>): void => {
      for (const [measure, value] of found) if (value !== undefined) out.set(measure, value)
    }
    const age = (measure: Measure, sinceMs: number | undefined): void => {
      if (sinceMs !== undefined) out.set(measure, { value: Math.max(0, this.#nowMs - sinceMs) / DAY_MS, proof: [] })
    }
    out.set('entries', { value: this.#next, proof: [] })
    out.set('decisions', this.#decisions.measured())
    out.set('lost_denials', this.#lost.measured())
    out.set('assessments', this.#assessments.measured())
    for (const part of [this.#lives.measured(), ...(this.#lives.isFull ? [] : [this.#executions.measured(), this.#numbers.measured()]), this.#denials.measured(this.#nowMs, DAY_MS), this.#people.measured(), this.#tools.measured()]) take(part)
    age('key_age_days', this.#keyMs)
    if (this.#isHybrid !== undefined) out.set('hybrid_keys', { value: this.#isHybrid ? 1 : 0, proof: [] })
    age('rollback_days', this.#rolledBackMs)
    age('restore_days', this.#restoredMs)
    return out
  }
}
