import { ASSURANCE_LEVELS, type AssuranceLevel } from '../artifact/artifact.ts'
import type { Crypto } from '../crypto.ts'
import { CHECKS, type Checks, type CheckStatus, type DenialCode, Denied, isDenialCode } from '../denial.ts'
import type { Digest } from '../digest.ts'
import { Fields } from '../json/fields.ts'
import { present } from '../json/present.ts'
import { openJws, type SigningKey } from './jws.ts'

export const OUTCOMES = ['completed', 'failed', 'terminated', 'not_started', 'indeterminate'] as const
export type Outcome = (typeof OUTCOMES)[number]
const STATUSES: readonly CheckStatus[] = ['pass', 'fail', 'missing', 'error']

/** A gate's signed account of what came of one permit. @see spec/receipt.md */
export interface Receipt {
  readonly jti: string
  /** Digest of the permit's leaf: the receipt is about exactly that entry. */
  readonly leaf_hash: Digest
  readonly tenant: string
  readonly gate: string
  readonly session: string
  /** Counts the receipts of one gate session from 0; a gap shows one that was lost. */
  readonly sequence: number
  /** Milliseconds since 1970; `started` is absent when nothing started. */
  readonly started?: number
  readonly finished: number
  readonly outcome: Outcome
  /** Why it failed, was terminated or did not start. */
  readonly cause?: DenialCode | 'tool_error' | 'upstream_closed' | 'cancelled'
  readonly result_commit?: Digest
  readonly resources: { readonly result_bytes: number; readonly wall_ms: number }
  readonly checks: Checks
  /** Containment that was actually in force. */
  readonly containment: readonly string[]
  /** Assurance level that was actually reached. */
  readonly assurance: AssuranceLevel
  /** Digest of the log key that the gate was given: what it held against what it was shown. */
  readonly anchor?: Digest
}

/**
 * Verifies a receipt token under the key of the gate that must have signed it.
 * @throws {Denied} as {@link openJws}, and `artifact_malformed` for claims of another form
 */
export function verifyReceipt(token: string, key: SigningKey, crypto: Crypto): Receipt {
  const fields = new Fields(openJws(token, 'execution-receipt+jwt', key, crypto), 'artifact_malformed', 'receipt')
  const resources = fields.object('resources')
  const receipt = present<Receipt>({
    jti: fields.token('jti'),
    leaf_hash: fields.digest('leaf_hash'),
    tenant: fields.text('tenant', 63),
    gate: fields.text('gate'),
    session: fields.token('session'),
    sequence: fields.integer('sequence'),
    started: fields.optional('started', (name) => fields.integer(name)),
    finished: fields.integer('finished'),
    outcome: fields.oneOf('outcome', OUTCOMES),
    cause: fields.optional('cause', (name) => readCause(fields.text(name))),
    result_commit: fields.optional('result_commit', (name) => fields.digest(name)),
    resources: { result_bytes: resources.integer('result_bytes'), wall_ms: resources.integer('wall_ms') },
    checks: readChecks(fields.object('checks')),
    containment: fields.strings('containment', 16),
    assurance: fields.oneOf('assurance', ASSURANCE_LEVELS),
    anchor: fields.optional('anchor', (name) => fields.digest(name)),
  })
  resources.end()
  fields.end()
  if ((receipt.outcome === 'not_started') !== (receipt.started === undefined)) throw new Denied('artifact_malformed', 'outcome and start disagree')
  return receipt
}

function readCause(cause: string): NonNullable<Receipt['cause']> {
  if (isDenialCode(cause) || cause === 'tool_error' || cause === 'upstream_closed' || cause === 'cancelled') return cause
  throw new Denied('artifact_malformed', 'receipt: unknown cause')
}

export function readChecks(fields: Fields): Checks {
  const checks = Object.fromEntries(CHECKS.map((check) => [check, fields.oneOf(check, STATUSES)])) as unknown as Checks
  fields.end()
  return checks
}
