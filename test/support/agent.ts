import type { ChildProcess } from 'node:child_process'
import { createInterface } from 'node:readline'

/** A small MCP client on a process's pipes; answers are looked up by id. */
export class Agent {
  readonly #child: ChildProcess
  readonly #waiting = new Map<number, (answer: Record<string, unknown> | undefined) => void>()
  #nextId = 1

  constructor(child: ChildProcess) {
    this.#child = child
    if (child.stdout === null) throw new Error('no pipe')
    createInterface({ input: child.stdout }).on('line', (line) => {
      const message = JSON.parse(line) as { id?: number } & Record<string, unknown>
      if (message.id !== undefined) this.#settle(message.id, message)
    })
    child.stdin?.on('error', () => undefined)
    child.once('exit', () => {
      for (const id of this.#waiting.keys()) this.#settle(id, undefined)
    })
  }

  #settle(id: number, answer: Record<string, unknown> | undefined): void {
    this.#waiting.get(id)?.(answer)
    this.#waiting.delete(id)
  }

  /** Resolves with the answer, or undefined when the other end is gone. */
  request(method: string, params: object): Promise<Record<string, unknown> | undefined> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return Promise.resolve(undefined)
    const id = this.#nextId++
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve)
      this.#child.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
    })
  }

  async initialize(): Promise<boolean> {
    const answer = await this.request('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'sweep', version: '1' } })
    this.#child.stdin?.write(`${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/initialized' })}\n`)
    return answer?.['result'] !== undefined
  }

  /** Calls the canary's tool. @returns `ran`, a denial code, or `gone` */
  async touch(id: string): Promise<string> {
    const answer = await this.request('tools/call', { name: 'touch', arguments: { id } })
    if (answer === undefined) return 'gone'
    const result = answer['result'] as { _meta?: { 'sealwrit/denial'?: { code: string } } } | undefined
    const data = (answer['error'] as { data?: { code?: string } } | undefined)?.data
    return result?._meta?.['sealwrit/denial']?.code ?? data?.code ?? (result === undefined ? 'error' : 'ran')
  }
}
