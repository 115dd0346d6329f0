import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { equalBytes, fromBase64 } from '../encoding.ts'
import { type Checkpoint, verifyCheckpoint } from '../log/checkpoint.ts'
import type { Frontier } from '../log/frontier.ts'
import { verifyConsistency } from '../log/merkle.ts'
import type { BundleHead, LinkedCheckpoint } from './bundle.ts'
import type { Keys } from './keys.ts'
import type { Tally } from './tally.ts'

/** Checkpoints of one bundle that are remembered. */
const MAX_PLACED = 4_096
/** Checkpoints that a verifier may hold. */
const MAX_HELD = 64

/** The checkpoint of a bundle, and earlier ones of the same log: those that the bundle links, and those that the verifier holds. */
export class Heads {
  readonly #keys: Keys
  #given: readonly string[]
  readonly #crypto: Crypto
  readonly #tally: Tally
  /** Checkpoints that belong to the history of the bundle, by size. */
  readonly #placed = new Map<number, Uint8Array>()
  /** Held, and not placed in the history of the bundle yet. */
  #held: Checkpoint[] = []
  #head: Checkpoint | undefined

  /** @param held signed checkpoints that the verifier holds from elsewhere */
  constructor(keys: Keys, held: readonly string[], crypto: Crypto, tally: Tally) {
    this.#keys = keys
    this.#given = held
    this.#crypto = crypto
    this.#tally = tally
    if (held.length > MAX_HELD) throw new TypeError(`more than ${MAX_HELD} checkpoints`)
  }

  /** The verified checkpoint of the bundle; undefined while there is none. */
  get newest(): Checkpoint | undefined {
    return this.#head
  }

  head({ checkpoint: note, origin, tenant }: BundleHead): void {
    this.#tally.prove('the checkpoint is signed by the given log key', () => {
      const { trusted } = this.#keys.followed
      const checkpoint = verifyCheckpoint(note, trusted, this.#crypto)
      if (checkpoint.origin !== origin) throw new Denied('key_unknown', 'the bundle names another log')
      if (!origin.endsWith(`/${tenant}`)) throw new Denied('tenant_mismatch', 'the bundle names another tenant than its log')
      this.#tally.holds(this.#keys.signedHead(note))
      this.#head = checkpoint
    })
    for (const given of this.#given) {
      const held = this.#tally.claim('a checkpoint that was given is signed by a key of the log', () => verifyCheckpoint(given, this.#keys.followed.named, this.#crypto))
      if (held !== undefined) this.#held.push(held.value)
    }
    if (this.#head !== undefined) this.#place(this.#head)
  }

  linked({ checkpoint: note, consistency }: LinkedCheckpoint): void {
    const head = this.#head
    if (head === undefined) return
    const older = this.#tally.claim('the checkpoint extends an earlier one that the log key signed', () => {
      const checkpoint = verifyCheckpoint(note, this.#keys.followed.named, this.#crypto)
      verifyConsistency(checkpoint, head, consistency.map(fromBase64), this.#crypto.sha256)
      return checkpoint
    })
    if (older !== undefined) this.#place(older.value)
  }

  /** Whether a checkpoint belongs to the history of the bundle, as far as its links show. */
  includes({ size, root }: { readonly size: number; readonly root: Uint8Array }): boolean {
    const placed = this.#placed.get(size)
    return placed !== undefined && equalBytes(placed, root)
  }

  /** Entries from the first on, without a gap, amount to this tree. */
  grown(tree: Frontier): void {
    if (this.#held.some(({ size }) => size === tree.size)) this.#place({ size: tree.size, root: tree.root() })
  }

  /** A tree that belongs to the history of the bundle: whoever is held at its size must be it. */
  #place(tree: { readonly size: number; readonly root: Uint8Array }): void {
    if (this.#placed.size < MAX_PLACED) this.#placed.set(tree.size, tree.root)
    const [here, others] = [this.#held.filter(({ size }) => size === tree.size), this.#held.filter(({ size }) => size !== tree.size)]
    this.#held = others
    for (const held of here) {
      if (equalBytes(held.root, tree.root)) this.#tally.holds('the history is that of a checkpoint that was given')
      else this.#tally.found('contradicted', `the log has another history than the given checkpoint of size ${held.size}`)
    }
  }

  end(): void {
    for (const { size } of this.#held) {
      const isNewer = size > (this.#head?.size ?? 0)
      this.#tally.found('not established', isNewer ? `the given checkpoint of size ${size} is newer than this bundle` : `nothing in the bundle links the given checkpoint of size ${size}; export with it`)
    }
  }
}
