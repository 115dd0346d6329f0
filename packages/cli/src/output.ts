import { escapeControls } from '@sealwrit/protocol'
import type { CliError } from './errors.ts'

/** Options that every command has. */
export interface GlobalOptions {
  readonly json?: boolean
  readonly dir?: string
  readonly tenant?: string
  readonly debug?: boolean
}

const useColor = (stream: NodeJS.WriteStream): boolean => stream.isTTY === true && process.env['NO_COLOR'] === undefined
const paint = (code: number) => (text: string): string => (useColor(process.stdout) ? `\u001b[${code}m${text}\u001b[0m` : text)
export const bold: (text: string) => string = paint(1)
export const dim: (text: string) => string = paint(2)
export const red: (text: string) => string = paint(31)
export const green: (text: string) => string = paint(32)
export const yellow: (text: string) => string = paint(33)

/** One line of text to stdout. Whatever came from outside goes through {@link plain} first. */
export function line(text = ''): void {
  process.stdout.write(`${text}\n`)
}

/** Makes a stranger's text safe for a terminal. */
export const plain: (text: string) => string = escapeControls

export function json(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`)
}

export function printError(error: CliError, options: GlobalOptions, cause: unknown): void {
  const { message, hint, code, details } = error
  if (options.json === true) process.stderr.write(`${JSON.stringify({ error: { message, ...(hint === undefined ? {} : { hint }), ...(code === undefined ? {} : { code }), ...(details.length === 0 ? {} : { details }) } })}\n`)
  else process.stderr.write(`sealwrit: ${plain(message)}\n${details.map((detail) => `  ${plain(detail)}\n`).join('')}${hint === undefined ? '' : `  hint: ${plain(hint)}\n`}`)
  if (options.debug === true && cause instanceof Error) process.stderr.write(`${cause.stack ?? ''}\n`)
}

/** A word as a shell needs it. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`
}

/** A member of a JSON object as text: strings as they are, the rest as JSON. */
export function memberText(value: unknown): string {
  return typeof value === 'string' ? value : (JSON.stringify(value) ?? '')
}
