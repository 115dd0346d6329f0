import {
  actionBytes, type AuthorizeReply, type AuthorizeRequest, canonicalText, commitment, Denied, type Digest, digestOf, MAX_START_SECONDS,
  type EntryBody, type IssueRequest, scopeOf, toBase64, toBase64Url, TOKEN_BYTES, fromUtf8, type JsonValue, type Asked,
} from '@sealwrit/protocol'
import type { Decision, Deny, Hold, Permit } from '../decide/decide.ts'
import { redactAction } from './redact.ts'
import { MAX_CHALLENGES, MAX_OPEN, type LogState, toolKey } from '../log/state.ts'
import type { Committed, Written } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { PlanePorts } from '../ports.ts'
import type { StoredBody } from '../store/store.ts'

/** Who asks over which connection, as the plane authenticated it. */
export interface Caller {
  /** The gate that asks, or the one that the artifact is to be carried to. */
  readonly gate: string
  /** The session that the gate asks in; undefined where the caller is no gate. */
  readonly session: string | undefined
  readonly sub: string
  readonly owner: string
}

/** What one connection was shown last: every checkpoint sent on it extends the one before. */
export interface Shown {
  size: number
}

/** A body as it is committed to: salt drawn, digest and commitment made. */
interface Committable {
  readonly body: Omit<StoredBody, 'seq'>
}

/**
 * Issues the authorization artifact for a permit: an entry of the log and its seal. Whatever was true when the permit was
 * decided is looked at again in the turn in which the entry gets its place, so that no permit follows what forbids it.
 *
 * @throws {Denied} `challenge_mismatch`, `overloaded`, `evidence_unavailable`; `witness_quorum_not_met` when the permit is logged, but
 *   no quorum cosigned it in time: it is never delivered, and ends as `indeterminate`
 */
export function authorize(permit: Permit, request: AuthorizeRequest | IssueRequest, caller: Caller, log: Sequencer, ports: PlanePorts, shown: Shown): Promise<AuthorizeReply> {
  return settle(permit, request, caller, log, ports, shown)
}

/** Logs a deny or a hold: every refusal has its record. @throws {Denied} as {@link authorize} */
export function refuse(decision: Deny | Hold, request: AuthorizeRequest | IssueRequest, caller: Caller, log: Sequencer, ports: PlanePorts, shown: Shown): Promise<AuthorizeReply> {
  return settle(decision, request, caller, log, ports, shown)
}

async function settle(decision: Decision, request: AuthorizeRequest | IssueRequest, caller: Caller, log: Sequencer, ports: PlanePorts, shown: Shown): Promise<AuthorizeReply> {
  const asked = ask(decision, request, ports)
  const committed = await log.submit((state, _seq, timeMs) => {
    // What is carried answers no challenge: whoever asks twice gets two, and the one that is not used expires.
    const answered = 'challenge' in request ? state.answered(caller.gate, request.challenge) : undefined
    if (answered !== undefined) {
      // A lost reply is given again for the same request only; this never makes a second permit.
      if (answered.request !== asked.action.body.digest) throw new Denied('challenge_mismatch')
      return { repeat: answered.seq }
    }
    if (state.answeredCount >= MAX_CHALLENGES || state.open.size >= MAX_OPEN) throw new Denied('overloaded')
    // 128 random bits never repeat; if they do, the source of randomness is broken and nothing is issued on it (ATK-048).
    if (state.open.has(asked.jti)) throw new Denied('unavailable', 'a jti repeated')
    return write(decision, request, caller, asked, state, timeMs, log.origin)
  })
  return reply(committed, await saltOf(committed, asked, ports), log, shown)
}

/** The salt behind a permit's action: read back only where an older answer is given again, since it stands beside a whole group. */
async function saltOf({ entry, seq }: Committed, asked: AskedWith, ports: PlanePorts): Promise<string | undefined> {
  if (entry.kind !== 'permit') return undefined
  if (entry.jti === asked.jti) return asked.action.body.salt
  return (await ports.store.bodies(seq)).find((body) => body.purpose === 'action')?.salt
}

interface AskedWith {
  readonly action: Committable
  readonly inputs: Committable
  /** What stands beside them: the redacted action, the verdict of a shadow set. */
  readonly beside: readonly Committable[]
  readonly jti: string
}

function ask(decision: Decision, { action }: AuthorizeRequest | IssueRequest, ports: PlanePorts): AskedWith {
  const redacted = redactAction(action, decision.redact)
  // The commitments stay those of the whole: the gate checks what it runs against them. What is redacted is kept nowhere.
  const kept = (one: Committable): Committable => (redacted === undefined ? one : { body: { ...one.body, text: undefined } })
  return {
    action: kept(commit('action', fromUtf8(actionBytes(action)), ports)),
    inputs: kept(commit('inputs', canonicalText(decision.inputs as JsonValue), ports)),
    beside: [
      ...(redacted === undefined ? [] : [commit('redacted', canonicalText(redacted), ports)]),
      ...(decision.shadow === undefined ? [] : [commit('shadow', canonicalText(decision.shadow), ports)]),
    ],
    jti: toBase64Url(ports.rng.bytes(TOKEN_BYTES)),
  }
}

function commit(purpose: 'action' | 'inputs' | 'redacted' | 'shadow', text: string, { rng, crypto }: PlanePorts): Committable {
  const salt = toBase64Url(rng.bytes(TOKEN_BYTES))
  const digest = digestOf(new TextEncoder().encode(text), crypto.sha256)
  return { body: { purpose, commit: commitment(purpose, salt, digest, crypto.sha256), salt, digest, text } }
}

function write(decision: Decision, request: AuthorizeRequest | IssueRequest, caller: Caller, asked: AskedWith, state: LogState, timeMs: number, iss: string): Written {
  const { action, inputs, beside, jti } = asked
  const act = { sub: `agent:${request.agent.name}`, verified: request.agent.verified }
  const policy = { ...decision.policy, inputs_commit: inputs.body.commit, ...Object.fromEntries(beside.map(({ body }) => [`${body.purpose}_commit`, body.commit])) }
  const challenge = 'challenge' in request ? { challenge: request.challenge } : {}
  const common: Asked = { scope: scopeOf(request.action), action_commit: action.body.commit, sub: caller.sub, act, aud: caller.gate, ...challenge, policy }
  const done = (body: EntryBody): Written => ({ body, bodies: [action.body, inputs.body, ...beside.map(({ body }) => body)], request: action.body.digest })
  const code = decision.kind === 'deny' ? decision.code : refusedNow(decision, request, caller, state)
  if (code !== undefined) return done({ kind: 'deny', code, ...common })
  if (decision.kind !== 'permit') return done({ kind: 'hold', hold: jti, ...common })
  const env = state.gates.get(caller.gate)?.env
  if (env === undefined) return done({ kind: 'deny', code: 'environment_unattested', ...common })
  const iat = Math.floor(timeMs / 1_000)
  return done({
    kind: 'permit',
    scope: scopeOf(request.action),
    action_commit: action.body.commit,
    sub: caller.sub,
    act,
    env,
    policy,
    iat,
    nbf: iat,
    exp: iat + ('seconds' in request ? request.seconds : MAX_START_SECONDS),
    constraints: decision.constraints,
    iss,
    owner: caller.owner,
    jti,
    txn: jti,
    depth: 0,
    approvals: [],
    risk: decision.risk,
    assurance: 'A3',
    aud: caller.gate,
    use: 'challenge' in request ? 'challenge' : 'redeem',
    ...challenge,
  })
}

/** What the state at this very place in the log forbids, whatever was decided before. */
function refusedNow(decision: Decision, request: AuthorizeRequest | IssueRequest, caller: Caller, state: LogState): Denied['code'] | undefined {
  const gate = state.gates.get(caller.gate)
  if (gate === undefined) return 'identity_unknown'
  if (caller.session !== undefined && gate.session !== caller.session) return 'identity_invalid' // a newer session of this gate fences the older
  if (decision.policy.epoch !== state.epoch) return 'policy_superseded'
  // Nobody would be left who knows what is carried: the plane keeps none of it, and its redemption asks for it.
  if (!('challenge' in request) && redactAction(request.action, decision.redact) !== undefined) return 'obligation_unknown'
  if ('environment' in request && gate.env?.commit !== request.environment) return 'environment_mismatch'
  if (request.action.type !== 'mcp.tool_call') return undefined
  const recorded: Digest | undefined = state.tools.get(toolKey(request.action.target, request.action.name))
  if (recorded === undefined) return 'tool_not_pinned'
  return recorded === request.action.tool_digest ? undefined : 'tool_changed'
}

async function reply(committed: Committed, salt: string | undefined, log: Sequencer, shown: Shown): Promise<AuthorizeReply> {
  const { entry, seq } = committed
  if (entry.kind === 'deny') return { decision: 'deny', code: entry.code, seq }
  if (entry.kind === 'hold') return { decision: 'hold', hold: entry.hold, seq }
  if (entry.kind !== 'permit') throw new TypeError('a challenge was answered by another kind of entry')
  return log.sealed(Math.max(seq + 1, shown.size), (head): AuthorizeReply => {
    const sealed = log.seal(committed, head, salt)
    const consistency = log.extends(shown.size, head).map(toBase64)
    shown.size = head.size
    return { decision: 'permit', sealed, consistency }
  })
}
