import { type Action, assuranceOf, commitment, Denied, digestOf, isVerifiedArtifact, NO_GROUNDS, type Outcome, present, type Receipt, scopeOf, toBase64Url, TOKEN_BYTES, type VerifiedArtifact, type DenialCode } from '@sealwrit/protocol'
import type { Gate, GateRequest } from './gate.ts'
import { authorizeHeld } from './held.ts'
import { PlaneDenied } from './plane/denied.ts'
import { begin, type Trace } from './trace.ts'

/** What an adapter reports of an effect that came to an end by itself. */
export interface Effect<T> {
  readonly outcome: 'completed' | 'failed'
  readonly cause?: NonNullable<Receipt['cause']>
  /** The bytes that are hashed into the receipt. */
  readonly resultBytes: Uint8Array
  readonly value: T
}

/**
 * Performs the effect. It gets a verified artifact and the action that was judged, never what the asker sent; `signal`
 * fires when the execution may not go on.
 */
export type Run<T> = (artifact: VerifiedArtifact, action: Action, signal: AbortSignal) => Promise<Effect<T>>

/** Whether the receipt is durable before the asker gets the result. `after_reply` trades that for speed. */
export type ReceiptOrder = 'before_reply' | 'after_reply'

export interface Executed<T> {
  readonly outcome: 'completed' | 'failed'
  readonly value: T
  readonly jti: string
}

/**
 * The whole fail-closed pipeline: authorize (or redeem) → verify → look once more → run, bounded in time → receipt → reply. Nothing
 * runs unless every step before it succeeded, and whatever is not a `Denied` becomes `unavailable` here and nowhere else.
 *
 * @throws {Denied} nothing ran, or (`lease_expired`, `revoked`, `killed`, `evidence_unavailable`) it ran and may not be answered as a success
 */
export async function enforce<T>(gate: Gate, request: GateRequest, run: Run<T>, receiptOrder: ReceiptOrder = 'before_reply'): Promise<Executed<T>> {
  let artifact: VerifiedArtifact | undefined
  let isStarted = false
  try {
    const facts = request.facts()
    const asked = { ...request, facts: () => facts }
    // The plane decides and seals, or spends what the agent carries; the eight checks run on arrival.
    artifact = await traced(request.trace, 'authorize', () => (asked.carried === undefined ? authorizeHeld(gate, asked) : gate.redeem(asked.carried, asked)))
    gate.lookOnceMore(artifact, request, facts) // INVARIANT: I1, no await between this line and the effect
    isStarted = true
    const permitted = artifact
    const effect = await execute(gate, artifact, request, run)
    const recorded = traced(request.trace, 'receipt', () => recordOutcome(gate, permitted, effect))
    if (receiptOrder === 'before_reply') await recorded
    else recorded.catch(() => undefined) // kept by the reporter and delivered later
    if (effect.outcome === 'terminated') throw effect.reason
    return { outcome: effect.outcome, value: effect.value, jti: artifact.permit.jti }
  } catch (error) {
    const denied = error instanceof Denied ? error : new Denied('unavailable', 'something unforeseen failed')
    if (!isStarted) await recordDenial(gate, denied, request, artifact)
    throw denied
  }
}

/** A stage that begins before `work` and ends with it. */
async function traced<T>(trace: Trace | undefined, stage: 'authorize' | 'receipt', work: () => Promise<T>): Promise<T> {
  const end = begin(trace, stage)
  try {
    const done = await work()
    end()
    return done
  } catch (error) {
    end(error instanceof Denied ? error.code : 'unavailable')
    throw error
  }
}

/** An execution that was stopped: its lease or time was over, or it was revoked or killed. */
interface Terminated {
  readonly outcome: 'terminated'
  readonly cause: DenialCode
  readonly resultBytes: Uint8Array
  readonly reason: Denied
}
type Ended<T> = (Effect<T> | Terminated) & { startedMs: number; wallMs: number }

/** Runs the effect under its lease. Only a verified artifact gets here, also at run time. */
async function execute<T>(gate: Gate, artifact: VerifiedArtifact, { action, trace }: GateRequest, run: Run<T>): Promise<Ended<T>> {
  if (!isVerifiedArtifact(artifact)) throw new TypeError('only a verified artifact can be executed')
  const { clock } = gate.ports
  const controller = new AbortController()
  const startedMs = gate.time.nowMs()
  const from = clock.monotonicMs()
  const held = gate.hold(artifact)
  const terminated = (reason: Denied): Terminated => {
    controller.abort(reason)
    return { outcome: 'terminated', cause: reason.code, resultBytes: new Uint8Array(0), reason }
  }
  // The effect begins in this turn: `run` is called synchronously. A rejection means it failed while running, not that it did not start.
  const effect = run(artifact, action, controller.signal).catch((error: unknown): Effect<T> => {
    const cause = error instanceof Denied ? error.code : 'upstream_closed'
    return { outcome: 'failed', cause, resultBytes: new Uint8Array(0), value: undefined as T }
  })
  const ran = begin(trace, 'run') // after it: nothing stands between the last look and the effect
  const first = await Promise.race([effect, held.stopped.then(terminated)])
  const over = first.outcome === 'terminated' ? undefined : held.over() // what ended by itself must have ended in time
  const ended = over === undefined ? first : terminated(over)
  held.release()
  ran(ended.outcome === 'terminated' ? ended.cause : undefined)
  return { ...ended, startedMs, wallMs: Math.round(clock.monotonicMs() - from) }
}

async function recordOutcome<T>(gate: Gate, artifact: VerifiedArtifact, effect: Ended<T>): Promise<void> {
  const { sha256 } = gate.ports.crypto
  const result = { salt: toBase64Url(gate.ports.rng.bytes(TOKEN_BYTES)), digest: digestOf(effect.resultBytes, sha256) }
  const claims = receiptClaims(artifact.permit.jti, artifact.leafHash, effect.outcome, artifact, gate.time.highMs)
  await gate.reporter.receipt(
    present<typeof claims>({
      ...claims,
      started: effect.startedMs,
      finished: effect.startedMs + effect.wallMs,
      cause: effect.cause,
      result_commit: commitment('result', result.salt, result.digest, sha256),
      resources: { result_bytes: effect.resultBytes.length, wall_ms: effect.wallMs },
    }),
    result,
  )
}

/** A permit that was refused here ends as `not_started`; a refusal without a permit is reported, unless the plane logged it. */
async function recordDenial(gate: Gate, denied: Denied, request: GateRequest, verified: VerifiedArtifact | undefined): Promise<void> {
  if (denied instanceof PlaneDenied) return
  // What the last look refused had passed every check before.
  const permit = denied.permit ?? (verified === undefined ? undefined : { jti: verified.permit.jti, leafHash: verified.leafHash })
  const checks = denied.checks ?? (verified === undefined ? undefined : { ...verified.checks, [denied.check]: 'fail' as const })
  if (permit !== undefined && checks !== undefined) {
    const claims = receiptClaims(permit.jti, permit.leafHash, 'not_started', { checks, assurance: assuranceOf(checks, NO_GROUNDS) }, gate.time.highMs)
    await gate.reporter.receipt({ ...claims, cause: denied.code }).catch(() => undefined)
  } else {
    await gate.reporter.denial(denied, { scope: scopeOf(request.action) })
  }
}

function receiptClaims(jti: string, leafHash: string, outcome: Outcome, { checks, assurance }: Pick<Receipt, 'checks' | 'assurance'>, finished: number): Omit<Receipt, 'gate' | 'tenant' | 'session' | 'sequence'> {
  return { jti, leaf_hash: leafHash, outcome, finished, checks, containment: [], assurance, resources: { result_bytes: 0, wall_ms: 0 } }
}

