#!/usr/bin/env node
import { CommanderError } from 'commander'
import { EXIT, toCliError } from './errors.ts'
import { withIds } from './ids.ts'
import { printError } from './output.ts'
import { buildProgram } from './program.ts'

async function main(): Promise<void> {
  const isJson = process.argv.includes('--json')
  const isDebug = process.argv.includes('--debug')
  try {
    const program = buildProgram()
    await program.parseAsync(withIds(process.argv.slice(2), program), { from: 'user' })
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? EXIT.done : EXIT.usage
      return
    }
    const cliError = toCliError(error)
    printError(cliError, { json: isJson, debug: isDebug }, error)
    process.exitCode = cliError.exit
  }
}

process.umask(0o077)
await main()
// A command is done when its work is: sockets and timers that are left must not keep it.
process.stdout.write('', () => process.exit())
