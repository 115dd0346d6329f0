import { parseApprovalRefs } from '../approval/approval.ts'
import type { Permit } from '../artifact/artifact.ts'
import { CHECKS, type Check, DENIALS } from '../denial.ts'
import { present } from '../json/present.ts'
import type { DenyEntry, ExpiryEntry, HoldEntry, ReceiptEntry, RedemptionEntry } from '../log/entries.ts'
import type { Entry, EntryHead } from '../log/entry.ts'
import { peekClaims } from '../receipt/jws.ts'
import type { Receipt } from '../receipt/receipt.ts'
import { DENIED_AT, deniedAt, isBefore, type Stage, STAGE_CHECKS, STAGES } from './stages.ts'
import { claimsOf, Standings } from './standings.ts'
import { isEnding, isLegal, type Standing } from './table.ts'

/** `not shown`: nothing among the entries says whether it was passed. */
export type StageState = 'passed' | 'failed here' | 'not reached' | 'not shown'

export interface ShownStage {
  readonly stage: Stage
  readonly state: StageState
  /** The checks that it rests on; where it failed, those that did. */
  readonly checks: readonly Check[]
  /** Leaf index of the entry that proves it. */
  readonly seq?: number
  /** Milliseconds since 1970, where an entry or a receipt says when. */
  readonly time?: number
  /** What was shown, or why it stopped. */
  readonly detail?: string
}

export interface LifeCycle {
  /** The `jti` of the execution, or else the id of the hold that it waits in. */
  readonly id?: string
  readonly standing: Standing
  /** Whether it came to its ending. */
  readonly isEnded: boolean
  /** All ten, in order. */
  readonly stages: readonly ShownStage[]
  /** What no life cycle can be: a stage skipped, reordered or run twice, or an entry of something else. */
  readonly contradicted: readonly { readonly seq?: number; readonly reason: string }[]
}

/** The entries of one execution, by what they are. */
interface Parts {
  hold?: HoldEntry & EntryHead
  approvals: number[]
  refused?: { readonly seq: number; readonly time: number; readonly code: 'approval_rejected' | 'approval_expired' }
  deny?: DenyEntry & EntryHead
  permit?: Permit
  redemption?: RedemptionEntry & EntryHead
  expiry?: ExpiryEntry & EntryHead
  receipt?: ReceiptEntry & EntryHead
}

/**
 * The life cycle of one execution, stage by stage, from everything that the log says of it and nothing else.
 * @param entries all of them, in the order of the log: its hold and what was said of that, its permit or denial, redemption, leases, receipt, ending
 */
export function lifecycleOf(entries: readonly Entry[]): LifeCycle {
  const contradicted: { seq?: number; reason: string }[] = []
  const standings = new Standings()
  const parts: Parts = { approvals: [] }
  let lastSeq = -1
  if (entries.length === 0) contradicted.push({ reason: 'nothing is shown of it' })
  for (const entry of entries) {
    const found = (reason: string): void => void contradicted.push({ seq: entry.seq, reason })
    if (entry.seq <= lastSeq) found('the entry stands before one that it follows')
    lastSeq = Math.max(lastSeq, entry.seq)
    const wrong = misplaced(entry, parts, standings)
    if (wrong !== undefined) found(wrong)
    else {
      for (const { from, to } of standings.take(entry)) found(`from ${from} to ${to} is no step of a life cycle`)
      keep(entry, parts)
    }
  }
  const id = parts.permit?.jti ?? parts.deny?.jti ?? parts.hold?.hold
  const standing = parts.deny !== undefined && parts.deny.jti === undefined ? 'denied' : id === undefined ? 'requested' : standings.of(id)
  return present<LifeCycle>({ id, standing, isEnded: isEnding(standing), stages: stagesOf(parts), contradicted })
}

/** Why an entry cannot stand here; the machine itself says what it cannot follow. */
function misplaced(entry: Entry, parts: Parts, standings: Standings): string | undefined {
  const { hold, permit } = parts
  switch (entry.kind) {
    case 'hold':
      return hold === undefined && permit === undefined && parts.deny === undefined ? undefined : 'a second hold, or one behind its decision'
    case 'deny':
      return hold === undefined && permit === undefined && parts.deny === undefined ? undefined : 'a denial of something else, or a second one'
    case 'approval':
      if (hold === undefined || entry.hold !== hold.hold) return 'an approval of another hold, or before it'
      return standings.of(hold.hold) === 'held' ? undefined : `an approval of what is ${standings.of(hold.hold)}`
    case 'permit': {
      if (permit !== undefined || parts.deny !== undefined) return 'a second decision'
      const rests = parseApprovalRefs(entry.approvals).filter(({ isGrant }) => !isGrant)
      if (rests.some(({ seq }) => !parts.approvals.includes(seq))) return 'the permit rests on an approval that does not stand before it'
      return (hold === undefined) === (rests.length === 0) ? undefined : 'the permit does not rest on the hold before it'
    }
    case 'redemption':
    case 'expiry':
      return ofPermit(entry, permit)
    case 'receipt': {
      const at = standings.of(entry.jti)
      const wrong = ofPermit(entry, permit)
      if (wrong !== undefined) return wrong
      if ((entry.resolves !== undefined) !== (at === 'lost') || (at === 'lost' && parts.expiry?.seq !== entry.resolves)) return 'the receipt resolves an ending that does not stand'
      const claims = claimsOf(entry.receipt)
      return claims === undefined ? 'the receipt cannot be read' : unadmitted(claims)
    }
    case 'lease':
      if (permit === undefined || !entry.jtis.includes(permit.jti)) return 'a renewal of something else, or before its permit'
      return isLegal(standings.of(permit.jti), 'lost') ? undefined : `a renewal of what is ${standings.of(permit.jti)}`
    default:
      return `an entry of kind ${entry.kind} is no part of an execution`
  }
}

function ofPermit({ jti }: { readonly jti: string }, permit: Permit | undefined): string | undefined {
  if (permit === undefined) return 'nothing was issued before it'
  return permit.jti === jti ? undefined : 'the entry is of another execution'
}

/**
 * Why a receipt cannot be: something ran that its gate did not admit, all eight checks passed. What was only observed, in shadow
 * mode, says so by its level.
 */
export function unadmitted({ outcome, checks, assurance }: Pick<Receipt, 'outcome' | 'checks' | 'assurance'>): string | undefined {
  if (outcome === 'not_started' || assurance === 'A0' || assurance === 'A1') return undefined
  const failed = CHECKS.filter((check) => checks[check] !== 'pass')
  return failed.length === 0 ? undefined : `it ran though it was not admitted: ${failed.join(', ')} did not pass`
}

function keep(entry: Entry, parts: Parts): void {
  if (entry.kind === 'approval') {
    if (entry.event === 'approved') parts.approvals.push(entry.seq)
    else parts.refused ??= { seq: entry.seq, time: entry.time, code: entry.event === 'rejected' ? 'approval_rejected' : 'approval_expired' }
  } else if (['hold', 'deny', 'permit', 'redemption', 'expiry', 'receipt'].includes(entry.kind)) Object.assign(parts, { [entry.kind]: entry })
}

type Shown = Omit<ShownStage, 'stage' | 'checks'> & { readonly checks?: readonly Check[] }
const NOT_REACHED: Shown = { state: 'not reached' }
const NOT_SHOWN: Shown = { state: 'not shown' }

function stagesOf(parts: Parts): readonly ShownStage[] {
  const { permit, deny, hold } = parts
  const shown: Partial<Record<Stage, Shown>> = deny !== undefined ? deniedStages(deny) : hold !== undefined || permit !== undefined ? { ...askedStages(hold ?? permit as Permit), ...(permit === undefined ? heldStages(parts) : issuedStages(permit, parts)) } : {}
  return STAGES.map((stage) => ({ stage, checks: STAGE_CHECKS[stage], ...(shown[stage] ?? NOT_REACHED) }))
}

/** What the entry that records a decision shows of the stages up to it. */
function askedStages(entry: (Permit | HoldEntry | DenyEntry) & EntryHead): Record<'request' | 'identify' | 'attest' | 'evaluate', Shown> {
  const { seq, time, scope, sub, act, policy } = entry
  const env = 'env' in entry ? entry.env.level : undefined
  return {
    request: scope === undefined ? NOT_SHOWN : { state: 'passed', seq, detail: `${scope.target}/${scope.name}` },
    identify: sub === undefined || act === undefined ? NOT_SHOWN : { state: 'passed', seq, detail: `${act.sub}${act.verified ? '' : ' (unverified)'} for ${sub}` },
    // A hold and a denial commit to the environment that the policies saw, and do not show its level.
    attest: env === 'none' || (env === undefined && policy?.inputs_commit === undefined) ? NOT_SHOWN : present<Shown>({ state: 'passed', seq, detail: env }),
    evaluate: policy === undefined ? NOT_SHOWN : { state: 'passed', seq, time, detail: `${policy.determining.join(', ') || 'no policy'} in epoch ${policy.epoch}` },
  }
}

/** A denial stops at the stage of its check: nothing was issued, so nothing is left to record, report and close. */
function deniedStages(entry: DenyEntry & EntryHead): Partial<Record<Stage, Shown>> {
  const { seq, time, code, denial } = entry
  const at = deniedAt(entry, denial !== undefined && peekClaims(denial)['checks'] !== undefined)
  const before: Partial<Record<Stage, Shown>> = { ...askedStages(entry), authorize: NOT_SHOWN }
  const passed = Object.entries(before).filter(([stage]) => isBefore(stage as Stage, at))
  return { ...Object.fromEntries(passed), [at]: { state: 'failed here', seq, time, detail: `${code}${denial === undefined ? '' : ', by the gate'}` } }
}

function heldStages({ refused, hold, approvals }: Parts): Partial<Record<Stage, Shown>> {
  if (refused !== undefined) return { authorize: { state: 'failed here', seq: refused.seq, time: refused.time, detail: refused.code } }
  return { authorize: { ...NOT_REACHED, detail: hold?.approval === undefined ? 'held' : `held, ${approvals.length} of ${hold.approval.quorum} approved` } }
}

function issuedStages(permit: Permit, { redemption, expiry, receipt, approvals }: Parts): Partial<Record<Stage, Shown>> {
  const { seq, time, env, jti, observed } = permit
  const rests = approvals.length === 0 ? '' : `, approved at ${approvals.map((at) => `#${at}`).join(', ')}`
  const issued: Partial<Record<Stage, Shown>> = {
    attest: env.level === 'none' ? NOT_SHOWN : { state: 'passed', seq, detail: env.level },
    authorize: { state: 'passed', seq, time, detail: `${jti}${rests}` },
    // It ran all the same, and nothing calls it governed.
    ...(observed === undefined ? {} : { [DENIED_AT[DENIALS[observed].check]]: { state: 'failed here', seq, time, detail: `${observed}, only observed` } }),
  }
  const spent: Shown | undefined = redemption === undefined ? undefined : { state: 'passed', seq: redemption.seq, time: redemption.time, detail: 'redeemed' }
  const claims = receipt === undefined ? undefined : claimsOf(receipt.receipt)
  if (receipt !== undefined && claims !== undefined) return { ...issued, ...endedStages(receipt, claims, spent) }
  if (expiry === undefined) return spent === undefined ? issued : { ...issued, admit: spent }
  const close: Shown = { state: 'passed', seq: expiry.seq, time: expiry.time, detail: `${expiry.outcome}, by the plane` }
  // Nobody came for it: nothing ran. Else the effect may have happened, and nobody said so.
  return expiry.outcome === 'expired' ? { ...issued, close } : { ...issued, admit: spent ?? NOT_SHOWN, execute: NOT_SHOWN, record: NOT_SHOWN, report: NOT_SHOWN, close }
}

function endedStages({ seq, time, resolves }: EntryHead & ReceiptEntry, claims: Receipt, spent: Shown | undefined): Partial<Record<Stage, Shown>> {
  const { outcome, cause, checks, started, finished, sequence, containment } = claims
  const why = cause === undefined ? outcome : `${outcome}: ${cause}`
  const after: Partial<Record<Stage, Shown>> = {
    record: { state: 'passed', seq, time: finished, detail: `receipt ${sequence} of its gate session` },
    report: { state: 'passed', seq, time },
    close: { state: 'passed', seq, time, detail: resolves === undefined ? outcome : `${outcome}, in place of #${resolves}` },
  }
  if (outcome === 'not_started') {
    const failed = CHECKS.filter((check) => checks[check] !== 'pass')
    return { admit: { state: 'failed here', seq, detail: cause ?? outcome, ...(failed.length === 0 ? {} : { checks: failed }) }, ...after }
  }
  const admit: Shown = spent ?? present<Shown>({ state: 'passed', seq, time: started, detail: containment.length === 0 ? undefined : containment.join(', ') })
  const execute: Shown = outcome === 'indeterminate' ? { state: 'not shown', seq, detail: why } : present<Shown>({ state: outcome === 'completed' ? 'passed' : 'failed here', seq, time: started, detail: why })
  return { admit, execute, ...after }
}
