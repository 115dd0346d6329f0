import { type Agent, Denied, type Identity } from '@sealwrit/protocol'
import type { LogState } from '../log/state.ts'
import { identifyByKey } from './agent-key.ts'
import type { IdentityConfig, IssuerConfig, TrustDomainConfig } from './configuration.ts'
import type { Claimed, IdentifyPorts, Initiator } from './initiator.ts'
import type { LoadKeys } from './key-source.ts'
import { type Bearer, bearerOf, identifyByToken, Issuer } from './oidc.ts'
import { identifyByJwtSvid, TrustDomain } from './spiffe.ts'
import { identifyByX509 } from './x509-svid.ts'

/** Finds where keys are kept; nothing in a message has a say in it (ATK-008). */
export type KeyLoader = (source: Pick<IssuerConfig, 'jwks_uri' | 'jwks_file'>) => LoadKeys

/** Verifies who asks, before anything is decided. */
export class Identifier {
  readonly #mode: IdentityConfig['agents']
  readonly #ports: IdentifyPorts
  readonly #issuers: ReadonlyMap<string, Issuer>
  readonly #domains: ReadonlyMap<string, TrustDomain>

  constructor(config: IdentityConfig, loader: KeyLoader, ports: IdentifyPorts) {
    this.#mode = config.agents
    this.#ports = ports
    this.#issuers = unique(config.issuers.map((issuer) => [issuer.issuer, new Issuer(issuer, loader(issuer), ports.clock)]))
    this.#domains = unique(config.trust_domains.map((domain: TrustDomainConfig) => [`spiffe://${domain.name}`, new TrustDomain(domain, loader({ jwks_file: domain.bundle }), ports.clock)]))
  }

  /**
   * @param sub the principal where nothing else names one: the local user
   * @throws {Denied} `identity_missing`, `identity_unknown`, `identity_invalid`, `proof_of_possession_failed`; `unavailable` while
   *   the keys of an issuer cannot be read. Outwards all but the last are one (ATK-123)
   */
  async identify(identity: Identity | undefined, claimed: Claimed, state: LogState, sub: string): Promise<Initiator> {
    const initiator = await this.#verified(identity, claimed, state, sub)
    if (this.#mode === 'registered' && identity?.form === 'oidc' && !this.#namesAgents(initiator)) throw new Denied('identity_unknown', 'the token names no agent')
    return initiator
  }

  /**
   * What is known of whoever will ask as `agent` and asserts nothing yet: what is left out may be anything, as what could still be asserted says it.
   * @param sub as in {@link Identifier.identify}
   */
  suppose({ name, verified }: Agent, state: LogState, sub: string): { readonly name?: string; readonly verified?: boolean; readonly sub?: string } {
    if (this.#domains.size > 0) return {} // a workload is its own agent
    if (this.#issuers.size > 0) return verified ? { name, verified } : { name } // the issuer may name the agent, and names the principal
    return { name, verified: verified || state.agents.has(name), sub } // a registered one must prove its key
  }

  /** Who an access token names to a gate that serves `audience`. @throws {Denied} `identity_invalid`, `audience_mismatch`, `unavailable` */
  bearer(token: string, audience: string): Promise<Bearer> {
    return bearerOf(token, audience, this.#issuers, this.#ports)
  }

  /** Whatever else an assertion fails is `identity_invalid`: its form is not that of the request. */
  async #verified(identity: Identity | undefined, claimed: Claimed, state: LogState, sub: string): Promise<Initiator> {
    try {
      return await this.#initiator(identity, claimed, state, sub)
    } catch (error) {
      if (!(error instanceof Denied) || error.check === 'identity' || error.code === 'unavailable') throw error
      throw new Denied('identity_invalid', error.message)
    }
  }

  #initiator(identity: Identity | undefined, claimed: Claimed, state: LogState, sub: string): Initiator | Promise<Initiator> {
    switch (identity?.form) {
      case undefined:
        return this.#named(claimed, state, sub)
      case 'agent-key':
        return identifyByKey(identity.proof, claimed, state, sub, this.#ports)
      case 'oidc':
        return identifyByToken(identity, claimed, this.#issuers, this.#ports)
      case 'jwt-svid':
        return identifyByJwtSvid(identity.token, this.#domains, this.#ports)
      case 'x509-svid':
        return identifyByX509(identity, claimed, this.#domains, this.#ports)
    }
  }

  /** An agent that asserts nothing is who the gate says, unless agents must be registered, or this one is. */
  #named({ agent }: Claimed, state: LogState, sub: string): Initiator {
    if (state.agents.has(agent.name)) throw new Denied('identity_missing', 'the agent has a key and did not prove it')
    if (this.#mode === 'registered') throw new Denied('identity_unknown', 'no agent of this name is registered')
    const { name } = agent
    return { sub, act: { sub: `agent:${name}`, verified: agent.verified }, holds: (at) => !at.agents.has(name) }
  }

  #namesAgents({ context }: Initiator): boolean {
    return this.#issuers.get(context?.issuer ?? '')?.config.agent !== undefined
  }
}

function unique<T>(pairs: readonly (readonly [string, T])[]): ReadonlyMap<string, T> {
  const map = new Map(pairs)
  if (map.size !== pairs.length) throw new TypeError('an issuer or trust domain is configured twice')
  return map
}
