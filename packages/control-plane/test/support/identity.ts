import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import { type Action, actionDigest, attachSignature, canonicalText, type Identity, type JsonObject, signingInput, signingKey, toBase64Url, utf8 } from '@sealwrit/protocol'
import type { Rig, TestGate } from './rig.ts'
import { sha256 } from './rig.ts'

type Alg = 'EdDSA' | 'ES256' | 'RS256'
export interface SigningPair {
  readonly alg: Alg
  readonly kid: string
  readonly privateKey: KeyObject
  readonly publicKey: KeyObject
}

export function signingPair(alg: Alg, kid: string): SigningPair {
  const pair = alg === 'EdDSA' ? generateKeyPairSync('ed25519') : alg === 'ES256' ? generateKeyPairSync('ec', { namedCurve: 'P-256' }) : generateKeyPairSync('rsa', { modulusLength: 2_048 })
  return { alg, kid, ...pair }
}

export function signBytes(alg: Alg, message: Uint8Array, key: KeyObject): Uint8Array {
  if (alg === 'EdDSA') return sign(null, message, key)
  return alg === 'ES256' ? sign('sha256', message, { key, dsaEncoding: 'ieee-p1363' }) : sign('sha256', message, key)
}

export const part = (value: unknown): string => toBase64Url(utf8(typeof value === 'string' ? value : JSON.stringify(value)))

/** A token with any header and claims, signed for real. */
export function token(pair: SigningPair, claims: object | string, header: object | string = { alg: pair.alg, kid: pair.kid, typ: 'JWT' }): string {
  const input = `${part(header)}.${part(claims)}`
  return `${input}.${toBase64Url(signBytes(pair.alg, utf8(input), pair.privateKey))}`
}

export const jwkOf = ({ publicKey, kid, alg }: SigningPair, more: object = {}): JsonObject => ({ ...(publicKey.export({ format: 'jwk' }) as JsonObject), kid, alg, use: 'sig', ...more }) as JsonObject

/** A real provider of keys on loopback. */
export class Provider {
  keys: readonly unknown[] = []
  /** What it answers instead; undefined for the key set. */
  body: string | undefined
  status = 200
  requests = 0
  readonly #server = http.createServer((_request, response) => {
    this.requests++
    response.writeHead(this.status, { 'content-type': 'application/json', ...(this.status === 302 ? { location: 'http://127.0.0.1:1/' } : {}) }).end(this.body ?? JSON.stringify({ keys: this.keys }))
  })

  static async start(...pairs: readonly SigningPair[]): Promise<Provider> {
    const provider = new Provider()
    provider.keys = pairs.map((pair) => jwkOf(pair))
    await new Promise<void>((resolve) => provider.#server.listen(0, '127.0.0.1', resolve))
    return provider
  }
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }
  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

/** An agent with a key of its own. */
export class TestAgent {
  readonly keys = generateKeyPairSync('ed25519')
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
  get key(): string {
    return (this.keys.publicKey.export({ format: 'jwk' }) as { x: string }).x
  }
  get kid(): string {
    return signingKey(Buffer.from(this.key, 'base64url'), sha256).kid
  }
  proof(rig: Rig, gate: Pick<TestGate, 'id'>, challenge: string, action: Action, change: JsonObject = {}, keys: KeyObject = this.keys.privateKey, kid: string = this.kid): Identity {
    const claims = { aud: rig.plane.log.origin, agent: this.name, gate: gate.id, challenge, action_digest: actionDigest(action, sha256), iat: Math.floor(rig.clock.wallMs() / 1_000), ...change }
    const input = signingInput('agent-proof+jwt', kid, claims)
    return { form: 'agent-key', proof: attachSignature(input, sign(null, utf8(input), keys)) }
  }
}

export const thumbprint = (der: Uint8Array): string => toBase64Url(createHash('sha256').update(der).digest())

/** A proof by the key of an X509-SVID. */
export function svidProof(alg: Alg, leafDer: Uint8Array, key: KeyObject, claims: JsonObject, header: JsonObject = {}): string {
  const input = `${part(canonicalText({ alg, kid: thumbprint(leafDer), typ: 'svid-proof+jwt', ...header }))}.${part(canonicalText(claims))}`
  return attachSignature(input, signBytes(alg, utf8(input), key))
}
