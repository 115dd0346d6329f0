import * as fs from 'node:fs'
import { Denied, JSON_LIMITS, type JsonValue, parseStrict } from '@sealwrit/protocol'
import { CliError, fromDenied } from './errors.ts'

/** The JSON value that a file holds, strictly read; `-` is standard input. @throws {CliError} */
export function readJson(file: string): JsonValue {
  try {
    return parseStrict(file === '-' ? fs.readFileSync(0) : bounded(file))
  } catch (error) {
    if (error instanceof Denied) throw fromDenied(error)
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}

/** No more than can be read as JSON, and one byte, of what may never end. */
function bounded(file: string): Uint8Array {
  const fd = fs.openSync(file, 'r')
  try {
    const bytes = new Uint8Array(JSON_LIMITS.maxBytes + 1)
    let size = 0
    for (let count = -1; count !== 0 && size < bytes.length; size += count) count = fs.readSync(fd, bytes, size, bytes.length - size, null)
    return bytes.subarray(0, size)
  } finally {
    fs.closeSync(fd)
  }
}
