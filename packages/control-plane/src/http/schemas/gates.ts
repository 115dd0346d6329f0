import { DENIALS, type DenialCode, MAX_FOREIGN_ORIGIN, MAX_PROOF_LENGTH, MAX_JWS, MAX_RENEWED, MAX_TOOL_DEFINITION } from '@sealwrit/protocol'
import * as z from 'zod'
import { TOOL_STATES } from '../../govern/tools.ts'
import { delegates, parent } from './lineage.ts'
import { action, agent, component, consistency, declared, digest, facts, foreign, identity, level, listOf, object, paging, publicKey, sealed, seq, text, token } from './values.ts'

const code = z.enum(Object.keys(DENIALS) as [DenialCode, ...DenialCode[]])

/** What a gate asks at the boundary, and what anybody else asks to carry to a gate: told apart by `audience` and `form`. */
export const authorizeRequest: z.ZodType = component(
  'AuthorizeRequest',
  z.strictObject({
    session: token, challenge: token, action, agent, environment: digest, facts, observe: z.literal(true).describe('The gate runs also what policy denies, where the plane observes.').exactOptional(),
    hold: token.exactOptional(), parent: parent.exactOptional(), delegates: delegates.exactOptional(), identity: identity.exactOptional(), foreign: foreign.exactOptional(), ...declared,
    traceparent: z.string().regex(/^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/).exactOptional(),
  }),
)
export const issueRequest: z.ZodType = component(
  'IssueRequest',
  z.strictObject({ action, agent, audience: text(MAX_FOREIGN_ORIGIN), form: z.enum(['redeem', 'jws']), seconds: z.int().min(1).exactOptional(), hold: token.exactOptional(), parent: parent.exactOptional(), delegates: delegates.exactOptional(), identity: identity.exactOptional(), nonce: token.exactOptional(), foreign: foreign.exactOptional(), ...declared }),
)
const deny = z.strictObject({ decision: z.literal('deny'), code, seq })
const hold = z.strictObject({ decision: z.literal('hold'), hold: token, seq })
export const authorizeReply: z.ZodType = component(
  'AuthorizeReply',
  z.discriminatedUnion('decision', [z.strictObject({ decision: z.literal('permit'), sealed, consistency, jws: z.string().exactOptional() }), deny, hold]).describe('A deny is an answer, not an error: it is logged, and `seq` says where.'),
)

export const redeemRequest: z.ZodType = component('RedeemRequest', z.strictObject({ session: token, artifact: z.unknown().refine((value) => value !== undefined), challenge: token, identity: identity.exactOptional() }))
export const redeemReply: z.ZodType = z.strictObject({ redemption: sealed, artifact: sealed, consistency })

export const receiptRequest: z.ZodType = component('ReceiptRequest', z.strictObject({ session: token, receipt: text(MAX_JWS), result: z.strictObject({ salt: token, digest }).exactOptional() }))
export const denialRequest: z.ZodType = component('DenialRequest', z.strictObject({ session: token, denial: text(MAX_JWS), lost: seq.exactOptional() }))

export const renewRequest: z.ZodType = component('RenewRequest', z.strictObject({ session: token, nonce: token, jtis: z.array(token).max(MAX_RENEWED).refine((jtis) => new Set(jtis).size === jtis.length, 'distinct').meta({ uniqueItems: true }) }))
export const renewReply: z.ZodType = z.strictObject({ sealed, consistency })

export const enrolRequest: z.ZodType = component(
  'EnrolRequest',
  z.strictObject({
    key: publicKey, session: token, proof: text(MAX_JWS), environment: z.strictObject({ commit: digest, level, salt: token, document: object, attestation: object.exactOptional() }),
    anchor: digest.exactOptional(), floor: seq.exactOptional(), checkpoint: text(MAX_PROOF_LENGTH).exactOptional(),
  }),
)
export const enrolReply: z.ZodType = z.strictObject({ sealed, consistency, sub: z.string(), epoch: seq, keys: z.array(sealed).exactOptional() })
export const gates: z.ZodType = listOf('gates', component('Gate', z.strictObject({ gate: z.string(), key: z.string(), session: z.string().exactOptional(), expires: seq.exactOptional(), level: z.string().exactOptional(), open: z.boolean() })))

export const nonceReply: z.ZodType = z.strictObject({ origin: z.string(), nonce: token })

const seenTool = z.strictObject({ name: text(), digest, definition: text(MAX_TOOL_DEFINITION).exactOptional() })
export const toolsRequest: z.ZodType = component('ToolsRequest', z.strictObject({ session: token, target: text(), tools: z.array(seenTool) }))
export const toolsReply: z.ZodType = z.strictObject({ tools: z.array(z.strictObject({ name: z.string(), pinned: digest.exactOptional() })) })
const tool = { target: z.string(), name: z.string(), state: z.enum(TOOL_STATES), digest, seq, pinned: digest.exactOptional(), by: z.string().exactOptional(), pinned_seq: seq.exactOptional() }
export const tools: z.ZodType = listOf('tools', component('Tool', z.strictObject(tool)))
export const toolsQuery: z.ZodType = z.strictObject({ ...paging, target: text().exactOptional(), state: z.enum(TOOL_STATES).exactOptional() })
export const toolQuery: z.ZodType = z.strictObject({ target: text(), name: text() })
export const shownTool: z.ZodType = component('ShownTool', z.strictObject({ ...tool, definition: object.exactOptional(), pinned_definition: object.exactOptional() }))
export const pinRequest: z.ZodType = component('PinRequest', z.strictObject({ target: text(), tools: z.array(z.strictObject({ name: text(), digest })) }))
export const pinReply: z.ZodType = z.strictObject({ pinned: z.array(z.strictObject({ name: z.string(), digest, seq })) })
export const unpinRequest: z.ZodType = z.strictObject({ target: text(), tools: z.array(z.strictObject({ name: text() })) })
export const unpinReply: z.ZodType = z.strictObject({ unpinned: z.array(z.strictObject({ name: z.string(), seq })) })
