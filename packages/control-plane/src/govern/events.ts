import { type Entry, type SealedEntry, toBase64 } from '@sealwrit/protocol'
import type { Committed } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import { show, type Shown } from '../log/shown.ts'
import { ENDING_MARGIN_MS } from '../log/state.ts'
import type { PlaneClock } from '../ports.ts'

/** How old the plane's word may be when an effect starts at a gate, in milliseconds: what an unreachable gate may still begin. */
const FRESH_MS = 2_000
/** How often another plane's entries are looked for while gates listen, in milliseconds. */
const FOLLOW_MS = 250
/** Events whose way to the gates is followed. */
const MAX_FOLLOWED = 1_000

/** What gates are told at once: what may stop something that runs, and by which keys they are told. */
const TOLD: ReadonlySet<Entry['kind']> = new Set(['revocation', 'kill', 'policy', 'key'])

/** An entry that a gate is told of, sealed like everything else that it believes. */
export interface Event {
  readonly sealed: SealedEntry
  readonly consistency: readonly string[]
}

interface Listener {
  readonly gate: string
  readonly shown: Shown
  readonly send: (event: Event) => void
}

/** When something was recorded, and when it holds at every gate. */
export interface Effect {
  readonly seq: number
  /** Milliseconds since 1970, as the entry says. */
  readonly recordedMs: number
  /** When the last gate had it, or could no longer do without; undefined while that is to come. */
  readonly effectiveMs: number | undefined
  /** Gates that have not said that they have it. */
  readonly waiting: number
}

interface Followed {
  readonly recordedMs: number
  /** Gates that are waited for, each until the time by which it must have stopped by itself. */
  readonly waiting: Map<string, number>
  lastMs: number
}

/** Tells gates of revocations, kills and policies in the order of the log, and knows when they hold everywhere. */
export class Events {
  readonly #log: Sequencer
  readonly #clock: PlaneClock
  readonly #listeners = new Set<Listener>()
  readonly #followed = new Map<number, Followed>()
  readonly #unwatch: () => void
  #cancel = (): void => undefined

  /** @param isShared whether other planes write to this log */
  constructor(log: Sequencer, clock: PlaneClock, isShared: boolean) {
    this.#log = log
    this.#clock = clock
    this.#unwatch = log.watch((committed) => this.#happened(committed))
    if (isShared) this.#followAgain()
  }

  close(): void {
    this.#unwatch()
    this.#cancel()
    this.#followAgain = (): void => undefined
  }

  #followAgain = (): void => {
    this.#cancel = this.#clock.after(FOLLOW_MS, () => {
      const followed = this.#listeners.size === 0 ? Promise.resolve() : this.#log.latest().then(() => undefined, () => undefined)
      void followed.then(() => this.#followAgain())
    })
  }

  /** @param send writes one event to the gate @returns ends it */
  subscribe(gate: string, shown: Shown, send: (event: Event) => void): () => void {
    const listener: Listener = { gate, shown, send }
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #happened(committed: Committed): void {
    const { kind, time } = committed.entry
    if (!TOLD.has(kind) || (committed.entry.kind === 'key' && committed.entry.purpose !== 'log')) return
    if (kind !== 'policy' && kind !== 'key') this.#follow(committed.seq, time)
    for (const listener of this.#listeners) void this.#tell(listener, committed)
  }

  async #tell({ shown, send }: Listener, committed: Committed): Promise<void> {
    try {
      await this.#log.sealed(Math.max(committed.seq + 1, shown.size), (head) => {
        const event: Event = { sealed: this.#log.seal(committed, head), consistency: this.#log.extends(shown.size, head).map(toBase64) }
        send(show(shown, head.size, event))
      })
    } catch {
      // What a gate is not told ends with its lease, and its next permit comes from a log that forbids it.
    }
  }

  /** Every gate with a session may be running something: until it says that it knows, or its lease must have ended it. */
  #follow(seq: number, recordedMs: number): void {
    const now = this.#clock.wallMs()
    const waiting = new Map<string, number>()
    for (const [gate, { session }] of this.#log.state.gates) if (session !== undefined) waiting.set(gate, now + FRESH_MS)
    for (const { aud, deadlineMs } of this.#log.state.open.values()) {
      const ends = deadlineMs - ENDING_MARGIN_MS // its lease is over by then, whatever it heard
      if ((waiting.get(aud) ?? Number.POSITIVE_INFINITY) < ends) waiting.set(aud, ends)
    }
    if (this.#followed.size >= MAX_FOLLOWED) this.#followed.delete(this.#followed.keys().next().value as number)
    this.#followed.set(seq, { recordedMs, waiting, lastMs: waiting.size === 0 ? recordedMs : 0 })
  }

  /** A gate has every event up to `seq`, and has stopped what it must. */
  acknowledged(gate: string, seq: number): void {
    const now = this.#clock.wallMs()
    for (const [at, followed] of this.#followed) {
      if (at > seq) continue
      if (followed.waiting.delete(gate)) followed.lastMs = Math.max(followed.lastMs, now)
    }
  }

  /** What is known of one event; undefined when it is not followed any more. */
  effect(seq: number): Effect | undefined {
    const followed = this.#followed.get(seq)
    if (followed === undefined) return undefined
    const now = this.#clock.wallMs()
    for (const [gate, ends] of followed.waiting) {
      if (ends > now) continue
      followed.waiting.delete(gate)
      followed.lastMs = Math.max(followed.lastMs, ends)
    }
    const { recordedMs, waiting, lastMs } = followed
    return { seq, recordedMs, effectiveMs: waiting.size === 0 ? lastMs : undefined, waiting: waiting.size }
  }
}
