import type { DenialCode } from '@sealwrit/protocol'

/** What one execution goes through. */
export type Stage = 'authorize' | 'verify' | 'run' | 'receipt'

/**
 * Told of one execution while it happens, by an adapter that makes spans of it. It sees stages and codes, never the action,
 * and it decides nothing: what it throws is dropped.
 */
export interface Trace {
  /** A stage begins in this turn; the result is called once, when it ends. */
  stage(name: Stage): (refusedWith?: DenialCode) => void
  /** Names the execution to the plane, as W3C Trace Context. Undefined where nothing is recorded. */
  readonly traceparent: string | undefined
}

const nothing = (): void => undefined

/** Begins a stage. Whatever a tracer does, an execution goes its way: neither denied for it nor left without a receipt. */
export function begin(trace: Trace | undefined, name: Stage): (refusedWith?: DenialCode) => void {
  if (trace === undefined) return nothing
  try {
    const end = trace.stage(name)
    return (refusedWith) => {
      try {
        end(refusedWith)
      } catch {
        // as below
      }
    }
  } catch {
    return nothing
  }
}

/** As {@link Trace.traceparent}. */
export function traceparentOf(trace: Trace | undefined): string | undefined {
  try {
    return trace?.traceparent
  } catch {
    return undefined
  }
}
