import { Denied, formatLogKey, formatVerifierKey, keyMembers, keyText, type LogKeyEntry, MAX_KEY_ENTRIES, MAX_LOG_KEYS, present, type RingKey, sameKey } from '@sealwrit/protocol'
import type { Written } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { LogState } from '../log/state.ts'
import type { Keychain, PlanePorts } from '../ports.ts'

/** How long both keys sign when nobody says otherwise, in milliseconds: gates that are away for longer follow the entries all the same. */
export const OVERLAP_MS = 3_600_000
export const MAX_OVERLAP_MS: number = 90 * 86_400_000
/** A retirement that could not be written is tried again after this time, in milliseconds. */
const RETRY_MS = 5_000

/** A key of the log as it is listed. */
export interface ListedKey {
  readonly id: string
  readonly epoch: number
  /** Leaf index of the entry that brought it. */
  readonly seq?: number
  readonly state: 'current' | 'ending' | 'revoked'
  /** As a verifier key; of a hybrid one both halves, a line each. */
  readonly key: string
  /** It signs for trees of no more leaves than this. */
  readonly until?: number
  /** When its overlap ends, milliseconds since 1970. */
  readonly ends?: number
  /** Whether this plane can sign with it. */
  readonly held: boolean
}

/** The log's own keys: who takes over from whom, and from which index on a key counts for nothing. @see spec/keys.md */
export class Keys {
  readonly #log: Sequencer
  readonly #ports: PlanePorts
  readonly #keychain: Keychain | undefined
  readonly #unwatch: () => void
  #cancel = (): void => undefined
  #isClosed = false

  constructor(log: Sequencer, ports: PlanePorts) {
    this.#log = log
    this.#ports = ports
    this.#keychain = ports.keychain
    this.#unwatch = log.watch(({ entry }) => {
      if (entry.kind === 'key' && entry.purpose === 'log') this.#schedule()
    })
    this.#schedule()
  }

  close(): void {
    this.#isClosed = true
    this.#unwatch()
    this.#cancel()
  }

  /** The newest key, and where a rotation lasts the one before it. */
  list(): readonly ListedKey[] {
    const { state, signing } = this.#log
    const current = signing.current(state)
    return signing.keys(state).named.keys.map((one) => {
      const brought = state.keyEntries.find(({ event, key }) => event !== 'revoked' && key === formatVerifierKey(one.key))
      const isEnding = current.length > 1 && one === current[0]
      return present<ListedKey>({
        id: one.key.id, epoch: one.epoch, seq: brought?.seq, state: isEnding ? 'ending' : current.includes(one) ? 'current' : 'revoked', key: formatLogKey(one.key), until: one.until,
        ends: isEnding ? endOf(state) : undefined, held: signing.holds(one),
      })
    })
  }

  /**
   * Has a new key take over: from its entry on both sign, and when the overlap is over the old one is retired.
   * @throws {Denied} `request_malformed` while a rotation lasts; `unavailable` where this plane can make no keys
   */
  async rotate(overlapMs: number): Promise<{ readonly seq: number; readonly epoch: number; readonly key: string; readonly until: number }> {
    const keychain = this.#keychain
    if (keychain === undefined) throw new Denied('unavailable', 'this plane cannot make log keys')
    const { signing } = this.#log
    const [old, another] = signing.current(this.#log.state)
    if (old === undefined || another !== undefined) throw new Denied('request_malformed', 'a rotation is under way')
    const next = await keychain.next()
    const epoch = old.epoch + 1
    if (next.key.name !== old.key.name || sameKey(next.key, old.key)) throw new Denied('request_malformed', 'the key that takes over must be another one of this log')
    if (epoch > MAX_LOG_KEYS) throw new Denied('overloaded', 'this log has had too many keys')
    const text = keyText(next.key, epoch)
    // Who knows the old key alone can follow by this; and nobody takes over with a key that is not held.
    const note = `${await signing.sign(text, this.#log.state)}${await signing.lines(next, text)}`
    signing.add(next)
    const { seq, entry } = await this.#log.submit((state, _seq, timeMs): Written => {
      const [now, more] = signing.current(state)
      if (now === undefined || more !== undefined || now.epoch !== old.epoch) throw new Denied('request_malformed', 'another rotation was first')
      roomFor(state)
      return { body: { kind: 'key', purpose: 'log', event: 'rotated', ...keyMembers(next.key), epoch, note, until: timeMs + overlapMs }, bodies: [] }
    })
    return { seq, epoch, key: formatLogKey(next.key), until: (entry as LogKeyEntry).until ?? 0 }
  }

  /**
   * From leaf index `from` on a log key counts for nothing: it signs no larger tree than that.
   * @param id of the key, 8 hexadecimal digits
   * @throws {Denied} `key_unknown`; `request_malformed` for the newest key, an index that is to come, or a larger one than before
   */
  async revokeLogKey(id: string, from: number | undefined, by: string): Promise<{ readonly seq: number; readonly from: number }> {
    return this.#revoked(await this.#log.submit((state, seq) => {
      const { keys } = this.#log.signing.keys(state).named
      const at = keys.findIndex(({ key }) => key.id === id)
      const found = keys[at]
      if (found === undefined) throw new Denied('key_unknown', 'the log has no such key')
      if (at === keys.length - 1) throw new Denied('request_malformed', 'it is the newest key: have another one take over first')
      checkFrom(from ?? seq, seq, found.until)
      roomFor(state)
      return { body: revocation(found, from ?? seq, by), bodies: [] }
    }))
  }

  /**
   * From leaf index `from` on, by default from here, nothing that the gate said counts; it opens no session any more.
   * @throws {Denied} `identity_unknown`; `request_malformed` as for a log key
   */
  async revokeGate(gate: string, from: number | undefined, by: string): Promise<{ readonly seq: number; readonly from: number }> {
    return this.#revoked(await this.#log.submit((state, seq) => {
      if (!state.gates.has(gate)) throw new Denied('identity_unknown', 'no such gate is enrolled')
      checkFrom(from ?? seq, seq, state.revokedGates.get(gate)?.from)
      roomFor(state)
      return { body: { kind: 'key', purpose: 'gate', event: 'revoked', gate, from: from ?? seq, by }, bodies: [] }
    }))
  }

  #revoked({ seq, entry }: { readonly seq: number; readonly entry: object }): { readonly seq: number; readonly from: number } {
    return { seq, from: (entry as { from: number }).from }
  }

  /** Waits for the end of the overlap that is under way; puts away what is not current. */
  #schedule(): void {
    this.#cancel()
    const { signing, state } = this.#log
    if (this.#isClosed || state.keyEntries.length < 2) return
    const current = signing.current(state)
    const [only] = current
    if (current.length === 1 && only !== undefined && signing.holds(only)) this.#keychain?.adopt(only.key)
    if (current.length > 1) this.#wait(Math.max(0, endOf(state) - this.#ports.clock.wallMs()))
  }

  #wait(ms: number): void {
    this.#cancel = this.#ports.clock.after(Math.min(ms, 86_400_000), () => void this.#retire().catch(() => this.#isClosed || this.#wait(RETRY_MS)))
  }

  async #retire(): Promise<void> {
    const { signing } = this.#log
    let isEarly = false
    await this.#log.ensure((state) => {
      const [old, next] = signing.current(state)
      // A plane that cannot sign with the new key must not be the one that ends the old.
      isEarly = next !== undefined && (state.timeMs < endOf(state) && this.#ports.clock.wallMs() < endOf(state) || !signing.holds(next))
      return old === undefined || next === undefined || isEarly ? undefined : { body: revocation(old, this.#log.size, undefined), bodies: [] }
    })
    if (isEarly) this.#wait(Math.max(RETRY_MS, endOf(this.#log.state) - this.#ports.clock.wallMs()))
  }
}

function revocation({ key }: RingKey, from: number, by: string | undefined): LogKeyEntry {
  return present<LogKeyEntry>({ kind: 'key', purpose: 'log', event: 'revoked', ...keyMembers(key), from, by })
}

/** When the overlap of the newest rotation ends. */
function endOf({ keyEntries }: LogState): number {
  return keyEntries.findLast(({ event }) => event === 'rotated')?.until ?? 0
}

function checkFrom(from: number, seq: number, before: number | undefined): void {
  if (from > seq) throw new Denied('request_malformed', 'an index that is to come')
  if (before !== undefined && from >= before) throw new Denied('request_malformed', `it is revoked from index ${before} on already`)
}

function roomFor({ keyEntries, revokedGates }: LogState): void {
  let statements = keyEntries.length
  for (const { seqs } of revokedGates.values()) statements += seqs.length
  if (statements >= MAX_KEY_ENTRIES) throw new Denied('overloaded', 'this log has too many statements about keys')
}
