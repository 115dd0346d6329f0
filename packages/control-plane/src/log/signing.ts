import { Denied, type FollowedKeys, followKeys, formatLogKey, formatSignature, type KeyRing, type RingKey, sameKey, utf8 } from '@sealwrit/protocol'
import type { LogKey, PlanePorts, Sign } from '../ports.ts'
import type { LogState } from './state.ts'

/** How long one signature may take, in milliseconds: below what a gate waits for its answer. */
export const MAX_SIGNING_MS = 1_500
/** After a signature that failed nothing is signed for this long, in milliseconds: who waits is told at once. */
export const SIGNING_RETRY_MS = 1_000

/** The log keys that this plane signs with, and those that the log names. */
export class Signing {
  readonly #ports: PlanePorts
  readonly #signers: LogKey[]
  #followed: { readonly entries: LogState['keyEntries']; readonly keys: FollowedKeys } | undefined
  #failedMs = Number.NEGATIVE_INFINITY
  #failure: Denied | undefined

  constructor(ports: PlanePorts) {
    this.#ports = ports
    this.#signers = [ports.logKey, ...(ports.nextLogKey === undefined ? [] : [ports.nextLogKey])]
  }

  /** Why nothing can be signed at the moment; undefined while it can. */
  get failure(): Denied | undefined {
    return this.#failure
  }

  /** From here on this plane holds `key` too. */
  add(key: LogKey): void {
    if (!this.#signers.some((one) => sameKey(one.key, key.key))) this.#signers.push(key)
  }

  holds({ key }: Pick<RingKey, 'key'>): boolean {
    return this.#signers.some((one) => sameKey(one.key, key))
  }

  /** The keys that the log names, and those that this plane's own lead to. @throws {Denied} where the log says what no log may say */
  keys({ keyEntries }: LogState): FollowedKeys {
    if (this.#followed?.entries === keyEntries) return this.#followed.keys
    const { formerLogKey, crypto } = this.#ports
    const own = this.#signers.map(({ key }) => key)
    const keys = followKeys(formerLogKey === undefined ? own : [...own, formerLogKey], keyEntries, crypto)
    this.#followed = { entries: keyEntries, keys }
    return keys
  }

  /** The keys that sign now, the oldest first: one, or while a rotation lasts two. */
  current(state: LogState): readonly RingKey[] {
    const { keyEntries } = state
    if (keyEntries.length === 0) return [{ key: this.#ports.logKey.key, epoch: 1, until: undefined }]
    return this.ofHistory(state).keys.filter(({ epoch, until }) => epoch > 0 && until === undefined)
  }

  /** The keys under which this history was signed: those before it was re-anchored signed another one. */
  ofHistory(state: LogState): KeyRing {
    const since = state.keyEntries.filter(({ event }) => event !== 'revoked').findLastIndex(({ event }) => event !== 'rotated')
    const { name, keys } = this.keys(state).named
    return { name, keys: keys.filter(({ epoch }) => epoch === 0 || epoch > since) }
  }

  /**
   * Signs a note under every key that is current, as far as this plane holds them.
   * @throws {Denied} `evidence_unavailable` where a signature fails; `key_revoked` where this plane holds no current key any more
   */
  async sign(text: string, state: LogState): Promise<string> {
    const able = this.current(state).flatMap(({ key }) => this.#signers.find((one) => sameKey(one.key, key)) ?? [])
    if (able.length === 0) throw new Denied('key_revoked', 'this plane holds no key that signs this log now; give it the new one and start it again')
    if (this.#ports.clock.monotonicMs() - this.#failedMs < SIGNING_RETRY_MS && this.#failure !== undefined) throw this.#failure
    try {
      let note = `${text}\n`
      for (const one of able) note += await this.lines(one, text)
      this.#failure = undefined
      return note
    } catch (error) {
      this.#failedMs = this.#ports.clock.monotonicMs()
      this.#failure = new Denied('evidence_unavailable', `the log key does not sign: ${error instanceof Error ? error.message : 'unknown error'}`)
      throw this.#failure
    }
  }

  /** The signature lines of one key over a text. */
  async lines({ key, sign, signPq }: LogKey, text: string): Promise<string> {
    const message = utf8(text)
    const own = formatSignature(key, await this.#made(sign, message))
    if (key.pq === undefined) return own
    if (signPq === undefined) throw new Error(`no signer for the ML-DSA-65 half of ${formatLogKey(key).slice(0, 64)}`)
    return own + formatSignature({ name: key.name, id: key.pq.id }, await this.#made(signPq, message))
  }

  /** What a signer gives, at once or in time. */
  #made(sign: Sign, message: Uint8Array): Uint8Array | Promise<Uint8Array> {
    const made = sign(message)
    if (!(made instanceof Promise)) return made
    return new Promise((resolve, reject) => {
      const cancel = this.#ports.clock.after(MAX_SIGNING_MS, () => reject(new Error(`no signature within ${MAX_SIGNING_MS} ms`)))
      made.then(resolve, reject).finally(cancel)
    })
  }
}
