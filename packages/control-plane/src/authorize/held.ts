import { type Action, commitment, type DenialCode, type Digest, digestOf, fitsGrant, formatApprovalRef, parseGrantArguments, parseStrictText, canonicalize } from '@sealwrit/protocol'
import type { Hold } from '../decide/decide.ts'
import { type Approvals, type Given, type Held, hasGrants, isSameRequester, MAX_HOLDS, type Requester } from '../log/approvals.ts'
import type { LogState } from '../log/state.ts'
import { NO_FEDERATION, type PlanePorts } from '../ports.ts'

/** Holds of one requester that may wait at once, and that it may cause within a minute (ATK-110). */
export const MAX_OPEN_HOLDS = 10
export const MAX_HOLDS_A_MINUTE = 20
/** Approvals with grants whose arguments are looked at for one request. */
const MAX_CANDIDATES = 256

/** What was found out before the request gets its place: bodies are read from the store, and the state is looked at again there. */
export interface Prepared {
  /** Id of the hold that the request named. */
  readonly named: string | undefined
  /** Salts of holds of this very action and delegation, by their ids. */
  readonly salts: ReadonlyMap<string, Salts>
  /** Leaf indices of approvals whose grants cover the arguments. */
  readonly fitting: ReadonlySet<number>
}

/** Under which a hold committed to what it holds. */
export interface Salts {
  readonly action: string
  readonly delegation: string | undefined
}

/** What a hold is to be of. */
interface Digests {
  readonly action: Digest
  readonly delegation: Digest | undefined
}

/** Looks for holds of this very action, and for grants that cover it. */
export async function prepare(decision: Hold, request: { readonly action: Action; readonly hold?: string }, requester: Requester, digests: Digests, state: LogState, ports: PlanePorts): Promise<Prepared> {
  const salts = new Map<string, Salts>()
  const fitting = new Set<number>()
  let candidates = 0
  for (const held of state.approvals.holds.values()) {
    if (!isSameRequester(held, requester)) continue
    const isMeant = request.hold === held.id || (request.hold === undefined && isAsked(held, decision, state.timeMs))
    const found = isMeant && (held.request === undefined || held.request === digests.action) ? await saltsOf(held, digests, ports) : undefined
    if (found !== undefined) salts.set(held.id, found)
    if (request.hold !== undefined || !hasGrants(held, state.timeMs)) continue
    for (const given of held.given) if (given.grant !== undefined && given.left > 0 && candidates++ < MAX_CANDIDATES && (await covers(given, request.action, ports))) fitting.add(given.seq)
  }
  return { named: request.hold, salts, fitting }
}

/** The salts of a hold, where it is of this very action and delegation. */
async function saltsOf(held: Held, { action, delegation }: Digests, { store, crypto }: PlanePorts): Promise<Salts | undefined> {
  const bodies = await store.bodies(held.seq)
  const saltOf = (purpose: 'action' | 'delegation', digest: Digest, commit: Digest | undefined): string | undefined =>
    bodies.find((body) => body.purpose === purpose && body.digest === digest && commitment(purpose, body.salt, digest, crypto.sha256) === commit)?.salt
  const own = { action: saltOf('action', action, held.commit), delegation: delegation === undefined ? undefined : saltOf('delegation', delegation, held.delegates?.terms_commit) }
  return own.action === undefined || (delegation !== undefined && own.delegation === undefined) ? undefined : { ...own, action: own.action }
}

/** Whether the grant behind an approval covers `action`; one whose body was erased covers nothing. */
async function covers({ seq, grant }: Given, action: Action, { store, crypto }: PlanePorts): Promise<boolean> {
  const body = (await store.bodies(seq)).find(({ purpose }) => purpose === 'grant')
  if (grant === undefined || body?.text === undefined) return false
  if (grant.tool_digest !== (action.type === 'mcp.tool_call' ? action.tool_digest : undefined)) return false
  const value = parseStrictText(body.text)
  if (commitment('grant', body.salt, digestOf(canonicalize(value), crypto.sha256), crypto.sha256) !== grant.arguments_commit) return false
  return fitsGrant(parseGrantArguments(value), action)
}

/** Where a held request stands, at its very place in the log. */
export type Standing =
  | { readonly kind: 'approved'; readonly refs: readonly string[]; readonly salt?: string }
  /** The hold that it waits for is there already. */
  | { readonly kind: 'waits'; readonly seq: number }
  | { readonly kind: 'refused'; readonly code: DenialCode }
  | { readonly kind: 'new' }

/** When, and whose word counts from elsewhere. */
type At = Parameters<Approvals['counted']>[2]

export function standing(decision: Hold, requester: Requester, owner: string, prepared: Prepared, digest: Digest, state: LogState, timeMs: number, ports: PlanePorts): Standing {
  const { approvals } = state
  const at = { timeMs, sha256: ports.crypto.sha256, trusted: (ports.federation ?? NO_FEDERATION).trusted }
  const { named, salts, fitting } = prepared
  const refused = (code: DenialCode): Standing => ({ kind: 'refused', code })
  if (named !== undefined) {
    const held = approvals.holds.get(named)
    // Another action, another requester or a demand that changed: for this there is no approval (ATK-108).
    if (held === undefined || !isSameRequester(held, requester) || !isSameDemand(held, decision) || salts.get(named) === undefined) return refused('approval_required')
    return of(held, salts.get(named)?.action, owner, approvals, at)
  }
  const refs = granted(decision, requester, owner, fitting, approvals, at)
  if (refs !== undefined) return { kind: 'approved', refs }
  for (const held of approvals.waiting(timeMs)) {
    if (!isSameRequester(held, requester) || !isSameDemand(held, decision)) continue
    if (salts.has(held.id)) return of(held, salts.get(held.id)?.action, owner, approvals, at)
    if (held.request === digest && held.delegates === undefined) return { kind: 'waits', seq: held.seq } // of this very group
  }
  return tooMany(requester, approvals, timeMs) ? refused('budget_exceeded') : approvals.holds.size >= MAX_HOLDS ? refused('overloaded') : { kind: 'new' }
}

/** A hold by its own state: whatever refuses it comes before what approves it. */
function of(held: Held, salt: string | undefined, owner: string, approvals: Approvals, at: At): Standing {
  const { timeMs } = at
  if (held.ended === 'rejected') return { kind: 'refused', code: 'approval_rejected' }
  if (held.ended === 'expired' || (held.ended === undefined && timeMs >= held.demand.expires * 1_000)) return { kind: 'refused', code: 'approval_expired' }
  if (held.ended !== undefined || salt === undefined) return { kind: 'refused', code: 'approval_required' } // used: one approval, one execution (ATK-111)
  const counted = approvals.counted(held, owner, at)
  const { quorum } = held.demand
  if (counted.length >= quorum) return { kind: 'approved', refs: counted.slice(0, quorum).map(({ seq, leafHash }) => formatApprovalRef({ seq, leafHash, isGrant: false })), salt }
  return held.given.length >= quorum ? { kind: 'refused', code: 'quorum_not_met' } : { kind: 'waits', seq: held.seq }
}

/** The grants of one hold that together make its quorum for this request. */
function granted(decision: Hold, requester: Requester, owner: string, fitting: ReadonlySet<number>, approvals: Approvals, at: At): readonly string[] | undefined {
  const { timeMs } = at
  // A grant covers what is done, not what others may do below it.
  if (fitting.size === 0 || requester.delegates !== undefined) return undefined
  for (const held of approvals.holds.values()) {
    if (!hasGrants(held, timeMs) || !isSameRequester(held, requester) || !isSameDemand(held, decision)) continue
    if (held.ended === undefined && timeMs >= held.demand.expires * 1_000) continue
    const usable = approvals.counted(held, owner, at).filter(({ seq, grant, left }) => fitting.has(seq) && left > 0 && timeMs < (grant?.until ?? 0) * 1_000)
    if (usable.length >= held.demand.quorum) return usable.slice(0, held.demand.quorum).map(({ seq, leafHash }) => formatApprovalRef({ seq, leafHash, isGrant: true }))
  }
  return undefined
}

function isSameDemand({ demand }: Held, { approval }: Hold): boolean {
  return demand.quorum === approval.quorum && demand.groups.join('\n') === approval.groups.join('\n')
}

/** Whether the hold is asked for by a request that names none: it waits, or was rejected and would not have expired yet. */
function isAsked(held: Held, decision: Hold, timeMs: number): boolean {
  return isSameDemand(held, decision) && (held.ended === undefined || held.ended === 'rejected') && timeMs < held.demand.expires * 1_000
}

/** Agents that only say who they are count as one, since a name costs nothing. */
function tooMany({ sub, act }: Requester, approvals: Approvals, timeMs: number): boolean {
  let [open, recent] = [0, 0]
  for (const held of approvals.holds.values()) {
    if (held.sub !== sub || held.act.verified !== act.verified || (act.verified && held.act.sub !== act.sub)) continue
    if (held.ended === undefined && timeMs < held.demand.expires * 1_000) open++
    if (timeMs - held.timeMs < 60_000) recent++
  }
  return open >= MAX_OPEN_HOLDS || recent >= MAX_HOLDS_A_MINUTE
}
