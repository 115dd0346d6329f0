import * as http from 'node:http'
import * as https from 'node:https'
import { MAX_BUNDLE_LINE, utf8 } from '@sealwrit/protocol'

/** A body of so many characters leaves only when its length was not refused for so many milliseconds. */
const LONG = 1_048_576
const REFUSED_MS = 200

/** How long an answer is waited for, in milliseconds. */
export const ANSWER_MS = 10_000

/** One request as it leaves; null takes a header away that would be there. */
export interface Sent {
  readonly verb: string
  readonly path: string
  readonly headers: Readonly<Record<string, string | null>>
  readonly body: string | undefined
}

/** Sends requests as they are told, wrong or not, to one server. */
export class HttpSender {
  readonly #base: URL
  readonly #agent: http.Agent

  constructor(base: URL) {
    this.#base = base
    this.#agent = base.protocol === 'https:' ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true })
  }

  /** @returns undefined where no answer came */
  send({ verb, path, headers, body }: Sent): Promise<{ readonly status: number; readonly bytes: Uint8Array } | undefined> {
    const all = { host: this.#base.host, ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(utf8(body).length) }), ...headers }
    const given = Object.fromEntries(Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== null))
    const { request } = this.#base.protocol === 'https:' ? https : http
    return new Promise((resolve) => {
      let isAnswered = false
      const none = (): void => resolve(undefined)
      const asked = request(new URL(path, this.#base), { method: verb, headers: given, agent: this.#agent, setHost: false }, (response) => {
        isAnswered = true
        const chunks: Uint8Array[] = []
        let size = 0
        response.on('data', (chunk: Uint8Array) => {
          size += chunk.length
          if (size > MAX_BUNDLE_LINE) response.destroy()
          else chunks.push(chunk)
        })
        response.once('error', none)
        response.once('close', none)
        response.once('end', () => {
          resolve({ status: response.statusCode ?? 0, bytes: Buffer.concat(chunks) })
          if (!asked.writableEnded) asked.destroy() // the body is not wanted
        })
      })
      const late = setTimeout(() => asked.destroy(), ANSWER_MS) // however many bytes come meanwhile
      asked.once('close', () => clearTimeout(late))
      asked.on('error', () => {
        if (!isAnswered) none()
      })
      if (body === undefined || body.length < LONG) return void asked.end(body)
      // What is too long may be refused by its length, and the connection ended: who goes on writing would lose the answer.
      asked.flushHeaders()
      setTimeout(() => {
        if (!isAnswered) asked.end(body)
      }, REFUSED_MS)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

/** What `text` becomes: one piece of it another, longer than any limit, or the one item of a list. @throws {TypeError} where there is nothing to be replaced */
export function rewritten(text: string, { line, long, batch }: { readonly line?: readonly [string, string] | undefined; readonly long?: true | undefined; readonly batch?: true | undefined }): string {
  if (line !== undefined && !text.includes(line[0])) throw new TypeError(`${line[0]} is not in the request`)
  const out = line === undefined ? text : text.replace(line[0], () => line[1])
  if (batch === true) return `[${out}]`
  return long === true ? `${out.slice(0, -1)},"long":"${'x'.repeat(2_097_152)}"}` : out
}
