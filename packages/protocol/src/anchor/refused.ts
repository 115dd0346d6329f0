import { type DenialCode, Denied } from '../denial.ts'

/** Why a timestamp token does not show what it is shown for: one reason a check, so that none hides behind another. */
export type AnchorRefusal =
  | 'token_malformed' | 'algorithm_refused' | 'request_refused' | 'nonce_mismatch' | 'other_checkpoint' | 'content_changed'
  | 'signer_mismatch' | 'signature_invalid' | 'certificate_malformed' | 'certificate_not_valid_then'
  | 'certificate_not_for_timestamps' | 'certificate_usage_not_critical' | 'certificate_extension_unknown'

const CODES: Readonly<Record<AnchorRefusal, DenialCode>> = Object.freeze({
  token_malformed: 'encoding_invalid',
  algorithm_refused: 'signature_invalid',
  request_refused: 'evidence_unavailable',
  nonce_mismatch: 'challenge_mismatch',
  other_checkpoint: 'seal_invalid',
  content_changed: 'signature_invalid',
  signer_mismatch: 'signature_invalid',
  signature_invalid: 'signature_invalid',
  certificate_malformed: 'encoding_invalid',
  certificate_not_valid_then: 'key_unknown',
  certificate_not_for_timestamps: 'key_unknown',
  certificate_usage_not_critical: 'key_unknown',
  certificate_extension_unknown: 'key_unknown',
})

/** A timestamp that was refused; the code is of the closed list, the reason says which check it was. */
export class AnchorRefused extends Denied {
  readonly reason: AnchorRefusal
  constructor(reason: AnchorRefusal, detail: string) {
    super(CODES[reason], detail)
    this.reason = reason
  }
}
