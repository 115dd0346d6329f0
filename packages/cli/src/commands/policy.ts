import * as fs from 'node:fs'
import * as path from 'node:path'
import { decide, PolicyEngine } from '@sealwrit/control-plane'
import { parseAction, parseFacts, Fields, type JsonValue, copyPlain } from '@sealwrit/protocol'
import { parseDocument } from 'yaml'
import { CliError, EXIT } from '../errors.ts'
import { readConfig } from '../local/config.ts'
import { findFolder } from '../local/folder.ts'
import { readPolicies } from '../local/policies.ts'
import { type GlobalOptions, green, json, line, plain, red } from '../output.ts'
import { selfLine } from '../self.ts'

/** The policy folder at hand: the argument, `./policies`, or that of the local plane. */
function policyFolder(given: string | undefined, options: GlobalOptions): string {
  if (given !== undefined) return path.resolve(given)
  if (fs.existsSync('policies')) return path.resolve('policies')
  const folder = findFolder(options.dir)
  const config = readConfig(folder.dir)
  return config === undefined ? folder.policies : path.resolve(path.dirname(config.file), config.config.policies)
}

/** Loads a policy set exactly as the plane would. */
export async function policyValidate(given: string | undefined, options: GlobalOptions): Promise<void> {
  const set = readPolicies(policyFolder(given, options))
  if (options.json === true) json({ digest: set.digest, policies: set.policies.map(({ id }) => id) })
  else line(`${green('valid')}  ${set.policies.length} policies, ${set.digest}`)
}

interface Case {
  readonly name: string
  readonly expect: string
  readonly got: string
  readonly determining: readonly string[]
}

/** Runs every `*.test.yaml` of a policy folder. */
export async function policyTest(given: string | undefined, options: GlobalOptions): Promise<void> {
  const folder = policyFolder(given, options)
  const engine = new PolicyEngine(readPolicies(folder))
  const files = fs.readdirSync(folder).filter((name) => name.endsWith('.test.yaml')).sort()
  if (files.length === 0) throw new CliError(`no *.test.yaml in ${folder}`, { hint: `an example: ${selfLine('init')}` })
  const cases = files.flatMap((name) => readCases(path.join(folder, name)).map((one) => runCase(one, engine, name)))
  const failed = cases.filter(({ got, expect }) => got !== expect)
  if (options.json === true) json({ cases, failed: failed.length })
  else {
    for (const { name, expect, got, determining } of cases) line(got === expect ? `${green('ok')}    ${plain(name)}` : `${red('FAIL')}  ${plain(name)}: expected ${plain(expect)}, got ${got}${determining.length > 0 ? ` by ${determining.join(', ')}` : ''}`)
    line(`${cases.length - failed.length} of ${cases.length} passed`)
  }
  if (failed.length > 0) process.exitCode = EXIT.fault
}

function readCases(file: string): readonly JsonValue[] {
  const document = parseDocument(fs.readFileSync(file, 'utf8'), { uniqueKeys: true, strict: true })
  if (document.errors[0] !== undefined) throw new CliError(`${file}: ${document.errors[0].message}`)
  const value = copyPlain(document.toJS({ maxAliasCount: 0 }))
  if (!Array.isArray(value)) throw new CliError(`${file} is not a list of cases`)
  return value
}

function runCase(value: JsonValue, engine: PolicyEngine, file: string): Case {
  const fields = new Fields(value, 'request_malformed', `${file}: case`)
  const name = fields.text('name')
  const expect = fields.text('expect')
  const given = fields.value('action') as Record<string, JsonValue>
  const facts = fields.optional('facts', (member) => parseFacts(fields.object(member))) ?? { paths: 'none' as const }
  const agent = fields.optional('agent', (member) => fields.text(member)) ?? 'anyone'
  const verified = fields.optional('verified', (member) => fields.boolean(member)) ?? false
  fields.end()
  const action = parseAction(given['type'] === 'mcp.tool_call' && !('tool_digest' in given) ? { ...given, tool_digest: `sha256:${'0'.repeat(64)}` } : given)
  const decision = decide({ action, agent: { name: agent, verified }, sub: 'user:test', environment: { level: 'software' }, facts }, { engine, epoch: 0 })
  const got = decision.kind === 'deny' ? decision.code : decision.kind
  return { name, expect, got, determining: decision.policy.determining }
}
