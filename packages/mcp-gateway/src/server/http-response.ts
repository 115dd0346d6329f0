import { Denied } from '@sealwrit/protocol'
import type { Dispatcher } from 'undici'
import { MAX_SERVER_LINE } from '../messages.ts'
import { Bytes } from '../bytes.ts'
import { SseReader } from './sse.ts'

/** Longest body of an error status, and of an answer to what has none, in bytes. */
export const MAX_SIDE_BODY = 65_536

type Controller = Dispatcher.DispatchController
type Headers = Readonly<Record<string, string | string[] | undefined>>

/** What one response of a server tells. */
export interface ResponseEvents {
  /** Status and headers are there. What it throws ends the response. */
  started?(status: number, header: (name: string) => string | undefined): void
  /** One message, as bytes. */
  message(bytes: Uint8Array): void
  /** The body of an error status, where it is JSON; undefined otherwise. */
  refused(status: number, body: Uint8Array | undefined): void
  id?(id: string | undefined): void
  retry?(ms: number): void
  /** Nothing comes any more. `broken` says why, where it did not end by itself. */
  ended(broken: Denied | undefined): void
}

/**
 * Reads one response: JSON, or a stream of events; bounded in all its parts. Redirects are not followed, encodings not undone, and a
 * response that is neither is not read.
 */
export class ResponseReader implements Dispatcher.DispatchHandler {
  readonly #events: ResponseEvents
  readonly #wants: 'answer' | 'stream' | 'nothing'
  #controller: Controller | undefined
  #status = 0
  #body: Bytes | SseReader | undefined
  #read = 0
  #isOver = false

  /** @param wants an answer as JSON or stream, a stream alone, or nothing but that it was taken */
  constructor(wants: 'answer' | 'stream' | 'nothing', events: ResponseEvents) {
    this.#wants = wants
    this.#events = events
  }

  /** Nobody reads it any more: its connection ends. */
  abort(): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#controller?.abort(new Error('not waited for any more'))
  }

  onRequestStart(controller: Controller): void {
    this.#controller = controller
    if (this.#isOver) controller.abort(new Error('not waited for any more'))
  }

  onResponseStart(controller: Controller, status: number, headers: Headers): void {
    if (status < 200) return
    this.#status = status
    this.#guarded(controller, () => this.#begin(status, headers))
  }

  onResponseData(controller: Controller, chunk: Uint8Array): void {
    this.#guarded(controller, () => {
      const body = this.#body
      if (body instanceof SseReader) body.push(chunk)
      else if (body !== undefined) {
        if (!body.append(chunk)) throw new Denied('limit_exceeded', 'the server sent more than a message may hold')
      } else if ((this.#read += chunk.length) > MAX_SIDE_BODY) throw new Denied('limit_exceeded', 'the server sent a body that nobody asked for')
    })
  }

  onResponseEnd(controller: Controller): void {
    this.#guarded(controller, () => {
      const body = this.#body instanceof Bytes ? this.#body.take() : undefined
      this.#isOver = true
      if (this.#status >= 300) this.#events.refused(this.#status, body)
      else if (body !== undefined) this.#events.message(body)
      this.#events.ended(undefined)
    })
  }

  onResponseError(_controller: Controller, error: Error): void {
    this.#end(new Denied('unavailable', `the server cannot be reached, or broke off: ${reason(error)}`))
  }

  #begin(status: number, headers: Headers): void {
    const header = (name: string): string | undefined => {
      const value = headers[name]
      if (Array.isArray(value)) throw new Denied('unavailable', `the server answered with two ${name} headers`)
      return value
    }
    if (status >= 300 && status < 400) throw new Denied('unavailable', 'the server answered with a redirect, which is not followed')
    const encoding = header('content-encoding')
    if (encoding !== undefined && encoding !== 'identity') throw new Denied('encoding_invalid', 'the server answered in an encoding that was not asked for')
    this.#events.started?.(status, header)
    const type = header('content-type')?.split(';', 1)[0]?.trim().toLowerCase()
    if (status >= 400) {
      if (type === 'application/json') this.#body = new Bytes(MAX_SIDE_BODY)
      return
    }
    if (this.#wants === 'nothing') return
    if (type === 'text/event-stream') this.#body = new SseReader(MAX_SERVER_LINE, { data: (bytes) => this.#events.message(bytes), id: (id) => this.#events.id?.(id), retry: (ms) => this.#events.retry?.(ms) })
    else if (type === 'application/json' && this.#wants === 'answer') {
      const bytes = new Bytes(MAX_SERVER_LINE)
      bytes.expect(Number(header('content-length') ?? 0))
      this.#body = bytes
    } else throw new Denied('unavailable', `the server answered ${status} with neither JSON nor an event stream`)
  }

  /** Whatever goes wrong with a response ends it, and nothing else. */
  #guarded(controller: Controller, run: () => void): void {
    if (this.#isOver) return
    try {
      run()
    } catch (error) {
      this.#end(error instanceof Denied ? error : new Denied('unavailable', 'unforeseen'))
      controller.abort(new Error('not acceptable'))
    }
  }

  #end(broken: Denied): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#events.ended(broken)
  }
}

/** A system's code, never its text: that may hold what was sent. */
function reason(error: Error): string {
  const { code } = error as NodeJS.ErrnoException
  return typeof code === 'string' && /^[A-Z_]{1,64}$/.test(code) ? code : 'the connection ended'
}
