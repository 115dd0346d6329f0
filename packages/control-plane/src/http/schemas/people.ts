import { MAX_GROUPS, MAX_JWS, MAX_SELECTOR } from '@sealwrit/protocol'
import * as z from 'zod'
import { actor, component, digest, foreign, flag, listOf, object, paging, publicKey, scope, sealed, seq, text, token } from './values.ts'

export const selectorRequest: z.ZodType = component('SelectorRequest', z.strictObject({ selector: text(MAX_SELECTOR) }).describe('`all`, or a kind, a colon and a name, as in `tool:mcp://fs/delete_file`.'))
export const effect: z.ZodType = component('Effect', z.strictObject({ seq, recordedMs: seq, effectiveMs: seq.exactOptional(), waiting: seq }).describe('When it was recorded, and when it held at every gate; `waiting` counts those that have not answered.'))
export const effectPath: z.ZodType = z.strictObject({ seq: z.string().regex(/^\d{1,15}$/) })
export const liftReply: z.ZodType = z.strictObject({ lifted: z.boolean(), asked: seq, quorum: seq })
export const revocations: z.ZodType = listOf('revocations', component('Revocation', z.strictObject({ selector: z.string(), seq })))
export const kills: z.ZodType = listOf('kills', component('Kill', z.strictObject({ selector: z.string(), seq, lifters: z.array(z.string()) })))

const salted = (value: z.ZodType): z.ZodObject => z.strictObject({ salt: token, value })
const grantArguments = z.record(z.string(), z.looseObject({}))
export const approvalRequest: z.ZodType = component(
  'ApprovalRequest',
  z.strictObject({ hold: token, signature: text(MAX_JWS), grant: salted(object).exactOptional(), reason: salted(z.strictObject({ text: text() })).exactOptional(), voucher: foreign.exactOptional() }).describe('What a registered approver signed about exactly this hold; spec/approval.md says what is signed.'),
)
export const approvalReply: z.ZodType = z.strictObject({ seq, event: z.string(), approvals: seq, quorum: seq })
const grant = z.strictObject({ uses: seq, until: seq, tool_digest: digest.exactOptional(), arguments_commit: digest, left: z.int(), arguments: grantArguments.exactOptional() })
export const hold: z.ZodType = component(
  'Hold',
  z.strictObject({
    hold: token, seq, time: seq, sub: z.string(), act: actor, aud: z.string(), scope, risk: z.string().exactOptional(), policies: z.array(z.string()),
    approval: z.strictObject({ groups: z.array(z.string()), quorum: seq, expires: seq }),
    approvals: z.array(z.strictObject({ seq, person: z.string(), name: z.string().exactOptional(), grant: grant.exactOptional() })), ended: z.enum(['used', 'rejected', 'expired', 'void']).exactOptional(),
  }),
)
export const holds: z.ZodType = listOf('holds', hold)
export const holdsQuery: z.ZodType = z.strictObject({ ...paging, all: z.optional(flag).describe('Also those that have ended and are remembered.') })
export const holdPath: z.ZodType = z.strictObject({ hold: token })
const opened = { sealed, action: z.strictObject({ purpose: z.enum(['action', 'redacted']), salt: token, text: z.string() }), delegation: z.strictObject({ salt: token, text: z.string() }).exactOptional() }
export const shownHold: z.ZodType = component('ShownHold', z.strictObject({ listed: hold, ...opened, last: z.strictObject(opened).exactOptional() }))

export const approverRequest: z.ZodType = component(
  'ApproverRequest',
  z.strictObject({ name: text(128), groups: z.array(z.string().regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)).min(1).max(MAX_GROUPS).refine((groups) => new Set(groups).size === groups.length, 'distinct').meta({ uniqueItems: true }), key: publicKey, sub: text().exactOptional() }),
)
export const approverPath: z.ZodType = z.strictObject({ who: text(128) })
export const approverKeyQuery: z.ZodType = z.strictObject({ key: z.optional(publicKey).describe('Only this key of theirs.') })
export const changedPerson: z.ZodType = z.strictObject({ person: z.string(), seq })
export const approvers: z.ZodType = listOf('approvers', component('Approver', z.strictObject({ person: z.string(), name: z.string().exactOptional(), groups: z.array(z.string()), keys: z.array(z.string()), sub: z.string().exactOptional() })))
