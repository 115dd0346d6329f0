import { type DenialCode, type ForeignPermit, type Grounds, highest, initiatorOf, shortfall, type ShownGrounds } from '@sealwrit/protocol'
import type { Decision } from '../decide/decide.ts'

/** Whom and where a request is for, as the plane knows it. */
export interface Assured {
  readonly sub: string
  readonly cnf?: string | undefined
  readonly env: { readonly level: ShownGrounds['environment'] } | undefined
  readonly foreign?: ForeignPermit | undefined
  readonly isForPlane?: boolean | undefined
}

/**
 * What already falls short of the assurance that is demanded, so that nothing is issued that its gate could only refuse. Where another
 * plane takes it, its environment and its witnesses are that one's.
 * @param isWitnessed whether a quorum cosigns what this plane shows of its log
 * @returns the code; undefined where nothing does, as far as it is seen here
 */
export function assuranceRefusal(decision: Decision, { sub, cnf, env, foreign, isForPlane }: Assured, isWitnessed: boolean): DenialCode | undefined {
  if (decision.kind === 'deny') return undefined
  const permit = decision.kind === 'hold' ? decision.permit : decision
  const initiator = initiatorOf({ sub, ...(cnf === undefined ? {} : { cnf }) })
  const there: Grounds = { initiator, environment: 'hardware', isContained: true, isWitnessed: true, isReplayed: true }
  const here: Grounds = { initiator, environment: env?.level ?? 'none', isContained: false, isWitnessed, isReplayed: false }
  // What descends from a permit of another plane demands no less than that one.
  return shortfall(highest([permit.assurance, ...(foreign === undefined ? [] : [foreign.entry.assurance])]), isForPlane === true ? there : here)
}
