import { Fields } from '../json/fields.ts'
import type { JsonValue } from '../json/value.ts'
import { MAX_JWS } from '../log/entries.ts'
import { present } from '../json/present.ts'
import { type GrantArguments, parseGrantArguments } from './grant.ts'

/** What stands behind a commitment, with its salt. */
export interface SaltedBody<T> {
  readonly salt: string
  readonly value: T
}

/** A person's word on a hold, and the bodies behind what it commits to. */
export interface ApprovalRequest {
  readonly hold: string
  readonly signature: string
  readonly grant?: SaltedBody<GrantArguments>
  readonly reason?: SaltedBody<{ readonly text: string }>
  /** Where another plane vouches for the person, as it was shown; its verifier reads it. */
  readonly voucher?: JsonValue
}

/** Longest reason, in UTF-16 units. */
export const MAX_REASON = 1_024

/** @throws {Denied} `request_malformed` */
export function parseApprovalRequest(value: JsonValue): ApprovalRequest {
  const fields = new Fields(value, 'request_malformed', 'approvals')
  const request = present<ApprovalRequest>({
    hold: fields.token('hold'),
    signature: fields.text('signature', MAX_JWS),
    grant: fields.optional('grant', (name) => readSalted(fields.object(name), (body) => parseGrantArguments(body.value('value')))),
    reason: fields.optional('reason', (name) => readSalted(fields.object(name), (body) => readReason(body.object('value')))),
    voucher: fields.optional('voucher', (name) => fields.value(name)),
  })
  fields.end()
  return request
}

function readSalted<T>(fields: Fields, read: (fields: Fields) => T): SaltedBody<T> {
  const body = { salt: fields.token('salt'), value: read(fields) }
  fields.end()
  return body
}

function readReason(fields: Fields): { readonly text: string } {
  const reason = { text: fields.text('text', MAX_REASON) }
  fields.end()
  return reason
}
