import { type Clock, Denied, type Rng, type Sha256, toBase64Url, utf8, equalBytes } from '@sealwrit/protocol'

/** How long a session lives, and how long it may lie idle, in milliseconds. */
export const SESSION_LIFE_MS = 28_800_000
export const SESSION_IDLE_MS = 1_800_000
/** Sessions at once, and those of one person: the oldest of theirs goes. */
export const MAX_SESSIONS = 10_000
export const MAX_SESSIONS_OF_ONE = 8
const SECRET_BYTES = 32

export interface Session {
  readonly person: string
  /** Leaf index of what the log said of the person when it began: anything newer ends it. */
  readonly since: number
  readonly endsMs: number
}

/** What a login gives: `secret` for the cookie, `token` for the header of whatever changes something. Both are shown once. */
export interface Begun {
  readonly secret: string
  readonly token: string
  readonly seconds: number
}

interface Kept extends Session {
  readonly token: Uint8Array
  usedMs: number
}

/** The sessions of people, in memory only: a restart ends them all. What is kept is a digest of each secret, and no secret. */
export class Sessions {
  readonly #clock: Clock
  readonly #rng: Rng
  readonly #sha256: Sha256
  /** Oldest first, by the digest of the secret. */
  readonly #kept = new Map<string, Kept>()

  constructor(clock: Clock, rng: Rng, sha256: Sha256) {
    this.#clock = clock
    this.#rng = rng
    this.#sha256 = sha256
  }

  /** @throws {Denied} `overloaded` */
  begin(person: string, since: number): Begun {
    this.#sweep()
    const own = [...this.#kept].filter(([, kept]) => kept.person === person)
    if (own.length >= MAX_SESSIONS_OF_ONE) this.#kept.delete((own[0] as [string, Kept])[0])
    if (this.#kept.size >= MAX_SESSIONS) throw new Denied('overloaded', 'too many sessions')
    const [secret, token] = [toBase64Url(this.#rng.bytes(SECRET_BYTES)), toBase64Url(this.#rng.bytes(SECRET_BYTES))]
    const now = this.#clock.monotonicMs()
    this.#kept.set(this.#key(secret), { person, since, token: this.#sha256(utf8(token)), endsMs: now + SESSION_LIFE_MS, usedMs: now })
    return { secret, token, seconds: SESSION_LIFE_MS / 1_000 }
  }

  get size(): number {
    return this.#kept.size
  }

  /** The session of `secret`, which is used by that; undefined where there is none, or no longer. Looked up by digest: what is compared tells nothing of a secret (ATK-122). */
  use(secret: string): Session | undefined {
    const found = this.look(secret)
    if (found !== undefined) (found as Kept).usedMs = this.#clock.monotonicMs()
    return found
  }

  /** As {@link Sessions.use}, without using it. */
  look(secret: string): Session | undefined {
    const key = this.#key(secret)
    const kept = this.#kept.get(key)
    if (kept === undefined || this.#isAlive(kept)) return kept
    this.#kept.delete(key)
    return undefined
  }

  /** Whether `token` was given together with `secret`; as long for any token. */
  isToken(secret: string, token: string): boolean {
    const kept = this.#kept.get(this.#key(secret))
    return kept !== undefined && equalBytes(kept.token, this.#sha256(utf8(token)))
  }

  end(secret: string): void {
    this.#kept.delete(this.#key(secret))
  }

  #isAlive({ endsMs, usedMs }: Kept): boolean {
    const now = this.#clock.monotonicMs()
    return now < endsMs && now - usedMs < SESSION_IDLE_MS
  }

  #sweep(): void {
    for (const [key, kept] of this.#kept) if (!this.#isAlive(kept)) this.#kept.delete(key)
  }

  #key(secret: string): string {
    return toBase64Url(this.#sha256(utf8(secret)))
  }
}
