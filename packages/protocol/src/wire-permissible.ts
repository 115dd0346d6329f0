import { type Action, ACTION_TYPES, MAX_NAME, type Scope } from './action.ts'
import type { Sha256 } from './crypto.ts'
import { Denied } from './denial.ts'
import { type Digest, digestOf } from './digest.ts'
import { type Identity, parseIdentity } from './identity.ts'
import { canonicalize } from './json/canonicalize.ts'
import { Fields } from './json/fields.ts'
import { present } from './json/present.ts'
import type { JsonObject, JsonValue } from './json/value.ts'
import { type Agent, parseAgent } from './wire.ts'

/** What one request may ask about. */
export const MAX_PERMISSIBLE = 256

/** Asks of which actions a request by this agent could be permitted at all, so that lists need not show the others. */
export interface PermissibleRequest {
  readonly session: string
  readonly agent: Agent
  readonly target: string
  readonly scopes: readonly PermissibleScope[]
  /** Who asks, where that can be told already; without it everything that it could be is taken into account. */
  readonly identity?: Identity
  /** What a proof of it is bound to, with {@link permissibleDigest} in the place of the action's. */
  readonly challenge?: string
}
/** One kind of action, by its type and name. */
export interface PermissibleScope {
  readonly type: Action['type']
  readonly name: string
}

/** @throws {Denied} `request_malformed` */
export function parsePermissibleRequest(value: JsonValue): PermissibleRequest {
  const fields = new Fields(value, 'request_malformed', 'permissible')
  const list = fields.value('scopes')
  if (!Array.isArray(list) || list.length > MAX_PERMISSIBLE) throw new Denied('request_malformed', `permissible: at most ${MAX_PERMISSIBLE} scopes`)
  const request = present<PermissibleRequest>({
    session: fields.token('session'),
    agent: parseAgent(fields.object('agent')),
    target: fields.text('target'),
    scopes: list.map((one: JsonValue) => {
      const scope = new Fields(one, 'request_malformed', 'permissible.scopes')
      const read = { type: scope.oneOf('type', ACTION_TYPES) as Action['type'], name: scope.text('name', MAX_NAME) } // of a type that no gate serves nothing is permitted
      scope.end()
      return read
    }),
    identity: fields.optional('identity', (name) => parseIdentity(fields.object(name))),
    challenge: fields.optional('challenge', (name) => fields.token(name)),
  })
  fields.end()
  return request
}

/** The answer, in the order of the scopes. @throws {Denied} `request_malformed` */
export function parsePermissibleReply(value: JsonValue, count: number): readonly boolean[] {
  const fields = new Fields(value, 'request_malformed', 'permissible')
  const list = fields.value('permissible')
  fields.end()
  if (!Array.isArray(list) || list.length !== count || !list.every((one) => typeof one === 'boolean')) throw new Denied('request_malformed', 'permissible: not one answer for each')
  return list as readonly boolean[]
}

/** What an agent signs in the place of an action's digest. It has no `type`, so it is the digest of no action. */
export function permissibleDigest({ agent, target, scopes }: Pick<PermissibleRequest, 'agent' | 'target' | 'scopes'>, sha256: Sha256): Digest {
  return digestOf(canonicalize({ permissible: { agent: { ...agent }, target, scopes: scopes.map((scope) => ({ ...scope })) } } as JsonObject), sha256)
}

/** As the policies are asked about them. */
export function scopesOf({ target, scopes }: Pick<PermissibleRequest, 'target' | 'scopes'>): readonly Scope[] {
  return scopes.map(({ type, name }) => ({ type, target, name }))
}
