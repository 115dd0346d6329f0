import * as nodeCrypto from 'node:crypto'
import * as fs from 'node:fs'
import * as net from 'node:net'
import { type Clock, type Crypto, cryptoFrom, LineReader, type Rng, toBase64Url } from '@sealwrit/protocol'
import type { FloorFile, Net } from '../ports.ts'

export const nodeClock: Clock = {
  wallMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms)
    timer.unref()
    return () => clearTimeout(timer)
  },
}

export const nodeRng: Rng = { bytes: (count) => nodeCrypto.randomBytes(count) }

export const nodeCryptography: Crypto = cryptoFrom(nodeCrypto, toBase64Url)

/** Lines that wait for each other before they are written. */
const LINES_PER_WRITE = 8
/** Bytes of unanswered requests that may wait for the socket to drain. */
const MAX_UNSENT_BYTES = 16 * 1_048_576

export const nodeNet: Net = {
  connect: (path, maxLineBytes, events) =>
    new Promise((resolve, reject) => {
      const socket = net.connect({ path })
      let open = false
      let pending: string[] = []
      const flush = (): void => {
        if (pending.length === 0) return
        const text = `${pending.join('\n')}\n`
        pending = []
        if (!socket.destroyed) socket.write(text)
      }
      const reader = new LineReader(maxLineBytes, (line) => events.line(line))
      socket.once('connect', () => {
        open = true
        resolve({
          // Lines of one turn leave together, but not all at once: the peer begins with the first while we make the rest.
          send: (line) => {
            if (socket.writableLength > MAX_UNSENT_BYTES) socket.destroy(new Error('the peer does not read'))
            if (pending.push(line) === 1) setImmediate(flush)
            if (pending.length >= LINES_PER_WRITE) flush()
          },
          close: () => socket.destroy(),
        })
      })
      socket.on('data', (chunk) => {
        try {
          reader.push(chunk)
        } catch (error) {
          socket.destroy(error instanceof Error ? error : new Error('bad line'))
        }
      })
      socket.on('error', (error) => {
        if (!open) reject(error)
      })
      socket.once('close', () => {
        if (open) events.closed('connection closed')
        else reject(new Error('connection closed'))
      })
    }),
}

/** The floor beside the gate's key; a crash leaves the old file or the new one, never half of one. */
export function floorFile(path: string): FloorFile {
  return {
    read: () => {
      try {
        return fs.readFileSync(path, 'utf8')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
        throw error
      }
    },
    write: (text) => {
      const next = `${path}.${process.pid}.new`
      const file = fs.openSync(next, 'w', 0o600)
      try {
        fs.writeFileSync(file, text) // all of it, or it throws: a disk that fills up may take a part
        fs.fsyncSync(file)
      } finally {
        fs.closeSync(file)
      }
      fs.renameSync(next, path)
    },
  }
}
