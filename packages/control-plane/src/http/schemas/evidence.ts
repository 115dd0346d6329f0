import { ASSURANCE_LEVELS, DENIALS, type DenialCode, MAX_PROOF_LENGTH } from '@sealwrit/protocol'
import * as z from 'zod'
import { DECISIONS, ENDINGS } from '../../prove/execution-index.ts'
import { component, digest, entry, json, object, paging, scope, sealed, seq, text, timeMs } from './values.ts'

export const idPath: z.ZodType = z.strictObject({ id: text(64).describe('The `jti` of an execution, or a leaf index; for evidence also `all`.') })
const code = z.enum(Object.keys(DENIALS) as [DenialCode, ...DenialCode[]])
export const searchQuery: z.ZodType = z.strictObject({
  agent: z.optional(text()).describe('Name of an agent.'), tool: z.optional(text(3_200)).describe('Server and tool, as in `mcp://fs/read_file`.'),
  decision: z.optional(z.enum(DECISIONS)), code: z.optional(code), outcome: z.optional(z.enum(ENDINGS)).describe('Of permits.'),
  assurance: z.optional(z.enum(ASSURANCE_LEVELS)).describe('What the receipt states that was reached.'), min_assurance: z.optional(z.enum(ASSURANCE_LEVELS)).describe('The least of it.'),
  from: z.optional(timeMs).describe('Milliseconds since 1970.'), to: z.optional(timeMs).describe('Milliseconds since 1970, exclusive.'), ...paging,
})
const found = component(
  'FoundExecution',
  z.strictObject({
    seq, time: seq, decision: z.enum(DECISIONS), code: code.exactOptional(), observed: code.describe('What policy denied it with: it is only observed, not governed.').exactOptional(), outcome: z.enum(ENDINGS).exactOptional(), assurance: z.enum(ASSURANCE_LEVELS).describe('What its receipt states that was reached.').exactOptional(), id: z.string().exactOptional(),
    agent: z.string().exactOptional(), sub: z.string().exactOptional(), scope: scope.exactOptional(),
  }).describe('A decision, and how a permit ended. `id` is the `jti` of a permit or the id of a hold.'),
)
export const foundPage: z.ZodType = z.strictObject({ executions: z.array(found), next: z.string().exactOptional(), since: seq.exactOptional() }).describe('Newest first. `since` stands where the log is longer than what is looked through: its oldest entry.')
export const shown: z.ZodType = component('Execution', z.strictObject({ entries: z.array(entry), bodies: z.array(z.strictObject({ purpose: z.string(), body: json.optional() })) }).describe('The entries of one execution, and the bodies behind their commitments where they are kept.'))
export const bundle: z.ZodType = component(
  'EvidenceBundle',
  z.strictObject({
    v: z.literal(1), origin: z.string(), tenant: z.string(), checkpoint: z.string(), keys: z.array(sealed).exactOptional(), checkpoints: z.array(z.looseObject({})), anchors: z.array(z.looseObject({})).exactOptional(),
    policies: z.array(z.looseObject({})), entries: z.array(z.looseObject({})),
  }).describe('Evidence that is checked offline: spec/bundle.md.'),
)
export const sinceQuery: z.ZodType = z.strictObject({ since: z.optional(text(MAX_PROOF_LENGTH)).describe('An earlier signed checkpoint that the evidence shall be linked with.') })
export const tilePath: z.ZodType = z.strictObject({ tenant: text(63), '*': text(128) })
export const tenantPath: z.ZodType = z.strictObject({ tenant: text(63) })
export const keySet: z.ZodType = z.strictObject({ keys: z.array(object) })
export const plainText: z.ZodType = z.string()
export const health: z.ZodType = z.strictObject({ status: z.literal('ok') })
export const readiness: z.ZodType = z.strictObject({ status: z.literal('ready') })
export const eventsQuery: z.ZodType = z.strictObject({ from: z.optional(z.string().regex(/^\d{1,15}$/)).describe('Leaf index to begin at; `Last-Event-ID` goes before it.') })
export const status: z.ZodType = component('Status', z.looseObject({ origin: z.string(), tenant: z.string(), size: seq, epoch: seq, ready: z.boolean() }))
const numbers = z.record(z.string().regex(/^[a-z][a-z0-9_]{0,39}$/), z.int().min(0))
const graded = { model: text(64), size: seq, root: digest, at: timeMs, level: z.int().min(0).max(5), dimensions: numbers, measures: numbers.describe('In millionths.') }
export const assessment: z.ZodType = z.strictObject(graded)
export const assessments: z.ZodType = z.strictObject({ assessments: z.array(entry) })
