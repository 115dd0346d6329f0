import { createInterface } from 'node:readline/promises'
import { CliError, EXIT } from './errors.ts'

/** Asks before something that matters; anything but yes ends the command. @param why what is said where nobody can be asked @throws {CliError} */
export async function confirm(question: string, why = 'this cannot be undone'): Promise<void> {
  if (process.stdin.isTTY !== true) throw new CliError(`${why}, and there is no terminal to ask at`, { exit: EXIT.usage, hint: 'add --yes' })
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(question)
  terminal.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new CliError('nothing was changed')
}
