import {
  type Checkpoint, type Crypto, Denied, type Entry, followKeys, type FollowedKeys, isObject, type JsonValue, type KeyRing, leafHash, type LogKeyEntry, MAX_LOG_KEYS, type NoteKey, type OpenedSeal, parseEntry, parseSealed, type Placed, utf8,
  verifyInclusion,
} from '@sealwrit/protocol'

/** Statements about keys that are read of one answer: each key comes, and goes. */
const MAX_STATEMENTS: number = 2 * MAX_LOG_KEYS
/** A key that is not known is looked for once in this time, in milliseconds, by enrolling anew (ATK-063). */
export const KEY_REFRESH_MS = 10_000
type Statement = Placed<LogKeyEntry>

/**
 * The keys of the log, as far as the one that this gate was given leads to them. What is learned is what the log says, under a
 * checkpoint that extends all that this gate saw; the key epoch never goes back.
 */
export class LogKeys {
  readonly #anchor: NoteKey
  readonly #crypto: Crypto
  #texts: readonly string[]
  #followed: FollowedKeys
  #isMissing = false
  #refreshedMs = Number.NEGATIVE_INFINITY

  /**
   * @param texts entries about keys, as they were kept
   * @throws {Denied} `state_diverged` where they do not lead from the anchor to the key epoch that was kept with them
   */
  constructor(anchor: NoteKey, texts: readonly string[], epoch: number, crypto: Crypto) {
    this.#anchor = anchor
    this.#crypto = crypto
    this.#texts = texts
    try {
      this.#followed = this.#follow(texts)
    } catch (error) {
      throw new Denied('state_diverged', `what this gate kept of the keys of its log does not hold: ${error instanceof Error ? error.message : 'unknown'}`)
    }
    if (this.epoch < epoch) throw new Denied('state_diverged', 'the log key that this gate was given does not lead to the one that it knew')
  }

  get ring(): KeyRing {
    return this.#followed.trusted
  }
  get epoch(): number {
    return epochOf(this.#followed)
  }
  get texts(): readonly string[] {
    return this.#texts
  }

  /** What a verification failed with: of a key that is not known the plane may have to say more. */
  failed(error: unknown): void {
    if (error instanceof Denied && error.code === 'key_unknown') this.#isMissing = true
  }

  /** Begins an enrolment, in which the plane says what it has to say of keys. @throws {Denied} `key_unknown` where that was just done, for nothing */
  refresh(nowMs: number): void {
    if (!this.#isMissing) return
    if (nowMs - this.#refreshedMs < KEY_REFRESH_MS) throw new Denied('key_unknown', 'the plane signs with a key that this gate does not know')
    this.#isMissing = false
    this.#refreshedMs = nowMs
  }

  #follow(texts: readonly string[]): FollowedKeys {
    return followKeys([this.#anchor], texts.map(statementOf), this.#crypto)
  }

  /**
   * What the plane says of keys, all of it or one statement more. They count only when a checkpoint under the keys that they lead to
   * was accepted, and each is under it.
   * @throws {Denied} `state_diverged` where the key epoch goes back; as `followKeys`
   */
  offered(sealed: readonly JsonValue[], isWhole: boolean): Offered {
    if (sealed.length > MAX_STATEMENTS) throw new Denied('artifact_malformed', 'too many statements about keys')
    const seals = sealed.map((one) => parseSealed(one))
    const given = seals.map(({ entry }) => entry)
    const texts = isWhole ? given : [...this.#texts.filter((text) => !given.includes(text)), ...given].sort((a, b) => statementOf(a).seq - statementOf(b).seq)
    if (!this.#texts.every((text) => texts.includes(text))) throw new Denied('state_diverged', 'the plane leaves out what this gate knows of keys')
    const followed = this.#follow(texts)
    if (epochOf(followed) < this.epoch) throw new Denied('state_diverged', 'the key epoch goes back')
    return {
      ring: followed.trusted,
      adopt: (checkpoint) => {
        for (const seal of seals) verifyStatement(seal, checkpoint, this.#crypto)
        this.#texts = texts
        this.#followed = followed
      },
    }
  }
}

/** Keys that are looked at, and taken when the checkpoint that they stand under was accepted. */
export interface Offered {
  readonly ring: KeyRing
  /** @throws {Denied} `seal_invalid` */
  adopt(checkpoint: Checkpoint): void
}

/** Whether a sealed entry speaks of the log's own key. */
export function speaksOfLogKey(sealed: JsonValue): boolean {
  if (!isObject(sealed) || typeof sealed['entry'] !== 'string' || !sealed['entry'].includes('"kind":"key"')) return false
  const entry = parseEntry(sealed['entry'])
  return entry.kind === 'key' && entry.purpose === 'log'
}

function statementOf(text: string): Statement {
  const entry: Entry = parseEntry(text)
  if (entry.kind !== 'key' || entry.purpose !== 'log') throw new Denied('type_mismatch', 'not about a key of the log')
  return entry
}

function epochOf({ trusted }: FollowedKeys): number {
  return Math.max(...trusted.keys.map(({ epoch }) => epoch))
}

function verifyStatement({ entry, proof: { index, hashes } }: OpenedSeal, { size, root }: Checkpoint, crypto: Crypto): void {
  verifyInclusion({ index, size, leaf: leafHash(utf8(entry), crypto.sha256), root, proof: hashes }, crypto.sha256)
  if (statementOf(entry).seq !== index) throw new Denied('seal_invalid', 'seq is not the leaf index')
}
