/** The eight named checks an execution must pass. */
export const CHECKS = [
  'authorization',
  'identity',
  'policy',
  'environment',
  'cryptography',
  'state',
  'lineage',
  'conditions',
] as const
export type Check = (typeof CHECKS)[number]

/** `missing`: not reached, or its input was absent. `error`: the check itself threw. Only `pass` is good. */
export type CheckStatus = 'pass' | 'fail' | 'missing' | 'error'
export type Checks = Readonly<Record<Check, CheckStatus>>

/** The closed list of reasons why something did not run (FORMATS: denial codes). */
export type DenialCode =
  | 'artifact_missing' | 'artifact_malformed' | 'artifact_expired' | 'artifact_not_yet_valid' | 'artifact_spent'
  | 'lifetime_exceeded' | 'audience_mismatch' | 'challenge_mismatch' | 'approval_required' | 'approval_rejected'
  | 'approval_expired' | 'quorum_not_met'
  | 'identity_missing' | 'identity_invalid' | 'identity_unknown' | 'origin_forbidden' | 'subject_mismatch'
  | 'tenant_mismatch' | 'proof_of_possession_failed'
  | 'policy_denied' | 'policy_no_match' | 'policy_error' | 'policy_timeout' | 'policy_stale' | 'policy_rollback'
  | 'policy_superseded' | 'policy_missing'
  | 'environment_mismatch' | 'environment_unattested' | 'executable_mismatch' | 'interpreter_unbound'
  | 'tool_not_pinned' | 'tool_changed' | 'tool_ambiguous'
  | 'signature_invalid' | 'key_unknown' | 'key_revoked' | 'seal_invalid' | 'issuance_not_logged'
  | 'witness_quorum_not_met' | 'encoding_invalid' | 'type_mismatch'
  | 'revoked' | 'killed' | 'state_stale' | 'state_diverged' | 'store_rollback' | 'clock_rollback'
  | 'evidence_unavailable' | 'unavailable' | 'overloaded'
  | 'parent_unknown' | 'ancestor_denied' | 'ancestor_revoked' | 'lineage_cycle' | 'lineage_depth' | 'delegation_widens'
  | 'action_mismatch' | 'request_malformed' | 'arguments_not_canonical' | 'limit_exceeded' | 'method_unknown'
  | 'obligation_unknown' | 'containment_unavailable' | 'budget_exceeded' | 'lease_expired'

export interface DenialRow {
  readonly check: Check
  /** HTTP status of an API answer that carries this code. */
  readonly http: number
  /** JSON-RPC error code of an answer that carries this code. */
  readonly jsonRpc: number
  /** Exit code of a command that ends with this code. */
  readonly exit: number
  /** One sentence: lower case, no full stop. */
  readonly meaning: string
  /** What the asker can do about it; fixed text, never the cause (ATK-123). */
  readonly hint: string
}

function row(check: Check, http: number, jsonRpc: number, meaning: string, hint: string, exit = 10): DenialRow {
  return Object.freeze({ check, http, jsonRpc, exit, meaning, hint })
}
const authorization = (meaning: string, hint: string, http = 403): DenialRow => row('authorization', http, -32001, meaning, hint)
const identity = (meaning: string, hint: string, http = 401): DenialRow => row('identity', http, -32003, meaning, hint)
const policy = (meaning: string, hint: string): DenialRow => row('policy', 403, -32004, meaning, hint)
const environment = (meaning: string, hint: string): DenialRow => row('environment', 403, -32005, meaning, hint)
const cryptography = (meaning: string, hint: string): DenialRow => row('cryptography', 403, -32006, meaning, hint)
const state = (meaning: string, hint: string, http = 503): DenialRow => row('state', http, -32007, meaning, hint)
const lineage = (meaning: string, hint: string): DenialRow => row('lineage', 403, -32008, meaning, hint)
const conditions = (meaning: string, hint: string, http = 403, jsonRpc = -32009): DenialRow => row('conditions', http, jsonRpc, meaning, hint)

const ASK_AGAIN = 'ask again: a new request gets a new artifact'
const ASK_OPERATOR = 'ask the operator of the control plane'
const FIX_REQUEST = 'correct the request; nothing ran'

/** One row per code. HTTP, JSON-RPC, exit codes, documentation and console derive from it; a missing row does not compile. */
export const DENIALS: Readonly<Record<DenialCode, DenialRow>> = Object.freeze({
  artifact_missing: authorization('no authorization artifact was presented', ASK_AGAIN),
  artifact_malformed: authorization('the artifact is not in the form that the specification requires', ASK_AGAIN),
  artifact_expired: authorization('the artifact expired before it was used', ASK_AGAIN),
  artifact_not_yet_valid: authorization('the artifact is not valid yet', 'check the clocks of plane and gate'),
  artifact_spent: authorization('the artifact was used already', ASK_AGAIN, 409),
  lifetime_exceeded: authorization('the artifact may start for longer than the maximum', ASK_OPERATOR),
  audience_mismatch: authorization('the artifact was issued for another gate', 'present it at the gate it names'),
  challenge_mismatch: authorization('the artifact does not answer an outstanding challenge of this gate', ASK_AGAIN, 409),
  approval_required: authorization('a person has to approve this first', 'ask an approver'),
  approval_rejected: authorization('an approver rejected this', 'talk to the approver before asking again'),
  approval_expired: authorization('nobody approved this in time', 'ask again and tell an approver'),
  quorum_not_met: authorization('not enough distinct approvers agreed', 'ask further approvers'),
  identity_missing: identity('the caller did not say who it is', 'authenticate first'),
  identity_invalid: identity('the caller is not who it says', 'authenticate again'),
  identity_unknown: identity('the caller is not registered for this', ASK_OPERATOR, 403),
  origin_forbidden: identity('the request came from a place that may not ask', 'use the local address that the plane printed', 403),
  subject_mismatch: identity('the artifact belongs to another subject', 'ask as yourself', 403),
  tenant_mismatch: identity('the request crosses tenants', 'use the tenant you belong to', 403),
  proof_of_possession_failed: identity('the caller did not prove that it holds its key', 'sign the request with the registered key'),
  policy_denied: policy('a policy forbids this', '`sealwrit decide` explains which policy and what would change the answer'),
  policy_no_match: policy('no policy permits this', '`sealwrit decide` explains what was looked at; an operator can add a policy'),
  policy_error: policy('a policy could not be evaluated', ASK_OPERATOR),
  policy_timeout: policy('policy evaluation took too long', ASK_OPERATOR),
  policy_stale: policy('the policy set is too old to decide by', ASK_OPERATOR),
  policy_rollback: policy('the policy epoch is older than one seen before', ASK_OPERATOR),
  policy_superseded: policy('a newer policy set voids this permit', ASK_AGAIN),
  policy_missing: policy('there is no policy set', 'add policies, or run `sealwrit init`'),
  environment_mismatch: environment('the environment is not the one that was authorized', 'restart the gate so that it measures again'),
  environment_unattested: environment('the environment could not be measured', 'name a program that can be resolved and hashed'),
  executable_mismatch: environment('the program is not the one that was authorized', 'find out who replaced it before you ask again'),
  interpreter_unbound: environment('the interpreter of the program could not be bound', 'name the interpreter explicitly'),
  tool_not_pinned: environment('nobody has pinned the tool', 'call a tool that the server lists; an admin looks at it and pins it with `sealwrit tool pin`'),
  tool_changed: environment('the definition of the tool is not the pinned one', 'an admin compares both with `sealwrit tool diff` and pins the new one with `sealwrit tool pin`'),
  tool_ambiguous: environment('the name stands for more than one tool', 'qualify the tool with its server'),
  signature_invalid: cryptography('a signature does not verify', ASK_OPERATOR),
  key_unknown: cryptography('the signing key or log is not a trusted one', ASK_OPERATOR),
  key_revoked: cryptography('the signing key was revoked', ASK_OPERATOR),
  seal_invalid: cryptography('the proof does not show that the artifact is in the log', ASK_AGAIN),
  issuance_not_logged: cryptography('the artifact is not in the log', ASK_OPERATOR),
  witness_quorum_not_met: cryptography('not enough witnesses cosigned the checkpoint', 'check that the witnesses run'),
  encoding_invalid: cryptography('the bytes are not in the one encoding that is accepted', FIX_REQUEST),
  type_mismatch: cryptography('a signed object of another type was presented', ASK_AGAIN),
  revoked: state('the authorization was revoked', ASK_OPERATOR, 403),
  killed: state('a kill switch forbids this', ASK_OPERATOR, 403),
  state_stale: state('the gate has not heard from the plane recently enough', 'check the connection to the plane'),
  state_diverged: state('the plane showed a history that does not extend the known one', 'stop and keep both checkpoints: the log forked, or the gate is connected to another plane'),
  store_rollback: state('the store is older than one seen before', 'an operator must re-anchor the log'),
  clock_rollback: state('a clock went backwards', 'correct the clock'),
  evidence_unavailable: state('the evidence could not be made durable', 'check the disk of the plane'),
  unavailable: state('the authority did not answer properly or in time, so nothing ran', 'is the plane running? `npm start` starts it'),
  overloaded: state('too much is waiting already', 'slow down and try again later', 429),
  parent_unknown: lineage('the parent of this request is not known', 'name the artifact that this request descends from'),
  ancestor_denied: lineage('an ancestor of this request was denied', ASK_OPERATOR),
  ancestor_revoked: lineage('an ancestor of this request was revoked', ASK_OPERATOR),
  lineage_cycle: lineage('the lineage runs in a circle', FIX_REQUEST),
  lineage_depth: lineage('the lineage is too deep', FIX_REQUEST),
  delegation_widens: lineage('the request is wider than what its parent was permitted', 'ask for less, or ask at the root'),
  action_mismatch: conditions('what would run is not what was authorized', ASK_AGAIN),
  request_malformed: conditions('the request is not in the form that the specification requires', FIX_REQUEST, 400, -32600),
  arguments_not_canonical: conditions('the arguments hold something that has no single canonical form', 'send big or exact numbers as strings', 400, -32602),
  limit_exceeded: conditions('a stated limit was exceeded', 'send less', 413),
  method_unknown: conditions('the method is not one that is governed here, so it is refused', 'use tools/call, resources/read or prompts/get', 404, -32601),
  obligation_unknown: conditions('the permit carries an obligation that this gate does not know', ASK_OPERATOR),
  containment_unavailable: conditions('the demanded containment is not available here', ASK_OPERATOR),
  budget_exceeded: conditions('the budget for this is used up', 'wait, or ask the operator for more', 429),
  lease_expired: conditions('the execution was not renewed in time', ASK_AGAIN),
})

export function isDenialCode(value: unknown): value is DenialCode {
  return typeof value === 'string' && Object.hasOwn(DENIALS, value)
}

/** Longest piece of a stranger's input that an error message repeats, in UTF-16 units. */
export const MAX_QUOTED = 64

/** Quotes `input` for a message: cut short, controls and bidirectional marks shown as `\u{…}`. */
export function quoted(input: string): string {
  const cut = input.length > MAX_QUOTED ? `${input.slice(0, MAX_QUOTED)}…` : input
  return `\`${escapeControls(cut)}\``
}

/** Replaces C0, C1, bidirectional and other invisible characters by `\u{…}`, so that text stays text on a terminal (ATK-118). */
export function escapeControls(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${(c.codePointAt(0) ?? 0).toString(16)}}`)
}

/** A failed proof: nothing may run. The code crosses the wire; the detail is for the protected record. */
export class Denied extends Error {
  readonly code: DenialCode
  /** What was wrong, where it is told; {@link Denied.message} has it too. */
  readonly detail: string | undefined
  /** The eight checks as far as they got, where a verifier was at work. */
  checks: Checks | undefined
  /** The permit that was refused, where it was proved to be in the log before it was refused. */
  permit: { readonly jti: string; readonly leafHash: string } | undefined

  constructor(code: DenialCode, detail?: string) {
    super(detail === undefined ? DENIALS[code].meaning : `${DENIALS[code].meaning}: ${detail}`)
    this.name = 'Denied'
    this.code = code
    this.detail = detail
  }

  get check(): Check {
    return DENIALS[this.code].check
  }
  get hint(): string {
    return DENIALS[this.code].hint
  }
}
