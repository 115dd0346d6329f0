import { availableParallelism } from 'node:os'
import type { Crypto } from '@sealwrit/protocol'
import { siblingModule, Threads } from './threads.ts'

/** Gates whose tokens are checked ahead; those of others are checked when they are met. */
const MAX_KNOWN = 256
/** Longest token that is looked at ahead, in bytes. */
const MAX_TOKEN_BYTES = 8_192
/** How a receipt stands in a line of a bundle: inside the text of its entry. */
const MARK = Buffer.from('\\"receipt\\":\\"')
const BACKSLASH = 0x5c

/** What a worker is asked, and answers with one byte a token: 1 where the signature verifies. */
export interface Batch {
  /** Public key of each token. */
  readonly keys: readonly Uint8Array[]
  /** Compact JWS. */
  readonly tokens: readonly string[]
}

/** Answers about the signatures in one piece of a bundle, by the bytes of the signature. */
type Answers = Map<string, { readonly key: Uint8Array; readonly message: string; readonly isValid: boolean }>

/** What was found in one piece, once its answers are there. */
export interface Ahead {
  readonly answers: Answers
}

/**
 * Checks receipt signatures of a bundle ahead of its verifier, on other cores. It decides nothing: the verifier asks as
 * ever for exactly one key, message and signature, and is given the answer of the same function to the same question where
 * it is there already. Keys are those that the verifier itself used before.
 */
export class Signatures {
  readonly crypto: Crypto
  readonly #verify: Crypto['verifyEd25519']
  readonly #threads: Threads<Batch, Uint8Array>
  readonly #keys = new Map<string, Uint8Array>()
  #answers: Answers = new Map()

  /** @param jobs threads in all, the caller's among them; 1 checks nothing ahead */
  constructor(crypto: Crypto, jobs: number = availableParallelism()) {
    this.#threads = new Threads(siblingModule(import.meta.url, 'signature-worker'), jobs - 1)
    this.#verify = crypto.verifyEd25519
    this.crypto = { sha256: crypto.sha256, verifyEd25519: (key, message, signature) => this.#answer(key, message, signature) }
  }

  /** Pieces of a bundle that are worth holding while they are looked at. */
  get window(): number {
    return 2 * this.#threads.count
  }

  /** Has the receipts in a piece of a bundle checked. @returns undefined where there is nothing to wait for */
  ahead(piece: Buffer): Promise<Ahead> | undefined {
    if (this.#threads.count === 0 || this.#keys.size === 0) return undefined
    const tokens: string[] = []
    const keys: Uint8Array[] = []
    for (let at = piece.indexOf(MARK); at >= 0; at = piece.indexOf(MARK, at)) {
      at += MARK.length
      const end = piece.indexOf(BACKSLASH, at)
      if (end < 0 || end - at > MAX_TOKEN_BYTES) continue
      const token = piece.toString('latin1', at, end)
      const key = this.#keys.get(token.slice(0, token.indexOf('.')))
      if (key === undefined) continue
      tokens.push(token)
      keys.push(key)
    }
    return tokens.length === 0 ? undefined : this.#ask({ keys, tokens })
  }

  /** The answers that count from here on: those about the piece that is verified now. */
  use(ahead: Ahead | undefined): void {
    this.#answers = ahead?.answers ?? new Map()
  }

  close(): Promise<void> {
    return this.#threads.close()
  }

  #answer(key: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
    const known = this.#answers.get(latin1(signature))
    const text = latin1(message)
    if (known !== undefined && known.message === text && Buffer.compare(known.key, key) === 0) return known.isValid
    const dot = text.indexOf('.')
    if (dot > 0 && this.#keys.size < MAX_KNOWN) this.#keys.set(text.slice(0, dot), key)
    return this.#verify(key, message, signature)
  }

  async #ask(batch: Batch): Promise<Ahead> {
    const valid = await this.#threads.ask(batch)
    const answers: Answers = new Map()
    if (valid === undefined) return { answers } // whatever it was asked is checked when it is met
    batch.tokens.forEach((token, i) => {
      const { message, signature } = parts(token)
      answers.set(latin1(signature), { key: batch.keys[i] as Uint8Array, message, isValid: valid[i] === 1 })
    })
    return { answers }
  }
}

/** Cuts a token as the verifier does; what has another form is never asked for. */
export function parts(token: string): { readonly message: string; readonly signature: Uint8Array } {
  const dot = token.lastIndexOf('.')
  return { message: token.slice(0, dot), signature: Buffer.from(token.slice(dot + 1), 'base64url') }
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
}
