import { type Clock, Denied } from '@sealwrit/protocol'
import { type Algorithm, type KeyUse, readKeySet, type VerificationKey } from './jwk.ts'

/** How often a set is fetched at most, whatever key ids are asked for, in milliseconds (ATK-063). */
export const REFRESH_INTERVAL_MS = 60_000
/** The same after an attempt that failed. */
export const RETRY_KEYS_MS = 10_000
/** A set is fetched again when it is this old, in milliseconds. */
export const REFRESH_AGE_MS = 600_000
/** A set that could not be fetched anew is used this long, in milliseconds. */
export const MAX_KEY_AGE_MS = 86_400_000

/** Gives the bytes of a key set, bounded in size and time. */
export type LoadKeys = () => Promise<Uint8Array>

/**
 * The keys of one issuer. An unknown key id asks for a refresh, but all of them together for one an interval; who comes meanwhile
 * waits for that one. What cannot be fetched or read leaves the keys that are there, for a day.
 */
export class KeySource {
  readonly #load: LoadKeys
  readonly #clock: Clock
  readonly #algorithms: readonly Algorithm[]
  readonly #use: KeyUse
  readonly #maxAgeMs: number
  #keys: ReadonlyMap<string, VerificationKey> = new Map()
  #loadedMs = Number.NEGATIVE_INFINITY
  /** Nothing is fetched before. */
  #nextMs = Number.NEGATIVE_INFINITY
  #refreshing: Promise<void> | undefined
  /** Why the last refresh failed; undefined when it did not. */
  failure: string | undefined

  /** @param maxAgeMs a set that is older is fetched again before it is used */
  constructor(load: LoadKeys, clock: Clock, algorithms: readonly Algorithm[], use: KeyUse, maxAgeMs: number = REFRESH_AGE_MS) {
    this.#load = load
    this.#clock = clock
    this.#algorithms = algorithms
    this.#use = use
    this.#maxAgeMs = maxAgeMs
  }

  /** @throws {Denied} `unavailable` while no set could be read, `identity_invalid` for an id that is not in it */
  async find(kid: string): Promise<VerificationKey> {
    const age = (): number => this.#clock.monotonicMs() - this.#loadedMs
    if (!this.#keys.has(kid) || age() >= this.#maxAgeMs) await this.#refresh()
    if (age() >= MAX_KEY_AGE_MS) throw new Denied('unavailable', `the keys of the issuer cannot be read: ${this.failure ?? 'not tried'}`)
    const key = this.#keys.get(kid)
    if (key === undefined) throw new Denied('identity_invalid', 'token: signed by a key that the issuer does not show')
    return key
  }

  #refresh(): Promise<void> {
    if (this.#refreshing !== undefined) return this.#refreshing
    const now = this.#clock.monotonicMs()
    if (now < this.#nextMs) return Promise.resolve()
    this.#nextMs = now + REFRESH_INTERVAL_MS
    this.#refreshing = this.#fetch(now).finally(() => {
      this.#refreshing = undefined
    })
    return this.#refreshing
  }

  async #fetch(now: number): Promise<void> {
    try {
      this.#keys = readKeySet(await this.#load(), this.#algorithms, this.#use)
      this.#loadedMs = now
      this.failure = undefined
    } catch (error) {
      this.failure = error instanceof Error ? error.message : 'unknown error'
      this.#nextMs = now + RETRY_KEYS_MS
    }
  }
}
