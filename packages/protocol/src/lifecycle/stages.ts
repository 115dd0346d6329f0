import { type Check, CHECKS, DENIALS, type DenialCode } from '../denial.ts'
import type { DenyEntry } from '../log/entries.ts'

/** The life cycle as what is trusted at run time: each stage rests on the ones before it. */
export const STAGES = ['request', 'identify', 'attest', 'evaluate', 'authorize', 'admit', 'execute', 'record', 'report', 'close'] as const
export type Stage = (typeof STAGES)[number]

/** The checks that a stage rests on. The gate makes all of them again before it admits. */
export const STAGE_CHECKS: Readonly<Record<Stage, readonly Check[]>> = Object.freeze({
  request: ['conditions'],
  identify: ['identity'],
  attest: ['environment'],
  evaluate: ['policy'],
  authorize: ['authorization', 'lineage'],
  admit: CHECKS,
  execute: ['state'],
  record: [],
  report: ['cryptography'],
  close: [],
})

/** Where the plane stops what fails a check. */
export const DENIED_AT: Readonly<Record<Check, Stage>> = Object.freeze({
  identity: 'identify',
  environment: 'attest',
  policy: 'evaluate',
  authorization: 'authorize',
  cryptography: 'authorize',
  state: 'authorize',
  lineage: 'authorize',
  conditions: 'authorize',
})
/** What is wrong with a request by itself, whoever asks. */
const FORM: ReadonlySet<DenialCode> = new Set(['request_malformed', 'arguments_not_canonical', 'limit_exceeded', 'method_unknown'])

export function isBefore(stage: Stage, other: Stage): boolean {
  return STAGES.indexOf(stage) < STAGES.indexOf(other)
}

/**
 * The stage at which a denial stops. Nothing later is claimed than what the entry shows: what no policy was asked about got no
 * further than to be evaluated.
 * @param reached whether a gate had an artifact in its hands: then it is that one which it did not admit
 */
export function deniedAt({ code, policy }: DenyEntry, reached: boolean): Stage {
  if (reached) return 'admit'
  if (FORM.has(code)) return 'request'
  const stage = DENIED_AT[DENIALS[code].check]
  return policy === undefined && isBefore('evaluate', stage) ? 'evaluate' : stage
}
