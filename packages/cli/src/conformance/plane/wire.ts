import * as net from 'node:net'
import { ADDRESSES } from '@sealwrit/control-plane/client'
import { isObject, type JsonLimits, type JsonObject, type JsonValue, LineReader, MAX_BUNDLE_LINE, parseStrict } from '@sealwrit/protocol'
import { memberText } from '../../output.ts'
import { ANSWER_MS, HttpSender, rewritten } from '../http.ts'
import type { PlaneDo } from '../rules.ts'

/** Longest answer that is read. */
const LIMITS: JsonLimits = { maxBytes: MAX_BUNDLE_LINE, maxDepth: 64, maxMembers: 1_000_000 }

/** What came back: a result, a refusal with its code (or without), or nothing. */
export type Reply = { readonly result: JsonObject } | { readonly refused: string }

export type As = PlaneDo['as']
/** What is done to the bytes of one request. */
export type Wrong = Pick<PlaneDo, 'line' | 'long' | 'batch' | 'http'>

/** A plane, however it is reached. */
export interface PlaneWire {
  readonly over: 'http' | 'socket'
  /** @param newest size of the newest tree that `as` knows, for a plane that keeps no connection */
  ask(as: As, method: string, params: JsonObject, newest: number, wrong?: Wrong): Promise<Reply>
  /** Hears what the plane tells unasked. */
  told: (as: As, event: JsonObject) => void
  /** Ends the connection of `as`; the next question begins another one. */
  drop(as: As): void
  close(): void
}

/** Lines of JSON-RPC; each who asks has a connection, and asks one thing at a time. */
export class SocketWire implements PlaneWire {
  readonly over = 'socket'
  told: PlaneWire['told'] = () => undefined
  readonly #path: string
  readonly #connections = new Map<As, { readonly socket: net.Socket; settle: (answer: JsonValue | undefined) => void }>()
  #nextId = 1

  constructor(path: string) {
    this.#path = path
  }

  async ask(as: As, method: string, params: JsonObject, _newest: number, wrong: Wrong = {}): Promise<Reply> {
    const text = rewritten(JSON.stringify({ jsonrpc: '2.0', id: this.#nextId++, method, params }), wrong)
    const connection = this.#connections.get(as) ?? this.#connect(as)
    const answer = await new Promise<JsonValue | undefined>((resolve) => {
      const timer = setTimeout(() => {
        connection.settle(undefined)
        this.drop(as) // what comes late is no answer to the next question
      }, ANSWER_MS)
      connection.settle = (value) => {
        clearTimeout(timer)
        resolve(value)
      }
      connection.socket.write(`${text}\n`)
    })
    if (!isObject(answer)) return { refused: '' }
    if (isObject(answer['result'])) return { result: answer['result'] }
    const error = answer['error']
    return { refused: isObject(error) && isObject(error['data']) ? memberText(error['data']['code']) : '' }
  }

  #connect(as: As): { readonly socket: net.Socket; settle: (answer: JsonValue | undefined) => void } {
    const socket = net.connect({ path: this.#path })
    const connection = { socket, settle: (_answer: JsonValue | undefined): void => undefined }
    const over = (): void => {
      if (this.#connections.get(as) === connection) this.#connections.delete(as)
      socket.destroy()
      connection.settle(undefined)
    }
    const reader = new LineReader(LIMITS.maxBytes, (line) => {
      const message = parseStrict(line, LIMITS)
      if (!isObject(message) || !('method' in message)) connection.settle(message)
      else if (isObject(message['params'])) this.told(as, message['params'])
    })
    socket.on('data', (chunk) => {
      try {
        reader.push(chunk)
      } catch {
        over()
      }
    })
    socket.once('error', over)
    socket.once('close', over)
    this.#connections.set(as, connection)
    return connection
  }

  drop(as: As): void {
    this.#connections.get(as)?.socket.destroy()
    this.#connections.delete(as)
  }

  close(): void {
    for (const { socket } of this.#connections.values()) socket.destroy()
  }
}

/** Requests over HTTP, under the bearer token of the first run. */
export class HttpWire implements PlaneWire {
  readonly over = 'http'
  told: PlaneWire['told'] = () => undefined
  readonly #token: string | undefined
  readonly #sender: HttpSender

  constructor(url: URL, token: string | undefined) {
    this.#token = token
    this.#sender = new HttpSender(url)
  }

  async ask(_as: As, method: string, params: JsonObject, newest: number, wrong: Wrong = {}): Promise<Reply> {
    const [verb, template] = (Object.hasOwn(SERVED, method) ? SERVED[method as keyof typeof SERVED] : `POST /v1/${method}`).split(' ') as [string, string]
    const rest = new Map(Object.entries(params))
    const path = template.replaceAll(/:(\w+)/g, (_all, name: string) => {
      const value = memberText(rest.get(name))
      rest.delete(name)
      return encodeURIComponent(value)
    })
    const body = verb === 'POST' ? rewritten(JSON.stringify(Object.fromEntries(rest)), wrong) : undefined
    const query = verb === 'POST' ? (newest > 0 && WITH_NEWEST.has(method) ? `?newest=${newest}` : '') : rest.size === 0 ? '' : `?${new URLSearchParams([...rest].map(([name, value]) => [name, memberText(value)])).toString()}`
    const headers = { accept: 'application/json', ...(this.#token === undefined ? {} : { authorization: `Bearer ${this.#token}` }), ...wrong.http?.headers }
    const answer = await this.#sender.send({ verb: wrong.http?.verb ?? verb, path: wrong.http?.path ?? `${path}${query}`, headers, body })
    return answer === undefined ? { refused: '' } : readReply(answer.status, answer.bytes)
  }

  drop(): void {} // there is none

  close(): void {
    this.#sender.close()
  }
}

/** Where HTTP serves each method; a body of `authorize` with an audience is an `issue`. */
const SERVED = { ...ADDRESSES, issue: ADDRESSES.authorize } as const
/** Questions whose answers are proved from the newest tree that the asker knows. */
const WITH_NEWEST: ReadonlySet<string> = new Set(['gates.enrol', 'authorize', 'issue', 'redeem', 'leases.renew'])

function readReply(status: number, bytes: Uint8Array): Reply {
  let value: JsonValue
  try {
    value = parseStrict(bytes, LIMITS)
  } catch {
    return status >= 400 ? { refused: '' } : { result: {} }
  }
  if (status >= 200 && status < 300) return { result: isObject(value) ? value : {} }
  return { refused: isObject(value) ? memberText(value['code']) : '' }
}
