import * as fs from 'node:fs'
import * as net from 'node:net'
import { Denied, LineReader, MAX_WIRE_LINE, parseRpcRequest, rpcError } from '@sealwrit/protocol'
import type { Plane } from '../plane.ts'
import { inOrder } from '../log/shown.ts'
import { call } from './call.ts'
import type { Peer } from './peer.ts'

/** Connections at once. */
export const MAX_CONNECTIONS = 1_024
/** Requests of one connection that may be in work at once. */
export const MAX_IN_WORK = 8_192
/** Answers that wait for each other before they are written. */
const LINES_PER_WRITE = 8
/** Bytes of answers that a peer may leave unread. */
const MAX_UNREAD_BYTES = 512 * 1_048_576
/** `sun_path` holds 108 bytes on Linux and 104 on macOS, one of them the final zero. */
export const MAX_SOCKET_PATH: number = process.platform === 'darwin' ? 103 : 107

/** The socket cannot be used; the message says why and what to do. */
export class SocketError extends Error {}

/**
 * Serves the plane's methods as lines of JSON-RPC on a Unix socket that only its owner can open.
 * @throws {SocketError} path too long, or another plane answers there; a stale socket is removed
 */
export async function serveSocket(plane: Plane, socketPath: string): Promise<{ close(): Promise<void> }> {
  if (Buffer.byteLength(socketPath) > MAX_SOCKET_PATH) {
    throw new SocketError(`socket path ${socketPath} is longer than the ${MAX_SOCKET_PATH} bytes that the system allows; use --dir with a shorter folder`)
  }
  await removeStale(socketPath)
  const sockets = new Set<net.Socket>()
  const server = net.createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    serveConnection(plane, socket)
  })
  server.maxConnections = MAX_CONNECTIONS
  const umask = process.umask(0o177) // the socket is 0600 from its first moment
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(socketPath, resolve)
    })
  } finally {
    process.umask(umask)
  }
  return {
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        for (const socket of sockets) socket.destroy()
      }),
  }
}

async function removeStale(socketPath: string): Promise<void> {
  if (!fs.existsSync(socketPath)) return
  if (!fs.lstatSync(socketPath).isSocket()) throw new SocketError(`${socketPath} exists and is not a socket; it is left alone, use another --dir`)
  const answers = await new Promise<boolean>((resolve) => {
    const probe = net.connect({ path: socketPath })
    probe.once('connect', () => {
      probe.destroy()
      resolve(true)
    })
    probe.once('error', () => resolve(false))
  })
  if (answers) throw new SocketError(`another plane answers on ${socketPath}`)
  fs.unlinkSync(socketPath)
}

function serveConnection(plane: Plane, socket: net.Socket): void {
  let deafen = (): void => undefined
  const peer: Peer = {
    person: { id: plane.sub, role: 'admin' }, // nobody else can open it
    shown: { size: 0 },
    session: undefined,
    listen: (gate) => {
      deafen()
      deafen = plane.events.subscribe(gate, peer.shown, (event) => inOrder(peer.shown, event, () => answer(JSON.stringify({ jsonrpc: '2.0', method: 'event', params: event }))))
    },
  }
  let inWork = 0
  let answers: string[] = []
  // Answers of one turn leave together, but not all at once: the peer begins with the first while we make the rest.
  const answer = (line: string): void => {
    if (answers.push(line) === 1) setImmediate(flush)
    if (answers.length >= LINES_PER_WRITE) flush()
  }
  const flush = (): void => {
    if (answers.length === 0) return
    const text = `${answers.join('\n')}\n`
    answers = []
    if (socket.destroyed) return
    if (socket.writableLength > MAX_UNREAD_BYTES) socket.destroy()
    else socket.write(text)
  }
  const onLine = (line: Uint8Array): void => {
    let id: number | null = null
    try {
      const request = parseRpcRequest(line)
      id = request.id
      if (inWork >= MAX_IN_WORK) throw new Denied('overloaded')
      inWork++
      void Promise.resolve()
        .then(() => call(plane, request.method, request.params, peer))
        .then((result) => inOrder(peer.shown, result, () => answer(JSON.stringify({ jsonrpc: '2.0', id, result }))))
        .catch((error: unknown) => answer(failure(plane, request.id, error)))
        .finally(() => inWork--)
    } catch (error) {
      answer(failure(plane, id, error))
    }
  }
  const reader = new LineReader(MAX_WIRE_LINE, onLine)
  socket.on('data', (chunk) => {
    try {
      reader.push(chunk)
    } catch (error) {
      answer(failure(plane, null, error))
      flush()
      socket.end()
      socket.removeAllListeners('data')
    }
  })
  socket.on('error', () => socket.destroy())
  socket.once('close', () => deafen())
}

function failure(plane: Plane, id: number | null, error: unknown): string {
  const code = error instanceof Denied ? error.code : 'unavailable'
  plane.metrics.refused(code)
  return JSON.stringify({ jsonrpc: '2.0', id, error: rpcError(code) })
}
