import { seconds as secondsOf } from '../duration.ts'
import { CliError, EXIT } from '../errors.ts'

/** Seconds of a time as in 30s, 15m, 12h or 90d. @throws {CliError} */
export function seconds(option: string, text: string): number {
  const given = secondsOf(text)
  if (given === undefined) throw new CliError(`${option} takes a time as in 30s, 15m, 12h or 90d`, { exit: EXIT.usage })
  return given
}
