import * as fs from 'node:fs'
import * as path from 'node:path'
import { analyzePolicies, decide, diffPolicySets, type Direction, DRAFT_FILE, loadPolicySet, parsePolicySet, PolicyEngine, PolicyError, type PolicySet, recordedInput, recommendPolicies, SCHEMA_FILE } from '@sealwrit/control-plane'
import { nodeCryptography } from '@sealwrit/gate'
import { Denied, type JsonObject } from '@sealwrit/protocol'
import { stringify } from 'yaml'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { findFolder } from '../local/folder.ts'
import { chosenPolicies, readPolicies, readPolicyFiles } from '../local/policies.ts'
import { policyTexts, recordedRequests } from '../local/requests.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'

/** Says what differs between two policy sets: folders, digests, epochs, or `active`. */
export async function policyDiff(a: string, b: string | undefined, options: GlobalOptions): Promise<void> {
  const [before, after] = b === undefined ? [await named('active', options), await named(a, options)] : [await named(a, options), await named(b, options)]
  const difference = diffPolicySets(before, after)
  if (options.json === true) return json({ before: before.digest, after: after.digest, ...difference })
  const { policies, schema, isRebased } = difference
  if (isRebased) line(red('the protected rules differ'))
  for (const sentence of schema) line(`${yellow('schema')}   ${plain(sentence)}`)
  for (const { id, change, effect, hints } of policies) {
    line(`${(change === 'added' ? green : change === 'removed' ? red : yellow)(change.padEnd(8))} ${effect.padEnd(6)} ${plain(id)}`)
    for (const { what, direction } of hints) line(`           ${plain(what)}: ${painted(direction)}`)
  }
  if (before.digest === after.digest) return line(green('the sets are the same'))
  if (policies.length === 0 && schema.length === 0 && !isRebased) return line('only spaces, comments or the order differ')
  line(dim('hints are read from the texts; `policy replay` says what would change for recorded requests'))
}

function painted(direction: Direction): string {
  return direction === 'loosens' ? red('may permit more') : direction === 'tightens' ? green('may permit less') : 'may permit other requests'
}

/** A set by folder, digest or epoch. @throws {CliError} */
async function named(name: string, options: GlobalOptions): Promise<PolicySet> {
  if (fs.existsSync(name)) return readPolicies(chosenPolicies(name, options))
  const folder = findFolder(options.dir)
  const { digest, epochs } = await askPlane(folder, 'policies.status', {})
  const wanted = name === 'active' ? digest : name.startsWith('sha256:') ? name : epochs.find(({ epoch }) => String(epoch) === name)?.digest
  const files = wanted === undefined ? undefined : await policyTexts(folder, wanted)
  if (files === undefined) throw new CliError(`\`${name.slice(0, 80)}\` is no folder, epoch or digest of a policy set`, { exit: EXIT.usage, hint: '`sealwrit policy status` lists epochs and digests' })
  return loadPolicySet(files, nodeCryptography.sha256)
}

/** Tells what can be told about policies without a solver. Exit 1 where a policy cannot work as written. */
export async function policyAnalyze(given: string | undefined, options: GlobalOptions & { since?: string }): Promise<void> {
  const source = chosenPolicies(given, options)
  let set: PolicySet
  try {
    set = parsePolicySet(readPolicyFiles(source), nodeCryptography.sha256) // also one that would not load: that is what it is for
  } catch (error) {
    if (error instanceof PolicyError) throw new CliError(`policies in ${source.folder}: ${error.message}`, { code: 'policy_error' })
    throw error
  }
  const used = options.since === undefined ? undefined : await usage(set, options.since, options)
  const findings = analyzePolicies(set, used?.counts)
  if (findings.some(({ kind }) => kind === 'invalid' || kind === 'unreachable' || kind === 'shadowed')) process.exitCode = EXIT.fault
  if (options.json === true) return json({ digest: set.digest, findings, ...(used === undefined ? {} : { requests: used.requests }) })
  for (const { kind, policy, explanation } of findings) line(`${(kind === 'redundant' || kind === 'unused' || kind === 'duplicate' ? yellow : red)(kind.padEnd(11))} ${plain(policy ?? 'the set')}\n            ${plain(explanation)}`)
  line(findings.length === 0 ? `${green('nothing found')} in ${set.policies.length} policies` : `${findings.length} findings in ${set.policies.length} policies`)
  line(dim(used === undefined ? 'whether policies are used was not looked at; give --since' : `${used.requests} recorded requests were looked at`))
}

async function usage(set: PolicySet, since: string, options: GlobalOptions): Promise<{ counts: Map<string, number>; requests: number }> {
  let engine: PolicyEngine
  try {
    engine = new PolicyEngine(loadPolicySet(set.files, nodeCryptography.sha256))
  } catch {
    throw new CliError('a set with errors or warnings cannot be tried on recorded requests', { code: 'policy_error', hint: 'leave out --since to see what is wrong with it' })
  }
  const counts = new Map<string, number>()
  let requests = 0
  for await (const { entry, action, inputs } of recordedRequests(findFolder(options.dir), since, 'analyzing', options.json === true)) {
    if (action === undefined || inputs === undefined || entry.sub === undefined || entry.act === undefined) continue
    requests++
    const { sub, act, intent } = entry
    for (const id of decide(recordedInput(action, inputs, { sub, act, intent }), { engine, epoch: 0 }).policy.determining) counts.set(id, (counts.get(id) ?? 0) + 1)
  }
  return { counts, requests }
}

export interface RecommendOptions extends GlobalOptions {
  readonly since?: string
  readonly agent?: string
  readonly denied?: boolean
  readonly exact?: boolean
  readonly output?: string
}

/** Requests that one draft is made from. */
const MAX_REQUESTS = 1_000_000

/** Drafts the least that permits what an agent was seen to ask for. */
export async function policyRecommend(options: RecommendOptions): Promise<void> {
  const schema = readPolicyFiles(chosenPolicies(undefined, options))[SCHEMA_FILE]
  if (schema === undefined) throw new CliError(`no ${SCHEMA_FILE} beside the policies`, { code: 'policy_missing' })
  const inputs: ReturnType<typeof recordedInput>[] = []
  let unreadable = 0
  for await (const { entry, action, inputs: seen, shadow } of recordedRequests(findFolder(options.dir), options.since ?? '0', 'reading', options.json === true)) {
    if (entry.act === undefined || entry.sub === undefined || (options.agent !== undefined && entry.act.sub !== `agent:${options.agent}`)) continue
    if (!((entry.kind === 'permit' && entry.observed === undefined) || shadow?.['decision'] === 'permit' || options.denied === true)) continue
    if (action === undefined || seen === undefined) unreadable++
    else if (inputs.length < MAX_REQUESTS) inputs.push(recordedInput(action, seen, { ...entry, sub: entry.sub, act: entry.act }))
  }
  try {
    const { text, cases, policies, skipped } = recommendPolicies(inputs, schema, options.exact === true, nodeCryptography.sha256)
    const tests = stringify(cases, { aliasDuplicateObjects: false }) // test files take no aliases
    if (options.output !== undefined) write(options.output, text, tests)
    if (options.json === true) return json({ requests: inputs.length, unreadable, skipped, policies, text, cases: cases as unknown as JsonObject[] })
    if (options.output === undefined) process.stdout.write(`${text}\n// tests, for ${DRAFT_FILE.replace('.cedar', '.test.yaml')}:\n${tests.split('\n').map((one) => (one === '' ? '' : `// ${one}`)).join('\n')}`)
    else line(`${bold(`${policies} policies`)} from ${inputs.length} requests in ${plain(path.join(options.output, DRAFT_FILE))}, with their tests; read them before you activate anything`)
    if (skipped > 0) process.stderr.write(`sealwrit: ${skipped} requests were left out: no policy may hold their names (hidden characters)\n`)
    if (unreadable > 0) process.stderr.write(`sealwrit: ${unreadable} requests were left out: what they asked for was erased or redacted\n`)
  } catch (error) {
    if (error instanceof PolicyError || error instanceof Denied) throw new CliError(error.message, { hint: 'recorded requests are counted with `sealwrit policy replay`; --denied takes refused ones too' })
    throw error
  }
}

function write(folder: string, text: string, tests: string): void {
  try {
    fs.mkdirSync(folder, { recursive: true })
    fs.writeFileSync(path.join(folder, DRAFT_FILE), text, { flag: 'wx' })
    fs.writeFileSync(path.join(folder, DRAFT_FILE.replace('.cedar', '.test.yaml')), tests, { flag: 'wx' })
  } catch (error) {
    throw new CliError(`the draft cannot be written to ${folder} (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`, { hint: 'choose a new folder with -o' })
  }
}
