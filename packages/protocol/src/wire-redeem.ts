import { type Action, parseAction } from './action.ts'
import type { SealedEntry } from './artifact/seal.ts'
import { MAX_START_SECONDS } from './artifact/artifact.ts'
import { Denied } from './denial.ts'
import { MAX_FOREIGN_ORIGIN } from './federation/reference.ts'
import { type Identity, parseIdentity } from './identity.ts'
import { type Declared, readDeclared } from './intent.ts'
import { Fields } from './json/fields.ts'
import { isObject, type JsonValue } from './json/value.ts'
import type { Delegation } from './lineage/delegation.ts'
import type { ParentRef } from './lineage/lineage.ts'
import { present } from './json/present.ts'
import { type Agent, parseAgent, parseHashes, parseLineage } from './wire.ts'

/** Asks for an artifact that can be carried to the gate `audience`; by a caller that is no gate. */
export interface IssueRequest extends Declared {
  readonly action: Action
  readonly agent: Agent
  /** The one gate that may redeem it, or the origin of the one plane that may take it. */
  readonly audience: string
  /** `jws`: the artifact also as a compact JWS, for whoever speaks JWT. */
  readonly form: 'redeem' | 'jws'
  /** How long it may be started, at most {@link MAX_START_SECONDS}, which is the default. */
  readonly seconds: number
  /** The hold that this very request waits for. */
  readonly hold?: string
  /** The permit below which it is asked for. */
  readonly parent?: ParentRef
  /** What others shall be able to ask for below it. */
  readonly delegates?: Delegation
  /** Who asks, where it is asserted. */
  readonly identity?: Identity
  /** What a proof of possession is bound to: given by the plane, good once. */
  readonly nonce?: string
  /** What it descends from at another plane, as it was shown; its verifier reads it. @see spec/federation.md */
  readonly foreign?: JsonValue
}

/** Asks to spend a carried artifact for a challenge of the session's gate. */
export interface RedeemRequest {
  readonly session: string
  /** The sealed artifact as it was carried; its verifier reads it. */
  readonly artifact: JsonValue
  readonly challenge: string
  /** Who presents it: for an artifact that is bound to a key, or to somebody else than the local user. */
  readonly identity?: Identity
}

/** What the plane answers to `redeem`: two entries under one checkpoint, and the proof that it extends the one shown before. */
export interface RedeemReply {
  readonly redemption: SealedEntry
  readonly artifact: SealedEntry
  readonly consistency: readonly string[]
}

/** Whether a body of `authorize` asks for a carried artifact: a gate's own names neither member. */
export function isIssueRequest(value: JsonValue): boolean {
  return isObject(value) && ('audience' in value || 'form' in value)
}

/** @throws {Denied} `request_malformed`, or `lifetime_exceeded` for a start window that is never issued */
export function parseIssueRequest(value: JsonValue): IssueRequest {
  const fields = new Fields(value, 'request_malformed', 'issue')
  const request = present<IssueRequest>({
    action: parseAction(fields.value('action')),
    agent: parseAgent(fields.object('agent')),
    audience: fields.text('audience', MAX_FOREIGN_ORIGIN),
    form: fields.oneOf('form', ['redeem', 'jws'] as const),
    seconds: fields.optional('seconds', (name) => fields.integer(name)) ?? MAX_START_SECONDS,
    hold: fields.optional('hold', (name) => fields.token(name)),
    ...parseLineage(fields),
    identity: fields.optional('identity', (name) => parseIdentity(fields.object(name))),
    nonce: fields.optional('nonce', (name) => fields.token(name)),
    foreign: fields.optional('foreign', (name) => fields.value(name)),
    ...readDeclared(fields),
  })
  fields.end()
  if (request.seconds === 0) throw new Denied('request_malformed', 'issue: seconds')
  if (request.seconds > MAX_START_SECONDS) throw new Denied('lifetime_exceeded')
  return request
}

export function parseRedeemRequest(value: JsonValue): RedeemRequest {
  const fields = new Fields(value, 'request_malformed', 'redeem')
  const request = present<RedeemRequest>({
    session: fields.token('session'),
    artifact: fields.value('artifact'),
    challenge: fields.token('challenge'),
    identity: fields.optional('identity', (name) => parseIdentity(fields.object(name))),
  })
  fields.end()
  return request
}

/** Reads the plane's answer to `redeem`. Both seals stay parsed values: their verifier reads them. */
export function parseRedeemReply(value: JsonValue): { readonly redemption: JsonValue; readonly artifact: JsonValue; readonly consistency: readonly Uint8Array[] } {
  const fields = new Fields(value, 'request_malformed', 'reply')
  const reply = { redemption: fields.value('redemption'), artifact: fields.value('artifact'), consistency: parseHashes(fields, 'consistency') }
  fields.end()
  return reply
}
