import type { GateState, JsonValue, VerifiedArtifact } from '@sealwrit/protocol'
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
