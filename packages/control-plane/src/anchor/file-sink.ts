import { constants } from 'node:fs'
import * as fs from 'node:fs/promises'
import * as path from 'node:path'
import { type Anchor, MAX_ANCHOR_TEXT } from '@sealwrit/protocol'
import { type AnchorSink, SinkError, SinkFailure, type SinkPorts } from './sink.ts'

const NEWLINE = 10

/**
 * A file outside the store, perhaps on a disk that cannot be rewritten: one anchor a line, appended and flushed.
 * @param file absolute path
 * @throws {SinkError} for a path that is not absolute or too long
 */
export function fileSink(file: string, { clock }: SinkPorts): AnchorSink {
  if (!path.isAbsolute(file) || file.length > MAX_ANCHOR_TEXT) throw new SinkError('not an absolute path of allowed length')
  return {
    type: 'file',
    where: file,
    anchor: async ({ note }) => {
      const anchor = { type: 'file', checkpoint: note, where: file, time: Math.floor(clock.wallMs()) } satisfies Anchor
      try {
        await append(file, JSON.stringify(anchor))
      } catch (error) {
        if (error instanceof SinkFailure) throw error
        throw new SinkFailure(`cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
      }
      return anchor
    },
  }
}

/** Resolves when the line is on the disk. A line that an earlier crash left half is ended first, so that it spoils no other. */
async function append(file: string, line: string): Promise<void> {
  const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_RDWR } = constants
  // Not through a link, and not waiting for the other end of a pipe that somebody put there.
  const handle = await fs.open(file, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o600)
  try {
    const stat = await handle.stat()
    if (!stat.isFile()) throw new SinkFailure('is not a regular file')
    const last = new Uint8Array(1)
    if (stat.size > 0) await handle.read(last, 0, 1, stat.size - 1)
    const text = Buffer.from(`${stat.size > 0 && last[0] !== NEWLINE ? '\n' : ''}${line}\n`)
    // One write: two planes on one file do not mix their lines.
    const { bytesWritten } = await handle.write(text)
    if (bytesWritten !== text.length) throw new SinkFailure('is full')
    await handle.sync()
    if (stat.size === 0) await syncFolder(path.dirname(file))
  } finally {
    await handle.close()
  }
}

/** The name of a new file is durable only when its folder is. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await fs.open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
