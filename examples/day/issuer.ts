import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'

/** A small OpenID provider on loopback: it publishes its key, and gives out ID tokens to whoever holds it in hand. */
export class Issuer {
  readonly url: string
  readonly #key: KeyObject
  readonly #server: http.Server

  private constructor(url: string, key: KeyObject, server: http.Server) {
    this.url = url
    this.#key = key
    this.#server = server
  }

  static async start(): Promise<Issuer> {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'day-1', use: 'sig', alg: 'ES256' }] })
    const server = http.createServer((request, response) => {
      if (request.url !== '/jwks') return void response.writeHead(404).end()
      response.writeHead(200, { 'content-type': 'application/json' }).end(keys)
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return new Issuer(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, privateKey, server)
  }

  /** An ID token that says who `sub` is, and which agent acts for them. */
  token(sub: string, agent: string, seconds = 600): string {
    const now = Math.floor(Date.now() / 1_000)
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url')
    const input = `${part({ alg: 'ES256', kid: 'day-1', typ: 'JWT' })}.${part({ iss: this.url, aud: 'sealwrit', sub, agent, iat: now, exp: now + seconds })}`
    return `${input}.${sign('sha256', Buffer.from(input), { key: this.#key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }
}
