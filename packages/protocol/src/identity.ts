import type { Actor } from './artifact/artifact.ts'
import type { Crypto, Sha256 } from './crypto.ts'
import { Denied } from './denial.ts'
import type { Digest } from './digest.ts'
import { fromBase64, fromBase64Url, fromUtf8, toBase64Url, utf8 } from './encoding.ts'
import { canonicalText } from './json/canonicalize.ts'
import { Fields } from './json/fields.ts'
import { parseStrictText } from './json/parse.ts'
import { present } from './json/present.ts'
import { isObject, JSON_LIMITS, type JsonObject, type JsonValue } from './json/value.ts'
import { openJwsOf, peekClaims, type SigningKey } from './receipt/jws.ts'

/** Longest token or proof that says who asks, in characters. */
export const MAX_IDENTITY_TOKEN = 8_192
/** Certificates in one chain, the leaf included. */
export const MAX_CHAIN = 4
/** Longest certificate of a chain, in characters of base64. */
export const MAX_CERTIFICATE = 8_192
/** Longest address of a resource that access tokens are for, in UTF-16 units. */
export const MAX_RESOURCE = 2_048
/** A proof of possession is taken this long before and after its `iat`, in seconds. */
export const PROOF_SECONDS = 30

/** Who asks, as it is asserted with a request; the plane verifies it before it decides. @see spec/identity.md */
export type Identity =
  | { readonly form: 'agent-key'; readonly proof: string }
  /** With `audience` it is an access token for that resource, which whoever passes it on serves; without, one that says who somebody is. */
  | { readonly form: 'oidc'; readonly token: string; readonly audience?: string }
  | { readonly form: 'jwt-svid'; readonly token: string }
  /** DER certificates in base64, the leaf first; the proof is signed by the leaf's key. */
  | { readonly form: 'x509-svid'; readonly chain: readonly string[]; readonly proof: string }
export const IDENTITY_FORMS: readonly Identity['form'][] = ['agent-key', 'oidc', 'jwt-svid', 'x509-svid']

/** What a key holder signs, so that its proof is good for one request and no other. */
export interface Possession {
  /** Origin of the log. */
  readonly aud: string
  /** Name of the agent, or the SPIFFE id. */
  readonly agent: string
  /** The gate where it is to run. */
  readonly gate: string
  /** The gate's challenge, or the nonce that the plane gave for an `issue`. */
  readonly challenge: string
  readonly action_digest: Digest
  /** Seconds since 1970. */
  readonly iat: number
}

/** @throws {Denied} `request_malformed` */
export function parseIdentity(fields: Fields): Identity {
  const form = fields.oneOf('form', IDENTITY_FORMS)
  const text = (name: string): string => fields.text(name, MAX_IDENTITY_TOKEN)
  const identity = ((): Identity => {
    switch (form) {
      case 'agent-key':
        return { form, proof: text('proof') }
      case 'oidc':
        return present<Identity>({ form, token: text('token'), audience: fields.optional('audience', (name) => fields.text(name, MAX_RESOURCE)) })
      case 'jwt-svid':
        return { form, token: text('token') }
      case 'x509-svid': {
        const chain = fields.strings('chain', MAX_CHAIN, MAX_CERTIFICATE)
        if (chain.length === 0) throw new Denied('request_malformed', 'identity: an empty chain')
        return { form, chain, proof: text('proof') }
      }
    }
  })()
  fields.end()
  return identity
}

/** Whether `value` is a name that an agent can be registered under: `[A-Za-z0-9._-]{1,64}`. */
export function isAgentName(value: string): boolean {
  if (value.length < 1 || value.length > 64) return false
  for (let i = 0; i < value.length; i++) {
    const c = value.charCodeAt(i)
    if (!((c >= 97 && c <= 122) || (c >= 65 && c <= 90) || (c >= 48 && c <= 57) || c === 45 || c === 46 || c === 95)) return false
  }
  return true
}

/** @throws {Denied} `proof_of_possession_failed` for claims of another form */
export function readPossession(claims: JsonValue): Possession {
  const fields = new Fields(claims, 'proof_of_possession_failed', 'proof')
  const possession: Possession = {
    aud: fields.text('aud'),
    agent: fields.text('agent'),
    gate: fields.text('gate', 64),
    challenge: fields.token('challenge'),
    action_digest: fields.digest('action_digest'),
    iat: fields.integer('iat'),
  }
  fields.end()
  return possession
}

/**
 * Holds what was signed against what is asked: equal in every member, and signed now.
 * @throws {Denied} `proof_of_possession_failed`
 */
export function verifyPossession(shown: Possession, asked: Omit<Possession, 'iat'>, nowSeconds: number): void {
  for (const name of ['aud', 'agent', 'gate', 'challenge', 'action_digest'] as const) {
    if (shown[name] !== asked[name]) throw new Denied('proof_of_possession_failed', `the proof is for another ${name}`)
  }
  if (Math.abs(nowSeconds - shown.iat) > PROOF_SECONDS) throw new Denied('proof_of_possession_failed', 'the proof was not signed now')
}

/**
 * Verifies that one of `keys` signed for exactly what is asked.
 * @returns the key that did
 * @throws {Denied} as {@link openJwsOf}, and `proof_of_possession_failed`
 */
export function verifyAgentProof(proof: string, keys: readonly SigningKey[], asked: Omit<Possession, 'iat'>, nowSeconds: number, crypto: Crypto): SigningKey {
  const { key, claims } = openJwsOf(proof, 'agent-proof+jwt', keys, crypto)
  verifyPossession(readPossession(claims), asked, nowSeconds)
  return key
}

/** What a gate signs to open a session, under a nonce that the plane gave. @see spec/identity.md#gates */
export interface GateProof {
  readonly aud: string
  readonly session: string
  readonly nonce: string
}

/** @throws {Denied} as {@link openJwsOf}, and `proof_of_possession_failed` for another log, session, or form. @returns the nonce */
export function verifyGateProof(proof: string, key: SigningKey, about: Omit<GateProof, 'nonce'>, crypto: Crypto): string {
  const fields = new Fields(openJwsOf(proof, 'gate-proof+jwt', [key], crypto).claims, 'proof_of_possession_failed', 'gate proof')
  const shown = { aud: fields.text('aud'), session: fields.token('session'), nonce: fields.token('nonce') }
  fields.end()
  if (shown.aud !== about.aud || shown.session !== about.session) throw new Denied('proof_of_possession_failed', 'the proof is for another log or session')
  return shown.nonce
}

/**
 * The opaque id of who an issuer names: leaves show no names of people, and equal names of two issuers or two logs are two ids.
 * @param kind `oidc`, `spiffe` with the trust domain as issuer, or `plane` with the origin of another plane's log
 */
export function subjectId(kind: 'oidc' | 'spiffe' | 'plane', iss: string, sub: string, origin: string, sha256: Sha256): string {
  return `${kind}:${toBase64Url(sha256(utf8(canonicalText({ iss, origin, sub }))).subarray(0, 16))}`
}

/** `spiffe://` and the trust domain of a SPIFFE id; undefined where it is none. @see SPIFFE-ID section 2 */
export function trustDomainOf(id: string): string | undefined {
  return id.length <= 2_048 ? /^(spiffe:\/\/[a-z0-9._-]{1,255})(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)+$/.exec(id)?.[1] : undefined
}

/** Thumbprint of a leaf certificate, the `x5t#S256` of RFC 7515. @throws {Denied} `encoding_invalid` */
export function certificateThumbprint(leaf: string, sha256: Sha256): string {
  return toBase64Url(sha256(fromBase64(leaf)))
}

/** Whom a gate expects a permit to name, after what was asserted with its request. */
export interface ExpectedSubject {
  readonly sub: string
  readonly act: string
  /** Undefined where only the plane can know whether something vouches for the agent. */
  readonly verified: boolean | undefined
  /** Thumbprint of the key whose proof was passed on. */
  readonly cnf?: string | undefined
}

/**
 * Computes it without verifying anything: a permit for anybody else than who asserted this is not for this request, and whoever
 * asserted what is not true gets no permit from the plane.
 * @param local what this gate knows without an assertion
 */
export function expectedSubject(identity: Identity | undefined, local: { readonly sub: string; readonly act: Actor }, origin: string, sha256: Sha256): ExpectedSubject {
  const { sub, act } = local
  switch (identity?.form) {
    case undefined:
      return { sub, act: act.sub, verified: act.verified }
    case 'agent-key':
      return { sub, act: act.sub, verified: true, cnf: memberOf(peekHeader(identity.proof), 'kid') }
    case 'oidc': {
      const claims = peekClaims(identity.token)
      return { sub: subjectId('oidc', memberOf(claims, 'iss'), memberOf(claims, 'sub'), origin, sha256), act: act.sub, verified: act.verified ? true : undefined }
    }
    case 'jwt-svid':
      return workload(memberOf(peekClaims(identity.token), 'sub'), undefined, origin, sha256)
    case 'x509-svid':
      return workload(memberOf(peekClaims(identity.proof), 'agent'), certificateThumbprint(identity.chain[0] ?? '', sha256), origin, sha256)
  }
}

function workload(id: string, cnf: string | undefined, origin: string, sha256: Sha256): ExpectedSubject {
  return { sub: subjectId('spiffe', trustDomainOf(id) ?? '', id, origin, sha256), act: `agent:${id}`, verified: true, cnf }
}

function memberOf(object: JsonObject, name: string): string {
  const value = object[name]
  return typeof value === 'string' ? value : ''
}

/** The header of a token, unverified; empty where there is none to be read. */
function peekHeader(token: string): JsonObject {
  try {
    const header = parseStrictText(fromUtf8(fromBase64Url(token.split('.', 1)[0] ?? '')), { ...JSON_LIMITS, maxBytes: MAX_IDENTITY_TOKEN })
    return isObject(header) ? header : {}
  } catch {
    return {}
  }
}
