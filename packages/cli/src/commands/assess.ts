import * as fs from 'node:fs'
import { compare, coverage, parseFrameworks, parseReport, type Report } from '@sealwrit/assessor'
import frameworks from '@sealwrit/assessor/frameworks.json' with { type: 'json' }
import { nodeClock } from '@sealwrit/gate'
import { Denied, isObject, present } from '@sealwrit/protocol'
import { against, againstJson, demandAgainst, printAgainst } from '../assess/against.ts'
import { sendCanaries } from '../assess/canaries.ts'
import { assessed } from '../assess/deployment.ts'
import { htmlReport } from '../assess/html.ts'
import { maturityModel } from '../assess/model.ts'
import { holdAgainst } from '../assess/older.ts'
import { printChanges, printGrade } from '../assess/print.ts'
import { inUnits } from '../assess/recompute.ts'
import { CliError, EXIT } from '../errors.ts'
import { askPlane } from '../local/client.ts'
import { findFolder } from '../local/folder.ts'
import { profilesGiven } from '../local/profiles.ts'
import { type GlobalOptions, json, line } from '../output.ts'
import { readJson } from '../read-json.ts'

export interface AssessOptions extends GlobalOptions {
  readonly points?: boolean
  readonly html?: string
  readonly compare?: string
  readonly history?: readonly string[]
  readonly record?: boolean
  readonly profile?: string
  /** Gates that clients reach over HTTP, beside one of its own. */
  readonly canary?: true | readonly string[]
  readonly tokenFile?: string
  readonly agentKey?: string
}

/** Members of the output that are not part of the report. */
const BESIDE: ReadonlySet<string> = new Set(['profile', 'since', 'recorded'])

/** Grades this deployment by what its log shows, and by what can be found out now. What is not shown counts for nothing. */
export async function assess(options: AssessOptions): Promise<void> {
  const model = maturityModel()
  const profiles = profilesGiven(options.profile)
  const older = options.compare === undefined ? undefined : savedReport(options.compare)
  const history = (options.history ?? []).map(savedReport).sort((a, b) => a.at - b.at)
  const folder = findFolder(options.dir)
  const ran = options.canary === undefined ? [] : await sendCanaries(folder, options.canary === true ? [] : options.canary, options)
  const { report, graded } = await assessed(folder, model, Math.floor(nodeClock.wallMs()), options.json === true, ran)
  await holdAgainst({ compared: older, history }, folder, report, model)
  const recorded = options.record === true ? await record(options, report) : undefined
  const held = await against(folder, profiles, report)
  if (options.html !== undefined) write(options.html, htmlReport(report, graded, model, coverage(parseFrameworks(frameworks as never, model), graded), history, held))
  if (options.json === true) json(present({ ...report, profile: held === undefined ? undefined : againstJson(held), since: older === undefined ? undefined : compare(older, report), recorded }))
  else {
    printGrade(graded, model, options.points === true)
    if (held !== undefined) printAgainst(held)
    if (older !== undefined) printChanges(compare(older, report))
    if (recorded !== undefined) line(`\nrecorded as entry ${recorded}: whoever holds the log can compute it again, with \`sealwrit verify\``)
    if (options.html !== undefined) line(`\nthe whole report is in ${options.html}`)
  }
  if (held !== undefined) demandAgainst(held)
}

/** @returns the leaf index @throws {CliError} */
async function record(options: AssessOptions, { model, size, root, at, level, dimensions, measures }: Report): Promise<number> {
  const numbers = Object.fromEntries(Object.entries(measures).map(([name, { value }]) => [name, inUnits(value)]))
  return (await askPlane(findFolder(options.dir), 'assessments.record', { model, size, root, at, level, dimensions, measures: numbers })).seq
}

/** What `--json` wrote, without what it said beside the report. @throws {CliError} */
function savedReport(file: string): Report {
  try {
    const saved = readJson(file)
    return parseReport(isObject(saved) ? Object.fromEntries(Object.entries(saved).filter(([name]) => !BESIDE.has(name))) : saved)
  } catch (error) {
    if (error instanceof Denied) throw new CliError(`${file} is no report: ${error.message}`, { exit: EXIT.usage, hint: '`sealwrit assess --json` writes one' })
    throw error
  }
}

function write(file: string, text: string): void {
  try {
    fs.writeFileSync(file, text, { mode: 0o600 })
  } catch (error) {
    throw new CliError(`${file} cannot be written (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`)
  }
}
