import * as http from 'node:http'
import * as net from 'node:net'
import type { JsonObject } from '@sealwrit/protocol'
import { serveHttp } from '@sealwrit/control-plane'
import type { IssuerLogins } from '../../src/identify/login.ts'
import type { Rig } from './rig.ts'

export const TOKENS = ['the-token-of-the-first-tenant', 'the-token-of-the-second-tenant', 'the-token-of-the-third']

export interface Asked {
  readonly headers?: Record<string, string>
  readonly body?: unknown
  readonly raw?: string
}
export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  readonly body: JsonObject
  /** Status and denial code; undefined where it was answered. */
  readonly code: string | undefined
}
export interface Listening {
  readonly url: string
  ask(method: string, path: string, asked?: Asked): Promise<Answer>
  close(): Promise<void>
}

/** The tenants of these rigs at one real address. */
export async function listen(rigs: readonly Rig[], logins?: IssuerLogins, port?: number): Promise<Listening> {
  const at = port ?? (await freePort())
  const server = await serveHttp(rigs.map(({ plane }, i) => ({ plane, token: TOKENS[i] as string, isLogPublic: false, ...(i === 0 && logins !== undefined ? { logins } : {}) })), { host: '127.0.0.1', port: at, limits: { refusedPerAddress: 100_000 } })
  const ask: Listening['ask'] = (method, path, { headers = {}, body, raw } = {}) =>
    new Promise((resolve, reject) => {
      const text = raw ?? (body === undefined ? undefined : JSON.stringify(body))
      const type = text === undefined || 'content-type' in headers ? {} : { 'content-type': 'application/json' }
      const request = http.request({ host: '127.0.0.1', port: at, method, path, headers: { ...type, ...headers }, agent: false }, (response) => {
        let told = ''
        response.setEncoding('utf8').on('data', (chunk: string) => (told += chunk)).on('end', () => {
          const type_ = response.headers['content-type'] ?? ''
          const parsed = (type_.includes('json') ? JSON.parse(told) : {}) as JsonObject
          resolve({ status: response.statusCode as number, headers: response.headers, text: told, body: parsed, code: type_.includes('problem') ? `${response.statusCode} ${parsed['code'] as string}` : undefined })
        })
      })
      request.on('error', reject)
      request.end(text)
    })
  return { url: `http://127.0.0.1:${at}`, ask, close: () => server.close() }
}

/** What a browser keeps of a login, and what the page does. */
export function sessionOf({ headers, body }: Answer): { cookie: string; token: string } {
  return { cookie: (headers['set-cookie']?.[0] ?? '').split(';', 1)[0] as string, token: body['token'] as string }
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address() as net.AddressInfo
      probe.close(() => resolve(port))
    })
  })
}
