import { Denied } from '@sealwrit/protocol'
import type { OpenSeat } from '../seat.ts'
import { Session, type SessionPorts } from './session.ts'
import type { Visitor } from './visitor.ts'

/** Sessions at once, and of one principal. */
export const MAX_SESSIONS = 256
export const MAX_SESSIONS_OF_ONE = 64
/** A session that nobody uses is over after this time, in milliseconds. */
export const SESSION_IDLE_MS = 1_800_000
const SWEEP_MS = 60_000

/** The sessions of one listener. */
export class Sessions {
  readonly #sessions = new Map<string, Session>()
  readonly #openSeat: OpenSeat
  readonly #ports: SessionPorts
  #cancelSweep: () => void = () => undefined
  #open = true

  constructor(openSeat: OpenSeat, ports: SessionPorts) {
    this.#openSeat = openSeat
    this.#ports = ports
    this.#sweep()
  }

  get size(): number {
    return this.#sessions.size
  }

  /** @throws {Denied} `overloaded` */
  begin(visitor: Visitor): Session {
    const of = [...this.#sessions.values()].filter(({ principal }) => principal === visitor.principal)
    if (!this.#open || this.#sessions.size >= MAX_SESSIONS || of.length >= MAX_SESSIONS_OF_ONE) throw new Denied('overloaded', 'too many sessions')
    const session = new Session(visitor, this.#openSeat, this.#ports, ({ id }) => this.#sessions.delete(id))
    this.#sessions.set(session.id, session)
    return session
  }

  /**
   * The session of this id, for who it was given to. For anybody else it is as if there were none.
   * @throws {Denied} `subject_mismatch`
   */
  find(id: string, visitor: Visitor): Session | undefined {
    const session = this.#sessions.get(id)
    if (session === undefined) return undefined
    if (session.principal !== visitor.principal) throw new Denied('subject_mismatch', 'the session of somebody else')
    session.lastUsedMs = this.#ports.clock.monotonicMs()
    return session
  }

  close(reason: string): void {
    this.#open = false
    this.#cancelSweep()
    for (const session of this.#sessions.values()) session.end(reason)
  }

  #sweep(): void {
    this.#cancelSweep = this.#ports.clock.after(SWEEP_MS, () => {
      const before = this.#ports.clock.monotonicMs() - SESSION_IDLE_MS
      for (const session of this.#sessions.values()) if (!session.isBusy && session.lastUsedMs < before) session.end('not used for too long')
      this.#sweep()
    })
  }
}
