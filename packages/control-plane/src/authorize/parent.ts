import {
  ancestorsOf, type Below, commitment, type Delegation, type DelegationTerms, type DenialCode, digestOf, isBoundedBy, isDelegated, isTermsWithin, leafDigest, leafHash, MAX_DEPTH_LINEAGE, parseDelegationTerms, type ParentRef, parseStrictText, prohibition, canonicalize, utf8,
} from '@sealwrit/protocol'
import type { DecisionInput } from '../decide/mapping.ts'
import { catchUp } from '../log/executions.ts'
import { endedAbove, type Place } from '../log/lineage.ts'
import type { Sequencer } from '../log/sequencer.ts'
import type { LogState, OpenPermit } from '../log/state.ts'
import type { PlanePorts } from '../ports.ts'

/** A permit that was named as a parent, with what stands still about it; what may change is looked at where the child gets its place. */
export interface Parent extends ParentRef {
  readonly depth: number
  readonly txn: string
  /** The agent that it was issued to, and what for; policies see it. */
  readonly agent: string
  readonly tool: string
  /** Undefined where it delegates nothing, or nobody can tell what any more. */
  readonly terms: DelegationTerms | undefined
}

/**
 * Looks a parent up, the one place that knows where parents come from: what is open is in the state, and everything that ever was
 * in this log is found by the index of the store, to say why nothing descends from it any more.
 * @returns the code where it is none
 */
export async function findParent(ref: ParentRef, log: Sequencer, ports: PlanePorts): Promise<Parent | Extract<DenialCode, 'parent_unknown' | 'ancestor_denied' | 'ancestor_revoked' | 'artifact_expired'>> {
  if (!log.state.open.has(ref.jti) && ports.store.isShared) await log.refresh() // issued at another plane of this log
  const open = log.state.open.get(ref.jti)
  if (open === undefined) return whyNot(ref, log, ports)
  if (open.leafHash !== ref.leaf_hash) return 'parent_unknown' // a link of another lineage (ATK-053)
  const { txn, act, scope } = open.selectable
  return { ...ref, depth: open.place.depth, txn, agent: act.sub.slice('agent:'.length), tool: `${scope.target}/${scope.name}`, terms: await termsOfPermit(open, ports) }
}

/** What policies see of where a request stands, and of what it wants to delegate. */
export function placeSeen(parent: Parent | undefined, delegates: Delegation | undefined, nowSeconds: number): DecisionInput['lineage'] {
  if (parent === undefined && delegates === undefined) return undefined
  return {
    depth: (parent?.depth ?? -1) + 1,
    ...(parent === undefined ? {} : { root: parent.txn, parent: { agent: parent.agent, tool: parent.tool } }),
    ...(delegates === undefined ? {} : { delegates: { depth: delegates.depth, uses: delegates.uses, seconds: Math.max(0, delegates.until - nowSeconds), scopes: [...new Set(delegates.scopes.map(({ target, name }) => `${target}/${name}`))] } }),
  }
}

/** Of what is not open: it was denied, or it has its ending. */
async function whyNot({ jti, leaf_hash: leaf }: ParentRef, log: Sequencer, { store, crypto }: PlanePorts): Promise<Extract<DenialCode, 'parent_unknown' | 'ancestor_denied' | 'ancestor_revoked' | 'artifact_expired'>> {
  await catchUp(store)
  const row = await store.execution(jti)
  if (row === undefined) return 'parent_unknown'
  const { text, entry } = await log.read(row.seq)
  if (leafDigest(leafHash(utf8(text), crypto.sha256)) !== leaf) return 'parent_unknown'
  if (entry.kind === 'deny') return 'ancestor_denied'
  if (entry.kind !== 'permit') return 'parent_unknown'
  return entry.seq < log.state.voidBefore || prohibition(entry, log.state) !== undefined ? 'ancestor_revoked' : 'artifact_expired'
}

/** What a permit delegates, as it committed to it. What was erased cannot be told, and so is nothing. */
async function termsOfPermit({ seq, place: { delegates } }: OpenPermit, { store, crypto }: PlanePorts): Promise<DelegationTerms | undefined> {
  if (delegates === undefined) return undefined
  const body = (await store.bodies(seq)).find(({ purpose }) => purpose === 'delegation')
  if (body?.text === undefined) return undefined
  const value = parseStrictText(body.text)
  return commitment('delegation', body.salt, digestOf(canonicalize(value), crypto.sha256), crypto.sha256) === delegates.terms_commit ? parseDelegationTerms(value) : undefined
}

/** What a child is made of, once it was found to be one. */
export interface Descent {
  readonly parent: OpenPermit
  /** Nothing below runs past it, milliseconds. */
  readonly endMs: number
}

/** Whether the request may be a child of `parent` at this very place in the log. @returns the code where it may not */
export function descend(parent: Parent, asked: Below & { readonly sub: string; readonly delegates: Delegation | undefined }, state: LogState, timeMs: number): Descent | DenialCode {
  const open = state.open.get(parent.jti)
  if (open === undefined) return 'artifact_expired' // it had none when it was looked up
  const ancestors = [...ancestorsOf(open.selectable), parent.jti]
  const ended = endedAbove(ancestors, state, timeMs)
  if (ended !== undefined) return ended
  if (open.selectable.sub !== asked.sub) return 'subject_mismatch'
  const { delegates, depth } = open.place
  if (depth >= MAX_DEPTH_LINEAGE) return 'lineage_depth'
  if (delegates === undefined || parent.terms === undefined || !isDelegated(asked, parent.terms)) return 'delegation_widens'
  if (asked.delegates !== undefined && !(isBoundedBy(asked.delegates, delegates) && isTermsWithin(asked.delegates, parent.terms))) return 'delegation_widens'
  const isUsedUp = (place: Place | undefined): boolean => place === undefined || place.issued >= (place.delegates?.uses ?? 0)
  if (ancestors.some((jti) => isUsedUp(state.open.get(jti)?.place))) return 'budget_exceeded'
  return { parent: open, endMs: open.place.endMs }
}
