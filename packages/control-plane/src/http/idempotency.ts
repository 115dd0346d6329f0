import { canonicalText, Denied, type JsonValue, type Sha256, utf8 } from '@sealwrit/protocol'

/** How long an answer is given again, in milliseconds: longer than what was issued can be started. */
export const KEY_LIFE_MS = 600_000
/** Keys that are remembered at once. A new one beyond it is `overloaded`: forgetting one could issue twice. */
export const MAX_KEYS = 10_000
const FORM = /^[\x21-\x7e]{1,128}$/

interface Remembered {
  readonly digest: string
  readonly answer: Promise<unknown>
  readonly untilMs: number
}

/**
 * Answers what was asked before under the same key again, for the same body only. It is for requests that carry no challenge, which would
 * do that durably; this one is forgotten when the process ends, and what was issued then expires unused.
 */
export class IdempotencyKeys {
  readonly #sha256: Sha256
  /** Oldest first. */
  readonly #known = new Map<string, Remembered>()

  constructor(sha256: Sha256) {
    this.#sha256 = sha256
  }

  get size(): number {
    return this.#known.size
  }

  /**
   * @param whose who asks, so that nobody hears the answer of somebody else
   * @throws {Denied} `request_malformed`; `challenge_mismatch` where the key stands for another body; `overloaded`; and what `ask` throws, which is not remembered
   */
  async once<T>(whose: string, key: string | readonly string[], body: JsonValue, nowMs: number, ask: () => Promise<T>): Promise<T> {
    if (typeof key !== 'string' || !FORM.test(key)) throw new Denied('request_malformed', 'an idempotency key is 1 to 128 visible characters')
    for (const [old, { untilMs }] of this.#known) {
      if (untilMs > nowMs) break
      this.#known.delete(old)
    }
    const name = `${whose}\n${key}`
    const digest = Buffer.from(this.#sha256(utf8(canonicalText(body)))).toString('base64url')
    const known = this.#known.get(name)
    if (known !== undefined) {
      if (known.digest !== digest) throw new Denied('challenge_mismatch', 'the key stands for another request')
      return known.answer as Promise<T>
    }
    if (this.#known.size >= MAX_KEYS) throw new Denied('overloaded')
    const answer = ask()
    this.#known.set(name, { digest, answer, untilMs: nowMs + KEY_LIFE_MS })
    try {
      return await answer
    } catch (error) {
      this.#known.delete(name)
      throw error
    }
  }
}
