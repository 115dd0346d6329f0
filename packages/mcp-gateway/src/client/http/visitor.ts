import type { Identify } from '@sealwrit/gate'
import { Denied, type DenialCode } from '@sealwrit/protocol'
import type { Guest } from '../seat.ts'

/** Who asks, as far as the credential of one request vouches for it. */
export interface Visitor extends Guest {
  /** Carries the credential on to the plane, which verifies it for itself. */
  readonly identify?: Identify | undefined
  /** When the credential ends, milliseconds since 1970. */
  readonly untilMs?: number
}

/** Says who a request is of by its `Authorization` header. @throws {NotAuthorized | Denied} */
export type Authorize = (authorization: string | undefined) => Promise<Visitor>

/** A request without a credential that counts, and how to get one. */
export class NotAuthorized extends Denied {
  readonly status: 401 | 403
  /** The `WWW-Authenticate` header. */
  readonly challenge: string
  constructor(code: DenialCode, detail: string, challenge: string, status: 401 | 403 = 401) {
    super(code, detail)
    this.challenge = challenge
    this.status = status
  }
}
