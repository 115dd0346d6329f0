import { createHash } from 'node:crypto'
import * as fs from 'node:fs'
import type { Absence, Digest } from '@sealwrit/protocol'

/** A fact that a collector does not tell, and why: never a guess. */
export class NotTold extends Error {
  readonly reason: Absence

  constructor(reason: Absence) {
    super(reason)
    this.reason = reason
  }
}

/** Time that one look may take, in milliseconds. */
export const MAX_COLLECT_MS = 10_000
/** Places that one look may touch. */
const MAX_PLACES = 512
const CHUNK_BYTES = 1_048_576

/**
 * One look at files that may be hostile: every read is bounded in size and time, and opens only regular files, so that no pipe
 * or device can hold it up. It remembers the identity of each place that it touched, also of those where nothing was: looking again is a `stat` for
 * each.
 */
export class Look {
  readonly #places = new Map<string, string>()
  readonly #nowMs: () => number
  readonly #deadlineMs: number

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
    this.#deadlineMs = nowMs() + MAX_COLLECT_MS
  }

  /** What is there, links followed. @throws {NotTold} */
  kind(path: string): 'file' | 'folder' | 'other' | 'nothing' {
    const stats = this.#touch(path)
    if (stats === undefined) return 'nothing'
    return stats.isFile() ? 'file' : stats.isDirectory() ? 'folder' : 'other'
  }

  /** User who owns it; undefined where nothing is there. */
  owner(path: string): number | undefined {
    const stats = this.#touch(path)
    return stats === undefined ? undefined : Number(stats.uid)
  }

  /** Text of a regular file; undefined where nothing is there. @throws {NotTold} */
  text(path: string, maxBytes: number): string | undefined {
    if (this.kind(path) === 'nothing') return undefined
    const parts: Buffer[] = []
    this.#read(path, maxBytes, (bytes) => parts.push(Buffer.from(bytes)))
    return Buffer.concat(parts).toString('utf8')
  }

  /** Digest of a regular file. @throws {NotTold} */
  digest(path: string, maxBytes: number): Digest {
    if (this.kind(path) === 'nothing') throw new NotTold('none')
    const hash = createHash('sha256')
    this.#read(path, maxBytes, (bytes) => hash.update(bytes))
    return `sha256:${hash.digest('hex')}`
  }

  /** Whether every place is as it was: device, inode, size and both times. */
  get isUnchanged(): boolean {
    for (const [path, stamp] of this.#places) if (stampOf(statOf(path)) !== stamp) return false
    return true
  }

  /** The identity is taken before anything is read: what changes meanwhile is seen at the next look. */
  #touch(path: string): fs.BigIntStats | undefined {
    if (this.#nowMs() > this.#deadlineMs) throw new NotTold('too_slow')
    if (this.#places.size >= MAX_PLACES) throw new NotTold('too_large')
    const stats = statOf(path)
    if (!this.#places.has(path)) this.#places.set(path, stampOf(stats))
    if (stats === 'unreadable') throw new NotTold('unreadable')
    return stats
  }

  #read(path: string, maxBytes: number, take: (bytes: Uint8Array) => void): void {
    let descriptor: number
    try {
      descriptor = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK) // a pipe without a writer does not block
    } catch {
      throw new NotTold('unreadable')
    }
    try {
      if (!fs.fstatSync(descriptor).isFile()) throw new NotTold('malformed')
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, maxBytes + 1))
      let read = 0
      for (let n = fs.readSync(descriptor, chunk); n > 0; n = fs.readSync(descriptor, chunk)) {
        read += n
        if (read > maxBytes) throw new NotTold('too_large')
        if (this.#nowMs() > this.#deadlineMs) throw new NotTold('too_slow')
        take(chunk.subarray(0, n))
      }
    } catch (error) {
      throw error instanceof NotTold ? error : new NotTold('unreadable')
    } finally {
      fs.closeSync(descriptor)
    }
  }
}

function statOf(path: string): fs.BigIntStats | 'unreadable' | undefined {
  try {
    return fs.statSync(path, { bigint: true, throwIfNoEntry: false })
  } catch (error) {
    // A file where a folder was expected is nothing; a loop of links, or a folder that is closed to us, hides what is there.
    return (error as NodeJS.ErrnoException).code === 'ENOTDIR' ? undefined : 'unreadable'
  }
}

function stampOf(stats: fs.BigIntStats | 'unreadable' | undefined): string {
  if (stats === undefined || stats === 'unreadable') return stats ?? 'nothing'
  const { dev, ino, size, mtimeNs, ctimeNs } = stats
  // What is in a folder is no fact of ours; only that it is this one.
  return stats.isDirectory() ? `${dev} ${ino}` : `${dev} ${ino} ${size} ${mtimeNs} ${ctimeNs}`
}
