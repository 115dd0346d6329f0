import { createHash, randomBytes } from 'node:crypto'
import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import { jwkOf, type SigningPair, signingPair, token } from './identity.ts'

interface Code {
  readonly challenge: string
  readonly nonce: string
  readonly redirect: string
  readonly client: string
}

/** A real OpenID provider on loopback: authorization code with PKCE, one client, one person who is logged in there already. */
export class TestIssuer {
  readonly pair: SigningPair = signingPair('ES256', 'issuer-key')
  readonly client = 'sealwrit'
  secret: string | undefined = 'a secret with + and / and : in it'
  /** Claims of the person. */
  claims: Record<string, unknown> = { sub: 'subject-1', email: 'ann@example.test', groups: ['staff', 'ops'] }
  /** Changes the ID token before it is signed. */
  tamper: (claims: Record<string, unknown>) => Record<string, unknown> = (claims) => claims
  /** What the token endpoint answers in place of a token. */
  answer: { status: number; body: string; headers?: Record<string, string> } | undefined
  /** What signs ID tokens. */
  signer: SigningPair = this.pair
  sendsIss = true
  readonly asked: URLSearchParams[] = []
  readonly #codes = new Map<string, Code>()
  readonly #server = http.createServer((request, response) => this.#serve(request, response))

  static async start(): Promise<TestIssuer> {
    const issuer = new TestIssuer()
    await new Promise<void>((resolve) => issuer.#server.listen(0, '127.0.0.1', resolve))
    return issuer
  }
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }
  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #serve(request: http.IncomingMessage, response: http.ServerResponse): void {
    const url = new URL(request.url as string, this.url)
    if (url.pathname === '/jwks') return void response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: [jwkOf(this.pair)] }))
    if (url.pathname === '/authorize') return this.#authorize(url.searchParams, response)
    let body = ''
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk)).on('end', () => this.#token(new URLSearchParams(body), request.headers.authorization, response))
  }

  #authorize(asked: URLSearchParams, response: http.ServerResponse): void {
    this.asked.push(asked)
    const of = (name: string): string => asked.get(name) ?? ''
    if (of('response_type') !== 'code' || of('client_id') !== this.client || of('code_challenge_method') !== 'S256' || !of('scope').split(' ').includes('openid')) return void response.writeHead(400).end()
    const code = randomBytes(16).toString('hex')
    this.#codes.set(code, { challenge: of('code_challenge'), nonce: of('nonce'), redirect: of('redirect_uri'), client: of('client_id') })
    const back = new URL(of('redirect_uri'))
    back.searchParams.set('code', code)
    back.searchParams.set('state', of('state'))
    back.searchParams.set('session_state', 'whatever')
    if (this.sendsIss) back.searchParams.set('iss', this.url)
    response.writeHead(302, { location: back.href }).end()
  }

  #token(form: URLSearchParams, authorization: string | undefined, response: http.ServerResponse): void {
    const json = (status: number, value: object): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
    if (this.answer !== undefined) return void response.writeHead(this.answer.status, { 'content-type': 'application/json', ...this.answer.headers }).end(this.answer.body)
    const code = this.#codes.get(form.get('code') ?? '')
    this.#codes.delete(form.get('code') ?? '')
    const encoded = (text: string): string => new URLSearchParams({ x: text }).toString().slice(2)
    const expected = this.secret === undefined ? undefined : `Basic ${Buffer.from(`${encoded(this.client)}:${encoded(this.secret)}`).toString('base64')}`
    if (authorization !== expected) return json(401, { error: 'invalid_client' })
    const challenge = createHash('sha256').update(form.get('code_verifier') ?? '').digest('base64url')
    if (code === undefined || form.get('grant_type') !== 'authorization_code' || challenge !== code.challenge || form.get('redirect_uri') !== code.redirect || form.get('client_id') !== code.client) return json(400, { error: 'invalid_grant' })
    const now = Math.floor(Date.now() / 1_000)
    const claims = this.tamper({ iss: this.url, aud: this.client, iat: now, exp: now + 300, nonce: code.nonce, ...this.claims })
    json(200, { access_token: 'not looked at', token_type: 'Bearer', id_token: token(this.signer, claims) })
  }
}
