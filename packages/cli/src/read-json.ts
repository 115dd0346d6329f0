import * as fs from 'node:fs'
import { Denied, type JsonValue, parseStrict } from '@sealwrit/protocol'
import { CliError, fromDenied } from './errors.ts'

/** The JSON value that a file holds, strictly read; `-` is standard input. @throws {CliError} */
export function readJson(file: string): JsonValue {
  try {
    return parseStrict(fs.readFileSync(file === '-' ? 0 : file))
  } catch (error) {
    if (error instanceof Denied) throw fromDenied(error)
    throw new CliError(`${file} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}
