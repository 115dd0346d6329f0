import * as net from 'node:net'
import { nodeCryptography } from '@sealwrit/gate'
import { Fields, fromBase64Url, type JsonValue, LineReader, parseStrict, toBase64Url } from '@sealwrit/protocol'

/** A signer that cannot be used; the message names its socket and the way out. */
export class SignerError extends Error {}

/** Longest answer of a signer, in bytes: a key of ML-DSA-65, or its signature, and the JSON around it. */
const MAX_ANSWER_BYTES = 16_384
const LIMITS = Object.freeze({ maxBytes: MAX_ANSWER_BYTES, maxDepth: 8, maxMembers: 64 })
/** How long a signer may take to say which keys it holds, in milliseconds. A signature is waited for by who asked. */
const DEADLINE_MS = 5_000
/** Signatures that are waited for at once: one a commit group, and of a hybrid key two. */
const MAX_WAITING = 16

interface Waiting {
  readonly resolve: (answer: Fields) => void
  readonly reject: (error: Error) => void
}

/**
 * A process that holds keys and signs with them, behind a Unix socket: what stands between it and a token or a service is its own
 * business. A connection that ends is opened again for the next signature. @see spec/keys.md#signer
 */
export class RemoteSigner {
  readonly #path: string
  readonly #waiting = new Map<number, Waiting>()
  #socket: Promise<net.Socket> | undefined
  #nextId = 1
  #keys: { readonly ed25519: Uint8Array; readonly mlDsa65: Uint8Array | undefined } | undefined

  private constructor(path: string) {
    this.#path = path
  }

  /** @throws {SignerError} where nothing answers, or it holds no Ed25519 key */
  static async connect(path: string): Promise<RemoteSigner> {
    const signer = new RemoteSigner(path)
    const answer = await deadline(signer.#ask({ method: 'public_keys' }), path)
    try {
      const keys = answer.object('keys')
      const mlDsa65 = keys.optional('ML-DSA-65', (name) => fromBase64Url(keys.text(name, 4_096)))
      signer.#keys = { ed25519: fromBase64Url(keys.text('Ed25519')), mlDsa65 }
    } catch {
      throw new SignerError(`the signer at ${path} does not say which keys it holds`)
    }
    if (signer.#keys.ed25519.length !== 32) throw new SignerError(`the signer at ${path} holds no Ed25519 key`)
    return signer
  }

  /** 32 bytes. */
  get publicKey(): Uint8Array {
    return this.#keys?.ed25519 ?? new Uint8Array()
  }
  get pqPublicKey(): Uint8Array | undefined {
    return this.#keys?.mlDsa65
  }

  /** What it gives is verified before anything rests on it. */
  async sign(message: Uint8Array, algorithm: 'Ed25519' | 'ML-DSA-65' = 'Ed25519'): Promise<Uint8Array> {
    const answer = await this.#ask({ method: 'sign', algorithm, message: toBase64Url(message) })
    const signature = fromBase64Url(answer.text('signature', 8_192))
    const holds = algorithm === 'Ed25519' ? nodeCryptography.verifyEd25519(this.publicKey, message, signature) : nodeCryptography.verifyMlDsa65?.(this.pqPublicKey ?? new Uint8Array(), message, signature)
    if (holds !== true) throw new SignerError(`the signer at ${this.#path} gave a signature that does not verify`)
    return signature
  }

  async #ask(request: { readonly method: string; readonly [member: string]: string }): Promise<Fields> {
    const socket = await (this.#socket ??= this.#open())
    if (this.#waiting.size >= MAX_WAITING) throw new SignerError(`the signer at ${this.#path} does not keep up`)
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject })
      socket.ref() // until it answers; a signer that nobody waits for keeps no process alive
      socket.write(`${JSON.stringify({ id, ...request })}\n`)
    })
  }

  #open(): Promise<net.Socket> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ path: this.#path })
      const ended = (): void => {
        this.#socket = undefined
        socket.destroy()
        const error = new SignerError(`no signer answers at ${this.#path}`)
        reject(error)
        for (const waiting of this.#waiting.values()) waiting.reject(error)
        this.#waiting.clear()
      }
      const reader = new LineReader(MAX_ANSWER_BYTES, (line) => {
        this.#answered(parseStrict(line, LIMITS))
        if (this.#waiting.size === 0) socket.unref()
      })
      socket.once('connect', () => {
        resolve(socket)
      })
      socket.once('error', ended)
      socket.once('close', ended)
      socket.on('data', (chunk) => {
        try {
          reader.push(chunk)
        } catch {
          ended() // nonsense: whatever else it says is not believed either
        }
      })
    })
  }

  #answered(value: JsonValue): void {
    const fields = new Fields(value, 'request_malformed', 'signer')
    const id = fields.integer('id')
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    const error = fields.optional('error', (name) => fields.string(name))
    if (error === undefined) waiting?.resolve(fields)
    else waiting?.reject(new SignerError(`the signer at ${this.#path} refuses`))
  }
}

async function deadline<T>(asked: Promise<T>, path: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new SignerError(`the signer at ${path} does not answer`)), DEADLINE_MS)
  })
  return Promise.race([asked, late]).finally(() => clearTimeout(timer))
}
