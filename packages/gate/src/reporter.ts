import { type Clock, Denied, type DenialReport, type JsonObject, type JsonValue, present, type Receipt, type Scope } from '@sealwrit/protocol'
import type { Gate } from './gate.ts'

/** Signed accounts that wait for a plane that does not answer. */
export const MAX_PENDING = 1_000

interface Pending {
  readonly method: 'receipts' | 'denials'
  readonly params: JsonObject
}

/**
 * Signs this gate's accounts, numbers them, and delivers them. What cannot be delivered is kept, bounded, and delivered
 * on reconnection; what overflows is counted and the count is delivered.
 */
export class Reporter {
  readonly #gate: Gate
  readonly #clock: Clock
  readonly #pending: Pending[] = []
  #receipts = 0
  #denials = 0
  #lost = 0
  #flushing = false

  constructor(gate: Gate, clock: Clock) {
    this.#gate = gate
    this.#clock = clock
  }

  /** Delivers a receipt. @throws {Denied} `evidence_unavailable` when it is not durable in time; it stays in the queue then */
  async receipt(claims: Omit<Receipt, 'gate' | 'tenant' | 'session' | 'sequence'>, result?: { salt: string; digest: string }): Promise<void> {
    const receipt: Receipt = { ...claims, gate: this.#gate.id, tenant: this.#gate.tenant, session: this.#gate.session, sequence: this.#receipts++, anchor: this.#gate.anchor }
    const token = this.#gate.sign('execution-receipt+jwt', receipt as unknown as JsonObject)
    const item: Pending = { method: 'receipts', params: present<JsonObject>({ session: this.#gate.session, receipt: token, result }) }
    try {
      await this.#deliver(item)
      this.flush() // the plane takes receipts again, perhaps over the very connection on which it had refused some
    } catch (error) {
      this.#keep(item)
      throw new Denied('evidence_unavailable', error instanceof Error ? error.message : 'not delivered')
    }
  }

  /** Signs and delivers, or keeps, the account of something this gate refused by itself. */
  async denial(denied: Denied, about: { scope?: Scope; challenge?: string }): Promise<void> {
    const report = present<DenialReport>({
      gate: this.#gate.id,
      tenant: this.#gate.tenant,
      session: this.#gate.session,
      sequence: this.#denials++,
      time: Math.floor(this.#clock.wallMs()),
      code: denied.code,
      scope: about.scope,
      challenge: about.challenge,
      checks: denied.checks,
    })
    const item: Pending = {
      method: 'denials',
      params: { session: this.#gate.session, denial: this.#gate.sign('execution-denial+jwt', report as unknown as JsonObject) },
    }
    if (!this.#gate.isConnected) return this.#keep(item)
    await this.#deliver(item).catch(() => this.#keep(item))
  }

  /** Delivers what waits, in order, without holding anybody up. */
  flush(): void {
    if (this.#flushing || this.#pending.length === 0) return
    this.#flushing = true
    void (async () => {
      try {
        for (let item = this.#pending[0]; item !== undefined && this.#gate.isConnected; item = this.#pending[0]) {
          const lost = this.#lost
          const params = lost > 0 && item.method === 'denials' ? { ...item.params, lost } : item.params
          await this.#deliver({ ...item, params })
          if (params !== item.params) this.#lost -= lost
          this.#pending.shift()
        }
      } catch (error) {
        // Refused for good (not merely undelivered): keeping it would block the queue for ever.
        if (error instanceof Denied && error.code !== 'unavailable' && error.code !== 'evidence_unavailable' && error.code !== 'overloaded') this.#pending.shift()
      } finally {
        this.#flushing = false
      }
    })()
  }

  get pending(): number {
    return this.#pending.length
  }

  async #deliver(item: Pending): Promise<void> {
    const link = await this.#gate.connect()
    await link.request(item.method, item.params as JsonValue, () => undefined)
  }

  #keep(item: Pending): void {
    if (this.#pending.length < MAX_PENDING) this.#pending.push(item)
    else this.#lost++
  }
}
