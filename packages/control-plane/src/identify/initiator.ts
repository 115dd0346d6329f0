import type { Actor, Agent, Clock, Crypto, Digest } from '@sealwrit/protocol'
import type { LogState } from '../log/state.ts'

/** What policies see of an assertion that was verified. */
export interface IdentityContext {
  readonly form: 'agent-key' | 'oidc' | 'jwt-svid' | 'x509-svid'
  /** Who vouches: the issuer, the trust domain, or this log. */
  readonly issuer: string
  /** `name=value` of the claims that are mapped for the issuer, in order. */
  readonly claims: readonly string[]
}

/** Who asks, verified. */
export interface Initiator {
  /** The principal, an opaque id. */
  readonly sub: string
  /** The agent that acts for it. */
  readonly act: Actor
  /** Who answers for the agent, where that is registered. */
  readonly owner?: string
  /** Thumbprint of the key that was proved. */
  readonly cnf?: string
  readonly context?: IdentityContext
  /** What the opaque id stands for, for the directory. */
  readonly named?: { readonly iss: string; readonly name: string }
  /** Whether it still holds at a place in the log: the key is registered there, the token has not ended by then. */
  readonly holds: (state: LogState, timeMs: number) => boolean
}

/** The agent and its principal, by name. */
export function agentOf({ sub, act }: Pick<Initiator, 'sub' | 'act'>): { readonly name: string; readonly verified: boolean; readonly sub: string } {
  return { name: act.sub.slice('agent:'.length), verified: act.verified, sub }
}

/** What a request says of itself, and what a proof must be bound to. */
export interface Claimed {
  readonly agent: Agent
  readonly gate: string
  /** Undefined where nothing was given that a proof could be bound to. */
  readonly challenge: string | undefined
  readonly actionDigest: () => Digest
}

export interface IdentifyPorts {
  readonly clock: Clock
  readonly crypto: Crypto
  /** Origin of the log. */
  readonly origin: string
}
