import * as net from 'node:net'
import { Denied, isDenialCode, isObject, type JsonValue, LineReader, parseStrict } from '@sealwrit/protocol'
import type { MethodName, PlaneMethods } from '../rpc/api.ts'
import { ANSWER_LIMITS, DEADLINE_MS, type PlaneClient, PlaneUnreachable } from './ask.ts'

/** Questions of one client that wait for their answers. */
const MAX_WAITING = 1_024

interface Waiting {
  readonly settle: (answer: JsonValue | Error) => void
  readonly timer: NodeJS.Timeout
}

/** A plane's own socket: whoever may open it is its owner. It connects with the first question. */
export class SocketClient implements PlaneClient {
  readonly #path: string
  readonly #deadlineMs: number
  readonly #waiting = new Map<number, Waiting>()
  #socket: net.Socket | undefined
  #nextId = 1

  constructor(path: string, deadlineMs: number = DEADLINE_MS) {
    this.#path = path
    this.#deadlineMs = deadlineMs
  }

  readonly request = <M extends MethodName>(method: M, params: PlaneMethods[M]['params']): Promise<PlaneMethods[M]['result']> => {
    if (this.#waiting.size >= MAX_WAITING) return Promise.reject(new Denied('overloaded'))
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#settle(id, this.#unreachable()), this.#deadlineMs)
      const settle = (answer: JsonValue | Error): void => (answer instanceof Error ? reject(answer) : resolve(answer as PlaneMethods[M]['result']))
      this.#waiting.set(id, { settle, timer })
      this.#connected().write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
    })
  }

  close(): void {
    this.#socket?.destroy()
    this.#failed()
  }

  #connected(): net.Socket {
    if (this.#socket !== undefined) return this.#socket
    const socket = net.connect({ path: this.#path })
    const reader = new LineReader(ANSWER_LIMITS.maxBytes, (bytes) => this.#answered(bytes))
    const failed = (): void => {
      socket.destroy()
      if (this.#socket === socket) this.#failed()
    }
    socket.on('data', (chunk) => {
      try {
        reader.push(chunk)
      } catch {
        failed() // a line that is longer than any answer
      }
    })
    socket.once('error', failed)
    socket.once('close', failed)
    this.#socket = socket
    return socket
  }

  #answered(bytes: Uint8Array): void {
    try {
      const line = parseStrict(bytes, ANSWER_LIMITS)
      if (!isObject(line) || typeof line['id'] !== 'number') return // an event, or what answers nothing that was asked
      const { id, result, error } = line
      const data = isObject(error) ? error['data'] : undefined
      const code = isObject(data) ? data['code'] : undefined
      this.#settle(id, result ?? new Denied(isDenialCode(code) ? code : 'unavailable'))
    } catch {
      this.#socket?.destroy() // nothing that is believed comes after it
    }
  }

  #settle(id: number, answer: JsonValue | Error): void {
    const waiting = this.#waiting.get(id)
    if (waiting === undefined) return
    this.#waiting.delete(id)
    clearTimeout(waiting.timer)
    waiting.settle(answer)
  }

  #failed(): void {
    this.#socket = undefined
    for (const id of [...this.#waiting.keys()]) this.#settle(id, this.#unreachable())
  }

  #unreachable(): PlaneUnreachable {
    return new PlaneUnreachable(`no plane answers on ${this.#path}`)
  }
}
