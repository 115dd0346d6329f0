import { type CommittedDelegation, type DenialCode, endOfDescent, type Permit, prohibition } from '@sealwrit/protocol'
import type { LogState, OpenPermit } from './state.ts'

/** What is remembered of a permit for what may be asked for below it, while it is open. */
export interface Place {
  readonly depth: number
  readonly delegates: CommittedDelegation | undefined
  /** Permits that were issued below it, on all levels. */
  readonly issued: number
  /** Until when an unspent one counts, and any one, milliseconds. */
  readonly expMs: number
  readonly endMs: number
}

export function placeOf(permit: Permit): Place {
  const { depth, delegates, exp } = permit
  return { depth, delegates: delegates === undefined ? undefined : structuredClone(delegates), issued: 0, expMs: exp * 1_000, endMs: endOfDescent(permit) * 1_000 }
}

/**
 * Why nothing may begin below `ancestors` at this place in the log: one is void, or has its ending. What has ended authorizes nothing
 * new, so everything that counts is in what is open.
 */
export function endedAbove(ancestors: readonly string[], state: LogState, timeMs: number): Extract<DenialCode, 'ancestor_revoked' | 'artifact_expired'> | undefined {
  const open = ancestors.flatMap((jti) => state.open.get(jti) ?? [])
  if (open.some(({ selectable }) => prohibition(selectable, state) !== undefined)) return 'ancestor_revoked'
  // What was issued under a lost history, or an epoch that was voided, is void with all below it.
  if (open.some(({ seq, epoch }) => seq < state.voidBefore || epoch < state.standing.floor)) return 'ancestor_revoked'
  const isOver = ({ standing, place }: OpenPermit): boolean => timeMs >= place.endMs || (standing === 'carried' && timeMs >= place.expMs)
  return open.length < ancestors.length || open.some(isOver) ? 'artifact_expired' : undefined
}
