import { createInterface } from 'node:readline/promises'
import { CliError, EXIT } from './errors.ts'

/** Asks before something that cannot be undone; anything but yes ends the command. @throws {CliError} */
export async function confirm(question: string): Promise<void> {
  if (process.stdin.isTTY !== true) throw new CliError('this cannot be undone, and there is no terminal to ask at', { exit: EXIT.usage, hint: 'add --yes' })
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(question)
  terminal.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('nothing was changed')
}
