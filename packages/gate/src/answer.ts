import { Fields, type GateState, type JsonValue, type VerifiedArtifact } from '@sealwrit/protocol'
import { PlaneDenied } from './plane/denied.ts'
import type { PlaneLink } from './plane/link.ts'

/** An answer of the plane that carries a seal, and how it is verified. */
export interface Answer {
  readonly sealed: JsonValue
  readonly consistency: readonly Uint8Array[]
  readonly verify: (state: GateState) => VerifiedArtifact
}

/** An answer that cannot be read may have carried a checkpoint, which is missed then: begin anew from the floor. */
export function readOrEnd<T>(read: () => T, link: PlaneLink): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof PlaneDenied)) link.close()
    throw error
  }
}

/** What a gate signs to enrol. @throws {Denied} `request_malformed` */
export function readNonce(value: JsonValue): string {
  const fields = new Fields(value, 'request_malformed', 'nonce')
  fields.text('origin')
  const nonce = fields.token('nonce')
  fields.end()
  return nonce
}
