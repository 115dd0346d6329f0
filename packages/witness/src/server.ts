import * as http from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Answer, Witness } from './witness.ts'

/** Largest request body, in bytes: 63 hashes and a note with many signatures. */
export const MAX_BODY_BYTES = 65_536
/** Connections at once. */
const MAX_CONNECTIONS = 256
/** Time for a whole request, for its headers, and between two requests of a connection, in milliseconds. */
const REQUEST_TIMEOUT_MS = 10_000
const HEADERS_TIMEOUT_MS = 5_000
const KEEP_ALIVE_MS = 60_000
/** How often connections are looked through for those that are too slow. */
const CHECK_INTERVAL_MS = 1_000

const plain = (status: number, what: string): Answer => ({ status, type: 'text/plain; charset=utf-8', body: `${what}\n` })

/** The address cannot be listened on. */
export class WitnessListenError extends Error {}

/**
 * Serves a witness over HTTP. There is no authentication beyond the signatures on checkpoints.
 * @throws {WitnessListenError}
 */
export async function serveWitness(witness: Witness, listen: { readonly host: string; readonly port: number }): Promise<{ url: string; close: () => Promise<void> }> {
  const server = http.createServer(
    { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: HEADERS_TIMEOUT_MS, keepAliveTimeout: KEEP_ALIVE_MS, connectionsCheckingInterval: CHECK_INTERVAL_MS },
    (request, response) => void route(witness, request, response),
  )
  server.maxConnections = MAX_CONNECTIONS
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => reject(new WitnessListenError(`cannot listen on ${listen.host}:${listen.port} (${error.code ?? 'unknown error'})`)))
    server.listen(listen.port, listen.host, resolve)
  })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${listen.host.includes(':') ? `[${listen.host}]` : listen.host}:${port}`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function route(witness: Witness, request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
  let answer: Answer
  try {
    answer = await answerTo(witness, request)
  } catch {
    answer = plain(500, 'the witness could not keep this') // nothing was cosigned
  }
  if (response.destroyed) return
  const headers: http.OutgoingHttpHeaders = { 'content-type': answer.type, 'content-length': Buffer.byteLength(answer.body), 'cache-control': 'no-store', 'x-content-type-options': 'nosniff' }
  if (answer.status === 413) headers['connection'] = 'close' // the rest of the body is not read
  response.writeHead(answer.status, headers).end(answer.body)
}

async function answerTo(witness: Witness, request: http.IncomingMessage): Promise<Answer> {
  const { method, url = '' } = request
  if (url === '/add-checkpoint') {
    if (method !== 'POST') return plain(405, 'add-checkpoint is a POST')
    const body = await readBody(request)
    return body === undefined ? plain(413, `a body of more than ${MAX_BODY_BYTES} bytes`) : witness.addCheckpoint(body)
  }
  const asked = /^\/checkpoint\/([0-9a-f]{64})$/.exec(url)
  if (asked !== null && (method === 'GET' || method === 'HEAD')) return witness.checkpoint(asked[1] as string)
  return plain(404, 'there is nothing here')
}

/** The body, or undefined when it is too large: what it announces is looked at before anything is read. */
function readBody(request: http.IncomingMessage): Promise<Uint8Array | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > MAX_BODY_BYTES) return Promise.resolve(undefined)
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let size = 0
    request.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > MAX_BODY_BYTES) {
        request.pause()
        resolve(undefined)
      } else chunks.push(chunk)
    })
    request.once('end', () => resolve(Buffer.concat(chunks)))
    request.once('error', reject)
  })
}
