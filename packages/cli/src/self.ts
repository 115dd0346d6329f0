import * as fs from 'node:fs'
import * as path from 'node:path'
import { fileURLToPath } from 'node:url'
import { shellWord } from './output.ts'

const here = path.dirname(fileURLToPath(import.meta.url))
const extension = path.extname(fileURLToPath(import.meta.url))

/** This very program. */
export const selfMain: string = path.join(here, `main${extension}`)

/** Arguments with which this Node runs it again. */
export function selfArguments(): readonly string[] {
  return extension === '.ts' ? ['--conditions=@sealwrit/source', '--disable-warning=ExperimentalWarning', selfMain] : [selfMain]
}

/** A command that starts this program from any folder, also where `node` is an older one: absolute, to be pasted. */
export function selfCommand(): readonly string[] {
  const bootstrap = path.resolve(here, '..', '..', '..', 'tools', 'bootstrap.mjs')
  return fs.existsSync(bootstrap) ? ['node', bootstrap, 'cli'] : [process.execPath, selfMain]
}

/** A line for a shell that runs this program with `args`, from any folder: there is no global command on a fresh machine. */
export function selfLine(...args: readonly string[]): string {
  return [...selfCommand(), ...args].map(shellWord).join(' ')
}

/** A folder that the example server may serve: the repository's own where there is one. */
export function exampleFolder(): string | undefined {
  const folder = path.resolve(here, '..', '..', '..', 'examples', 'filesystem', 'files')
  return fs.existsSync(folder) ? folder : undefined
}
