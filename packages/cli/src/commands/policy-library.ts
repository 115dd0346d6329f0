import * as fs from 'node:fs'
import * as path from 'node:path'
import { SCHEMA_FILE } from '@sealwrit/control-plane'
import { CliError, EXIT } from '../errors.ts'
import { readLibrary, type Ready, renamed, toolsOf, withArguments } from '../local/library.ts'
import { chosenPolicies, readPolicies } from '../local/policies.ts'
import { isServerName } from '../local/server-name.ts'
import { bold, dim, type GlobalOptions, json, line, shellWord } from '../output.ts'
import { selfLine } from '../self.ts'

/** What the library has. */
export async function policyLibrary(options: GlobalOptions): Promise<void> {
  const library = readLibrary()
  if (options.json === true) return json({ library: library.map(({ files, ...one }) => ({ ...one, files: files.map(([name]) => name) })) })
  for (const one of library) {
    line(`${bold(one.name.padEnd(20))} ${one.about}`)
    for (const { cls, names } of toolsOf(one)) line(dim(`  ${cls.padEnd(18)} ${names.join(' ')}`))
  }
  line(`\nTo have some: ${selfLine('init', '--with', 'memory,github')}, or beside policies of yours ${selfLine('policy', 'add', 'github')}`)
}

/** Copies ready policies beside those that are there. All of it or nothing: a set that would not load is taken back. */
export async function policyAdd(names: readonly string[], options: GlobalOptions & { as?: string }): Promise<void> {
  const { as: server } = options
  if (server !== undefined && (names.length !== 1 || !isServerName(server))) throw new CliError('--as takes the name of one server, for one name of the library', { exit: EXIT.usage, hint: 'letters, digits, dots, dashes and underscores; as in `sealwrit policy add github --as gh`' })
  const chosen = readLibrary(names).map((one) => (server === undefined ? one : renamed(one, server)))
  const source = chosenPolicies(undefined, options)
  readPolicies(source) // what does not load already is not made better
  const schemaFile = [path.join(source.folder, SCHEMA_FILE), path.join(path.dirname(source.folder), SCHEMA_FILE)].find((file) => fs.existsSync(file)) as string
  const files = chosen.flatMap((one) => one.files.map(([name, text]) => [path.join(source.folder, name), text] as const))
  const existing = files.map(([file]) => file).filter((file) => fs.existsSync(file))
  if (existing.length > 0) throw new CliError(`${existing.join(', ')} ${existing.length === 1 ? 'exists' : 'exist'} already; nothing was written`)
  const before = fs.readFileSync(schemaFile, 'utf8')
  const schema = chosen.reduce((text, one) => withArguments(text, one), before)
  write(files, schemaFile, before, schema, () => void readPolicies(source))
  if (options.json === true) return json({ written: files.map(([file]) => file), schema: schemaFile, changed: schema !== before })
  for (const [file] of files) line(`wrote ${shellWord(file)}`)
  if (schema !== before) line(`changed ${shellWord(schemaFile)}: ${newArguments(chosen)}`)
  line('Read them, write your own names where they say so, and then:')
  line(`  ${selfLine('policy', 'test', source.folder)}`)
  line(`  ${selfLine('policy', 'activate', source.folder)}`)
}

function newArguments(chosen: readonly Ready[]): string {
  return `policies may read ${[...new Set(chosen.flatMap((one) => Object.keys(one.arguments)))].join(', ')}`
}

function write(files: readonly (readonly [string, string])[], schemaFile: string, before: string, schema: string, verify: () => void): void {
  const done: string[] = []
  try {
    for (const [file, text] of files) {
      fs.writeFileSync(file, text, { flag: 'wx' })
      done.push(file)
    }
    if (schema !== before) fs.writeFileSync(schemaFile, schema)
    verify()
  } catch (error) {
    for (const file of done) fs.rmSync(file)
    if (schema !== before) fs.writeFileSync(schemaFile, before)
    throw error
  }
}
