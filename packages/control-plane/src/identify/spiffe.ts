import { X509Certificate } from 'node:crypto'
import { type Clock, Denied, fromBase64, type Sha256, subjectId, trustDomainOf } from '@sealwrit/protocol'
import type { TrustDomainConfig } from './configuration.ts'
import type { IdentifyPorts, Initiator } from './initiator.ts'
import { type Algorithm, readJwks } from './jwk.ts'
import { KeySource, type LoadKeys, REFRESH_INTERVAL_MS } from './key-source.ts'
import { openToken, verifyClaims, verifyToken } from './token.ts'

/** Algorithms of JWT-SVIDs that are taken. @see SPIFFE JWT-SVID section 2.1 */
const SVID_ALGORITHMS: readonly Algorithm[] = ['ES256', 'RS256', 'EdDSA']
/** @see SPIFFE JWT-SVID section 2.3 */
const TYPES: readonly (string | undefined)[] = [undefined, 'JWT', 'JOSE']

/** One trust domain: its bundle is a file, read again at most once an interval. */
export class TrustDomain {
  readonly config: TrustDomainConfig
  /** Keys of JWT-SVIDs. */
  readonly keys: KeySource
  readonly #load: LoadKeys
  readonly #clock: Clock
  #authorities: Promise<readonly X509Certificate[]> | undefined
  #readMs = Number.NEGATIVE_INFINITY

  constructor(config: TrustDomainConfig, load: LoadKeys, clock: Clock) {
    this.config = config
    this.keys = new KeySource(load, clock, SVID_ALGORITHMS, 'jwt-svid', REFRESH_INTERVAL_MS)
    this.#load = load
    this.#clock = clock
  }

  get id(): string {
    return `spiffe://${this.config.name}`
  }

  /** The certificates that X509-SVIDs end at. @throws {Denied} `identity_invalid`, `unavailable` */
  authorities(): Promise<readonly X509Certificate[]> {
    const now = this.#clock.monotonicMs()
    if (this.#authorities === undefined || now - this.#readMs >= REFRESH_INTERVAL_MS) {
      this.#readMs = now
      this.#authorities = this.#read() // a bundle that cannot be read any more vouches for nobody
    }
    return this.#authorities
  }

  async #read(): Promise<readonly X509Certificate[]> {
    let bytes: Uint8Array
    try {
      bytes = await this.#load()
    } catch {
      throw new Denied('unavailable', 'the trust bundle cannot be read')
    }
    const found = readJwks(bytes).filter((jwk) => jwk['use'] === 'x509-svid').map(({ x5c }) => {
      const [only, ...more] = Array.isArray(x5c) ? x5c : []
      if (typeof only !== 'string' || more.length > 0) throw new Denied('identity_invalid', 'trust bundle: an authority has exactly one certificate')
      return readCertificate(only)
    })
    if (found.length === 0) throw new Denied('unavailable', 'the trust bundle holds no certificate')
    return found
  }
}

/** @throws {Denied} `identity_invalid` */
export function readCertificate(base64: string): X509Certificate {
  try {
    return new X509Certificate(fromBase64(base64))
  } catch {
    throw new Denied('identity_invalid', 'a certificate that is not one')
  }
}

/** The configured trust domain of a SPIFFE id. @throws {Denied} `identity_invalid` */
export function domainOf(id: string, domains: ReadonlyMap<string, TrustDomain>): TrustDomain {
  const domain = domains.get(trustDomainOf(id) ?? '')
  if (domain === undefined) throw new Denied('identity_invalid', 'not a SPIFFE id of a configured trust domain')
  return domain
}

/** A workload is its own agent: what vouches for one vouches for the other. */
export function workload(id: string, domain: TrustDomain, form: 'jwt-svid' | 'x509-svid', origin: string, sha256: Sha256): Pick<Initiator, 'sub' | 'act' | 'context' | 'named'> {
  return {
    sub: subjectId('spiffe', domain.id, id, origin, sha256),
    act: { sub: `agent:${id}`, verified: true },
    context: { form, issuer: domain.id, claims: [] },
    named: { iss: domain.id, name: id },
  }
}

/**
 * Verifies a JWT-SVID against the bundle of its trust domain.
 * @throws {Denied} `identity_invalid`, or `unavailable` while the bundle cannot be read
 * @see SPIFFE JWT-SVID section 4
 */
export async function identifyByJwtSvid(text: string, domains: ReadonlyMap<string, TrustDomain>, { clock, crypto, origin }: IdentifyPorts): Promise<Initiator> {
  const token = openToken(text)
  if (!TYPES.includes(token.typ)) throw new Denied('identity_invalid', 'JWT-SVID: type')
  const { sub } = token.claims
  if (typeof sub !== 'string') throw new Denied('identity_invalid', 'JWT-SVID: no SPIFFE id')
  const domain = domainOf(sub, domains)
  verifyToken(token, await domain.keys.find(token.kid), SVID_ALGORITHMS)
  const untilMs = verifyClaims(token.claims, domain.config.audience, clock.wallMs())
  return { ...workload(sub, domain, 'jwt-svid', origin, crypto.sha256), holds: (_state, timeMs) => timeMs < untilMs }
}
