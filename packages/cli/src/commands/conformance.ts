import { runClientSuite } from '../conformance/client/suite.ts'
import { runGateSuite } from '../conformance/gate/suite.ts'
import { runPlaneSuite } from '../conformance/plane/suite.ts'
import { isOfProfiles, runProfileSuite } from '../conformance/profile/suite.ts'
import { printRules, printVerdicts, summary } from '../conformance/print.ts'
import { readRules, type Rule, type Suite } from '../conformance/rules.ts'
import { controlFrom, gateEndpoint, keyFor, planeWire, type TargetOptions } from '../conformance/target.ts'
import type { Told, Verdict } from '../conformance/verdict.ts'
import { CliError, EXIT } from '../errors.ts'
import { profilesGiven } from '../local/profiles.ts'
import type { GlobalOptions } from '../output.ts'
import { Progress } from '../progress.ts'
import { selfLine } from '../self.ts'

export interface ConformanceOptions extends GlobalOptions, Omit<TargetOptions, 'dir'> {
  readonly gate?: boolean
  readonly profile?: string
  readonly rule?: readonly string[]
  readonly list?: boolean
}

/** Tries the denial conditions on a plane or a gate, rule by rule: by what is on the wire, and what a canary counts. */
export async function conformance(command: readonly string[], options: ConformanceOptions): Promise<void> {
  const rules = chosen(readRules(), options.rule)
  const asJson = options.json === true
  if (options.list === true) return printRules(rules, asJson)
  const runs = planned(rules, command, options)
  const controller = new AbortController()
  const stop = (): void => controller.abort()
  process.once('SIGINT', stop)
  process.once('SIGTERM', stop)
  const progress = new Progress('trying', asJson)
  const verdicts: Verdict[] = []
  const total = runs.reduce((sum, { count }) => sum + count, 0)
  try {
    for (const { run } of runs) await run((verdict) => progress.at(verdicts.push(verdict), total, 'rules'), controller.signal)
  } catch (error) {
    if (!controller.signal.aborted) throw error // what was interrupted fails in many ways
  } finally {
    process.removeListener('SIGINT', stop)
    process.removeListener('SIGTERM', stop)
    progress.end()
  }
  if (controller.signal.aborted) throw new CliError(`stopped after ${verdicts.length} rules; everything that was started has ended`, { exit: 130 })
  printVerdicts(verdicts, Object.fromEntries(runs.map(({ suite, of }) => [suite, of])), asJson)
  const { held, broken } = summary(verdicts)
  if (broken > 0) throw new CliError(`${broken} of ${verdicts.length} rules are broken`, { hint: 'the page of each is named in brackets; `--rule ID` tries one alone' })
  if (held === 0) throw new CliError('nothing could be checked', { hint: 'something that is permitted must run first: see --action, --agent and spec/conformance.md' })
}

interface Planned {
  readonly suite: Suite
  /** What is tried, in words. */
  readonly of: string
  readonly count: number
  readonly run: (told: Told, signal: AbortSignal) => Promise<unknown>
}

/** What is tried of what. @throws {CliError} */
function planned(rules: readonly Rule[], command: readonly string[], options: ConformanceOptions): readonly Planned[] {
  const own = <S extends Suite>(suite: S): readonly Extract<Rule, { suite: S }>[] => rules.filter((rule): rule is Extract<Rule, { suite: S }> => rule.suite === suite)
  const { target, gate } = options
  const profiles = profilesGiven(options.profile)
  if (profiles.length > 0 && (target === undefined || gateEndpoint(target, options) !== undefined)) throw new CliError('--profile is about a plane: name it with --target', { exit: EXIT.usage })
  if (gate !== true && command.length > 0) throw new CliError('a command goes with --gate', { exit: EXIT.usage, hint: `as in ${selfLine('conformance', '--gate', '--', 'my-gate', '--stdio')}` })
  if (gate !== true && target === undefined) throw new CliError('nothing to try: name a plane with --target, or a gate with --gate', { exit: EXIT.usage, hint: `what would be tried: ${selfLine('conformance', '--list')}` })
  const found: Planned[] = []
  const endpoint = target === undefined ? undefined : gateEndpoint(target, options)
  if (endpoint !== undefined) found.push({ suite: 'client', of: endpoint.url.href, count: own('client').length, run: (told, signal) => runClientSuite(own('client'), { ...endpoint, told, signal }) })
  else if (target !== undefined) {
    const [wire, control, logKey] = [planeWire(target, options), controlFrom(options), keyFor(options)]
    if (own('plane').length > 0 || profiles.length === 0) found.push({ suite: 'plane', of: target, count: own('plane').length, run: (told, signal) => runPlaneSuite(own('plane'), { wire, control, logKey, told, signal }) })
    const ofProfiles = own('profile').filter(isOfProfiles(profiles))
    if (ofProfiles.length > 0) found.push({ suite: 'profile', of: profiles.map(({ name }) => name).join(', '), count: ofProfiles.length, run: (told, signal) => runProfileSuite(ofProfiles, { wire: planeWire(target, options), control, logKey, profiles, told, signal }) })
  }
  if (gate === true) found.push({ suite: 'gate', of: command.length === 0 ? 'sealwrit mcp' : command.join(' '), count: own('gate').length, run: (told, signal) => runGateSuite(own('gate'), { command: command.length === 0 ? undefined : command, told, signal }) })
  const empty = found.find(({ count }) => count === 0)
  if (empty !== undefined) throw new CliError(`none of the chosen rules is about ${ABOUT[empty.suite]}`, { exit: EXIT.usage, hint: `list them: ${selfLine('conformance', '--list')}` })
  return found
}

const ABOUT: Readonly<Record<Suite, string>> = { plane: 'a plane', profile: 'a profile', gate: 'a gate', client: 'a gate that clients reach over HTTP' }

/** Those that were named, by id or the beginning of ids; all without a name. @throws {CliError} */
function chosen(rules: readonly Rule[], names: readonly string[] | undefined): readonly Rule[] {
  if (names === undefined) return rules
  const isOf = (id: string, name: string): boolean => id === name || id.startsWith(`${name}.`)
  const unknown = names.find((name) => !rules.some(({ id }) => isOf(id, name)))
  if (unknown !== undefined) throw new CliError(`no rule is called \`${unknown.slice(0, 64)}\``, { exit: EXIT.usage, hint: `list them: ${selfLine('conformance', '--list')}` })
  return rules.filter(({ id }) => names.some((name) => isOf(id, name)))
}
