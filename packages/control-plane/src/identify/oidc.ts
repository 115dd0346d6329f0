import { type Clock, Denied, isAgentName, type JsonObject, subjectId } from '@sealwrit/protocol'
import type { IssuerConfig } from './configuration.ts'
import type { Claimed, IdentifyPorts, Initiator } from './initiator.ts'
import { KeySource, type LoadKeys } from './key-source.ts'
import { openToken, verifyClaims, verifyToken } from './token.ts'

/** Longest claim that is used, in UTF-16 units. */
const MAX_CLAIM = 1_024
/** Types of token that say who somebody is; access tokens are for somebody else. */
export const TYPES: readonly (string | undefined)[] = [undefined, 'JWT']
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

/**
 * Verifies an ID or workload token of a configured issuer.
 * @throws {Denied} `identity_invalid`, or `unavailable` while the issuer's keys cannot be read
 * @see OpenID Connect Core section 3.1.3.7
 */
export async function identifyByToken(text: string, claimed: Claimed, issuers: ReadonlyMap<string, Issuer>, { clock, crypto, origin }: IdentifyPorts): Promise<Initiator> {
  const token = openToken(text)
  if (!TYPES.includes(token.typ)) throw new Denied('identity_invalid', 'token: a type that says nobody’s identity')
  const issuer = issuers.get(claimOf(token.claims, 'iss'))
  if (issuer === undefined) throw new Denied('identity_invalid', 'token: an issuer that is not configured')
  const { config } = issuer
  verifyToken(token, await issuer.keys.find(token.kid), config.algorithms)
  const untilMs = verifyClaims(token.claims, config.audience, clock.wallMs())
  const [sub, name] = [claimOf(token.claims, 'sub'), claimOf(token.claims, config.subject ?? 'sub')]
  return {
    sub: subjectId('oidc', config.issuer, sub, origin, crypto.sha256),
    act: { sub: `agent:${claimed.agent.name}`, verified: vouches(config, token.claims, claimed) },
    context: { form: 'oidc', issuer: config.issuer, claims: mapped(config, token.claims) },
    named: { iss: config.issuer, name },
    holds: (_state, timeMs) => timeMs < untilMs,
  }
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
