import {
  type Action, type AuthorizeRequest, Denied, type ForeignPermit, type ForeignState, foreignSubject, type ForeignVoucher, type IssueRequest, type JsonValue, MAX_VOUCHER_SECONDS, present, type SealedEntry, toBase64,
  verifyForeignPermit, verifyForeignVoucher, type VoucherEntry,
} from '@sealwrit/protocol'
import type { Sequencer } from '../log/sequencer.ts'
import { NO_FEDERATION, type PlanePorts } from '../ports.ts'
import { everybody } from './approvers.ts'

/** Something of this log as another plane takes it: sealed, with the proof from what that plane knows. */
export interface ForeignShown {
  readonly sealed: SealedEntry
  readonly consistency: readonly string[]
}

/** One plane of the trust list, and how far its log is known here. */
export interface ListedPlane {
  readonly origin: string
  readonly accepts: readonly string[]
  readonly max_age_seconds: number
  /** The newest checkpoint that anything was taken under; absent before the first. */
  readonly newest?: { readonly size: number; readonly root: string; readonly seq: number; readonly age_seconds: number }
}

/** What a request has to do with another plane, where it has. */
export interface Descent {
  readonly foreign?: ForeignPermit
  /** The principal: that of the parent as an opaque id of this plane, where there is one. */
  readonly sub: string
  readonly context?: { readonly direction: 'from' | 'to'; readonly origin: string }
  readonly lineage?: { readonly depth: number }
}

/** Other planes: what is taken from them, and what is made for them. Nothing that they send makes this one fetch anything. */
export class Federation {
  readonly #log: Sequencer
  readonly #ports: PlanePorts

  constructor(log: Sequencer, ports: PlanePorts) {
    this.#log = log
    this.#ports = ports
  }

  get #state(): ForeignState {
    const { crypto, clock, federation = NO_FEDERATION } = this.#ports
    const { foreign, timeMs } = this.#log.state
    return { crypto, origin: this.#log.origin, trusted: federation.trusted, newest: (origin) => foreign.newest.get(origin), nowSeconds: Math.floor(Math.max(clock.wallMs(), timeMs) / 1_000) }
  }

  /** Whether artifacts may be issued for the plane of this origin. */
  /** Whether a principal may be one of another plane. */
  get isTrusting(): boolean {
    return (this.#ports.federation ?? NO_FEDERATION).trusted.size > 0
  }

  isAudience(origin: string): boolean {
    return (this.#ports.federation ?? NO_FEDERATION).audiences.includes(origin)
  }

  /**
   * What a request has to do with other planes: the permit there that it descends from, or the plane that its artifact is for.
   * @param cnf the key that the agent proved here
   * @returns with whose request it is; the denial where it may not be
   */
  async descent(request: Pick<AuthorizeRequest | IssueRequest, 'action' | 'foreign' | 'parent' | 'delegates'>, { sub, cnf }: { readonly sub: string; readonly cnf?: string }, audience: string | undefined): Promise<Descent | Denied> {
    const { action, foreign: shown, parent, delegates } = request
    if (shown !== undefined && (audience ?? parent ?? delegates) !== undefined) return new Denied('delegation_widens', 'what came from another plane goes no further, and has one parent')
    if (audience !== undefined) return cnf === undefined ? new Denied('proof_of_possession_failed', 'another plane takes only what is bound to a key') : { sub, context: { direction: 'to', origin: audience } }
    if (shown === undefined) return { sub }
    try {
      const foreign = await this.permit(shown, action)
      if (foreign.entry.cnf !== cnf) return new Denied('proof_of_possession_failed', 'it is bound to another key than was proved here')
      const iss = foreign.plane.key.name
      return { foreign, sub: foreignSubject(iss, foreign.entry.sub, this.#log.origin, this.#ports.crypto.sha256), context: { direction: 'from', origin: iss }, lineage: { depth: foreign.entry.depth + 1 } }
    } catch (error) {
      if (error instanceof Denied) return error
      throw error
    }
  }

  /** A permit of another plane as the parent of a request for `action`. @throws {Denied} as {@link verifyForeignPermit} */
  async permit(shown: JsonValue, action: Action): Promise<ForeignPermit> {
    await this.#follow()
    return verifyForeignPermit(shown, action, this.#state)
  }

  /** @throws {Denied} as {@link verifyForeignVoucher} */
  async voucher(shown: JsonValue): Promise<ForeignVoucher> {
    await this.#follow()
    return verifyForeignVoucher(shown, this.#state)
  }

  /** Another plane of this log may have taken something newer. */
  async #follow(): Promise<void> {
    if (this.#ports.store.isShared) await this.#log.refresh()
  }

  async list(): Promise<{ origin: string; planes: readonly ListedPlane[]; audiences: readonly string[] }> {
    await this.#log.latest()
    const { trusted, audiences } = this.#ports.federation ?? NO_FEDERATION
    const planes = [...trusted].map(([origin, { accepts, maxAgeSeconds }]) => {
      const known = this.#log.state.foreign.newest.get(origin)
      const newest = known === undefined ? undefined : { size: known.size, root: known.digest, seq: known.seq, age_seconds: Math.max(0, Math.floor((this.#ports.clock.wallMs() - known.timeMs) / 1_000)) }
      return present<ListedPlane>({ origin, accepts, max_age_seconds: maxAgeSeconds, newest })
    })
    return { origin: this.#log.origin, planes, audiences }
  }

  /**
   * Says to another plane that a person is an approver here, at the place that the entry gets.
   * @param who the name or the id
   * @param key which of their keys, where they hold several
   * @throws {Denied} `audience_mismatch` for a plane that nothing is made for, `identity_unknown`
   */
  async vouch(who: string, key: string | undefined, audience: string, known: number): Promise<ForeignShown & { readonly seq: number; readonly exp: number }> {
    if (!this.isAudience(audience)) throw new Denied('audience_mismatch', 'nothing is made for this plane')
    const found = (await everybody(this.#log, this.#ports)).find(({ person, name }) => person === who || name === who)
    if (found === undefined) throw new Denied('identity_unknown', 'no such approver')
    const { seq, entry } = await this.#log.submit(({ approvals: { persons } }, _seq, timeMs) => {
      const person = persons.get(found.person)
      const held = key ?? person?.keys.at(-1)
      if (person === undefined || held === undefined || !person.keys.includes(held)) throw new Denied('identity_unknown', 'no such approver or key')
      const body = present<VoucherEntry>({ kind: 'voucher', person: person.person, key: held, groups: person.groups, sub: person.sub, aud: audience, exp: Math.floor(timeMs / 1_000) + MAX_VOUCHER_SECONDS })
      return { body, bodies: [] }
    })
    if (entry.kind !== 'voucher') throw new TypeError('a voucher became another entry')
    return { ...(await this.seal(seq, known)), seq, exp: entry.exp }
  }

  /**
   * Seals an entry that was made for another plane under the newest checkpoint, with the proof from the one of size `known` that it
   * knows; 0 where it knows none.
   * @throws {Denied} `request_malformed` for an entry that is for no plane, or a size that this log does not have
   */
  async seal(seq: number, known: number): Promise<ForeignShown> {
    const head = await this.#log.latest()
    if (seq >= head.size || known > head.size) throw new Denied('request_malformed', 'this log is not that long')
    const entry = await this.#log.read(seq)
    if ((entry.entry.kind !== 'permit' && entry.entry.kind !== 'voucher') || !this.isAudience(entry.entry.aud)) throw new Denied('request_malformed', 'the entry is for no other plane')
    const salt = (await this.#ports.store.bodies(seq)).find(({ purpose }) => purpose === 'action')?.salt
    return this.#log.sealed(Math.max(seq + 1, known), (shown) => ({ sealed: this.#log.seal(entry, shown, salt), consistency: this.#log.extends(known, shown).map(toBase64) }))
  }
}
