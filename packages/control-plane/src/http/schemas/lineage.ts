import { ACTION_TYPES, MAX_DELEGATED_DEPTH, MAX_DELEGATED_SCOPES, MAX_DELEGATED_USES, MAX_DELEGATES, MAX_NAME, parseDelegation, Fields, Denied, type JsonValue } from '@sealwrit/protocol'
import * as z from 'zod'
import { actor, component, digest, level, object, scope, seq, text, token } from './values.ts'

export const parent: z.ZodType = component('ParentRef', z.strictObject({ jti: token, leaf_hash: digest }).describe('The permit below which it is asked for: its id, and the hash of its leaf.'))

const names = z.array(text(128)).min(1).max(MAX_DELEGATES).meta({ uniqueItems: true })
/** What arguments may be is a language of its own, and its parser is the one that says what is of it. */
export const delegates: z.ZodType = component(
  'Delegation',
  z.strictObject({
    until: seq, uses: z.int().min(1).max(MAX_DELEGATED_USES), depth: z.int().min(1).max(MAX_DELEGATED_DEPTH),
    scopes: z.array(z.strictObject({ type: z.enum(ACTION_TYPES), target: text(), name: text(MAX_NAME), arguments: object.exactOptional() })).min(1).max(MAX_DELEGATED_SCOPES),
    agents: names.exactOptional(), audiences: names.exactOptional(), environment: level.exactOptional(),
  }).refine(isDelegation, 'spec/lineage.md').describe('What others may ask for below it: spec/lineage.md.'),
)

function isDelegation(value: unknown): boolean {
  try {
    parseDelegation(new Fields(value as JsonValue, 'request_malformed', 'delegates'))
    return true
  } catch (error) {
    if (!(error instanceof Denied)) throw error
    return false
  }
}

const node = component(
  'LineageNode',
  z.strictObject({
    jti: token, seq, time: seq, decision: z.enum(['permit', 'deny']), code: z.string().exactOptional(), parent: token.exactOptional(), foreign: z.strictObject({ origin: z.string(), jti: token, size: seq }).exactOptional(),
    sub: z.string().exactOptional(), act: actor.exactOptional(), aud: z.string().exactOptional(), scope: scope.exactOptional(),
    policy: z.strictObject({ digest, epoch: seq, determining: z.array(z.string()) }).exactOptional(),
    approvals: z.array(z.strictObject({ seq, person: z.string(), grant: z.boolean() })).exactOptional(), risk: z.string().exactOptional(),
    delegates: z.strictObject({ until: seq, uses: seq, depth: seq, terms_commit: digest }).exactOptional(),
    ending: z.strictObject({ seq, outcome: z.string(), cause: z.string().exactOptional() }).exactOptional(),
  }),
)
export const lineageAnswer: z.ZodType = component('Lineage', z.strictObject({ ancestors: z.array(node), node, below: z.array(node), next: z.string().exactOptional() }).describe('From the root down: why it was allowed, and what descends from it, each before its own.'))
