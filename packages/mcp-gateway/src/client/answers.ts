import { PlaneDenied } from '@sealwrit/gate'
import { canonicalText, Denied, type DenialCode, DENIALS, type JsonObject, rpcError } from '@sealwrit/protocol'
import { ForeignState } from '../govern/inputs.ts'
import type { RequestId } from '../messages.ts'
import { type Revision, STATELESS } from '../revision.ts'
import { InvalidArguments } from '../tools/definition.ts'
import type { Answer, Reply } from './seat.ts'

/** Member of a result's `_meta` that carries code and hint of a denial. */
export const DENIAL_META = 'sealwrit/denial'

/** What a client gets of a server's answer. */
export function answerOf(reply: Reply): Answer {
  if ('result' in reply) return { member: 'result', text: canonicalText(reply.result) }
  const { code } = reply.error
  return { member: 'error', text: canonicalText(reply.error), ...(typeof code === 'number' ? { code } : {}) }
}

export function resultAnswer(result: JsonObject): Answer {
  return { member: 'result', text: canonicalText(result) }
}

export function errorAnswer(code: number, message: string, data: JsonObject): Answer {
  return { member: 'error', text: canonicalText({ code, message, data }), code }
}

/** The line that carries `answer` to request `id`. */
export function answerLine(id: RequestId | null, answer: Answer): string {
  return `{"id":${JSON.stringify(id)},"jsonrpc":"2.0","${answer.member}":${answer.text}}`
}

/** JSON-RPC error answer with code and hint as data. */
export function refusal(code: DenialCode, extra: JsonObject = {}, rpc?: number): Answer {
  const error = rpcError(code)
  return errorAnswer(rpc ?? error.code, error.message, { ...error.data, ...extra })
}

/** JSON-RPC error line for what could not be judged as a request. */
export function errorLine(id: RequestId | null, code: DenialCode): string {
  return answerLine(id, refusal(code))
}

/**
 * A refused request as its asker can use it: a tool result for a call, with the reason where models look, and a JSON-RPC error for all else.
 * @param about what is known of the tool, so that its callers can read the answer
 */
export function deniedAnswer(denied: Denied, method: string, revision: Revision, about: { readonly hasOutputSchema?: boolean } = {}): Answer {
  const extra: JsonObject = denied instanceof PlaneDenied ? { record: denied.seq, ...(denied.hold === undefined ? {} : { hold: denied.hold, approve: `sealwrit approve ${denied.hold}` }) } : {}
  // Arguments that do not fit are an answer of the tool, so that whoever chose them reads why.
  if (denied instanceof InvalidArguments) return resultAnswer(deniedResult(denied.code, { ...extra, ...(denied.detail === undefined ? {} : { detail: denied.detail }) }, { ...about, revision }))
  // A state that is not the one that was given makes no call of it either.
  const isMalformed = denied.code === 'request_malformed' || denied instanceof ForeignState
  // A malformed request of the stateless revision is `-32602`, as that revision has it.
  if (method !== 'tools/call' || isMalformed) return refusal(denied.code, extra, isMalformed && revision === STATELESS ? -32602 : undefined)
  return resultAnswer(deniedResult(denied.code, extra, { ...about, revision }))
}

/**
 * A denied tool call as a tool result, so that the agent can read why. `structuredContent` is left out where the tool
 * declares an output schema: the official client checks it against that schema even in an error, and then throws the
 * whole result away. `_meta` and the text say the same in every case.
 * @see MCP 2025-11-25, server/tools "Error Handling"
 */
export function deniedResult(code: DenialCode, extra: JsonObject = {}, about: { readonly hasOutputSchema?: boolean; readonly revision?: Revision } = {}): JsonObject {
  const { meaning, hint } = DENIALS[code]
  const denial = { code, hint, ...extra }
  const { detail } = extra
  const approve = typeof extra['approve'] === 'string' ? ` A person approves it with \`${extra['approve']}\`; then ask again, with this hold's id.` : ''
  return {
    _meta: { [DENIAL_META]: denial },
    content: [{ type: 'text', text: `Denied (${code}): ${typeof detail === 'string' ? detail : meaning}. Hint: ${hint}.${approve}` }],
    isError: true,
    ...(about.hasOutputSchema === true ? {} : { structuredContent: denial }),
    ...(about.revision === STATELESS ? { resultType: 'complete' } : {}),
  }
}
