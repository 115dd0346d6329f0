import type { Algorithm } from './jwk.ts'

/** Issuers, and trust domains, that one plane takes. */
export const MAX_ISSUERS = 32

/** An issuer of ID or workload tokens that this plane believes, for one audience. */
export interface IssuerConfig {
  /** Compared with `iss`, character by character. */
  readonly issuer: string
  readonly audience: string
  /** Resources whose access tokens are taken from gates that serve them; none where it is absent. */
  readonly resources?: readonly string[] | undefined
  /** The algorithms that its keys may have; whatever else is in its set or in a token is refused. */
  readonly algorithms: readonly Algorithm[]
  /** Where its keys are: an https address, one on loopback, or a file. */
  readonly jwks_uri?: string | undefined
  readonly jwks_file?: string | undefined
  /** Claim that names the subject in the directory; default `sub`. The opaque id is always made of `iss` and `sub`. */
  readonly subject?: string | undefined
  /** Claim that must name the agent; without it the agent is who the gate says it is. */
  readonly agent?: string | undefined
  /** Which claims reach the policies. */
  readonly map?: 'github_actions' | undefined
}

/** A SPIFFE trust domain that this plane believes. */
export interface TrustDomainConfig {
  /** Its name, without `spiffe://`. */
  readonly name: string
  /** File with its bundle, in SPIFFE's JWKS form. */
  readonly bundle: string
  /** The audience that a JWT-SVID must name. */
  readonly audience: string
}

/** Whom the plane believes to be whom. */
export interface IdentityConfig {
  /** `registered`: an agent must prove a registered key, or be named by a token; `named`: who has no key is who the gate says. */
  readonly agents: 'named' | 'registered'
  readonly issuers: readonly IssuerConfig[]
  readonly trust_domains: readonly TrustDomainConfig[]
}

export const NAMED_AGENTS: IdentityConfig = Object.freeze({ agents: 'named', issuers: [], trust_domains: [] })
