import type { OAuthClientInformationContext, OAuthClientMetadata, OAuthClientProvider, StoredOAuthClientInformation, StoredOAuthTokens, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'

const REDIRECT = 'http://localhost:9/callback'

/** A user who agrees at once: the suite's authorization servers answer with the redirect itself. What is kept is kept by issuer. */
export class AgreeingUser implements OAuthClientProvider {
  readonly redirectUrl = REDIRECT
  readonly clientMetadataUrl = 'https://conformance-test.local/client-metadata.json'
  readonly clientMetadata: OAuthClientMetadata = { client_name: 'conformance', redirect_uris: [REDIRECT], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], application_type: 'native' }
  readonly #clients = new Map<string, StoredOAuthClientInformation>()
  readonly #tokens = new Map<string, StoredOAuthTokens>()
  #verifier = ''
  #answer: URLSearchParams | undefined

  constructor(registered?: { readonly issuer: string; readonly information: StoredOAuthClientInformation }) {
    if (registered !== undefined) this.#clients.set(registered.issuer, registered.information)
  }

  clientInformation(ctx?: OAuthClientInformationContext): StoredOAuthClientInformation | undefined {
    return this.#clients.get(ctx?.issuer ?? '')
  }
  saveClientInformation(information: StoredOAuthClientInformation, ctx?: OAuthClientInformationContext): void {
    this.#clients.set(ctx?.issuer ?? '', information)
  }
  tokens(ctx?: OAuthClientInformationContext): StoredOAuthTokens | undefined {
    return ctx === undefined ? [...this.#tokens.values()].at(-1) : this.#tokens.get(ctx.issuer)
  }
  saveTokens(tokens: StoredOAuthTokens, ctx?: OAuthClientInformationContext): void {
    this.#tokens.set(ctx?.issuer ?? '', tokens)
  }
  saveCodeVerifier(verifier: string): void {
    this.#verifier = verifier
  }
  codeVerifier(): string {
    return this.#verifier
  }
  async redirectToAuthorization(url: URL): Promise<void> {
    const { headers } = await fetch(url, { redirect: 'manual' })
    this.#answer = new URL(headers.get('location') ?? '', REDIRECT).searchParams
  }

  /** Goes on where the user came back from the authorization server; false where there was nobody. */
  async finish(transport: StreamableHTTPClientTransport): Promise<boolean> {
    const answer = this.#answer
    this.#answer = undefined
    if (answer === undefined) return false
    await transport.finishAuth(answer)
    return true
  }
}
