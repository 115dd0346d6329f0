import { type Effect, enforce, type GateRequest } from '@sealwrit/gate'
import { type Action, Denied, type Permit, scopeOf, utf8, type VerifiedArtifact } from '@sealwrit/protocol'
import { answerOf } from '../client/answers.ts'
import type { Answer, Asked, Reply } from '../client/seat.ts'
import type { GatewayOptions } from '../gateway.ts'
import { MAX_SERVER_LINE } from '../messages.ts'
import { parentMeta } from '../meta/lineage.ts'
import type { ServerFacts } from '../server/opening.ts'
import type { Sending, Upstream } from '../server/upstream.ts'
import { ExecutionSpan, metaOf } from '../tracing.ts'
import { toRequest } from './action.ts'
import type { Tasks } from './tasks.ts'

/** Time that a server has to stop after it was told to cancel, before it is ended, in milliseconds: an answer never says whether it did. */
export const CANCEL_GRACE_MS = 1_000

/** A server's answer, and as a client of the same revision gets it. */
export interface Answered {
  readonly reply: Reply
  readonly answer: Answer
}

/** The governed path of one client: from a judged action to the server's answer. */
export class Executing {
  readonly #options: Pick<GatewayOptions, 'gate' | 'receiptOrder' | 'maxResultBytes'>
  readonly #upstream: Upstream
  readonly #tasks: Tasks
  readonly #kill: (reason: string) => void

  /** @param kill ends the server at once: it runs what may not run any more */
  constructor(options: Pick<GatewayOptions, 'gate' | 'receiptOrder' | 'maxResultBytes'>, upstream: Upstream, tasks: Tasks, kill: (reason: string) => void) {
    this.#options = options
    this.#upstream = upstream
    this.#tasks = tasks
    this.#kill = kill
  }

  /**
   * The server gets the canonical action that was judged, never the message that asked for it.
   * @returns its answer, once the receipt is where the receipt order wants it; for a call that began a task, as soon as it did
   * @throws {Denied} as {@link enforce}
   */
  async execute(request: GateRequest, asked: Asked, server: ServerFacts, sending: Sending): Promise<Answered> {
    const { gate, receiptOrder, maxResultBytes = MAX_SERVER_LINE } = this.#options
    const { action } = request
    const { method, params } = toRequest(action)
    const span = new ExecutionSpan(scopeOf(action), metaOf(asked.params))
    let hasRun = false
    let answerEarly: (answered: Answered) => void = () => undefined
    const early = new Promise<Answered>((resolve) => {
      answerEarly = resolve
    })
    const run = async (artifact: VerifiedArtifact, _action: Action, expired: AbortSignal): Promise<Effect<Answered>> => {
      hasRun = true
      const isEndedAlone = this.#upstream.cancelsAlone(server.revision)
      const takenBack = (): void => this.#watch(artifact.permit)
      if (!isEndedAlone) asked.signal.addEventListener('abort', takenBack, { once: true })
      if (!isEndedAlone) expired.addEventListener('abort', () => setTimeout(() => this.#kill('a call was ended, and nothing but its end shows that a program stopped'), CANCEL_GRACE_MS).unref(), { once: true })
      const isTask = action.type === 'mcp.tool_call' && action.task !== undefined
      if (isTask) this.#tasks.enter()
      let task: string | undefined
      try {
        const signal = AbortSignal.any([expired, asked.signal])
        const sent = this.#upstream.request(method, params, { ...sending, signal, meta: parentMeta(artifact), scope: scopeOf(action) }, server.revision)
        span.permitted(artifact)
        const reply = await sent
        task = isTask ? this.#tasks.begun(reply) : undefined
        const effect = effectOf(reply, maxResultBytes)
        if (task === undefined) return effect
        answerEarly(effect.value)
        const { client, capabilities } = sending
        return effectOf(await this.#tasks.ended(task, (named, about) => this.#upstream.request(named, about, { client, capabilities }), expired), maxResultBytes)
      } finally {
        asked.signal.removeEventListener('abort', takenBack)
        if (isTask) this.#tasks.leave(task)
      }
    }
    const executed = this.#enforced(enforce(gate, { ...request, trace: span }, run, receiptOrder), span, () => hasRun)
    executed.catch(() => undefined) // where a task was told of already, its end is in the log
    return Promise.race([early, executed])
  }

  /** A call that its client took back has its receipt, and nothing shows that the program stopped: what forbids it later ends the server. */
  #watch(permit: Permit): void {
    const { gate } = this.#options
    const over = gate.leases.watch(permit, () => this.#kill('a call that was taken back was revoked or killed, and nothing but its end shows that a program stopped'))
    gate.ports.clock.after(permit.constraints.max_runtime_seconds * 1_000, over)
  }

  async #enforced(execution: ReturnType<typeof enforce<Answered>>, span: ExecutionSpan, hasRun: () => boolean): Promise<Answered> {
    try {
      const executed = await execution
      span.completed(executed)
      if (executed.value === undefined) throw new Denied('unavailable', 'the server did not answer')
      return executed.value
    } catch (error) {
      span.refused(error instanceof Denied ? error : new Denied('unavailable'), hasRun())
      throw error
    }
  }
}

/** What is recorded of an answer, and what of it may be passed on: one text serves both. */
function effectOf(reply: Reply, maxResultBytes: number): Effect<Answered> {
  const isError = 'error' in reply || reply.result['isError'] === true || reply.result['status'] === 'failed'
  const answer = answerOf(reply)
  const resultBytes = utf8(answer.text)
  if (resultBytes.length > maxResultBytes) return { outcome: 'failed', cause: 'limit_exceeded', resultBytes, value: tooLong(maxResultBytes) }
  return { outcome: isError ? 'failed' : 'completed', ...(isError ? { cause: 'tool_error' as const } : {}), resultBytes, value: { reply, answer } }
}

/** It ran; its result is recorded, and longer than may be passed on. */
function tooLong(maxResultBytes: number): Answered {
  const reply: Reply = { error: { code: -32603, message: `the result is longer than ${maxResultBytes} bytes, and was not passed on`, data: { code: 'limit_exceeded', hint: 'ask for less' } } }
  return { reply, answer: answerOf(reply) }
}
