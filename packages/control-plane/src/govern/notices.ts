import { canonicalText, type JsonObject, parseStrictText, present, quoted, toHex, utf8 } from '@sealwrit/protocol'
import { post } from '../anchor/post.ts'
import { shownUrl } from '../anchor/sink.ts'
import type { Held } from '../log/approvals.ts'
import type { PlaneClock } from '../ports.ts'
import type { Store } from '../store/store.ts'

/** What became of a hold. */
export type HoldEvent = 'opened' | 'approved' | 'rejected' | 'expired'

/** Notices that may wait; beyond it new ones are dropped, and that is reported. */
export const MAX_NOTICES = 1_024
/** Times that one notice is tried, and the waits in between, which double, in milliseconds. */
export const MAX_TRIES = 6
const FIRST_WAIT_MS = 1_000
/** Time for one try, and bytes of an answer that are read. */
const TIMEOUT_MS = 10_000
const MAX_ANSWER_BYTES = 65_536
/** Holds of which it is remembered that they were told, so that one that is asked for again is told once. */
const MAX_TOLD = 10_000

export interface Webhook {
  /** https, or http on this machine. */
  readonly url: URL
  /** HMAC-SHA256 under the shared secret. */
  readonly hmac: (message: Uint8Array) => Uint8Array
  /** Whether the arguments go along; otherwise only names and ids do. */
  readonly withArguments: boolean
  readonly report: (sentence: string) => void
}

export interface NoticePorts {
  readonly clock: PlaneClock
  readonly store: Store
  readonly origin: string
  readonly tenant: string
}

/** The header that signs a notice: `t=SECONDS,v1=HEX` over `SECONDS.BODY`. */
export const SIGNATURE_HEADER = 'sealwrit-signature'

/** Tells a webhook of holds, one at a time and in order: bounded, retried, and never in anybody's way. */
export class Notices {
  readonly #hook: Webhook
  readonly #ports: NoticePorts
  readonly #queue: string[] = []
  readonly #told = new Set<string>()
  readonly #closing = new AbortController()
  #isSending = false
  #dropped = 0

  constructor(hook: Webhook, ports: NoticePorts) {
    this.#hook = hook
    this.#ports = ports
  }

  async tell(held: Held, event: HoldEvent): Promise<void> {
    if (event === 'opened') {
      if (this.#told.has(held.id)) return
      if (this.#told.size >= MAX_TOLD) this.#told.delete(this.#told.values().next().value as string)
      this.#told.add(held.id)
    }
    if (this.#queue.length >= MAX_NOTICES) {
      if (this.#dropped++ === 0) this.#hook.report(`notices for ${shownUrl(this.#hook.url)} are dropped: ${MAX_NOTICES} wait already`)
      return
    }
    this.#queue.push(canonicalText(await this.#notice(held, event)))
    if (this.#isSending) return
    this.#isSending = true
    void this.#drain()
  }

  async #notice(held: Held, event: HoldEvent): Promise<JsonObject> {
    const { id: hold, seq, timeMs: time, sub, act, aud, scope, risk, demand, determining, given } = held
    const text = this.#hook.withArguments ? (await this.#ports.store.bodies(seq)).find(({ purpose }) => purpose === 'action')?.text : undefined
    const action = text === undefined ? undefined : (parseStrictText(text) as JsonObject)
    return present<JsonObject>({
      v: 1, event: `hold.${event}`, origin: this.#ports.origin, tenant: this.#ports.tenant, hold, seq, time, sub, act: { ...act }, aud, scope: { ...scope }, risk,
      policies: [...determining], groups: [...demand.groups], quorum: demand.quorum, expires: demand.expires, approvals: given.length, arguments: action?.['arguments'], input_responses: action?.['input_responses'], request_state: action?.['request_state'], task: action?.['task'],
    })
  }

  async #drain(): Promise<void> {
    for (let text = this.#queue[0]; text !== undefined && !this.#closing.signal.aborted; text = this.#queue[0]) {
      await this.#deliver(text)
      this.#queue.shift()
    }
    this.#isSending = false
    this.#dropped = 0
  }

  /** Tries until it is taken, or too often; never throws. */
  async #deliver(text: string): Promise<void> {
    for (let attempt = 0; attempt < MAX_TRIES && !this.#closing.signal.aborted; attempt++) {
      try {
        const seconds = Math.floor(this.#ports.clock.wallMs() / 1_000) // of this try: an old notice cannot be played again as a new one
        const signature = `t=${seconds},v1=${toHex(this.#hook.hmac(utf8(`${seconds}.${text}`)))}`
        await post(this.#hook.url, utf8(text), { contentType: 'application/json', accept: '*/*', maxBytes: MAX_ANSWER_BYTES, timeoutMs: TIMEOUT_MS, signal: this.#closing.signal, headers: { [SIGNATURE_HEADER]: signature } })
        return
      } catch (error) {
        if (this.#closing.signal.aborted) return
        const isLast = attempt === MAX_TRIES - 1
        if (attempt === 0 || isLast) this.#hook.report(`the webhook ${shownUrl(this.#hook.url)} was not told of a hold${isLast ? `; given up after ${MAX_TRIES} tries` : ''}: ${error instanceof Error ? quoted(error.message) : 'unknown error'}`)
        if (!isLast) await this.#wait(FIRST_WAIT_MS * 2 ** attempt)
      }
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const { signal } = this.#closing
      const cancel = this.#ports.clock.after(ms, resolve)
      signal.addEventListener('abort', () => (cancel(), resolve()), { once: true })
    })
  }

  /** Nothing is sent any more; what was not told stands in the log. */
  async close(): Promise<void> {
    this.#closing.abort()
  }
}
