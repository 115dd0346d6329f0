import { parseSealed, verifySealInclusion } from '../artifact/seal.ts'
import type { Crypto } from '../crypto.ts'
import { Denied } from '../denial.ts'
import { equalBytes, fromBase64, utf8 } from '../encoding.ts'
import type { Checkpoint } from '../log/checkpoint.ts'
import { MAX_ENTRY } from '../log/entry.ts'
import { HASH_BYTES, leafHash, MAX_PROOF_HASHES, nodeHash } from '../log/merkle.ts'
import { formatProof, MAX_PROOF_LENGTH } from '../log/proof.ts'
import type { BundleEntry } from './bundle.ts'

/** An entry that is in the log. */
export interface Proved {
  readonly index: number
  readonly hash: Uint8Array
}

/** Where a path from a leaf to the root stands: the walk from here on depends on nothing else but the hashes that follow. */
interface Step {
  readonly node: number
  readonly last: number
  readonly hash: Uint8Array
}

/** A verified path: the hashes of its proof as text, and where it stood before each of them and after the last. */
interface Path {
  readonly lines: string
  readonly steps: readonly Step[]
}

/** A hash in base64 and its newline. */
const LINE = 45
const PREFIX = formatProof({ index: 0, hashes: [], checkpoint: '' }).slice(0, -'0\n\n'.length)

/**
 * Proofs that lead to one checkpoint. Neighbours in a tree share most of their paths: a path is followed from its leaf to where it
 * meets the one that was verified before, and from there on it must be that path, letter by letter. What does not go so is
 * verified by itself, from its first letter on: nothing is accepted here that would not be there.
 */
export class Proofs {
  readonly #note: string
  readonly #head: Checkpoint
  readonly #crypto: Crypto
  #path: Path

  /** @param note the signed checkpoint, which was verified as `head` */
  constructor(note: string, head: Checkpoint, crypto: Crypto) {
    this.#note = note
    this.#head = head
    this.#crypto = crypto
    this.#path = { lines: '', steps: [{ node: 0, last: 0, hash: head.root }] }
  }

  /** @throws {Denied} as `parseSealed` and `verifySealInclusion`, and `seal_invalid` for a proof under another checkpoint */
  verify({ entry, proof }: Pick<BundleEntry, 'entry' | 'proof'>): Proved {
    return this.#alongside(entry, proof) ?? this.#byItself(entry, proof)
  }

  #byItself(entry: string, proof: string): Proved {
    const seal = parseSealed({ entry, proof })
    if (seal.salt !== undefined) throw new Denied('artifact_malformed', 'a salt stands with its body alone')
    if (seal.proof.checkpoint !== this.#note) throw new Denied('seal_invalid', 'the proof leads to another checkpoint')
    return { index: seal.proof.index, hash: verifySealInclusion(seal, this.#head, this.#crypto) }
  }

  /** Undefined where only the whole verification can tell. */
  #alongside(entry: string, proof: string): Proved | undefined {
    if (entry.length === 0 || entry.length > MAX_ENTRY || proof.length > MAX_PROOF_LENGTH) return undefined
    const index = Number(proof.slice(PREFIX.length, proof.indexOf('\n', PREFIX.length)))
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.#head.size) return undefined
    const start = `${PREFIX}${index}\n`
    const count = (proof.length - start.length - 1 - this.#note.length) / LINE
    if (!Number.isInteger(count) || count < 0 || count > MAX_PROOF_HASHES) return undefined
    const end = start.length + count * LINE
    if (!proof.startsWith(start) || proof[end] !== '\n' || !proof.endsWith(this.#note)) return undefined
    const leaf = leafHash(utf8(entry), this.#crypto.sha256)
    const steps = this.#meet({ node: index, last: this.#head.size - 1, hash: leaf }, proof, start.length, count)
    if (steps === undefined) return undefined
    this.#path = { lines: proof.slice(start.length, end), steps }
    return { index, hash: leaf }
  }

  /** Follows a path until it meets the verified one. @returns the steps of the whole path; undefined where it does not lead there */
  #meet(leaf: Step, proof: string, at: number, count: number): readonly Step[] | undefined {
    const known = this.#path
    const ahead = known.steps.length - 1 - count // the known path has as many more hashes
    const steps: Step[] = []
    let step = leaf
    for (let i = 0; i <= count; i++) {
      const same = known.steps[i + ahead]
      if (same?.node === step.node && same.last === step.last) {
        const isSame = equalBytes(same.hash, step.hash) && proof.startsWith(known.lines.slice((i + ahead) * LINE), at + i * LINE)
        return isSame ? [...steps, ...known.steps.slice(i + ahead)] : undefined
      }
      steps.push(step)
      const sibling = i === count ? undefined : hashAt(proof, at + i * LINE)
      if (sibling === undefined || step.last === 0) return undefined
      step = this.#up(step, sibling)
    }
    return undefined
  }

  /** One turn of the loop of `verifyInclusion`. @see RFC 9162 section 2.1.3.2 */
  #up({ node, last, hash }: Step, sibling: Uint8Array): Step {
    const isRight = node % 2 === 1 || node === last
    const parent = isRight ? nodeHash(sibling, hash, this.#crypto.sha256) : nodeHash(hash, sibling, this.#crypto.sha256)
    let [up, end] = [node, last]
    // At the right edge a node without a sibling stands for its parents too.
    while (isRight && up % 2 === 0 && up !== 0) [up, end] = [up / 2, Math.floor(end / 2)]
    return { node: Math.floor(up / 2), last: Math.floor(end / 2), hash: parent }
  }
}

function hashAt(proof: string, at: number): Uint8Array | undefined {
  if (proof[at + LINE - 1] !== '\n') return undefined
  try {
    const hash = fromBase64(proof.slice(at, at + LINE - 1))
    return hash.length === HASH_BYTES ? hash : undefined
  } catch {
    return undefined // refused with its reason where it is read by itself
  }
}
