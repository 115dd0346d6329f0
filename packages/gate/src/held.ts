import type { VerifiedArtifact } from '@sealwrit/protocol'
import type { Gate, GateRequest } from './gate.ts'
import { PlaneDenied } from './plane/denied.ts'

/** How long a gate leaves the plane alone between two questions about one hold, in milliseconds. */
export const ASK_AGAIN_MS = 1_000
/** Longest time that a gate waits for an approval, in milliseconds. */
export const MAX_HOLD_WAIT_MS = 3_600_000

/** How long a held request waits at the gate before it is answered. */
export interface HoldWait {
  /** At most {@link MAX_HOLD_WAIT_MS}. */
  readonly ms: number
  /** Ends the waiting: whoever asked is gone. */
  readonly signal: AbortSignal
}

/**
 * Authorizes, and asks again with the hold's id while it waits. Every question is a new request with a challenge of its own that the plane
 * decides anew; a rejection or the hold's end is an answer as any other.
 * @throws {Denied} as `Gate.authorize`; `approval_required` with the hold when the time is over
 */
export async function authorizeHeld(gate: Gate, request: GateRequest): Promise<VerifiedArtifact> {
  const { clock } = gate.ports
  const untilMs = clock.monotonicMs() + Math.min(request.wait?.ms ?? 0, MAX_HOLD_WAIT_MS)
  for (let asked = request; ; ) {
    try {
      return await gate.authorize(asked)
    } catch (error) {
      const hold = error instanceof PlaneDenied ? error.hold : undefined
      if (hold === undefined || request.wait === undefined || clock.monotonicMs() + ASK_AGAIN_MS > untilMs) throw error
      if (!(await pause(gate, request.wait.signal))) throw error
      asked = { ...request, hold }
    }
  }
}

/** @returns false when `signal` ended it */
function pause({ ports: { clock } }: Gate, signal: AbortSignal): Promise<boolean> {
  if (signal.aborted) return Promise.resolve(false)
  return new Promise((resolve) => {
    const end = (): void => {
      cancel()
      resolve(false)
    }
    const cancel = clock.after(ASK_AGAIN_MS, () => {
      signal.removeEventListener('abort', end)
      resolve(true)
    })
    signal.addEventListener('abort', end, { once: true })
  })
}
