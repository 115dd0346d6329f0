import { declareArguments, loadPolicySet, type PinnedSchema, PolicyError, proposeArguments, type ProposedArguments, SCHEMA_FILE } from '@sealwrit/control-plane'
import { nodeCryptography } from '@sealwrit/gate'
import { readConfigFile, replaceConfig } from '../clients/file.ts'
import { CliError } from '../errors.ts'
import { allOf, askPlane } from '../local/client.ts'
import { findFolder, type PlaneFolder } from '../local/folder.ts'
import { chosenPolicies, readPolicyFiles, schemaOf } from '../local/policies.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, yellow } from '../output.ts'

interface SchemaOptions extends GlobalOptions {
  readonly target?: string
  readonly folder?: string
  readonly write?: boolean
}

/** Declares the arguments of pinned tools in the schema of a policy set, so that policies on `context.args` validate; shows what would change. */
export async function policySchema(names: readonly string[], options: SchemaOptions): Promise<void> {
  const source = chosenPolicies(options.folder, options)
  const files = readPolicyFiles(source)
  const [file, schema] = [schemaOf(source), files[SCHEMA_FILE]]
  if (file === undefined || schema === undefined) throw new CliError(`no ${SCHEMA_FILE} in ${source.folder} or above it`, { code: 'policy_missing' })
  const { tools, unkept } = await pinnedSchemas(findFolder(options.dir), options.target)
  const found = orExplain(() => proposeArguments(tools, schema, names.length === 0 ? undefined : new Set(names)))
  const next = orExplain(() => {
    const text = declareArguments(schema, found.add)
    // A schema that the set does not load with is shown to nobody.
    if (found.add.length > 0) loadPolicySet({ ...files, [SCHEMA_FILE]: text }, nodeCryptography.sha256)
    return text
  })
  const written = options.write === true && next !== schema
  if (written) replace(file, schema, next)
  if (options.json === true) return json({ file, ...found, unkept, written, schema: next })
  print(found, unkept, file, changedLines(schema, next))
  if (tools.length === 0) line(dim('no tool is pinned; `sealwrit tool list` shows what gates saw'))
  else if (written) line(`${green('written')}  it counts when it is activated: sealwrit policy activate`)
  else if (next !== schema) line(dim('nothing was written; add --write'))
}

/** The definitions that calls may name, as far as they are kept. */
async function pinnedSchemas(folder: PlaneFolder, target: string | undefined): Promise<{ tools: PinnedSchema[]; unkept: string[] }> {
  const tools: PinnedSchema[] = []
  const unkept: string[] = []
  for (const listed of await allOf(folder, 'tools.list', target === undefined ? {} : { target })) {
    if (listed.pinned === undefined) continue
    const { pinned_definition: definition } = await askPlane(folder, 'tools.show', { target: listed.target, name: listed.name })
    if (definition === undefined) unkept.push(`${listed.target}/${listed.name}`)
    else tools.push({ target: listed.target, name: listed.name, inputSchema: definition['inputSchema'] })
  }
  return { tools, unkept }
}

function print({ add, declared, left }: ProposedArguments, unkept: readonly string[], file: string, changed: readonly string[]): void {
  for (const { name, why } of left) line(`${yellow('left out')}  ${plain(name)}: ${plain(why)}`)
  for (const tool of unkept) line(`${yellow('not read')}  ${plain(tool)}: its definition is not kept any more`)
  const long = add.filter(({ mayBeLong }) => mayBeLong).map(({ name }) => name)
  if (long.length > 0) line(`${yellow('note')}      ${plain(long.join(', '))}: a call with more than 8,192 characters in one of them is denied once it is declared; name others to leave them out`)
  if (add.length === 0) return line(`nothing to declare${declared.length === 0 ? '' : `: ${plain(declared.join(', '))} ${declared.length === 1 ? 'is' : 'are'} declared already`}`)
  line(bold(plain(file)))
  for (const one of changed) line(plain(one))
}

/** The lines that differ: they stand together, since arguments are added at one place. */
function changedLines(before: string, after: string): readonly string[] {
  const [old, now] = [before.split('\n'), after.split('\n')]
  const shorter = Math.min(old.length, now.length)
  let [from, till] = [0, 0]
  while (from < shorter && old[from] === now[from]) from++
  while (till < shorter - from && old.at(-1 - till) === now.at(-1 - till)) till++
  return [...old.slice(from, old.length - till).map((one) => `- ${one}`), ...now.slice(from, now.length - till).map((one) => `+ ${one}`)]
}

function replace(file: string, before: string, text: string): void {
  const read = readConfigFile(file)
  if (read?.text !== before) throw new CliError(`${file} was changed meanwhile; nothing was written`)
  replaceConfig(read, text)
}

function orExplain<T>(make: () => T): T {
  try {
    return make()
  } catch (error) {
    if (error instanceof PolicyError) throw new CliError(error.message, { code: 'policy_error' })
    throw error
  }
}
