import { type Clock, Denied, isAgentName, type JsonObject, present, subjectId } from '@sealwrit/protocol'
import type { IssuerConfig } from './configuration.ts'
import type { Claimed, IdentifyPorts, Initiator } from './initiator.ts'
import { KeySource, type LoadKeys } from './key-source.ts'
import { isFor, openToken, verifyClaims, verifyToken } from './token.ts'

/** Longest claim that is used, in UTF-16 units. */
const MAX_CLAIM = 1_024
/** Scopes of a token that are looked at. */
export const MAX_SCOPES = 64
/** Types of token that say who somebody is; access tokens are for somebody else. */
export const TYPES: readonly (string | undefined)[] = [undefined, 'JWT']
/** Types of access token: the exact audience is what tells them from the others, since issuers write all of these. @see RFC 9068 section 2.1 */
const ACCESS_TYPES: readonly (string | undefined)[] = [...TYPES, 'at+jwt', 'application/at+jwt']
/** Claims that policies may see, by mapping. @see GitHub, "OpenID Connect reference", claims of the token */
const MAPPED: Readonly<Record<NonNullable<IssuerConfig['map']>, readonly string[]>> = {
  github_actions: ['repository', 'ref', 'workflow_ref', 'environment', 'event_name'],
}

/** One issuer, with its keys. */
export class Issuer {
  readonly config: IssuerConfig
  readonly keys: KeySource

  constructor(config: IssuerConfig, load: LoadKeys, clock: Clock) {
    this.config = config
    this.keys = new KeySource(load, clock, config.algorithms, 'sig')
  }
}

/** What a token says, once it is verified. */
interface Verified {
  readonly config: IssuerConfig
  readonly claims: JsonObject
  readonly untilMs: number
}

/**
 * Verifies an ID or workload token of a configured issuer, or with `audience` an access token for that resource.
 * @throws {Denied} `identity_invalid`, `audience_mismatch` for an access token of another resource, or `unavailable` while the issuer's keys cannot be read
 * @see OpenID Connect Core section 3.1.3.7, RFC 9068 section 4
 */
async function verified(text: string, audience: string | undefined, issuers: ReadonlyMap<string, Issuer>, clock: Clock): Promise<Verified> {
  const token = openToken(text)
  if (!(audience === undefined ? TYPES : ACCESS_TYPES).includes(token.typ)) throw new Denied('identity_invalid', 'token: a type that is not taken for this')
  const issuer = issuers.get(claimOf(token.claims, 'iss'))
  if (issuer === undefined) throw new Denied('identity_invalid', 'token: an issuer that is not configured')
  const { config } = issuer
  verifyToken(token, await issuer.keys.find(token.kid), config.algorithms)
  // Which resources there are is configured here, and not for a gate to say: it would take whatever token it got hold of.
  if (audience !== undefined && (config.resources?.includes(audience) !== true || !isFor(token.claims, audience))) throw new Denied('audience_mismatch', 'token: for another resource, or one that the plane is not configured for')
  return { config, claims: token.claims, untilMs: verifyClaims(token.claims, audience ?? config.audience, clock.wallMs()) }
}

/** Who a token names, as the initiator of a request. @throws {Denied} as {@link verified} */
export async function identifyByToken(given: { readonly token: string; readonly audience?: string }, claimed: Claimed, issuers: ReadonlyMap<string, Issuer>, { clock, crypto, origin }: IdentifyPorts): Promise<Initiator> {
  const { config, claims, untilMs } = await verified(given.token, given.audience, issuers, clock)
  const [sub, name] = [claimOf(claims, 'sub'), claimOf(claims, config.subject ?? 'sub')]
  return {
    sub: subjectId('oidc', config.issuer, sub, origin, crypto.sha256),
    act: { sub: `agent:${claimed.agent.name}`, verified: vouches(config, claims, claimed) },
    context: { form: 'oidc', issuer: config.issuer, claims: mapped(config, claims) },
    named: { iss: config.issuer, name },
    holds: (_state, timeMs) => timeMs < untilMs,
  }
}

/** Who an access token names to the gate that it was shown to. */
export interface Bearer {
  readonly iss: string
  /** The opaque id of the principal. */
  readonly sub: string
  /** The agent that the token names, where its issuer names agents. */
  readonly agent?: string
  readonly scopes: readonly string[]
  /** When it ends, milliseconds since 1970. */
  readonly until: number
}

/** Verifies an access token for a gate that serves `audience`. @throws {Denied} as {@link verified} */
export async function bearerOf(token: string, audience: string, issuers: ReadonlyMap<string, Issuer>, { clock, crypto, origin }: IdentifyPorts): Promise<Bearer> {
  const { config, claims, untilMs } = await verified(token, audience, issuers, clock)
  const agent = config.agent === undefined ? undefined : claimOf(claims, config.agent)
  if (agent !== undefined && !isAgentName(agent)) throw new Denied('identity_invalid', 'token: it names no agent')
  const { scope = '' } = claims
  const scopes = typeof scope === 'string' ? scope.split(' ').filter((one) => one !== '') : []
  return present<Bearer>({ iss: config.issuer, sub: subjectId('oidc', config.issuer, claimOf(claims, 'sub'), origin, crypto.sha256), agent, scopes: scopes.slice(0, MAX_SCOPES), until: untilMs })
}

/** Whether anything but the agent's own word names it: the token, where its issuer names agents, or else the gate. */
function vouches(config: IssuerConfig, claims: JsonObject, { agent }: Claimed): boolean {
  if (config.agent === undefined) return agent.verified
  const named = claimOf(claims, config.agent)
  if (!isAgentName(named) || named !== agent.name) throw new Denied('identity_invalid', 'token: it names another agent')
  return true
}

function mapped({ map }: IssuerConfig, claims: JsonObject): readonly string[] {
  if (map === undefined) return []
  return MAPPED[map].filter((name) => claims[name] !== undefined).map((name) => `${name}=${claimOf(claims, name)}`)
}

export function claimOf(claims: JsonObject, name: string): string {
  const value = claims[name]
  if (typeof value !== 'string' || value === '' || value.length > MAX_CLAIM) throw new Denied('identity_invalid', 'token: a claim is missing or not a string')
  return value
}
