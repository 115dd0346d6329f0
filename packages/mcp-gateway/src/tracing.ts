import { type Context, INVALID_SPAN_CONTEXT, type Span, SpanKind, SpanStatusCode, ROOT_CONTEXT, trace, type Tracer } from '@opentelemetry/api'
import { type Executed, PlaneDenied, type Stage, type Trace } from '@sealwrit/gate'
import { type Denied, type DenialCode, formatTraceparent, isObject, type JsonObject, parseTraceparent, type Scope, type VerifiedArtifact } from '@sealwrit/protocol'

/** Codes that say that something is broken, and not that the answer is no. */
const FAULTS: ReadonlySet<DenialCode> = new Set(['unavailable', 'evidence_unavailable', 'overloaded', 'state_stale', 'state_diverged', 'clock_rollback', 'store_rollback'])

/**
 * The span of one governed execution, by the OpenTelemetry API alone: without an SDK that the user loads it does nothing.
 * Attributes are what a leaf of the log says in clear; arguments and results never get here (I8). A processor of that SDK
 * that throws changes nothing: an effect that happened keeps its receipt and its answer.
 * @see spec/observability.md
 */
export class ExecutionSpan implements Trace {
  readonly #tracer: Tracer
  readonly #span: Span
  readonly #context: Context

  /** @param meta the request's `_meta`, whose `traceparent` names the parent where it is well formed */
  constructor(scope: Scope, meta: JsonObject | undefined) {
    this.#tracer = trace.getTracer('sealwrit.mcp-gateway')
    const attributes = { 'sealwrit.scope.type': scope.type, 'sealwrit.scope.target': scope.target, 'sealwrit.scope.name': scope.name }
    this.#span = orElse(trace.wrapSpanContext(INVALID_SPAN_CONTEXT), () => this.#tracer.startSpan(`sealwrit.execute ${scope.type}`, { kind: SpanKind.SERVER, attributes }, parentOf(meta)))
    this.#context = trace.setSpan(ROOT_CONTEXT, this.#span)
  }

  get traceparent(): string | undefined {
    if (!this.#span.isRecording()) return undefined
    const { traceId, spanId, traceFlags } = this.#span.spanContext()
    return formatTraceparent({ traceId, spanId, flags: traceFlags })
  }

  stage(name: Stage): (refusedWith?: DenialCode) => void {
    const span = this.#tracer.startSpan(`sealwrit.${name}`, {}, this.#context)
    return (refusedWith) => {
      if (refusedWith !== undefined) span.setAttribute('sealwrit.denial.code', refusedWith)
      span.end()
    }
  }

  permitted({ permit }: VerifiedArtifact): void {
    orElse(undefined, () => void this.#span.setAttributes({ 'sealwrit.decision': 'permit', 'sealwrit.jti': permit.jti, 'sealwrit.log.index': permit.seq }))
  }

  completed({ outcome }: Executed<unknown>): void {
    orElse(undefined, () => this.#span.setAttribute('sealwrit.outcome', outcome).end())
  }

  /** @param hasRun whether the effect had begun: then the permit stands, and what is missing is its account */
  refused(denied: Denied, hasRun: boolean): void {
    orElse(undefined, () => this.#refused(denied, hasRun))
  }

  #refused(denied: Denied, hasRun: boolean): void {
    const span = this.#span
    const { code, permit } = denied
    span.setAttribute('sealwrit.denial.code', code)
    if (hasRun) span.setAttribute('sealwrit.outcome', code === 'lease_expired' ? 'terminated' : 'indeterminate')
    else {
      const refusal = code === 'approval_required' && denied instanceof PlaneDenied ? 'hold' : 'deny'
      span.setAttributes({ 'sealwrit.decision': permit === undefined ? refusal : 'permit', 'sealwrit.outcome': 'not_started' })
    }
    if (permit !== undefined) span.setAttribute('sealwrit.jti', permit.jti)
    if (denied instanceof PlaneDenied) span.setAttribute('sealwrit.log.index', denied.seq)
    if (hasRun || FAULTS.has(code)) span.setStatus({ code: SpanStatusCode.ERROR, message: code })
    span.end()
  }
}

function orElse<T>(fallback: T, make: () => T): T {
  try {
    return make()
  } catch {
    return fallback
  }
}

/** @see MCP, "_meta": `traceparent` as W3C Trace Context has it; `tracestate` and `baggage` are an agent's text and are left alone */
function parentOf(meta: JsonObject | undefined): Context {
  const parent = parseTraceparent(meta?.['traceparent'])
  if (parent === undefined) return ROOT_CONTEXT
  return trace.setSpanContext(ROOT_CONTEXT, { traceId: parent.traceId, spanId: parent.spanId, traceFlags: parent.flags, isRemote: true })
}

/** The `_meta` of a request, where it is an object. */
export function metaOf(params: JsonObject): JsonObject | undefined {
  const meta = params['_meta']
  return isObject(meta) ? meta : undefined
}
