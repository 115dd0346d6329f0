import { imagePlaces, measureServer, nodeClock, nodeCryptography, nodeRng, type ResolvedCommand } from '@sealwrit/gate'
import { Denied, type Digest, isDigest, isObject, type JsonObject } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { version } from '../version.ts'

/** The program, and the script that it runs, that a server must be started from. */
export interface BoundLaunch {
  readonly executable?: string | undefined
  readonly script?: string | undefined
}

/** What a server would be started from now. @throws {Denied} `environment_unattested` when it cannot be read */
export function launchDigests(command: ResolvedCommand, cwd: string): { readonly executable: Digest; readonly script?: Digest } {
  const { document } = measureServer({ command, cwd, gateVersion: version, image: imagePlaces({}) }, nodeClock, nodeCryptography, nodeRng)
  const script = digestIn(document, 'script')
  return { executable: digestIn(document, 'executable') as Digest, ...(script === undefined ? {} : { script }) }
}

/**
 * Holds what was measured against what the command line binds: a server whose program was replaced since it was installed is
 * not started (ATK-098). What is measured here is what every permit is bound to, so that nothing can be swapped after it either.
 * @throws {Denied} `executable_mismatch`
 */
export function holdLaunch(measured: JsonObject, bound: BoundLaunch): void {
  for (const member of ['executable', 'script'] as const) {
    const expected = bound[member]
    if (expected === undefined) continue
    if (!isDigest(expected)) throw new CliError(`--${member}-digest takes \`sha256:\` and 64 hexadecimal digits`, { exit: EXIT.usage })
    if (digestIn(measured, member) !== expected) throw new Denied('executable_mismatch', `the ${member === 'script' ? 'script' : 'program'} of the server is another one than was installed`)
  }
}

function digestIn(document: JsonObject, member: 'executable' | 'script'): Digest | undefined {
  const value = document[member]
  return isObject(value) ? (value['digest'] as Digest) : undefined
}
