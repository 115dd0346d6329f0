import * as fs from 'node:fs'
import * as path from 'node:path'
import { type DecisionInput, DRAFT_FILE, PolicyError, type Proposal, proposePolicy, type Recommendation, recommendPolicies, recordedInput, SCHEMA_FILE } from '@sealwrit/control-plane'
import { nodeCryptography } from '@sealwrit/gate'
import { Denied, isAgentName, isObject, type JsonValue } from '@sealwrit/protocol'
import { stringify } from 'yaml'
import { askForTools, type Start, startOf } from '../clients/ask.ts'
import type { Client } from '../clients/clients.ts'
import { confirm } from '../confirm.ts'
import { CliError, EXIT } from '../errors.ts'
import { allOf, askPlane } from '../local/client.ts'
import type { PlaneFolder } from '../local/folder.ts'
import { chosenPolicies, readPolicyFiles } from '../local/policies.ts'
import { recordedRequests } from '../local/requests.ts'
import { bold, dim, green, json, line, plain, red, shellWord, yellow } from '../output.ts'
import { selfLine } from '../self.ts'
import { type ClientOptions, clientFor, configsOf, gatewayOf, planeFor, planFor, unknownNames } from './mcp-install.ts'

export interface ImportOptions extends ClientOptions {
  readonly allow?: readonly string[]
  readonly agent?: string
  readonly output?: string
}

/** Requests that a draft is made from. */
const MAX_REQUESTS = 100_000

interface Found {
  readonly name: string
  readonly start: Start
}
type Imported = { readonly name: string; readonly proposal: Proposal } | { readonly name: string; readonly reason: string }

/** Starts the servers of a client behind gateways, asks for their tools, and proposes agents and policies. Nothing is activated. */
export async function mcpImport(options: ImportOptions): Promise<void> {
  if (options.agent !== undefined && !isAgentName(options.agent)) throw new CliError('an agent name is 1 to 64 letters, digits, dots, dashes or underscores', { exit: EXIT.usage })
  const folder = planeFor(options)
  await askPlane(folder, 'status', {}) // its gateways need it
  const client = clientFor(options)
  const found = serversOf(options, folder)
  const chosen = chosenTools(options, found.map(({ name }) => name))
  if (options.json !== true) showStarts(found, client)
  if (options.dryRun === true) return
  if (options.yes !== true) await confirm('start these programs and ask for their tools? [y/N] ', 'this starts programs that a configuration names')
  const policies = readPolicyFiles(chosenPolicies(undefined, options))
  const schema = policies[SCHEMA_FILE]
  if (schema === undefined) throw new CliError(`no ${SCHEMA_FILE} beside the policies`, { code: 'policy_missing' })
  const imported: Imported[] = []
  for (const { name, start } of found) imported.push(await importOne(name, start, chosen.get(name) ?? [], options.agent, policies, folder))
  const observed = await draftObserved(folder, found.map(({ name }) => name), schema, options)
  const files = filesOf(imported, observed)
  if (options.output !== undefined) write(options.output, files)
  if (options.json === true) return json({ servers: imported.map(importedJson), files, agents: agentLines(client, options) })
  for (const one of imported) show(one, chosen.get(one.name) ?? [])
  if (options.output === undefined) for (const [name, text] of Object.entries(files)) process.stdout.write(`\n// ${name}\n${text}`)
  tell(files, client, options)
}

/** Every server of the chosen configurations, once a name: a project's own wins nothing over the user's. */
function serversOf(options: ImportOptions, folder: PlaneFolder): readonly Found[] {
  const gateway = gatewayOf(folder, { ...options, agent: undefined })
  const all = configsOf(options).flatMap((one) => planFor(one, gateway, options).servers.map((planned) => ({ name: planned.server.name, start: startOf(planned, one.client, process.cwd()) })))
  unknownNames(options, all.map(({ name }) => name))
  if (all.length === 0) throw new CliError('no configuration of this client names a server', { hint: 'name another file with --config' })
  return all.map((one, i) => (all.findIndex(({ name }) => name === one.name) === i ? one : { name: one.name, start: { reason: 'another server of this name comes first: policies could not tell them apart' } }))
}

function chosenTools({ allow = [] }: ImportOptions, names: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const chosen = new Map<string, string[]>()
  for (const one of allow) {
    const at = one.indexOf('/')
    const server = one.slice(0, at)
    if (at < 1 || at === one.length - 1 || !names.includes(server)) throw new CliError('--allow takes SERVER/TOOL, of a server that is asked', { exit: EXIT.usage })
    chosen.set(server, [...(chosen.get(server) ?? []), one.slice(at + 1)])
  }
  return chosen
}

async function importOne(server: string, start: Start, chosen: readonly string[], agent: string | undefined, policies: Readonly<Record<string, string>>, folder: PlaneFolder): Promise<Imported> {
  if ('reason' in start) return { name: server, reason: start.reason }
  const failed = await askForTools(start)
  if (failed !== undefined) return { name: server, reason: failed.reason }
  const definitions = await seenOf(`mcp://${server}`, folder)
  try {
    return { name: server, proposal: proposePolicy({ server, definitions, chosen, agent }, policies, nodeCryptography.sha256) }
  } catch (error) {
    if (error instanceof PolicyError) throw new CliError(`${server}: ${error.message}`, { code: 'policy_error' })
    throw error
  }
}

/** What its gateway saw of a server: an agent is shown none of it before somebody pins it. */
async function seenOf(target: string, folder: PlaneFolder): Promise<readonly JsonValue[]> {
  const definitions: JsonValue[] = []
  for (const { name } of await allOf(folder, 'tools.list', { target })) {
    const { definition } = await askPlane(folder, 'tools.show', { target, name })
    if (definition !== undefined) definitions.push(definition)
  }
  return definitions
}

/** The least that permits what these servers were already asked for, also what was denied: a draft to be read. */
async function draftObserved(folder: PlaneFolder, names: readonly string[], schema: string, options: ImportOptions): Promise<Recommendation | undefined> {
  const targets = names.map((name) => `mcp://${name}`)
  const inputs: DecisionInput[] = []
  for await (const { entry, action, inputs: seen } of recordedRequests(folder, '0', 'reading', options.json === true)) {
    if (entry.act === undefined || entry.sub === undefined || action === undefined || seen === undefined || !isObject(action)) continue
    if (!targets.includes(action['target'] as string) || inputs.length === MAX_REQUESTS) continue
    inputs.push(recordedInput(action, seen, { ...entry, sub: entry.sub, act: entry.act }))
  }
  if (inputs.length === 0) return undefined
  try {
    return recommendPolicies(inputs, schema, false, nodeCryptography.sha256)
  } catch (error) {
    if (!(error instanceof PolicyError || error instanceof Denied)) throw error
    process.stderr.write(`sealwrit: no draft from what was recorded: ${plain(error.message)}\n`)
    return undefined
  }
}

function filesOf(imported: readonly Imported[], observed: Recommendation | undefined): Readonly<Record<string, string>> {
  const files: Record<string, string> = {}
  for (const one of imported) {
    if (!('proposal' in one)) continue
    const { file, text, cases } = one.proposal
    files[file] = text
    if (cases.length > 0) files[file.replace(/\.cedar$/, '.test.yaml')] = stringify(cases, { aliasDuplicateObjects: false })
  }
  if (observed === undefined) return files
  files[DRAFT_FILE] = `// The least that permits what these servers were asked for so far. What was denied is in it too: read each one.\n${observed.text}`
  files[DRAFT_FILE.replace(/\.cedar$/, '.test.yaml')] = stringify(observed.cases, { aliasDuplicateObjects: false })
  return files
}

function write(folder: string, files: Readonly<Record<string, string>>): void {
  try {
    fs.mkdirSync(folder, { recursive: true })
    for (const [name, text] of Object.entries(files)) fs.writeFileSync(path.join(folder, name), text, { flag: 'wx' })
  } catch (error) {
    throw new CliError(`the proposals cannot be written to ${folder} (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`, { hint: 'choose a new folder with -o' })
  }
}

function showStarts(found: readonly Found[], client: Client): void {
  line(bold(`servers of ${client.title}`))
  for (const { name, start } of found) {
    if ('reason' in start) line(`  ${red('left')}   ${plain(name)}  ${plain(start.reason)}`)
    else line(`  ${green('start')}  ${plain(name)}  ${dim(plain(start.args.slice(Math.max(0, start.args.indexOf('--') + 1)).map(shellWord).join(' ')))}`)
  }
}

function show(one: Imported, chosen: readonly string[]): void {
  if ('reason' in one) return line(`${red('left')}      ${plain(one.name)}  ${plain(one.reason)}`)
  const { tools, skipped } = one.proposal
  const count = (claim: string): number => tools.filter((tool) => tool.claim === claim).length
  line(`${green('imported')}  ${plain(one.name)}  ${tools.length} tools; it says that ${count('read_only')} only read, ${count('destructive')} may destroy`)
  if (skipped > 0) line(yellow(`          ${skipped} have names that no policy may hold, and agents never see them`))
  line(dim(`          pin what you looked at: ${selfLine('tool', 'pin', one.name, ...chosen)}`))
  for (const note of one.proposal.notes) line(yellow(`          ${plain(note)}`))
}

function agentLines(client: Client, { agent = client.name }: ImportOptions): readonly string[] {
  return [selfLine('agent', 'add', agent), selfLine('mcp', 'install', '--client', client.name, '--agent', agent, '--agent-key', 'FILE')]
}

function tell(files: Readonly<Record<string, string>>, client: Client, options: ImportOptions): void {
  if (options.output !== undefined) line(`${bold(`${Object.keys(files).length} files`)} in ${plain(options.output)}: read them, copy what you want beside your policies, and \`policy activate\``)
  line(`agents see no tool of them before you look at it and pin it: \`${selfLine('tool', 'list')}\``)
  if (options.allow === undefined) line(dim('nothing is permitted by them yet: choose with --allow SERVER/TOOL'))
  line('an agent of its own, with a key:')
  for (const text of agentLines(client, options)) line(`  ${plain(text)}`)
}

function importedJson(one: Imported): object {
  return 'reason' in one ? one : { name: one.name, tools: one.proposal.tools, skipped: one.proposal.skipped, notes: one.proposal.notes, file: one.proposal.file }
}
