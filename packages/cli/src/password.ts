import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { CliError, EXIT } from './errors.ts'

/** Asks for a password twice, and shows nothing of it. @throws {CliError} where nobody can be asked, or the two differ */
export async function askPassword(question: string): Promise<string> {
  if (process.stdin.isTTY !== true) throw new CliError('there is no terminal to ask for a password at', { exit: EXIT.usage, hint: 'name a file with --password-file' })
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() })
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true, historySize: 0 })
  try {
    const ask = async (text: string): Promise<string> => {
      process.stderr.write(text)
      const answer = await terminal.question('')
      process.stderr.write('\n')
      return answer
    }
    const password = await ask(question)
    if ((await ask('Again: ')) !== password) throw new CliError('the two passwords differ; nothing was changed', { exit: EXIT.usage })
    return password
  } finally {
    terminal.close()
  }
}
