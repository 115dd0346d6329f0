import { Denied, type GateState, isObject, type JsonValue, type VerifiedArtifact } from '@sealwrit/protocol'
import type { PlaneLink } from './plane/link.ts'

/** An answer of the plane that carries a seal, and how it is verified. */
export interface Answer {
  readonly sealed: JsonValue
  readonly consistency: readonly Uint8Array[]
  readonly verify: (state: GateState) => VerifiedArtifact
}

/** An answer that cannot be read may have carried a checkpoint, which is missed then: begin anew from the floor. */
export function readOrEnd(read: () => Answer, link: PlaneLink): Answer {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof PlaneDenied)) link.close()
    throw error
  }
}

/** Whether a sealed entry leads to the checkpoint `note`, which was verified before. */
export function carries(sealed: JsonValue, note: string | undefined): boolean {
  const proof = isObject(sealed) ? sealed['proof'] : undefined
  return note !== undefined && typeof proof === 'string' && proof.endsWith(`\n\n${note}`)
}

/** The plane's own refusal: it is logged already. */
export class PlaneDenied extends Denied {
  readonly seq: number
  constructor(code: Denied['code'], seq: number) {
    super(code, 'refused by the plane')
    this.seq = seq
  }
}
