import { type CaseResult, isProtected, parseCases, PolicyEngine, runCases } from '@sealwrit/control-plane'
import { Denied } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { chosenPolicies, readPolicies, readTests } from '../local/policies.ts'
import { dim, type GlobalOptions, green, json, line, plain, red } from '../output.ts'
import { selfLine } from '../self.ts'

/** Loads a policy set exactly as the plane would. */
export async function policyValidate(given: string | undefined, options: GlobalOptions): Promise<void> {
  const set = readPolicies(chosenPolicies(given, options))
  const rules = set.policies.filter(({ id }) => isProtected(id)).length
  if (options.json === true) json({ digest: set.digest, ...(set.base === undefined ? {} : { base: set.base }), policies: set.policies.map(({ id }) => id) })
  else line(`${green('valid')}  ${set.policies.length} policies${rules === 0 ? '' : `, ${rules} of them protected rules`}, ${set.digest}`)
}

/** Runs every `*.test.yaml` of a policy folder. Exit 1 where one fails. */
export async function policyTest(given: string | undefined, options: GlobalOptions): Promise<void> {
  const source = chosenPolicies(given, options)
  const engine = new PolicyEngine(readPolicies(source))
  const files = readTests(source)
  if (files.length === 0) throw new CliError(`no *.test.yaml in ${source.folder}`, { hint: `an example: ${selfLine('init')}` })
  const results = files.map(({ file, cases }) => ({ file, results: asUsage(() => runCases(parseCases(cases, file), engine)) }))
  const all = results.flatMap((one) => one.results)
  const failed = all.filter(({ failures }) => failures.length > 0).length
  if (failed > 0) process.exitCode = EXIT.fault
  if (options.json === true) return json({ cases: results.flatMap(({ file, results: of }) => of.map((one) => ({ file, ...one }))), failed })
  for (const { file, results: of } of results) {
    line(dim(plain(file)))
    for (const one of of) printCase(one)
  }
  line(`${all.length - failed} of ${all.length} passed`)
}

export function printCase({ name, failures }: CaseResult): void {
  line(failures.length === 0 ? `  ${green('ok')}    ${plain(name)}` : `  ${red('FAIL')}  ${plain(name)}`)
  for (const failure of failures) line(`          ${plain(failure)}`)
}

/** A case that cannot be read is a mistake of whoever wrote it, and says where. */
function asUsage<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof Denied) throw new CliError(error.message, { exit: EXIT.usage, hint: 'a case has name, action and expect; agent, verified, user, environment, facts, identity, lineage, determining, risk and obligations may be left out' })
    throw error
  }
}
