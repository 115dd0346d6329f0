import * as z from 'zod'
import { action, agent, component, declared, digest, environmentFacts, facts, json, listOf, object, publicKey, seq, text, texts } from './values.ts'

const agentName = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/)
export const agentPath: z.ZodType = z.strictObject({ agent: agentName })
export const agentKeyPath: z.ZodType = z.strictObject({ agent: agentName, key: publicKey })
export const agents: z.ZodType = listOf(
  'agents',
  component('RegisteredAgent', z.strictObject({ agent: z.string(), owner: z.string(), keys: z.array(z.strictObject({ key: z.string(), thumbprint: z.string(), expires: seq.exactOptional() })) })),
)
export const agentRequest: z.ZodType = component('AgentRequest', z.strictObject({ agent: agentName, key: publicKey, owner: text(128).exactOptional(), expires: seq.exactOptional() }))
export const agentKeyRequest: z.ZodType = component('AgentKeyRequest', z.strictObject({ key: publicKey, expires: seq.exactOptional() }))

export const decideRequest: z.ZodType = component('DecideRequest', z.strictObject({ action, agent: agent.exactOptional(), facts: facts.exactOptional(), environment: environmentFacts.exactOptional(), intent: declared.intent }))
export const decideReply: z.ZodType = component(
  'Explained',
  z.strictObject({
    decision: z.enum(['permit', 'deny', 'hold']), code: z.string().exactOptional(), approval: object.exactOptional(), constraints: object.exactOptional(), risk: z.string().exactOptional(), assurance: z.string().exactOptional(),
    policy: z.strictObject({ digest, epoch: seq, determining: z.array(z.string()) }), protected: z.array(z.string()).exactOptional(), shadow: object.exactOptional(), inputs: json, errors: z.array(z.string()),
  }).describe('What would be decided now, and why; nothing was issued or logged.'),
)

const standing = { epoch: seq, digest: z.string(), since: seq, seq: z.int(), floor: seq, base: digest.exactOptional(), staged: z.strictObject({ digest, from: seq, seq }).exactOptional(), shadow: digest.exactOptional(), observing: z.literal(true).exactOptional() }
const epoch = z.strictObject({ epoch: seq, digest })
export const policyStatus: z.ZodType = component('PolicyStatus', z.strictObject({ ...standing, epochs: z.array(epoch), void: z.string().exactOptional() }))
const numbers = z.record(z.string(), z.number())
export const profileFacts: z.ZodType = component('ProfileFacts', z.strictObject({ profiles: z.array(z.string()), plane: numbers, policy: numbers }))
export const policyEpochs: z.ZodType = listOf('epochs', epoch)
export const policyPath: z.ZodType = z.strictObject({ digest })
export const policyTexts: z.ZodType = z.strictObject({ digest, files: texts })
/** Texts and tests are judged one by one where the set is loaded, and refused with what is wrong with them. */
export const activateRequest: z.ZodType = component(
  'ActivateRequest',
  z.strictObject({
    files: texts, tests: z.array(object).exactOptional(), mode: z.enum(['enforce', 'shadow']).exactOptional(), from: seq.exactOptional(),
    urgent: z.boolean().exactOptional(), confirm: z.boolean().exactOptional(), rebase: z.boolean().exactOptional(),
  }),
)
const activated = z.strictObject({ outcome: z.enum(['activated', 'staged', 'shadow', 'unchanged', 'withdrawn']), digest: z.string(), epoch: seq, seq: z.int(), tests: seq.exactOptional() })
export const activateReply: z.ZodType = component('Activated', z.union([activated, z.strictObject({ outcome: z.literal('refused'), reason: z.string(), failed: z.array(object) })]))
export const rollbackRequest: z.ZodType = z.strictObject({ epoch: seq.exactOptional(), urgent: z.boolean().exactOptional(), rebase: z.boolean().exactOptional() })
