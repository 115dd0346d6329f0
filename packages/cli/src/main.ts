#!/usr/bin/env node
import { CommanderError } from 'commander'
import { CliError, EXIT, toCliError } from './errors.ts'
import { withIds } from './ids.ts'
import { printError } from './output.ts'
import { buildProgram } from './program.ts'

async function main(): Promise<void> {
  const isJson = process.argv.includes('--json')
  const isDebug = process.argv.includes('--debug')
  try {
    checkRuntime()
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

/** As `engines` says: on an older one some commands would work, and others fail in ways of their own. */
function checkRuntime(): void {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major < 24 || (major === 24 && minor < 15)) throw new CliError(`this is Node ${process.versions.node}, and 24.15 or later is needed`, { hint: 'from a checkout `node tools/bootstrap.mjs cli …` finds the pinned one' })
}

process.umask(0o077)
await main()
// A command is done when its work is: sockets and timers that are left must not keep it.
process.stdout.write('', () => process.exit())
