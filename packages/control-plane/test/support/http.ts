import * as http from 'node:http'
import { type HttpOptions, type Plane, serveHttp } from '@sealwrit/control-plane'
import type { JsonObject } from '@sealwrit/protocol'

export const TOKEN = 'the-first-run-token'

export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
}

/** A plane's HTTP on a free port of loopback, asked over real connections. */
export class Served {
  readonly port: number
  readonly close: () => Promise<void>

  private constructor(port: number, close: () => Promise<void>) {
    this.port = port
    this.close = close
  }

  static async open(plane: Plane, options: Partial<HttpOptions> = {}, expose?: () => Promise<{ contentType: string; text: string }>): Promise<Served> {
    const { url, close } = await serveHttp([{ plane, token: TOKEN, isLogPublic: false, expose }], { host: '127.0.0.1', port: 0, ...options })
    return new Served(Number(new URL(url).port), close)
  }

  /** @param body sent as JSON, or as it is where it is text or bytes */
  ask(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const bytes = body === undefined || typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body)
    return new Promise((resolve, reject) => {
      const all = { authorization: `Bearer ${TOKEN}`, ...(bytes === undefined ? {} : { 'content-type': 'application/json' }), ...headers }
      const request = http.request({ host: '127.0.0.1', port: this.port, method, path, headers: all, agent: false }, (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk)).on('end', () => resolve({ status: response.statusCode as number, headers: response.headers, text })).on('error', reject)
      })
      request.on('error', reject)
      request.end(bytes)
    })
  }

  async json<T = JsonObject>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<T> {
    return JSON.parse((await this.ask(method, path, body, headers)).text) as T
  }
}
