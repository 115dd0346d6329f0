import { type DenialCode, Denied, DENIALS } from '@sealwrit/protocol'

/** Exit codes of every command (SURFACES). */
export const EXIT = { done: 0, fault: 1, usage: 2, denied: 10, held: 11, terminated: 12, unverified: 13, unreachable: 14 } as const

/** Ends a command with a message, a hint and an exit code. */
export class CliError extends Error {
  readonly exit: number
  readonly hint: string | undefined
  readonly code: DenialCode | undefined
  /** What it is about, a line each. */
  readonly details: readonly string[]

  constructor(message: string, options: { exit?: number; hint?: string; code?: DenialCode; details?: readonly string[] } = {}) {
    super(message)
    this.exit = options.exit ?? EXIT.fault
    this.hint = options.hint
    this.code = options.code
    this.details = options.details ?? []
  }
}

export function fromDenied(denied: Denied): CliError {
  return new CliError(`${denied.code}: ${denied.message}`, { exit: DENIALS[denied.code].exit, hint: denied.hint, code: denied.code })
}

export function toCliError(error: unknown): CliError {
  if (error instanceof CliError) return error
  if (error instanceof Denied) return fromDenied(error)
  return new CliError(error instanceof Error ? error.message : 'unknown error')
}
