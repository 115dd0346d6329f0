import { type Link, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api'
import { parseTraceparent } from '@sealwrit/protocol'
import type { Tracing } from '../ports.ts'

/**
 * One span for each request for a decision, by the API alone: without an SDK that the user loads it does nothing. What the
 * gate is doing meanwhile is linked and not made the parent, so that an agent's trace neither continues into the plane nor
 * decides what the plane records. No argument, name or identity goes into a span.
 */
export function openTelemetryTracing(version: string): Tracing {
  const tracer = trace.getTracer('sealwrit.control-plane', version)
  return {
    authorizing: ({ type, gate, traceparent }) => {
      const parent = parseTraceparent(traceparent)
      const links: Link[] = parent === undefined ? [] : [{ context: { traceId: parent.traceId, spanId: parent.spanId, traceFlags: parent.flags, isRemote: true } }]
      const span = tracer.startSpan(`sealwrit.authorize ${type}`, { kind: SpanKind.SERVER, links, attributes: { 'sealwrit.scope.type': type, 'sealwrit.gate': gate } }, ROOT_CONTEXT)
      return ({ decision, code, seq }) => {
        span.setAttribute('sealwrit.decision', decision)
        if (code !== undefined) span.setAttribute('sealwrit.denial.code', code)
        if (seq !== undefined) span.setAttribute('sealwrit.log.index', seq)
        if (code === 'unavailable' || code === 'evidence_unavailable' || code === 'overloaded') span.setStatus({ code: SpanStatusCode.ERROR, message: code })
        span.end()
      }
    },
  }
}
