import {
  aboveForeign, aboveOf, type Artifact, type Delegation, type DelegationBounds, type ParentRef, termsOf, type Actor, actionBytes, type AuthorizeReply, type AuthorizeRequest, canonicalText, commitment, Denied, type DenialCode, DENIALS, type DenyEntry, digestOf, MAX_START_SECONDS, present, prohibition,
  type EntryBody, type ForeignPermit, type GateEntry, type IssueRequest, narrowed, scopeOf, toBase64, toBase64Url, TOKEN_BYTES, fromUtf8, isObject, type JsonValue, type Asked, parseStrictText,
} from '@sealwrit/protocol'
import type { Decision } from '../decide/decide.ts'
import { isOpen, MAX_BUDGET_TIMES, MAX_CHALLENGES, MAX_OPEN, type LogState } from '../log/state.ts'
import { toolRefusal } from '../log/tools.ts'
import type { Committed, Written } from '../log/group.ts'
import type { Requester } from '../log/approvals.ts'
import { spentKey } from '../log/foreign.ts'
import type { Sequencer } from '../log/sequencer.ts'
import { show, type Shown } from '../log/shown.ts'
import type { PlanePorts } from '../ports.ts'
import type { StoredBody } from '../store/store.ts'
import { descend, type Descent, type Parent } from './parent.ts'
import { redactAction } from './redact.ts'
import { assuranceRefusal } from './assured.ts'
import { belowForeign, elsewhere } from './federated.ts'
import { barredByPolicy, type Observation, observedCode, observedTerms, observing } from './observed.ts'
import { prepare, type Prepared, type Standing, standing } from './held.ts'

/** Who asks over which connection, as the plane authenticated it. */
export interface Caller {
  /** The gate that asks, or the one that the artifact is to be carried to. */
  readonly gate: string
  /** The environment that was decided on. */
  readonly env: GateEntry['env']
  /** The session that the gate asks in; undefined where the caller is no gate. */
  readonly session: string | undefined
  readonly sub: string
  readonly owner: string
  readonly tenant: string
  /** The agent that acts for `sub`. */
  readonly act: Actor
  /** Thumbprint of the key that the agent proved. */
  readonly cnf?: string | undefined
  /** The permit that the request named as its parent. */
  readonly parent?: Parent | undefined
  /** The permit of another plane that the request descends from, verified. */
  readonly foreign?: ForeignPermit | undefined
  /** Whether the artifact is for another plane to take, and `gate` its origin. */
  readonly isForPlane?: boolean | undefined
  /** Whether the plane observes: what policy denies may run at gates that ask for that. */
  readonly observes?: boolean | undefined
  /** Whether all of this still holds at a place in the log. */
  readonly holds: (state: LogState, timeMs: number) => boolean
}

/** A body as it is committed to: salt drawn, digest and commitment made. */
interface Committable {
  readonly body: Omit<StoredBody, 'seq'>
}

/**
 * Logs what was decided. For a permit that issues the authorization artifact: an entry of the log and its seal. Whatever was true when it was
 * decided is looked at again in the turn in which the entry gets its place, so that no permit follows what forbids it.
 *
 * @throws {Denied} `challenge_mismatch`, `overloaded`, `evidence_unavailable`; `witness_quorum_not_met` when the permit is logged, but
 *   no quorum cosigned it in time: it is never delivered, and ends as `indeterminate`
 */
export async function authorize(decision: Decision, request: AuthorizeRequest | IssueRequest, caller: Caller, log: Sequencer, ports: PlanePorts, shown: Shown): Promise<AuthorizeReply> {
  // Approvals may have been logged by another plane of this log.
  if (decision.kind === 'hold' && request.hold !== undefined && ports.store.isShared) await log.refresh()
  const asked = await ask(decision, request, caller, log.state, ports)
  const committed = await log.submit((state, _seq, timeMs) => {
    const repeat = answeredBefore(request, caller.gate, asked.action, state)
    if (repeat !== undefined) return repeat
    if (state.answeredCount >= MAX_CHALLENGES || state.open.size >= MAX_OPEN) throw new Denied('overloaded')
    // 128 random bits never repeat; if they do, the source of randomness is broken and nothing is issued on it (ATK-048).
    if (state.open.has(asked.jti)) throw new Denied('unavailable', 'a jti repeated')
    return write(decision, request, caller, asked, state, timeMs, log, ports)
  })
  await verifySame(committed, decision, asked, ports)
  return reply(committed, await saltOf(committed, asked, ports), log, shown)
}

/**
 * An answer that is given again is for the same request in all that was decided by, and not for the same action alone.
 * @throws {Denied} `challenge_mismatch`
 */
async function verifySame({ entry, seq }: Committed, { inputs }: Decision, { jti, requester: { act, par, intent } }: AskedWith, ports: PlanePorts): Promise<void> {
  if ((entry.kind !== 'permit' && entry.kind !== 'deny') || entry.jti === jti) return
  const isOther = entry.act?.sub !== act.sub || entry.act.verified !== act.verified || entry.par?.jti !== par?.jti || (entry.policy !== undefined && entry.intent !== intent)
  const kept = (await ports.store.bodies(seq)).find(({ purpose }) => purpose === 'inputs')?.text // may be erased, or never kept
  const facts = (of: JsonValue | undefined): string => canonicalText((isObject(of) && isObject(of['context']) ? of['context']['facts'] : undefined) ?? null)
  if (isOther || (kept !== undefined && facts(parseStrictText(kept)) !== facts(inputs))) throw new Denied('challenge_mismatch')
}

/** Logs that nothing was decided: who asks is not who it says, or it descends from nothing that lets it ask. @throws {Denied} as {@link authorize} */
export async function refuseUndecided(code: DenialCode, request: AuthorizeRequest | IssueRequest, caller: Pick<Caller, 'gate' | 'sub' | 'act'>, log: Sequencer, ports: PlanePorts, shown: Shown): Promise<AuthorizeReply> {
  const action = commit('action', fromUtf8(actionBytes(request.action)), ports)
  const jti = toBase64Url(ports.rng.bytes(TOKEN_BYTES))
  const committed = await log.submit((state) => {
    const repeat = answeredBefore(request, caller.gate, action, state)
    if (repeat !== undefined) return repeat
    if (state.answeredCount >= MAX_CHALLENGES) throw new Denied('overloaded')
    const { sub, act } = caller
    return { body: { kind: 'deny', code, jti, scope: scopeOf(request.action), action_commit: action.body.commit, sub, act, aud: caller.gate, ...challengeOf(request), ...parOf(request) }, bodies: [action.body], request: action.body.digest }
  })
  // A denial only: who was refused here gets no artifact that was issued before.
  return committed.entry.kind === 'deny' ? reply(committed, undefined, log, shown) : { decision: 'deny', code: outward({ code }), seq: committed.seq }
}

const challengeOf = (request: AuthorizeRequest | IssueRequest): { readonly challenge?: string } => ('challenge' in request ? { challenge: request.challenge } : {})
/** What it is asked for below: as it was named, or at another plane. */
function parOf({ parent }: AuthorizeRequest | IssueRequest, { foreign }: Pick<Caller, 'foreign'> = {}): { readonly par?: ParentRef } {
  const par = foreign === undefined ? parent : { jti: foreign.entry.jti, leaf_hash: foreign.leafHash }
  return par === undefined ? {} : { par }
}

/** What a challenge was answered with: a lost reply is given again for the same request only; this never makes a second permit. */
function answeredBefore(request: AuthorizeRequest | IssueRequest, gate: string, action: Committable, state: LogState): { readonly repeat: number } | undefined {
  // What is carried answers no challenge: whoever asks twice gets two, and the one that is not used expires.
  const answered = 'challenge' in request ? state.answered(gate, request.challenge) : undefined
  if (answered === undefined) return undefined
  if (answered.request !== action.body.digest) throw new Denied('challenge_mismatch')
  return { repeat: answered.seq }
}

/** The salt behind a permit's action: read back only where an older answer is given again, since it stands beside a whole group. */
async function saltOf({ entry, seq }: Committed, asked: AskedWith, ports: PlanePorts): Promise<string | undefined> {
  if (entry.kind !== 'permit') return undefined
  if (entry.jti === asked.jti) return [asked.action, ...asked.held.map((held) => held.action)].find(({ body }) => body.commit === entry.action_commit)?.body.salt
  return (await ports.store.bodies(seq)).find((body) => body.purpose === 'action')?.salt
}

interface AskedWith {
  readonly action: Committable
  readonly inputs: Committable
  /** What stands beside them: the redacted action, the verdict of a shadow set. */
  readonly beside: readonly Committable[]
  /** The asker's own words; they may quote what is redacted. */
  readonly purpose: Committable | undefined
  readonly jti: string
  readonly requester: Requester
  /** What it shall delegate. */
  readonly delegation: Committable | undefined
  /** Action and delegation under the salts of their holds: what was approved is what is permitted, in the same commitments. */
  readonly held: readonly { readonly action: Committable; readonly delegation: Committable | undefined }[]
  readonly prepared: Prepared | undefined
  /** The permit of another plane as it was shown. */
  readonly foreign: Committable | undefined
}

async function ask(decision: Decision, request: AuthorizeRequest | IssueRequest, caller: Caller, state: LogState, ports: PlanePorts): Promise<AskedWith> {
  const text = fromUtf8(actionBytes(request.action))
  const redacted = redactAction(request.action, decision.redact)
  // The commitments stay those of the whole: the gate checks what it runs against them. What is redacted is kept nowhere.
  const kept = (one: Committable): Committable => (redacted === undefined ? one : { body: { ...one.body, text: undefined } })
  const action = kept(commit('action', text, ports))
  const { delegates } = request
  const delegated = (salt?: string): Committable | undefined => (delegates === undefined ? undefined : commit('delegation', canonicalText(termsOf(delegates) as unknown as JsonValue), ports, salt))
  const delegation = delegated()
  const requester: Requester = { aud: caller.gate, sub: caller.sub, act: caller.act, scope: scopeOf(request.action), par: parOf(request, caller).par, delegates: delegates === undefined ? undefined : boundsOf(delegates), intent: request.intent }
  const prepared = decision.kind === 'hold' ? await prepare(decision, request, requester, { action: action.body.digest, delegation: delegation?.body.digest }, state, ports) : undefined
  return {
    action,
    requester,
    prepared,
    delegation,
    held: [...(prepared?.salts.values() ?? [])].map((salts) => ({ action: kept(commit('action', text, ports, salts.action)), delegation: delegated(salts.delegation) })),
    inputs: kept(commit('inputs', canonicalText(decision.inputs as JsonValue), ports)),
    beside: [
      ...(redacted === undefined ? [] : [commit('redacted', canonicalText(redacted), ports)]),
      ...(decision.shadow === undefined ? [] : [commit('shadow', canonicalText(decision.shadow), ports)]),
    ],
    purpose: request.purpose_text === undefined ? undefined : kept(commit('purpose', canonicalText(request.purpose_text), ports)),
    jti: toBase64Url(ports.rng.bytes(TOKEN_BYTES)),
    foreign: caller.foreign === undefined ? undefined : commit('foreign', canonicalText(caller.foreign.sealed), ports),
  }
}

const boundsOf = ({ until, uses, depth }: Delegation): DelegationBounds => ({ until, uses, depth })

function commit(purpose: 'action' | 'inputs' | 'redacted' | 'shadow' | 'delegation' | 'foreign' | 'purpose', text: string, { rng, crypto }: PlanePorts, salt: string = toBase64Url(rng.bytes(TOKEN_BYTES))): Committable {
  const digest = digestOf(new TextEncoder().encode(text), crypto.sha256)
  return { body: { purpose, commit: commitment(purpose, salt, digest, crypto.sha256), salt, digest, text } }
}

function write(decision: Decision, request: AuthorizeRequest | IssueRequest, caller: Caller, asked: AskedWith, state: LogState, timeMs: number, log: Pick<Sequencer, 'origin' | 'isWitnessed'>, ports: PlanePorts): Written | { readonly repeat: number } {
  const { inputs, beside, jti, requester, prepared } = asked
  const { act } = requester
  const descent = descentOf(request, caller, state, timeMs)
  const own = { scope: scopeOf(request.action), sub: caller.sub, act, policy: decision.policy, jti, txn: caller.foreign?.entry.txn ?? caller.parent?.txn ?? jti, aud: caller.gate, ...(caller.cnf === undefined ? {} : { cnf: caller.cnf }), tenant: caller.tenant }
  const above = caller.foreign !== undefined ? { above: aboveForeign(caller.foreign.entry) } : typeof descent === 'object' ? { above: aboveOf(own, descent.parent.selectable) } : {}
  const observation = observing(request, caller, state)
  const barred = barredByPolicy(decision, observation) ?? refusedNow(decision, request, caller, state, timeMs, observation, log.isWitnessed) ?? (typeof descent === 'string' ? descent : undefined) ?? prohibition({ ...own, ...above }, state)
  // What policy said goes first, also where something else keeps it from being observed.
  const code = barred !== undefined && decision.kind === 'deny' ? decision.code : barred
  // What the state says of a hold counts only for what nothing forbids.
  const stands: Standing | undefined = code === undefined && decision.kind === 'hold' && prepared !== undefined ? standing(decision, requester, caller.owner, prepared, asked.action.body.digest, state, timeMs, ports) : undefined
  if (stands?.kind === 'waits' && observation === undefined) return { repeat: stands.seq }
  const { action, delegation } = (stands?.kind === 'approved' ? asked.held.find((held) => held.action.body.salt === stands.salt) : undefined) ?? asked
  const policy = { ...decision.policy, inputs_commit: inputs.body.commit, ...Object.fromEntries(beside.map(({ body }) => [`${body.purpose}_commit`, body.commit])) }
  const lineage = { ...parOf(request, caller), ...(request.delegates === undefined || delegation === undefined ? {} : { delegates: { ...boundsOf(request.delegates), terms_commit: delegation.body.commit } }) }
  const declared = present<Pick<Asked, 'intent' | 'purpose_commit'>>({ intent: request.intent, purpose_commit: asked.purpose?.body.commit })
  const common: Asked = { scope: scopeOf(request.action), action_commit: action.body.commit, sub: caller.sub, act, aud: caller.gate, ...challengeOf(request), ...declared, policy, ...lineage }
  const done = (body: EntryBody): Written => ({ body, bodies: [action, inputs, ...beside, ...(delegation === undefined ? [] : [delegation]), ...(asked.purpose === undefined ? [] : [asked.purpose])].map((one) => one.body), request: action.body.digest })
  const deny = (refusal: DenialCode): Written => done({ kind: 'deny', code: refusal, jti, ...common })
  const refusal = code ?? (stands?.kind === 'refused' ? stands.code : undefined)
  if (refusal !== undefined) return deny(refusal)
  const env = caller.isForPlane === true ? elsewhere(ports) : state.gates.get(caller.gate)?.env
  if (env === undefined) return deny('environment_unattested')
  const iat = Math.floor(timeMs / 1_000)
  const observed = observedCode(decision, stands?.kind === 'approved', observation)
  if (decision.kind === 'hold' && stands?.kind !== 'approved' && observed === undefined) {
    const { groups, quorum, timeoutSeconds } = decision.approval
    return done({ kind: 'hold', hold: jti, ...common, approval: { groups, quorum, expires: iat + timeoutSeconds }, risk: decision.permit.risk })
  }
  const permit = observed !== undefined ? observedTerms(decision) : decision.kind === 'hold' ? decision.permit : decision
  if (!('constraints' in permit)) throw new TypeError('a deny without a code')
  const seconds = 'seconds' in request ? request.seconds : MAX_START_SECONDS
  const times = typeof descent === 'object' ? within(descent, iat, seconds, permit.constraints) : { exp: iat + seconds, constraints: permit.constraints }
  if (times === undefined) return deny('artifact_expired')
  const wanted: Artifact = {
    kind: 'permit',
    scope: scopeOf(request.action),
    action_commit: action.body.commit,
    sub: caller.sub,
    act,
    ...(caller.cnf === undefined ? {} : { cnf: caller.cnf }),
    env,
    policy,
    iat,
    nbf: iat,
    ...times,
    iss: log.origin,
    owner: caller.owner,
    jti,
    txn: own.txn,
    depth: (caller.parent?.depth ?? -1) + 1,
    ...above,
    ...lineage,
    approvals: stands?.kind === 'approved' ? stands.refs : [],
    risk: permit.risk,
    assurance: permit.assurance,
    aud: caller.gate,
    use: 'challenge' in request ? 'challenge' : 'redeem',
    ...challengeOf(request),
    ...declared,
    ...(observed === undefined ? {} : { observed }),
  }
  const { foreign } = asked
  if (caller.foreign === undefined || foreign === undefined) return done(wanted)
  const written = done({ ...narrowed(wanted, caller.foreign.entry), ...belowForeign(caller.foreign, foreign.body.commit) })
  return { ...written, bodies: [...written.bodies, foreign.body], spends: spentKey(caller.foreign.plane.key.name, caller.foreign.entry.jti) }
}

/** Where a child stands now; the code where it may not be one, and undefined for a root. */
function descentOf({ action, delegates, parent: named }: AuthorizeRequest | IssueRequest, { parent, sub, act, gate }: Caller, state: LogState, timeMs: number): Descent | DenialCode | undefined {
  if ((parent === undefined) !== (named === undefined)) throw new TypeError('a parent was named and not looked up')
  if (parent === undefined) return undefined
  const environment = state.gates.get(gate)?.env?.level ?? 'none'
  return descend(parent, { action, agent: act.sub.slice('agent:'.length), audience: gate, environment, sub, delegates }, state, timeMs)
}

/**
 * A child ends with its parent at the latest. Where little time is left, half of it is for the start and the rest for running.
 * @returns undefined where none is left
 */
function within({ endMs }: Descent, iat: number, seconds: number, constraints: Artifact['constraints']): Pick<Artifact, 'exp' | 'constraints'> | undefined {
  const left = Math.floor(endMs / 1_000) - iat
  if (left < 2) return undefined
  const exp = iat + Math.min(seconds, Math.floor(left / 2))
  const runtime = Math.min(constraints.max_runtime_seconds, iat + left - exp)
  return { exp, constraints: { ...constraints, max_runtime_seconds: runtime, lease_seconds: Math.min(constraints.lease_seconds, runtime) } }
}

/** What the state at this very place in the log forbids, whatever was decided before. */
function refusedNow(decision: Decision, request: AuthorizeRequest | IssueRequest, caller: Caller, state: LogState, timeMs: number, observation: Observation | undefined, isWitnessed: boolean): Denied['code'] | undefined {
  const gate = state.gates.get(caller.gate)
  if (gate === undefined && caller.isForPlane !== true) return 'identity_unknown'
  if (state.revokedGates.has(caller.gate)) return 'key_revoked'
  if (caller.session !== undefined && !isOpen(gate, caller.session, timeMs)) return 'identity_invalid'
  if (!caller.holds(state, timeMs)) return 'identity_invalid' // the key was removed or the token ended meanwhile
  if (decision.policy.epoch !== state.epoch) return 'policy_superseded'
  // Nobody would be left who knows what is carried: the plane keeps none of it, and its redemption asks for it.
  if (!('challenge' in request) && redactAction(request.action, decision.redact) !== undefined) return 'obligation_unknown'
  if ('environment' in request && gate?.env?.commit !== request.environment) return 'environment_mismatch'
  // The session was opened again meanwhile, elsewhere or with weaker evidence: the policies have not seen that.
  if (gate?.env?.commit !== caller.env?.commit || gate?.env?.level !== caller.env?.level) return 'environment_mismatch'
  // A hold too: nobody is asked about what could not be permitted.
  const short = assuranceRefusal(decision, caller, isWitnessed)
  if (short !== undefined) return short
  const { kind } = decision
  const budgets = kind === 'deny' ? undefined : (kind === 'hold' ? decision.permit : decision).constraints.budgets
  if (budgets !== undefined && state.budgets.held >= MAX_BUDGET_TIMES) throw new Denied('overloaded')
  if (budgets !== undefined && state.budgets.exceeded(budgets, caller, timeMs) !== undefined) {
    if (observation === undefined) return 'budget_exceeded'
    observation.noted.push('budget_exceeded')
  }
  const stale = caller.foreign === undefined ? undefined : state.foreign.refusal(caller.foreign, timeMs)
  if (stale !== undefined) return stale
  // Whether the tool is pinned is for the plane where it runs.
  const tool = caller.isForPlane === true ? undefined : toolRefusal(request.action, state)
  if (tool !== 'tool_not_pinned' || observation === undefined) return tool
  observation.noted.push(tool)
  return undefined
}

/** Unauthenticated, unknown and wrong are one answer; which of them it was stands in the entry (ATK-123). */
function outward({ code, policy }: Pick<DenyEntry, 'code' | 'policy'>): DenialCode {
  return policy === undefined && DENIALS[code].check === 'identity' ? 'identity_invalid' : code
}

async function reply(committed: Committed, salt: string | undefined, log: Sequencer, shown: Shown): Promise<AuthorizeReply> {
  const { entry, seq } = committed
  if (entry.kind === 'deny') return { decision: 'deny', code: outward(entry), seq }
  if (entry.kind === 'hold') return { decision: 'hold', hold: entry.hold, seq }
  if (entry.kind !== 'permit') throw new TypeError('a challenge was answered by another kind of entry')
  return log.sealed(Math.max(seq + 1, shown.size), (head): AuthorizeReply => {
    const sealed = log.seal(committed, head, salt)
    const consistency = log.extends(shown.size, head).map(toBase64)
    return show(shown, head.size, { decision: 'permit', sealed, consistency })
  })
}
