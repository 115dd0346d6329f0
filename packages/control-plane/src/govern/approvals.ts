import {
  type ApprovalDemand, type ApprovalEntry, type ApprovalRequest, type ApprovalStatement, canonicalText, commitment, type Crypto, Denied, type Digest, digestOf, type ForeignVoucher, type GrantArguments, type GrantBounds, type JsonValue, keysOf, MAX_SKEW_SECONDS,
  mayApprove, parseGrantArguments, parseStrictText, peekClaims, present, type Risk, type SaltedBody, type Scope, type SealedEntry, toolKey, utf8, verifyApproval, type Actor,
} from '@sealwrit/protocol'
import { type Held, hasGrants, MAX_GIVEN } from '../log/approvals.ts'
import type { Written } from '../log/group.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { LogState } from '../log/state.ts'
import { type Page, pageOf, type Paged } from '../page.ts'
import type { PlaneClock, PlanePorts } from '../ports.ts'
import type { StoredBody } from '../store/store.ts'
import { nameOf } from './approvers.ts'
import { type Guest, guestOf, takeVoucher } from './vouchers.ts'

/** How often holds that nobody approved are looked for, in milliseconds. */
const INTERVAL_MS = 2_000

/** A hold as approvers see it. */
export interface ListedHold {
  readonly hold: string
  readonly seq: number
  /** Milliseconds since 1970. */
  readonly time: number
  readonly sub: string
  readonly act: Actor
  readonly aud: string
  readonly scope: Scope
  readonly risk?: Risk
  /** Our ids of the policies that hold it. */
  readonly policies: readonly string[]
  readonly approval: ApprovalDemand
  readonly approvals: readonly { readonly seq: number; readonly person: string; readonly name?: string; readonly grant?: GrantBounds & { readonly left: number; readonly arguments?: GrantArguments } }[]
  readonly ended?: NonNullable<Held['ended']>
}

/** A hold with everything that its rendering and its signature are made from, to be checked by whoever signs. */
export interface ShownHold {
  readonly listed: ListedHold
  readonly sealed: SealedEntry
  readonly action: ShownAction
  /** What it is to delegate, and the salt of the commitment to it. */
  readonly delegation?: { readonly salt: string; readonly text: string }
  /** The last approved action of the same scope, where it is kept. */
  readonly last?: { readonly sealed: SealedEntry; readonly action: ShownAction }
}

/** Canonical text of an action and the salt of its commitment: of all of it, or of what `@redact` leaves of it. */
export interface ShownAction {
  readonly purpose: 'action' | 'redacted'
  readonly salt: string
  readonly text: string
}

/**
 * Logs a person's word on a hold. Everything is looked at in the turn in which it gets its place, so that approvals, rejections, expiry
 * and use have one order; rejections go first in their group (ATK-112).
 * @throws {Denied} `approval_required` for no such hold, `approval_rejected`, `approval_expired`, `artifact_spent` when it was used,
 *   `identity_unknown` for a person or group that may not, `quorum_not_met` for the requester's own approval, and what the signature fails
 */
export async function decideHold(request: ApprovalRequest, vouched: ForeignVoucher | undefined, owner: string, log: Sequencer, ports: PlanePorts): Promise<{ seq: number; event: string; approvals: number; quorum: number }> {
  if (ports.store.isShared) await log.refresh()
  const guest = vouched === undefined ? undefined : takeVoucher(vouched, log.origin, ports)
  const { person, decision } = peekClaims(request.signature) // says where to look; the signature under a registered key says whether it is so
  const draft = (state: LogState, _seq: number, timeMs: number): Written | { readonly repeat: number } => decided(request, typeof person === 'string' ? person : '', guest, owner, log.tenant, state, timeMs, ports.crypto)
  const committed = await log.submit(draft, decision === 'rejected')
  const held = log.state.approvals.holds.get(request.hold)
  return { seq: committed.seq, event: committed.entry.kind === 'approval' ? committed.entry.event : 'approved', approvals: held?.given.length ?? 0, quorum: held?.demand.quorum ?? 0 }
}

function decided(request: ApprovalRequest, person: string, guest: Guest | undefined, owner: string, tenant: string, state: LogState, timeMs: number, crypto: Crypto): Written | { readonly repeat: number } {
  const held = state.approvals.holds.get(request.hold)
  if (held === undefined) throw new Denied('approval_required', 'no such hold')
  const known = guest === undefined ? state.approvals.persons.get(person) : guestOf(guest, state, timeMs)
  if (known === undefined) throw new Denied('identity_unknown', 'no such approver')
  const statement = verifyApproval(request.signature, keysOf(known, crypto.sha256), crypto)
  verifyStatement(statement, held, known.person, tenant, timeMs)
  if (guest !== undefined && (statement.decision !== 'approved' || statement.grant !== undefined)) throw new Denied('delegation_widens', 'a person of another plane approves one request, and nothing else')
  const isRejected = statement.decision === 'rejected'
  // Grants of a hold that was used can still be taken back.
  if (!(isRejected && held.ended === 'used' && hasGrants(held, timeMs))) verifyOpen(held, timeMs)
  if (!known.groups.some((group) => held.demand.groups.includes(group))) throw new Denied('identity_unknown', 'in none of the groups that are asked')
  if (isRejected) return written(request, statement, crypto)
  if (!mayApprove(known, held.demand.groups, { sub: held.sub, owner })) throw new Denied('quorum_not_met', 'whoever asks, or answers for it, does not approve it')
  const before = held.given.find((given) => given.person === known.person && (given.voucher === undefined || timeMs < given.voucher.exp * 1_000))
  if (before !== undefined) return { repeat: before.seq } // one person counts once
  if (held.given.length >= MAX_GIVEN) throw new Denied('limit_exceeded', 'enough persons approved it')
  verifyGrant(statement.grant, held, state, timeMs)
  return written(request, statement, crypto, guest)
}

/** The statement is about this very hold, and is no older than it (ATK-108). */
function verifyStatement({ hold, index, leaf_hash: leaf, action_commit: commit, aud, sub, tenant, person, iat }: ApprovalStatement, held: Held, claimed: string, of: string, timeMs: number): void {
  if (hold !== held.id || index !== held.seq || leaf !== held.leafHash || commit !== held.commit) throw new Denied('action_mismatch', 'the signature is about another hold')
  if (aud !== held.aud || sub !== held.sub || person !== claimed) throw new Denied('subject_mismatch')
  if (tenant !== of) throw new Denied('tenant_mismatch')
  const seconds = Math.floor(timeMs / 1_000)
  if (iat > seconds + MAX_SKEW_SECONDS) throw new Denied('artifact_not_yet_valid', 'signed in the future')
  if (iat < Math.floor(held.timeMs / 1_000) - MAX_SKEW_SECONDS) throw new Denied('artifact_expired', 'signed before the hold was made')
}

function verifyOpen(held: Held, timeMs: number): void {
  if (held.ended === 'rejected') throw new Denied('approval_rejected')
  if (held.ended === 'expired' || (held.ended === undefined && timeMs >= held.demand.expires * 1_000)) throw new Denied('approval_expired')
  if (held.ended !== undefined) throw new Denied('artifact_spent', 'the hold was used already')
}

function verifyGrant(grant: GrantBounds | undefined, held: Held, state: LogState, timeMs: number): void {
  if (grant === undefined) return
  if (timeMs >= grant.until * 1_000) throw new Denied('artifact_expired', 'the grant is over')
  const pinned = held.scope.type === 'mcp.tool_call' ? state.tools.get(toolKey(held.scope))?.pinned?.digest : undefined
  if (grant.tool_digest !== pinned) throw new Denied('tool_changed', 'the grant is for another definition of the tool')
}

/** What was signed, and the bodies behind it: each must be there exactly where it is committed to. */
function written({ hold, signature, grant, reason }: ApprovalRequest, statement: ApprovalStatement, crypto: Crypto, guest?: Guest): Written {
  const grantCommit = statement.grant?.arguments_commit
  const bodies = [...committed('grant', grant, grantCommit, crypto), ...committed('reason', reason, statement.reason_commit, crypto), ...(guest === undefined ? [] : [guest.body])]
  const { person, decision: event } = statement
  return { body: present<ApprovalEntry>({ kind: 'approval', hold, event, person, signature, grant_commit: grantCommit, reason_commit: statement.reason_commit, voucher: guest?.voucher }), bodies }
}

function committed(purpose: 'grant' | 'reason', given: SaltedBody<object> | undefined, commit: Digest | undefined, { sha256 }: Crypto): Omit<StoredBody, 'seq'>[] {
  if (given === undefined && commit === undefined) return []
  if (given === undefined || commit === undefined) throw new Denied('action_mismatch', `${purpose}: body and commitment belong together`)
  const text = canonicalText(given.value as JsonValue)
  const digest = digestOf(utf8(text), sha256)
  if (commitment(purpose, given.salt, digest, sha256) !== commit) throw new Denied('action_mismatch', `${purpose}: another body was signed`)
  return [{ purpose, commit, salt: given.salt, digest, text }]
}

/** Holds, oldest first: those that wait, or also the ended ones that are remembered. */
export async function listHolds(isAll: boolean, asked: Page, log: Sequencer, ports: PlanePorts): Promise<Paged<'holds', ListedHold>> {
  await log.latest()
  const { holds } = log.state.approvals
  const nowMs = ports.clock.wallMs()
  const wanted = [...holds.values()].filter((held) => isAll || (held.ended === undefined && nowMs < held.demand.expires * 1_000) || hasGrants(held, nowMs))
  const { page, ...rest } = pageOf(wanted.sort((a, b) => a.seq - b.seq), ({ seq }) => seq, asked)
  return { holds: await Promise.all(page.map((held) => listed(held, log, ports))), ...rest }
}

async function listed(held: Held, log: Sequencer, ports: PlanePorts): Promise<ListedHold> {
  const { id: hold, seq, timeMs: time, sub, act, aud, scope, risk, determining: policies, demand: approval, ended } = held
  const approvals = await Promise.all(
    held.given.map(async ({ seq: at, person, grant, left }) => {
      const text = grant === undefined ? undefined : (await ports.store.bodies(at)).find(({ purpose }) => purpose === 'grant')?.text
      const bounds = text === undefined ? undefined : parseGrantArguments(parseStrictText(text))
      const name = await nameOf(log.state.approvals.persons.get(person), ports)
      return present<ListedHold['approvals'][number]>({ seq: at, person, name, grant: grant === undefined ? undefined : present({ ...grant, left, arguments: bounds }) })
    }),
  )
  return present<ListedHold>({ hold, seq, time, sub, act, aud, scope, risk, policies, approval, approvals, ended })
}

/** @throws {Denied} `approval_required` for no such hold, `evidence_unavailable` when its action was erased */
export async function showHold(hold: string, log: Sequencer, ports: PlanePorts): Promise<ShownHold> {
  await log.latest()
  const held = log.state.approvals.holds.get(hold)
  if (held === undefined) throw new Denied('approval_required', 'no such hold')
  const shown = await proved(held.seq, log, ports)
  if (shown === undefined) throw new Denied('evidence_unavailable', 'the action of this hold is not kept any more')
  const last = log.state.approvals.lastUsed(held.scope)
  return present<ShownHold>({ listed: await listed(held, log, ports), ...shown, last: last === undefined || last === held.seq ? undefined : await proved(last, log, ports) })
}

async function proved(seq: number, log: Sequencer, { store }: PlanePorts): Promise<Pick<ShownHold, 'sealed' | 'action' | 'delegation'> | undefined> {
  const bodies = await store.bodies(seq)
  const terms = bodies.find((body) => body.purpose === 'delegation')
  const delegation = terms?.text === undefined ? {} : { delegation: { salt: terms.salt, text: terms.text } }
  for (const purpose of ['action', 'redacted'] as const) {
    const { salt, text } = bodies.find((body) => body.purpose === purpose) ?? {}
    if (salt === undefined || text === undefined) continue
    const entry = await log.read(seq)
    return { sealed: await log.sealed(seq + 1, (head) => log.seal(entry, head)), action: { purpose, salt, text }, ...delegation }
  }
  return undefined
}

/** Writes the end of holds that were not used in time: silence is no. @returns those that ended */
export async function expireHolds(log: Sequencer, nowMs: number): Promise<readonly string[]> {
  const due = [...log.state.approvals.holds.values()].filter(({ ended, demand }) => ended === undefined && demand.expires * 1_000 <= nowMs)
  const done = due.map(({ id }) =>
    log.submit((state, _seq, timeMs): Written => {
      const held = state.approvals.holds.get(id)
      if (held === undefined || held.ended !== undefined || timeMs < held.demand.expires * 1_000) throw new Denied('artifact_spent', 'the hold has its ending')
      return { body: { kind: 'approval', hold: id, event: 'expired' }, bodies: [] }
    }),
  )
  return (await Promise.allSettled(done)).flatMap(({ status }, i) => (status === 'fulfilled' ? [due[i]?.id as string] : []))
}

/** Looks for holds that are over until the result is called. @param told hears of each that ended */
export function watchHolds(log: Sequencer, clock: PlaneClock, told: (hold: string) => void): () => void {
  let cancel = (): void => undefined
  let stopped = false
  const again = (): void => {
    if (!stopped) cancel = clock.after(INTERVAL_MS, () => void expireHolds(log, clock.wallMs()).then((ended) => ended.forEach(told)).finally(again))
  }
  again()
  return () => {
    stopped = true
    cancel()
  }
}
