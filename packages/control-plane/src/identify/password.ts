import { argon2, timingSafeEqual } from 'node:crypto'
import { canonicalText, Denied, Fields, fromBase64Url, parseStrictText, type Rng, toBase64Url } from '@sealwrit/protocol'

/** What one hash costs: KiB of memory, filled this often. @see RFC 9106 section 3.1 */
export interface PasswordCost {
  readonly memoryKib: number
  readonly passes: number
}

/** 19 MiB twice: about 50 ms of one core, so that a login stays below 100. @see OWASP Password Storage Cheat Sheet, Argon2id */
export const PASSWORD_COST: PasswordCost = Object.freeze({ memoryKib: 19_456, passes: 2 })
/** Characters that a password has, and bytes. */
export const MIN_PASSWORD = 12
export const MAX_PASSWORD_BYTES = 1_024
/** Hashes in work at once, and how many may wait for them. */
export const MAX_HASHING = 2
export const MAX_WAITING = 32
/** What a stored record may ask for. */
const MAX_COST: PasswordCost = { memoryKib: 131_072, passes: 16 }
const HASH_BYTES = 32

/**
 * Passwords as they are kept: a salt of their own, what they cost, and what Argon2id made of them. An unknown name costs what a wrong
 * password costs (ATK-122).
 */
export class Passwords {
  readonly #rng: Rng
  readonly #cost: PasswordCost
  readonly #waiting: (() => void)[] = []
  #inWork = 0

  constructor(rng: Rng, cost: PasswordCost = PASSWORD_COST) {
    this.#rng = rng
    this.#cost = cost
  }

  /** @throws {Denied} `request_malformed` for one that is too short or too long, `overloaded` */
  async hash(password: string): Promise<string> {
    const text = normal(password)
    if (Array.from(text).length < MIN_PASSWORD || Buffer.byteLength(text) > MAX_PASSWORD_BYTES) throw new Denied('request_malformed', `a password has at least ${MIN_PASSWORD} characters and at most ${MAX_PASSWORD_BYTES} bytes`)
    const salt = this.#rng.bytes(16)
    const { memoryKib, passes } = this.#cost
    return canonicalText({ hash: toBase64Url(await this.#derive(text, salt, this.#cost)), memory_kib: memoryKib, passes, salt: toBase64Url(salt), scheme: 'argon2id' })
  }

  /** Whether it is the one of `record`. Without a record it takes as long, and is false. @throws {Denied} `overloaded` */
  async isRight(password: string, record: string | undefined): Promise<boolean> {
    const { salt, hash, cost } = record === undefined ? { salt: this.#rng.bytes(16), hash: new Uint8Array(HASH_BYTES), cost: this.#cost } : read(record)
    const text = normal(password)
    const isLong = Buffer.byteLength(text) > MAX_PASSWORD_BYTES
    const made = await this.#derive(isLong ? '' : text, salt, cost)
    return timingSafeEqual(made, hash) && record !== undefined && !isLong
  }

  /** A few at a time: the memory of all of them is bounded, and whoever tries many at once waits for themselves. */
  async #derive(text: string, salt: Uint8Array, { memoryKib, passes }: PasswordCost): Promise<Buffer> {
    if (this.#inWork >= MAX_HASHING) {
      if (this.#waiting.length >= MAX_WAITING) throw new Denied('overloaded', 'too many logins at once')
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    this.#inWork++
    try {
      return await new Promise((resolve, reject) => argon2('argon2id', { message: text, nonce: salt, parallelism: 1, tagLength: HASH_BYTES, memory: memoryKib, passes }, (error, key) => (error === null ? resolve(key) : reject(error))))
    } finally {
      this.#inWork--
      this.#waiting.shift()?.()
    }
  }
}

/** The same characters, however a keyboard composes them. @see NIST SP 800-63B section 5.1.1.2 */
function normal(password: string): string {
  return password.normalize('NFC')
}

function read(record: string): { salt: Uint8Array; hash: Uint8Array; cost: PasswordCost } {
  const fields = new Fields(parseStrictText(record), 'evidence_unavailable', 'password')
  fields.literal('scheme', 'argon2id')
  const found = { salt: fromBase64Url(fields.text('salt')), hash: fromBase64Url(fields.text('hash')), cost: { memoryKib: fields.integer('memory_kib', MAX_COST.memoryKib), passes: fields.integer('passes', MAX_COST.passes) } }
  fields.end()
  if (found.hash.length !== HASH_BYTES) throw new Denied('evidence_unavailable', 'password: hash')
  return found
}
