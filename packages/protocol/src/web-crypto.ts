import type { Crypto } from './crypto.ts'
import { isStrictEd25519 } from './ed25519.ts'
import { concatBytes, toHex } from './encoding.ts'
import { sha256 } from './sha256.ts'

/** The part of `crypto.subtle` that is used, described by its shape. */
export interface Subtle<K> {
  importKey(format: 'raw', key: Uint8Array<ArrayBuffer>, algorithm: { name: string }, extractable: boolean, usages: ['verify']): Promise<K>
  verify(algorithm: { name: string }, key: K, signature: Uint8Array<ArrayBuffer>, data: Uint8Array<ArrayBuffer>): Promise<boolean>
}

/** Signatures that one verification may ask for. */
const MAX_SIGNATURES = 1_000_000
/** Times that a verification may be run again, because a signature did not hold and it then asked for others. */
const MAX_RUNS = 64

interface Asked {
  readonly id: string
  readonly publicKey: Uint8Array
  readonly message: Uint8Array
  readonly signature: Uint8Array
}

/**
 * Runs a synchronous verifier on a platform whose signatures are asynchronous, as browsers are: it is run with every
 * signature taken for good, the signatures that it asked for are verified, and where one does not hold it is run again, knowing that.
 * Nothing is answered before all that its run relied on were verified.
 *
 * @param run must have no effects, since it may be run several times
 */
export async function verifiedBy<K, T>(subtle: Subtle<K>, run: (crypto: Crypto) => T): Promise<T> {
  const known = new Map<string, boolean>()
  for (let i = 0; i < MAX_RUNS; i++) {
    const asked = new Map<string, Asked>()
    const crypto: Crypto = {
      sha256,
      verifyEd25519: (publicKey, message, signature) => {
        if (!isStrictEd25519(publicKey, signature)) return false
        const id = toHex(concatBytes(publicKey, signature, sha256(message)))
        const answer = known.get(id)
        if (answer === undefined) asked.set(id, { id, publicKey, message, signature })
        if (asked.size > MAX_SIGNATURES) throw new RangeError('more signatures than one verification may ask for')
        return answer ?? true
      },
    }
    const result = run(crypto)
    let hold = true
    for (const one of asked.values()) {
      const holds = await verify(one, subtle)
      known.set(one.id, holds)
      hold &&= holds
    }
    if (hold) return result
  }
  throw new RangeError('the verification asks for other signatures each time')
}

const ED25519 = { name: 'Ed25519' }

async function verify<K>({ publicKey, message, signature }: Asked, subtle: Subtle<K>): Promise<boolean> {
  try {
    const key = await subtle.importKey('raw', new Uint8Array(publicKey), ED25519, false, ['verify'])
    return await subtle.verify(ED25519, key, new Uint8Array(signature), new Uint8Array(message))
  } catch {
    return false // not a point: a key nobody can have signed with
  }
}
