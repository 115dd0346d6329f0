import { type Action, actionDigest, type Agent, attachSignature, canonicalText, type Identity, type JsonObject, type Possession, type Sha256, signingInput, toBase64Url, utf8 } from '@sealwrit/protocol'

/** What an agent signs, without the time, which is the signer's own. */
export type Asked = Omit<Possession, 'iat'>

/**
 * Asserts who asks, for exactly one request. The gate passes it on and never signs for the agent: the key stays with whoever made
 * this function.
 */
export type Identify = (asked: Asked) => Identity | undefined | Promise<Identity | undefined>

/** What a proof is to be bound to. */
export function askedOf(action: Action, agent: Agent, gate: string, challenge: string, origin: string, sha256: Sha256): Asked {
  return { aud: origin, agent: agent.name, gate, challenge, action_digest: actionDigest(action, sha256) }
}

/** A key that signs for an agent. */
export interface AgentSigner {
  /** RFC 7638 thumbprint. */
  readonly kid: string
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** Proves the key of a registered agent, request by request. */
export function agentKeyIdentity({ kid, sign }: AgentSigner, nowSeconds: () => number): Identify {
  return (asked) => {
    const input = signingInput('agent-proof+jwt', kid, { ...asked, iat: nowSeconds() })
    return { form: 'agent-key', proof: attachSignature(input, sign(utf8(input))) }
  }
}

/** The key of an X509-SVID, and what vouches for it. */
export interface SvidSigner {
  /** DER in base64, the leaf first. */
  readonly chain: readonly string[]
  readonly spiffeId: string
  /** `x5t#S256` of the leaf. */
  readonly thumbprint: string
  readonly alg: 'EdDSA' | 'ES256' | 'RS256'
  readonly sign: (message: Uint8Array) => Uint8Array
}

/** Proves the key of an X509-SVID; it is read anew for each request, since SVIDs are replaced often. */
export function x509Identity(read: () => SvidSigner, nowSeconds: () => number): Identify {
  return (asked) => {
    const { chain, spiffeId, thumbprint, alg, sign } = read()
    const part = (object: JsonObject): string => toBase64Url(utf8(canonicalText(object)))
    const input = `${part({ alg, kid: thumbprint, typ: 'svid-proof+jwt' })}.${part({ ...asked, agent: spiffeId, iat: nowSeconds() })}`
    return { form: 'x509-svid', chain, proof: attachSignature(input, sign(utf8(input))) }
  }
}
