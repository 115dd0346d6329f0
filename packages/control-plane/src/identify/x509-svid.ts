import type { KeyObject, X509Certificate } from 'node:crypto'
import { certificateThumbprint, certificateUse, Denied, type Identity, readPossession, USAGE, verifyPossession } from '@sealwrit/protocol'
import { proved } from './agent-key.ts'
import type { Claimed, IdentifyPorts, Initiator } from './initiator.ts'
import { pinned, type VerificationKey, verifyStrength } from './jwk.ts'
import { domainOf, readCertificate, type TrustDomain, workload } from './spiffe.ts'
import { isSigned, openToken } from './token.ts'

/**
 * Verifies an X509-SVID: its chain ends at an authority of its trust domain, it holds exactly one SPIFFE id, and its key signed
 * for exactly this request.
 * @throws {Denied} `identity_invalid` for the chain, `proof_of_possession_failed`, `unavailable` while the bundle cannot be read
 * @see SPIFFE X509-SVID sections 4 and 5
 */
export async function identifyByX509(identity: Identity & { form: 'x509-svid' }, claimed: Claimed, domains: ReadonlyMap<string, TrustDomain>, { clock, crypto, origin }: IdentifyPorts): Promise<Initiator> {
  const chain = identity.chain.map(readCertificate)
  const leaf = chain[0] as X509Certificate
  const id = spiffeIdOf(leaf)
  const domain = domainOf(id, domains)
  const nowMs = clock.wallMs()
  verifyLeaf(leaf)
  const path = verifyPath(chain, await domain.authorities())
  for (const one of path) if (!isValidAt(one, nowMs)) throw new Denied('identity_invalid', 'X509-SVID: a certificate that is not valid now')
  const cnf = certificateThumbprint(identity.chain[0] as string, crypto.sha256)
  if (claimed.challenge === undefined) throw new Denied('proof_of_possession_failed', 'there is no nonce that the proof could be bound to')
  const asked = { aud: origin, agent: id, gate: claimed.gate, challenge: claimed.challenge, action_digest: claimed.actionDigest() }
  proved(() => verifyPossession(readPossession(openProof(identity.proof, leaf.publicKey, cnf)), asked, Math.floor(nowMs / 1_000)))
  return { ...workload(id, domain, 'x509-svid', origin, crypto.sha256), cnf, holds: (_state, timeMs) => path.every((one) => isValidAt(one, timeMs)) }
}

/**
 * The one URI name. Names that need quoting are refused whole, so that none can look like two.
 * @throws {Denied} `identity_invalid`. @see SPIFFE X509-SVID section 2
 */
function spiffeIdOf(leaf: X509Certificate): string {
  const names = leaf.subjectAltName ?? ''
  const uris = names.split(', ').filter((name) => name.startsWith('URI:'))
  if (names.includes('"') || uris.length !== 1) throw new Denied('identity_invalid', 'X509-SVID: not exactly one SPIFFE id')
  return (uris[0] as string).slice('URI:'.length)
}

/** A leaf signs for itself and for nobody else. @see SPIFFE X509-SVID section 4.3 */
function verifyLeaf(leaf: X509Certificate): void {
  const { isAuthority, keyUsage: usage, hasUnknownCritical } = certificateUse(leaf.raw) // `X509Certificate.ca` looks at the usage as well, and would miss one
  if (isAuthority || hasUnknownCritical) throw new Denied('identity_invalid', 'X509-SVID: the leaf is an authority, or has a critical extension that is not understood')
  if (usage === undefined || (usage & USAGE.digitalSignature) === 0 || (usage & (USAGE.keyCertSign | USAGE.crlSign)) !== 0) throw new Denied('identity_invalid', 'X509-SVID: key usage')
}

/** Leaf, intermediates and the authority that they end at, each issued by the next. @throws {Denied} `identity_invalid` */
function verifyPath(chain: readonly X509Certificate[], authorities: readonly X509Certificate[]): readonly X509Certificate[] {
  chain.forEach((one, i) => {
    const issuer = chain[i + 1]
    if (issuer !== undefined && !isIssuedBy(one, issuer)) throw new Denied('identity_invalid', 'X509-SVID: the chain does not hang together')
  })
  const last = chain.at(-1) as X509Certificate
  const authority = authorities.find((one) => isIssuedBy(last, one))
  if (authority === undefined) throw new Denied('identity_invalid', 'X509-SVID: the chain ends at no authority of its trust domain')
  return [...chain, authority]
}

function isIssuedBy(one: X509Certificate, issuer: X509Certificate): boolean {
  try {
    const { isAuthority, keyUsage: usage, hasUnknownCritical } = certificateUse(issuer.raw)
    verifyStrength(issuer.publicKey)
    return isAuthority && !hasUnknownCritical && (usage === undefined || (usage & USAGE.keyCertSign) !== 0) && one.checkIssued(issuer) && one.verify(issuer.publicKey)
  } catch {
    return false
  }
}

function isValidAt({ validFromDate, validToDate }: X509Certificate, timeMs: number): boolean {
  return validFromDate.getTime() <= timeMs && timeMs < validToDate.getTime()
}

/** The claims of a proof that the leaf's key signed. @throws {Denied} `proof_of_possession_failed`, `identity_invalid` */
function openProof(proof: string, key: KeyObject, thumbprint: string): ReturnType<typeof openToken>['claims'] {
  const token = openToken(proof)
  const algorithm = algorithmOf(key)
  if (token.typ !== 'svid-proof+jwt' || token.kid !== thumbprint || pinned(token.alg) !== algorithm) throw new Denied('proof_of_possession_failed', 'not a proof by this certificate')
  if (!isSigned(algorithm, token.signed, key, token.signature)) throw new Denied('proof_of_possession_failed', 'the signature does not verify')
  return token.claims
}

function algorithmOf(key: KeyObject): VerificationKey['algorithm'] {
  verifyStrength(key)
  if (key.asymmetricKeyType === 'rsa') return 'RS256'
  if (key.asymmetricKeyType === 'ec' && key.asymmetricKeyDetails?.namedCurve === 'prime256v1') return 'ES256'
  if (key.asymmetricKeyType === 'ed25519') return 'EdDSA'
  throw new Denied('proof_of_possession_failed', 'a key of a type that is not used here')
}
