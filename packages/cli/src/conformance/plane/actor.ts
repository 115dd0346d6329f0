import * as path from 'node:path'
import { nodeClock, nodeCryptography, nodeRng } from '@sealwrit/gate'
import { attachSignature, canonicalize, CHECKS, commitment, digestOf, type JsonObject, signingInput, signingKey, type SignedType, toBase64Url, TOKEN_BYTES, utf8 } from '@sealwrit/protocol'
import { loadKeyFile } from '../../adapters/key-file.ts'

const { sha256 } = nodeCryptography
export const token = (): string => toBase64Url(nodeRng.bytes(TOKEN_BYTES))

/** A permit that a gate was given. */
export interface Given {
  readonly jti: string
  readonly leaf: string
}

/** One who holds a key: what a gate signs, true or not. */
export class Actor {
  readonly id: string
  readonly key: string
  #session: string = token()
  readonly environment: JsonObject
  readonly #sign: (message: Uint8Array) => Uint8Array
  #sequence = 0

  constructor(folder: string, name: string) {
    const { publicKey, sign } = loadKeyFile(path.join(folder, `${name}.pem`), true, 'plain')
    this.key = toBase64Url(publicKey)
    this.id = signingKey(publicKey, sha256).kid
    this.#sign = sign
    const salt = token()
    const document: JsonObject = { host: 'conformance', name }
    this.environment = { commit: commitment('environment', salt, digestOf(canonicalize(document), sha256), sha256), level: 'software', salt, document }
  }

  get session(): string {
    return this.#session
  }
  /** Another session of this gate, whose receipts are numbered anew. */
  renew(): void {
    this.#session = token()
    this.#sequence = 0
  }

  /** A compact JWS with a header that names this key. */
  sign(typ: SignedType, claims: JsonObject): string {
    const input = signingInput(typ, this.id, claims)
    return attachSignature(input, this.#sign(utf8(input)))
  }

  enrolment(origin: string, nonce: string): { readonly typ: SignedType; readonly claims: JsonObject } {
    return { typ: 'gate-proof+jwt', claims: { aud: origin, nonce, session: this.session } }
  }

  receiptClaims({ jti, leaf }: Given, tenant: string): JsonObject {
    const now = Math.floor(nodeClock.wallMs())
    return {
      jti, leaf_hash: leaf, tenant, gate: this.id, session: this.session, sequence: this.#sequence++, started: now, finished: now, outcome: 'completed',
      resources: { result_bytes: 0, wall_ms: 0 }, checks: Object.fromEntries(CHECKS.map((check) => [check, 'pass'])), containment: [], assurance: 'A3',
    }
  }

  /** Its number of a receipt that was refused is given again: a gap would show one that was lost. */
  receiptRefused(): void {
    this.#sequence--
  }

  denialClaims(tenant: string): JsonObject {
    return { gate: this.id, tenant, session: this.session, sequence: 0, time: Math.floor(nodeClock.wallMs()), code: 'artifact_missing' }
  }
}
