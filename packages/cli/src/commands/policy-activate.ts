import type { Activated } from '@sealwrit/control-plane'
import { type JsonValue, WIRE_LIMITS } from '@sealwrit/protocol'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { findFolder } from '../local/folder.ts'
import { chosenPolicies, configuredPolicies, readPolicies, readTests } from '../local/policies.ts'
import { bold, dim, type GlobalOptions, green, json, line, plain, red, yellow } from '../output.ts'
import { printCase } from './policy.ts'

export interface ActivateOptions extends GlobalOptions {
  readonly shadow?: boolean
  readonly from?: string
  readonly urgent?: boolean
  readonly confirm?: boolean
  readonly newBase?: boolean
}

/** Has the plane validate a policy set, run its own tests, and bring it into force. Exit 1 where it refuses: the old set stays. */
export async function policyActivate(given: string | undefined, options: ActivateOptions): Promise<void> {
  const folder = findFolder(options.dir)
  // What is activated is what the plane's own folder holds, unless another one is named.
  const source = given === undefined ? configuredPolicies(folder) : chosenPolicies(given, options)
  const set = readPolicies(source)
  const tests = readTests(source).flatMap(({ file, cases }) => {
    if (!Array.isArray(cases)) throw new CliError(`${file} is not a list of cases`, { exit: EXIT.usage })
    return cases as JsonValue[]
  })
  const params = {
    files: { ...set.files }, tests, mode: options.shadow === true ? 'shadow' as const : 'enforce' as const, urgent: options.urgent === true, confirm: options.confirm === true, rebase: options.newBase === true,
    ...(options.from === undefined ? {} : { from: instant(options.from) }),
  }
  if (Buffer.byteLength(JSON.stringify(params)) > WIRE_LIMITS.maxBytes - 1_024) throw new CliError('the policy set with its tests is larger than a plane takes over its socket (2 MiB)', { hint: 'shorten the tests, or start the plane with `up --activate`' })
  const answer = await askPlane(folder, 'policies.activate', params)
  if (answer.outcome === 'refused') {
    process.exitCode = EXIT.fault
    if (options.json === true) return json(answer)
    line(`${red(bold('refused'))}  ${plain(answer.reason)}`)
    for (const one of answer.failed) printCase(one)
    return line('nothing was activated; the active set stays')
  }
  if (options.json === true) return json(answer)
  told(answer, options.from)
  line(answer.tests === 0 ? yellow('it has no tests: nothing but its form was checked') : `${answer.tests} of its tests passed first`)
}

function told({ outcome, digest, epoch, seq }: Activated, from?: string): void {
  switch (outcome) {
    case 'activated':
      return line(`${green('activated')}  ${digest} is epoch ${epoch} from index ${seq} on`)
    case 'staged':
      return line(`${yellow('staged')}     ${digest} becomes the active set at ${plain(from ?? '')}, recorded at index ${seq}; epoch ${epoch} stays until then`)
    case 'shadow':
      return line(`${yellow('shadow')}     ${digest} is evaluated beside epoch ${epoch} from index ${seq} on; it governs nothing`)
    case 'withdrawn':
      return line(`${green('withdrawn')}  ${digest}, recorded at index ${seq}; epoch ${epoch} stays`)
    case 'unchanged':
      return line(digest === '' ? 'there is nothing to withdraw' : `${dim('unchanged')}  ${digest} is epoch ${epoch} already`)
  }
}

/** Milliseconds since 1970 of a time with its zone. @throws {CliError} */
function instant(text: string): number {
  const timeMs = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(\.\d{1,3})?Z$/.test(text) ? Date.parse(text) : Number.NaN
  if (Number.isNaN(timeMs)) throw new CliError(`--from takes a time such as 2030-01-31T08:00:00Z, not \`${text.slice(0, 32)}\``, { exit: EXIT.usage })
  return timeMs
}

/** Makes the set of an earlier epoch the active one again, as a new epoch. */
export async function policyRollback(given: string | undefined, options: GlobalOptions & { urgent?: boolean; newBase?: boolean }): Promise<void> {
  if (given !== undefined && !/^\d{1,15}$/.test(given)) throw new CliError('an epoch is a whole number', { exit: EXIT.usage, hint: '`sealwrit policy status` lists them' })
  const params = { urgent: options.urgent === true, rebase: options.newBase === true, ...(given === undefined ? {} : { epoch: Number(given) }) }
  let answer: Activated
  try {
    answer = await askPlane(findFolder(options.dir), 'policies.rollback', params)
  } catch (error) {
    if (error instanceof CliError && error.code === 'request_malformed') throw new CliError(given === undefined ? 'there is no earlier policy set to go back to' : `there was no epoch ${given}`, { hint: '`sealwrit policy status` lists the epochs' })
    if (error instanceof CliError && error.code === 'policy_error') throw new CliError('that set lacks the protected rules of the active one, or those that the configuration demands', { code: 'policy_error', hint: '--new-base gives the active ones up, where the configuration demands none' })
    throw error
  }
  if (options.json === true) return json(answer)
  told(answer)
}

/** Ends what is staged, or the shadow mode. */
export async function policyWithdraw(what: string, options: GlobalOptions): Promise<void> {
  if (what !== 'staged' && what !== 'shadow') throw new CliError('withdraw takes `staged` or `shadow`', { exit: EXIT.usage })
  const answer = await askPlane(findFolder(options.dir), 'policies.withdraw', { what })
  if (options.json === true) return json(answer)
  told(answer)
}

interface Standing {
  readonly epoch: number
  readonly digest: string
  readonly since: number
  readonly floor: number
  readonly base?: string
  readonly void?: string
  readonly staged?: { readonly digest: string; readonly from: number }
  readonly shadow?: string
  readonly observing?: true
  readonly epochs: readonly { readonly epoch: number; readonly digest: string }[]
}

/** Says which set is active, what is staged and in shadow mode, and which epochs there were. */
export async function policyStatus(options: GlobalOptions): Promise<void> {
  const answer = await askPlane(findFolder(options.dir), 'policies.status', {})
  if (options.json === true) return json(answer)
  const { epoch, digest, since, floor, base, void: denied, staged, shadow, observing, epochs } = answer as unknown as Standing
  line(`${bold('active')}  epoch ${epoch}  ${digest}  since ${when(since)}`)
  if (denied !== undefined) line(`${red('void')}    nothing is permitted: ${plain(denied)}; activate a set that holds, or confirm this one with \`policy activate --confirm\``)
  if (base !== undefined) line(`base    ${base}`)
  if (floor > 0) line(`floor   permits of epochs before ${floor} are void`)
  if (observing === true) line(`${red('shadow')}  the plane observes (\`mode: shadow\`): what policy denies runs at gates started with --shadow`)
  if (staged !== undefined) line(`${yellow('staged')}  ${staged.digest}  for ${when(staged.from)}`)
  if (shadow !== undefined) line(`${yellow('shadow')}  ${shadow}  (governs nothing)`)
  for (const one of [...epochs].reverse().slice(1, 20)) line(dim(`earlier epoch ${one.epoch}  ${one.digest}`))
}

const when = (timeMs: number): string => `${new Date(timeMs).toISOString().slice(0, 19)}Z`
