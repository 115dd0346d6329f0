import * as fs from 'node:fs'
import * as path from 'node:path'
import { loadPolicySet, MAX_POLICY_BYTES, PolicyError, type PolicySet, SCHEMA_FILE } from '@sealwrit/control-plane'
import { nodeCryptography } from '@sealwrit/gate'
import { CliError } from '../errors.ts'
import { selfLine } from '../self.ts'

/** Policy files in one folder. */
const MAX_FILES = 1_000

/** Reads the policy set of a folder: its `*.cedar` files and the schema beside or above them. @throws {CliError} naming the file */
export function readPolicies(folder: string): PolicySet {
  const files: Record<string, string> = {}
  try {
    const names = fs.readdirSync(folder).filter((name) => name.endsWith('.cedar'))
    if (names.length > MAX_FILES) throw new CliError(`${folder} holds more than ${MAX_FILES} policy files`)
    for (const name of names) files[name] = readText(path.join(folder, name))
    const schema = [path.join(folder, SCHEMA_FILE), path.join(path.dirname(folder), SCHEMA_FILE)].find((file) => fs.existsSync(file))
    if (schema !== undefined) files[SCHEMA_FILE] = readText(schema)
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`policies in ${folder} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`, { code: 'policy_missing', hint: `starter policies: ${selfLine('init')}` })
  }
  if (Object.keys(files).length === 0) throw new CliError(`no policies in ${folder}`, { code: 'policy_missing', hint: `starter policies: ${selfLine('init')}` })
  try {
    return loadPolicySet(files, nodeCryptography.sha256)
  } catch (error) {
    if (error instanceof PolicyError) throw new CliError(`policies in ${folder}: ${error.message}`, { code: 'policy_error', hint: 'correct the file; the plane does not start on policies with errors or warnings' })
    throw error
  }
}

/** A regular file of bounded size, as UTF-8 that is well formed. */
function readText(file: string): string {
  const stat = fs.statSync(file)
  if (!stat.isFile()) throw new CliError(`${file} is not a regular file`)
  if (stat.size > MAX_POLICY_BYTES) throw new CliError(`${file} is larger than ${MAX_POLICY_BYTES} bytes`)
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(fs.readFileSync(file))
  } catch (error) {
    throw new CliError(`${file} cannot be read as UTF-8 (${error instanceof Error ? error.message : 'unknown error'})`)
  }
}
