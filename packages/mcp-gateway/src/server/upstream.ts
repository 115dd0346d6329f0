import { canonicalText, Denied, type DenialCode, isObject, type JsonObject, type JsonValue, type Scope } from '@sealwrit/protocol'
import type { Asked, ClientFacts, Reply } from '../client/seat.ts'
import { BadMessage, type Message, parseServerMessage, type RequestId } from '../messages.ts'
import { CAPABILITIES_META, CLIENT_META, LOG_LEVEL_META, type Revision, SESSIONS, STATELESS, SUBSCRIPTION_META, VERSION_META } from '../revision.ts'
import type { OpenLink, Route, ServerLink } from './link.ts'

/** Requests to the server that may wait for an answer at once. */
export const MAX_IN_FLIGHT = 256
/** Requests of the server that may wait for an answer of the client at once. */
export const MAX_ASKED_BACK = 16
/** Requests that were given up and are remembered, so that a late answer finds what it is late for. */
export const MAX_GIVEN_UP = 1_024
/** Time for a list, a ping or an initialization, in milliseconds; calls have the time of their permit. */
const ANSWER_MS = 60_000

/** What goes along with one request to the server. */
export interface Sending {
  /** Which client it is for, and which of its capabilities the server is told of. */
  readonly client: ClientFacts
  readonly capabilities: JsonObject
  /** When it fires, the server is told to cancel and the answer is not waited for any more. Absent: it has {@link ANSWER_MS}. */
  readonly signal?: AbortSignal
  /** What the server is told beside it. */
  readonly meta?: JsonObject | undefined
  readonly logLevel?: string | undefined
  /** Takes what the server tells about this request; with it the server may be asked for progress. */
  readonly asked?: Asked | undefined
  readonly progress?: RequestId | undefined
  readonly notified?: (method: string, params: JsonObject) => void
  readonly route?: Pick<Route, 'name' | 'mirrored'>
  /** It is answered only when it ends, and the server may end it by a cancellation. */
  readonly isStream?: true
  /** What it executes, where it does: a late answer is recorded with it. */
  readonly scope?: Scope
}

export interface UpstreamEvents {
  /** A notification that belongs to no request that waits. */
  notification(method: string, params: JsonObject): void
  /** The server asks something. `related` is the request that it belongs to, as far as that can be told. */
  asked(method: string, params: JsonObject, signal: AbortSignal, related: Asked | undefined): Promise<Reply>
  /** What could not be judged, or is not governed. */
  bad(bad: BadMessage): void
  /** The server answered a request that had been ended. */
  late(code: DenialCode, scope: Scope | undefined): void
  closed(reason: string): void
}

interface Waiting {
  readonly sending: Sending
  readonly resolve: (answer: Reply) => void
  readonly reject: (error: Denied) => void
  readonly stop: () => void
}

/** The gateway's own requests to the server, under ids of its own: nothing of the client's framing gets through. */
export class Upstream {
  readonly #link: ServerLink
  readonly #events: UpstreamEvents
  readonly #waiting = new Map<number, Waiting>()
  readonly #givenUp = new Map<number, { readonly code: DenialCode; readonly scope: Scope | undefined }>()
  readonly #askedBack = new Map<RequestId, AbortController>()
  #revision: Revision | undefined
  #nextId = 1
  #open = true

  constructor(openLink: OpenLink, events: UpstreamEvents) {
    this.#events = events
    this.#link = openLink({
      message: (bytes, answers) => this.#message(bytes, answers),
      failed: (id, denied) => this.#settle(id, (waiting) => waiting.reject(denied)),
      closed: (reason) => this.#closed(reason),
    })
  }

  /** The revision that is spoken from now on; requests before it carry what they are given. */
  speak(revision: Revision): void {
    this.#revision = revision
  }

  /**
   * Sends one request. It is serialised here, from the value that was judged.
   * @param revision of this request, while none is agreed yet
   * @throws {Denied} `overloaded`, `unavailable` (the server is gone or does not answer), or why `signal` fired
   */
  request(method: string, params: JsonObject, sending: Sending, revision: Revision = this.#revision ?? SESSIONS): Promise<Reply> {
    if (!this.#open) return Promise.reject(new Denied('unavailable', 'the server is gone'))
    if (this.#waiting.size >= MAX_IN_FLIGHT) return Promise.reject(new Denied('overloaded', 'too many calls wait for the server'))
    const id = this.#nextId++
    const { signal } = sending
    return new Promise((resolve, reject) => {
      const giveUp = (reason: string): void => {
        const code = signal?.reason instanceof Denied ? signal.reason.code : 'unavailable'
        this.#settle(id, (waiting) => {
          this.#remember(id, code, sending.scope)
          if (revision === SESSIONS || this.#link.isShared === true) this.notify('notifications/cancelled', { requestId: id, reason }, revision)
          this.#link.drop(id)
          waiting.reject(new Denied(code, reason))
        })
      }
      if (signal?.aborted === true) return reject(new Denied(signal.reason instanceof Denied ? signal.reason.code : 'unavailable', 'ended before it was sent'))
      const meta = metaFor(revision, id, sending)
      const text = canonicalText({ jsonrpc: '2.0', id, method, params: meta === undefined ? params : { ...params, _meta: meta } })
      const timer = signal === undefined ? setTimeout(() => giveUp('no answer in time'), ANSWER_MS) : undefined
      timer?.unref()
      const onAbort = (): void => giveUp('ended by the gate')
      signal?.addEventListener('abort', onAbort, { once: true })
      const stop = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      this.#waiting.set(id, { sending, resolve, reject, stop })
      this.#link.send(text, { revision, id, method, ...sending.route })
    })
  }

  notify(method: string, params: JsonObject, revision: Revision = this.#revision ?? SESSIONS): void {
    if (this.#open) this.#link.send(canonicalText({ jsonrpc: '2.0', method, params }), { revision, method })
  }

  /** Whether a request of this revision is cancelled by the end of its own response, and so for certain: nothing else has to end with it. */
  cancelsAlone(revision: Revision): boolean {
    return revision === STATELESS && this.#link.isShared !== true
  }

  close(reason: string): void {
    this.#end()
    this.#link.close(reason)
  }

  /** Ends the server at once. */
  kill(reason: string): void {
    this.#end()
    this.#link.kill(reason)
  }

  // ---- what the server sends

  #message(bytes: Uint8Array, answers: number | undefined): void {
    if (!this.#open) return
    let message: Message
    try {
      message = parseServerMessage(bytes)
    } catch (error) {
      const bad = error instanceof BadMessage ? error : new BadMessage('unavailable', 'unforeseen')
      // An answer that cannot be read still ends its request; other noise is counted and dropped.
      const id = bad.id ?? answers ?? null
      if (!this.#answer(id, answers, { error: unreadable(bad) })) this.#events.bad(bad)
      return
    }
    switch (message.kind) {
      case 'result':
      case 'error': {
        const reply: Reply = message.kind === 'result' ? { result: message.result } : { error: message.error }
        if (!this.#answer(message.id, answers, reply)) this.#unexpected(message.id)
        return
      }
      case 'request':
        void this.#asked(message.id, message.method, message.params, answers)
        return
      case 'notification':
        return this.#notified(message.method, message.params, answers)
    }
  }

  /** Takes an answer; false when it answers nothing that was asked, or not what its response was for. */
  #answer(id: RequestId | null, answers: number | undefined, reply: Reply): boolean {
    if (typeof id !== 'number' || (answers !== undefined && answers !== id)) return false
    const isTaken = this.#settle(id, (waiting) => waiting.resolve(reply))
    if (isTaken) this.#link.answered?.(id)
    return isTaken
  }

  #unexpected(id: RequestId | null): void {
    const ended = typeof id === 'number' ? this.#givenUp.get(id) : undefined
    if (ended === undefined) return this.#events.bad(new BadMessage('method_unknown', 'an answer to nothing'))
    this.#givenUp.delete(id as number)
    this.#events.late(ended.code, ended.scope)
  }

  async #asked(id: RequestId, method: string, params: JsonObject, answers: number | undefined): Promise<void> {
    if (method === 'ping' && this.#revision !== STATELESS) return this.#reply(id, { result: {} })
    // The stateless revision has no requests by servers at all.
    if (this.#revision === STATELESS) {
      this.#reply(id, { error: { code: -32601, message: 'a server asks nothing by itself in this revision' } })
      return this.#events.bad(new BadMessage('method_unknown', 'a request by the server'))
    }
    if (this.#askedBack.size >= MAX_ASKED_BACK || this.#askedBack.has(id)) {
      this.#reply(id, { error: { code: -32600, message: 'too many requests of the server wait, or the id is in use' } })
      return this.#events.bad(new BadMessage('overloaded', 'requests by the server'))
    }
    const controller = new AbortController()
    this.#askedBack.set(id, controller)
    const reply = await this.#events.asked(method, params, controller.signal, this.#relatedTo(answers))
    this.#askedBack.delete(id)
    if (!controller.signal.aborted) this.#reply(id, reply)
  }

  #reply(id: RequestId, reply: Reply): void {
    if (this.#open) this.#link.send(canonicalText({ jsonrpc: '2.0', id, ...reply }), { revision: SESSIONS })
  }

  #notified(method: string, params: JsonObject, answers: number | undefined): void {
    if (method === 'notifications/cancelled') return this.#cancelled(params)
    const waiting = this.#addressee(method, params, answers)
    if (waiting?.sending.notified !== undefined) {
      const { progress, notified } = waiting.sending
      if (method !== 'notifications/progress') return notified(method, params)
      if (progress !== undefined) return notified(method, { ...params, progressToken: progress })
    }
    // Told on its way while its request was being ended: nobody's fault, and nobody's to hear.
    if (method === 'notifications/progress' && this.#givenUp.has(params['progressToken'] as number)) return
    this.#events.notification(method, params)
  }

  /** The request that a notification belongs to: by its token, its subscription, or the response that brought it. */
  #addressee(method: string, params: JsonObject, answers: number | undefined): Waiting | undefined {
    const meta = params['_meta']
    const named = method === 'notifications/progress' ? params['progressToken'] : isObject(meta) ? meta[SUBSCRIPTION_META] : undefined
    if (named !== undefined && (answers === undefined || answers === named)) return typeof named === 'number' ? this.#waiting.get(named) : undefined
    if (named !== undefined || answers === undefined) return undefined
    return this.#waiting.get(answers)
  }

  #relatedTo(answers: number | undefined): Asked | undefined {
    if (answers !== undefined) return this.#waiting.get(answers)?.sending.asked
    const asked = [...this.#waiting.values()].flatMap(({ sending }) => (sending.asked === undefined || sending.scope === undefined ? [] : [sending.asked]))
    return asked.length === 1 ? asked[0] : undefined
  }

  /** The server takes back what it asked, or ends a subscription. */
  #cancelled(params: JsonObject): void {
    const id = params['requestId'] as JsonValue | undefined
    if (typeof id === 'string' || typeof id === 'number') {
      const asked = this.#askedBack.get(id)
      if (asked !== undefined) return asked.abort(new Denied('unavailable', 'cancelled by the server'))
      if (this.#revision === STATELESS && this.#waiting.get(id as number)?.sending.isStream === true && this.#answer(id, undefined, { result: { resultType: 'complete' } })) return
    }
    this.#events.bad(new BadMessage('method_unknown', 'a cancellation of nothing'))
  }

  // ---- ends

  #settle(id: number, settle: (waiting: Waiting) => void): boolean {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return false
    this.#waiting.delete(id)
    waiting.stop()
    settle(waiting)
    return true
  }

  #remember(id: number, code: DenialCode, scope: Scope | undefined): void {
    this.#givenUp.set(id, { code, scope })
    if (this.#givenUp.size > MAX_GIVEN_UP) this.#givenUp.delete(this.#givenUp.keys().next().value as number)
  }

  #closed(reason: string): void {
    if (!this.#open) return
    this.#end()
    this.#events.closed(reason)
  }

  /** The server is gone, or is to be: whatever waits ends now. */
  #end(): void {
    this.#open = false
    for (const id of [...this.#waiting.keys()]) this.#settle(id, (waiting) => waiting.reject(new Denied('unavailable', 'the server is gone')))
    for (const asked of this.#askedBack.values()) asked.abort(new Denied('unavailable', 'the server is gone'))
    this.#askedBack.clear()
  }
}

/** The `_meta` of a request to the server. Nothing of the client's own goes into it but what the revision defines. */
function metaFor(revision: Revision, id: number, { client, capabilities, meta, logLevel, progress, notified }: Sending): JsonObject | undefined {
  const progressToken = progress === undefined || notified === undefined ? {} : { progressToken: id }
  if (revision === SESSIONS) return meta === undefined && progress === undefined ? undefined : { ...meta, ...progressToken }
  return {
    ...meta,
    ...progressToken,
    [VERSION_META]: STATELESS,
    [CLIENT_META]: { name: client.name, version: client.version },
    [CAPABILITIES_META]: capabilities,
    ...(logLevel === undefined ? {} : { [LOG_LEVEL_META]: logLevel }),
  }
}

/** What a client is told of an answer that cannot be passed on. */
export function unreadable(bad: Denied): JsonObject {
  return { code: -32603, message: `the server's answer was refused: ${bad.message}`, data: { code: bad.code, hint: bad.hint } }
}
