import * as fs from 'node:fs'
import * as path from 'node:path'
import { BASE, loadPolicySet, MAX_POLICY_BYTES, MAX_POLICY_FILES, PolicyError, type PolicySet, SCHEMA_FILE } from '@sealwrit/control-plane'
import { nodeCryptography } from '@sealwrit/gate'
import { canonicalize, copyPlain, digestOf, type JsonValue } from '@sealwrit/protocol'
import { parseDocument } from 'yaml'
import { CliError, EXIT } from '../errors.ts'
import type { GlobalOptions } from '../output.ts'
import { selfLine } from '../self.ts'
import { readConfig } from './config.ts'
import { findFolder, type PlaneFolder } from './folder.ts'

/** Where the policies of a plane are, and its protected rules where the configuration names a folder of them. */
export interface PolicySource {
  readonly folder: string
  readonly base: string | undefined
}

/** As `sealwrit.yaml` beside the plane's folder says. */
export function configuredPolicies(folder: PlaneFolder): PolicySource {
  const found = readConfig(folder)
  if (found === undefined) return { folder: folder.policies, base: undefined }
  const at = (name: string): string => path.resolve(path.dirname(found.file), name)
  return { folder: at(found.config.policies), base: found.config.base === undefined ? undefined : at(found.config.base) }
}

/** The policies at hand: the argument, `./policies`, or those of the local plane; protected rules are the configured ones. */
export function chosenPolicies(given: string | undefined, options: GlobalOptions): PolicySource {
  const configured = configuredPolicies(findFolder(options.dir))
  const { base } = configured
  if (given !== undefined) return { folder: path.resolve(given), base }
  if (options.dir === undefined && fs.existsSync('policies')) return { folder: path.resolve('policies'), base }
  return configured
}

/** Reads a policy set: the `*.cedar` of its folder, its protected rules, and the schema beside or above them. @throws {CliError} naming the file */
export function readPolicies(source: PolicySource): PolicySet {
  const files = readPolicyFiles(source)
  try {
    return loadPolicySet(files, nodeCryptography.sha256)
  } catch (error) {
    if (error instanceof PolicyError) throw new CliError(`policies in ${source.folder}: ${error.message}`, { code: 'policy_error', hint: 'correct the file; a policy set with errors or warnings is never activated' })
    throw error
  }
}

/** The texts of a policy set, by the names that they have in it. @throws {CliError} */
export function readPolicyFiles({ folder, base }: PolicySource): Record<string, string> {
  const files: Record<string, string> = {}
  const missing = (error: unknown): never => {
    if (error instanceof CliError) throw error
    throw new CliError(`policies in ${folder} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`, { code: 'policy_missing', hint: `starter policies: ${selfLine('init')}` })
  }
  const add = (from: string, prefix: string): void => {
    const names = fs.readdirSync(from).filter((name) => name.endsWith('.cedar'))
    if (names.length > MAX_POLICY_FILES) throw new CliError(`${from} holds more than ${MAX_POLICY_FILES} policy files`)
    for (const name of names) files[`${prefix}${name}`] = readText(path.join(from, name))
  }
  try {
    add(folder, '')
    const own = path.join(folder, BASE)
    if (base !== undefined && fs.existsSync(own) && path.resolve(own) !== base) throw new CliError(`${own} and the configured ${base} both hold protected rules`, { hint: 'keep one of them' })
    if (base !== undefined || fs.existsSync(own)) add(base ?? own, BASE)
    const schema = schemaOf({ folder })
    if (schema !== undefined) files[SCHEMA_FILE] = readText(schema)
  } catch (error) {
    missing(error)
  }
  if (Object.keys(files).length === 0) throw new CliError(`no policies in ${folder}`, { code: 'policy_missing', hint: `starter policies: ${selfLine('init')}` })
  return files
}

/** The file with the schema: in the folder of the policies, or beside it. */
export function schemaOf({ folder }: Pick<PolicySource, 'folder'>): string | undefined {
  return [path.join(folder, SCHEMA_FILE), path.join(path.dirname(folder), SCHEMA_FILE)].find((file) => fs.existsSync(file))
}

/** Digest of the protected rules that the configuration demands of every set; undefined where it demands none. @throws {CliError} */
export function demandedBase({ folder, base }: PolicySource): string | undefined {
  if (base === undefined) return undefined
  const rules: Record<string, string> = {}
  try {
    for (const name of fs.readdirSync(base).filter((one) => one.endsWith('.cedar'))) rules[`${BASE}${name}`] = readText(path.join(base, name))
  } catch (error) {
    if (error instanceof CliError) throw error
    throw new CliError(`the protected rules in ${base} cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`, { code: 'policy_missing', hint: 'restore the folder, or remove `base` from sealwrit.yaml' })
  }
  // A file of comments alone forbids nothing, and would pass for rules that cannot be dropped.
  if (Object.values(rules).every((text) => text.replaceAll(/\/\/.*/g, '').trim() === '')) throw new CliError(`no rule in a *.cedar of ${base}, which sealwrit.yaml names as protected rules of ${folder}`, { code: 'policy_missing' })
  return digestOf(canonicalize(rules), nodeCryptography.sha256)
}

/** Files with tests in one folder, and bytes of one. */
const MAX_TEST_FILES = 1_000
const MAX_TEST_BYTES = 4_194_304

/** Every `*.test.yaml` of a policy folder with its cases, as data. @throws {CliError} naming the file */
export function readTests({ folder }: PolicySource): readonly { readonly file: string; readonly cases: JsonValue }[] {
  const names = fs.readdirSync(folder).filter((name) => name.endsWith('.test.yaml')).sort()
  if (names.length > MAX_TEST_FILES) throw new CliError(`${folder} holds more than ${MAX_TEST_FILES} test files`)
  return names.map((name) => {
    const file = path.join(folder, name)
    if (fs.statSync(file).size > MAX_TEST_BYTES) throw new CliError(`${file} is larger than ${MAX_TEST_BYTES} bytes`)
    const document = parseDocument(fs.readFileSync(file, 'utf8'), { uniqueKeys: true, strict: true })
    const problem = document.errors[0] ?? document.warnings[0]
    if (problem !== undefined) throw new CliError(`${file}: ${problem.message}`, { exit: EXIT.usage })
    return { file: name, cases: copyPlain(document.toJS({ maxAliasCount: 0 }) ?? []) }
  })
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
