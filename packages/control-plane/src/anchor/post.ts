import * as http from 'node:http'
import * as https from 'node:https'
import { SinkFailure } from './sink.ts'

/** Time for one exchange from connect to the last byte, in milliseconds. */
export const SINK_TIMEOUT_MS = 20_000

export interface PostOptions {
  readonly contentType: string
  readonly accept: string
  /** Bytes of an answer beyond which it is cut off and counts as failed. */
  readonly maxBytes: number
  readonly signal: AbortSignal
  readonly timeoutMs?: number
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>
}

export interface PostAnswer {
  readonly contentType: string
  readonly body: Uint8Array
}

/**
 * One POST on a connection of its own. Redirects are not followed: the address is the one that was configured.
 * @throws {SinkFailure} not reachable, not 2xx, too large, too slow
 */
export function post(url: URL, body: Uint8Array, options: PostOptions): Promise<PostAnswer> {
  const deadline = AbortSignal.timeout(options.timeoutMs ?? SINK_TIMEOUT_MS)
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      reject(new SinkFailure(why))
      request.destroy()
    }
    const request = (url.protocol === 'https:' ? https : http).request(url, {
      method: 'POST',
      agent: false,
      signal: AbortSignal.any([options.signal, deadline]),
      headers: { ...options.headers, 'content-type': options.contentType, accept: options.accept, 'content-length': body.length },
    })
    request.on('error', (error: NodeJS.ErrnoException) => fail(options.signal.aborted ? 'the plane ended' : deadline.aborted ? 'no answer in time' : `not reachable (${error.code ?? 'connection failed'})`))
    request.once('response', (response) => {
      response.on('error', () => fail(deadline.aborted ? 'no answer in time' : 'the answer broke off'))
      const status = response.statusCode ?? 0
      if (status < 200 || status > 299) return fail(`answered ${status}`)
      const chunks: Buffer[] = []
      let size = 0
      response.on('data', (chunk: Buffer) => {
        size += chunk.length
        if (size > options.maxBytes) fail(`answered more than ${options.maxBytes} bytes`)
        else chunks.push(chunk)
      })
      response.once('end', () => (response.complete ? resolve({ contentType: response.headers['content-type'] ?? '', body: new Uint8Array(Buffer.concat(chunks)) }) : fail('the answer broke off')))
    })
    request.end(body)
  })
}
