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

  /**
   * The evidence bundle of an execution, an entry, or `all`, as it arrives: write it to a file as it is. One that breaks off is not whole, and does not verify.
   * @param since an earlier signed checkpoint to link it with
   * @throws {Denied} what the plane refuses with @throws {PlaneUnreachable}
   */
  async *evidence(id: string, since?: string): AsyncGenerator<Uint8Array> {
    const response = await this.#open('GET', `/v1/evidence/${encodeURIComponent(id)}${since === undefined ? '' : `?since=${encodeURIComponent(since)}`}`, undefined)
    if (response.statusCode !== 200) throw refusalOf(await this.#whole(response))
    try {
      for await (const chunk of response) yield chunk as Uint8Array
    } catch {
      throw this.#unreachable()
    }
  }

  close(): void {
    this.#agent.destroy()
  }

  async #ask(verb: string, path: string, body: string | undefined): Promise<JsonValue> {
    const response = await this.#open(verb, path, body)
    const value = await this.#whole(response)
    if (response.statusCode !== 200) throw refusalOf(value)
    return value
  }

  #open(verb: string, path: string, body: string | undefined): Promise<http.IncomingMessage> {
    const { token, deadlineMs = DEADLINE_MS } = this.#options
    const headers = { authorization: `Bearer ${token}`, accept: 'application/json', ...(body === undefined ? {} : { 'content-type': 'application/json', 'content-length': String(Buffer.byteLength(body)) }) }
    return new Promise((resolve, reject) => {
      const { request } = this.#base.protocol === 'https:' ? https : http
      const asked = request(new URL(path, this.#base), { method: verb, headers, agent: this.#agent, timeout: deadlineMs }, resolve)
      asked.once('timeout', () => asked.destroy()) // nothing was heard for that long
      asked.once('error', () => reject(this.#unreachable()))
      asked.end(body)
    })
  }

  async #whole(response: http.IncomingMessage): Promise<JsonValue> {
    const chunks: Uint8Array[] = []
    let size = 0
    try {
      for await (const chunk of response as AsyncIterable<Uint8Array>) {
        size += chunk.length
        if (size > ANSWER_LIMITS.maxBytes) throw new Denied('limit_exceeded')
        chunks.push(chunk)
      }
      return parseStrict(Buffer.concat(chunks), ANSWER_LIMITS)
    } catch {
      throw this.#unreachable() // whatever answers there, it is no plane
    }
  }

  #unreachable(): PlaneUnreachable {
    return new PlaneUnreachable(`no plane answers at ${this.#base.origin}`)
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
