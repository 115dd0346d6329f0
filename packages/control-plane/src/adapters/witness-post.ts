import * as http from 'node:http'
import * as https from 'node:https'
import { MAX_WITNESS_ANSWER_BYTES, type WitnessPost } from '../log/witnesses.ts'

/** Connections to one witness that are kept. */
const MAX_SOCKETS = 4

/** Posts to witnesses over connections that are kept; redirects are not followed. */
export function witnessPost(): { post: WitnessPost; close: () => void } {
  const options = { keepAlive: true, maxSockets: MAX_SOCKETS }
  const agents = { http: new http.Agent(options), https: new https.Agent(options) }
  const post: WitnessPost = (url, body, timeoutMs) =>
    new Promise((resolve, reject) => {
      const isTls = url.startsWith('https://')
      const headers = { 'content-type': 'text/plain; charset=utf-8', 'content-length': body.length }
      const request = (isTls ? https : http).request(url, { method: 'POST', agent: isTls ? agents.https : agents.http, headers }, (response) => {
        const chunks: Buffer[] = []
        let size = 0
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          if (size > MAX_WITNESS_ANSWER_BYTES) request.destroy(new Error('the answer is too large'))
          else chunks.push(chunk)
        })
        response.once('end', () => {
          clearTimeout(timer)
          resolve({ status: response.statusCode ?? 0, type: (response.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? '', body: Buffer.concat(chunks) })
        })
        response.once('error', reject)
      })
      // The whole exchange, name look-up and connecting included.
      const timer = setTimeout(() => request.destroy(new Error('no answer in time')), timeoutMs)
      request.once('error', (error) => {
        clearTimeout(timer)
        reject(error)
      })
      request.end(body)
    })
  const close = (): void => {
    agents.http.destroy()
    agents.https.destroy()
  }
  return { post, close }
}
