import { runGateSuite } from '../conformance/gate/suite.ts'
import { printRules, printVerdicts, summary } from '../conformance/print.ts'
import { readRules, type Rule, type Suite } from '../conformance/rules.ts'
import type { Verdict } from '../conformance/verdict.ts'
import { CliError, EXIT } from '../errors.ts'
import type { GlobalOptions } from '../output.ts'
import { Progress } from '../progress.ts'
import { selfLine } from '../self.ts'

export interface ConformanceOptions extends GlobalOptions {
  readonly target?: string
  readonly gate?: boolean
  readonly rule?: readonly string[]
  readonly list?: boolean
}

/** Tries the denial conditions on a plane or a gate, rule by rule: by what is on the wire, and what a canary counts. */
export async function conformance(command: readonly string[], options: ConformanceOptions): Promise<void> {
  const rules = chosen(readRules(), options.rule)
  const asJson = options.json === true
  if (options.list === true) return printRules(rules, asJson)
  if (options.gate !== true) {
    if (command.length > 0) throw new CliError('a command goes with --gate', { exit: EXIT.usage, hint: `as in ${selfLine('conformance', '--gate', '--', 'my-gate', '--stdio')}` })
    throw new CliError('nothing to try: name a plane with --target, or a gate with --gate', { exit: EXIT.usage, hint: `what would be tried: ${selfLine('conformance', '--list')}` })
  }
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  const progress = new Progress('trying', asJson)
  const own = <S extends Suite>(suite: S): readonly Extract<Rule, { suite: S }>[] => rules.filter((rule): rule is Extract<Rule, { suite: S }> => rule.suite === suite)
  const verdicts: Verdict[] = []
  try {
    const total = own('gate').length
    const told = (verdict: Verdict): void => progress.at(verdicts.push(verdict), total, 'rules')
    await runGateSuite(own('gate'), { command: command.length === 0 ? undefined : command, told, signal: controller.signal })
  } catch (error) {
    if (!controller.signal.aborted) throw error // what was interrupted fails in many ways
  } finally {
    process.removeListener('SIGINT', stop)
    process.removeListener('SIGTERM', stop)
    progress.end()
  }
  if (controller.signal.aborted) throw new CliError(`stopped after ${verdicts.length} rules; everything that was started has ended`, { exit: 130 })
  printVerdicts(verdicts, { gate: command.length === 0 ? 'sealwrit mcp' : command.join(' ') }, asJson)
  const { held, broken } = summary(verdicts)
  if (broken > 0) throw new CliError(`${broken} of ${verdicts.length} rules are broken`, { hint: 'the page of each is named in brackets; `--rule ID` tries one alone' })
  if (held === 0) throw new CliError('nothing could be checked', { hint: 'a call that is permitted must run first: see spec/conformance.md' })
}

/** Those that were named, by id or the beginning of ids; all without a name. @throws {CliError} */
function chosen(rules: readonly Rule[], names: readonly string[] | undefined): readonly Rule[] {
  if (names === undefined) return rules
  const isOf = (id: string, name: string): boolean => id === name || id.startsWith(`${name}.`)
  const unknown = names.find((name) => !rules.some(({ id }) => isOf(id, name)))
  if (unknown !== undefined) throw new CliError(`no rule is called \`${unknown.slice(0, 64)}\``, { exit: EXIT.usage, hint: `list them: ${selfLine('conformance', '--list')}` })
  return rules.filter(({ id }) => names.some((name) => isOf(id, name)))
}
