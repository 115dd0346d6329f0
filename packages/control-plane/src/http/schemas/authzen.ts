import * as z from 'zod'
import { component, object, text } from './values.ts'

/** Evaluations of one request. */
export const MAX_EVALUATIONS = 100
export const SEMANTICS = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'] as const

const properties = object.exactOptional()
const subject = component('AuthzenSubject', z.strictObject({ type: text(64), id: text(), properties }).describe('`agent`, by name. A registered agent counts as verified unless `properties.verified` says otherwise.'))
const action = component('AuthzenAction', z.strictObject({ name: text(64), properties }).describe('An action type, such as `mcp.tool_call`; `properties.arguments` are what policies may read of the arguments.'))
const resource = component('AuthzenResource', z.strictObject({ type: text(64), id: text(3_200), properties }).describe('`tool`, as in `mcp://fs/read_file`; or `endpoint`, as in `mcp://fs/resources` or `mcp://fs/prompts/NAME`.'))
const context = object.exactOptional()
/** What a search leaves out may stand there, and is not looked at. */
const anySubject = z.strictObject({ type: text(64), id: text().exactOptional(), properties })
const anyResource = z.strictObject({ type: text(64), id: text(3_200).exactOptional(), properties })
const page = z.strictObject({ token: z.string().max(64).exactOptional(), limit: z.int().min(0).exactOptional(), properties }).exactOptional()

export const evaluationRequest: z.ZodType = component('EvaluationRequest', z.strictObject({ subject, action, resource, context }))
export const evaluationReply: z.ZodType = component('EvaluationReply', z.strictObject({ decision: z.boolean(), context: object.exactOptional() }).describe('Advisory: nothing was issued or logged. `context` says which policies decided, and which members nobody looked at.'))
const one = z.strictObject({ subject: subject.exactOptional(), action: action.exactOptional(), resource: resource.exactOptional(), context })
export const evaluationsRequest: z.ZodType = component(
  'EvaluationsRequest',
  z.strictObject({ ...one.shape, evaluations: z.array(one).max(MAX_EVALUATIONS).exactOptional(), options: z.looseObject({ evaluations_semantic: z.enum(SEMANTICS).exactOptional() }).exactOptional() }),
)
export const evaluationsReply: z.ZodType = z.union([z.strictObject({ evaluations: z.array(evaluationReply) }), evaluationReply])

export const subjectSearch: z.ZodType = component('SubjectSearch', z.strictObject({ subject: anySubject, action, resource, context, page }))
export const resourceSearch: z.ZodType = component('ResourceSearch', z.strictObject({ subject, action, resource: anyResource, context, page }))
export const actionSearch: z.ZodType = component('ActionSearch', z.strictObject({ subject, resource, context, page }))
const results = (item: z.ZodType): z.ZodType => z.strictObject({ results: z.array(item), page: z.strictObject({ next_token: z.string(), count: z.int().min(0) }) })
export const subjects: z.ZodType = results(z.strictObject({ type: z.literal('agent'), id: z.string() }))
export const resources: z.ZodType = results(z.strictObject({ type: z.literal('tool'), id: z.string() }))
export const actions: z.ZodType = results(z.strictObject({ name: z.string() }))

export const metadata: z.ZodType = component(
  'PdpMetadata',
  z.strictObject({
    policy_decision_point: z.string(), access_evaluation_endpoint: z.string(), access_evaluations_endpoint: z.string(), search_subject_endpoint: z.string(), search_resource_endpoint: z.string(), search_action_endpoint: z.string(),
  }),
)
