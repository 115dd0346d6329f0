import { type Clock, Denied, type DenialCode, type KillEntry, MAX_RENEWED, type Permit, prohibition, type Prohibited, type RevocationEntry } from '@sealwrit/protocol'

/** Time between two attempts to renew after one failed, milliseconds. */
const RETRY_MS = 250
/** Prohibitions that are remembered while something is under way that they may stop. */
const MAX_PROHIBITIONS = 100_000
/** What is watched at once, of what may go on outside of a lease. */
const MAX_WATCHED = 10_000

/** Asks the plane to go on with executions. @returns those that may; rejects where there is no answer that can be believed */
export type Renew = (jtis: readonly string[]) => Promise<ReadonlySet<string>>

/** One execution under its lease. */
export interface Held {
  /** Resolves, once, with the reason why it must stop. */
  readonly stopped: Promise<Denied>
  /** Why it may not go on; looked at once more when it ends by itself, since timers may have slept (ATK-047). */
  over(): Denied | undefined
  release(): void
}

interface Watched {
  readonly permit: Permit
  readonly stop: () => void
}

interface Running {
  readonly permit: Permit
  /** On the monotonic clock; counted from when the request was sent. */
  deadlineMs: number
  readonly lastMs: number
  cancel: () => void
  stop: (code: DenialCode) => void
  reason: Denied | undefined
}

/** Whether a renewal could still give it time. */
function isRenewable({ reason, deadlineMs, lastMs }: Running): boolean {
  return reason === undefined && deadlineMs < lastMs
}

function dueOf({ deadlineMs, permit }: Running): number {
  return deadlineMs - (permit.constraints.lease_seconds * 2_000) / 3
}

/**
 * What this gate runs, and how long it may. One renewal is asked for all of it when the first lease has used up a third; what is
 * not renewed stops when its lease ends, and what is revoked or killed at once.
 */
export class Leases {
  readonly #clock: Clock
  readonly #renew: Renew
  readonly #running = new Map<string, Running>()
  readonly #watched = new Set<Watched>()
  readonly #revoked = new Map<string, number>()
  readonly #killed = new Map<string, number>()
  #cancelRenewal = (): void => undefined
  #dueMs = Number.POSITIVE_INFINITY
  #isRenewing = false

  constructor(clock: Clock, renew: Renew) {
    this.#clock = clock
    this.#renew = renew
  }

  get running(): number {
    return this.#running.size
  }

  /** Why a permit may not start: it was revoked or killed after it was issued. */
  prohibition(permit: Permit): DenialCode | undefined {
    const later = (since: ReadonlyMap<string, number>): Prohibited['revoked'] => ({ size: since.size, has: (selector) => (since.get(selector) ?? -1) > permit.seq })
    return prohibition(permit, { revoked: later(this.#revoked), killed: later(this.#killed) })
  }

  /** Hears of a revocation or kill, and stops what it meets. @returns how many executions were stopped */
  prohibit(entry: (RevocationEntry | KillEntry) & { readonly seq: number }): number {
    if (this.#revoked.size + this.#killed.size >= MAX_PROHIBITIONS) this.#forget()
    if (entry.kind === 'revocation') this.#revoked.set(entry.selector, entry.seq)
    else if (entry.event === 'killed') this.#killed.set(entry.selector, entry.seq)
    else if (entry.event === 'lifted') this.#killed.delete(entry.selector)
    let stopped = 0
    for (const running of this.#running.values()) {
      const code = this.prohibition(running.permit)
      if (code === undefined || running.reason !== undefined) continue
      running.stop(code)
      stopped++
    }
    for (const watched of this.#watched) {
      if (this.prohibition(watched.permit) === undefined) continue
      this.#watched.delete(watched)
      watched.stop()
      stopped++
    }
    return stopped
  }

  /**
   * What a permit brought about may go on after its execution ended: a call whose client took it back, a subscription. A revocation
   * or kill still stops it; where there is no room to watch it, it is stopped at once.
   * @returns ends the watch: it is known to be over
   */
  watch(permit: Permit, stop: () => void): () => void {
    const watched: Watched = { permit, stop }
    if (this.#watched.size >= MAX_WATCHED || this.prohibition(permit) !== undefined) stop()
    else this.#watched.add(watched)
    return () => void this.#watched.delete(watched)
  }

  /** Prohibitions older than everything that runs stop nothing any more: newer permits were issued in their knowledge. */
  #forget(): void {
    const oldest = [...this.#running.values(), ...this.#watched].reduce((least, { permit }) => Math.min(least, permit.seq), Number.MAX_SAFE_INTEGER)
    for (const map of [this.#revoked, this.#killed]) for (const [selector, seq] of map) if (seq < oldest) map.delete(selector)
  }

  /**
   * Takes an execution under its lease.
   * @param sentMs when its permit was asked for, on the monotonic clock: the first lease counts from there
   */
  hold(permit: Permit, sentMs: number): Held {
    const { lease_seconds: lease, max_runtime_seconds: most } = permit.constraints
    let resolve: (denied: Denied) => void = () => undefined
    const stopped = new Promise<Denied>((settle) => (resolve = settle))
    const running: Running = {
      permit,
      deadlineMs: sentMs + lease * 1_000,
      lastMs: this.#clock.monotonicMs() + most * 1_000,
      cancel: () => undefined,
      stop: (code) => {
        running.reason ??= new Denied(code, code === 'lease_expired' ? 'the execution was not renewed, or took longer than it was permitted' : undefined)
        running.cancel()
        resolve(running.reason)
      },
      reason: undefined,
    }
    this.#running.set(permit.jti, running)
    this.#arm(running)
    if (isRenewable(running)) this.#schedule(dueOf(running))
    return {
      stopped,
      over: () => running.reason ?? (this.#clock.monotonicMs() >= Math.min(running.deadlineMs, running.lastMs) ? new Denied('lease_expired') : undefined),
      release: () => {
        running.cancel()
        this.#running.delete(permit.jti)
        if (this.#running.size === 0) this.#idle()
      },
    }
  }

  #arm(running: Running): void {
    running.cancel()
    const ends = Math.min(running.deadlineMs, running.lastMs)
    running.cancel = this.#clock.after(Math.max(0, ends - this.#clock.monotonicMs()), () => running.stop('lease_expired'))
  }

  /** The next renewal is due when the first lease has used up a third of its time; `due` where another one may come first. */
  #schedule(due: number): void {
    if (this.#isRenewing || due >= this.#dueMs) return
    this.#cancelRenewal()
    this.#dueMs = due
    this.#cancelRenewal = this.#clock.after(Math.max(0, due - this.#clock.monotonicMs()), () => void this.#renewAll())
  }

  #idle(): void {
    this.#cancelRenewal()
    this.#dueMs = Number.POSITIVE_INFINITY
  }

  async #renewAll(): Promise<void> {
    this.#idle()
    const asked = [...this.#running.values()].filter(isRenewable).sort((a, b) => a.deadlineMs - b.deadlineMs).slice(0, MAX_RENEWED)
    if (asked.length === 0) return
    this.#isRenewing = true
    const sentMs = this.#clock.monotonicMs()
    try {
      const renewed = await this.#renew(asked.map(({ permit }) => permit.jti))
      for (const running of asked) {
        if (!renewed.has(running.permit.jti)) running.stop(this.prohibition(running.permit) ?? 'lease_expired')
        else if (running.reason === undefined) {
          running.deadlineMs = sentMs + running.permit.constraints.lease_seconds * 1_000
          this.#arm(running)
        }
      }
      this.#isRenewing = false
      this.#schedule(Math.min(...[...this.#running.values()].filter(isRenewable).map(dueOf)))
    } catch {
      this.#isRenewing = false
      this.#schedule(this.#clock.monotonicMs() + RETRY_MS) // each lease ends by itself where none of these gets through
    }
  }
}
