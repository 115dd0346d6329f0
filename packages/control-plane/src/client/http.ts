import * as http from 'node:http'
import * as https from 'node:https'
import { Denied, isDenialCode, isObject, type JsonObject, type JsonValue, parseStrict } from '@sealwrit/protocol'
import type { PlaneMethods } from '../rpc/api.ts'
import { ADDRESSES, type ServedMethod } from './addresses.ts'
import { ANSWER_LIMITS, DEADLINE_MS, type PlaneClient, PlaneUnreachable } from './ask.ts'

export interface HttpClientOptions {
  /** Such as `http://127.0.0.1:4180`. */
  readonly url: string
  /** The first-run token of the plane. */
  readonly token: string
  readonly deadlineMs?: number
}

/** A plane over HTTP. */
export class HttpClient implements PlaneClient<ServedMethod> {
  readonly #options: HttpClientOptions
  readonly #base: URL
  readonly #agent: http.Agent

  /** @throws {TypeError} where `url` is none of http or https */
  constructor(options: HttpClientOptions) {
    this.#options = options
    this.#base = new URL(options.url)
    if (this.#base.protocol !== 'http:' && this.#base.protocol !== 'https:') throw new TypeError('a plane is served over http or https')
    this.#agent = this.#base.protocol === 'https:' ? new https.Agent({ keepAlive: true }) : new http.Agent({ keepAlive: true })
  }

  readonly request = <M extends ServedMethod>(method: M, params: PlaneMethods[M]['params']): Promise<PlaneMethods[M]['result']> => {
    const { verb, path, body } = requestOf(ADDRESSES[method], params as JsonObject)
    return this.#ask(verb, path, body) as Promise<PlaneMethods[M]['result']>
  }

  close(): void {
    this.#agent.destroy()
  }

  #ask(verb: string, path: string, body: string | undefined): Promise<JsonValue> {
    const { token, deadlineMs = DEADLINE_MS } = this.#options
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }) }
    return new Promise((resolve, reject) => {
      const fail = (): void => reject(new PlaneUnreachable(`no plane answers at ${this.#base.origin}`))
      const { request } = this.#base.protocol === 'https:' ? https : http
      const asked = request(new URL(path, this.#base), { method: verb, headers, agent: this.#agent, signal: AbortSignal.timeout(deadlineMs) }, (response) => {
        const chunks: Buffer[] = []
        let size = 0
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > ANSWER_LIMITS.maxBytes) asked.destroy()
          else chunks.push(chunk)
        })
        response.once('error', fail)
        response.once('end', () => {
          try {
            const value = parseStrict(Buffer.concat(chunks), ANSWER_LIMITS)
            if (response.statusCode === 200) resolve(value)
            else reject(refusalOf(value))
          } catch {
            fail() // whatever answers there, it is no plane
          }
        })
      })
      asked.once('error', fail)
      asked.end(body)
    })
  }
}

/** Members that the address names stand in it; the others are the query, or the body where there is one. */
function requestOf(address: string, params: JsonObject): { verb: string; path: string; body: string | undefined } {
  const [verb, template] = address.split(' ') as [string, string]
  const rest = new Map(Object.entries(params).filter(([, value]) => value !== undefined))
  const path = template.replaceAll(/:(\w+)/g, (_all, name: string) => {
    const value = rest.get(name)
    rest.delete(name)
    return encodeURIComponent(String(value))
  })
  if (verb === 'POST') return { verb, path, body: JSON.stringify(Object.fromEntries(rest)) }
  const query = new URLSearchParams([...rest].map(([name, value]) => [name, String(value)])).toString()
  return { verb, path: query === '' ? path : `${path}?${query}`, body: undefined }
}

/** What a problem document refuses with. @see RFC 9457 */
function refusalOf(value: JsonValue): Denied {
  const code = isObject(value) ? value['code'] : undefined
  return new Denied(isDenialCode(code) ? code : 'unavailable')
}
