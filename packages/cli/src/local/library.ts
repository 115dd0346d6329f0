import * as fs from 'node:fs'
import * as path from 'node:path'
import { type JsonObject, parseStrict } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { starterFolder } from './folder.ts'

/** What a tool can do at worst. `change` can be undone by whoever may read. */
export const ACTION_CLASSES = ['read', 'change', 'irreversible', 'exfiltration', 'spend', 'identity change'] as const
export type ActionClass = (typeof ACTION_CLASSES)[number]

/** Ready policies for one server. */
export interface Ready {
  readonly name: string
  readonly about: string
  /** Arguments that its policies read, with their Cedar types. */
  readonly arguments: Readonly<Record<string, string>>
  readonly tools: Readonly<Partial<Record<ActionClass, readonly string[]>>>
  /** File name to text: the policies and their tests. */
  readonly files: readonly (readonly [name: string, text: string])[]
}

const FOLDER = path.join(starterFolder, 'library')

export function splitNames(text: string): readonly string[] {
  return text.split(',').map((name) => name.trim()).filter((name) => name !== '')
}

/** @param names which; undefined for all @throws {CliError} exit 2 for one that is not there */
export function readLibrary(names?: readonly string[]): readonly Ready[] {
  const known = parseStrict(fs.readFileSync(path.join(FOLDER, 'library.json'))) as Record<string, JsonObject>
  const wrong = names?.find((name) => !Object.hasOwn(known, name))
  if (wrong !== undefined) throw new CliError(`the library has no ${wrong}`, { exit: EXIT.usage, hint: `it has ${Object.keys(known).join(', ')}` })
  return [...new Set(names ?? Object.keys(known))].map((name) => {
    const { about, arguments: given, tools } = known[name] as unknown as Omit<Ready, 'name' | 'files'>
    const folder = [FOLDER, path.join(starterFolder, 'policies')].find((one) => fs.existsSync(path.join(one, `${name}.cedar`))) as string
    return { name, about, arguments: given, tools, files: [`${name}.cedar`, `${name}.test.yaml`].map((file) => [file, fs.readFileSync(path.join(folder, file), 'utf8')]) }
  })
}

/** The same for a server with another name. */
export function renamed(one: Ready, server: string): Ready {
  const files = one.files.map(([name, text]): readonly [string, string] => [`${server}${name.slice(one.name.length)}`, text.replaceAll(`mcp://${one.name}"`, `mcp://${server}"`).replaceAll(`mcp://${one.name}/`, `mcp://${server}/`)])
  return { ...one, name: server, files }
}

const ARGUMENTS = /(\btype Arguments = \{\n)([^}]*)\}/

/** A schema that declares what the policies of `one` read. @throws {CliError} where it declares something else under that name, or has no arguments */
export function withArguments(schema: string, one: Pick<Ready, 'name' | 'arguments'>): string {
  const declared = ARGUMENTS.exec(schema)?.[2]
  let added = ''
  for (const [name, type] of Object.entries(one.arguments)) {
    const found = new RegExp(String.raw`^\s*${name}\??:\s*(\w[\w<>]*)`, 'm').exec(declared ?? '')?.[1] // names and types of our own
    if (found === type) continue
    if (found !== undefined) throw new CliError(`the schema declares the argument ${name} as ${found}, and the policies for ${one.name} read it as ${type}`, { hint: 'keep them in another policy set, or rewrite one of the two' })
    added += `  ${name}?: ${type},\n`
  }
  if (added === '') return schema
  if (declared === undefined) throw new CliError('the schema has no `type Arguments = {`', { hint: `declare there what the policies for ${one.name} read: ${Object.entries(one.arguments).map(([name, type]) => `${name}?: ${type}`).join(', ')}` })
  return schema.replace(ARGUMENTS, (_all, head: string, body: string) => `${head}${body}${added}}`)
}

/** As a listing shows it. */
export function toolsOf({ tools }: Ready): readonly { readonly cls: ActionClass; readonly names: readonly string[] }[] {
  return ACTION_CLASSES.flatMap((cls) => (tools[cls] === undefined ? [] : [{ cls, names: tools[cls] }]))
}
