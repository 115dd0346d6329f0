import { Denied, type DenialCode, type JsonObject, prohibition, scopeOf } from '@sealwrit/protocol'
import { toolRefusal } from '../../log/tools.ts'
import type { Plane } from '../../plane.ts'
import { MalformedMember } from '../problem.ts'
import type { SEMANTICS } from '../schemas/authzen.ts'
import { type Asked, readTuple, type Tuple } from './asked.ts'

/** @see https://openid.net/specs/authorization-api-1_0.html (Access Evaluation API) */
export interface Evaluation {
  readonly decision: boolean
  readonly context?: object
}

export type EvaluationsRequest = Tuple & { readonly evaluations?: readonly Tuple[]; readonly options?: { readonly evaluations_semantic?: (typeof SEMANTICS)[number] } }

/** Whether it would be permitted now; nothing is issued or logged. @throws {MalformedMember} */
export async function evaluate(tuple: Tuple, plane: Plane): Promise<Evaluation> {
  return evaluateAsked(readTuple(tuple, plane.log.state), plane)
}

export async function evaluateAsked({ ignored, ...asked }: Asked, plane: Plane): Promise<Evaluation> {
  const decision = await plane.decide(asked)
  const { kind, policy } = decision
  const code = kind === 'permit' ? refusalBy(asked, decision.policy, plane) : kind === 'deny' ? decision.code : 'approval_required'
  return { decision: code === undefined, context: { decision: code === undefined ? 'permit' : kind === 'hold' ? 'hold' : 'deny', ...(code === undefined ? {} : { code }), policies: policy.determining, epoch: policy.epoch, ...(ignored.length === 0 ? {} : { ignored }) } }
}

/** What the log says against it, whatever the policies say. */
function refusalBy({ action, agent }: Pick<Asked, 'action' | 'agent'>, policy: { digest: string; epoch: number; determining: readonly string[] }, plane: Plane): DenialCode | undefined {
  const { state, tenant } = plane.log
  const act = { sub: `agent:${agent.name}`, verified: agent.verified }
  return toolRefusal(action, state) ?? prohibition({ scope: scopeOf(action), sub: plane.sub, act, policy, jti: '', txn: '', aud: '', tenant }, state)
}

/** Several at once, in order; what one lacks the request says for all. @throws {MalformedMember} for a request that is a single one and malformed */
export async function evaluateAll({ evaluations = [], options, ...defaults }: EvaluationsRequest, plane: Plane): Promise<Evaluation | { readonly evaluations: readonly Evaluation[] }> {
  if (evaluations.length === 0) return evaluate(defaults, plane)
  const semantic = options?.evaluations_semantic ?? 'execute_all'
  const done: Evaluation[] = []
  for (const one of evaluations) {
    const result = await evaluateOne({ ...defaults, ...one }, plane)
    const isLast = (semantic === 'deny_on_first_deny' && !result.decision) || (semantic === 'permit_on_first_permit' && result.decision)
    done.push(isLast ? { ...result, context: { ...result.context, reason: semantic } } : result)
    if (isLast) break
  }
  return { evaluations: done }
}

/** What is wrong with one of several is said in its place, and is no. */
async function evaluateOne(tuple: Tuple, plane: Plane): Promise<Evaluation> {
  try {
    return await evaluate(tuple, plane)
  } catch (error) {
    if (error instanceof MalformedMember) return { decision: false, context: { error: { status: 400, message: `${error.errors[0]?.pointer ?? ''}: ${error.errors[0]?.detail ?? ''}` } } }
    if (error instanceof Denied) return { decision: false, context: { decision: 'deny', code: error.code } satisfies JsonObject }
    throw error
  }
}
