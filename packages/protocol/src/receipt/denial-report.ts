import type { Scope } from '../action.ts'
import { readScope } from '../artifact/artifact.ts'
import type { Crypto } from '../crypto.ts'
import { type Checks, type DenialCode, Denied, isDenialCode } from '../denial.ts'
import { Fields } from '../json/fields.ts'
import { present } from '../json/present.ts'
import { openJws, type SigningKey } from './jws.ts'
import { readChecks } from './receipt.ts'

/** A gate's signed account of something it refused by itself, without a permit. @see spec/denial.md */
export interface DenialReport {
  readonly gate: string
  readonly tenant: string
  readonly session: string
  /** Counts the denials of one gate session from 0. */
  readonly sequence: number
  /** Milliseconds since 1970. */
  readonly time: number
  readonly code: DenialCode
  /** What was asked for, where it was understood. */
  readonly scope?: Scope
  readonly challenge?: string
  readonly checks?: Checks
}


/** @throws {Denied} as {@link openJws}, and `artifact_malformed` for claims of another form */
export function verifyDenialReport(token: string, key: SigningKey, crypto: Crypto): DenialReport {
  const fields = new Fields(openJws(token, 'execution-denial+jwt', key, crypto), 'artifact_malformed', 'denial report')
  const code = fields.value('code')
  if (!isDenialCode(code)) throw new Denied('artifact_malformed', 'denial report: unknown code')
  const report = present<DenialReport>({
    gate: fields.text('gate'),
    tenant: fields.text('tenant', 63),
    session: fields.token('session'),
    sequence: fields.integer('sequence'),
    time: fields.integer('time'),
    code,
    scope: fields.optional('scope', (name) => readScope(fields.object(name))),
    challenge: fields.optional('challenge', (name) => fields.token(name)),
    checks: fields.optional('checks', (name) => readChecks(fields.object(name))),
  })
  fields.end()
  return report
}
