import { SpanStatusCode, trace } from '@opentelemetry/api'
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, type SpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace'
import { nodeClock, nodeCryptography } from '@sealwrit/gate'
import { seededRng, SimulatedPlane } from '@sealwrit/gate/testing'
import { type DenialCode, parseRpcRequest, parseTraceparent, utf8 } from '@sealwrit/protocol'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Bench, codeOf, honest, TOOL } from './support/bench.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const PARENT = '00f067aa0ba902b7'

const exporter = new InMemorySpanExporter()
function register(...processors: SpanProcessor[]): void {
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: processors }))
}
beforeEach(() => register(new SimpleSpanProcessor({ exporter })))
afterEach(() => {
  trace.disable()
  exporter.reset()
})
const spans = (name: string): ReadableSpan[] => exporter.getFinishedSpans().filter((span) => span.name.startsWith(name))
const execution = (): ReadableSpan => {
  const found = spans('sealwrit.execute')
  expect(found).toHaveLength(1)
  return found[0] as ReadableSpan
}
const decided = (decide: () => 'permit' | DenialCode): Promise<Bench> => new Bench({ decide }).initialize()

describe('one span for each governed execution', () => {
  it('says what the leaf says, with its stages as children, and where it stands in the log', async () => {
    const bench = await new Bench().initialize()
    expect(codeOf(await bench.call())).toBe('ran')
    const span = execution()
    const permit = bench.plane.entries.find((entry) => entry.kind === 'permit')
    expect(span.name).toBe('sealwrit.execute mcp.tool_call')
    expect(span.attributes).toEqual({
      'sealwrit.scope.type': 'mcp.tool_call', 'sealwrit.scope.target': 'mcp://fs', 'sealwrit.scope.name': 'read_file',
      'sealwrit.decision': 'permit', 'sealwrit.outcome': 'completed', 'sealwrit.jti': permit?.kind === 'permit' ? permit.jti : undefined, 'sealwrit.log.index': permit?.seq,
    })
    expect(span.parentSpanContext).toBeUndefined()
    const children = exporter.getFinishedSpans().filter((child) => child !== span)
    expect(children.map(({ name }) => name)).toEqual(['sealwrit.verify', 'sealwrit.authorize', 'sealwrit.run', 'sealwrit.receipt'])
    for (const child of children) {
      expect(child.parentSpanContext?.spanId).toBe(span.spanContext().spanId)
      expect(child.attributes).toEqual({})
    }
  })
  it('lists, pings and refusals before any action have none', async () => {
    const bench = await new Bench().initialize()
    await bench.request('tools/list', {})
    await bench.request('ping', {})
    await bench.request('sampling/createMessage', {})
    await bench.call('unlisted')
    bench.raw('nonsense\n')
    await bench.settle()
    expect(exporter.getFinishedSpans()).toEqual([])
  })
  it.each<[DenialCode, string, SpanStatusCode]>([
    ['policy_denied', 'deny', SpanStatusCode.UNSET],
    ['approval_required', 'hold', SpanStatusCode.UNSET],
    ['evidence_unavailable', 'deny', SpanStatusCode.ERROR],
  ])('a plane that answers %s: decision %s, nothing ran', async (code, decision, status) => {
    const bench = await decided(() => code)
    expect(codeOf(await bench.call())).toBe(code)
    const span = execution()
    expect(span.attributes).toMatchObject({ 'sealwrit.decision': decision, 'sealwrit.denial.code': code, 'sealwrit.outcome': 'not_started' })
    expect(span.attributes['sealwrit.log.index']).toBe(bench.plane.entries.find((entry) => entry.kind === 'deny')?.seq)
    expect(span.status.code).toBe(status)
    expect(spans('sealwrit.run')).toEqual([])
    expect(spans('sealwrit.authorize')[0]?.attributes).toEqual({ 'sealwrit.denial.code': code })
  })
  it('a permit that this gate refuses: the check that failed stands at its stage, with the permit’s id', async () => {
    const bench = await new Bench().initialize()
    bench.plane.onTheWire = (method, answer) => {
      if (method === 'authorize') bench.gate.time.nowMs = () => Date.now() + 3_600_000
      return answer
    }
    expect(codeOf(await bench.call())).toBe('artifact_expired')
    expect(execution().attributes).toMatchObject({ 'sealwrit.decision': 'permit', 'sealwrit.denial.code': 'artifact_expired', 'sealwrit.outcome': 'not_started', 'sealwrit.jti': expect.any(String) })
    expect(spans('sealwrit.verify')[0]?.attributes).toEqual({ 'sealwrit.denial.code': 'artifact_expired' })
  })
  it('a tool that fails is an outcome and no fault of the gate', async () => {
    const bench = await new Bench({
      script: (message, send) => (message.method === 'tools/call' ? send(JSON.stringify({ jsonrpc: '2.0', id: message.id, result: { isError: true, content: [] } })) : honest()(message, send)),
    }).initialize()
    await bench.call()
    expect(execution().attributes).toMatchObject({ 'sealwrit.decision': 'permit', 'sealwrit.outcome': 'failed' })
    expect(execution().status.code).toBe(SpanStatusCode.UNSET)
  })
  it('a receipt that cannot be delivered: it ran, and how it ended is not known to the log', async () => {
    const bench = await new Bench().initialize()
    bench.plane.onTheWire = (method, answer) => (method === 'receipts' ? { ...answer, result: undefined as never, error: { code: -32007, message: 'x', data: { code: 'evidence_unavailable' } } } : answer)
    expect(codeOf(await bench.call())).toBe('evidence_unavailable')
    expect(bench.calls()).toHaveLength(1)
    expect(execution().attributes).toMatchObject({ 'sealwrit.decision': 'permit', 'sealwrit.denial.code': 'evidence_unavailable', 'sealwrit.outcome': 'indeterminate' })
    expect(execution().status.code).toBe(SpanStatusCode.ERROR)
  })
})

describe('W3C trace context', () => {
  const asked = (traceparent: unknown): object => ({ name: 'read_file', arguments: {}, _meta: { traceparent, tracestate: 'vendor=canary', baggage: 'user=canary' } })
  it('a traceparent in `_meta` is the parent; nothing of it reaches the server', async () => {
    const bench = await new Bench().initialize()
    await bench.request('tools/call', asked(`00-${TRACE}-${PARENT}-01`))
    expect(execution().spanContext().traceId).toBe(TRACE)
    expect(execution().parentSpanContext).toMatchObject({ spanId: PARENT, isRemote: true })
    expect(bench.received.join('')).not.toContain(TRACE)
  })
  it.each([
    ['another version', `01-${TRACE}-${PARENT}-01`], ['the forbidden version', `ff-${TRACE}-${PARENT}-01`], ['upper case', `00-${TRACE.toUpperCase()}-${PARENT}-01`],
    ['a trace of zeros', `00-${'0'.repeat(32)}-${PARENT}-01`], ['a span of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`], ['something after it', `00-${TRACE}-${PARENT}-01-x`],
    ['a newline after it', `00-${TRACE}-${PARENT}-01\n`], ['a digit too few', `00-${TRACE.slice(1)}-${PARENT}-01`], ['nothing', ''], ['a number', 1], ['a list', [`00-${TRACE}-${PARENT}-01`]], ['null', null],
  ])('%s is nobody’s parent, and the call runs all the same', async (_name, traceparent) => {
    const bench = await new Bench().initialize()
    expect(codeOf(await bench.request('tools/call', asked(traceparent)))).toBe('ran')
    expect(execution().parentSpanContext).toBeUndefined()
    expect(execution().spanContext().traceId).not.toBe(TRACE)
  })
  it('the plane is told which span asks, and only while somebody records', async () => {
    const plane = new SimulatedPlane({ clock: nodeClock, rng: seededRng('told'), crypto: nodeCryptography })
    const told: unknown[] = []
    const connect = plane.connect.bind(plane)
    plane.connect = async (path, max, events) => {
      const connection = await connect(path, max, events)
      return {
        close: () => connection.close(),
        send: (line) => {
          const { method, params } = parseRpcRequest(utf8(line))
          if (method === 'authorize') told.push((params as { traceparent?: string }).traceparent)
          connection.send(line)
        },
      }
    }
    const bench = await new Bench({ plane }).initialize()
    await bench.call()
    const { traceId, spanId } = execution().spanContext()
    expect(parseTraceparent(told[0])).toEqual({ traceId, spanId, flags: 1 })
    trace.disable()
    expect(codeOf(await bench.call())).toBe('ran')
    expect(told[1]).toBeUndefined()
    expect(plane.entries.map((entry) => JSON.stringify(entry)).join('')).not.toContain(traceId)
  })
})

describe('a tracer decides nothing', () => {
  const broken = (where: 'onStart' | 'onEnd' | 'both'): SpanProcessor => {
    const fail = (): void => {
      throw new Error('tracer')
    }
    return { onStart: where === 'onEnd' ? () => undefined : fail, onEnd: where === 'onStart' ? () => undefined : fail, forceFlush: async () => undefined, shutdown: async () => undefined }
  }
  it.each(['onStart', 'onEnd', 'both'] as const)('one that throws in %s changes neither answers nor evidence', async (where) => {
    trace.disable()
    register(broken(where))
    const bench = await decided(() => 'permit')
    expect(codeOf(await bench.call())).toBe('ran')
    expect(bench.calls()).toHaveLength(1)
    expect(bench.plane.entries.map(({ kind }) => kind).slice(-2)).toEqual(['permit', 'receipt'])
    const refusing = await decided(() => 'policy_denied')
    expect(codeOf(await refusing.call())).toBe('policy_denied')
    expect(refusing.calls()).toEqual([])
  })
  it('without an SDK a call costs what it cost: spans of the API alone are done in no time that anybody sees', async () => {
    trace.disable()
    const { ExecutionSpan } = await import('../src/tracing.ts')
    const scope = { type: 'mcp.tool_call', target: 'mcp://fs', name: 'read_file' } as const
    const once = (): void => {
      const span = new ExecutionSpan(scope, { traceparent: `00-${TRACE}-${PARENT}-01` })
      for (const stage of ['authorize', 'verify', 'run', 'receipt'] as const) span.stage(stage)()
      span.completed({ outcome: 'completed', value: undefined, jti: '' })
    }
    for (let i = 0; i < 5_000; i++) once()
    const rounds = Array.from({ length: 20 }, () => {
      const from = performance.now()
      for (let i = 0; i < 500; i++) once()
      return ((performance.now() - from) * 1_000) / 500
    }).sort((a, b) => a - b)
    console.log(`spans without an SDK: ${(rounds[10] as number).toFixed(2)} µs an execution (median of 20)`)
    expect(rounds[10]).toBeLessThan(1_000) // 20 on an idle core; the figure is for readers, the bound for mistakes of another kind
  })
})

describe('I8: secrets', () => {
  it('S30: of 200 canary secrets in arguments, results, identities, trace members and malformed lines none is in a span', async () => {
    const canary = (i: number): string => `CANARY-${String(i).padStart(4, '0')}-${'x'.repeat(24)}`
    const bench = await new Bench({
      script: (message, send) => (message.method === 'tools/call' ? send(JSON.stringify({ jsonrpc: '2.0', id: message.id, ...(Number(message.id) % 2 === 0 ? { result: { content: [{ type: 'text', text: canary(150) }] } } : { error: { code: -1, message: canary(151), data: canary(152) } }) })) : honest(() => [TOOL])(message, send)),
      decide: (action) => (JSON.stringify(action).includes('CANARY-0003') ? 'policy_denied' : 'permit'),
    }).initialize()
    for (let i = 0; i < 200; i++) {
      const secret = canary(i)
      const good = { name: 'read_file', arguments: { path: `/${secret}`, token: secret, [secret]: [secret] }, _meta: { traceparent: i % 2 === 0 ? secret : `00-${TRACE}-${PARENT}-01`, tracestate: `v=${secret}`, baggage: `b=${secret}`, progressToken: secret } }
      switch (i % 4) {
        case 0:
        case 1:
          await bench.request('tools/call', good)
          break
        case 2:
          await bench.request('resources/read', { uri: `file:///${secret}?password=${secret}` })
          break
        default:
          await bench.request('tools/call', { ...good, unknown: secret })
          bench.raw(`{"jsonrpc":"2.0","id":"${secret}","method":"${secret}","method":"x"}\n${secret}\n`)
      }
    }
    await bench.settle()
    const all = exporter.getFinishedSpans()
    expect(spans('sealwrit.execute').length).toBeGreaterThanOrEqual(150)
    const text = JSON.stringify(all.map(({ name, attributes, events, links, status, resource, parentSpanContext, instrumentationScope }) => ({ name, attributes, events, links, status, resource: resource.attributes, parent: parentSpanContext, instrumentationScope, })))
    expect(text).not.toContain('CANARY')
    expect(bench.received.join('\n')).toContain('CANARY') // the search can find one
  })
})
