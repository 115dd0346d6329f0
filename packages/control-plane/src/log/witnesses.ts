import {
  Denied, type DenialCode, fromUtf8, type KeyRing, type NoteKey, parseDecimal, parseForkProof, parseNote, parseStrictText, formatSignature, isQuorumMet, MAX_SKEW_SECONDS, type PolicyWitness, toBase64, utf8,
  verifyCosignature, verifyFork, type WitnessPolicy, type Crypto, type Clock,
} from '@sealwrit/protocol'
import type { SignedHead } from './history.ts'

/** How long one witness may take for one submission, in milliseconds. */
export const WITNESS_TIMEOUT_MS = 1_000
/** How long a reply waits for its cosignatures, in milliseconds: below a gate's own deadline for an answer. */
export const WITNESS_DEADLINE_MS = 1_700
/** Pause after a round without a quorum, in milliseconds. */
const RETRY_MS = 100
/** Largest answer of a witness, in bytes: a fork proof with two notes. */
export const MAX_WITNESS_ANSWER_BYTES = 262_144
/** Submissions to one witness in one round: it may have to say first which size it knows. */
const MAX_SUBMISSIONS = 3
/** Replies that wait for cosignatures at once. */
const MAX_WAITING = 16_384

export interface WitnessAnswer {
  readonly status: number
  /** The media type, without parameters. */
  readonly type: string
  readonly body: Uint8Array
}
/** Posts `body`; rejects after `timeoutMs`, and for an answer of more than {@link MAX_WITNESS_ANSWER_BYTES}. */
export type WitnessPost = (url: string, body: Uint8Array, timeoutMs: number) => Promise<WitnessAnswer>

export interface WitnessOptions {
  readonly policy: WitnessPolicy
  /** How old cosignatures may be at a gate, in seconds; they are renewed at half of it. */
  readonly maxAgeSeconds: number
  readonly post: WitnessPost
}

/** The log that is witnessed, as far as it is needed here. */
export interface WitnessedLog {
  readonly key: NoteKey | KeyRing
  /** The newest signed checkpoint that is durable. */
  newest(): SignedHead
  extends(older: number, head: SignedHead): readonly Uint8Array[]
  proved<T>(prove: () => T): Promise<T>
  /** Reads what other writers added. */
  refresh(): Promise<SignedHead>
  /** A witness holds what this log cannot be reconciled with: it must not go on. */
  contradicted(code: DenialCode & ('store_rollback' | 'state_diverged'), what: string): void
}

interface Link {
  readonly witness: PolicyWitness
  readonly url: string
  /** The size that it cosigned last, as far as it said. */
  oldSize: number
  isBusy: boolean
}
interface Cosigned {
  readonly line: string
  readonly time: number
}
interface Waiting {
  readonly size: number
  readonly resolve: () => void
  readonly reject: (error: Denied) => void
  readonly cancel: () => void
}

/**
 * Gathers cosignatures for the newest checkpoint whenever a reply waits for one, a round at a time: every witness has at
 * most one submission under way.
 * @see c2sp.org/tlog-witness
 */
export class Witnesses {
  readonly #options: WitnessOptions
  readonly #log: WitnessedLog
  readonly #clock: Clock
  readonly #crypto: Crypto
  readonly #links: readonly Link[]
  readonly #waiting = new Set<Waiting>()
  #isAsking = false
  #head: SignedHead | undefined
  #times: ReadonlyMap<PolicyWitness, number> = new Map()

  /** @throws {TypeError} where the witnesses that have a URL cannot make a quorum */
  constructor(options: WitnessOptions, log: WitnessedLog, clock: Clock, crypto: Crypto) {
    this.#options = options
    this.#log = log
    this.#clock = clock
    this.#crypto = crypto
    const { witnesses, quorum } = options.policy
    this.#links = witnesses.flatMap((witness) => (witness.url === undefined ? [] : [{ witness, url: `${witness.url.replace(/\/$/, '')}/add-checkpoint`, oldSize: 0, isBusy: false }]))
    if (!isQuorumMet(quorum, new Set(this.#links.map(({ witness }) => witness)))) throw new TypeError('the witnesses with a URL cannot make the quorum')
  }

  /** The newest cosigned checkpoint; it never shrinks. */
  get head(): SignedHead | undefined {
    return this.#head
  }

  /**
   * Resolves as soon as {@link Witnesses.head} covers `size` leaves under cosignatures that a gate will still count.
   * @throws {Denied} `witness_quorum_not_met` at the deadline, `overloaded`
   */
  covering(size: number): Promise<void> {
    if (this.#covers(size)) return Promise.resolve()
    return new Promise((resolve, reject) => {
      if (this.#waiting.size >= MAX_WAITING) return reject(new Denied('overloaded', 'too many replies wait for witnesses'))
      const cancel = this.#clock.after(WITNESS_DEADLINE_MS, () => {
        this.#waiting.delete(waiting)
        reject(new Denied('witness_quorum_not_met', 'no quorum of witnesses answered in time'))
      })
      const waiting: Waiting = { size, resolve, reject, cancel }
      this.#waiting.add(waiting)
      if (this.#isAsking) return
      this.#isAsking = true
      void this.#ask()
    })
  }

  /** Refuses everybody who waits: the log does not go on. */
  refuse(denied: Denied): void {
    this.#settle(() => true, ({ reject }) => reject(denied))
  }

  #covers(size: number): boolean {
    if (this.#head === undefined || this.#head.size < size) return false
    const oldest = this.#nowSeconds - this.#options.maxAgeSeconds / 2
    return isQuorumMet(this.#options.policy.quorum, new Set([...this.#times].filter(([, time]) => time >= oldest).map(([witness]) => witness)))
  }

  get #nowSeconds(): number {
    return Math.floor(this.#clock.wallMs() / 1_000)
  }

  /** Asks as long as somebody waits; every pass is bounded by the time-outs of the witnesses. Never throws. */
  async #ask(): Promise<void> {
    while (this.#waiting.size > 0) {
      if (await this.#round(this.#log.newest())) this.#settle(({ size }) => this.#covers(size), ({ resolve }) => resolve())
      else await new Promise<void>((resolve) => this.#clock.after(RETRY_MS, resolve))
    }
    this.#isAsking = false
  }

  #settle(which: (waiting: Waiting) => boolean, settle: (waiting: Waiting) => void): void {
    for (const waiting of this.#waiting) {
      if (!which(waiting)) continue
      this.#waiting.delete(waiting)
      waiting.cancel()
      settle(waiting)
    }
  }

  /** Submits `head` to every witness that is free. @returns as soon as a quorum cosigned, or when all have answered */
  #round(head: SignedHead): Promise<boolean> {
    const cosigned = new Map<PolicyWitness, Cosigned>()
    return new Promise((resolve) => {
      const free = this.#links.filter(({ isBusy }) => !isBusy)
      let open = free.length
      if (open === 0) resolve(false)
      for (const link of free) {
        void this.#submit(link, head).then((one) => {
          if (one !== undefined) cosigned.set(link.witness, one)
          if (one !== undefined && this.#take(head, cosigned)) resolve(true)
          if (--open === 0) resolve(false)
        })
      }
    })
  }

  /** Takes `head` with these cosignatures where they make a quorum. */
  #take(head: SignedHead, cosigned: ReadonlyMap<PolicyWitness, Cosigned>): boolean {
    const { policy } = this.#options
    if (!isQuorumMet(policy.quorum, new Set(cosigned.keys()))) return false
    if (this.#head !== undefined && this.#head.size > head.size) return true // a slow witness answered about an older round
    const lines = policy.witnesses.map((witness) => cosigned.get(witness)?.line ?? '')
    this.#head = { size: head.size, note: `${head.note}${lines.join('')}` }
    this.#times = new Map([...cosigned].map(([witness, { time }]) => [witness, time]))
    return true
  }

  /** One witness's cosignature on `head`; undefined where it gave none that counts. Never throws. */
  async #submit(link: Link, head: SignedHead): Promise<Cosigned | undefined> {
    link.isBusy = true
    try {
      for (let i = 0; i < MAX_SUBMISSIONS && link.oldSize <= head.size; i++) {
        const hashes = await this.#log.proved(() => this.#log.extends(link.oldSize, head))
        const body = `old ${link.oldSize}\n${hashes.map((hash) => `${toBase64(hash)}\n`).join('')}\n${head.note}`
        const answer = await this.#options.post(link.url, utf8(body), WITNESS_TIMEOUT_MS)
        if (answer.status === 200) return this.#cosignature(link, head, fromUtf8(answer.body))
        if (answer.status !== 409 || answer.type !== 'text/x.tlog.size') return this.#refused(link, answer)
        link.oldSize = parseDecimal(fromUtf8(answer.body).replace(/\n$/, ''))
        if (link.oldSize > head.size) await this.#ahead(link)
      }
      return undefined
    } catch {
      return undefined // it counts for nothing in this round, whatever it was
    } finally {
      link.isBusy = false
    }
  }

  /** Every line is verified under the policy's key before it counts; what else the witness sent is dropped. @throws {Denied} */
  #cosignature(link: Link, head: SignedHead, lines: string): Cosigned | undefined {
    const { key } = link.witness
    link.oldSize = head.size
    const note = parseNote(`${parseNote(head.note).text}\n${lines}`)
    const time = verifyCosignature(note, key, this.#nowSeconds, this.#crypto)
    const line = note.signatures.find(({ name, id }) => name === key.name && id === key.id)
    if (time === undefined || line === undefined || time < this.#nowSeconds - MAX_SKEW_SECONDS) return undefined // replayed, or its clock stands back
    return { line: formatSignature(key, line.signature), time }
  }

  /** It cosigned more than this log holds: other writers may have added it; else this log was rolled back. */
  async #ahead({ witness, oldSize }: Link): Promise<void> {
    const { size } = await this.#log.refresh()
    if (oldSize > size) this.#log.contradicted('store_rollback', `witness ${witness.name} cosigned ${oldSize} entries, this log holds ${size}`)
  }

  /** A fork proof is believed only as far as it proves itself; any other refusal is that of one witness. */
  #refused({ witness }: Link, answer: WitnessAnswer): undefined {
    if (answer.type !== 'application/json') return
    const what = verifyFork(parseForkProof(parseStrictText(fromUtf8(answer.body))), this.#log.key, this.#crypto)
    this.#log.contradicted('state_diverged', `witness ${witness.name}: ${what}`)
  }
}
