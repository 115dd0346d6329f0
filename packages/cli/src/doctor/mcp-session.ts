import type { Readable, Writable } from 'node:stream'
import { memberText } from '../output.ts'
import { Denied, isObject, type JsonObject, LineReader, parseStrict } from '@sealwrit/protocol'

const ANSWER_MS = 20_000
const LIMITS = { maxBytes: 16_777_216, maxDepth: 64, maxMembers: 200_000 }

/** The client's end of a stdio MCP connection, as small as `doctor` and `demo` need it. */
export class McpSession {
  readonly #output: Writable
  readonly #waiting = new Map<number, { resolve: (answer: JsonObject) => void; reject: (error: Error) => void }>()
  #nextId = 1
  #hasEnded = false

  constructor(input: Readable, output: Writable) {
    this.#output = output
    const reader = new LineReader(LIMITS.maxBytes, (line) => this.#receive(line))
    input.on('data', (chunk: Buffer) => {
      try {
        if (!this.#hasEnded) reader.push(chunk)
      } catch {
        this.#fail() // what is no message ends it: nothing that comes after it is believed
      }
    })
    input.once('close', () => this.#fail())
    input.once('end', () => this.#fail())
  }

  async initialize(name: string): Promise<void> {
    const answer = await this.request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name, version: '1' } })
    if (!isObject(answer['result'])) throw new Denied('unavailable', 'the server did not initialize')
    this.#send({ jsonrpc: '2.0', method: 'notifications/initialized' })
  }

  /** Calls a tool. @param meta what goes along in `_meta` @returns the denial code, or undefined when it ran without an error */
  async call(name: string, args: JsonObject, meta?: JsonObject): Promise<string | undefined> {
    const { result, error } = (await this.request('tools/call', { name, arguments: args, ...(meta === undefined ? {} : { _meta: meta }) })) as { result?: JsonObject; error?: JsonObject }
    const told = result?.['_meta']
    const carrier = result === undefined ? error?.['data'] : isObject(told) ? told['sealwrit/denial'] : undefined
    if (isObject(carrier)) return memberText(carrier['code'])
    return result === undefined || result['isError'] === true ? 'tool_error' : undefined
  }

  request(method: string, params: JsonObject): Promise<JsonObject> {
    if (this.#hasEnded) return Promise.reject(new Denied('unavailable', 'the gateway ended'))
    const id = this.#nextId++
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Denied('unavailable', 'no answer in time')), ANSWER_MS)
      const settle = <T>(act: (value: T) => void) => (value: T): void => {
        clearTimeout(timer)
        act(value)
      }
      this.#waiting.set(id, { resolve: settle(resolve), reject: settle(reject) })
      this.#send({ jsonrpc: '2.0', id, method, params })
    })
  }

  #send(message: object): void {
    this.#output.write(`${JSON.stringify(message)}\n`)
  }

  #receive(line: Uint8Array): void {
    const message = parseStrict(line, LIMITS)
    const id = isObject(message) ? message['id'] : undefined
    const waiting = typeof id === 'number' ? this.#waiting.get(id) : undefined
    if (waiting === undefined) return
    this.#waiting.delete(id as number)
    waiting.resolve(message as JsonObject)
  }

  #fail(): void {
    this.#hasEnded = true
    for (const waiting of this.#waiting.values()) waiting.reject(new Denied('unavailable', 'the gateway ended'))
    this.#waiting.clear()
  }
}
